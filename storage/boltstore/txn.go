package boltstore

import (
	"bytes"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/pollackq/pollack/storage"
)

// A txn runs calls, one after the other, in one write transaction of bbolt. What a call writes is in bbolt's pages at once; an undo
// log takes it back when the call fails, so that its neighbours need not run again.
type txn struct {
	reader
	arena arena
	room  room

	call   uint64 // the number of the call in this transaction
	undo   []undo
	undoQ  []undoQueue
	drops  []uint64 // large values that the call deleted
	wrote  bool
	grew   bool  // brought something new, see law 24
	lost   error // the call cannot succeed any more
	broken error // the undo log failed: nothing of this transaction may be committed
}

// An undo puts one key back.
type undo struct {
	in     int
	key    []byte
	old    []byte // nil if there was none
	was    *job   // instead of old where the key is that of a Status
	bucket bool   // the key is a bucket that the call created
}

type undoQueue struct {
	q    *queue
	was  counters
	rec  []byte
	load bool
}

// run runs one call. After an error, or a panic, nothing of it is left.
func (t *txn) run(fn func(storage.Tx) error) result {
	t.call++
	t.undo, t.undoQ, t.drops = t.undo[:0], t.undoQ[:0], t.drops[:0]
	t.wrote, t.grew, t.lost = false, false, nil
	t.room.begin()
	clear(t.jobs)
	r := result{panics: true}
	func() {
		defer func() {
			if r.panics {
				r.panicked = recover()
			}
		}()
		r.err = fn(t)
		r.panics = false
	}()
	if r.err == nil && !r.panics {
		r.err = t.finish()
	}
	if r.err != nil || r.panics {
		t.rollback()
	} else {
		t.recent.learn(t.jobs)
	}
	r.wrote, r.grew = t.wrote, t.grew
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
			case u.was != nil:
				err = b.Put(u.key, appendStatus(nil, u.key, u.was.queue, &u.was.Status))
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
	for i := len(t.undoQ) - 1; i >= 0; i-- {
		u := &t.undoQ[i]
		u.q.counters, u.q.rec, u.q.loaded, u.q.record = u.was, u.rec, u.load, nil
	}
	t.room.rollback()
	t.wrote, t.grew = false, false
}

// fail notes an error that the call cannot survive.
func (t *txn) fail(err error) error {
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

// setStatus writes a job's Status, and notes what it was: nil if the job is new.
func (t *txn) setStatus(id []byte, now, was *job) error {
	t.undo = append(t.undo, undo{in: inStatus, key: id, was: was})
	t.wrote = true
	value := t.arena.took(appendStatus(t.arena.next(statusLen), id, now.queue, &now.Status))
	if err := t.bucket(inStatus).Put(id, value); err != nil {
		return t.fail(err)
	}
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

// delete removes a record whose key has the given value.
func (t *txn) delete(in int, key, old []byte) error {
	return t.remove(undo{in: in, key: key, old: old})
}

// remove removes a record; u says how to put it back.
func (t *txn) remove(u undo) error {
	t.undo = append(t.undo, u)
	t.wrote = true
	in, key := u.in, u.key
	c := t.cursor(in)
	if k, _ := c.Seek(key); !bytes.Equal(k, key) {
		return nil
	}
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

// place adds a key to an order, displace removes it.
func (t *txn) place(in int, key []byte) error {
	key = t.keep(key)
	return t.put(in, key, t.arena.took(appendPlace(t.arena.next(1+sumLen), key)), nil)
}

func (t *txn) displace(in int, key []byte) error {
	key = t.keep(key)
	return t.delete(in, key, t.arena.took(appendPlace(t.arena.next(1+sumLen), key)))
}

// flush writes what the calls of this transaction share: the counters of their queues and the meta record.
func (t *txn) flush() (err error) {
	t.writing = true
	defer func() { t.writing = false }()
	defer t.guard(&err)
	for _, q := range t.queues {
		if !q.dirty || !q.loaded || q.number == 0 {
			continue
		}
		key := appendNumber(nil, q.number)
		if err := t.bucket(inCounters).Put(key, appendCounters(make([]byte, 0, countersLen), key, q.next, &q.counts)); err != nil {
			return err
		}
		q.dirty = false
	}
	t.meta.commits++
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
	if err := top.Put(formatKey, seal([]byte{version, format}, 0, formatKey)); err != nil {
		return err
	}
	return top.Put(metaKey, new(meta).append(nil))
}
