package boltstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"

	"github.com/pollackq/pollack/storage"
)

// A Store keeps jobs in a bbolt file. It is made by Open or Wrap, and safe for concurrent use.
type Store struct {
	db     *bbolt.DB
	owned  bool // opened by us: ours to close
	opts   Options
	clock  clock
	opened time.Time

	mu      sync.Mutex // guards the next three
	closed  bool
	idle    bool    // nobody runs calls, and the committer waits for wake
	pending []*call // waits for the committer

	spare sync.Pool      // of calls that are over
	views sync.WaitGroup // added to under mu

	waiting   atomic.Int64  // length of pending
	wake      chan struct{} // has room for one
	stopped   chan struct{} // closed when the committer has ended
	closeOnce sync.Once

	committing sync.Mutex    // held while a commit is under way
	durable    atomic.Uint64 // the last commit known to be on disk
	failed     atomic.Bool   // an outcome is unknown
	full       spell         // the file is not to grow
	scarce     spell         // little is written back at a time

	commits, updates atomic.Uint64
	written          atomic.Int64
	batch            []*call // whoever runs calls has it, as what follows; empty between commits
	slab             []byte
	ops              []byte
	overlays         overlays
	limits           limits
	disk             disk
}

var (
	_ storage.Store   = (*Store)(nil)
	_ storage.Checker = (*Store)(nil)
)

// Stats count what a store has done since it was opened.
type Stats struct {
	Commits uint64 // write transactions of bbolt, two syncs each
	Updates uint64 // transactions that ran, those that failed or wrote nothing included
	Written int64  // bytes of pages written by those commits
}

// Stats returns what the store has done.
func (s *Store) Stats() Stats {
	return Stats{Commits: s.commits.Load(), Updates: s.updates.Load(), Written: s.written.Load()}
}

// newStore makes a store of an open file; file is nil if it is the user's.
func newStore(db *bbolt.DB, file *os.File, o Options) (*Store, error) {
	s := &Store{db: db, owned: file != nil, opts: o, opened: time.Now(), wake: make(chan struct{}, 1), stopped: make(chan struct{}), limits: defaultLimits}
	if o.limits != (limits{}) {
		s.limits = o.limits
	}
	s.limits = s.limits.within(db.MaxSize)
	s.disk = disk{file: file, allocate: fallocate}
	s.overlays.bounded = db.MaxSize > 0 || s.disk.able()
	if o.allocate != nil {
		s.disk.allocate = o.allocate
	}
	var r reader
	err := guarded(func() error {
		if err := settle(db); err != nil {
			return err
		}
		if err := upgrade(db); err != nil {
			return err
		}
		return db.View(func(btx *bbolt.Tx) error { return r.begin(btx, time.Time{}, &s.overlays) })
	})
	if err != nil {
		return nil, err
	}
	if lost := r.overlay.lost; len(lost) > 0 {
		o.Logger.Error("the latest changes of damaged jobs are lost: see Check", "jobs", len(lost), "first", lost[0])
	}
	s.clock = newClock(o, r.meta.time)
	s.durable.Store(r.meta.commits)
	go s.commitLoop()
	return s, nil
}

// View runs fn on one consistent snapshot, in the caller's goroutine.
func (s *Store) View(ctx context.Context, _ storage.Reads, fn func(storage.Reader) error) error {
	return s.view(ctx, func(r *reader) error { return fn(r) })
}

func (s *Store) view(ctx context.Context, fn func(*reader) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return storage.ErrClosed
	}
	s.views.Add(1)
	s.mu.Unlock()
	defer s.views.Done()
	if s.failed.Load() {
		return storage.ErrFailed
	}
	commit, err := s.read(fn)
	// What was read may be a commit whose last sync is under way. This waits outside the transaction, which that commit may be waiting for.
	if commit > s.durable.Load() {
		if err := s.awaitDurable(commit); err != nil {
			return err
		}
	}
	return err
}

// read runs fn on a snapshot and returns the commit that it is of.
func (s *Store) read(fn func(*reader) error) (commit uint64, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	var btx *bbolt.Tx
	var r reader
	err = guarded(func() (err error) {
		if btx, err = s.db.Begin(false); err != nil {
			return fmt.Errorf("boltstore: %w", err)
		}
		return r.begin(btx, s.clock.now(), &s.overlays)
	})
	if btx != nil {
		defer btx.Rollback()
	}
	if err != nil {
		return 0, err
	}
	defer r.end()
	return r.meta.commits, fn(&r)
}

// awaitDurable returns when a commit that has been read is on disk.
func (s *Store) awaitDurable(commit uint64) error {
	s.committing.Lock()
	durable := s.durable.Load()
	s.committing.Unlock()
	if durable >= commit {
		return nil
	}
	if s.failed.Load() {
		return storage.ErrFailed
	}
	// It is the commit of a user's own transaction, before its OnCommit. Once its writer lock is free it has written all.
	btx, err := s.db.Begin(true)
	if err != nil {
		return fmt.Errorf("boltstore: %w", err)
	}
	btx.Rollback()
	if s.durable.Load() >= commit {
		return nil
	}
	if err := s.db.Sync(); err != nil {
		s.fail(err)
		return storage.ErrFailed
	}
	s.raiseDurable(commit)
	return nil
}

func (s *Store) raiseDurable(commit uint64) {
	for {
		now := s.durable.Load()
		if now >= commit || s.durable.CompareAndSwap(now, commit) {
			return
		}
	}
}

// fail makes the store refuse all further work.
func (s *Store) fail(err error) {
	if !s.failed.Swap(true) {
		s.opts.Logger.Error("commit failed with an unknown outcome: the store refuses work until it is opened again", "err", err)
	}
}

// Close waits for the transactions under way, and closes the file unless it is the user's (see Wrap).
func (s *Store) Close() error {
	var err error
	s.closeOnce.Do(func() { err = s.close() })
	return err
}

func (s *Store) close() error {
	s.mu.Lock()
	s.closed = true
	if s.idle {
		s.idle = false
		s.wake <- struct{}{}
	}
	s.mu.Unlock()
	<-s.stopped
	s.views.Wait()
	if !s.owned {
		return nil
	}
	var err error
	if s.commits.Load() > 0 && !s.failed.Load() {
		// With the list of free pages on disk the next Open need not scan the file, and without a journal not replay it.
		s.db.NoFreelistSync = false
		err = writeOnce(s.db, s.emptyJournal)
		if isFull(err) {
			err = nil // the next Open scans
		}
	}
	if err := errors.Join(err, s.db.Close()); err != nil {
		return fmt.Errorf("boltstore: close: %w", err)
	}
	return nil
}

// emptyJournal writes all that is in the overlay to the trees.
func (s *Store) emptyJournal(btx *bbolt.Tx) error {
	var t txn
	if err := t.begin(s, btx, nil); err != nil {
		return err
	}
	if len(t.overlay.journal) == 0 {
		return nil
	}
	return t.flush(limits{quantum: 1}) // no room at all
}

// writeOnce runs fn in a write transaction and commits it. Unlike bbolt's own Update it does not scan the file after a panic, in a goroutine
// that would die of the same page.
func writeOnce(db *bbolt.DB, fn func(*bbolt.Tx) error) error {
	return guarded(func() error {
		btx, err := db.Begin(true)
		if err != nil {
			return err
		}
		defer btx.Rollback() // does nothing after a commit
		if err := fn(btx); err != nil {
			return err
		}
		return btx.Commit()
	})
}

// guarded runs fn and turns a fault in the mapped file, or a panic of bbolt over a damaged page, into an error.
func guarded(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = damagedPage(p)
		}
	}()
	return fn()
}
