package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pollackq/pollack/jobqueue"
)

const (
	busy  = "busy"
	quiet = 8 // queues with a job now and then
	keep  = 2 * time.Second
	big   = 300 << 10 // bytes of some payloads
)

// A load is all who use the queues.
type load struct {
	options
	broker  *jobqueue.Broker
	payload []byte // of most jobs
	large   []byte // of some
	callers sync.WaitGroup

	cycles                atomic.Int64
	enqueue, receive, ack histogram

	mu  sync.Mutex // guards err
	err error
}

// fill enqueues the backlog.
func (l *load) fill(ctx context.Context) error {
	q := l.broker.Queue(busy)
	for left := l.backlog; left > 0; {
		jobs := make([]jobqueue.NewJob, min(left, jobqueue.MaxBatch))
		for i := range jobs {
			jobs[i] = l.job()
		}
		if _, err := q.EnqueueMany(ctx, jobs); err != nil {
			return err
		}
		left -= len(jobs)
	}
	return nil
}

// job draws a new job. Those of the backlog are drawn likewise: however long it takes until it has been replaced, it holds as much all the while.
func (l *load) job() jobqueue.NewJob {
	j := jobqueue.NewJob{Payload: l.payload}
	switch k := rand.IntN(500); {
	case k == 0:
		j.Payload = l.large
	case k < 25:
		j.Delay = time.Duration(50+rand.IntN(450)) * time.Millisecond
	}
	return j
}

// start begins the load, which goes on until the context ends.
func (l *load) start(ctx context.Context) {
	for range l.options.callers {
		c := &caller{load: l}
		l.callers.Go(func() { l.repeat(ctx, c.cycle) })
	}
	for i := range quiet {
		q := l.broker.Queue(fmt.Sprint("quiet", i))
		l.callers.Go(func() { l.repeat(ctx, func(ctx context.Context) error { return l.produce(ctx, q) }) })
		l.callers.Go(func() { l.repeat(ctx, func(ctx context.Context) error { return l.consume(ctx, q) }) })
	}
}

// repeat does something until the context ends, or it fails.
func (l *load) repeat(ctx context.Context, do func(context.Context) error) {
	for ctx.Err() == nil {
		if err := do(ctx); err != nil && ctx.Err() == nil {
			l.mu.Lock()
			if l.err == nil {
				l.err = fmt.Errorf("in the midst of the load: %w", err)
			}
			l.mu.Unlock()
			return
		}
	}
}

func (l *load) failed() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

func (l *load) wait() error {
	l.callers.Wait()
	return l.failed()
}

// A caller goes round. What it received and did not end goes back to the queue; so that the backlog does not grow it enqueues one less then.
type caller struct {
	*load
	ahead int // jobs that went back: so many need not be enqueued
}

// cycle enqueues a job, and receives and settles one.
func (l *caller) cycle(ctx context.Context) error {
	q := l.broker.Queue(busy)
	if l.ahead > 0 {
		l.ahead--
	} else {
		begun := time.Now()
		if _, err := q.Enqueue(ctx, l.job()); err != nil {
			return err
		}
		l.enqueue.add(time.Since(begun))
	}
	begun := time.Now()
	o := &jobqueue.ReceiveOptions{Lease: time.Minute}
	k := rand.IntN(400)
	if k == 0 {
		o.Lease = jobqueue.MinLease
	}
	d, err := q.Receive(ctx, o)
	if err != nil {
		return err
	}
	l.receive.add(time.Since(begun))
	switch {
	case k == 0: // it lapses, and comes again
		l.ahead++
		return nil
	case k < 4:
		l.ahead++
		return d.Release(ctx, nil)
	case k < 8:
		return d.Fail(ctx, "broken", "as some are")
	}
	begun = time.Now()
	if err := d.Ack(ctx); err != nil {
		return err
	}
	l.ack.add(time.Since(begun))
	l.cycles.Add(1)
	return nil
}

// produce enqueues a job now and then.
func (l *load) produce(ctx context.Context, q *jobqueue.Queue) error {
	timer := time.NewTimer(time.Duration(rand.IntN(200)) * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return nil
	}
	_, err := q.Enqueue(ctx, jobqueue.NewJob{Payload: l.payload})
	return err
}

func (l *load) consume(ctx context.Context, q *jobqueue.Queue) error {
	d, err := q.Receive(ctx, &jobqueue.ReceiveOptions{Wait: 10 * time.Second})
	if errors.Is(err, jobqueue.ErrEmpty) {
		return nil
	}
	if err != nil {
		return err
	}
	return d.Ack(ctx)
}

// A histogram counts durations, in buckets of which each is an eighth longer than the one before.
type histogram struct{ buckets [perOctave * 40]atomic.Int64 }

const perOctave = 6 // buckets for a doubling

func (h *histogram) add(d time.Duration) {
	i := int(math.Log2(float64(max(d, 1))) * perOctave)
	h.buckets[min(i, len(h.buckets)-1)].Add(1)
}

// take returns quantiles of what was added since it was called last.
func (h *histogram) take(quantiles ...float64) []time.Duration {
	var counts [len(h.buckets)]int64
	all := int64(0)
	for i := range h.buckets {
		counts[i] = h.buckets[i].Swap(0)
		all += counts[i]
	}
	out := make([]time.Duration, len(quantiles))
	for n, q := range quantiles {
		left := int64(q * float64(all))
		for i, c := range counts {
			if left -= c; left < 0 {
				out[n] = time.Duration(math.Exp2((float64(i) + 0.5) / perOctave))
				break
			}
		}
	}
	return out
}
