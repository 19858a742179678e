package boltstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
)

// Backup writes a copy of the whole file, other buckets of a wrapped file included, as it was at one commit. Work goes on meanwhile,
// but pages that it frees are not reused before the copy is complete: a slow writer makes the file grow.
func (s *Store) Backup(w io.Writer) error {
	err := s.view(context.Background(), func(r *reader) error {
		_, err := r.btx.WriteTo(w)
		return err
	})
	if err != nil {
		return fmt.Errorf("boltstore: backup: %w", err)
	}
	return nil
}

// Compact writes a copy of the whole file, without its free pages, to a new file, which appears only once it is complete. It fails
// with an error that matches fs.ErrExist if dst exists. To replace the file itself, close the Store and rename.
func (s *Store) Compact(dst string) error {
	err := s.view(context.Background(), func(*reader) error { return s.compact(dst) })
	if err != nil {
		return fmt.Errorf("boltstore: compact: %w", err)
	}
	return nil
}

func (s *Store) compact(dst string) error {
	if _, err := os.Lstat(dst); err == nil {
		return &os.PathError{Op: "create", Path: dst, Err: os.ErrExist}
	}
	dir := filepath.Dir(dst)
	f, err := os.CreateTemp(dir, filepath.Base(dst)+".new-*")
	if err != nil {
		return openError(err)
	}
	temp := f.Name()
	defer os.Remove(temp)
	if err := f.Close(); err != nil {
		return err
	}
	// Nobody sees the file before it is whole and synced, so its commits need no sync of their own.
	db, err := openFile(temp, &bbolt.Options{Timeout: time.Second, NoSync: true, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return err
	}
	err = guarded(func() error { return bbolt.Compact(db, s.db, 4<<20) })
	if err = errors.Join(err, db.Sync(), db.Close()); err != nil {
		return err
	}
	if err := publish(temp, dst); err != nil {
		return err
	}
	return syncDir(dir)
}
