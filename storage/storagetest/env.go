package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/pollackq/pollack/storage"
)

// base is the time from which ids and times of jobs are made.
var base = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// An env is what a law works with.
type env struct {
	*testing.T
	store  storage.Store
	reopen func(t testing.TB, closed storage.Store) storage.Store
	closed bool // the law has closed the store
	ids    int
	blobs  []storage.ID // whose chunks belong to the state
}

// id returns a new id, greater than all before.
func (e *env) id() storage.ID {
	e.ids++
	return idOf(e.ids)
}

// idOf returns the n-th id of a test.
func idOf(n int) storage.ID {
	var id storage.ID
	_ = id.SetTime(uint64(base.UnixMilli()) + uint64(n/4)) // several of one millisecond
	id[6], id[14], id[15] = byte(n%4), byte(n>>8), byte(n)
	return id
}

// at returns a time that is n microseconds after the base.
func at(n int64) time.Time { return base.Add(time.Duration(n) * time.Microsecond) }

// job returns a pending job for a queue, changed by mods.
func (e *env) job(q storage.QueueName, mods ...func(j *storage.Job)) *storage.Job {
	id := e.id()
	j := &storage.Job{
		Spec:   &storage.Spec{ID: id, Queue: q, Account: q.Account, Created: at(int64(e.ids))},
		Status: storage.Status{State: storage.Pending, Version: 1},
	}
	for _, m := range mods {
		m(j)
	}
	return j
}

func state(s storage.State) func(*storage.Job) { return func(j *storage.Job) { j.State = s } }
func due(t time.Time) func(*storage.Job)       { return func(j *storage.Job) { j.Due = t } }
func key(k string) func(*storage.Job)          { return func(j *storage.Job) { j.Key = k } }
func priority(p int16) func(*storage.Job)      { return func(j *storage.Job) { j.Priority = p } }

// with returns a copy of a job whose Status is changed.
func with(j *storage.Job, change func(s *storage.Status)) *storage.Job {
	s := j.Status
	change(&s)
	return j.With(s)
}

// queue returns a name.
func queue(account, name string) storage.QueueName {
	return storage.QueueName{Account: account, Name: name}
}

var q1 = queue("acme", "mail")

// A stop ends a transaction of a law that went wrong. It is a panic that does not leave the function: a transaction must not end its
// goroutine.
type stop struct{ error }

// fail stops the transaction.
func fail(format string, args ...any) {
	where := ""
	for skip := 1; skip < 10; skip++ {
		_, file, line, ok := runtime.Caller(skip)
		if !ok {
			break
		}
		if name := filepath.Base(file); name != "env.go" {
			where = fmt.Sprintf("%s:%d: ", name, line)
			break
		}
	}
	panic(stop{fmt.Errorf(where+format, args...)})
}

func catch(err *error) {
	switch p := recover().(type) {
	case nil:
	case stop:
		*err = p
	default:
		panic(p)
	}
}

// update runs fn in an Update that must succeed. Where fn runs again it makes jobs of the same ids again. It is for one goroutine at a
// time; try is for many.
func (e *env) update(fn func(tx tx)) {
	e.Helper()
	first := e.ids
	if err := e.try(context.Background(), func(tx tx) error { e.ids = first; fn(tx); return nil }); err != nil {
		e.Fatalf("Update: %v", err)
	}
}

// try runs fn in an Update and returns what that returns.
func (e *env) try(ctx context.Context, fn func(tx tx) error) error {
	return e.store.Update(ctx, storage.Reads{}, func(t storage.Tx) (err error) {
		defer catch(&err)
		return fn(tx{reader{t}, t})
	})
}

// view runs fn in a View that must succeed.
func (e *env) view(fn func(r reader)) {
	e.Helper()
	err := e.store.View(context.Background(), storage.Reads{}, func(r storage.Reader) (err error) {
		defer catch(&err)
		fn(reader{r})
		return nil
	})
	if err != nil {
		e.Fatalf("View: %v", err)
	}
}

// state returns all that is in the store, after looking whether the orders agree with the records.
func (e *env) state() *contents {
	e.Helper()
	var c *contents
	e.view(func(r reader) { c = r.state(e.blobs) })
	return c
}

// same fails unless the store's state is want.
func (e *env) same(want *contents) {
	e.Helper()
	if d := want.diff(e.state()); d != "" {
		e.Fatalf("the store's state differs from what it should be:\n%s", d)
	}
}

// A reader is a storage.Reader whose errors stop the transaction.
type reader struct{ storage.Reader }

func (r reader) state(blobs []storage.ID) *contents {
	c, err := readAll(r.Reader, blobs)
	if err != nil {
		fail("%v", err)
	}
	return c
}

func (r reader) job(id storage.ID) *storage.Job {
	j, err := r.Job(id)
	if err != nil {
		fail("Job(%v): %v", id, err)
	}
	return j
}

func (r reader) payload(j *storage.Job) string {
	p, err := r.Payload(j)
	if err != nil {
		fail("Payload(%v): %v", j.ID, err)
	}
	s := string(p)
	poison(p)
	return s
}

func (r reader) result(j *storage.Job) string {
	p, err := r.Result(j)
	if err != nil {
		fail("Result(%v): %v", j.ID, err)
	}
	s := string(p)
	poison(p)
	return s
}

func (r reader) ready(q storage.QueueName, max int) []*storage.Job {
	jobs, err := r.Ready(q, max)
	if err != nil {
		fail("Ready(%q, %d): %v", q, max, err)
	}
	return jobs
}

func (r reader) due(until time.Time, max int) []*storage.Job {
	jobs, err := r.Due(until, max)
	if err != nil {
		fail("Due(%v, %d): %v", until, max, err)
	}
	return jobs
}

func (r reader) counts(q storage.QueueName) storage.Counts {
	c, err := r.Counts(q)
	if err != nil {
		fail("Counts(%q): %v", q, err)
	}
	return c
}

func (r reader) next(q storage.QueueName) uint64 {
	n, err := r.NextPosition(q)
	if err != nil {
		fail("NextPosition(%q): %v", q, err)
	}
	return n
}

// want stops the transaction unless err matches target.
func want(what string, err, target error) {
	if !errors.Is(err, target) {
		fail("%s: got %v, want %v", what, err, target)
	}
}

// wantIDs stops the transaction unless the jobs are those with the given ids, in that order.
func wantIDs(what string, jobs []*storage.Job, ids ...storage.ID) {
	got := make([]storage.ID, 0, len(jobs))
	for _, j := range jobs {
		got = append(got, j.ID)
	}
	if !slices.Equal(got, ids) {
		fail("%s: got %v, want %v", what, got, ids)
	}
}

// A tx is a storage.Tx whose errors stop the transaction.
type tx struct {
	reader
	storage.Tx
}

func (t tx) add(j *storage.Job, payload string) *storage.Job {
	p := []byte(payload)
	added, err := t.AddJob(j, p)
	poison(p)
	if err != nil {
		fail("AddJob(%v): %v", j.ID, err)
	}
	return added
}

func (t tx) set(j *storage.Job) {
	if err := t.SetJob(j); err != nil {
		fail("SetJob(%v): %v", j.ID, err)
	}
}

func (t tx) setResult(j *storage.Job, result string) {
	p := []byte(result)
	err := t.SetResult(j, p)
	poison(p)
	if err != nil {
		fail("SetResult(%v): %v", j.ID, err)
	}
}

func (t tx) delete(j *storage.Job) {
	if err := t.DeleteJob(j); err != nil {
		fail("DeleteJob(%v): %v", j.ID, err)
	}
}

func (t tx) put(q storage.QueueName) {
	if err := t.PutQueue(&storage.Queue{QueueName: q, Created: base}); err != nil {
		fail("PutQueue(%q): %v", q, err)
	}
}

func (t tx) chunk(blob storage.ID, n uint32, chunk string) {
	p := []byte(chunk)
	err := t.PutChunk(blob, n, p)
	poison(p)
	if err != nil {
		fail("PutChunk(%v, %d): %v", blob, n, err)
	}
}

// must stops the transaction if there is an error.
func must(err error) {
	if err != nil {
		fail("%v", err)
	}
}

// poison overwrites bytes that whoever kept them must not be reading any more.
func poison(p []byte) {
	for p = p[:cap(p)]; len(p) > 0; {
		p = p[copy(p, poisoned):]
	}
}

var poisoned = bytes.Repeat([]byte{0xdb}, 1<<16)
