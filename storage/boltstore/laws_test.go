package boltstore_test

import (
	"os"
	"path/filepath"
	"strconv"
	"sync"
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

// openTiny opens a store that writes jobs back with almost every commit.
func openTiny(t testing.TB) storage.Store {
	return reopen(t, filepath.Join(t.TempDir(), "jobs.db"), boltstore.TinyOverlay(nil))
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

func TestLaws(t *testing.T) {
	paths := map[storage.Store]string{}
	var mu sync.Mutex
	storagetest.RunWith(t, func(t testing.TB) storage.Store {
		path := filepath.Join(t.TempDir(), "jobs.db")
		s := reopen(t, path, nil)
		mu.Lock()
		defer mu.Unlock()
		paths[s] = path
		return s
	}, storagetest.RunOptions{Reopen: func(t testing.TB, closed storage.Store) storage.Store {
		mu.Lock()
		defer mu.Unlock()
		s := reopen(t, paths[closed], nil)
		paths[s] = paths[closed]
		return s
	}})
}

func TestLawsWithATinyOverlay(t *testing.T) { storagetest.Run(t, openTiny) }

func TestLawsInAUsersFile(t *testing.T) { storagetest.Run(t, openWrapped) }

// POLLACK_HISTORIES says how many random histories there are, of 200 steps each.
func TestHistoriesAgreeWithMemory(t *testing.T) {
	histories := uint64(40)
	if s := os.Getenv("POLLACK_HISTORIES"); s != "" {
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		histories = n
	}
	for seed := range histories {
		open := []func(testing.TB) storage.Store{openWrapped, openEmpty, openTiny, openEmpty}[seed%4]
		s := open(t)
		storagetest.Compare(t, memstore.New(nil), s, seed, 200)
		check(t, s.(*boltstore.Store))
	}
}

func FuzzHistory(f *testing.F) { storagetest.Fuzz(f, openEmpty) }
