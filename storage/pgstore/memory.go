package pgstore

import (
	"sync"
	"time"

	"github.com/pollackq/pollack/storage"
)

// A memory is what a node knows without asking: the queues that it read last, and the running jobs that it wrote. Most of what is acked
// was leased by the same node a moment ago. What is taken from here is compared when the transaction is written; where it is out of date the
// transaction is run again without.
type memory struct {
	mu     sync.Mutex
	jobs   map[storage.ID]*storage.Job
	queues map[storage.QueueName]queue
}

// mostJobs and mostQueues bound a memory; when it is full it is emptied.
const (
	mostJobs   = 50_000
	mostQueues = 5_000
)

// note remembers what a transaction has read and, now that it is flushed, written.
func (m *memory) note(t *txn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.jobs == nil || len(m.jobs) > mostJobs {
		m.jobs = make(map[storage.ID]*storage.Job)
	}
	for _, r := range t.dirty {
		if j := r.now.job; j != nil && j.State == storage.Running {
			m.jobs[r.id] = j
		} else if r.was.job != nil && r.was.job.State == storage.Running {
			delete(m.jobs, r.id)
		}
	}
	m.noteQueues(t)
}

func (m *memory) noteQueues(t *txn) {
	if m.queues == nil || len(m.queues) > mostQueues {
		m.queues = make(map[storage.QueueName]queue)
	}
	for name, q := range t.queues {
		if q.was == nil {
			delete(m.queues, name)
		} else if !q.guessed || q.next != m.queues[name].next {
			m.queues[name] = queue{name: name, qid: q.qid, was: q.was, now: q.was, version: q.version, next: q.next, guessed: true}
		}
	}
}

// forget forgets what a transaction took from the memory: some of it was out of date.
func (m *memory) forget(t *txn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, r := range t.jobs {
		if r.guessed {
			delete(m.jobs, id)
		}
	}
	for name, q := range t.queues {
		if q.guessed {
			delete(m.queues, name)
		}
	}
}

// recall gives the transaction the jobs that its calls are going to read, and reports whether it need not read anything for them.
func (m *memory) recall(t *txn, calls []*call) (all bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all = true
	for _, c := range calls {
		if len(c.reads.Keys) > 0 || c.reads.Ready > 0 || c.reads.Due > 0 || len(c.reads.Queues)+len(c.reads.Jobs) == 0 {
			all = false
		}
		for _, id := range c.reads.Jobs {
			j := m.jobs[id]
			if j == nil || c.reads.Payloads || (c.reads.Results || c.reads.Ends) && j.HasResult { // at its end a job's message is read
				all = false
				continue
			}
			if t.jobs[id] == nil {
				r := &rec{id: id, locked: true, guessed: true}
				r.was.job = j
				if !j.HasResult {
					r.was.result = value{known: true}
				}
				r.now = r.was
				t.jobs[id] = r
			}
		}
	}
	now, known := t.s.clock.guess()
	if !all || !known {
		return false
	}
	for _, c := range calls {
		for _, name := range c.reads.Queues {
			all = all && m.give(t, name)
		}
	}
	for _, r := range t.jobs {
		all = all && m.give(t, r.was.job.Queue)
	}
	if !all {
		clear(t.queues)
		clear(t.qids)
		return false
	}
	t.now, t.guessedNow = now, true
	return true
}

// give gives the transaction a queue, if it is remembered.
func (m *memory) give(t *txn, name storage.QueueName) bool {
	if t.queues[name] != nil {
		return true
	}
	q, ok := m.queues[name]
	if ok {
		t.keepQueue(&q)
	}
	return ok && !t.s.counts.wanted(name)
}

// freshClock is for how long after it was read the database's clock is known without asking.
const freshClock = time.Second

// guess returns what the database's clock says now, if it was read a moment ago.
func (c *clock) guess() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	since := time.Since(c.at)
	if c.at.IsZero() || since > freshClock {
		return time.Time{}, false
	}
	t := c.sample.Add(since).Truncate(time.Microsecond)
	if t.After(c.last) {
		c.last = t
	}
	return c.last, true
}
