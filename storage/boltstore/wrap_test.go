package boltstore_test

import (
	"errors"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/boltstore"
)

var errFn = errors.New("fn failed")

func add(id storage.ID) func(storage.Tx) error {
	return func(tx storage.Tx) error {
		_, err := tx.AddJob(newJob(id), []byte("p"))
		return err
	}
}

// exists reports whether a job and the user's own row are there.
func exists(t *testing.T, s *boltstore.Store, id storage.ID) bool {
	t.Helper()
	err := s.View(t.Context(), storage.Reads{}, func(r storage.Reader) error { _, err := r.Job(id); return err })
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		t.Fatal(err)
	}
	return err == nil
}

func positions(t *testing.T, s *boltstore.Store) (next uint64, counts storage.Counts) {
	t.Helper()
	view(t, s, func(r storage.Reader) (err error) {
		if next, err = r.NextPosition(queueA); err != nil {
			return err
		}
		counts, err = r.Counts(queueA)
		return err
	})
	return next, counts
}

func TestJobsCommitTogetherWithTheUsersData(t *testing.T) {
	s, db := wrap(t)
	update(t, s, func(tx storage.Tx) error { return tx.PutQueue(&storage.Queue{QueueName: queueA}) })
	before, user, after, failed, undone := id(1), id(2), id(3), id(4), id(5)
	update(t, s, add(before))

	told := false
	if err := db.Update(func(btx *bbolt.Tx) error {
		b, err := btx.CreateBucketIfNotExists([]byte("rows"))
		if err != nil {
			return err
		}
		if err := b.Put([]byte("row"), []byte("1")); err != nil {
			return err
		}
		tx := s.Tx(btx)
		if tx.Deferred() {
			t.Error("Deferred: got true, want false")
		}
		tx.OnCommit(func() {
			if told = true; !exists(t, s, user) {
				t.Error("OnCommit does not see the job")
			}
		})
		if err := tx.Update(t.Context(), storage.Reads{}, add(user)); err != nil {
			return err
		}
		// A second transaction in the same one of the user's sees the first; its error takes back only its own.
		err = tx.Update(t.Context(), storage.Reads{}, func(tx storage.Tx) error {
			if _, err := tx.Job(user); err != nil {
				return err
			}
			if err := add(failed)(tx); err != nil {
				return err
			}
			return errFn
		})
		if err != errFn {
			t.Errorf("got %v, want %v", err, errFn)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if !told {
		t.Error("OnCommit was not called")
	}

	if err := db.Update(func(btx *bbolt.Tx) error {
		tx := s.Tx(btx)
		tx.OnCommit(func() { t.Error("OnCommit was called after a rollback") })
		if err := tx.Update(t.Context(), storage.Reads{}, add(undone)); err != nil {
			return err
		}
		return errFn
	}); err != errFn {
		t.Fatalf("got %v, want %v", err, errFn)
	}
	update(t, s, add(after))

	for id, want := range map[storage.ID]bool{before: true, user: true, after: true, failed: false, undone: false} {
		if got := exists(t, s, id); got != want {
			t.Errorf("job %v exists: got %v, want %v", id, got, want)
		}
	}
	if next, counts := positions(t, s); next != 3 || counts.Total() != 3 {
		t.Errorf("got next position %d and %d jobs, want 3 and 3", next, counts.Total())
	}
	check(t, s)
}

func TestAPanicInAUsersTransactionLeavesNoTrace(t *testing.T) {
	s, db := wrap(t)
	update(t, s, func(tx storage.Tx) error { return tx.PutQueue(&storage.Queue{QueueName: queueA}) })
	if err := db.Update(func(btx *bbolt.Tx) error {
		defer func() {
			if p := recover(); p != "boom" {
				t.Errorf("got panic %v, want boom", p)
			}
		}()
		return s.Tx(btx).Update(t.Context(), storage.Reads{}, func(tx storage.Tx) error {
			if err := add(id(1))(tx); err != nil {
				return err
			}
			panic("boom")
		})
	}); err != nil {
		t.Fatal(err)
	}
	if exists(t, s, id(1)) {
		t.Error("the job is there")
	}
	check(t, s)
}

func TestTxRefusesATransactionThatIsNotAWriteOneOfItsFile(t *testing.T) {
	s, db := wrap(t)
	_, other := wrap(t)
	try := func(btx *bbolt.Tx) error {
		if err := s.Tx(btx).Update(t.Context(), storage.Reads{}, func(storage.Tx) error { return nil }); err == nil {
			t.Error("got nil, want an error")
		}
		return nil
	}
	if err := errors.Join(db.View(try), other.Update(try)); err != nil {
		t.Fatal(err)
	}
}

func TestWrapLeavesTheUsersFileOpenAndItsOptionsAlone(t *testing.T) {
	s, db := wrap(t)
	if db.NoFreelistSync || db.MaxSize != 0 {
		t.Error("options were changed")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := db.View(func(*bbolt.Tx) error { return nil }); err != nil {
		t.Errorf("after Close of the store: %v", err)
	}
	again, err := boltstore.Wrap(db, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	check(t, again)
}

// id makes an id that is easy to tell from others.
func id(n byte) storage.ID {
	return storage.ID{0, 0, 0, 0, 0, byte(time.May), 15: n}
}
