package pgstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pollackq/pollack/storage"
)

// A Store keeps jobs in the tables of a schema. It is made by New, and safe for concurrent use. It implements storage.Store,
// storage.Notifier and storage.Checker.
type Store struct {
	opts   Options
	schema string // as SQL has it
	sql    statements
	pool   *pgxpool.Pool // the store's own
	clock  clock
	counts folds
	memory memory
	hub    *hub
	shut   shut

	updates, views *lane
	singles        chan struct{} // holds one for each transaction that runs alone
	running        sync.WaitGroup
	life           context.Context // ends when all calls have been answered
	end            context.CancelFunc
	closing        sync.Once

	mutedUntil atomic.Int64 // no notifications until then, in nanoseconds since 1970

	trips, groups, calls, alones, reruns atomic.Uint64
}

var (
	_ storage.Store    = (*Store)(nil)
	_ storage.Checker  = (*Store)(nil)
	_ storage.Notifier = (*Store)(nil)
	_ storage.Tx       = (*txn)(nil)
)

// New opens the store in the database that pool leads to. It takes over the pool's configuration, hooks included, and opens connections of its
// own, at most Options.Connections and one that listens: whoever holds all of the pool's may still enqueue. Unless Options.NoMigrate
// is set it brings the schema up to date first. The caller closes the store before the pool.
func New(ctx context.Context, pool *pgxpool.Pool, o *Options) (*Store, error) {
	opts, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if pool == nil {
		return nil, errors.New("pgstore: no pool")
	}
	err = pool.AcquireFunc(ctx, func(c *pgxpool.Conn) error { return openSchema(ctx, c.Conn(), opts) })
	if err != nil {
		return nil, err
	}
	config := pool.Config()
	config.MaxConns, config.MinConns, config.MinIdleConns = int32(opts.Connections), 0, 0
	if config.ConnConfig.DefaultQueryExecMode == pgx.QueryExecModeSimpleProtocol {
		config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	}
	if t := config.ConnConfig.ConnectTimeout; t == 0 || t > patience/2 {
		config.ConnConfig.ConnectTimeout = patience / 2
	}
	if t := config.PingTimeout; t == 0 || t > patience/8 {
		config.PingTimeout = patience / 8 // all idle connections may have been forgotten by the network at once
	}
	tune := config.AfterConnect
	config.AfterConnect = func(ctx context.Context, c *pgx.Conn) error {
		if tune != nil {
			if err := tune(ctx, c); err != nil {
				return err
			}
		}
		if opts.NoListen {
			return nil // each transaction has them
		}
		// Not by way of c.Exec, which refuses to send text while standard_conforming_strings is off.
		return c.PgConn().Exec(ctx, setAll(opts, false)).Close()
	}
	s := &Store{opts: opts, schema: quoted(opts.Schema), sql: newStatements(quoted(opts.Schema))}
	s.sql.settings = setAll(opts, true)
	if s.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, fmt.Errorf("pgstore: %w", err)
	}
	s.singles = make(chan struct{}, max(1, opts.Connections-2))
	s.life, s.end = context.WithCancel(context.Background())
	s.hub = newHub(s)
	if err := s.hub.start(ctx); err != nil {
		s.end()
		s.pool.Close()
		return nil, err
	}
	s.updates, s.views = newLane(s.update), newLane(s.view)
	return s, nil
}

// View runs fn on one snapshot, which calls that wait together share.
func (s *Store) View(ctx context.Context, r storage.Reads, fn func(storage.Reader) error) error {
	return s.views.do(ctx, r, func(t *txn) error { return fn(t) })
}

// Update runs fn in a transaction, which calls that wait together share.
func (s *Store) Update(ctx context.Context, r storage.Reads, fn func(storage.Tx) error) error {
	return s.updates.do(ctx, r, func(t *txn) error { return fn(t) })
}

// Close waits for the transactions under way and closes the store's connections. The pool that New was given stays open. While the database
// is out of reach that takes half a minute at most.
func (s *Store) Close() error {
	s.closing.Do(func() {
		defer time.AfterFunc(patience, s.end).Stop()
		s.updates.close()
		s.views.close()
		s.running.Wait()
		s.hub.stop()
		s.end()
		s.pool.Close()
	})
	return nil
}

// Stats count what a store has done since New.
type Stats struct {
	Calls  uint64 // of View and Update that were run
	Groups uint64 // transactions that calls shared
	Alone  uint64 // transactions of one call that needed one of its own
	Reruns uint64 // of transactions, since another node was quicker or the connection was lost
	Trips  uint64 // round trips to the database
}

// Stats returns what the store has done.
func (s *Store) Stats() Stats {
	return Stats{Calls: s.calls.Load(), Groups: s.groups.Load(), Alone: s.alones.Load(), Reruns: s.reruns.Load(), Trips: s.trips.Load()}
}

// patience bounds what the database is waited for: a network that swallows what is sent would otherwise hold all callers up.
const patience = 10 * time.Second

func patient(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, patience)
}
