package jobqueue

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/pollackq/pollack/storage"
)

// An ear is the broker as a shared store sees it: it hears what other processes have done, and says what this one waits for.
type ear struct{ c *core }

// Changed takes a hint.
func (e ear) Changed(ch storage.Change) (woken int) {
	c := e.c
	switch {
	case ch == storage.Change{}:
		c.lines.BroadcastAll()
		c.idle.BroadcastAll()
		c.watches.notifyAll()
		c.timeline.look()
		return 0
	case ch.Queue.Name == "":
	case ch.Ready > 0:
		woken = c.lines.Signal(ch.Queue, ch.Ready)
	case ch.Ended:
		c.idle.Broadcast(ch.Queue)
		if c.closing.has(ch.Queue) {
			c.lines.Signal(ch.Queue, 1) // the next looks when this one has found the queue done
		}
	default:
		c.lines.Broadcast(ch.Queue)
		c.idle.Broadcast(ch.Queue)
	}
	if ch.Job != (ID{}) {
		c.watches.notify(ch.Job, nil)
	}
	switch {
	case ch.Due.IsZero():
	case ch.Now.IsZero():
		c.timeline.look()
	default:
		c.timeline.at(ch.Due.Add(c.lag()), ch.Now)
	}
	return woken
}

// Receivers returns how many receivers of a queue a hint would wake.
func (e ear) Receivers(q QueueName) int { return e.c.lines.InLine(q) }

// Awaits returns what this process waits for.
func (e ear) Awaits() storage.Awaited {
	c := e.c
	receivers, ends := c.lines.InLines(), c.idle.InLines()
	for _, q := range c.closing.of(receivers) {
		ends[q]++
	}
	return storage.Awaited{Receivers: receivers, Ends: slices.Collect(maps.Keys(ends)), Jobs: c.watches.jobs()}
}

// lag is how much later than at its time this process does what is due, unless it set that time itself.
func (c *core) lag() time.Duration {
	if c.notifier == nil {
		return 0
	}
	return c.notifier.Lag()
}

// closing are the queues that receivers wait for though they are closed, until the last of their jobs has ended: maybe by another process.
type closing struct {
	mu     sync.Mutex
	queues map[QueueName]struct{}
}

// add notes that a receiver has found the queue closed, and not done.
func (c *closing) add(q QueueName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.queues == nil {
		c.queues = make(map[QueueName]struct{})
	}
	c.queues[q] = struct{}{}
}

func (c *closing) has(q QueueName) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.queues[q]
	return ok
}

// of returns those of the queues that have receivers, and forgets the others.
func (c *closing) of(receivers map[QueueName]int) []QueueName {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.queues, func(q QueueName, _ struct{}) bool { return receivers[q] == 0 })
	return slices.Collect(maps.Keys(c.queues))
}
