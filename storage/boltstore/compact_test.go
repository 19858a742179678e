package boltstore_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/boltstore"
)

// Pages that are freed while a copy is written are used again: the copy must be of one snapshot all the same, also where the file outgrows its map.
func TestACompactCopyIsWholeWhileWorkGoesOn(t *testing.T) {
	s, _ := wrap(t)
	update(t, s, func(tx storage.Tx) error { return tx.PutQueue(&storage.Queue{QueueName: queueA}) })
	var stop atomic.Bool
	var work sync.WaitGroup
	for w := range byte(4) {
		work.Go(func() {
			for n := uint32(1); !stop.Load(); n++ {
				name := id(w)
				binary.BigEndian.PutUint32(name[6:], n)
				j := newJob(name)
				update(t, s, func(tx storage.Tx) error {
					_, err := tx.AddJob(j, bytes.Repeat([]byte{byte(n)}, 900+int(n%300)))
					return err
				})
				if n > 300 {
					binary.BigEndian.PutUint32(name[6:], n-300)
					j := newJob(name)
					update(t, s, func(tx storage.Tx) error { return tx.DeleteJob(j) })
				}
			}
		})
	}
	defer work.Wait()
	defer stop.Store(true)
	for s.Stats().Updates < 3000 {
		runtime.Gosched()
	}
	dir := t.TempDir()
	for range 40 {
		copied := filepath.Join(dir, "copy")
		if err := s.Compact(copied); err != nil {
			t.Fatal(err)
		}
		if err := boltstore.Verify(copied); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(copied); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAJobWhoseLargePayloadIsMissingCanBeDiscarded(t *testing.T) {
	s := damage(t, bytes.Repeat([]byte("x"), 200<<10), func(top *bbolt.Bucket) error {
		large := top.Bucket([]byte("large"))
		k, _ := large.Cursor().First()
		return large.DeleteBucket(bytes.Clone(k))
	})
	if err := s.Discard(t.Context(), id(1)); err != nil {
		t.Fatal(err)
	}
	check(t, s)
}

func TestAJobWhoseLatestStateIsWholeCanBeDiscardedToo(t *testing.T) {
	s, path := open(t, nil)
	payload := []byte("find this payload")
	update(t, s, func(tx storage.Tx) error {
		_, err := tx.AddJob(newJob(id(1)), payload)
		return err
	})
	s.Close()
	s = reopen(t, path, nil)
	update(t, s, func(tx storage.Tx) error {
		j, err := tx.Job(id(1))
		if err != nil {
			return err
		}
		st := j.Status
		st.State = storage.Running
		return tx.SetJob(j.With(st))
	})
	// Behind the back of bbolt, so that the committer does not notice that somebody wrote.
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for from := 0; ; {
		at := bytes.Index(whole[from:], payload)
		if at < 0 {
			break
		}
		if _, err := f.WriteAt([]byte("F"), int64(from+at)); err != nil {
			t.Fatal(err)
		}
		from += at + 1
	}
	if err := s.View(t.Context(), storage.Reads{}, func(r storage.Reader) error {
		_, err := r.Payload(newJob(id(1)))
		return err
	}); !errors.Is(err, storage.ErrCorrupt) {
		t.Fatalf("got %v, want a damaged record", err)
	}
	if err := s.Discard(t.Context(), id(1)); err != nil {
		t.Fatal(err)
	}
	check(t, s)
}
