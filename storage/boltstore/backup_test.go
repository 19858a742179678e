package boltstore_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/boltstore"
)

func TestBackupAndCompactMakeWholeCopies(t *testing.T) {
	s, path := open(t, nil)
	payload := bytes.Repeat([]byte("x"), 500_000)
	for i := range byte(20) {
		update(t, s, func(tx storage.Tx) error { _, err := tx.AddJob(newJob(id(i)), payload); return err })
	}
	update(t, s, func(tx storage.Tx) error {
		for i := range byte(19) {
			j, err := tx.Job(id(i))
			if err != nil {
				return err
			}
			if err := tx.DeleteJob(j); err != nil {
				return err
			}
		}
		return nil
	})
	dir := t.TempDir()
	backup, compact := filepath.Join(dir, "backup"), filepath.Join(dir, "compact")
	f, err := os.Create(backup)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Backup(f), f.Close(), s.Compact(compact)); err != nil {
		t.Fatal(err)
	}
	if err := s.Compact(compact); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Compact to a file that exists: got %v, want %v", err, fs.ErrExist)
	}
	if err := boltstore.Verify(path); !errors.Is(err, boltstore.ErrLocked) {
		t.Errorf("Verify of an open file: got %v, want %v", err, boltstore.ErrLocked)
	}
	s.Close()
	size := map[string]int64{}
	for _, p := range []string{path, backup, compact} {
		if err := boltstore.Verify(p); err != nil {
			t.Errorf("Verify: %v", err)
		}
		info, err := os.Stat(p)
		if err != nil {
			t.Fatal(err)
		}
		size[p] = info.Size()
		c := reopen(t, p, nil)
		view(t, c, func(r storage.Reader) error {
			if p, err := r.Payload(newJob(id(19))); err != nil || !bytes.Equal(p, payload) {
				t.Errorf("payload has %d bytes, %v", len(p), err)
			}
			return nil
		})
		c.Close()
	}
	if size[compact] > 2_000_000 || size[backup] < 9_000_000 {
		t.Errorf("sizes are %v", size)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 2 {
		t.Errorf("got %v, %v, want two files", files, err)
	}
}

func TestVerifyReportsDamagedRecords(t *testing.T) {
	s, path := open(t, nil)
	update(t, s, add(id(1)))
	s.Close()
	raw(t, path, func(top *bbolt.Bucket) error {
		return flip(t, top.Bucket([]byte("data")), dataKey(id(1), specRecord))
	})
	if err := boltstore.Verify(path); !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("got %v, want %v", err, storage.ErrCorrupt)
	}
}
