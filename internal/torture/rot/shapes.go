package rot

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"

	"github.com/pollackq/pollack/internal/torture/life"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/boltstore"
)

// A shape is a file to be damaged.
type shape struct {
	name   string
	killed bool // left with a journal and without a list of free pages
	fill   func(ctx context.Context, b *jobqueue.Broker) error
}

var shapes = []shape{
	{name: "small", fill: few},
	{name: "values", fill: values},
	{name: "queues", fill: queues},
	{name: "journal", killed: true, fill: few},
}

// made is the wall clock that the files were made under, and are read under, so that nothing is due.
var made = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func options() *boltstore.Options {
	return &boltstore.Options{WallClock: func() time.Time { return made }}
}

// A truth is all that a file holds.
type truth struct {
	Jobs   map[string]*fact // by id
	Counts map[string]jobqueue.Counts
}

// A fact is a job as it is read.
type fact struct {
	Queue   string
	State   jobqueue.State
	JSON    string // of the Job
	Payload []byte // nil if it is gone
	Result  []byte // nil if there is none
}

// make makes the file and writes down what it holds.
func (s shape) make(dir string) (made file, err error) {
	ctx := context.Background()
	path := filepath.Join(dir, s.name+"-whole")
	store, err := boltstore.Open(path, options())
	if err != nil {
		return file{}, err
	}
	b, err := jobqueue.New(store, nil)
	if err != nil {
		return file{}, err
	}
	if err := s.fill(ctx, b); err != nil {
		return file{}, err
	}
	if s.killed { // then some is in the trees, and changes in the journal
		if err := errors.Join(b.Shutdown(ctx), store.Close()); err != nil {
			return file{}, err
		}
		if store, err = boltstore.Open(path, options()); err != nil {
			return file{}, err
		}
		if b, err = jobqueue.New(store, nil); err != nil {
			return file{}, err
		}
		if err := further(ctx, b); err != nil {
			return file{}, err
		}
	}
	t, err := read(ctx, b)
	if err != nil {
		return file{}, err
	}
	name := filepath.Join(dir, s.name)
	if s.killed {
		if err := copyFile(path, name); err != nil {
			return file{}, err
		}
	} else if err := store.Compact(filepath.Join(dir, s.name+"-compact")); err != nil {
		return file{}, err
	}
	if err := errors.Join(b.Shutdown(ctx), store.Close()); err != nil {
		return file{}, err
	}
	if !s.killed { // without the pages that nobody uses; and closed after a commit, which writes the list of free ones
		if store, err = boltstore.Open(filepath.Join(dir, s.name+"-compact"), options()); err != nil {
			return file{}, err
		}
		if err := store.Update(ctx, storage.Reads{}, func(tx storage.Tx) error {
			q := storage.QueueName{Name: "passing"}
			return errors.Join(tx.PutQueue(&storage.Queue{QueueName: q}), tx.DeleteQueue(q))
		}); err != nil {
			return file{}, err
		}
		if err := store.Close(); err != nil {
			return file{}, err
		}
		if err := os.Rename(filepath.Join(dir, s.name+"-compact"), name); err != nil {
			return file{}, err
		}
	}
	text, err := json.Marshal(t)
	if err != nil {
		return file{}, err
	}
	if err := os.WriteFile(name+".json", text, 0o600); err != nil {
		return file{}, err
	}
	return cut(name)
}

// A file is where its parts are.
type file struct {
	size         int64
	list, newest span
	branches     []span // the pages that lead to others
}

// A span is a part of a file, in bytes.
type span struct{ from, to int64 }

func (s span) has(at int64) bool { return s.from <= at && at < s.to }

// cut takes away the end of a file that bbolt has not used yet, and finds its parts.
func cut(name string) (f file, err error) {
	db, err := bbolt.Open(name, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		return file{}, err
	}
	page := int64(db.Info().PageSize)
	err = db.View(func(tx *bbolt.Tx) error {
		f.size = tx.Size()
		newest := int64(tx.ID() % 2) // its page
		f.newest = span{newest * page, (newest + 1) * page}
		return nil
	})
	if err := errors.Join(err, db.Close(), os.Truncate(name, f.size)); err != nil {
		return file{}, err
	}
	p, err := os.ReadFile(name)
	if err != nil {
		return file{}, err
	}
	// The number of the first page of the list stands in the meta page; how many follow, in that page's header.
	const inMeta, inHeader, none = 16 + 16 + 16, 12, math.MaxUint64
	if at := binary.NativeEndian.Uint64(p[f.newest.from+inMeta:]); at != none {
		from := int64(at) * page
		f.list = span{from, from + page*int64(1+binary.NativeEndian.Uint32(p[from+inHeader:]))}
	}
	for from := int64(0); from < f.size; from += page {
		if leads(p[from : from+page]) {
			f.branches = append(f.branches, span{from, from + page})
		}
	}
	return f, nil
}

// leads reports whether a page leads to others: a branch, or a leaf with buckets in it.
func leads(page []byte) bool {
	const inFlags, inCount, branch, leaf = 8, 10, 1, 2
	const head, element, bucket = 16, 16, 1
	switch binary.NativeEndian.Uint16(page[inFlags:]) {
	case branch:
		return true
	case leaf:
		for n := range int(binary.NativeEndian.Uint16(page[inCount:])) {
			if at := head + n*element; at+4 <= len(page) && binary.NativeEndian.Uint32(page[at:])&bucket != 0 {
				return true
			}
		}
	}
	return false
}

func copyFile(from, to string) error {
	p, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, p, 0o600)
}

// lives puts a job into a queue and brings it into one of its states.
func lives(ctx context.Context, b *jobqueue.Broker, queue string, n, payload, result int) error {
	q := b.Queue(queue)
	j := jobqueue.NewJob{Payload: life.Fill(n, 0, payload), Name: fmt.Sprint("job ", n), Priority: n % 3, Tags: map[string]string{"n": fmt.Sprint(n)}}
	if n%2 == 0 {
		j.Key = fmt.Sprint("key ", n)
	}
	if n%7 == 6 {
		j.Delay = time.Hour
	}
	if n%8 == 5 {
		j.Outbox = []string{"events"}
	}
	job, err := q.Enqueue(ctx, j)
	if err != nil || n%7 == 6 || n%2 == 0 {
		return err
	}
	d, err := q.Receive(ctx, &jobqueue.ReceiveOptions{Wait: -1})
	if err != nil {
		return err
	}
	switch n % 5 {
	case 0:
		return d.Ack(ctx)
	case 1:
		return d.Complete(ctx, jobqueue.NewResult{ContentType: "x/y", Data: life.Fill(n, 1, result)})
	case 2:
		return d.Fail(ctx, "code", "text")
	case 3:
		_, err = b.Cancel(ctx, job.ID)
		return err
	}
	return nil // it is running
}

func few(ctx context.Context, b *jobqueue.Broker) error {
	for n := range 40 {
		if err := lives(ctx, b, fmt.Sprint("q", n%2), n, 10*n, 7*n); err != nil {
			return err
		}
	}
	return nil
}

func further(ctx context.Context, b *jobqueue.Broker) error {
	for n := 40; n < 60; n++ {
		if err := lives(ctx, b, fmt.Sprint("q", n%2), n, 11*n, 5*n); err != nil {
			return err
		}
	}
	return nil
}

func values(ctx context.Context, b *jobqueue.Broker) error {
	for n, size := range []int{300, 1024, 1025, 4096, 4097, 5000, 9000, 70_000, 66_000, 270_000, 2000, 12_000} {
		if err := lives(ctx, b, "values", n, size, size/2+1); err != nil {
			return err
		}
	}
	return nil
}

func queues(ctx context.Context, b *jobqueue.Broker) error {
	for n := range 50 {
		if err := lives(ctx, b, fmt.Sprint("queue ", n), 2*n+n/25, 20, 20); err != nil {
			return err
		}
	}
	return nil
}
