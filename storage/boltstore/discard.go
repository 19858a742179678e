package boltstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/pollackq/pollack/storage"
)

// ErrNotDamaged is what Discard says of a job whose records are whole: delete it the usual way.
var ErrNotDamaged = errors.New("boltstore: job is not damaged")

// Discard removes what is left of a job of which a record is damaged, so that its id, key and queue are free again, and counts the
// jobs of its queue anew. It reads all places of that queue. A large value whose record is damaged stays in the file, and Check goes
// on to report it. It returns storage.ErrNotFound if there is nothing of the job, and ErrNotDamaged if nothing is wrong with it.
func (s *Store) Discard(ctx context.Context, id storage.ID) error {
	return s.Update(ctx, storage.Reads{}, func(tx storage.Tx) error { return tx.(*txn).discard(id) })
}

func (t *txn) discard(id storage.ID) (err error) {
	t.writing = true
	defer t.done(&err)
	defer t.guard(&err)
	numbers, err := t.numbersOf(id)
	if err != nil {
		return err
	}
	delete(t.trees, id) // what was read may be whole while the record no longer is
	found, whole := false, false
	j := t.overlay.get(id)
	if j == nil || j.stored {
		_, err := t.treeJob(id)
		whole = err == nil
	} else {
		whole = true
	}
	if e, err := t.job(id); err != nil || !t.wholeValues(e) {
		whole = false
	}
	if whole {
		return ErrNotDamaged
	}
	if j != nil && j.gone {
		return storage.ErrNotFound // what is left of it goes by itself
	}
	if j != nil {
		found = true
		if err := t.replace(j, nil); err != nil {
			return err
		}
	}
	remove := func(in int, prefix []byte, of func(k, v []byte) bool) error {
		type record struct{ key, rec []byte }
		var records []record
		if err := each(t.bucket(in), prefix, func(k, v []byte) error {
			if of(k, v) {
				records = append(records, record{t.keep(k), v})
			}
			return nil
		}); err != nil {
			return err
		}
		for _, r := range records {
			found = true
			if in == inData && r.key[dataLen-1] != kindSpec {
				// If the record is too damaged to say which, the large value stays.
				if number, err := largeOf(r.key, r.rec); err == nil && number != 0 {
					t.drops = append(t.drops, number)
				}
			}
			if err := t.delete(in, r.key); err != nil {
				return err
			}
		}
		return nil
	}
	all := func(_, _ []byte) bool { return true }
	ofID := func(k, _ []byte) bool { return bytes.HasSuffix(k, id[:]) }
	// In a record of a key whose checksum fails the id may still be right.
	target := func(_, v []byte) bool { return len(v) > idLen && bytes.Equal(v[1:1+idLen], id[:]) }
	if err := remove(inStatus, id[:], all); err != nil {
		return err
	}
	if err := remove(inDue, nil, ofID); err != nil {
		return err
	}
	for _, number := range numbers {
		prefix := appendNumber(nil, number)
		for _, step := range []struct {
			in     int
			prefix []byte
			of     func(k, v []byte) bool
		}{{inData, append(prefix, id[:]...), all}, {inReady, prefix, ofID}, {inKeys, prefix, target}} {
			if err := remove(step.in, step.prefix, step.of); err != nil {
				return err
			}
		}
	}
	if !found {
		return storage.ErrNotFound
	}
	clear(t.trees)
	t.overlay.lost = slices.DeleteFunc(slices.Clone(t.overlay.lost), func(l storage.ID) bool { return l == id })
	return t.recount(numbers)
}

// wholeValues reports whether a job's payload and result can be read.
func (t *txn) wholeValues(e *job) bool {
	for kind := kindPayload; kind <= kindResult; kind++ {
		key := appendDataKey(nil, e.queue, e.ID, kind)
		if rec := t.get(inData, key); rec != nil {
			if _, err := t.readValue(key, rec); err != nil {
				return false
			}
		}
	}
	return true
}

// numbersOf returns the numbers of the queues that may have something of a job: that which its status names, else all.
func (t *txn) numbersOf(id storage.ID) (numbers []uint64, err error) {
	if j := t.overlay.get(id); j != nil {
		return []uint64{j.queue}, nil
	}
	var status storage.Status
	if number, err := decodeStatus(id[:], t.get(inStatus, id[:]), &status); err == nil {
		return []uint64{number}, nil
	}
	err = each(t.bucket(inCounters), nil, func(k, _ []byte) error {
		numbers = append(numbers, binary.BigEndian.Uint64(k))
		return nil
	})
	return numbers, err
}

// recount counts the jobs of some queues anew.
func (t *txn) recount(numbers []uint64) error {
	counts := make(map[uint64]*storage.Counts, len(numbers))
	for _, n := range numbers {
		counts[n] = new(storage.Counts)
	}
	if err := each(t.bucket(inStatus), nil, func(k, v []byte) error {
		var status storage.Status
		if number, err := decodeStatus(k, v, &status); err == nil && counts[number] != nil && t.overlay.get(storage.ID(k)) == nil {
			counts[number][status.State]++
		}
		return nil
	}); err != nil {
		return err
	}
	for w := t.overlay.ids.from(spot{}); w.item() != nil; w.step() {
		if j := w.item().job; !j.gone && counts[j.queue] != nil {
			counts[j.queue][j.State]++
		}
	}
	var names []storage.QueueName
	if err := each(t.bucket(inQueues), nil, func(k, v []byte) error {
		if number, err := queueNumber(k, v); err == nil && counts[number] != nil {
			names = append(names, queueName(k))
		}
		return nil
	}); err != nil {
		return err
	}
	for _, name := range names {
		q, err := t.counted(name)
		if err != nil {
			continue // its counters are damaged themselves
		}
		t.change(q)
		q.counts = *counts[q.number]
	}
	return nil
}
