package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const payloadSize = 256

// A queue is what a table compares: ours, another, or a limit.
type queue interface {
	// cycle enqueues c.next(), receives some job under a lease, shows its payload to c.got, and acks it. c is one caller's; other callers
	// call cycle at the same time.
	cycle(ctx context.Context, c *caller) error
	// close ends it, removes its files, and reports what went wrong in the background.
	close() error
}

// A caller makes payloads, each another one, and checks those it gets.
type caller struct {
	number  int // from 0
	buffer  [payloadSize]byte
	made    uint64
	balance uint64   // the numbers of the payloads made, less those of the payloads got
	cycles  int      // done so far
	_       [64]byte // keeps the next caller out of this one's cache line
}

func newCaller(number int) *caller {
	c := &caller{number: number}
	for i := range c.buffer {
		c.buffer[i] = byte(i)
	}
	return c
}

// next returns a payload that is the queue's until the next call.
func (c *caller) next() []byte {
	c.made++
	n := uint64(c.number)<<40 | c.made
	binary.BigEndian.PutUint64(c.buffer[:], n)
	c.balance += n
	return c.buffer[:]
}

// got takes note of a payload that was received.
func (c *caller) got(payload []byte) error {
	if len(payload) != payloadSize || !bytes.Equal(payload[8:], c.buffer[8:]) {
		return fmt.Errorf("a payload of %d bytes came back that nobody sent", len(payload))
	}
	c.balance -= binary.BigEndian.Uint64(payload)
	return nil
}

// A pace is how fast callers did their cycles.
type pace struct {
	rate  float64 // cycles a second
	syncs float64 // a cycle, if the queue is a syncing one
}

// A syncing queue can tell how often it has synced its file.
type syncing interface {
	syncs() uint64
}

// pace has callers do cycles over and over, a fifth of the run's time to warm up and then as long as that. What is counted are whole cycles,
// until the last caller has ended its last. The payloads that they got must be those that they made.
func (r *run) pace(ctx context.Context, q queue, callers int) (pace, error) {
	all := make([]*caller, callers)
	for i := range all {
		all[i] = newCaller(i)
	}
	if err := callAll(ctx, q, all, r.span/5); err != nil {
		return pace{}, err
	}
	before := look(q, all)
	if err := callAll(ctx, q, all, r.span); err != nil {
		return pace{}, err
	}
	after := look(q, all)
	var balance uint64
	for _, c := range all {
		balance += c.balance
	}
	if balance != 0 {
		return pace{}, fmt.Errorf("what was received is not what was sent: the numbers differ by %d", int64(balance))
	}
	n := float64(after.cycles - before.cycles)
	return pace{rate: n / after.at.Sub(before.at).Seconds(), syncs: float64(after.syncs-before.syncs) / n}, nil
}

// callAll has each caller do cycles until the time is up, at least one.
func callAll(ctx context.Context, q queue, callers []*caller, span time.Duration) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var stop atomic.Bool
	defer time.AfterFunc(span, func() { stop.Store(true) }).Stop()
	var running sync.WaitGroup
	for _, c := range callers {
		running.Go(func() {
			for {
				if err := q.cycle(ctx, c); err != nil {
					cancel(err) // others may wait for what this one did not do
					return
				}
				c.cycles++
				if stop.Load() || ctx.Err() != nil {
					return
				}
			}
		})
	}
	running.Wait()
	return context.Cause(ctx)
}

// A sight is how far callers and their queue were at one moment.
type sight struct {
	at     time.Time
	cycles int
	syncs  uint64
}

func look(q queue, callers []*caller) sight {
	s := sight{at: time.Now()}
	for _, c := range callers {
		s.cycles += c.cycles
	}
	if q, ok := q.(syncing); ok {
		s.syncs = q.syncs()
	}
	return s
}
