package boltstore_test

import (
	"path/filepath"
	"testing"

	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/boltstore"
	"github.com/pollackq/pollack/storage/storagetest"
)

// FuzzCrash looks for a history after which a copy of the file, as a crash leaves it, is opened with other contents than the store had, or cannot be
// gone on with (I1, I3, I4). The overlay is tiny, so that jobs are written back all the time.
func FuzzCrash(f *testing.F) {
	storagetest.Fuzz(f, func(t testing.TB) storage.Store {
		o := boltstore.TinyOverlay(nil)
		path := filepath.Join(t.TempDir(), "jobs.db")
		return &crashing{Store: reopen(t, path, o), t: t, path: path, o: o, every: 5}
	})
}
