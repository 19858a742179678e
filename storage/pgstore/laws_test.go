package pgstore_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/pgstore"
	"github.com/pollackq/pollack/storage/pgstore/internal/pgtest"
	"github.com/pollackq/pollack/storage/storagetest"
)

// open returns a store in a schema of its own.
func open(t testing.TB) storage.Store {
	t.Helper()
	return openIn(t, pgtest.Schema(t))
}

// openIn returns a store in a schema, which is made if it is not there.
func openIn(t testing.TB, schema string) storage.Store {
	t.Helper()
	s, err := pgstore.New(context.Background(), pgtest.Pool(t), &pgstore.Options{Schema: schema})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestLaws runs with the server's own clock and with notifications, which the bubbles have not. The nodes of a schema keep the laws together: each transaction
// is another node's than the one before.
func TestLaws(t *testing.T) {
	t.Parallel()
	storagetest.RunWith(t, openTwo, storagetest.RunOptions{RealTime: true})
}

// openTwo opens two nodes that take turns.
func openTwo(t testing.TB) storage.Store {
	schema := pgtest.Schema(t)
	return &turns{nodes: []storage.Store{openIn(t, schema), openIn(t, schema)}}
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
