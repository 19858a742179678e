package boltstore

import (
	"bytes"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/pollackq/pollack/storage"
)

// A txn runs calls, one after the other, in one write transaction of bbolt. What a call does to jobs is in the overlay at once, what it
// does to the trees in bbolt's pages; two logs take both back when the call fails, so that its neighbours need not run again.
type txn struct {
	reader
	arena   arena
	room    *room
	number  uint64       // of the commit to be
	ops     []byte       // what the calls that succeeded did to the overlay: the record for the journal
	entered []storage.ID // the jobs that they took into it
	latest  []byte       // no id in the trees is later; nil until it is asked for

	call    uint64 // the number of the call in this transaction
	changes []change
	undo    []undo
	undoQ   []undoQueue
	drops   []uint64 // large values that the call deleted
	wrote   bool
	grew    bool  // brought something new, see law 24
	lost    error // the call cannot succeed any more
	broken  error // the undo log failed: nothing of this transaction may be committed
}

// An undo puts one key of the trees back.
type undo struct {
	in     int
	key    []byte
	old    []byte // nil if there was none
	bucket bool   // the key is a bucket that the call created
}

type undoQueue struct {
	q    *queue
	was  counters
	rec  []byte
	load bool
}

// begin begins on a write transaction of bbolt. The buffer is for the journal's record.
func (t *txn) begin(s *Store, btx *bbolt.Tx, ops []byte) error {
	if err := t.reader.begin(btx, s.clock.now(), &s.overlays); err != nil {
		return err
	}
	t.overlay = t.overlay.edit()
	t.number = s.overlays.numberAfter(t.meta.commits)
	t.room = s.roomIn(btx, t.overlay)
	t.ops = append(ops[:0], version)
	return nil
}

// maxTrees is how many jobs of the trees are remembered for the calls that follow in a transaction.
const maxTrees = 4096

// run runs one call. After an error, or a panic, nothing of it is left.
func (t *txn) run(fn func(storage.Tx) error) result {
	t.call++
	t.changes, t.undo, t.undoQ, t.drops = t.changes[:0], t.undo[:0], t.undoQ[:0], t.drops[:0]
	t.wrote, t.grew, t.lost = false, false, nil
	t.room.begin()
	if len(t.trees) > maxTrees {
		clear(t.trees)
	}
	r := t.attempt(fn)
	if r.err == nil && !r.panics {
		r.err = t.finish()
	}
	if r.err != nil || r.panics {
		t.rollback()
	}
	for _, c := range t.changes {
		t.ops = c.append(t.ops)
		if c.now != nil && !c.was.inOverlay() {
			t.entered = append(t.entered, c.now.ID)
		}
	}
	r.wrote, r.grew = t.wrote, t.grew
	return r
}

// attempt runs a call's function, and catches its panic.
func (t *txn) attempt(fn func(storage.Tx) error) (r result) {
	r.panics = true
	defer func() {
		if r.panics {
			r.panicked = recover()
		}
	}()
	r.err = fn(t)
	r.panics = false
	return r
}

// finish does what was put off until the call had succeeded.
func (t *txn) finish() (err error) {
	if t.lost != nil {
		return t.lost
	}
	if len(t.drops) == 0 {
		return nil
	}
	t.writing = true
	defer t.done(&err)
	defer t.guard(&err)
	if err := t.dropNow(); err != nil {
		t.spoiled = true // the undo log cannot bring a dropped value back
		return err
	}
	return nil
}

// rollback takes back what the call wrote.
func (t *txn) rollback() {
	var err error
	func() {
		defer t.guard(&err)
		for i := len(t.undo) - 1; i >= 0 && err == nil; i-- {
			u := &t.undo[i]
			switch b := t.bucket(u.in); {
			case u.bucket:
				err = b.DeleteBucket(u.key)
			case u.old == nil:
				err = b.Delete(u.key)
			default:
				err = b.Put(u.key, u.old)
			}
		}
	}()
	if err != nil {
		t.broken = err
	}
	for i := len(t.changes) - 1; i >= 0; i-- {
		was, now := t.changes[i].was, t.changes[i].now
		if !was.inOverlay() {
			was = nil
		}
		t.overlay.replace(now, was)
	}
	t.changes = t.changes[:0]
	for i := len(t.undoQ) - 1; i >= 0; i-- {
		u := &t.undoQ[i]
		u.q.counters, u.q.rec, u.q.loaded, u.q.record = u.was, u.rec, u.load, nil
	}
	t.room.rollback()
	t.wrote, t.grew = false, false
}

// fail notes an error that the call cannot survive.
func (t *txn) fail(err error) error {
	for _, is := range []error{bolterrors.ErrIncompatibleValue, bolterrors.ErrBucketExists, bolterrors.ErrBucketNotFound} {
		if errors.Is(err, is) { // a record is where a bucket is to be, or the other way round
			err = damagedPage(err)
			break
		}
	}
	if t.lost == nil {
		t.lost = fmt.Errorf("boltstore: %w", err)
	}
	return t.lost
}

// done ends a method that writes: every error but those of law 7 loses the call.
func (t *txn) done(err *error) {
	t.writing = false
	if t.spoiled && *err != nil {
		t.fail(*err)
		return
	}
	if *err != nil && !survives(*err) {
		*err = t.fail(*err)
	}
}

func survives(err error) bool {
	for _, e := range []error{storage.ErrNotFound, storage.ErrExists, storage.ErrInUse, storage.ErrTooLarge, storage.ErrFull, storage.ErrCorrupt} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// replace has a job be in the overlay as now, or not any more if that is nil. A job that was only in the trees leaves their orders.
func (t *txn) replace(was, now *job) error {
	t.wrote = true
	t.changes = append(t.changes, change{was, now})
	if was != nil && !was.inOverlay() {
		if err := t.eachPlace(was, t.delete); err != nil {
			return err
		}
		was = nil
	}
	if now != nil && was == nil {
		now.since = t.number
	}
	t.overlay.replace(was, now)
	return nil
}

// put writes a record whose key had the given value (nil if none), both of which stay as they are until the commit.
func (t *txn) put(in int, key, value, old []byte) error {
	t.undo = append(t.undo, undo{in: in, key: key, old: old})
	t.wrote = true
	if err := t.bucket(in).Put(key, value); err != nil {
		return t.fail(err)
	}
	return nil
}

// delete removes a record, if it is there.
func (t *txn) delete(in int, key []byte) error {
	t.wrote = true
	c := t.cursor(in)
	k, old := c.Seek(key)
	if !bytes.Equal(k, key) {
		return nil
	}
	t.undo = append(t.undo, undo{in: in, key: key, old: old})
	if err := c.Delete(); err != nil {
		return t.fail(err)
	}
	return nil
}

// change logs a queue's counters before the call changes them.
func (t *txn) change(q *queue) {
	t.wrote = true
	q.dirty = true
	if q.call != t.call {
		q.call = t.call
		t.undoQ = append(t.undoQ, undoQueue{q, q.counters, q.rec, q.loaded})
	}
}

// keep returns a key that stays as it is until the commit.
func (t *txn) keep(key []byte) []byte {
	return t.arena.took(append(t.arena.next(len(key)), key...))
}

// flush writes what the calls of this transaction share: the journal, the counters of their queues and the meta record.
func (t *txn) flush(l limits) (err error) {
	t.writing = true
	defer func() { t.writing = false }()
	defer t.guard(&err)
	if err := t.writeBack(l); err != nil {
		return err
	}
	if err := t.appendJournal(); err != nil {
		return err
	}
	for _, q := range t.queues {
		if q.loaded || q.number == 0 { // read, or deleted since
			t.overlay.unended += q.counts.Unfinished() - q.before
		}
		if !q.dirty || !q.loaded || q.number == 0 {
			continue
		}
		key := appendNumber(nil, q.number)
		if err := t.bucket(inCounters).Put(key, appendCounters(make([]byte, 0, countersLen), key, q.next, &q.counts)); err != nil {
			return err
		}
		q.dirty = false
	}
	t.meta.commits = t.number
	if t.at.After(t.meta.time) {
		t.meta.time = t.at
	}
	return t.top.Put(metaKey, t.meta.append(nil))
}

var _ storage.Tx = (*txn)(nil)

// createBuckets makes the top bucket and all in it.
func createBuckets(btx *bbolt.Tx) error {
	top, err := btx.CreateBucket(topName)
	if err != nil {
		return err
	}
	for _, name := range bucketNames {
		if _, err := top.CreateBucket(name); err != nil {
			return err
		}
	}
	if err := top.Put(formatKey, formatRecord()); err != nil {
		return err
	}
	return top.Put(metaKey, new(meta).append(nil))
}

func formatRecord() []byte { return seal([]byte{version, format}, 0, formatKey) }
