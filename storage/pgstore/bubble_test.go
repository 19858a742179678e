package pgstore_test

import (
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
