package pgstore_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/pgstore/internal/pgbubble"
	"github.com/pollackq/pollack/storage/pgstore/internal/pgtest"
	"github.com/pollackq/pollack/storage/storagetest"
)

func TestLawsInBubbles(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	schemas := make(map[storage.Store]*pgbubble.Schema)
	storagetest.RunWith(t, func(t testing.TB) storage.Store {
		schema := pgbubble.NewSchema(t, dsn)
		s := schema.Open(t, nil)
		schemas[s] = schema
		return s
	}, storagetest.RunOptions{Reopen: func(t testing.TB, closed storage.Store) storage.Store {
		s := schemas[closed].Open(t, nil)
		schemas[s] = schemas[closed]
		return s
	}})
}

// The nodes of a schema keep the laws together: each transaction is another node's than the one before.
func TestLawsOfTwoNodesThatTakeTurns(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	storagetest.Run(t, func(t testing.TB) storage.Store {
		schema := pgbubble.NewSchema(t, dsn)
		return &turns{nodes: []storage.Store{schema.Open(t, nil), schema.Open(t, nil)}}
	})
}

// A turns is several stores on one schema, of which each does the next transaction.
type turns struct {
	nodes []storage.Store
	n     atomic.Int64
	once  sync.Once
}

func (s *turns) next() storage.Store { return s.nodes[int(s.n.Add(1))%len(s.nodes)] }

func (s *turns) View(ctx context.Context, r storage.Reads, fn func(storage.Reader) error) error {
	return s.next().View(ctx, r, fn)
}

func (s *turns) Update(ctx context.Context, r storage.Reads, fn func(storage.Tx) error) error {
	return s.next().Update(ctx, r, fn)
}

func (s *turns) Close() (err error) {
	s.once.Do(func() {
		for _, n := range s.nodes {
			if e := n.Close(); e != nil {
				err = e
			}
		}
	})
	return err
}

// Unwrap lets storage.As find the Checker.
func (s *turns) Unwrap() storage.Store { return s.nodes[0] }
