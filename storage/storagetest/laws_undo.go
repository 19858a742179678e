package storagetest

import (
	"context"
	"errors"
	"fmt"

	"github.com/pollackq/pollack/storage"
)

// scriptBlob is the blob that a script writes.
var scriptBlob = idOf(60000)

// prepare fills a store for script.
func prepare(e *env) {
	e.blobs = []storage.ID{scriptBlob, idOf(60001)}
	e.update(func(tx tx) {
		tx.put(q1)
		tx.put(queue("acme", "empty"))
		for n := range 6 {
			j := tx.add(e.job(q1, key(fmt.Sprint("old", n)), priority(int16(n%2)), due(at(int64(100*n)))), fmt.Sprint("payload ", n))
			tx.setResult(j, fmt.Sprint("result ", n))
		}
		tx.chunk(scriptBlob, 0, "zero")
		tx.chunk(scriptBlob, 1, "one")
	})
}

// script writes once with every method, in every way that has other things to undo. Each write is handed to do, which runs it.
func script(e *env, tx tx, do func(write func())) {
	jobs, err := listJobs(tx, q1, 0, 10)
	must(err)
	added := e.job(q1, key("new"), due(at(250)), priority(1))
	do(func() { added = tx.add(added, "new payload") })
	do(func() { tx.setResult(added, "new result") })
	do(func() { tx.set(with(added, func(s *storage.Status) { s.State, s.Due = storage.Running, at(50) })) })
	do(func() { tx.add(e.job(q1, state(storage.Gone), key("gone"), due(at(9))), "") })
	do(func() { tx.set(with(jobs[0], func(s *storage.Status) { s.State = storage.Running })) })
	do(func() {
		tx.set(with(jobs[0], func(s *storage.Status) { s.State, s.Version, s.Due = storage.Pending, 3, at(101) }))
	})
	do(func() { tx.set(with(jobs[1], func(s *storage.Status) { s.Due = at(-5) })) })
	do(func() {
		tx.set(with(jobs[2], func(s *storage.Status) { s.State, s.Due = storage.Succeeded, base.AddDate(0, 0, -1) }))
	})
	do(func() { tx.setResult(jobs[2], "") })
	do(func() { must(tx.DeleteResult(jobs[3])) })
	do(func() { must(tx.DeletePayload(jobs[3])) })
	do(func() { tx.delete(jobs[4]) })
	do(func() {
		again := e.job(q1, func(j *storage.Job) { j.ID, j.Key, j.Due = jobs[4].ID, jobs[4].Key, at(1) })
		tx.add(again, "again")
	})
	do(func() { tx.delete(jobs[5]) })
	do(func() {
		must(tx.PutQueue(&storage.Queue{QueueName: q1, Backlog: 7, Status: "busy", Tags: map[string]string{"a": "b"}, Created: base}))
	})
	do(func() { tx.put(queue("acme", "second")) })
	do(func() { tx.add(e.job(queue("acme", "second"), key("new")), "elsewhere") })
	do(func() { must(tx.DeleteQueue(queue("acme", "empty"))) })
	do(func() { tx.put(queue("acme", "empty")) })
	do(func() { tx.add(e.job(queue("acme", "empty")), "first of the new queue") })
	do(func() { tx.chunk(scriptBlob, 1, "one, replaced") })
	do(func() { tx.chunk(scriptBlob, 2, "two") })
	do(func() { tx.chunk(idOf(60001), 0, "another") })
	do(func() { must(tx.DeleteBlob(scriptBlob)) })
	do(func() { tx.chunk(scriptBlob, 0, "zero, new") })
}

// errEnough ends a script early.
var errEnough = errors.New("enough")

var undoLaws = []law{
	{name: "law 1: an Update that fails leaves no trace, wherever it fails", run: func(e *env) {
		prepare(e)
		e.failEverywhere(func(tx tx) error { return errEnough })
	}},
	{name: "law 1: an Update that panics leaves no trace, wherever it panics", run: func(e *env) {
		prepare(e)
		e.failEverywhere(func(tx tx) error { panic(errEnough) })
	}},
	{name: "law 1: an Update that fails after reading everything leaves no trace", run: func(e *env) {
		prepare(e)
		e.failEverywhere(func(tx tx) error { tx.state(e.blobs); return errEnough })
	}},
	{name: "law 1: an Update that fails gives its positions back", run: func(e *env) {
		e.update(func(tx tx) { tx.put(q1); tx.add(e.job(q1), "") })
		for range 3 {
			_ = e.try(context.Background(), func(tx tx) error {
				tx.add(e.job(q1), "")
				tx.add(e.job(q1), "")
				return errPlanned
			})
		}
		e.update(func(tx tx) { tx.add(e.job(q1), "") })
		e.view(func(r reader) {
			ready := r.ready(q1, 10)
			if len(ready) != 2 || ready[1].Position != 1 || r.next(q1) != 2 {
				fail("got %d jobs and next position %d, want 2 and 2", len(ready), r.next(q1))
			}
		})
	}},
	{name: "law 1: everything of an Update happens", run: func(e *env) {
		prepare(e)
		var within *contents
		e.update(func(tx tx) {
			script(e, tx, func(write func()) { write() })
			within = tx.state(e.blobs)
		})
		e.same(within)
	}},
}

// failEverywhere runs the script again and again, ends it after one write more each time, and looks that nothing has remained.
func (e *env) failEverywhere(end func(tx tx) error) {
	before := e.state()
	for stopAfter := 0; ; stopAfter++ {
		complete := false
		func() {
			defer func() {
				if p := recover(); p != nil && p != errEnough {
					if err, ok := p.(error); !ok || !errors.Is(err, errEnough) {
						panic(p)
					}
				}
			}()
			err := e.try(context.Background(), func(tx tx) (err error) {
				complete = false
				n := 0
				defer func() {
					if p := recover(); p == errEnough {
						err = end(tx)
					} else if p != nil {
						panic(p)
					}
				}()
				script(e, tx, func(write func()) {
					if n == stopAfter {
						panic(errEnough)
					}
					n++
					write()
				})
				complete = true
				return end(tx)
			})
			if !errors.Is(err, errEnough) {
				e.Fatalf("stopped after %d writes: got %v, want %v", stopAfter, err, errEnough)
			}
		}()
		if d := before.diff(e.state()); d != "" {
			e.Fatalf("stopped after %d writes of the script: it left a trace:\n%s", stopAfter, d)
		}
		if complete {
			return
		}
	}
}
