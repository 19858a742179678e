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
// but pages that it frees are not reused before the copy is complete, so that a slow writer makes the file grow; and once it would outgrow
// the map that bbolt made of it (1 GiB, or what it had at Open if that was more) all work waits for the copy. Write to a file, not to a
// slow network.
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
	err := s.view(context.Background(), func(r *reader) error { return compact(r.btx, dst) })
	if err != nil {
		return fmt.Errorf("boltstore: compact: %w", err)
	}
	return nil
}

func compact(src *bbolt.Tx, dst string) error {
	if _, err := os.Lstat(dst); err == nil {
		return &os.PathError{Op: "create", Path: dst, Err: os.ErrExist}
	}
	dir := filepath.Dir(dst)
	sweep(dst)
	f, err := os.CreateTemp(dir, filepath.Base(dst)+temporary+"*")
	if err != nil {
		return openError(err)
	}
	temp := f.Name()
	defer os.Remove(temp)
	if err := f.Close(); err != nil {
		return err
	}
	// Nobody sees the file before it is whole and synced, so its commits need no sync of their own.
	db, _, err := openFile(temp, &bbolt.Options{Timeout: time.Second, NoSync: true, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return err
	}
	err = guarded(func() error { return copyInto(db, src) })
	if err = errors.Join(err, db.Sync(), db.Close()); err != nil {
		return err
	}
	if err := publish(temp, dst); err != nil {
		return err
	}
	return syncDir(dir)
}

// copyInto copies all buckets of a snapshot into an empty file. It is bbolt.Compact within one read transaction: that begins one of its own, which
// deadlocks behind a writer that has to grow the map, and ends it before its last commit, which then writes pages that others have used again.
func copyInto(dst *bbolt.DB, src *bbolt.Tx) error {
	const most = 4 << 20 // bytes of a transaction
	tx, err := dst.Begin(true)
	if err != nil {
		return err
	}
	defer func() { tx.Rollback() }() // does nothing after a commit
	size := 0
	var walk func(path [][]byte, b *bbolt.Bucket) error
	walk = func(path [][]byte, b *bbolt.Bucket) error {
		to, err := bucketAt(tx, path, b)
		if err != nil {
			return err
		}
		return b.ForEach(func(k, v []byte) error {
			if v == nil {
				if err := walk(append(path[:len(path):len(path)], k), b.Bucket(k)); err != nil {
					return err
				}
				to, err = bucketAt(tx, path, b) // of the transaction that is under way now
				return err
			}
			if size += len(k) + len(v); size > most {
				size = len(k) + len(v)
				if err := tx.Commit(); err != nil {
					return err
				}
				if tx, err = dst.Begin(true); err != nil {
					return err
				}
				if to, err = bucketAt(tx, path, b); err != nil {
					return err
				}
			}
			return to.Put(k, v)
		})
	}
	if err := src.ForEach(func(name []byte, b *bbolt.Bucket) error { return walk([][]byte{name}, b) }); err != nil {
		return err
	}
	return tx.Commit()
}

// bucketAt opens a bucket, and creates it as one like b if it is not there yet.
func bucketAt(tx *bbolt.Tx, path [][]byte, b *bbolt.Bucket) (*bbolt.Bucket, error) {
	to, err := tx.CreateBucketIfNotExists(path[0])
	for _, name := range path[1:] {
		if err != nil {
			return nil, err
		}
		to, err = to.CreateBucketIfNotExists(name)
	}
	if err != nil {
		return nil, err
	}
	to.FillPercent = 1 // keys come in order
	if to.Sequence() == b.Sequence() {
		return to, nil
	}
	return to, to.SetSequence(b.Sequence())
}
