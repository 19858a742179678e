package jobqueue

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
)

// watches are those who wait for a change of a job. Unlike those who wait for a job of a queue they all want the same news, and the
// last news of a job that is deleted at its end can be had from nobody but the one who ended it: so it is handed to them.
type watches struct {
	count  atomic.Int64 // of watches; changed with mu held
	mu     sync.Mutex   // guards what follows
	byJob  map[ID]map[*watch]struct{}
	closed bool
}

type watch struct {
	changed chan struct{} // holds one
	end     *event        // how the job last ended since the watch began, nil if it has not; guarded by watches.mu
	gone    bool          // it has been deleted otherwise than by its end, or may have been, since the watcher last read it; likewise
}

func newWatch() *watch { return &watch{changed: make(chan struct{}, 1)} }

// add begins to watch a job.
func (w *watches) add(id ID) (*watch, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil, ErrShutdown
	}
	if w.byJob == nil {
		w.byJob = make(map[ID]map[*watch]struct{})
	}
	m := w.byJob[id]
	if m == nil {
		m = make(map[*watch]struct{})
		w.byJob[id] = m
	}
	one := newWatch()
	m[one] = struct{}{}
	w.count.Add(1)
	return one, nil
}

func (w *watches) remove(id ID, one *watch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.byJob[id], one)
	w.count.Add(-1)
	if len(w.byJob[id]) == 0 {
		delete(w.byJob, id)
	}
}

// notify tells those who watch a job that it has changed; e is nil if only that is known.
func (w *watches) notify(id ID, e *event) {
	if w.count.Load() == 0 {
		return // whoever comes now looks first
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	watching := w.byJob[id]
	var end *event
	if len(watching) > 0 && e != nil && e.kind == ended {
		end = new(event)
		*end = *e // the step that e is of will be used again
	}
	for one := range watching {
		if end != nil {
			one.end = end
		}
		one.gone = one.gone || e == nil || e.kind == removed
		one.poke()
	}
}

func (w *watches) notifyAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.byJob {
		for one := range m {
			one.gone = true
			one.poke()
		}
	}
}

// close wakes all, and turns away those who come.
func (w *watches) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.notifyAll()
}

// jobs returns all jobs that are watched.
func (w *watches) jobs() []ID {
	w.mu.Lock()
	defer w.mu.Unlock()
	ids := make([]ID, 0, len(w.byJob))
	for id := range w.byJob {
		ids = append(ids, id)
	}
	return ids
}

// takeGone returns and forgets that the job may have been deleted: the watcher is about to read it.
func (w *watches) takeGone(one *watch) (gone bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	gone, one.gone = one.gone, false
	return gone
}

// last returns how the job ended, nil if it has not, whether it may have been deleted otherwise, and whether the broker is shutting down.
func (w *watches) last(one *watch) (end *event, gone, closed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return one.end, one.gone, w.closed
}

func (w *watch) poke() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// Wait blocks until the job's version is greater than since, and returns the job; at once if it is already. So
// Wait(ctx, id, 0) is Job. It returns the error of ctx when that ends, and ErrShutdown on Shutdown. A job that is deleted meanwhile is
// ErrGone or ErrNotFound.
func (b *Broker) Wait(ctx context.Context, id ID, since uint64) (*Job, error) {
	return b.waitUntil(ctx, id, func(j *Job) bool { return j.Version > since })
}

// WaitEnd blocks until the job has ended, and returns it, also if it is deleted in that moment; else it is like Wait. Where several
// processes share the store, one that another process ended and that is not kept is ErrGone or ErrNotFound: nobody is left to ask how it
// ended.
func (b *Broker) WaitEnd(ctx context.Context, id ID) (*Job, error) {
	return b.waitUntil(ctx, id, func(j *Job) bool { return j.State.Ended() })
}

func (b *Broker) waitUntil(ctx context.Context, id ID, enough func(*Job) bool) (*Job, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	one, err := b.watches.add(id)
	if err != nil { // no more waiting, but what is so already can be read
		if j, found := b.Job(ctx, id); found != nil || enough(j) {
			return j, found
		}
		return nil, err
	}
	defer b.watches.remove(id, one)
	for seen := false; ; {
		was := b.watches.takeGone(one) // if the job is there now, that was about something earlier
		j, err := b.Job(ctx, id)
		end, gone, closed := b.watches.last(one)
		gone = gone || was
		absent := errors.Is(err, ErrNotFound) || errors.Is(err, ErrGone)
		switch {
		case err == nil && enough(j):
			return j, nil
		case absent && end != nil && b.sees(end.job.Account):
			return jobOf(end.job, end.beside), nil
		case absent && seen && !gone && !closed: // it was deleted at its end, which is about to be told
		case err != nil:
			return nil, err
		case closed:
			return nil, ErrShutdown
		}
		if !seen && b.notifier != nil {
			b.notifier.Watches(id)
		}
		seen = true
		select {
		case <-one.changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
