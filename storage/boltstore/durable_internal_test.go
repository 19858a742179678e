package boltstore

import (
	"errors"
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/pollackq/pollack/storage"
)

func TestAViewReportsACommitOnlyOnceItIsDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(filepath.Join(t.TempDir(), "f"), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if err := s.Update(t.Context(), storage.Reads{}, func(tx storage.Tx) error {
			return tx.PutQueue(&storage.Queue{QueueName: storage.QueueName{Name: "q"}})
		}); err != nil {
			t.Fatal(err)
		}
		view := func() error { return s.View(t.Context(), storage.Reads{}, func(storage.Reader) error { return nil }) }

		// As between the write of the meta page and its sync.
		commit := s.durable.Load()
		s.durable.Store(commit - 1)
		if err := view(); err != nil {
			t.Errorf("got %v, want nil", err)
		}
		if got := s.durable.Load(); got != commit {
			t.Errorf("durable is %d, want %d: nobody synced", got, commit)
		}

		// As when that sync then fails.
		s.durable.Store(commit - 1)
		s.failed.Store(true)
		if err := view(); !errors.Is(err, storage.ErrFailed) {
			t.Errorf("got %v, want %v", err, storage.ErrFailed)
		}
		if err := s.awaitDurable(commit); !errors.Is(err, storage.ErrFailed) {
			t.Errorf("got %v, want %v", err, storage.ErrFailed)
		}
	})
}
