package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// A skipLocked is the table one would write oneself on PostgreSQL: a statement for each step, each a transaction of its own, and a connection for
// each caller. It has no tokens, and what is leased stays so: whatever more a queue does costs more.
type skipLocked struct {
	conns []*pgx.Conn // by the caller's number
	drop  func() error
}

const skipLockedSchema = `CREATE TABLE jobs (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, until timestamptz, payload bytea NOT NULL);
CREATE INDEX ready ON jobs (id) WHERE until IS NULL`

const (
	skipLockedEnqueue = `INSERT INTO jobs (payload) VALUES ($1)`
	skipLockedReceive = `UPDATE jobs SET until = now() + interval '1 minute'
		WHERE id = (SELECT id FROM jobs WHERE until IS NULL ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 1) RETURNING id, payload`
	skipLockedAck = `DELETE FROM jobs WHERE id = $1`
)

func newSkipLocked(ctx context.Context, p *postgres, callers int) (_ *skipLocked, err error) {
	schema, drop, err := p.schema(ctx)
	if err != nil {
		return nil, err
	}
	s := &skipLocked{drop: drop}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	// Plans that are made for the empty table are kept while it fills: they have to use the index.
	settings := map[string]string{"search_path": schema, "enable_seqscan": "off", "enable_bitmapscan": "off"}
	for i := range callers {
		conn, err := p.connect(ctx, settings)
		if err != nil {
			return nil, err
		}
		s.conns = append(s.conns, conn)
		if i == 0 {
			if _, err := conn.Exec(ctx, skipLockedSchema); err != nil {
				return nil, err
			}
		}
	}
	return s, nil
}

func (s *skipLocked) cycle(ctx context.Context, c *caller) error {
	conn := s.conns[c.number]
	if _, err := conn.Exec(ctx, skipLockedEnqueue, c.next()); err != nil {
		return err
	}
	var id int64
	var payload []byte
	for {
		err := conn.QueryRow(ctx, skipLockedReceive).Scan(&id, &payload)
		if err == nil {
			break
		}
		if !errors.Is(err, pgx.ErrNoRows) { // others may have what this statement saw, and this one not see what they left
			return err
		}
	}
	if err := c.got(payload); err != nil {
		return err
	}
	tag, err := conn.Exec(ctx, skipLockedAck, id)
	if err == nil && tag.RowsAffected() != 1 {
		err = fmt.Errorf("an ack found %d jobs", tag.RowsAffected())
	}
	return err
}

func (s *skipLocked) close() error {
	var errs []error
	for _, conn := range s.conns {
		errs = append(errs, conn.Close(context.Background()))
	}
	return errors.Join(append(errs, s.drop())...)
}
