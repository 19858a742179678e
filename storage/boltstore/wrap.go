package boltstore

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"go.etcd.io/bbolt"

	"github.com/pollackq/pollack/storage"
)

// Wrap keeps jobs in a bbolt file of the user's own, in the bucket "pollack", so that they can commit together with other data (see
// Tx). It changes none of the options of db, and neither Wrap nor Close closes it: close the Store first, then db. Do not wrap one
// file twice at a time.
//
// The cost of a commit depends on how db was opened: bbolt.Options.NoFreelistSync and FreelistMapType are recommended.
func Wrap(db *bbolt.DB, o *Options) (*Store, error) {
	if db.IsReadOnly() {
		return nil, fmt.Errorf("boltstore: wrap %s: %w", db.Path(), ErrReadOnly)
	}
	err := guarded(func() error {
		err := db.View(func(btx *bbolt.Tx) error {
			_, err := readMeta(btx)
			return err
		})
		if !errors.Is(err, ErrForeign) {
			return err
		}
		return writeOnce(db, createBuckets)
	})
	if err != nil {
		return nil, fmt.Errorf("boltstore: wrap %s: %w", db.Path(), err)
	}
	s, err := newStore(db, nil, o.withDefaults())
	if err != nil {
		return nil, fmt.Errorf("boltstore: wrap %s: %w", db.Path(), err)
	}
	return s, nil
}

// Tx returns our transactions inside btx, a write transaction that the user has begun on the wrapped file, for use until btx ends and
// in the goroutine that uses btx: what they write commits with btx, or not at all.
//
// **Inside a write transaction of one's own, nothing else of the Store, nor of a broker on it, may be called: it would wait for
// bbolt's writer lock, which this very transaction holds, for ever.** Inside a read transaction of one's own writing may hang too: bbolt
// waits for all readers when the file outgrows its map (bbolt.Options.InitialMmapSize sets how large that is from the start). For the
// same reason a long transaction of one's own holds up all callers of the Store, whatever their contexts say.
func (s *Store) Tx(btx *bbolt.Tx) storage.UserTx { return &userTx{s: s, btx: btx} }

type userTx struct {
	s      *Store
	btx    *bbolt.Tx
	commit uint64 // what commits if btx does, 0 if nothing was written yet
	hooked bool
}

func (u *userTx) Deferred() bool { return false }

func (u *userTx) OnCommit(fn func()) {
	u.hook()
	u.btx.OnCommit(fn)
}

// hook has our own handler run before those of the user, who may read in theirs.
func (u *userTx) hook() {
	if u.hooked {
		return
	}
	u.hooked = true
	u.btx.OnCommit(func() {
		if u.commit > 0 {
			u.s.raiseDurable(u.commit)
			u.s.commits.Add(1)
		}
	})
}

func (u *userTx) Update(ctx context.Context, _ storage.Reads, fn func(storage.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s := u.s
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	switch {
	case closed:
		return storage.ErrClosed
	case s.failed.Load():
		return storage.ErrFailed
	case u.btx.DB() != s.db || !u.btx.Writable():
		return errors.New("boltstore: Tx needs an open write transaction on the file of the store")
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	// Nothing is kept from one Update to the next: the user may roll back in between, or delete our bucket. The overlay that this makes is
	// found by the number of its commit, which is never given again if this one does not happen.
	t := new(txn)
	if err := guarded(func() error { return t.begin(s, u.btx, nil) }); err != nil {
		return err
	}
	defer t.end()
	s.updates.Add(1)
	r := t.run(fn)
	if r.panics {
		panic(r.panicked)
	}
	if t.broken != nil {
		return errors.Join(r.err, t.broken)
	}
	if r.err != nil || !r.wrote {
		return r.err
	}
	if err := t.flush(s.limits); err != nil {
		return fmt.Errorf("boltstore: %w", err)
	}
	u.commit = t.number
	s.overlays.put(t.number, t.overlay)
	u.hook()
	return nil
}
