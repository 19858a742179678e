package pgstore_test

import (
	"context"
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

// TestLaws runs with the server's own clock and with notifications, which the bubbles have not.
func TestLaws(t *testing.T) {
	t.Parallel()
	storagetest.RunWith(t, open, storagetest.RunOptions{RealTime: true})
}
