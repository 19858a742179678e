package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"log"
	"mime"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pollackq/pollack/jobqueue"
)

// A producer enqueues files. It runs in the server's process and needs no HTTP.
type producer struct {
	queue *jobqueue.Queue
	db    string // the queue's own file, which is not to be enqueued
	out   *log.Logger

	files int
	bytes int64
}

// produce enqueues all regular files below dir, except those in folders whose names begin with a dot, and closes the queue.
func (p *producer) produce(ctx context.Context, dir string) error {
	own, err := os.Stat(p.db)
	if err != nil {
		return err
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != dir && strings.HasPrefix(d.Name(), "."):
			return filepath.SkipDir
		case !d.Type().IsRegular():
			return nil
		}
		info, err := d.Info()
		if err == nil && os.SameFile(info, own) {
			return nil
		}
		if err == nil {
			err = p.enqueue(ctx, dir, path, info.ModTime())
		}
		if errors.Is(err, fs.ErrNotExist) {
			p.out.Printf("skipped %q, which was deleted meanwhile", path)
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	p.out.Printf("enqueued %d files, %d bytes", p.files, p.bytes)
	return p.queue.Close(ctx)
}

var errChanged = errors.New("it changed while it was read")

// enqueue enqueues one file. If it changes between the reading of its digest and that of its content, both are read again.
func (p *producer) enqueue(ctx context.Context, dir, path string, modified time.Time) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for tries := 0; ; tries++ {
		digest := sha256.New()
		if _, err := io.Copy(digest, f); err != nil {
			return err
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return err
		}
		sum := hex.EncodeToString(digest.Sum(nil))
		j, err := p.queue.Enqueue(ctx, jobqueue.NewJob{
			Body:        &checked{f, sha256.New(), sum}, // streamed, however large it is
			Name:        label(dir, path),
			ContentType: cmp.Or(mime.TypeByExtension(filepath.Ext(path)), "application/octet-stream"),
			Tags:        map[string]string{"sha256": sum, "modified": modified.UTC().Format(time.RFC3339)},
		})
		switch {
		case err == nil:
			p.files++
			p.bytes += j.Size
			return nil
		case !errors.Is(err, errChanged) || tries == 4:
			return fmt.Errorf("enqueue %q: %w", path, err)
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return err
		}
	}
}

// checked reads a file and fails at its end if it was another than the digest says: nothing is enqueued then.
type checked struct {
	f    io.Reader
	hash hash.Hash
	want string
}

func (c *checked) Read(b []byte) (int, error) {
	n, err := c.f.Read(b)
	c.hash.Write(b[:n])
	if err == io.EOF && hex.EncodeToString(c.hash.Sum(nil)) != c.want {
		err = errChanged
	}
	return n, err
}

// label makes a job's name of a file's: file names can be any bytes, those of jobs are text of a limited length.
func label(dir, path string) string {
	if rel, err := filepath.Rel(dir, path); err == nil {
		path = filepath.ToSlash(rel)
	}
	name := strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return utf8.RuneError
	}, path)
	for len(name) > jobqueue.MaxName {
		_, n := utf8.DecodeRuneInString(name)
		name = name[n:]
	}
	return name
}
