package pgstore

import (
	"sync"
	"time"
)

// A clock is the database's, as read at the beginning of each transaction. It never goes back in one process: where the server's is set
// back, or another server takes over whose clock is behind, time stands still until that has caught up.
type clock struct {
	mu     sync.Mutex
	last   time.Time // what was returned
	sample time.Time // what the database said
	at     time.Time // when it was asked, at the latest
}

// read returns the time to use for what the database said.
func (c *clock) read(t time.Time) time.Time {
	t = t.UTC().Truncate(time.Microsecond)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sample, c.at = t, time.Now()
	if t.After(c.last) {
		c.last = t
	}
	return c.last
}
