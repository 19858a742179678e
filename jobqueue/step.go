package jobqueue

import (
	"errors"
	"sync"
	"time"

	"github.com/pollackq/pollack/storage"
)

// A step is one run of a transaction's function, with what there will be to tell once it has committed.
type step struct {
	*core
	fn   func(*step) error
	once func(storage.Tx) error // runs fn on a transaction
	tx   storage.Tx
	now  time.Time
	effects
}

// effects are what a transaction has changed, for those who wait, watch or count.
type effects struct {
	now    time.Time
	due    time.Time   // the earliest Due that was set
	ready  []readiness // queues that have more pending jobs
	wake   []QueueName // queues that were closed or have become done: all their receivers look
	events []event
}

type readiness struct {
	queue QueueName
	n     int
}

type eventKind uint8

const (
	changed eventKind = iota
	enqueued
	delivered
	ended
	lapsed
	removed // otherwise than at its end
)

// An event is one change of one job.
type event struct {
	kind   eventKind
	job    *storage.Job
	beside beside // of a job that has ended
}

// steps saves the steps of transactions that have been told of, with their slices.
var steps = sync.Pool{New: func() any {
	s := new(step)
	s.once = func(tx storage.Tx) error {
		s.reset(tx)
		return s.fn(s)
	}
	return s
}}

// free makes the step another transaction's. Nothing may hold on to it.
func (s *step) free() {
	clear(s.events)
	*s = step{once: s.once, effects: effects{ready: s.ready[:0], wake: s.wake[:0], events: s.events[:0]}}
	steps.Put(s)
}

func (s *step) reset(tx storage.Tx) {
	s.tx, s.now = tx, tx.Now()
	s.effects = effects{now: s.now, ready: s.ready[:0], wake: s.wake[:0], events: s.events[:0]}
}

// set writes the job's new status and notes when time will next do something to it.
func (s *step) set(j *storage.Job) error {
	s.dueAt(j.Due)
	return s.tx.SetJob(j)
}

func (s *effects) dueAt(t time.Time) {
	if !t.IsZero() && (s.due.IsZero() || t.Before(s.due)) {
		s.due = t
	}
}

func (s *effects) note(kind eventKind, j *storage.Job) {
	s.events = append(s.events, event{kind: kind, job: j})
}

func (s *effects) readied(q QueueName) {
	for i := range s.ready {
		if s.ready[i].queue == q {
			s.ready[i].n++
			return
		}
	}
	s.ready = append(s.ready, readiness{q, 1})
}

// queueOf returns the record of a job's queue, or an empty one if it has none any more.
func (s *step) queueOf(j *storage.Spec) (*storage.Queue, error) {
	q, err := s.tx.Queue(j.Queue)
	if errors.Is(err, storage.ErrNotFound) {
		return &storage.Queue{QueueName: j.Queue}, nil
	}
	return q, err
}

// tell says what a committed transaction has changed to whom it concerns.
func (c *core) tell(e *effects) {
	for i := range e.events {
		c.stats.count(&e.events[i])
		c.watches.notify(e.events[i].job.ID, &e.events[i])
		if e.events[i].kind == ended {
			c.idle.Broadcast(e.events[i].job.Queue)
		}
	}
	for _, r := range e.ready {
		c.lines.Signal(r.queue, r.n)
	}
	for _, q := range e.wake {
		c.lines.Broadcast(q)
	}
	if !e.due.IsZero() {
		c.timeline.at(e.due, e.now)
	}
}
