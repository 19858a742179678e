// Package pgbubble opens stores inside of testing/synctest bubbles, where hours take no time. The server is a real one: a query under way holds the
// bubble's time still, and the schema's clock, which is the store's, follows that time.
//
//	open := pgbubble.Opener(t)
//	synctest.Test(t, func(t *testing.T) {
//		store := open(t)
//		...
//	})
//
// A store listens to nothing there: a goroutine that sits in a read of a socket for ever would hold time still for ever. What other nodes, and
// transactions of users, have committed is found by the look of Options.Fallback.
package pgbubble

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pollackq/pollack/storage/pgstore"
	"github.com/pollackq/pollack/storage/pgstore/internal/pgtest"
)

// Opener returns what opens a store in an empty schema of its own. It is called outside of bubbles, where the server is started; what it returns, inside.
// Who opens a store closes it.
func Opener(t testing.TB) func(t testing.TB) *pgstore.Store {
	t.Helper()
	dsn := pgtest.DSN(t)
	return func(t testing.TB) *pgstore.Store {
		t.Helper()
		return NewSchema(t, dsn).Open(t, nil)
	}
}

// A Schema is an empty one of the bubble's, whose clock is the bubble's.
type Schema struct {
	Name string
	Pool *pgxpool.Pool // as a user has it
}

// NewSchema makes a schema in the database of dsn.
func NewSchema(t testing.TB, dsn string) *Schema {
	t.Helper()
	s := &Schema{Name: pgtest.Schema(t), Pool: connect(t, dsn)}
	ctx := context.Background()
	if err := pgstore.Migrate(ctx, s.Pool, &pgstore.Options{Schema: s.Name}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Pool.Exec(ctx, fmt.Sprintf(clock, s.Name), pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	return s
}

// Open opens a store on the schema: a node, of which there may be several. Of the options NoListen is set, and a Fallback that makes no looks, unless
// they have one.
func (s *Schema) Open(t testing.TB, o *pgstore.Options) *pgstore.Store {
	t.Helper()
	var opts pgstore.Options
	if o != nil {
		opts = *o
	}
	opts.Schema, opts.NoMigrate, opts.NoListen = s.Name, true, true
	if opts.Fallback == 0 {
		opts.Fallback = century
	}
	store, err := pgstore.New(context.Background(), s.Pool, &opts)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

const century = 100 * 365 * 24 * time.Hour

const (
	// clock has a connection see the time that tick has told it. It is an error if there is none.
	clock = "CREATE OR REPLACE FUNCTION %s.clock() RETURNS timestamptz LANGUAGE sql VOLATILE AS " +
		"$$ SELECT pg_catalog.to_timestamp(0) + pg_catalog.current_setting('pollack.clock')::bigint * interval '1 microsecond' $$"
	tick = "SET pollack.clock = %d"
)

// connect returns connections that learn the bubble's time whenever they are taken from the pool.
func connect(t testing.TB, dsn string) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	config.PrepareConn = func(ctx context.Context, c *pgx.Conn) (bool, error) {
		_, err := c.Exec(ctx, fmt.Sprintf(tick, time.Now().UnixMicro()), pgx.QueryExecModeSimpleProtocol)
		return err == nil, err
	}
	// Connections do not grow old here, for all the hours that pass.
	config.MaxConnLifetime, config.MaxConnIdleTime, config.HealthCheckPeriod = century, century, century
	config.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { return false }
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}
