package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pollackq/pollack/jobqueue"
)

// A channelCrowd waits on a channel each: what anything that waits in Go costs at least. They are woken in turn, as who waited longest is.
type channelCrowd struct {
	ctx     context.Context // nil for waiters on nothing but their channel
	cancel  context.CancelFunc
	waits   []chan []byte
	next    int
	parked  atomic.Int64
	woke    chan time.Time
	running sync.WaitGroup
}

func newChannelCrowd() (crowd, error) {
	return &channelCrowd{cancel: func() {}, woke: make(chan time.Time, 1)}, nil
}

func newSelectCrowd() (crowd, error) {
	c := &channelCrowd{woke: make(chan time.Time, 1)}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c, nil
}

func (c *channelCrowd) park(n int) error {
	c.waits = make([]chan []byte, n)
	for i := range c.waits {
		c.waits[i] = make(chan []byte, 1)
		if c.ctx == nil {
			c.running.Go(func() { c.wait(c.waits[i]) })
		} else {
			c.running.Go(func() { c.waitContext(c.waits[i]) })
		}
	}
	if err := until(func() bool { return c.parked.Load() == int64(n) }); err != nil {
		return err
	}
	return c.settle()
}

func (c *channelCrowd) wait(ch chan []byte) {
	c.parked.Add(1)
	for range ch {
		c.woke <- time.Now()
	}
}

func (c *channelCrowd) waitContext(ch chan []byte) {
	c.parked.Add(1)
	for {
		select {
		case _, ok := <-ch:
			if !ok {
				return
			}
			c.woke <- time.Now()
		case <-c.ctx.Done():
			return
		}
	}
}

func (c *channelCrowd) wake() (time.Duration, error) {
	begun := time.Now()
	c.waits[c.next] <- make([]byte, payloadSize)
	at := <-c.woke
	c.next = (c.next + 1) % len(c.waits)
	return at.Sub(begun), nil
}

func (c *channelCrowd) settle() error {
	yield()
	return nil
}

// yield lets others run until they wait again.
func yield() {
	for range 20 {
		runtime.Gosched()
	}
}

func (c *channelCrowd) end() error {
	for _, ch := range c.waits {
		close(ch)
	}
	c.running.Wait()
	c.cancel()
	return nil
}

// A receiverCrowd waits in Receive.
type receiverCrowd struct {
	p       *pollack
	n       int
	ctx     context.Context
	cancel  context.CancelFunc
	woke    chan received
	failed  chan error
	running sync.WaitGroup
}

type received struct {
	delivery *jobqueue.Delivery
	at       time.Time
}

func newReceiverCrowd() (crowd, error) {
	p, err := newPollackInMemory(noRetention)
	if err != nil {
		return nil, err
	}
	return crowdOn(p), nil
}

func crowdOn(p *pollack) *receiverCrowd {
	c := &receiverCrowd{p: p, woke: make(chan received, 1), failed: make(chan error, 1)}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

func (c *receiverCrowd) park(n int) error {
	c.n = n
	for range n {
		c.running.Go(c.wait)
	}
	return c.settle()
}

func (c *receiverCrowd) wait() {
	for {
		d, err := c.p.queue.Receive(c.ctx, nil)
		at := time.Now()
		if err != nil {
			if c.ctx.Err() == nil {
				select {
				case c.failed <- err:
				default:
				}
			}
			return
		}
		c.woke <- received{d, at}
	}
}

func (c *receiverCrowd) wake() (time.Duration, error) { return c.wakeFrom(c.ctx, c.p) }

// wakeFrom is wake by a job that a broker enqueues, which may be another node of the queue.
func (c *receiverCrowd) wakeFrom(ctx context.Context, p *pollack) (time.Duration, error) {
	begun := time.Now()
	j, err := p.queue.Enqueue(ctx, jobqueue.NewJob{Payload: make([]byte, payloadSize)})
	if err != nil {
		return 0, err
	}
	got, err := c.receive(j)
	if err != nil {
		return 0, err
	}
	return got.at.Sub(begun), got.delivery.Ack(ctx)
}

// receive waits for one waiter to have got the job.
func (c *receiverCrowd) receive(j *jobqueue.Job) (received, error) {
	select {
	case got := <-c.woke:
		if got.delivery.ID != j.ID {
			return got, fmt.Errorf("got job %v, want %v", got.delivery.ID, j.ID)
		}
		return got, nil
	case err := <-c.failed:
		return received{}, err
	case <-time.After(time.Minute):
		return received{}, errors.New("nobody got the job within a minute")
	}
}

func (c *receiverCrowd) settle() error {
	err := until(func() bool { return c.p.broker.Stats().Receivers == c.n })
	yield()
	return err
}

func (c *receiverCrowd) end() error {
	c.leave()
	return c.p.close()
}

// leave ends the waiting alone.
func (c *receiverCrowd) leave() {
	c.cancel()
	c.running.Wait()
}
