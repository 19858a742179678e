package memstore

import (
	"github.com/pollackq/pollack/storage"
)

// A tx reads and writes in a transaction. What it writes takes place at once; the undo log is written first.
type tx struct{ reader }

func (t *tx) AddJob(j *storage.Job, payload []byte) (*storage.Job, error) {
	s := t.s
	if len(payload) > storage.MaxValue {
		return nil, storage.ErrTooLarge
	}
	q := s.queues[j.Queue]
	if q == nil {
		return nil, storage.ErrNotFound
	}
	if s.jobs[j.ID] != nil || j.Key != "" && s.keys[j.KeyOf()] != nil {
		return nil, storage.ErrExists
	}
	rec := &record{queue: q}
	t.log(rec)
	if j.State.Positioned() {
		j.Position = q.next
		q.next++
	}
	s.placeLocked(rec, contents{job: j, payload: clone(payload)})
	return j, nil
}

func (t *tx) SetJob(j *storage.Job) error {
	rec, err := t.begin(j)
	if err != nil {
		return err
	}
	now := rec.contents
	now.job = j
	if j.Spec != rec.job.Spec {
		now.job = rec.job.With(j.Status)
	}
	t.s.placeLocked(rec, now)
	return nil
}

func (t *tx) SetResult(j *storage.Job, p []byte) error {
	if len(p) > storage.MaxValue {
		return storage.ErrTooLarge
	}
	rec, err := t.begin(j)
	if err == nil {
		rec.result = clone(p)
	}
	return err
}

func (t *tx) DeleteResult(j *storage.Job) error {
	rec, err := t.begin(j)
	if err == nil {
		rec.result = nil
	}
	return err
}

func (t *tx) DeletePayload(j *storage.Job) error {
	rec, err := t.begin(j)
	if err == nil {
		rec.payload = nil
	}
	return err
}

func (t *tx) DeleteJob(j *storage.Job) error {
	rec, err := t.begin(j)
	if err == nil {
		t.s.placeLocked(rec, contents{})
	}
	return err
}

func (t *tx) PutQueue(q *storage.Queue) error {
	s := t.s
	if old := s.queues[q.QueueName]; old != nil {
		was := old.record
		t.logRare(func() { old.record = was })
		old.record = q
		return nil
	}
	t.logRare(func() { s.dropQueueLocked(q.QueueName) })
	s.keepQueueLocked(q.QueueName, newQueue(q))
	return nil
}

func (t *tx) DeleteQueue(name storage.QueueName) error {
	s := t.s
	q := s.queues[name]
	if q == nil {
		return storage.ErrNotFound
	}
	if q.ids.len > 0 {
		return storage.ErrInUse
	}
	t.logRare(func() { s.keepQueueLocked(name, q) })
	s.dropQueueLocked(name)
	return nil
}

func (t *tx) PutChunk(blob storage.ID, n uint32, p []byte) error {
	if len(p) > storage.ChunkSize {
		return storage.ErrTooLarge
	}
	s := t.s
	chunks := s.blobs[blob]
	switch have := uint64(len(chunks)); {
	case uint64(n) > have:
		return storage.ErrNotFound
	case uint64(n) < have:
		was := chunks[n]
		t.logRare(func() { s.blobs[blob][n] = was })
		chunks[n] = clone(p)
	default:
		t.logRare(func() {
			if s.blobs[blob] = s.blobs[blob][:n]; n == 0 {
				delete(s.blobs, blob)
			}
		})
		s.blobs[blob] = append(chunks, clone(p))
	}
	return nil
}

func (t *tx) DeleteBlob(blob storage.ID) error {
	s := t.s
	if was := s.blobs[blob]; was != nil {
		t.logRare(func() { s.blobs[blob] = was })
		delete(s.blobs, blob)
	}
	return nil
}

// begin finds a job's record and logs it, because it is about to be changed.
func (t *tx) begin(j *storage.Job) (*record, error) {
	rec := t.s.jobs[j.ID]
	if rec == nil {
		return nil, storage.ErrNotFound
	}
	t.log(rec)
	return rec, nil
}

func (t *tx) log(r *record) {
	t.s.undo = append(t.s.undo, undo{rec: r, was: r.contents, next: r.queue.next})
}

func (t *tx) logRare(fn func()) {
	t.s.undo = append(t.s.undo, undo{rare: fn})
}
