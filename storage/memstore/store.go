package memstore

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pollackq/pollack/storage"
)

// Options are the settings of a Store. The zero value and nil mean the defaults.
type Options struct {
	// WallClock is read once, by New; the default is time.Now. From then on the store's clock is that time plus the monotonic time since.
	WallClock func() time.Time
	// Clock, if set, is the store's clock in place of that: time stands still until it is advanced.
	Clock *Clock
}

// A Store keeps jobs in memory. It implements storage.Store, storage.Alarmer and storage.Checker. It never returns ErrFull, ErrCorrupt,
// ErrOutcomeUnknown, ErrFailed or ErrBusy.
type Store struct {
	clock *Clock    // nil: start plus the time since opened
	start time.Time // what the wall clock said when the store was opened, in UTC and microseconds
	since time.Time // the same moment, with its monotonic reading

	views, updates atomic.Uint64

	mu     sync.Mutex // guards all below, and is held while a transaction runs
	closed bool
	jobs   map[storage.ID]*record
	keys   map[storage.Key]*record
	due    order[duePlace]
	queues map[storage.QueueName]*queue
	names  order[storage.QueueName]
	blobs  map[storage.ID][][]byte
	undo   []undo // of the Update that runs
	tx     tx     // likewise; the next one uses it again
}

// New returns an empty store. It never fails.
func New(o *Options) *Store {
	if o == nil {
		o = new(Options)
	}
	s := &Store{
		clock:  o.Clock,
		since:  time.Now(),
		jobs:   make(map[storage.ID]*record),
		keys:   make(map[storage.Key]*record),
		due:    order[duePlace]{less: dueLess},
		queues: make(map[storage.QueueName]*queue),
		names:  order[storage.QueueName]{less: nameLess},
		blobs:  make(map[storage.ID][][]byte),
	}
	start := s.since
	if o.WallClock != nil {
		start = o.WallClock()
	}
	s.start = start.Round(0).UTC().Truncate(time.Microsecond)
	return s
}

// View runs fn while nothing else runs.
func (s *Store) View(ctx context.Context, _ storage.Reads, fn func(storage.Reader) error) error {
	s.views.Add(1)
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	r := new(reader)
	r.start(s)
	defer r.end()
	return fn(r)
}

// Update runs fn while nothing else runs, and undoes what it wrote unless it returns nil.
func (s *Store) Update(ctx context.Context, _ storage.Reads, fn func(storage.Tx) error) error {
	s.updates.Add(1)
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	s.tx.start(s)
	kept := false
	defer func() {
		s.tx.end()
		if !kept { // an error, a panic, or the end of the goroutine
			s.rollbackLocked()
		}
		clear(s.undo)
		s.undo = s.undo[:0]
	}()
	err := fn(&s.tx)
	kept = err == nil
	return err
}

// Close waits for the transactions under way and lets go of everything. It always returns nil.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.jobs, s.keys, s.queues, s.blobs, s.undo = nil, nil, nil, nil, nil
	s.due, s.names = order[duePlace]{}, order[storage.QueueName]{}
	return nil
}

// Stats are figures of a Store since New.
type Stats struct {
	Views, Updates uint64 // how often they were called, whatever became of the call
}

// Stats returns how often the store was called. A process in which nothing happens does not call it.
func (s *Store) Stats() Stats {
	return Stats{Views: s.views.Load(), Updates: s.updates.Load()}
}

// Alarm calls fn once, in a goroutine of its own, when the store's clock reaches t or has passed it, unless stop is called before.
func (s *Store) Alarm(t time.Time, fn func()) (stop func()) {
	if s.clock != nil {
		return s.clock.alarm(t, fn)
	}
	timer := time.AfterFunc(t.Sub(s.now()), fn)
	return func() { timer.Stop() }
}

// now reads the store's clock.
func (s *Store) now() time.Time {
	if s.clock != nil {
		return s.clock.Now()
	}
	return s.start.Add(time.Since(s.since).Truncate(time.Microsecond))
}

// lock waits for the store, which the caller then unlocks. A context that ends meanwhile is noticed when the wait is over, which is soon:
// transactions do not wait for anything.
func (s *Store) lock(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	err := ctx.Err()
	if err == nil && s.closed {
		err = storage.ErrClosed
	}
	if err != nil {
		s.mu.Unlock()
	}
	return err
}

// An undo is one entry of the log: it takes back either what became of a record, or something rare.
type undo struct {
	rec  *record
	was  contents
	next uint64 // the position counter of the record's queue
	rare func() // if rec is nil
}

// rollbackLocked takes back what the undo log holds, the latest first.
func (s *Store) rollbackLocked() {
	for i := len(s.undo) - 1; i >= 0; i-- {
		u := &s.undo[i]
		if u.rec == nil {
			u.rare()
			continue
		}
		s.placeLocked(u.rec, u.was)
		u.rec.queue.next = u.next
	}
}
