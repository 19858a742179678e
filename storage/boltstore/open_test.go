package boltstore_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/boltstore"
)

func TestOpenSaysWhatIsWrongWithAFile(t *testing.T) {
	write := func(p []byte) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			if err := os.WriteFile(path, p, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	// made returns what makes a store with a few pages and then changes the file.
	made := func(change func(t *testing.T, path string)) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			s, err := boltstore.Open(path, nil)
			if err != nil {
				t.Fatal(err)
			}
			update(t, s, func(tx storage.Tx) error {
				return tx.PutChunk(storage.NewID(time.Now()), 0, make([]byte, storage.ChunkSize))
			})
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			change(t, path)
		}
	}
	truncate := func(n int64) func(*testing.T, string) {
		return made(func(t *testing.T, path string) {
			if err := os.Truncate(path, n); err != nil {
				t.Fatal(err)
			}
		})
	}
	format := made(func(t *testing.T, path string) {
		raw(t, path, func(top *bbolt.Bucket) error {
			return top.Put([]byte("format"), sealed("format", 1, 99))
		})
	})
	meta := made(func(t *testing.T, path string) {
		raw(t, path, func(top *bbolt.Bucket) error { return top.Put([]byte("meta"), []byte("nonsense")) })
	})
	noBucket := func(t *testing.T, path string) {
		db, err := bbolt.Open(path, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name string
		make func(*testing.T, string)
		want error
	}{
		{"a text", write(bytes.Repeat([]byte("text"), 5000)), boltstore.ErrForeign},
		{"a short text", write([]byte("text")), boltstore.ErrForeign},
		{"a directory", func(t *testing.T, path string) { os.Mkdir(path, 0o700) }, boltstore.ErrForeign},
		{"a bbolt file without our bucket", noBucket, boltstore.ErrForeign},
		{"an empty file", write(nil), boltstore.ErrTruncated},
		{"a file cut to one page", truncate(4096), boltstore.ErrTruncated},
		{"a file cut within its data", truncate(5 * 4096), boltstore.ErrTruncated},
		{"a later format", format, boltstore.ErrFormat},
		{"a damaged record of the store itself", meta, boltstore.ErrDamaged},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "f")
			c.make(t, path)
			before, _ := os.ReadFile(path)
			for range 2 { // the first refusal leaves no lock behind
				s, err := boltstore.Open(path, nil)
				if !errors.Is(err, c.want) {
					t.Errorf("got %v, want %v", err, c.want)
				}
				if err == nil {
					s.Close()
				} else if !strings.Contains(err.Error(), path) {
					t.Errorf("%q does not name the file", err)
				}
			}
			if err := boltstore.Verify(path); !errors.Is(err, c.want) {
				t.Errorf("Verify: got %v, want %v", err, c.want)
			}
			if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
				t.Error("the file was changed")
			}
		})
	}
}

// Other processes are tried by the torture's technique "second" (I17).
func TestASecondOpenerIsToldOfTheLock(t *testing.T) {
	s, path := open(t, nil)
	if _, err := boltstore.Open(path, &boltstore.Options{Timeout: time.Millisecond}); !errors.Is(err, boltstore.ErrLocked) {
		t.Errorf("Open: got %v, want %v", err, boltstore.ErrLocked)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	reopen(t, path, nil)
}

func TestAReadOnlyPlaceIsNamedSo(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may write everywhere")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	if _, err := boltstore.Open(filepath.Join(dir, "f"), nil); !errors.Is(err, boltstore.ErrReadOnly) {
		t.Errorf("in a read-only directory: got %v, want %v", err, boltstore.ErrReadOnly)
	}
	_, path := open(t, nil)
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	if _, err := boltstore.Open(path, nil); !errors.Is(err, boltstore.ErrReadOnly) {
		t.Errorf("a read-only file: got %v, want %v", err, boltstore.ErrReadOnly)
	}
}

func TestCreationLeavesNoOtherFiles(t *testing.T) {
	_, path := open(t, nil)
	files, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(files) != 1 {
		t.Errorf("got %v, %v, want one file", files, err)
	}
}

func TestTheClockStartsAtTheLaterOfWallAndLastCommit(t *testing.T) {
	wall := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(d time.Duration) func() time.Time { return func() time.Time { return wall.Add(d) } }
	s, path := open(t, &boltstore.Options{WallClock: at(0)})
	now := func(s *boltstore.Store) (now time.Time) {
		view(t, s, func(r storage.Reader) error { now = r.Now(); return nil })
		return now
	}
	if got := now(s); got.Before(wall) || got.After(wall.Add(time.Hour)) {
		t.Errorf("first open: got %v, want about %v", got, wall)
	}
	s.Close()
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	s = reopen(t, path, &boltstore.Options{WallClock: at(-24 * time.Hour), Logger: logger})
	if got := now(s); got.Before(wall) {
		t.Errorf("wall clock set back: got %v, want not before %v", got, wall)
	}
	if !strings.Contains(log.String(), "wall clock is behind") {
		t.Errorf("nothing was logged: %q", &log)
	}
	s.Close()
	s = reopen(t, path, &boltstore.Options{WallClock: at(-24 * time.Hour), TrustWallClock: true})
	if got := now(s); !got.Before(wall) {
		t.Errorf("trusted wall clock: got %v, want before %v", got, wall)
	}
	s.Close()
	s = reopen(t, path, &boltstore.Options{WallClock: at(24 * time.Hour)})
	if got := now(s); got.Before(wall.Add(24 * time.Hour)) {
		t.Errorf("wall clock ahead: got %v", got)
	}
}

// sealed returns a record with its checksum.
func sealed(key string, rec ...byte) []byte {
	table := crc32.MakeTable(crc32.Castagnoli)
	return binary.LittleEndian.AppendUint32(rec, crc32.Update(crc32.Update(0, table, []byte(key)), table, rec))
}

// raw changes a closed store's file behind its back.
func raw(t testing.TB, path string, fn func(top *bbolt.Bucket) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Update(func(tx *bbolt.Tx) error { return fn(tx.Bucket([]byte("pollack"))) }); err != nil {
		t.Fatal(err)
	}
}
