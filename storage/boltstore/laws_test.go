package boltstore_test

import (
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/boltstore"
	"github.com/pollackq/pollack/storage/memstore"
	"github.com/pollackq/pollack/storage/storagetest"
)

func openEmpty(t testing.TB) storage.Store {
	return reopen(t, filepath.Join(t.TempDir(), "jobs.db"), nil)
}

// openWrapped opens a store in a file of a user's own, with bbolt's defaults.
func openWrapped(t testing.TB) storage.Store {
	s, _ := wrap(t)
	return s
}

func wrap(t testing.TB) (*boltstore.Store, *bbolt.DB) {
	t.Helper()
	db, err := bbolt.Open(filepath.Join(t.TempDir(), "users.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	s, err := boltstore.Wrap(db, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, db
}

func TestLaws(t *testing.T) { storagetest.Run(t, openEmpty) }

func TestLawsInAUsersFile(t *testing.T) { storagetest.Run(t, openWrapped) }

func TestHistoriesAgreeWithMemory(t *testing.T) {
	for seed := range uint64(40) {
		open := openEmpty
		if seed%4 == 0 {
			open = openWrapped
		}
		s := open(t)
		storagetest.Compare(t, memstore.New(nil), s, seed, 200)
		check(t, s.(*boltstore.Store))
	}
}

func FuzzHistory(f *testing.F) { storagetest.Fuzz(f, openEmpty) }
