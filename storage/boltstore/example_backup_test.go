package boltstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/boltstore"
)

// tempDir is a folder that an example removes at its end.
func tempDir() string {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	return dir
}

// waiting prints how many jobs wait in the queue mail of a file.
func waiting(path string) {
	ctx := context.Background()
	store, err := boltstore.Open(path, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	broker, err := jobqueue.New(store, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer broker.Shutdown(ctx)
	info, err := broker.Queue("mail").Info(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("waiting:", info.Counts.Waiting())
}

// A backup of a queue at work, and what it is for: it is opened as any other file. The writer may as well be an HTTP answer.
func ExampleStore_Backup() {
	dir := tempDir()
	defer os.RemoveAll(dir)
	ctx := context.Background()
	store, err := boltstore.Open(filepath.Join(dir, "jobs.db"), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	broker, err := jobqueue.New(store, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer broker.Shutdown(ctx)
	mail := broker.Queue("mail")
	mail.EnqueueMany(ctx, make([]jobqueue.NewJob, 2))

	backup, err := os.Create(filepath.Join(dir, "backup.db"))
	if err != nil {
		log.Fatal(err)
	}
	err = errors.Join(store.Backup(backup), backup.Sync(), backup.Close())
	fmt.Println(err)

	mail.Purge(ctx)
	waiting(backup.Name())
	// Output:
	// <nil>
	// waiting: 2
}

// The file of a queue does not shrink when its jobs are gone; a compact copy is small, and can take its place.
func ExampleStore_Compact() {
	dir := tempDir()
	defer os.RemoveAll(dir)
	ctx := context.Background()
	path := filepath.Join(dir, "jobs.db")
	store, err := boltstore.Open(path, nil)
	if err != nil {
		log.Fatal(err)
	}
	broker, err := jobqueue.New(store, &jobqueue.Options{Retention: -1}) // ended jobs are deleted at once
	if err != nil {
		log.Fatal(err)
	}
	mail := broker.Queue("mail")
	mail.Enqueue(ctx, jobqueue.NewJob{Payload: bytes.Repeat([]byte("x"), 4<<20)})
	mail.Purge(ctx)
	mail.Enqueue(ctx, jobqueue.NewJob{})
	broker.Shutdown(ctx)

	small := filepath.Join(dir, "small.db")
	fmt.Println("compact:", store.Compact(small))
	fmt.Println("again:", errors.Is(store.Compact(small), fs.ErrExist)) // it overwrites nothing
	store.Close()
	before, _ := os.Stat(path)
	after, _ := os.Stat(small)
	fmt.Println("smaller:", after.Size() < before.Size()/10)

	os.Rename(small, path)
	waiting(path)
	// Output:
	// compact: <nil>
	// again: true
	// smaller: true
	// waiting: 1
}

// Before a backup is trusted. A program would do that in a process of its own: see Verify.
func ExampleVerify() {
	dir := tempDir()
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "jobs.db")
	store, err := boltstore.Open(path, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("in use:", errors.Is(boltstore.Verify(path), boltstore.ErrLocked))
	store.Close()
	fmt.Println("whole:", boltstore.Verify(path))

	os.Truncate(path, 10_000) // as an interrupted copy
	fmt.Println("cut short:", errors.Is(boltstore.Verify(path), boltstore.ErrTruncated))
	// Output:
	// in use: true
	// whole: <nil>
	// cut short: true
}
