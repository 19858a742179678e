package boltstore

import (
	"context"
	"runtime"
	"runtime/debug"
	"sync/atomic"

	"github.com/pollackq/pollack/storage"
)

// A call is one Update that waits for the committer, or has been run by it.
type call struct {
	fn    func(storage.Tx) error
	taken atomic.Bool   // by the committer, or by its caller who withdrew it
	done  chan struct{} // has room for one
	result
}

// A result is what became of a call.
type result struct {
	err      error
	panicked any
	panics   bool
	wrote    bool
	grew     bool
}

// Update runs fn in a transaction that others share, in the committer's goroutine or, where nothing else is under way, in its own. A call
// whose context ends before it has been picked up is withdrawn; after that its outcome is awaited.
func (s *Store) Update(ctx context.Context, _ storage.Reads, fn func(storage.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c, _ := s.spare.Get().(*call)
	if c == nil {
		c = &call{done: make(chan struct{}, 1)}
	}
	c.fn = fn
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return storage.ErrClosed
	}
	s.pending = append(s.pending, c)
	s.waiting.Add(1)
	leads := s.idle
	s.idle = false
	s.mu.Unlock()
	if leads { // to wake the committer and to be woken by it would take a lone caller a tenth of its time
		s.lead()
	}
	if over := ctx.Done(); over == nil {
		<-c.done
	} else {
		select {
		case <-c.done:
		case <-over:
			if c.taken.CompareAndSwap(false, true) {
				return ctx.Err()
			}
			<-c.done
		}
	}
	r := c.result
	c.fn, c.result = nil, result{}
	c.taken.Store(false)
	s.spare.Put(c)
	if r.panics {
		panic(r.panicked)
	}
	return r.err
}

// lead runs one batch in the goroutine of its first caller, while the committer waits. Whoever comes too late for it wakes the committer.
func (s *Store) lead() {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	s.commit()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.idle = len(s.pending) == 0 && !s.closed
	if !s.idle {
		s.wake <- struct{}{}
	}
}

// commitLoop runs what is waiting until the store is closed and nothing waits any more.
func (s *Store) commitLoop() {
	defer close(s.stopped)
	debug.SetPanicOnFault(true)
	for {
		s.mu.Lock()
		if len(s.pending) > 0 {
			s.mu.Unlock()
			s.commit()
			continue
		}
		if s.closed {
			s.mu.Unlock()
			return
		}
		s.idle = true
		s.mu.Unlock()
		<-s.wake
	}
}

// commit runs what is waiting, and what joins it, and tells the callers. One goroutine at a time does.
func (s *Store) commit() {
	batch := s.take(s.batch[:0])
	if len(batch) > 0 {
		s.runAll(batch, func() []*call {
			s.gather()
			batch = s.take(batch)
			return batch
		})
	}
	for i, c := range batch {
		c.done <- struct{}{}
		batch[i] = nil
	}
	s.batch = batch
}

// gather lets callers that are about to call do so: it yields until the number waiting stops growing. It is called when all that were
// waiting have been run, before the commit. Without it the callers whom one commit has released split into two alternating halves.
func (s *Store) gather() {
	const rounds = 32
	n := s.waiting.Load()
	for range rounds {
		if n >= int64(s.opts.MaxBatch) {
			return
		}
		runtime.Gosched()
		m := s.waiting.Load()
		if m == n {
			return
		}
		n = m
	}
}

// take moves up to MaxBatch calls that were not withdrawn into the batch.
func (s *Store) take(batch []*call) []*call {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for n < len(s.pending) && len(batch) < s.opts.MaxBatch {
		c := s.pending[n]
		s.pending[n] = nil
		n++
		if c.taken.CompareAndSwap(false, true) {
			batch = append(batch, c)
		}
	}
	s.waiting.Add(int64(-n))
	rest := copy(s.pending, s.pending[n:])
	clear(s.pending[rest:])
	s.pending = s.pending[:rest]
	return batch
}
