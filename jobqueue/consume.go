package jobqueue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// A Handler does a job's work. What it returns decides what becomes of the job, unless the handler has settled it itself:
//
//	nil                       it succeeded
//	an error                  it is given back, to be delivered again after a pause that grows with its deliveries
//	RetryAfter(d, err)        it is given back, to be delivered again after d
//	Permanent(code, err)      it failed, for good
//
// ctx ends, with its cause, when the job is canceled or its lease lost (a *LeaseLostError), or when the consumer stops (ErrShutdown);
// a job whose handler then returns an error is given back without counting the delivery.
type Handler func(ctx context.Context, d *Delivery) error

// ConsumeOptions say how to consume. The zero value of each field means its default.
type ConsumeOptions struct {
	Workers int           // how many jobs at once; 4
	Lease   time.Duration // the workers' own, extended while they work, so that what a killed process held is running again soon; 10 s
	// Grace is how long handlers may go on once the consumer stops, before their contexts end; 0: they end at once.
	Grace time.Duration
	// Backoff says how long a job that was given back with an error rests, by how often it has been delivered; nil for 1 s, doubled each
	// time up to 10 min, with jitter.
	Backoff func(deliveries int) time.Duration
}

const (
	defaultWorkers     = 4
	defaultWorkerLease = 10 * time.Second
	maxBackoff         = 10 * time.Minute
)

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

// Consume has workers of this process receive jobs of the queue and hand them to the handler, until ctx ends (it returns nil), the
// broker shuts down (ErrShutdown) or the queue is done (ErrDone). It claims a job only for a free worker, extends its lease while the
// handler runs, and recovers panics of the handler. It returns when all handlers have.
func (q *Queue) Consume(ctx context.Context, h Handler, o *ConsumeOptions) error {
	var opts ConsumeOptions
	if o != nil {
		opts = *o
	}
	opts.Workers = first(opts.Workers, defaultWorkers)
	opts.Lease = first(opts.Lease, defaultWorkerLease)
	if opts.Backoff == nil {
		opts.Backoff = defaultBackoff
	}
	if opts.Workers < 1 {
		return invalid("workers", "%d is less than 1", opts.Workers)
	}
	if err := checkLease(opts.Lease); err != nil {
		return err
	}
	if err := checkQueueName(q.name); err != nil {
		return err
	}
	c := q.b.core
	c.life.Lock()
	if c.draining {
		c.life.Unlock()
		return ErrShutdown
	}
	c.pools.Add(1)
	c.life.Unlock()
	defer c.pools.Done()

	work, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	p := &pool{q: q, h: h, opts: opts, log: c.log.With("queue", q.name.Name), work: work}
	over := make(chan struct{})
	var joined sync.WaitGroup
	joined.Go(func() { p.stopHandlers(ctx, cancel, over) })
	var workers sync.WaitGroup
	errs := make(chan error, opts.Workers)
	for range opts.Workers {
		workers.Go(func() { errs <- p.worker(ctx) })
	}
	workers.Wait()
	close(over)
	joined.Wait()
	return <-errs
}

// A pool is one call of Consume.
type pool struct {
	q    *Queue
	h    Handler
	opts ConsumeOptions
	log  *slog.Logger
	work context.Context // the handlers' parent
}

// stopHandlers ends the handlers' contexts once the consumer stops and its grace is over.
func (p *pool) stopHandlers(ctx context.Context, cancel context.CancelCauseFunc, over <-chan struct{}) {
	select {
	case <-ctx.Done():
	case <-p.q.b.drained:
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
	cancel(ErrShutdown)
}

// worker receives and works, one job at a time. The ack of one takes the next along, if there is one.
func (p *pool) worker(ctx context.Context) error {
	for failures := 0; ; {
		d, err := p.q.Receive(ctx, &ReceiveOptions{Lease: p.opts.Lease})
		switch {
		case err == nil:
			failures = 0
			for d != nil {
				if d = p.do(ctx, d); d != nil && ctx.Err() != nil {
					p.q.b.giveBack(ctx, d)
					return nil
				}
			}
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, ErrDone), errors.Is(err, ErrShutdown), p.q.b.over(err):
			return err
		default:
			failures++
			p.log.Error("receiving failed; will try again", "error", err)
			if !p.pause(ctx, jitter(time.Second, failures, 30*time.Second)) {
				continue // whatever ended the pause ends the next receive too
			}
		}
	}
}

// pause waits; it returns false if the consumer stops meanwhile.
func (p *pool) pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	case <-p.q.b.drained:
	}
	return false
}

// do has the handler do a job, keeps its lease meanwhile and settles it. It returns the worker's next job, if the ack took one along.
func (p *pool) do(consumer context.Context, d *Delivery) *Delivery {
	ctx, cancel := context.WithCancelCause(p.work)
	defer cancel(nil)
	err := errExited
	over := make(chan struct{})
	go func() { // a goroutine of its own, because a handler may end it: testing's FailNow does
		defer close(over)
		err = p.call(ctx, d)
	}()
	k := &keeper{p: p, d: d, cancel: cancel, over: over}
	k.run()
	<-over

	next, err := p.settle(consumer, ctx, d, err)
	if err != nil && !errors.Is(err, ErrLeaseLost) && !errors.Is(err, ErrGone) && !errors.Is(err, ErrNotFound) {
		p.log.Error("a job could not be settled; its lease will lapse and it will be delivered again", "job", d.ID, "error", err)
	}
	return next
}

var errExited = errors.New("the handler ended its goroutine")

// call calls the handler; a panic is an error like another.
func (p *pool) call(ctx context.Context, d *Delivery) (err error) {
	defer func() {
		if r := recover(); r != nil {
			p.log.Error("a handler panicked", "job", d.ID, "panic", r, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return p.h(ctx, d)
}

// settle ends the job, or gives it back. ctx is the handler's. Where the job is acked and the consumer goes on, it returns the next one
// that is ready.
func (p *pool) settle(consumer, ctx context.Context, d *Delivery, err error) (next *Delivery, _ error) {
	store := context.WithoutCancel(p.work) // what the handler did is written down also when the consumer is stopping
	if err != nil || consumer.Err() != nil {
		return nil, p.end(store, ctx, d, err)
	}
	next, err = d.AckNext(store, &ReceiveOptions{Wait: -1, Lease: p.opts.Lease})
	if errors.Is(err, ErrEmpty) || errors.Is(err, ErrDone) || errors.Is(err, ErrShutdown) {
		err = nil
	}
	return next, err
}

// end does with the job what the handler's error says.
func (p *pool) end(store, ctx context.Context, d *Delivery, err error) error {
	var permanent *permanentError
	var retry *retryError
	switch {
	case err == nil:
		return d.Ack(store)
	case errors.Is(context.Cause(ctx), ErrShutdown):
		return d.Release(store, &ReleaseOptions{Uncounted: true})
	case errors.As(err, &permanent):
		return d.Fail(store, clip(oneLine(permanent.code), MaxName), clip(err.Error(), MaxText))
	case errors.As(err, &retry):
		return d.Release(store, &ReleaseOptions{Delay: min(max(retry.after, 0), yearLimit)})
	}
	p.log.Warn("a job's handler failed; it will be delivered again", "job", d.ID, "deliveries", d.Deliveries, "error", err)
	return d.Release(store, &ReleaseOptions{Delay: min(max(p.backoff(d), 0), yearLimit)})
}

// backoff asks the user's function; if that panics, the default one.
func (p *pool) backoff(d *Delivery) (rest time.Duration) {
	defer func() {
		if r := recover(); r != nil {
			p.log.Error("the Backoff function panicked", "job", d.ID, "panic", r, "stack", string(debug.Stack()))
			rest = defaultBackoff(d.Deliveries)
		}
	}()
	return p.opts.Backoff(d.Deliveries)
}

// jitter returns a random time between half and the whole of base doubled for each failure after the first, which is at most most.
func jitter(base time.Duration, failures int, most time.Duration) time.Duration {
	d := base
	for i := 1; i < failures && d < most; i++ {
		d *= 2
	}
	d = min(d, most)
	return d/2 + rand.N(d/2+1)
}

func defaultBackoff(deliveries int) time.Duration { return jitter(time.Second, deliveries, maxBackoff) }

// clip makes a text one that a failure may have: valid, without NUL, and cut to at most max bytes at the border of a character.
func clip(s string, max int) string {
	s = strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "\uFFFD")
	for len(s) > max {
		_, size := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-size]
	}
	return s
}

// oneLine replaces the control characters that a code must not have.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f {
			return utf8.RuneError
		}
		return r
	}, s)
}
