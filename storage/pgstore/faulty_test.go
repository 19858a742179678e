package pgstore_test

import (
	"testing"

	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/pgstore/internal/pgbubble"
	"github.com/pollackq/pollack/storage/storagetest"
)

// twice has every function run twice.
var twice = storagetest.Every(1, storagetest.Fault{Kind: storagetest.Rerun})

func TestLawsWhereFunctionsRunTwice(t *testing.T) {
	t.Parallel()
	open := pgbubble.Opener(t)
	storagetest.Run(t, func(t testing.TB) storage.Store { return storagetest.Faulty(open(t), twice) })
}
