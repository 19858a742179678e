package model

import (
	"slices"
	"time"

	"github.com/pollackq/pollack/jobqueue"
)

// Time is the store's clock, from some beginning; 0 stands for none.
type Time = time.Duration

// Settings are what holds for a queue, each as set or by default.
type Settings struct {
	Lease         time.Duration
	MaxDeliveries int           // 0: no limit
	Retention     time.Duration // negative: a job is deleted at its end
	Tombstone     time.Duration // negative: its name is forgotten with it
	Backlog       int           // 0: no limit
}

// A Queue is a queue at one moment. It is never changed: Do returns another one.
type Queue struct {
	Settings
	Now       Time
	Forgotten bool // a closed queue whose last record is gone
	Closed    bool
	Next      uint64 // the position that the next job gets
	Jobs      []*Job // in the order of their positions, tombstones included. They are shared with other moments
	known     Time   // until when a queue that is done stays known at least

	owned bool // Jobs is this one's own
}

// NewQueue returns a queue without jobs.
func NewQueue(s Settings, now Time) *Queue { return &Queue{Settings: s, Now: now} }

// A Job is a job, or the tombstone of one.
type Job struct {
	ID       jobqueue.ID // zero as long as nobody was told it
	Position uint64
	NewJob
	Created Time

	State      jobqueue.State
	Lease      Lease
	Token      jobqueue.Token // of the latest delivery; zero if there was none, or the receiver it was handed to has not returned yet
	Deliveries int
	Lapses     int
	RunAt      Time
	Deadline   Time
	Started    Time
	Expires    Time // the lease, while running
	Finished   Time
	Until      Time // when retention, or the tombstone's time, is over
	Progress   float64
	Message    string
	Failure    string
	Result     string
	Ended      jobqueue.State // what its holder ended it as, 0 if its holder did not

	Version uint64 // that was told last
	Changed bool   // since then
	Handed  bool   // to a receiver that waited, by the call that enqueued it
}

// A Lease is what became of the latest delivery.
type Lease int

// The states of a lease.
const (
	NoLease  Lease = iota // never delivered
	Held                  // running under it
	Lapsed                // its time ran out: its token can still end the job, as long as it is not delivered again
	Released              // given back, or the job was redriven: its token is good for nothing
	Over                  // the job has ended
)

// Equal reports whether two queues are in the same state.
func (q *Queue) Equal(p *Queue) bool {
	return q == p || q.Now == p.Now && q.Settings == p.Settings && q.Forgotten == p.Forgotten && q.Closed == p.Closed && q.Next == p.Next && q.known == p.known &&
		slices.EqualFunc(q.Jobs, p.Jobs, func(a, b *Job) bool { return a == b || *a == *b })
}

// Find returns the job of an id, tombstones included, or nil.
func (q *Queue) Find(id jobqueue.ID) *Job {
	if id == (jobqueue.ID{}) {
		return nil
	}
	for _, j := range q.Jobs {
		if j.ID == id {
			return j
		}
	}
	return nil
}

// at returns the job of a position, or nil.
func (q *Queue) at(position uint64) *Job {
	if i, ok := q.index(position); ok {
		return q.Jobs[i]
	}
	return nil
}

func (q *Queue) index(position uint64) (int, bool) {
	return slices.BinarySearchFunc(q.Jobs, position, func(j *Job, p uint64) int {
		switch {
		case j.Position < p:
			return -1
		case j.Position > p:
			return 1
		}
		return 0
	})
}

// First returns the job that is delivered next: the pending one of the highest priority, of these the one of the lowest position.
func (q *Queue) First() *Job {
	var first *Job
	for _, j := range q.Jobs {
		if j.State == jobqueue.Pending && (first == nil || j.Priority > first.Priority) {
			first = j
		}
	}
	return first
}

// Count returns how many jobs are in one of the states.
func (q *Queue) Count(states ...jobqueue.State) int {
	n := 0
	for _, j := range q.Jobs {
		if slices.Contains(states, j.State) {
			n++
		}
	}
	return n
}

// unfinished reports how many jobs have not ended.
func (q *Queue) unfinished() int {
	return q.Count(jobqueue.Scheduled, jobqueue.Pending, jobqueue.Running)
}

// Due returns the jobs to which the time until now does something, and has not yet.
func (q *Queue) Due() []*Job {
	var due []*Job
	for _, j := range q.Jobs {
		if at := j.due(); at != 0 && at <= q.Now {
			due = append(due, j)
		}
	}
	return due
}

// Worked returns the queue after the time until now has done to some of its jobs what it does, and not yet to the others: where several
// processes share a store, each does a part.
func (q *Queue) Worked(some []*Job) *Queue {
	next := *q
	next.owned = false
	for _, j := range some {
		next.touch(j)
	}
	return &next
}

// edit returns a copy of a job that stands in its place and can be changed.
func (q *Queue) edit(j *Job) *Job {
	q.own()
	i, ok := q.index(j.Position)
	if !ok {
		panic("model: a job that is not there is changed")
	}
	c := *j
	q.Jobs[i] = &c
	return &c
}

// own has Jobs shared with no other moment.
func (q *Queue) own() {
	if !q.owned {
		q.Jobs, q.owned = slices.Clone(q.Jobs), true
	}
}

// drop deletes the record of a job.
func (q *Queue) drop(j *Job) {
	q.own()
	if i, ok := q.index(j.Position); ok {
		q.Jobs = slices.Delete(q.Jobs, i, i+1)
	}
}

// tell returns what an answer says of a job. version is the one that was told: it must be the one told last if nothing has changed since,
// and a greater one if something has. A job that has ended and is not kept is told of, too.
func (q *Queue) tell(j *Job, version uint64) Told {
	if version != 0 {
		if q.at(j.Position) == j {
			j = q.edit(j)
		}
		switch {
		case !j.Changed:
			version = j.Version
		case version <= j.Version:
			version = j.Version + 1
		}
		j.Version, j.Changed = version, false
	}
	if j.State == jobqueue.Gone {
		return Told{ID: j.ID, State: j.State, Position: j.Position, Priority: j.Priority, Key: j.Key, Created: j.Created, Progress: -1, Version: j.Version}
	}
	t := Told{
		ID: j.ID, State: j.State, Position: j.Position, Priority: j.Priority, Key: j.Key, Deliveries: j.Deliveries, Lapses: j.Lapses,
		Progress: j.Progress, Message: j.Message, Failure: j.Failure, Result: j.Result, PayloadGone: j.State == jobqueue.Succeeded,
		Created: j.Created, RunAt: j.RunAt, Deadline: j.Deadline, Started: j.Started, Expires: j.Expires, Finished: j.Finished, Version: j.Version,
	}
	if j.State.Ended() {
		t.Kept = j.Until
	}
	return t
}
