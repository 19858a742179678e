package memstore

import (
	"math"
	"time"

	"github.com/pollackq/pollack/storage"
)

// A reader reads in a transaction. After the end of that any use of it panics, as far as it shows: that of an Update serves the next.
type reader struct {
	s  *Store    // nil after the end
	at time.Time // what Now returns, once it was asked
}

func (r *reader) start(s *Store) { r.s, r.at = s, time.Time{} }

func (r *reader) end() { r.s = nil }

func (r *reader) Now() time.Time {
	if r.at.IsZero() {
		r.at = r.s.now()
	}
	return r.at
}

func (r *reader) Job(id storage.ID) (*storage.Job, error) {
	rec := r.s.jobs[id]
	if rec == nil {
		return nil, storage.ErrNotFound
	}
	return rec.job, nil
}

func (r *reader) JobByKey(k storage.Key) (*storage.Job, error) {
	rec := r.s.keys[k]
	if rec == nil {
		return nil, storage.ErrNotFound
	}
	return rec.job, nil
}

func (r *reader) Payload(j *storage.Job) ([]byte, error) {
	rec := r.s.jobs[j.ID]
	if rec == nil || rec.payload == nil {
		return nil, storage.ErrNotFound
	}
	return clone(rec.payload), nil
}

func (r *reader) Result(j *storage.Job) ([]byte, error) {
	rec := r.s.jobs[j.ID]
	if rec == nil || rec.result == nil {
		return nil, storage.ErrNotFound
	}
	return clone(rec.result), nil
}

func (r *reader) Ready(name storage.QueueName, max int) ([]*storage.Job, error) {
	q := r.s.queues[name]
	if q == nil || max < 1 {
		return nil, nil
	}
	jobs := make([]*storage.Job, 0, min(max, q.ready.len))
	for p := range q.ready.all() {
		if jobs = append(jobs, p.rec.job); len(jobs) == max {
			break
		}
	}
	return jobs, nil
}

func (r *reader) Due(until time.Time, max int) ([]*storage.Job, error) {
	var jobs []*storage.Job
	last := until.UnixMicro()
	for p := range r.s.due.all() {
		if p.at > last || len(jobs) >= max {
			break
		}
		jobs = append(jobs, p.rec.job)
	}
	return jobs, nil
}

func (r *reader) NextDue() (time.Time, error) {
	if p := r.s.due.first(); p != nil {
		return p.rec.job.Due, nil
	}
	return time.Time{}, nil
}

// scan is how many jobs one call of Jobs looks at, unless more are wanted.
const scan = 1000

func (r *reader) Jobs(name storage.QueueName, state storage.State, after storage.ID, max int) (jobs []*storage.Job, next storage.ID, err error) {
	q := r.s.queues[name]
	if q == nil || max < 1 {
		return nil, storage.ID{}, nil
	}
	seen, last := 0, after
	for p := range q.ids.from(idPlace{id: after}) {
		if p.id == after {
			continue
		}
		if len(jobs) == max || seen >= scan && seen >= max {
			return jobs, last, nil
		}
		if state == 0 || p.rec.job.State == state {
			jobs = append(jobs, p.rec.job)
		}
		seen++
		last = p.id
	}
	return jobs, storage.ID{}, nil
}

func (r *reader) OldestPending(name storage.QueueName) (time.Time, error) {
	q := r.s.queues[name]
	if q == nil || q.ready.len == 0 {
		return time.Time{}, nil
	}
	p := q.ready.first()
	oldest := p.rec.job.Created
	for p.priority > math.MinInt16 {
		if p = q.ready.next(readyPlace{priority: p.priority - 1}); p == nil {
			break
		}
		if c := p.rec.job.Created; c.Before(oldest) {
			oldest = c
		}
	}
	return oldest, nil
}

func (r *reader) Queue(name storage.QueueName) (*storage.Queue, error) {
	q := r.s.queues[name]
	if q == nil {
		return nil, storage.ErrNotFound
	}
	return q.record, nil
}

func (r *reader) NextPosition(name storage.QueueName) (uint64, error) {
	if q := r.s.queues[name]; q != nil {
		return q.next, nil
	}
	return 0, nil
}

func (r *reader) Queues(after storage.QueueName, max int) ([]*storage.Queue, error) {
	var queues []*storage.Queue
	for name := range r.s.names.from(after) {
		if len(queues) >= max {
			break
		}
		if *name != after {
			queues = append(queues, r.s.queues[*name].record)
		}
	}
	return queues, nil
}

func (r *reader) Counts(name storage.QueueName) (storage.Counts, error) {
	if q := r.s.queues[name]; q != nil {
		return q.counts, nil
	}
	return storage.Counts{}, nil
}

func (r *reader) Chunk(blob storage.ID, n uint32) ([]byte, error) {
	chunks := r.s.blobs[blob]
	if uint64(n) >= uint64(len(chunks)) {
		return nil, storage.ErrNotFound
	}
	return clone(chunks[n]), nil
}
