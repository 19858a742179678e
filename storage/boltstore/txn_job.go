package boltstore

import (
	"bytes"

	"github.com/pollackq/pollack/internal/record"
	"github.com/pollackq/pollack/storage"
)

func (t *txn) AddJob(j *storage.Job, payload []byte) (_ *storage.Job, err error) {
	t.writing = true
	defer t.done(&err)
	defer t.guard(&err)
	if len(payload) > storage.MaxValue {
		return nil, storage.ErrTooLarge
	}
	q, err := t.counted(j.Queue)
	if err != nil {
		return nil, err
	}
	if q.number == 0 {
		return nil, storage.ErrNotFound
	}
	was := t.overlay.get(j.ID)
	if was != nil && !was.gone || was == nil && t.inTrees(j.ID) {
		return nil, storage.ErrExists
	}
	if j.Key != "" && (t.overlay.byKey(j.KeyOf()) != nil || t.get(inKeys, appendKeyKey(nil, q.number, j.KeyOf())) != nil) {
		return nil, storage.ErrExists
	}
	if isNew := j.State != storage.Gone && j.Origin == (storage.ID{}); isNew {
		if !t.room.take(valueRoom(len(payload)) + record.SpecLen(j.Spec)) {
			return nil, storage.ErrFull
		}
		t.grew = true
	}

	e := &job{queue: q.number, Job: j}
	if was != nil { // another had the id
		if err := t.leaveTrees(was); err != nil {
			return nil, err
		}
		e.since = was.since
	}
	t.change(q)
	if j.State.Positioned() {
		j.Position = q.next
		q.next++
	}
	q.counts[j.State]++

	if len(payload) <= small {
		e.payload = append([]byte{}, payload...)
	} else {
		e.valued = true
		if err := t.putValue(inData, t.dataKey(e, kindPayload), payload, nil); err != nil {
			return nil, err
		}
	}
	return j, t.replace(was, e)
}

// inTrees reports whether the trees have a job of that id. New ids are mostly later than all, which costs but one look in a transaction.
func (t *txn) inTrees(id storage.ID) bool {
	if t.latest == nil {
		k, _ := t.bucket(inStatus).Cursor().Last()
		t.latest = append(make([]byte, 0, idLen), k...)
	}
	return bytes.Compare(id[:], t.latest) <= 0 && t.get(inStatus, id[:]) != nil
}

func (t *txn) SetJob(j *storage.Job) (err error) {
	t.writing = true
	defer t.done(&err)
	defer t.guard(&err)
	was, err := t.job(j.ID)
	if err != nil {
		return err
	}
	now := *was
	if now.Job = j; j.Spec != was.Spec {
		now.Job = was.With(j.Status)
	}
	if was.State != now.State {
		q, err := t.counted(was.Queue)
		if err != nil {
			return err
		}
		t.change(q)
		q.counts[was.State]--
		q.counts[now.State]++
	}
	return t.replace(was, &now)
}

func (t *txn) SetResult(j *storage.Job, p []byte) (err error) {
	t.writing = true
	defer t.done(&err)
	defer t.guard(&err)
	if len(p) > storage.MaxValue {
		return storage.ErrTooLarge
	}
	e, err := t.job(j.ID)
	if err != nil {
		return err
	}
	now := *e
	if now.result = nil; len(p) <= small {
		if err := t.deleteRecord(e, kindResult); err != nil {
			return err
		}
		now.result = append([]byte{}, p...)
		return t.replace(e, &now)
	}
	key := t.dataKey(e, kindResult)
	if err := t.putValue(inData, key, p, t.get(inData, key)); err != nil {
		return t.damaged(e, kindResult, err)
	}
	if !e.inOverlay() {
		return nil
	}
	now.valued = true
	return t.replace(e, &now)
}

func (t *txn) DeleteResult(j *storage.Job) (err error) {
	t.writing = true
	defer t.done(&err)
	defer t.guard(&err)
	e, err := t.job(j.ID)
	if err != nil {
		return err
	}
	if e.result == nil {
		return t.deleteRecord(e, kindResult)
	}
	now := *e
	now.result = nil
	return t.replace(e, &now)
}

func (t *txn) DeletePayload(j *storage.Job) (err error) {
	t.writing = true
	defer t.done(&err)
	defer t.guard(&err)
	e, err := t.job(j.ID)
	if err != nil {
		return err
	}
	if e.payload != nil {
		now := *e
		now.payload = nil
		return t.replace(e, &now)
	}
	if !e.stored || e.dropped {
		return t.deleteRecord(e, kindPayload)
	}
	payload, err := t.smallPayload(e)
	if err != nil {
		return err
	}
	if payload == nil {
		return t.deleteRecord(e, kindPayload)
	}
	now := *e
	now.dropped = true
	return t.replace(e, &now)
}

// deleteRecord deletes the record of a job's payload or result in the trees, if there is one.
func (t *txn) deleteRecord(e *job, kind byte) error {
	if !e.valued {
		return nil
	}
	key := t.dataKey(e, kind)
	old := t.get(inData, key)
	if old == nil {
		return nil
	}
	if err := t.dropLarge(key, old); err != nil {
		return t.damaged(e, kind, err)
	}
	return t.delete(inData, key)
}

// damaged names the record whose checksum failed.
func (t *txn) damaged(e *job, kind byte, err error) error {
	if t.lost != nil {
		return err
	}
	return &storage.CorruptError{Job: e.ID, Queue: e.Queue, Record: kindNames[kind], Err: err}
}

func (t *txn) DeleteJob(j *storage.Job) (err error) {
	t.writing = true
	defer t.done(&err)
	defer t.guard(&err)
	e, err := t.job(j.ID)
	if err != nil {
		return err
	}
	q, err := t.counted(e.Queue)
	if err != nil {
		return err
	}
	// A job in the trees stays there, out of sight, until that is written back with others, unless room is scarce. It must be whole all
	// the same.
	drops := len(t.drops)
	records, err := t.recordsOf(e)
	if err != nil {
		return err
	}
	t.change(q)
	q.counts[e.State]--
	delete(t.trees, e.ID)
	if e.stored && !t.room.bounded() {
		t.drops = t.drops[:drops]
		gone := goneJob(e.ID, e.queue)
		gone.since = e.since
		return t.replace(e, gone)
	}
	if err := t.replace(e, nil); err != nil {
		return err
	}
	return t.deleteAll(records)
}

// leaveTrees deletes at once what the trees have of a job that is gone.
func (t *txn) leaveTrees(gone *job) error {
	records, err := t.recordsOf(gone)
	if err != nil {
		return err
	}
	return t.deleteAll(records)
}

func (t *txn) deleteAll(records []treeRecord) error {
	for _, r := range records {
		if err := t.delete(r.in, r.key); err != nil {
			return err
		}
	}
	return nil
}

// A treeRecord names a record in the trees.
type treeRecord struct {
	in  int
	key []byte
}

// recordsOf returns the records of a job in the trees, and has the large values that they point to dropped. A damaged record is not
// deleted, so it looks at all before anything is changed.
func (t *txn) recordsOf(e *job) (records []treeRecord, err error) {
	if !e.stored && !e.valued {
		return nil, nil
	}
	drops := len(t.drops)
	prefix := appendDataKey(t.key[:0], e.queue, e.ID, 0)[:dataLen-1]
	c := t.cursor(inData)
	for k, v := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, v = c.Next() {
		if kind := k[dataLen-1]; kind != kindSpec {
			if err := t.dropLarge(k, v); err != nil {
				t.drops = t.drops[:drops]
				return nil, t.damaged(e, kind, err)
			}
		}
		records = append(records, treeRecord{inData, t.keep(k)})
	}
	if e.stored {
		records = append(records, treeRecord{inStatus, t.keep(e.ID[:])})
	}
	return records, nil
}
