package memstore

import (
	"slices"
	"sync"
	"time"
)

// A Clock stands still until a test advances it: see Options.Clock. It may serve several stores, and is safe for concurrent use.
type Clock struct {
	mu     sync.Mutex // guards all below
	now    time.Time
	alarms []*alarm // not yet due, soonest first, of the same time as they were set
}

type alarm struct {
	at time.Time
	fn func()
}

// NewClock returns a clock that stands at the given time.
func NewClock(start time.Time) *Clock {
	return &Clock{now: start.Round(0).UTC()}
}

// Now returns where the clock stands, in UTC and truncated to microseconds, as a store's clock is.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now.Truncate(time.Microsecond)
}

// Advance moves the clock forward and starts, each in a goroutine of its own, the alarms whose time has come, the soonest first. It
// does not wait for what they do. It panics if d is negative: clocks do not go back.
func (c *Clock) Advance(d time.Duration) {
	if d < 0 {
		panic("memstore: Clock.Advance by a negative duration")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	n := 0
	for n < len(c.alarms) && !c.alarms[n].at.After(c.now) {
		go c.alarms[n].fn()
		n++
	}
	c.alarms = slices.Delete(c.alarms, 0, n)
}

// alarm implements Store.Alarm.
func (c *Clock) alarm(t time.Time, fn func()) (stop func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !t.After(c.now) {
		go fn()
		return func() {}
	}
	a := &alarm{at: t, fn: fn}
	i, _ := slices.BinarySearchFunc(c.alarms, t, func(b *alarm, t time.Time) int {
		if b.at.After(t) {
			return 1
		}
		return -1
	})
	c.alarms = slices.Insert(c.alarms, i, a)
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.alarms = slices.DeleteFunc(c.alarms, func(b *alarm) bool { return b == a })
	}
}
