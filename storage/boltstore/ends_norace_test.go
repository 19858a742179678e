//go:build !race

package boltstore_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/boltstore"
)

// A page that is damaged makes bbolt panic when it scans a file that was not closed cleanly: that is an error of Open, which leaves no lock, so that
// the file can be opened as soon as it is repaired (I15, I17). The panic ends a transaction of bbolt which its own goroutine still reads, which the
// race detector reports.
func TestAnOpenThatFailsOverADamagedPageLeavesNoLock(t *testing.T) {
	s, path := open(t, nil)
	update(t, s, add(id(1)))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoFreelistSync: true})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucket([]byte("other"))
		for n := 0; n < 60 && err == nil; n++ {
			err = b.Put(fmt.Appendf(nil, "other-key-%03d", n), make([]byte, 30))
		}
		return err
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	replace := func(old, new string) {
		t.Helper()
		p, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(p, []byte(old)) {
			t.Fatalf("the file has no %q", old)
		}
		if err := os.WriteFile(path, bytes.ReplaceAll(p, []byte(old), []byte(new)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const good, bad = "other-key-030", "other-key-990" // before its neighbour, which is less
	replace(good, bad)
	for range 2 {
		s, err := boltstore.Open(path, &boltstore.Options{Timeout: time.Millisecond})
		if !errors.Is(err, boltstore.ErrDamaged) || !errors.Is(err, storage.ErrCorrupt) {
			t.Fatalf("got %v, want %v", err, boltstore.ErrDamaged)
		}
		if err == nil {
			s.Close()
		}
	}
	replace(bad, good)
	if s := reopen(t, path, &boltstore.Options{Timeout: time.Millisecond}); !exists(t, s, id(1)) {
		t.Error("the job is gone")
	}
}
