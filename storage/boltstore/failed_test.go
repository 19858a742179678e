package boltstore_test

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"

	"go.etcd.io/bbolt"

	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/boltstore"
)

func TestAfterAFailedCommitTheOutcomeIsUnknownAndTheStoreRefusesWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var file *os.File
		db, err := bbolt.Open(filepath.Join(t.TempDir(), "f"), 0o600, &bbolt.Options{
			OpenFile: func(name string, flag int, mode os.FileMode) (_ *os.File, err error) {
				file, err = os.OpenFile(name, flag, mode)
				return file, err
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		s, err := boltstore.Wrap(db, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		update(t, s, func(tx storage.Tx) error { return tx.PutQueue(&storage.Queue{QueueName: queueA}) })
		release := hold(t, s)
		file.Close() // no write succeeds any more
		var wg sync.WaitGroup
		for _, c := range []struct { // in the order in which they run
			name string
			fn   func(storage.Tx) error
			want error
		}{
			{"one that read before anybody wrote", func(tx storage.Tx) error { _, err := tx.Counts(queueA); return err }, nil},
			{"one that wrote", add(id(1)), storage.ErrOutcomeUnknown},
			{"one that failed", func(tx storage.Tx) error { return errors.Join(add(id(2))(tx), errFn) }, storage.ErrFailed},
			{"one that wrote none", func(tx storage.Tx) error { _, err := tx.Counts(queueA); return err }, storage.ErrFailed},
			{"another one that did", add(id(3)), storage.ErrOutcomeUnknown},
		} {
			wg.Go(func() {
				err := s.Update(t.Context(), storage.Reads{}, c.fn)
				if !errors.Is(err, c.want) || errors.Is(err, errFn) {
					t.Errorf("%s: got %v, want %v", c.name, err, c.want)
				}
			})
			synctest.Wait() // it stands behind those before it
		}
		release()
		wg.Wait()
		ran := false
		if err := s.Update(t.Context(), storage.Reads{}, func(storage.Tx) error { ran = true; return nil }); !errors.Is(err, storage.ErrFailed) {
			t.Errorf("Update after that: got %v, want %v", err, storage.ErrFailed)
		}
		if err := s.View(t.Context(), storage.Reads{}, func(storage.Reader) error { ran = true; return nil }); !errors.Is(err, storage.ErrFailed) {
			t.Errorf("View after that: got %v, want %v", err, storage.ErrFailed)
		}
		if ran {
			t.Error("a function ran in a failed store")
		}
	})
}
