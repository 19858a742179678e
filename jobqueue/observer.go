package jobqueue

import (
	"sync/atomic"
	"time"
)

// An Observer is told what happens, for metrics. Its methods are called after the commit, from many goroutines, and must not block. Embed
// NopObserver, so that methods added later do no harm.
type Observer interface {
	Enqueued(q QueueName, jobs int)                  // jobs were added
	Delivered(q QueueName, waited time.Duration)     // a job was leased, so long after it was created, or could first run
	Ended(q QueueName, s State, since time.Duration) // a job ended, so long after it was created
	Lapsed(q QueueName)                              // a lease ran out of time
	Waiting(q QueueName, receivers int)              // so many receivers wait for jobs of the queue now
	Committed(took time.Duration, err error)         // a transaction took so long, waiting for its commit included
}

// NopObserver is an Observer that does nothing.
type NopObserver struct{}

func (NopObserver) Enqueued(QueueName, int)               {}
func (NopObserver) Delivered(QueueName, time.Duration)    {}
func (NopObserver) Ended(QueueName, State, time.Duration) {}
func (NopObserver) Lapsed(QueueName)                      {}
func (NopObserver) Waiting(QueueName, int)                {}
func (NopObserver) Committed(time.Duration, error)        {}

// Stats are counts since the broker was made, of this process alone, and how many wait now.
type Stats struct {
	Enqueued  uint64
	Delivered uint64
	Succeeded uint64
	Failed    uint64
	Canceled  uint64
	Lapsed    uint64
	Receivers int // that wait for jobs now
}

// Stats returns what the broker has counted.
func (b *Broker) Stats() Stats {
	s := &b.stats
	return Stats{
		Enqueued: s.enqueued.Load(), Delivered: s.delivered.Load(), Succeeded: s.ended[Succeeded].Load(),
		Failed: s.ended[Failed].Load(), Canceled: s.ended[Canceled].Load(), Lapsed: s.lapsed.Load(), Receivers: int(s.waiting.Load()),
	}
}

type counters struct {
	observer  Observer
	observed  bool // there is an observer: time is worth taking
	enqueued  atomic.Uint64
	delivered atomic.Uint64
	ended     [Gone]atomic.Uint64
	lapsed    atomic.Uint64
	waiting   atomic.Int64
}

func (c *counters) count(e *event) {
	j := e.job
	switch e.kind {
	case enqueued:
		c.enqueued.Add(1)
		c.observer.Enqueued(j.Queue, 1)
	case delivered:
		c.delivered.Add(1)
		from := j.Created
		if !j.RunAt.IsZero() {
			from = j.RunAt
		}
		c.observer.Delivered(j.Queue, j.Started.Sub(from))
	case ended:
		c.ended[j.State].Add(1)
		c.observer.Ended(j.Queue, j.State, j.Finished.Sub(j.Created))
	case lapsed:
		c.lapsed.Add(1)
		c.observer.Lapsed(j.Queue)
	}
}

// waits counts a receiver that begins (+1) or ends (-1) to wait.
func (c *core) waits(q QueueName, by int64) {
	c.stats.waiting.Add(by)
	if c.stats.observed {
		c.stats.observer.Waiting(q, c.lines.Len(q))
	}
}
