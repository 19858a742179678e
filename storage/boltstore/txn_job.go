package boltstore

import (
	"bytes"

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
	id := t.keep(j.ID[:])
	if t.get(inStatus, id) != nil {
		return nil, storage.ErrExists
	}
	var key []byte
	if j.Key != "" {
		key = appendKeyKey(nil, q.number, j.KeyOf())
		if t.get(inKeys, key) != nil {
			return nil, storage.ErrExists
		}
	}
	if isNew := j.State != storage.Gone && j.Origin == (storage.ID{}); isNew {
		if !t.room.take(len(payload) + specLen(j.Spec)) {
			return nil, storage.ErrFull
		}
		t.grew = true
	}

	e := &job{queue: q.number, Job: j}
	t.change(q)
	if j.State.Positioned() {
		j.Position = q.next
		q.next++
	}
	q.counts[j.State]++

	if err := t.setStatus(id, e, nil); err != nil {
		return nil, err
	}
	dataKey := t.arena.took(appendDataKey(t.arena.next(dataLen), q.number, j.ID, kindSpec))
	small, n := payload, len(payload)
	if n > smallPayload {
		small, n = nil, 0
	} else if small == nil {
		small = []byte{}
	}
	spec := t.arena.took(appendSpec(t.arena.next(specLen(j.Spec)+n), dataKey, j.Spec, small))
	if err := t.put(inData, dataKey, spec, nil); err != nil {
		return nil, err
	}
	if small == nil {
		dataKey = t.arena.took(appendDataKey(t.arena.next(dataLen), q.number, j.ID, kindPayload))
		if err := t.putValue(inData, dataKey, payload, nil); err != nil {
			return nil, err
		}
	}
	if key != nil {
		if err := t.put(inKeys, key, seal(append([]byte{version}, id...), 0, key), nil); err != nil {
			return nil, err
		}
	}
	if err := t.enter(e); err != nil {
		return nil, err
	}
	t.remember(j.ID, e)
	return j, nil
}

// enter gives a job its places in the orders that follow its Status.
func (t *txn) enter(e *job) error {
	if e.State == storage.Pending {
		if err := t.place(inReady, appendReadyKey(t.key[:0], e.queue, e.Spec)); err != nil {
			return err
		}
	}
	if !e.Due.IsZero() {
		return t.place(inDue, appendDueKey(t.key[:0], e.Due, e.ID))
	}
	return nil
}

// leave takes them away.
func (t *txn) leave(e *job) error {
	if e.State == storage.Pending {
		if err := t.displace(inReady, appendReadyKey(t.key[:0], e.queue, e.Spec)); err != nil {
			return err
		}
	}
	if !e.Due.IsZero() {
		return t.displace(inDue, appendDueKey(t.key[:0], e.Due, e.ID))
	}
	return nil
}

func (t *txn) SetJob(j *storage.Job) (err error) {
	t.writing = true
	defer t.done(&err)
	defer t.guard(&err)
	was, err := t.job(j.ID)
	if err != nil {
		return err
	}
	id := t.keep(j.ID[:])
	now := &job{queue: was.queue, Job: j}
	if j.Spec != was.Spec {
		now.Job = was.Job.With(j.Status)
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
	if (was.State == storage.Pending) != (now.State == storage.Pending) || !was.Due.Equal(now.Due) {
		if err := t.leave(was); err != nil {
			return err
		}
		if err := t.enter(now); err != nil {
			return err
		}
	}
	if err := t.setStatus(id, now, was); err != nil {
		return err
	}
	t.remember(j.ID, now)
	return nil
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
	key := t.arena.took(appendDataKey(t.arena.next(dataLen), e.queue, j.ID, kindResult))
	if err := t.putValue(inData, key, p, t.get(inData, key)); err != nil {
		return t.damaged(e, kindResult, err)
	}
	return nil
}

func (t *txn) DeleteResult(j *storage.Job) error { return t.deleteValue(j, kindResult) }

func (t *txn) DeletePayload(j *storage.Job) (err error) {
	t.writing = true
	defer t.done(&err)
	defer t.guard(&err)
	e, err := t.job(j.ID)
	if err != nil {
		return err
	}
	key := t.arena.took(appendDataKey(t.arena.next(dataLen), e.queue, j.ID, kindSpec))
	old := t.get(inData, key)
	payload, spec, err := splitSpec(key, old)
	if err != nil {
		return t.damaged(e, kindSpec, err)
	}
	if payload == nil {
		return t.deleteValue(j, kindPayload)
	}
	return t.put(inData, key, t.arena.took(withoutPayload(t.arena.next(len(spec)+2+sumLen), key, spec)), old)
}

func (t *txn) deleteValue(j *storage.Job, kind byte) (err error) {
	t.writing = true
	defer t.done(&err)
	defer t.guard(&err)
	e, err := t.job(j.ID)
	if err != nil {
		return err
	}
	key := t.arena.took(appendDataKey(t.arena.next(dataLen), e.queue, j.ID, kind))
	old := t.get(inData, key)
	if old == nil {
		return nil
	}
	if err := t.dropLarge(key, old); err != nil {
		return t.damaged(e, kind, err)
	}
	return t.delete(inData, key, old)
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
	// A damaged record is not deleted: look at all before anything is changed.
	var records [len(kindNames)]struct{ key, rec []byte }
	n, drops := 0, len(t.drops)
	prefix := appendDataKey(t.key[:0], e.queue, j.ID, 0)[:dataLen-1]
	c := t.cursor(inData)
	for k, v := c.Seek(prefix); k != nil && n < len(records) && bytes.HasPrefix(k, prefix); k, v = c.Next() {
		kind := k[dataLen-1]
		if kind != kindSpec {
			if err := t.dropLarge(k, v); err != nil {
				t.drops = t.drops[:drops]
				return t.damaged(e, kind, err)
			}
		}
		records[n].key, records[n].rec = t.keep(k), v
		n++
	}
	t.change(q)
	q.counts[e.State]--
	if err := t.leave(e); err != nil {
		return err
	}
	if err := t.remove(undo{in: inStatus, key: t.keep(j.ID[:]), was: e}); err != nil {
		return err
	}
	for _, r := range records[:n] {
		if err := t.delete(inData, r.key, r.rec); err != nil {
			return err
		}
	}
	if e.Key != "" {
		key := appendKeyKey(nil, e.queue, e.KeyOf())
		if err := t.delete(inKeys, key, t.get(inKeys, key)); err != nil {
			return err
		}
	}
	t.remember(j.ID, deleted)
	return nil
}
