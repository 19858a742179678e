package pgstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/pollackq/pollack/storage"
)

// Check reports each job whose record is damaged or disagrees with its row's columns, and each queue whose counts disagree with its jobs,
// all in one snapshot. The orders are the database's indexes: the extension amcheck checks those.
func (s *Store) Check(ctx context.Context) error {
	for tries := 0; ; tries++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		found, err := s.check(ctx)
		if err == nil {
			return found
		}
		if judge(err) != lost || tries == most { // a connection that has ended since it was used last is no news
			return told(err)
		}
	}
}

// check returns what Check found.
func (s *Store) check(ctx context.Context) (found, err error) {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Release()
	var errs []error
	report := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	err = pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if s.opts.NoListen {
			if _, err := tx.Exec(ctx, s.sql.settings); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, "SET LOCAL enable_seqscan = on; SET LOCAL enable_hashjoin = on"); err != nil {
			return err
		}
		names, next, err := s.checkQueues(ctx, tx, report)
		if err != nil {
			return err
		}
		counts, err := s.checkJobs(ctx, tx, names, next, report)
		if err != nil {
			return err
		}
		for qid, name := range names {
			var q queue
			if err := keepCounts(tx.QueryRow(ctx, s.sql.counts+"$1", qid), &q); err != nil {
				return err
			}
			if q.base != counts[qid] {
				report("queue %q: counts are %v, jobs are %v", name, q.base, counts[qid])
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return errors.Join(errs...), nil
}

func (s *Store) checkQueues(ctx context.Context, tx pgx.Tx, report func(string, ...any)) (map[int32]storage.QueueName, map[int32]uint64, error) {
	names, next := make(map[int32]storage.QueueName), make(map[int32]uint64)
	rows, err := tx.Query(ctx, "SELECT "+queueColumns+" FROM "+s.schema+".queue q")
	if err != nil {
		return nil, nil, err
	}
	var qid int32
	var version int64
	var n uint64
	var name storage.QueueName
	var settings []byte
	_, err = pgx.ForEachRow(rows, []any{&qid, &name.Account, &name.Name, &version, &n, &settings}, func() error {
		names[qid], next[qid] = name, n
		if _, err := decodeQueue(name, settings); err != nil {
			report("%w", err)
		}
		return nil
	})
	return names, next, err
}

func (s *Store) checkJobs(ctx context.Context, tx pgx.Tx, names map[int32]storage.QueueName, next map[int32]uint64, report func(string, ...any)) (map[int32]storage.Counts, error) {
	counts := make(map[int32]storage.Counts)
	rows, err := tx.Query(ctx, "SELECT id, qid, position, spec, status, account, coalesce(key, ''), state, priority, due FROM "+s.schema+".job")
	if err != nil {
		return nil, err
	}
	var id pgtype.UUID
	var qid int32
	var position int64
	var spec, status []byte
	var account, key string
	var state, priority int16
	var due pgtype.Timestamptz
	_, err = pgx.ForEachRow(rows, []any{&id, &qid, &position, &spec, &status, &account, &key, &state, &priority, &due}, func() error {
		c := counts[qid]
		if state > 0 && int(state) < storage.States {
			c[state]++
		}
		counts[qid] = c
		j, err := decodeJob(id.Bytes, position, spec, status)
		switch {
		case err != nil:
			report("%w", err)
		case names[qid] != j.Queue:
			report("job %v: its queue is %q, its row is of %q", j.ID, j.Queue, names[qid])
		case account != j.Account || key != j.Key || state != int16(j.State) || priority != j.Priority || due.Valid == j.Due.IsZero() || due.Valid && !due.Time.Equal(j.Due):
			report("job %v: its record and its columns disagree", j.ID)
		case j.State.Positioned() && uint64(position) >= next[qid]:
			report("job %v: position %d, and the next of queue %q is %d", j.ID, position, j.Queue, next[qid])
		}
		return nil
	})
	return counts, err
}
