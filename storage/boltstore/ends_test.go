package boltstore_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/boltstore"
)

// A key that is damaged in a page which leads to others makes records unfindable that are whole: Check says so (I15).
func TestCheckFindsRecordsToWhichNoPageLeads(t *testing.T) {
	s, path := open(t, nil)
	update(t, s, func(tx storage.Tx) error {
		for n := range 400 {
			q := storage.QueueName{Name: fmt.Sprintf("unfindable-%05d", n*10)}
			if err := tx.PutQueue(&storage.Queue{QueueName: q, Status: strings.Repeat("x", 100)}); err != nil {
				return err
			}
		}
		return nil
	})
	check(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	p, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const size, branch = 4096, 1 // of a page; its flags are behind its number
	changed := 0
	for at := 2 * size; at < len(p); at += size {
		page := p[at : at+size]
		last := bytes.LastIndex(page, []byte("unfindable-"))
		if binary.NativeEndian.Uint16(page[8:]) == branch && last >= 0 {
			page[last+len("unfindable-00")]++ // beyond the first records of the page that it leads to
			changed++
		}
	}
	if err := os.WriteFile(path, p, 0o600); err != nil || changed == 0 {
		t.Fatalf("%d pages changed, %v", changed, err)
	}
	if err := reopen(t, path, nil).Check(t.Context()); !errors.Is(err, storage.ErrCorrupt) || !strings.Contains(err.Error(), "no page leads") {
		t.Errorf("got %v, want a page that leads astray", err)
	}
}

// A damaged meta page is named in the log: bbolt takes the other one without a word (I15).
func TestADamagedMetaPageIsLogged(t *testing.T) {
	for page := range 3 { // the last is no meta page
		path := golden(t, "testdata/format2-killed.db.gz")
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		at := int64(page*4096 + 40)
		var b [1]byte
		_, err = f.ReadAt(b[:], at)
		b[0] ^= 4
		if page == 2 {
			b[0] ^= 4
		}
		_, err2 := f.WriteAt(b[:], at)
		if err := errors.Join(err, err2, f.Close()); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		s := reopen(t, path, &boltstore.Options{Logger: slog.New(slog.NewTextHandler(&log, nil)), TrustWallClock: true})
		check(t, s)
		if got, want := strings.Contains(log.String(), "meta pages is damaged"), page < 2; got != want {
			t.Errorf("page %d: logged: %q", page, &log)
		}
	}
}

// A process that is killed while it makes the file leaves a part of it under another name. The next one begins anew, and removes such parts when
// they are old: a young one may be somebody's who is just making the file (I16).
func TestWhatAKillAtTheFirstOpenLeavesIsHarmlessAndGoesAway(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "jobs.db")
	for name, age := range map[string]time.Duration{
		"jobs.db.new-123": 2 * time.Hour, "jobs.db.new-456": time.Minute, // parts
		"jobs.db.new-mine": 2 * time.Hour, "jobs.db.news": 2 * time.Hour, "other.db.new-1": 2 * time.Hour, // somebody else's
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("a part"), 0o600); err != nil {
			t.Fatal(err)
		}
		if at := time.Now().Add(-age); os.Chtimes(filepath.Join(dir, name), at, at) != nil {
			t.Fatal("the time of the file cannot be set")
		}
	}
	s := reopen(t, path, nil)
	update(t, s, func(tx storage.Tx) error { return tx.PutQueue(&storage.Queue{QueueName: queueA}) })
	update(t, s, add(id(1)))
	check(t, s)
	var names []string
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if got, want := fmt.Sprint(names), "[jobs.db jobs.db.new-456 jobs.db.new-mine jobs.db.news other.db.new-1]"; err != nil || got != want {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	old := filepath.Join(dir, "copy.db.new-789")
	at := time.Now().Add(-2 * time.Hour)
	if err := errors.Join(os.WriteFile(old, nil, 0o600), os.Chtimes(old, at, at), s.Compact(filepath.Join(dir, "copy.db"))); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what a killed Compact left: got %v, want %v", err, os.ErrNotExist)
	}
}

// An open writes the first pages once more and syncs them: what everybody reads may not be what is on the disk (I1, I13). The technique cuts
// shows what comes of it otherwise.
func TestAnOpenWritesTheFirstPagesOnceMore(t *testing.T) {
	s, path := open(t, nil)
	update(t, s, add(id(1)))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	long := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, long, long); err != nil {
		t.Fatal(err)
	}
	if err := reopen(t, path, nil).Close(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if time.Since(info.ModTime()) > time.Minute {
		t.Error("the file was not written")
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file differs, %v", err)
	}
}
