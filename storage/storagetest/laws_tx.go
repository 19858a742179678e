package storagetest

import (
	"context"
	"errors"
	"reflect"
	"runtime"
	"sync/atomic"

	"github.com/pollackq/pollack/storage"
)

var errPlanned = errors.New("planned")

var txLaws = []law{
	{name: "law 1: the error of a function comes back as it is", run: func(e *env) {
		if err := e.store.Update(context.Background(), storage.Reads{}, func(storage.Tx) error { return errPlanned }); err != errPlanned {
			e.Errorf("Update: got %v, want the function's error itself", err)
		}
		if err := e.store.View(context.Background(), storage.Reads{}, func(storage.Reader) error { return errPlanned }); err != errPlanned {
			e.Errorf("View: got %v, want the function's error itself", err)
		}
	}},
	{name: "law 1: a panic is raised again in the caller and the store goes on", run: func(e *env) {
		for _, what := range []string{"Update", "View"} {
			got := recovered(func() {
				if what == "View" {
					_ = e.store.View(context.Background(), storage.Reads{}, func(storage.Reader) error { panic(errPlanned) })
					return
				}
				_ = e.store.Update(context.Background(), storage.Reads{}, func(storage.Tx) error { panic(errPlanned) })
			})
			if got == nil {
				e.Errorf("%s: the panic did not reach the caller", what)
			}
			if err, ok := got.(error); ok && !errors.Is(err, errPlanned) {
				e.Errorf("%s: got panic %v, want %v", what, err, errPlanned)
			}
		}
		e.update(func(tx tx) { tx.put(q1); tx.add(e.job(q1), "p") })
	}},
	{name: "law 2: a context that is over at the call runs nothing, on a closed store too", run: func(e *env) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		check := func() {
			ran := false
			if err := e.store.Update(ctx, storage.Reads{}, func(storage.Tx) error { ran = true; return nil }); err != context.Canceled || ran {
				e.Errorf("Update: got %v, ran %v; want %v itself and false", err, ran, context.Canceled)
			}
			if err := e.store.View(ctx, storage.Reads{}, func(storage.Reader) error { ran = true; return nil }); err != context.Canceled || ran {
				e.Errorf("View: got %v, ran %v; want %v itself and false", err, ran, context.Canceled)
			}
		}
		check()
		e.close()
		check()
	}},
	{name: "law 2: a context that ends while the transaction waits means that nothing happened, or is not reported", run: func(e *env) {
		e.update(func(tx tx) { tx.put(q1) })
		for range 20 {
			before := e.state()
			j := e.job(q1)
			ctx, cancel := context.WithCancel(context.Background())
			inside, release := make(chan bool), make(chan bool)
			first, second := make(chan error, 1), make(chan error, 1)
			var once atomic.Bool
			go func() {
				first <- e.store.Update(context.Background(), storage.Reads{}, func(storage.Tx) error {
					if once.CompareAndSwap(false, true) {
						close(inside)
						<-release
					}
					return nil
				})
			}()
			<-inside
			go func() {
				second <- e.try(ctx, func(tx tx) error { tx.add(j, "p"); return nil })
			}()
			for range 10 {
				runtime.Gosched()
			}
			cancel()
			runtime.Gosched()
			close(release)
			if err := <-first; err != nil {
				e.Fatalf("the transaction before: got %v, want nil", err)
			}
			switch err := <-second; err {
			case context.Canceled:
				e.same(before)
			case nil:
				e.view(func(r reader) { r.job(j.ID) })
			default:
				e.Fatalf("got %v, want nil or %v itself", err, context.Canceled)
			}
		}
	}},
	{name: "law 2: a context that ends while the function runs means that nothing happened, or is not reported", run: func(e *env) {
		e.update(func(tx tx) { tx.put(q1) })
		before := e.state()
		j := e.job(q1)
		ctx, cancel := context.WithCancel(context.Background())
		switch err := e.try(ctx, func(tx tx) error { cancel(); tx.add(j, "p"); return nil }); err {
		case context.Canceled:
			e.same(before)
		case nil:
			e.view(func(r reader) { r.job(j.ID) })
		default:
			e.Fatalf("got %v, want nil or %v itself", err, context.Canceled)
		}
	}},
	{name: "law 4: a transaction reads what it wrote, in the records as in all orders and counts", run: func(e *env) {
		prepare(e)
		e.update(func(tx tx) {
			script(e, tx, func(write func()) {
				before := tx.state(e.blobs)
				write()
				if before.diff(tx.state(e.blobs)) == "" {
					fail("what was written is not to be read")
				}
			})
		})
	}},
	{name: "law 6: a transaction sees what was written before it began, from any goroutine", run: func(e *env) {
		e.update(func(tx tx) { tx.put(q1) })
		for range 50 {
			j := e.job(q1)
			e.update(func(tx tx) { tx.add(j, "p") })
			seen := make(chan error)
			go func() {
				seen <- e.store.View(context.Background(), storage.Reads{}, func(r storage.Reader) error { _, err := r.Job(j.ID); return err })
			}()
			if err := <-seen; err != nil {
				e.Fatalf("Job: %v", err)
			}
		}
	}},
	{name: "law 7: after an error that says so nothing has changed and the function goes on", run: func(e *env) {
		blob := e.id()
		e.blobs = append(e.blobs, blob)
		j, stranger, late := e.job(q1, key("k")), e.job(q1), e.job(q1)
		large := make([]byte, storage.MaxValue+1)
		e.update(func(tx tx) {
			tx.put(q1)
			tx.add(j, "p")
			tx.chunk(blob, 0, "c")
		})
		e.update(func(tx tx) {
			before := tx.state(e.blobs)
			err := func(what string, err, target error) {
				want(what, err, target)
				if d := before.diff(tx.state(e.blobs)); d != "" {
					fail("%s: something has changed:\n%s", what, d)
				}
			}
			_, x := tx.AddJob(e.job(q1), large)
			err("AddJob of a payload too large", x, storage.ErrTooLarge)
			_, x = tx.AddJob(e.job(queue("acme", "none")), nil)
			err("AddJob to no queue", x, storage.ErrNotFound)
			_, x = tx.AddJob(&storage.Job{Spec: &storage.Spec{ID: j.ID, Queue: q1}, Status: j.Status}, nil)
			err("AddJob of an id in use", x, storage.ErrExists)
			_, x = tx.AddJob(e.job(q1, key("k")), nil)
			err("AddJob of a key in use", x, storage.ErrExists)
			err("SetJob of no job", tx.SetJob(stranger), storage.ErrNotFound)
			err("SetResult of no job", tx.SetResult(stranger, nil), storage.ErrNotFound)
			err("SetResult too large", tx.SetResult(j, large), storage.ErrTooLarge)
			err("DeleteResult of no job", tx.DeleteResult(stranger), storage.ErrNotFound)
			err("DeletePayload of no job", tx.DeletePayload(stranger), storage.ErrNotFound)
			err("DeleteJob of no job", tx.DeleteJob(stranger), storage.ErrNotFound)
			err("DeleteQueue of no queue", tx.DeleteQueue(queue("acme", "none")), storage.ErrNotFound)
			err("DeleteQueue of one with jobs", tx.DeleteQueue(q1), storage.ErrInUse)
			err("PutChunk too large", tx.PutChunk(blob, 1, large[:storage.ChunkSize+1]), storage.ErrTooLarge)
			err("PutChunk that leaves one out", tx.PutChunk(blob, 2, nil), storage.ErrNotFound)
			tx.add(late, "p")
		})
		e.view(func(r reader) {
			if got := r.job(late.ID).Position; got != 1 {
				fail("position after failed attempts: got %d, want 1", got)
			}
		})
	}},
	{name: "Close: later calls return ErrClosed, a second Close nil", run: func(e *env) {
		e.update(func(tx tx) { tx.put(q1) })
		e.close()
		if err := e.store.Close(); err != nil {
			e.Errorf("second Close: got %v, want nil", err)
		}
		ran := false
		if err := e.store.Update(context.Background(), storage.Reads{}, func(storage.Tx) error { ran = true; return nil }); !errors.Is(err, storage.ErrClosed) || ran {
			e.Errorf("Update: got %v, ran %v; want %v, false", err, ran, storage.ErrClosed)
		}
		if err := e.store.View(context.Background(), storage.Reads{}, func(storage.Reader) error { ran = true; return nil }); !errors.Is(err, storage.ErrClosed) || ran {
			e.Errorf("View: got %v, ran %v; want %v, false", err, ran, storage.ErrClosed)
		}
	}},
	{name: "Close: waits for the transactions under way, which end as if it had not been called", run: func(e *env) {
		e.update(func(tx tx) { tx.put(q1) })
		inside, release := make(chan bool), make(chan bool)
		updated, closed := make(chan error, 1), make(chan bool, 1)
		var once, finished atomic.Bool
		go func() {
			updated <- e.try(context.Background(), func(tx tx) error {
				if once.CompareAndSwap(false, true) {
					close(inside)
					<-release
				}
				tx.add(e.job(q1), "p")
				finished.Store(true)
				return nil
			})
		}()
		<-inside
		go func() {
			_ = e.store.Close()
			closed <- finished.Load()
		}()
		for range 100 {
			runtime.Gosched()
		}
		close(release)
		if err := <-updated; err != nil {
			e.Errorf("Update: got %v, want nil", err)
		}
		if !<-closed {
			e.Error("Close returned while a transaction was running")
		}
		e.closed = true
	}},
}

// close closes the store before the end of the law.
func (e *env) close() {
	e.Helper()
	e.closed = true
	if err := e.store.Close(); err != nil {
		e.Fatalf("Close: got %v, want nil", err)
	}
}

// recovered returns what fn panicked with.
func recovered(fn func()) (p any) {
	defer func() { p = recover() }()
	fn()
	return nil
}

// unchanged remembers jobs as they were returned, and fails if they are different later.
type unchanged struct {
	jobs   []*storage.Job
	copies []*storage.Job
}

// add remembers a job.
func (u *unchanged) add(jobs ...*storage.Job) {
	for _, j := range jobs {
		u.jobs = append(u.jobs, j)
		u.copies = append(u.copies, deepCopy(j))
	}
}

// check returns the first job that is no longer what it was.
func (u *unchanged) check() (was, is *storage.Job) {
	for i, j := range u.jobs {
		if !reflect.DeepEqual(j, u.copies[i]) {
			return u.copies[i], j
		}
	}
	return nil, nil
}

// deepCopy copies a job and everything it points to.
func deepCopy(j *storage.Job) *storage.Job {
	spec := *j.Spec
	if j.Tags != nil {
		spec.Tags = make(map[string]string, len(j.Tags))
		for k, v := range j.Tags {
			spec.Tags[k] = v
		}
	}
	spec.Outbox = append([]string(nil), j.Outbox...)
	c := &storage.Job{Spec: &spec, Status: j.Status}
	if j.Progress != nil {
		p := *j.Progress
		c.Progress = &p
	}
	return c
}
