package pgstore

import (
	"time"

	"github.com/pollackq/pollack/storage"
)

// changes are what a transaction is about to commit, as far as it concerns those who wait. The zero value is ready for use.
type changes struct {
	user   bool // it is a transaction of the user's: this process is to be told, too
	jobs   []storage.ID
	ready  map[storage.QueueName]int // jobs that have become pending
	queues map[storage.QueueName]bool
	ended  map[storage.QueueName]bool
	due    time.Time // the earliest

	// What nobody was told of, because nobody was known to wait for it when the transaction was about to commit.
	untoldReady map[storage.QueueName]int
	untoldJobs  []storage.ID
}

// job notes that a job has a new version, or is deleted.
func (c *changes) job(id storage.ID) { c.jobs = append(c.jobs, id) }

// readied notes that a job has become pending.
func (c *changes) readied(q storage.QueueName) {
	if c.ready == nil {
		c.ready = make(map[storage.QueueName]int)
	}
	c.ready[q]++
}

// queue notes that a queue is closed or deleted.
func (c *changes) queue(q storage.QueueName) {
	if c.queues == nil {
		c.queues = make(map[storage.QueueName]bool)
	}
	c.queues[q] = true
}

// endedIn notes that a job of a closed queue has ended.
func (c *changes) endedIn(q storage.QueueName) {
	if c.ended == nil {
		c.ended = make(map[storage.QueueName]bool)
	}
	c.ended[q] = true
}

// dueAt notes a time at which there is something to do.
func (c *changes) dueAt(t time.Time) {
	if c.due.IsZero() || t.Before(c.due) {
		c.due = t
	}
}

// leave notes that nobody was told of n jobs.
func (c *changes) leave(q storage.QueueName, n int) {
	if c.untoldReady == nil {
		c.untoldReady = make(map[storage.QueueName]int)
	}
	c.untoldReady[q] += n
}
