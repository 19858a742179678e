package boltstore_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/boltstore"
)

// goldenTime is the wall clock under which the golden files were made.
var goldenTime = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// TestMakeGoldenFiles writes the golden files of a format, and what they hold, as the code that is compiled with it reads them:
//
//	POLLACK_GOLDEN=format3 go test ./storage/boltstore -run TestMakeGoldenFiles
//
// It makes two files of one name: what a clean close leaves, and what a kill leaves. It replaces none: once files are there they stay
// for ever as the versions that were released wrote them. Those of format 1 were made by this test in a checkout of commit 369f227, the
// last before the journal.
func TestMakeGoldenFiles(t *testing.T) {
	name := os.Getenv("POLLACK_GOLDEN")
	if name == "" {
		t.Skip("POLLACK_GOLDEN does not name the files to be made")
	}
	path := filepath.Join(t.TempDir(), "jobs.db")
	s, b := openGolden(t, path)
	makeFirst(t, s, b)
	closeGolden(t, s, b)
	writeGolden(t, name+"-closed", path)

	s, b = openGolden(t, path)
	makeSecond(t, s, b)
	killed := filepath.Join(t.TempDir(), "killed.db")
	file, err := os.ReadFile(path) // nothing is under way: this is what a kill leaves
	if err != nil {
		t.Fatal(err)
	}
	closeGolden(t, s, b)
	if err := os.WriteFile(killed, file, 0o600); err != nil {
		t.Fatal(err)
	}
	writeGolden(t, name+"-killed", killed)
}

func openGolden(t *testing.T, path string) (*boltstore.Store, *jobqueue.Broker) {
	t.Helper()
	s, err := boltstore.Open(path, &boltstore.Options{WallClock: func() time.Time { return goldenTime }})
	if err != nil {
		t.Fatal(err)
	}
	b, err := jobqueue.New(s, &jobqueue.Options{Lease: jobqueue.MaxLease})
	if err != nil {
		t.Fatal(err)
	}
	return s, b
}

func closeGolden(t *testing.T, s *boltstore.Store, b *jobqueue.Broker) {
	t.Helper()
	if err := errors.Join(b.Shutdown(context.Background()), s.Close()); err != nil {
		t.Fatal(err)
	}
}

// writeGolden keeps a file and what it holds.
func writeGolden(t *testing.T, name, path string) {
	t.Helper()
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var zipped bytes.Buffer
	w, err := gzip.NewWriterLevel(&zipped, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(file); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	s := reopen(t, path, &boltstore.Options{WallClock: func() time.Time { return goldenTime }})
	check(t, s)
	held := describe(t, s).lines(t)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for suffix, content := range map[string][]byte{".db.gz": zipped.Bytes(), ".jsonl": held} {
		f, err := os.OpenFile(filepath.Join("testdata", name+suffix), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(content); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// pattern is content of a length that can be told from another's and is small once it is zipped.
func pattern(seed byte, n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = seed + byte(i>>12) + byte(i%7)
	}
	return p
}

// makeFirst brings jobs into every state they can be in.
func makeFirst(t *testing.T, s *boltstore.Store, b *jobqueue.Broker) {
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	enqueue := func(q *jobqueue.Queue, j jobqueue.NewJob) *jobqueue.Job {
		t.Helper()
		added, err := q.Enqueue(ctx, j)
		must(err)
		return added
	}
	receive := func(q *jobqueue.Queue) *jobqueue.Delivery {
		t.Helper()
		d, err := q.Receive(ctx, &jobqueue.ReceiveOptions{Wait: -1})
		must(err)
		return d
	}

	waiting := b.Queue("waiting")
	_, _, err := waiting.Configure(ctx, jobqueue.Settings{
		Limits: jobqueue.Limits{MaxDeliveries: 5, Retention: 48 * time.Hour}, Backlog: 1000, Tags: map[string]string{"team": "mail", "empty": ""},
		Status: "busy",
	})
	must(err)
	for i, size := range []int{0, 1, 100, 1024, 1025, 4096, 4097, 60_000, 70_000, 256 << 10} { // around all borders of how it is kept
		enqueue(waiting, jobqueue.NewJob{
			Payload: pattern(byte(i), size), Key: fmt.Sprintf("key-%d", i), Priority: []int{0, 7, -7, jobqueue.MaxPriority, -jobqueue.MaxPriority}[i%5],
			Name: fmt.Sprintf("größe %d", size), ContentType: "application/octet-stream", Tags: map[string]string{"size": fmt.Sprint(size)},
		})
	}
	enqueue(waiting, jobqueue.NewJob{Payload: pattern(20, 700_000), Name: "in chunks"})
	enqueue(waiting, jobqueue.NewJob{
		Payload: []byte("with all"), Key: "all", Deadline: goldenTime.AddDate(0, 0, 2), Once: true, Outbox: []string{"events", "audit"},
		Limits: jobqueue.Limits{Lease: time.Minute, MaxDeliveries: 3, Retention: time.Hour, Tombstone: 2 * time.Hour},
	})
	enqueue(waiting, jobqueue.NewJob{Payload: []byte("later"), Delay: 5 * time.Hour})
	enqueue(waiting, jobqueue.NewJob{Payload: []byte("much later"), RunAt: goldenTime.AddDate(0, 0, 3), Deadline: goldenTime.AddDate(0, 0, 4)})

	running := b.Queue("running")
	for i := range 4 {
		enqueue(running, jobqueue.NewJob{Payload: pattern(byte(30+i), 10+i*2000)})
	}
	receive(running)
	d := receive(running)
	must(d.Progress(ctx, 0.25, "a quarter"))
	d = receive(running)
	must(d.Release(ctx, &jobqueue.ReleaseOptions{Delay: time.Hour}))
	d, err = running.Receive(ctx, &jobqueue.ReceiveOptions{Wait: -1, Lease: time.Second})
	must(err)
	for job := d.Job; job.Lapses == 0; {
		job, err = b.Wait(ctx, job.ID, job.Version)
		must(err)
	}

	ended := b.Queue("ended")
	for i, size := range []int{0, 1000, 1020, 5000, 70_000, 700_000} {
		enqueue(ended, jobqueue.NewJob{Payload: pattern(byte(i), 50), Key: fmt.Sprintf("result-%d", i), Outbox: []string{"events"}})
		must(receive(ended).Complete(ctx, jobqueue.NewResult{ContentType: "text/plain", Data: pattern(byte(40+i), size)}))
	}
	enqueue(ended, jobqueue.NewJob{Payload: []byte("acked")})
	must(receive(ended).Ack(ctx))
	enqueue(ended, jobqueue.NewJob{Payload: pattern(50, 3000)})
	must(receive(ended).Fail(ctx, "broken", "it is broken"))
	enqueue(ended, jobqueue.NewJob{Payload: pattern(51, 300_000)})
	must(receive(ended).Fail(ctx, "broken", strings.Repeat("very ", 3000)))
	enqueue(ended, jobqueue.NewJob{Payload: []byte("spent"), Limits: jobqueue.Limits{MaxDeliveries: 1}})
	must(receive(ended).Release(ctx, nil))
	_, err = b.Cancel(ctx, enqueue(ended, jobqueue.NewJob{Payload: pattern(52, 5000), Key: "canceled"}).ID)
	must(err)
	enqueue(ended, jobqueue.NewJob{Payload: []byte("revoked")})
	_, err = b.Cancel(ctx, receive(ended).ID)
	must(err)
	again := enqueue(ended, jobqueue.NewJob{Payload: []byte("again")})
	must(receive(ended).Fail(ctx, "once", ""))
	_, err = b.Redrive(ctx, again.ID)
	must(err)
	enqueue(ended, jobqueue.NewJob{Payload: []byte("its name is remembered"), Key: "gone", Limits: jobqueue.Limits{Retention: -1}, Priority: math.MaxInt16})
	must(receive(ended).Ack(ctx))

	for _, account := range []string{"alice", "bob"} {
		q := b.In(account).Queue("waiting")
		for i := range 3 {
			enqueue(q, jobqueue.NewJob{Payload: []byte(account), Key: fmt.Sprintf("key-%d", i)})
		}
		must(receive(q).Ack(ctx))
		enqueue(b.Queue("house"), jobqueue.NewJob{Payload: []byte("for " + account), Account: account, Key: "the same"})
	}

	uploads := b.Queue("uploads")
	enqueue(uploads, jobqueue.NewJob{Payload: []byte("gets an upload as its result")})
	for i, size := range []int{-1, 100, 300_000, 700_000} {
		u, err := uploads.Prepare(ctx, jobqueue.NewUpload{Key: fmt.Sprintf("upload-%d", i), Name: "f.bin", Size: int64(size), Expires: 24 * time.Hour})
		must(err)
		if size < 0 {
			continue // announced only
		}
		u, err = b.PutUpload(ctx, u.ID, bytes.NewReader(pattern(byte(60+i), size)))
		must(err)
		if size == 700_000 {
			must(receive(uploads).Complete(ctx, jobqueue.NewResult{Upload: u}))
		}
	}
	// What a process that died was writing.
	must(s.Update(ctx, storage.Reads{}, func(tx storage.Tx) error {
		id := storage.NewID(tx.Now())
		_, err := tx.AddJob(&storage.Job{Spec: &storage.Spec{ID: id, Queue: uploads.Name(), Created: tx.Now()},
			Status: storage.Status{State: storage.Staged, Version: 1, Due: tx.Now().Add(time.Hour)}}, nil)
		if err != nil {
			return err
		}
		return tx.PutChunk(id, 0, pattern(70, storage.ChunkSize))
	}))

	closed := b.Queue("closed")
	for i := range 3 {
		enqueue(closed, jobqueue.NewJob{Payload: []byte{byte(i)}})
	}
	must(receive(closed).Ack(ctx))
	must(closed.Close(ctx))
	done := b.Queue("done")
	enqueue(done, jobqueue.NewJob{})
	must(receive(done).Ack(ctx))
	must(done.Close(ctx))
}

// makeSecond does on a file that was closed what then stands in the journal, if there is one: jobs that come, change, and go.
func makeSecond(t *testing.T, s *boltstore.Store, b *jobqueue.Broker) {
	ctx := t.Context()
	waiting, ended := b.Queue("waiting"), b.Queue("ended")
	for i := range 4 { // of the highest priorities: jobs of the first part
		d, err := waiting.Receive(ctx, &jobqueue.ReceiveOptions{Wait: -1})
		if err != nil {
			t.Fatal(err)
		}
		switch i {
		case 0:
			err = d.Ack(ctx)
		case 1:
			err = d.Complete(ctx, jobqueue.NewResult{Data: pattern(80, 900)})
		case 2:
			err = d.Fail(ctx, "late", "it failed late")
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for i, size := range []int{0, 500, 5000, 300_000} {
		if _, err := waiting.Enqueue(ctx, jobqueue.NewJob{Payload: pattern(byte(90+i), size), Key: fmt.Sprintf("second-%d", i)}); err != nil {
			t.Fatal(err)
		}
	}
	old, err := b.JobByKey(ctx, ended.Name(), "canceled")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Redrive(ctx, old.ID); err != nil {
		t.Fatal(err)
	}
	// One of the first part that is deleted, with a result in pieces.
	if err := s.Update(ctx, storage.Reads{}, func(tx storage.Tx) error {
		j, err := tx.JobByKey(storage.Key{Queue: ended.Name(), Name: "result-4"})
		if err != nil {
			return err
		}
		return tx.DeleteJob(j)
	}); err != nil {
		t.Fatal(err)
	}
}

// journaled reports whether a file's journal holds anything.
func journaled(t *testing.T, path string) (held bool) {
	t.Helper()
	raw(t, path, func(top *bbolt.Bucket) error {
		if b := top.Bucket([]byte("journal")); b != nil {
			k, _ := b.Cursor().First()
			held = k != nil
		}
		return nil
	})
	return held
}
