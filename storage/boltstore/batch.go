package boltstore

import (
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/pollackq/pollack/storage"
)

// runAll runs calls and commits them, together if that is possible. If more is not nil it is asked, each time all have been run, for
// calls and whatever came after them.
func (s *Store) runAll(calls []*call, more func() []*call) {
	keep := s.limits
	if s.scarce.on() {
		keep = keep.scarce()
	}
	for len(calls) > 0 {
		if s.failed.Load() {
			setErr(calls, storage.ErrFailed)
			return
		}
		var again []*call
		var full bool
		calls, again, full = s.runOnce(calls, more, keep)
		more = nil
		if !full {
			calls = again
			continue
		}
		if !keep.none() { // perhaps it was but the writing back that did not fit
			s.scarce.begin()
			if keep.most == 0 {
				keep = keep.scarce()
			} else {
				keep = limits{}
			}
			continue
		}
		// The commit did not fit and had no effect. Those that brought nothing new go first, then the others, in ever smaller parts, until
		// those that do not fit are alone.
		if len(calls) == 1 {
			setErr(calls, storage.ErrFull)
			return
		}
		parts := slices.Clone(calls)
		slices.SortStableFunc(parts, func(a, b *call) int { return boolToInt(a.grew) - boolToInt(b.grew) })
		cut := slices.IndexFunc(parts, func(c *call) bool { return c.grew })
		if cut <= 0 {
			cut = len(parts) / 2
		}
		s.runAll(parts[:cut], nil)
		s.runAll(parts[cut:], nil)
		return
	}
}

func boolToInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

func setErr(calls []*call, err error) {
	for _, c := range calls {
		c.err, c.panics, c.wrote = err, false, false
	}
}

// runOnce runs calls, and those that more adds, in one transaction of bbolt. It returns those whose outcome hangs on its commit, and
// those that are to be run again because one of their neighbours met a damaged page while it wrote, or reports that the transaction
// did not fit.
func (s *Store) runOnce(calls []*call, more func() []*call, keep limits) (all, again []*call, full bool) {
	s.updates.Add(uint64(len(calls)))
	var btx *bbolt.Tx
	var t txn
	err := guarded(func() (err error) {
		if btx, err = s.db.Begin(true); err != nil {
			return fmt.Errorf("boltstore: %w", err)
		}
		return t.begin(s, btx, s.ops)
	})
	if btx != nil {
		defer s.rollback(btx) // does nothing after a commit
	}
	if err != nil {
		setErr(calls, err)
		return calls, nil, false
	}
	before := t.meta.commits
	t.arena.free = s.slab
	written := -1 // the first call that wrote; those before it read only what was committed
	for i := 0; i < len(calls); i++ {
		c := calls[i]
		c.result = t.run(c.fn)
		if t.spoiled || t.broken != nil {
			if c.err == nil && !c.panics {
				c.err = errors.Join(t.lost, t.broken)
			}
			return calls, slices.Concat(calls[:i], calls[i+1:]), false
		}
		if c.wrote && written < 0 {
			written = i
		}
		if i == len(calls)-1 && more != nil && len(calls) < s.opts.MaxBatch {
			calls = more()
			s.updates.Add(uint64(len(calls) - i - 1))
		}
	}
	if written < 0 {
		return calls, nil, false
	}
	if err := t.flush(keep); err != nil {
		setErr(calls[written:], fmt.Errorf("boltstore: %w", err))
		return calls, nil, false
	}
	commit := t.number
	s.overlays.put(commit, t.overlay)
	t.end()
	s.committing.Lock()
	defer s.committing.Unlock()
	err = guarded(btx.Commit)
	if err == nil {
		s.slab, s.ops = t.arena.free[:0], t.ops
		s.raiseDurable(commit)
		s.commits.Add(1)
		stats := btx.Stats()
		s.written.Add(stats.GetPageAlloc())
		return calls, nil, false
	}
	if s.certainlyFull(err, btx, before) {
		return calls[written:], nil, true
	}
	s.fail(err)
	for _, c := range calls[written:] {
		if c.wrote && c.err == nil && !c.panics {
			c.err = fmt.Errorf("%w (%w)", storage.ErrOutcomeUnknown, err)
		} else if !c.panics {
			c.err = fmt.Errorf("%w (%w)", storage.ErrFailed, err)
		}
	}
	return calls, nil, false
}

// certainlyFull reports whether a commit failed for want of room and had no effect.
func (s *Store) certainlyFull(err error, btx *bbolt.Tx, before uint64) bool {
	if !isFull(err) {
		return false
	}
	s.rollback(btx)
	now := uint64(0)
	if err := guarded(func() error {
		return s.db.View(func(btx *bbolt.Tx) error {
			m, err := readMeta(btx)
			now = m.commits
			return err
		})
	}); err != nil || now != before {
		return false
	}
	if !errors.Is(err, bolterrors.ErrMaxSizeReached) {
		s.full.begin()
		s.disk.allocated = 0 // it has fewer blocks than it seemed
	}
	s.opts.Logger.Warn("a commit did not fit and had no effect", "err", err)
	return true
}

// rollback ends a transaction that was not committed, even one that panicked on its way.
func (s *Store) rollback(btx *bbolt.Tx) {
	if err := guarded(btx.Rollback); err != nil && !errors.Is(err, bolterrors.ErrTxClosed) {
		s.fail(err)
	}
}
