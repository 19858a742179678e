package nodes

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/memstore"
	"github.com/pollackq/pollack/storage/pgstore"
)

// A Hand moves the clock of a schema, for all nodes: it stands in a table there.
type Hand struct {
	pool   *pgxpool.Pool
	schema string       // quoted
	mu     sync.RWMutex // held for reading while a transaction runs
	clock  *memstore.Clock
	alarms *memstore.Store // rings by the clock; nothing else is done with it
}

// NewHand makes a schema whose clock stands at a time.
func NewHand(ctx context.Context, pool *pgxpool.Pool, schema string, at time.Time) (*Hand, error) {
	if err := pgstore.Migrate(ctx, pool, &pgstore.Options{Schema: schema}); err != nil {
		return nil, err
	}
	clock := memstore.NewClock(at)
	h := &Hand{pool: pool, schema: pgx.Identifier{schema}.Sanitize(), clock: clock, alarms: memstore.New(&memstore.Options{Clock: clock})}
	_, err := pool.Exec(ctx, "CREATE TABLE "+h.schema+".hand AS SELECT $1::timestamptz AS at", at)
	if err == nil {
		_, err = pool.Exec(ctx, "CREATE OR REPLACE FUNCTION "+h.schema+".clock() RETURNS timestamptz LANGUAGE sql VOLATILE AS 'SELECT at FROM "+h.schema+".hand'")
	}
	return h, err
}

// Advance moves the clock, and returns when the nodes have done all that has become due, which is an event: nothing is due any more.
func (h *Hand) Advance(ctx context.Context, d time.Duration) error {
	if err := h.move(ctx, d); err != nil {
		return err
	}
	const each = 2 * time.Millisecond
	timer := time.NewTicker(each)
	defer timer.Stop()
	for {
		var due bool
		err := h.pool.QueryRow(ctx, "SELECT EXISTS (SELECT FROM "+h.schema+".job WHERE due <= (SELECT at FROM "+h.schema+".hand))").Scan(&due)
		if err != nil || !due {
			return err
		}
		select {
		case <-timer.C:
		case <-ctx.Done():
			return errors.New("what has become due is not done")
		}
	}
}

// move moves the clock while no transaction runs: each sees one time.
func (h *Hand) move(ctx context.Context, d time.Duration) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := h.pool.Exec(ctx, "UPDATE "+h.schema+".hand SET at = at + $1 * interval '1 microsecond'", d.Microseconds())
	if err == nil {
		h.clock.Advance(d)
	}
	return err
}

// A Node is a store whose broker has its alarms from a Hand. All nodes do what is due at its time, so that they get into each other's way.
type Node struct {
	*pgstore.Store
	hand *Hand
}

// Node opens a store on the schema.
func (h *Hand) Node(ctx context.Context, pool *pgxpool.Pool, o pgstore.Options) (*Node, error) {
	s, err := pgstore.New(ctx, pool, &o)
	if err != nil {
		return nil, err
	}
	return &Node{s, h}, nil
}

// Alarm calls fn when the clock has come to a time.
func (n *Node) Alarm(at time.Time, fn func()) (stop func()) { return n.hand.alarms.Alarm(at, fn) }

// Lag is none.
func (n *Node) Lag() time.Duration { return 0 }

// View is the store's.
func (n *Node) View(ctx context.Context, r storage.Reads, fn func(storage.Reader) error) error {
	n.hand.mu.RLock()
	defer n.hand.mu.RUnlock()
	return n.Store.View(ctx, r, fn)
}

// Update is the store's.
func (n *Node) Update(ctx context.Context, r storage.Reads, fn func(storage.Tx) error) error {
	n.hand.mu.RLock()
	defer n.hand.mu.RUnlock()
	return n.Store.Update(ctx, r, fn)
}
