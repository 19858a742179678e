package boltstore_test

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/boltstore"
)

// A transaction that stays open keeps bbolt from using the pages again that it could read, so that the file grows, and keeps Close waiting for ever (I19).
// The tests of the package as a whole demand that no file is left open (package leaks).
func TestNoCallLeavesATransactionOpen(t *testing.T) {
	db, err := bbolt.Open(filepath.Join(t.TempDir(), "jobs.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := boltstore.Wrap(db, nil)
	if err != nil {
		t.Fatal(err)
	}
	over, end := context.WithCancel(t.Context())
	end()
	errOwn := errors.New("of the function")
	view := func(ctx context.Context, fn func(storage.Reader) error) func() error {
		return func() error { return s.View(ctx, storage.Reads{}, fn) }
	}
	update := func(ctx context.Context, fn func(storage.Tx) error) func() error {
		return func() error { return s.Update(ctx, storage.Reads{}, fn) }
	}
	write := func(tx storage.Tx) error { return tx.PutQueue(&storage.Queue{QueueName: storage.QueueName{Name: "q"}}) }
	for _, c := range []struct {
		name string
		call func() error
	}{
		{"a view", view(t.Context(), func(storage.Reader) error { return nil })},
		{"a view that fails", view(t.Context(), func(storage.Reader) error { return errOwn })},
		{"a view that panics", view(t.Context(), func(storage.Reader) error { panic("own") })},
		{"a view whose context has ended", view(over, func(storage.Reader) error { return nil })},
		{"an update", update(t.Context(), write)},
		{"an update that writes nothing", update(t.Context(), func(storage.Tx) error { return nil })},
		{"an update that fails", update(t.Context(), func(tx storage.Tx) error { return errors.Join(write(tx), errOwn) })},
		{"an update that panics", update(t.Context(), func(storage.Tx) error { panic("own") })},
		{"an update whose context has ended", update(over, write)},
		{"a check", func() error { return s.Check(t.Context()) }},
		{"a check whose context has ended", func() error { return s.Check(over) }},
		{"a backup", func() error { return s.Backup(io.Discard) }},
		{"a backup that cannot be written", func() error { return s.Backup(failing{}) }},
		{"a copy", func() error { return s.Compact(filepath.Join(t.TempDir(), "copy.db")) }},
		{"a copy that cannot be written", func() error { return s.Compact(filepath.Join(t.TempDir(), "no", "folder")) }},
		{"closing", s.Close},
		{"a view of a closed store", view(t.Context(), func(storage.Reader) error { return nil })},
		{"an update of a closed store", update(t.Context(), write)},
	} {
		func() {
			defer func() { recover() }()
			c.call()
		}()
		if n := db.Stats().OpenTxN; n != 0 {
			t.Errorf("after %s: %d read transactions are open", c.name, n)
		}
		tx, err := db.Begin(true) // waits for ever if one that writes is open
		if err != nil {
			t.Fatal(err)
		}
		tx.Rollback()
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}

// failing is a writer that fails.
type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("no room") }
