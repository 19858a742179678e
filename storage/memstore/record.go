package memstore

import (
	"github.com/pollackq/pollack/storage"
)

// A record is what the store has of one job.
type record struct {
	queue *queue
	contents
}

// contents is what transactions change of a record. None of it is written to: it is replaced.
type contents struct {
	job     *storage.Job // nil: the job is not, or no longer, there
	payload []byte       // nil: none; never nil otherwise
	result  []byte       // likewise
}

// A queue is what the store has of one queue.
type queue struct {
	record *storage.Queue
	next   uint64 // position of the next job
	ids    order[idPlace]
	ready  order[readyPlace]
	counts storage.Counts
}

func newQueue(q *storage.Queue) *queue {
	return &queue{record: q, ids: order[idPlace]{less: idLess}, ready: order[readyPlace]{less: readyLess}}
}

// placeLocked gives a record new contents and moves it to its places in every order and count. All changes of jobs, and their undoing,
// are this.
func (s *Store) placeLocked(r *record, now contents) {
	was := r.job
	r.contents = now
	if was == now.job {
		return
	}
	q := r.queue
	switch {
	case was == nil:
		s.jobs[now.job.ID] = r
		q.ids.insert(idPlace{now.job.ID, r})
		if now.job.Key != "" {
			s.keys[now.job.KeyOf()] = r
		}
	case now.job == nil:
		delete(s.jobs, was.ID)
		q.ids.remove(idPlace{id: was.ID})
		if was.Key != "" {
			delete(s.keys, was.KeyOf())
		}
	}
	if was != nil {
		q.counts[was.State]--
	}
	if now.job != nil {
		q.counts[now.job.State]++
	}
	if before, after := isReady(was), isReady(now.job); before != after {
		if before {
			q.ready.remove(readyAt(was))
		} else {
			p := readyAt(now.job)
			p.rec = r
			q.ready.insert(p)
		}
	}
	before, hadDue := dueAt(was)
	after, hasDue := dueAt(now.job)
	if hadDue != hasDue || before != after {
		if hadDue {
			s.due.remove(before)
		}
		if hasDue {
			after.rec = r
			s.due.insert(after)
		}
	}
}

// keepQueueLocked adds a queue, dropQueueLocked removes one without jobs.
func (s *Store) keepQueueLocked(name storage.QueueName, q *queue) {
	s.queues[name] = q
	s.names.insert(name)
}

func (s *Store) dropQueueLocked(name storage.QueueName) {
	delete(s.queues, name)
	s.names.remove(name)
}

// clone returns a copy of p that is not nil.
func clone(p []byte) []byte {
	c := make([]byte, len(p))
	copy(c, p)
	return c
}
