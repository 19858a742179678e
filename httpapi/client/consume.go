package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// A Handler does a job's work. What it returns decides what becomes of the job, unless the handler has settled it itself:
//
//	nil                       it succeeded
//	an error                  it is given back, to be delivered again after a pause that grows with its deliveries
//	RetryAfter(d, err)        it is given back, to be delivered again after d
//	Permanent(code, err)      it failed, for good
//
// ctx ends, with its cause, when the lease turns out to be lost, as that of a canceled job is (an *Error that matches ErrLeaseLost), or when the
// consumer stops (ErrStopped); a job whose handler then returns an error is given back without counting the delivery.
type Handler func(ctx context.Context, d *Delivery) error

// ErrStopped is the cause with which the context of a Handler ends when its consumer stops.
var ErrStopped = errors.New("consumer stopped")

// RetryAfter wraps an error of a Handler: the job is to be delivered again after d.
func RetryAfter(d time.Duration, err error) error { return &retryError{d, err} }

// Permanent wraps an error of a Handler: the job has failed for good, with that code.
func Permanent(code string, err error) error { return &permanentError{code, err} }

type retryError struct {
	after time.Duration
	err   error
}

func (e *retryError) Error() string { return fmt.Sprint(e.err) }
func (e *retryError) Unwrap() error { return e.err }

type permanentError struct {
	code string
	err  error
}

func (e *permanentError) Error() string { return fmt.Sprint(e.err) }
func (e *permanentError) Unwrap() error { return e.err }

// ConsumeOptions say how to consume. The zero value of each field, and a nil *ConsumeOptions, mean the defaults.
type ConsumeOptions struct {
	Workers int           // how many jobs at once; 4
	Wait    time.Duration // how long a poll may wait in the server; 30 s
	// Lease is the workers' own window, extended while they work, so that what a killed process held is running again soon; 30 s.
	Lease time.Duration
	// Grace is how long handlers may go on once the consumer stops, before their contexts end; 0: they end at once.
	Grace time.Duration
	// Backoff says how long a job that was given back with an error rests, by how often it has been delivered; nil for 1 s, doubled each time up to
	// 10 min, with jitter.
	Backoff func(deliveries int) time.Duration
	// NoPayload leaves small payloads out of the answers to polls, for handlers that open them or need none.
	NoPayload bool
}

// maxPoll is how many jobs a server gives to one poll.
const maxPoll = 100

// Consume polls a queue and hands its jobs to the handler, until ctx ends (it returns nil), the queue is done (ErrDone), or the server refuses the
// poll in a way that will not pass by itself (an *Error). Failures of the network and of the server are waited out, with full jitter and as long as a
// Retry-After says. It asks only for as many jobs as there are free workers, extends their leases while their handlers run, and recovers panics of
// the handler. A worker whose handler succeeded acks and takes the next job in one request. It returns when all handlers have and what they held is
// settled or given back.
func (c *Client) Consume(ctx context.Context, queue string, h Handler, o *ConsumeOptions) error {
	opts, err := o.withDefaults()
	if err != nil {
		return err
	}
	work, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	p := &pool{c: c, h: h, queue: queue, opts: opts, ctx: ctx, work: work, log: c.opts.Logger.With("queue", queue)}
	over := make(chan struct{})
	var joined, workers sync.WaitGroup
	joined.Go(func() { p.stopHandlers(cancel, over) })
	free := make(chan struct{}, opts.Workers)
	for range opts.Workers {
		free <- struct{}{}
	}
	err = p.feed(free, func(d *Delivery) {
		workers.Go(func() {
			for d != nil {
				d = p.do(d)
			}
			free <- struct{}{}
		})
	})
	p.ended.Store(true)
	workers.Wait()
	close(over)
	joined.Wait()
	return err
}

func (o *ConsumeOptions) withDefaults() (ConsumeOptions, error) {
	var out ConsumeOptions
	if o != nil {
		out = *o
	}
	if out.Workers == 0 {
		out.Workers = 4
	}
	if out.Workers < 1 {
		return out, fmt.Errorf("client: %d workers are less than 1", out.Workers)
	}
	if out.Wait == 0 {
		out.Wait = 30 * time.Second
	}
	if out.Lease == 0 {
		out.Lease = 30 * time.Second
	}
	if out.Wait < time.Second || out.Lease < time.Second {
		return out, fmt.Errorf("client: waits and leases are a second or more")
	}
	if out.Backoff == nil {
		out.Backoff = func(deliveries int) time.Duration {
			b := backoff{first: time.Second, most: 10 * time.Minute, failures: max(deliveries-1, 0)}
			return time.Second/2 + b.next(0)
		}
	}
	return out, nil
}

// A pool is one call of Consume.
type pool struct {
	c     *Client
	h     Handler
	queue string
	opts  ConsumeOptions
	log   *slog.Logger
	ctx   context.Context // of the call; the consumer stops with it
	work  context.Context // the handlers' parent
	ended atomic.Bool     // no more jobs are to be taken
}

// stops reports whether no more jobs are to be taken.
func (p *pool) stops() bool { return p.ended.Load() || p.ctx.Err() != nil }

// poll returns the options of a poll for so many jobs, which waits as long.
func (p *pool) poll(most int, wait time.Duration) PollOptions {
	return PollOptions{Wait: wait, Max: most, Lease: p.opts.Lease, NoPayload: p.opts.NoPayload}
}

// stopHandlers ends the handlers' contexts once the consumer stops and its grace is over.
func (p *pool) stopHandlers(cancel context.CancelCauseFunc, over <-chan struct{}) {
	select {
	case <-p.ctx.Done():
	case <-over:
		return
	}
	if p.opts.Grace > 0 {
		timer := time.NewTimer(p.opts.Grace)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-over:
			return
		}
	}
	cancel(ErrStopped)
}

// feed polls for as many jobs as workers are free and starts these.
func (p *pool) feed(free chan struct{}, start func(*Delivery)) error {
	b := backoff{first: time.Second, most: p.c.opts.MaxPause}
	for {
		n := 0
		select {
		case <-free:
			n++
		case <-p.ctx.Done():
			return nil
		}
		for more := true; more && n < maxPoll; {
			select {
			case <-free:
				n++
			default:
				more = false
			}
		}
		begun := time.Now()
		var deliveries []*Delivery
		err := p.ctx.Err()
		if err == nil {
			deliveries, err = p.c.poll(p.ctx, p.queue, p.poll(n, p.opts.Wait), true)
		}
		for i, d := range deliveries {
			if p.ctx.Err() != nil || i >= n {
				p.giveBack(d)
				continue
			}
			start(d)
		}
		for range n - len(deliveries) {
			free <- struct{}{}
		}
		switch {
		case p.ctx.Err() != nil:
			return nil
		case err == nil, errors.Is(err, ErrEmpty) && time.Since(begun) >= time.Second/2:
			b.reset()
			continue
		case errors.Is(err, ErrEmpty): // it does not wait, or is shutting down: do not overrun it
		case !passing(err):
			return err
		default:
			p.log.Warn("polling failed; will try again", "error", err)
		}
		if pause(p.ctx, b.next(askedFor(err))) != nil {
			return nil
		}
	}
}
