package pgstore

import (
	"github.com/pollackq/pollack/storage"
)

func (t *txn) AddJob(j *storage.Job, payload []byte) (*storage.Job, error) {
	if t.err != nil {
		return nil, t.err
	}
	if len(payload) > storage.MaxValue {
		return nil, storage.ErrTooLarge
	}
	q, err := t.queue(j.Queue)
	if err != nil {
		return nil, err
	}
	if q.now == nil {
		return nil, storage.ErrNotFound
	}
	if err := t.open(q); err != nil {
		return nil, err
	}
	r, err := t.free(j)
	if err != nil {
		return nil, err
	}
	was := q.entered
	if r.gets = j.State.Positioned(); r.gets {
		j.Position = q.next + q.adds // unless other nodes are quicker: then the flush corrects it
		t.added = append(t.added, added{j.Spec, q, q.adds})
		r.at = q.adds
		q.adds++
		t.logRare(func() { q.adds--; t.added = t.added[:len(t.added)-1] })
	} else {
		q.entered = true
		t.logRare(func() { q.entered = was })
	}
	t.size += len(payload)
	t.change(r, contents{job: j, payload: keep(payload), result: value{known: true}})
	return j, nil
}

// open returns nil if the queue's row can be changed without a long wait.
func (t *txn) open(q *queue) error {
	if _, shut := t.shut[q.name]; shut {
		return t.fail(errHeld)
	}
	return nil
}

// free returns the record under which a job can be added, or ErrExists.
func (t *txn) free(j *storage.Job) (*rec, error) {
	r := t.jobs[j.ID]
	if t.held[j.ID] {
		return nil, storage.ErrExists
	}
	if t.strict && (r == nil || r.assumed && r.now.job == nil) || r != nil && !r.locked {
		if err := t.fetch(request{ids: []storage.ID{j.ID}}); err != nil {
			return nil, err
		}
		r = t.jobs[j.ID]
	}
	if r != nil && (r.bad != nil || r.now.job != nil) {
		return nil, storage.ErrExists
	}
	assumed := false
	if j.Key != "" {
		holder, known := t.keys[j.KeyOf()]
		if !known && t.strict {
			if err := t.fetch(request{keys: []storage.Key{j.KeyOf()}}); err != nil {
				return nil, err
			}
			holder, known = t.keys[j.KeyOf()]
		}
		assumed = !known
		if holder != nil {
			return nil, storage.ErrExists
		}
		if t.taken[j.KeyOf()] {
			return nil, t.fail(errHeld)
		}
	}
	if r == nil {
		r = &rec{id: j.ID, locked: true, assumed: true}
		t.jobs[j.ID] = r
	}
	r.keyAssumed = assumed
	t.guess = t.guess || r.assumed || assumed
	return r, nil
}

func (t *txn) SetJob(j *storage.Job) error {
	r, err := t.own(j.ID)
	if err != nil {
		return err
	}
	now := r.now
	now.job = j
	if j.Spec != r.now.job.Spec {
		now.job = r.now.job.With(j.Status)
	}
	t.change(r, now)
	return nil
}

func (t *txn) SetResult(j *storage.Job, p []byte) error {
	if len(p) > storage.MaxValue {
		return storage.ErrTooLarge
	}
	return t.setValues(j, func(c *contents) { c.result = keep(p); t.size += len(p) })
}

func (t *txn) DeleteResult(j *storage.Job) error {
	return t.setValues(j, func(c *contents) { c.result = value{known: true} })
}

func (t *txn) DeletePayload(j *storage.Job) error {
	return t.setValues(j, func(c *contents) { c.payload = value{known: true} })
}

func (t *txn) setValues(j *storage.Job, set func(*contents)) error {
	r, err := t.own(j.ID)
	if err != nil {
		return err
	}
	now := r.now
	set(&now)
	t.change(r, now)
	return nil
}

func (t *txn) DeleteJob(j *storage.Job) error {
	r, err := t.own(j.ID)
	if err != nil {
		return err
	}
	if r.assumed || r.keyAssumed { // the database would never be asked whether they were free
		t.guess = true
		return t.fail(errAlone)
	}
	t.change(r, contents{})
	return nil
}

// own returns the record of a job that is there, to be changed: its queue is known.
func (t *txn) own(id storage.ID) (*rec, error) {
	r, err := t.find(id)
	if err == nil && r.queue == nil {
		r.queue, err = t.queue(r.now.job.Queue)
	}
	return r, err
}

func (t *txn) PutQueue(rec *storage.Queue) error {
	q, err := t.queue(rec.QueueName)
	if err != nil {
		return err
	}
	if q.now == nil {
		return t.newQueue(q, rec)
	}
	if err := t.open(q); err != nil {
		return err
	}
	was := q.now
	t.logRare(func() { q.now = was })
	q.now = rec
	return nil
}

// newQueue makes a queue, whose number no other ever has. In a transaction of the user's it is made by one of ours: it would
// make all who want the same queue wait for the user's commit.
func (t *txn) newQueue(q *queue, rec *storage.Queue) error {
	if t.mode == users {
		err := t.s.Update(t.ctx, storage.Reads{Queues: []storage.QueueName{q.name}}, func(tx storage.Tx) error {
			if _, err := tx.Queue(q.name); err == nil {
				return nil
			}
			return tx.PutQueue(rec)
		})
		if err == nil {
			err = t.s.View(t.ctx, storage.Reads{Queues: []storage.QueueName{q.name}}, func(r storage.Reader) error {
				made := r.(*txn).queues[q.name]
				if made == nil || made.now == nil {
					return storage.ErrNotFound
				}
				t.keepQueue(&queue{name: q.name, qid: made.qid, was: made.was, now: made.was, version: made.version, next: made.next, made: true})
				return nil
			})
		}
		if err != nil {
			return t.fail(err)
		}
		t.wrote = true
		return nil
	}
	qid, err := t.newQid()
	if err != nil {
		return err
	}
	made := &queue{name: q.name, qid: qid, now: rec, counted: true, ready: ready{read: true, whole: true}}
	t.logRare(func() { delete(t.qids, qid); t.queues[q.name] = q })
	t.keepQueue(made)
	return nil
}

func (t *txn) keepQueue(q *queue) {
	t.queues[q.name], t.qids[q.qid] = q, q
}

// DeleteQueue deletes at once: it needs a transaction of its own, in which it first locks out all who would add a job.
func (t *txn) DeleteQueue(name storage.QueueName) error {
	q, err := t.queue(name)
	if err != nil {
		return err
	}
	if q.now == nil {
		return storage.ErrNotFound
	}
	if t.mode == shared {
		return t.fail(errAlone)
	}
	if err := t.flush(nil); err != nil {
		return err
	}
	if err := t.dropQueue(q); err != nil {
		return err
	}
	t.wrote = true
	delete(t.qids, q.qid)
	t.queues[name] = &queue{name: name}
	return nil
}

// PutChunk writes at once, in a transaction of its own.
func (t *txn) PutChunk(blob storage.ID, n uint32, p []byte) error {
	if t.err != nil {
		return t.err
	}
	if len(p) > storage.ChunkSize {
		return storage.ErrTooLarge
	}
	if t.mode == shared {
		return t.fail(errAlone)
	}
	t.wrote = true
	return t.writeChunk(blob, n, p)
}

func (t *txn) DeleteBlob(blob storage.ID) error {
	if t.err != nil {
		return t.err
	}
	if t.mode == shared {
		return t.fail(errAlone)
	}
	t.wrote = true
	return t.deleteBlob(blob)
}
