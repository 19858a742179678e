package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/memstore"
)

// quickstart runs the program and returns its last line.
func quickstart(t *testing.T, dir, db string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var out bytes.Buffer
	err := run(ctx, dir, db, log.New(&out, "", 0))
	t.Logf("%s", out.Bytes())
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) > 40 {
		t.Errorf("wrote %d lines, want a few", len(lines))
	}
	return lines[len(lines)-1], err
}

func write(t *testing.T, dir, name string, p []byte) {
	t.Helper()
	path := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, p, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestEveryFileIsDeliveredAndOneOfThemAgain(t *testing.T) {
	dir := t.TempDir()
	files, size := 0, 0
	add := func(name string, p []byte) {
		write(t, dir, name, p)
		files, size = files+1, size+len(p)
	}
	for i := range 45 {
		add(fmt.Sprintf("some/folder/%d.json", i), fmt.Appendf(nil, `{ "n":   %d }`, i))
	}
	large := make([]byte, 3<<20)
	rand.Read(large)
	add("large.bin", large)
	add("empty", nil)
	add("a b?&#%+=;.txt", []byte("odd"))
	add(strings.Repeat("long/", 60)+"name", []byte("long"))
	add(".hidden", []byte("a dot file is a file"))
	if runtime.GOOS == "linux" { // elsewhere names are text
		add("bytes-\xff\xfe\n\x01.txt", []byte("odder"))
	}
	write(t, dir, ".git/objects/x", []byte("not this"))
	if err := os.Symlink("large.bin", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}

	db := filepath.Join(dir, "jobs.db") // below the directory itself: not a file to deliver
	want := fmt.Sprintf("delivered %d files, %d bytes, 1 redelivered, all digests match", files, size)
	for range 2 { // the second time the store holds what the first has done
		last, err := quickstart(t, dir, db)
		if err != nil || last != want {
			t.Fatalf("got %q, %v, want %q", last, err, want)
		}
	}
}

func TestAnEmptyFolderIsNoError(t *testing.T) {
	last, err := quickstart(t, t.TempDir(), "")
	if want := "delivered 0 files, 0 bytes, 0 redelivered, all digests match"; err != nil || last != want {
		t.Errorf("got %q, %v, want %q", last, err, want)
	}
}

func TestTheCurrentFolderIsNoDotFolder(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "file", []byte("x"))
	t.Chdir(dir)
	last, err := quickstart(t, ".", "")
	if want := "delivered 1 files, 1 bytes, 1 redelivered, all digests match"; err != nil || last != want {
		t.Errorf("got %q, %v, want %q", last, err, want)
	}
}

func TestWhatCannotBeReadIsAnError(t *testing.T) {
	dir := t.TempDir()
	if _, err := quickstart(t, filepath.Join(dir, "nothing"), ""); err == nil || !strings.Contains(err.Error(), "nothing") {
		t.Errorf("no such folder: got %v", err)
	}
	write(t, dir, "db", []byte("this is no database"))
	if _, err := quickstart(t, dir, filepath.Join(dir, "db")); err == nil {
		t.Error("a file that is no database: got no error")
	}
	write(t, dir, "good", []byte("x"))
	write(t, dir, "secret", []byte("x"))
	if err := os.Chmod(filepath.Join(dir, "secret"), 0); err != nil {
		t.Fatal(err)
	}
	if f, err := os.Open(filepath.Join(dir, "secret")); err == nil {
		f.Close()
		t.Skip("whoever runs this test may read everything")
	}
	if _, err := quickstart(t, dir, ""); err == nil || !strings.Contains(err.Error(), "secret") {
		t.Errorf("an unreadable file: got %v", err)
	}
}

func TestAFileThatChangedIsNotEnqueued(t *testing.T) {
	store := memstore.New(nil)
	defer store.Close()
	broker, err := jobqueue.New(store, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Shutdown(t.Context())
	q := broker.Queue("q")
	enqueue := func(content, digestOf string) error {
		sum := sha256.Sum256([]byte(digestOf))
		_, err := q.Enqueue(t.Context(), jobqueue.NewJob{Body: &checked{strings.NewReader(content), sha256.New(), hex.EncodeToString(sum[:])}})
		return err
	}
	large := strings.Repeat("x", 3<<20)
	for _, content := range []string{"", "same", large} {
		if err := enqueue(content, content); err != nil {
			t.Error(err)
		}
		if err := enqueue(content, content+"before"); !errors.Is(err, errChanged) {
			t.Errorf("%d bytes: got %v, want that it changed", len(content), err)
		}
	}
	if info, err := q.Info(t.Context()); err != nil || info.Counts[jobqueue.Pending] != 3 {
		t.Errorf("got %+v, %v, want 3 jobs", info, err)
	}
}

func TestNamesAreText(t *testing.T) {
	for path, want := range map[string]string{
		"dir/a/b.txt":  "a/b.txt",
		"dir/ä\xffö\n": "ä\uFFFDö\uFFFD",
		"dir/" + strings.Repeat("ä", 200) + ".mp4": strings.Repeat("ä", 125) + ".mp4",
	} {
		if got := label("dir", path); got != want {
			t.Errorf("%q: got %q, want %q", path, got, want)
		}
	}
}
