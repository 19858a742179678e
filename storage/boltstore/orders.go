package boltstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"time"

	"github.com/pollackq/pollack/storage"
)

// placed returns the job that a place of an order names, nil if the place or the job is damaged: the orders pass over such.
func (r *reader) placed(key, rec []byte, belongs func(*job) bool) *job {
	if _, err := unseal(key, rec); err != nil {
		return nil
	}
	e, err := r.job(lastID(key))
	if err != nil || !belongs(e) {
		return nil
	}
	return e
}

func isReady(key []byte) func(*job) bool {
	return func(e *job) bool {
		return e.State == storage.Pending && e.Priority == priorityOf(key[numberLen:]) &&
			e.Position == binary.BigEndian.Uint64(key[numberLen+2:]) && e.queue == binary.BigEndian.Uint64(key)
	}
}

func isDue(at time.Time) func(*job) bool {
	return func(e *job) bool { return e.Due.Equal(at) }
}

func dueTime(key []byte) time.Time {
	return time.UnixMicro(int64(binary.BigEndian.Uint64(key) ^ 1<<63)).UTC()
}

func (r *reader) Ready(name storage.QueueName, max int) (jobs []*storage.Job, err error) {
	defer r.guard(&err)
	q, err := r.queue(name)
	if err != nil || q.number == 0 || max < 1 {
		return nil, err
	}
	var prefix [numberLen]byte
	appendNumber(prefix[:0], q.number)
	c := r.cursor(inReady)
	for k, v := c.Seek(prefix[:]); k != nil && len(jobs) < max && bytes.HasPrefix(k, prefix[:]); k, v = c.Next() {
		if e := r.placed(k, v, isReady(k)); e != nil {
			jobs = append(jobs, e.Job)
		}
	}
	return jobs, nil
}

func (r *reader) OldestPending(name storage.QueueName) (oldest time.Time, err error) {
	defer r.guard(&err)
	q, err := r.queue(name)
	if err != nil || q.number == 0 {
		return time.Time{}, err
	}
	var prefix [numberLen]byte
	appendNumber(prefix[:0], q.number)
	c := r.cursor(inReady)
	k, v := c.Seek(prefix[:])
	for k != nil && bytes.HasPrefix(k, prefix[:]) {
		e := r.placed(k, v, isReady(k))
		if e == nil {
			k, v = c.Next()
			continue
		}
		if oldest.IsZero() || e.Created.Before(oldest) {
			oldest = e.Created
		}
		p := priorityOf(k[numberLen:])
		if p == math.MinInt16 {
			break
		}
		k, v = c.Seek(appendPriority(appendNumber(nil, q.number), p-1))
	}
	return oldest, nil
}

func (r *reader) Due(until time.Time, max int) (jobs []*storage.Job, err error) {
	defer r.guard(&err)
	last := appendTime(nil, until)
	c := r.cursor(inDue)
	for k, v := c.First(); k != nil && len(jobs) < max && bytes.Compare(k[:8], last) <= 0; k, v = c.Next() {
		if e := r.placed(k, v, isDue(dueTime(k))); e != nil {
			jobs = append(jobs, e.Job)
		}
	}
	return jobs, nil
}

func (r *reader) NextDue() (at time.Time, err error) {
	defer r.guard(&err)
	c := r.cursor(inDue)
	for k, v := c.First(); k != nil; k, v = c.Next() {
		if at := dueTime(k); r.placed(k, v, isDue(at)) != nil {
			return at, nil
		}
	}
	return time.Time{}, nil
}

// scan is how many jobs one call of Jobs looks at, unless more are wanted.
const scan = 1000

func (r *reader) Jobs(name storage.QueueName, state storage.State, after storage.ID, max int) (jobs []*storage.Job, next storage.ID, err error) {
	defer r.guard(&err)
	q, err := r.queue(name)
	if err != nil || q.number == 0 || max < 1 {
		return nil, storage.ID{}, err
	}
	prefix := appendNumber(nil, q.number)
	seen, last := 0, after
	c := r.bucket(inData).Cursor()
	for k, _ := c.Seek(appendDataKey(nil, q.number, after, math.MaxUint8)); k != nil && bytes.HasPrefix(k, prefix); {
		id := storage.ID(k[numberLen : numberLen+idLen])
		if len(jobs) == max || seen >= scan && seen >= max {
			return jobs, last, nil
		}
		e, err := r.job(id)
		if err != nil && !errors.Is(err, storage.ErrCorrupt) && !errors.Is(err, storage.ErrNotFound) {
			return nil, storage.ID{}, err
		}
		if err == nil && (state == 0 || e.State == state) {
			jobs = append(jobs, e.Job)
		}
		seen++
		last = id
		// Past the payload and the result.
		for k, _ = c.Next(); k != nil && bytes.HasPrefix(k, prefix) && storage.ID(k[numberLen:numberLen+idLen]) == id; k, _ = c.Next() {
		}
	}
	return jobs, storage.ID{}, nil
}
