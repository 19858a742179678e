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
	balance uint64       // the numbers of the payloads made, less those of the payloads got
	cycles  atomic.Int64 // done so far
	_       [64]byte     // keeps the next caller's counter out of this one's cache line
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

// rate has callers do cycles over and over and returns how many they do in a second. They warm up for a fifth of the time before that.
func (r *run) rate(ctx context.Context, q queue, callers int) (float64, error) {
	rate, err := r.repeat(ctx, callers, 1, q.cycle)
	if err != nil {
		return 0, err
	}
	return rate, nil
}

// repeat is rate for any step, which counts for each times. The payloads that all callers got must be those that they made.
func (r *run) repeat(ctx context.Context, callers, each int, step func(context.Context, *caller) error) (float64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	all := make([]*caller, callers)
	for i := range all {
		all[i] = newCaller(i)
	}
	count := func() (n int64) {
		for _, c := range all {
			n += c.cycles.Load()
		}
		return n
	}
	var stop atomic.Bool
	failed := make(chan error, callers)
	var running sync.WaitGroup
	for _, c := range all {
		running.Go(func() {
			for !stop.Load() {
				if err := step(ctx, c); err != nil {
					failed <- err
					return
				}
				c.cycles.Add(1)
			}
		})
	}
	wait := func(d time.Duration) error {
		select {
		case err := <-failed:
			return err
		case <-time.After(d):
			return nil
		}
	}
	err := wait(r.span / 5)
	before, begun := count(), time.Now()
	if err == nil {
		err = wait(r.span)
	}
	after, took := count(), time.Since(begun)
	if err != nil {
		cancel() // others may wait for what the one that failed did not do
	}
	stop.Store(true)
	running.Wait()
	if err == nil && len(failed) > 0 {
		err = <-failed
	}
	if err != nil {
		return 0, err
	}
	var balance uint64
	for _, c := range all {
		balance += c.balance
	}
	if balance != 0 {
		return 0, fmt.Errorf("what was received is not what was sent: the numbers differ by %d", int64(balance))
	}
	if after == before {
		return 0, fmt.Errorf("nothing was done within %v", took)
	}
	return float64(after-before) * float64(each) / took.Seconds(), nil
}
