package boltstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/bbolt"

	"github.com/pollackq/pollack/storage"
)

// Open opens the store in the file of that path, and creates it if there is none. The file is locked until Close.
//
// What is wrong with a file is said by ErrLocked, ErrForeign, ErrTruncated, ErrDamaged, ErrFormat or ErrReadOnly.
func Open(path string, o *Options) (*Store, error) {
	opts := o.withDefaults()
	s, err := open(path, opts)
	if errors.Is(err, storage.ErrCorrupt) && !errors.Is(err, ErrDamaged) {
		err = fmt.Errorf("%w (%w)", ErrDamaged, err)
	}
	if err != nil {
		return nil, fmt.Errorf("boltstore: open %s: %w", path, err)
	}
	return s, nil
}

func open(path string, o Options) (*Store, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if err := create(path, o); err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, openError(err)
	}
	if err := probe(path, o.Timeout); err != nil {
		return nil, err
	}
	if wholeMetaPages(path) == 1 {
		o.Logger.Warn("one of the two meta pages is damaged: unless a loss of power tore it, the last commit may be missing", "file", path)
	}
	db, file, err := openFile(path, &bbolt.Options{
		Timeout: o.Timeout, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType, InitialMmapSize: initialMmapSize(), MaxSize: int(o.MaxSize),
	})
	if err != nil {
		return nil, err
	}
	db.AllocSize = allocSizeFor(o.MaxSize, db.AllocSize)
	s, err := newStore(db, file, o)
	if err != nil {
		db.Close()
		return nil, err
	}
	return s, nil
}

// initialMmapSize is large enough that readers seldom make the writer wait for a larger map.
func initialMmapSize() int {
	if runtime.GOOS == "windows" || strconv.IntSize == 32 {
		return 0 // Windows makes the file as large as the map; 32 bits have no such room
	}
	return 1 << 30
}

// openFile opens a bbolt file. A panic over a damaged page becomes an error that leaves no lock behind.
func openFile(path string, o *bbolt.Options) (db *bbolt.DB, file *os.File, err error) {
	o.OpenFile = func(name string, flag int, mode os.FileMode) (f *os.File, err error) {
		file, err = os.OpenFile(name, flag, mode)
		return file, err
	}
	err = guarded(func() (err error) {
		db, err = bbolt.Open(path, 0o600, o)
		return err
	})
	if err != nil {
		if file != nil {
			unlock(file) // after a panic the map is still there, and with it the lock, whoever closes the file
			file.Close()
		}
		return nil, nil, openError(err)
	}
	return db, file, nil
}

// create makes a new store in a file of a temporary name, so that a crash leaves either a whole store or none.
func create(path string, o Options) (err error) {
	dir := filepath.Dir(path)
	sweep(path)
	f, err := os.CreateTemp(dir, filepath.Base(path)+temporary+"*")
	if err != nil {
		return openError(err)
	}
	temp := f.Name()
	defer os.Remove(temp)
	if err := f.Close(); err != nil {
		return err
	}
	db, _, err := openFile(temp, &bbolt.Options{Timeout: o.Timeout})
	if err != nil {
		return err
	}
	err = db.Update(createBuckets)
	if err = errors.Join(err, db.Sync(), db.Close()); err != nil {
		return err
	}
	if err := publish(temp, path); errors.Is(err, fs.ErrExist) {
		return nil // another process was faster
	} else if err != nil {
		return openError(err)
	}
	return syncDir(dir)
}

// temporary stands between the name of a file and a number while it is made, abandoned is how old such a file is that nobody makes any more.
const (
	temporary = ".new-"
	abandoned = time.Hour
)

// sweep removes what processes left behind that were killed while they made a file of that path. What stays is harmless.
func sweep(path string) {
	dir, prefix := filepath.Dir(path), filepath.Base(path)+temporary
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		number, ours := strings.CutPrefix(e.Name(), prefix)
		if _, err := strconv.ParseUint(number, 10, 64); !ours || err != nil {
			continue
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() && time.Since(info.ModTime()) > abandoned {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

// publish gives a complete file its name. Unlike a rename, a link does not replace what another process has created meanwhile.
func publish(temp, path string) error {
	err := os.Link(temp, path)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	return os.Rename(temp, path) // a file system without links
}

// syncDir makes a new name in a directory durable.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // directories cannot be synced there
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// probe looks at a file without changing it: opening it for writing may read, or even scan, all of it.
func probe(path string, timeout time.Duration) error {
	if err := probeMagic(path); err != nil {
		return err
	}
	db, _, err := openFile(path, &bbolt.Options{Timeout: timeout, ReadOnly: true})
	if err != nil {
		return err
	}
	defer db.Close()
	return guarded(func() error {
		return db.View(func(btx *bbolt.Tx) error {
			info, err := os.Stat(path)
			if err != nil {
				return err
			}
			if info.Size() < btx.Size() {
				return fmt.Errorf("%w (%d bytes, expected %d)", ErrTruncated, info.Size(), btx.Size())
			}
			_, err = readMeta(btx)
			return err
		})
	})
}

// probeMagic tells files that are not bbolt's from those that are cut short.
func probeMagic(path string) error {
	const (
		magic  = 0xED0CDAED // at offset 16 of each of the first two pages, in the machine's byte order
		offset = 16
	)
	f, err := os.Open(path)
	if err != nil {
		return openError(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%w (it is no regular file)", ErrForeign)
	}
	if info.Size() == 0 {
		return fmt.Errorf("%w (it is empty: remove it to begin anew)", ErrTruncated)
	}
	var b [4]byte
	if _, err := f.ReadAt(b[:], offset); err != nil {
		return fmt.Errorf("%w (it has only %d bytes)", ErrForeign, info.Size())
	}
	if binary.NativeEndian.Uint32(b[:]) != magic {
		return nil // the first page may be damaged and the second good: bbolt says
	}
	if info.Size() < int64(2*os.Getpagesize()) {
		return fmt.Errorf("%w (%d bytes)", ErrTruncated, info.Size())
	}
	return nil
}

// readMeta reads what the store as a whole remembers, and refuses what this version does not know.
func readMeta(btx *bbolt.Tx) (m meta, err error) {
	top := btx.Bucket(topName)
	if top == nil {
		return m, fmt.Errorf("%w (it has no bucket %q)", ErrForeign, topName)
	}
	body, err := unseal(formatKey, top.Get(formatKey))
	if err != nil {
		return m, corruptMeta(err)
	}
	if len(body) != 1 || body[0] != format && body[0] != formatOne {
		return m, fmt.Errorf("%w (format %v, known is %d)", ErrFormat, body, format)
	}
	if err := m.decode(top.Get(metaKey)); err != nil {
		return m, corruptMeta(err)
	}
	return m, nil
}

// settle makes durable what is read. Where the last sync of a commit failed, its first pages may be what everybody reads and yet not what is on
// the disk: the kernel takes them for written. Whoever went on from there would write over pages which the disk's first pages still lead to,
// and a loss of power would then leave neither. To write them once more, as they are, is safe: one that is torn is not valid, and the other is.
func settle(db *bbolt.DB) error {
	if db.NoSync { // a user's own file that is not to be durable
		return nil
	}
	btx, err := db.Begin(true) // nobody else writes them meanwhile
	if err != nil {
		return err
	}
	defer btx.Rollback()
	f, err := os.OpenFile(db.Path(), os.O_RDWR, 0)
	if err != nil {
		return openError(err)
	}
	b := make([]byte, 2*db.Info().PageSize)
	_, err = f.ReadAt(b, 0)
	if err == nil {
		_, err = f.WriteAt(b, 0)
	}
	return errors.Join(err, f.Sync(), f.Close())
}

// upgrade makes a file of format 1 one of the present format.
func upgrade(db *bbolt.DB) error {
	old := false
	if err := db.View(func(btx *bbolt.Tx) error {
		if _, err := readMeta(btx); err != nil {
			return err
		}
		old = btx.Bucket(topName).Bucket(bucketNames[inJournal]) == nil
		return nil
	}); err != nil || !old {
		return err
	}
	return writeOnce(db, func(btx *bbolt.Tx) error {
		top := btx.Bucket(topName)
		if _, err := top.CreateBucketIfNotExists(bucketNames[inJournal]); err != nil {
			return err
		}
		return top.Put(formatKey, formatRecord())
	})
}
