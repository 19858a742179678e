package storage

import "time"

// A Queue is the record of a queue: what its owner set. Like a Job it is immutable once handed to or by a Tx.
type Queue struct {
	QueueName
	Limits
	Backlog int               // how many jobs may wait (Scheduled and Pending); 0 as the broker says, negative: no bound
	Tags    map[string]string // nil if none
	Status  string            // a word of its owner's
	Created time.Time
	Closed  time.Time // since when nothing more goes in; zero while open
}

// Counts are the number of jobs of a queue per State.
type Counts [States]int64

// Unfinished returns how many jobs have not ended: entering, scheduled, pending and running.
func (c Counts) Unfinished() int64 { return c.Waiting() + c[Running] }

// Waiting returns how many jobs are yet to be delivered: entering, scheduled and pending.
func (c Counts) Waiting() int64 { return c[Entering] + c[Scheduled] + c[Pending] }

// Total returns how many records there are, tombstones and staged ones included.
func (c Counts) Total() int64 {
	var n int64
	for _, k := range c {
		n += k
	}
	return n
}
