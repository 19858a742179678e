package boltstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"time"

	"go.etcd.io/bbolt"

	"github.com/pollackq/pollack/storage"
)

// placed returns the job that a place in the trees names, nil if the place or the job is damaged: the orders pass over such. The jobs in
// the overlay have no places in the trees.
func (r *reader) placed(key, rec []byte, belongs func(*job) bool) *job {
	if _, err := unseal(key, rec); err != nil {
		return nil
	}
	id := lastID(key)
	if r.overlay.get(id) != nil {
		return nil
	}
	j, err := r.treeJob(id)
	if err != nil || !belongs(j) {
		return nil
	}
	return j
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

// A merge goes through an order, a part of which is in the overlay and the rest in the trees.
type merge struct {
	r     *reader
	in    int    // inReady or inDue
	queue uint64 // of inReady
	over  walk
	at    spot // of tree
	tree  *job // the next one in the trees, nil if there are no more
}

// ready begins with the first job of a queue that has at most that priority.
func (r *reader) ready(queue uint64, most int16) merge {
	m := merge{r: r, in: inReady, queue: queue, over: r.overlay.ready.from(spot{queue, priorityNumber(most)})}
	m.load(r.cursor(inReady).Seek(appendPriority(appendNumber(r.key[:0], queue), most)))
	return m
}

// due begins with the job that is due first.
func (r *reader) due() merge {
	m := merge{r: r, in: inDue, over: r.overlay.due.from(spot{})}
	m.load(r.cursor(inDue).First())
	return m
}

// load goes on in the trees from a place to the first whose job is whole.
func (m *merge) load(k, v []byte) {
	for ; k != nil; k, v = m.r.cursor(m.in).Next() {
		if m.in == inReady {
			if binary.BigEndian.Uint64(k) != m.queue {
				break
			}
			if m.tree = m.r.placed(k, v, isReady(k)); m.tree != nil {
				m.at = readySpot(m.tree)
				return
			}
		} else if m.tree = m.r.placed(k, v, isDue(dueTime(k))); m.tree != nil {
			m.at = dueSpot(m.tree)
			return
		}
	}
	m.tree = nil
}

// next returns the next job, nil if there are no more.
func (m *merge) next() *job {
	i := m.over.item()
	if i != nil && m.in == inReady && i.at[0] != m.queue {
		i = nil
	}
	if i != nil && (m.tree == nil || i.at.less(m.at)) {
		m.over.step()
		return i.job
	}
	j := m.tree
	if j != nil {
		m.load(m.r.cursor(m.in).Next())
	}
	return j
}

func (r *reader) Ready(name storage.QueueName, max int) (jobs []*storage.Job, err error) {
	defer r.guard(&err)
	q, err := r.queue(name)
	if err != nil || q.number == 0 || max < 1 {
		return nil, err
	}
	m := r.ready(q.number, math.MaxInt16)
	for j := m.next(); j != nil; j = m.next() {
		if jobs = append(jobs, j.Job); len(jobs) == max {
			break
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
	for most := int16(math.MaxInt16); ; {
		m := r.ready(q.number, most)
		j := m.next()
		if j == nil {
			return oldest, nil
		}
		if oldest.IsZero() || j.Created.Before(oldest) {
			oldest = j.Created
		}
		if j.Priority == math.MinInt16 {
			return oldest, nil
		}
		most = j.Priority - 1
	}
}

func (r *reader) Due(until time.Time, max int) (jobs []*storage.Job, err error) {
	defer r.guard(&err)
	if max < 1 {
		return nil, nil
	}
	m := r.due()
	for j := m.next(); j != nil && !j.Due.After(until); j = m.next() {
		if jobs = append(jobs, j.Job); len(jobs) == max {
			break
		}
	}
	return jobs, nil
}

func (r *reader) NextDue() (at time.Time, err error) {
	defer r.guard(&err)
	m := r.due()
	if j := m.next(); j != nil {
		at = j.Due
	}
	return at, nil
}

// scan is how many jobs one call of Jobs looks at, unless more are wanted.
const scan = 1000

func (r *reader) Jobs(name storage.QueueName, state storage.State, after storage.ID, max int) (jobs []*storage.Job, next storage.ID, err error) {
	defer r.guard(&err)
	q, err := r.queue(name)
	if err != nil || q.number == 0 || max < 1 {
		return nil, storage.ID{}, err
	}
	seen, last := 0, after
	ids := listing{r: r, queue: q.number, c: r.bucket(inData).Cursor()}
	ids.start(after)
	for {
		id, more := ids.next()
		if !more {
			return jobs, storage.ID{}, nil
		}
		if len(jobs) == max || seen >= scan && seen >= max {
			return jobs, last, nil
		}
		j, err := r.job(id)
		if err != nil && !errors.Is(err, storage.ErrCorrupt) && !errors.Is(err, storage.ErrNotFound) {
			return nil, storage.ID{}, err
		}
		if err == nil && (state == 0 || j.State == state) {
			jobs = append(jobs, j.Job)
		}
		seen++
		last = id
	}
}

// A listing goes through the ids of a queue's jobs, those in the trees and those in the overlay, many of which are in both.
type listing struct {
	r     *reader
	queue uint64
	c     *bbolt.Cursor
	key   []byte // the next in the trees, nil if there are no more
	over  walk
}

// start begins after an id.
func (l *listing) start(after storage.ID) {
	l.key, _ = l.c.Seek(appendDataKey(nil, l.queue, after, math.MaxUint8))
	at := idSpot(&after)
	l.over = l.r.overlay.ids.from(at)
	if i := l.over.item(); i != nil && i.at == at {
		l.over.step()
	}
}

func (l *listing) next() (id storage.ID, more bool) {
	for l.over.item() != nil && l.over.item().job.queue != l.queue {
		l.over.step()
	}
	if l.key != nil && binary.BigEndian.Uint64(l.key) != l.queue {
		l.key = nil
	}
	item := l.over.item()
	switch {
	case item == nil && l.key == nil:
		return id, false
	case l.key == nil || item != nil && bytes.Compare(item.job.ID[:], l.key[numberLen:]) < 0:
		id = item.job.ID
	default:
		id = storage.ID(l.key[numberLen : numberLen+idLen])
	}
	if item != nil && item.job.ID == id {
		l.over.step()
	}
	for l.key != nil && binary.BigEndian.Uint64(l.key) == l.queue && storage.ID(l.key[numberLen:numberLen+idLen]) == id { // its payload and result too
		l.key, _ = l.c.Next()
	}
	return id, true
}
