package pgstore_test

import (
	"context"
	"testing"

	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/memstore"
	"github.com/pollackq/pollack/storage/pgstore"
	"github.com/pollackq/pollack/storage/pgstore/internal/pgtest"
	"github.com/pollackq/pollack/storage/storagetest"
)

// open returns a store in a schema of its own.
func open(t testing.TB) storage.Store {
	t.Helper()
	s, err := pgstore.New(context.Background(), pgtest.Pool(t), &pgstore.Options{Schema: pgtest.Schema(t)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestLaws(t *testing.T) {
	storagetest.RunWith(t, open, storagetest.RunOptions{RealTime: true})
}

func TestHistories(t *testing.T) {
	for seed := range uint64(60) {
		s := open(t)
		storagetest.Compare(t, memstore.New(nil), s, seed, 100)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
