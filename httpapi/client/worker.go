package client

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

const (
	leastSettling = 2 * time.Minute  // how long a settlement is tried at the least, as long as the consumer runs
	lastSettling  = 10 * time.Second // how long it is tried at the most once the consumer stops
)

// do has the handler do a job, keeps its lease meanwhile and settles it. It returns the next job if it took one on the way.
func (p *pool) do(d *Delivery) (next *Delivery) {
	ctx, cancel := context.WithCancelCause(p.work)
	defer cancel(nil)
	keeping, stop := context.WithCancel(context.WithoutCancel(p.work))
	var joined sync.WaitGroup
	joined.Go(func() { p.keep(keeping, d, cancel) })
	err := p.call(ctx, d)
	stop()
	joined.Wait()
	switch {
	case d.settled.Load():
	case err == nil && !p.stops():
		next = p.ackNext(d)
	default:
		p.settle(d, context.Cause(ctx), err)
	}
	return next
}

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

// keep extends the lease while the handler runs, and ends the handler's context when the lease is lost.
func (p *pool) keep(ctx context.Context, d *Delivery, lost context.CancelCauseFunc) {
	window := p.opts.Lease
	timer := time.NewTimer(min(window, max(d.Lease, time.Second)) / 3) // what it has been given may be less than was asked for
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		within, cancel := context.WithTimeout(ctx, window/3)
		err := d.Extend(within, window)
		cancel()
		switch {
		case err == nil, ctx.Err() != nil, d.settled.Load():
		case errors.Is(err, ErrLeaseLost), errors.Is(err, ErrGone), errors.Is(err, ErrNotFound):
			lost(err)
			return
		default:
			p.log.Warn("a lease could not be extended", "job", d.ID, "error", err)
		}
		timer.Reset(window / 3)
	}
}

// settle does with the job what the handler's error says. cause is that of the handler's context.
func (p *pool) settle(d *Delivery, cause, err error) {
	var permanent *permanentError
	var retry *retryError
	switch {
	case err == nil:
		p.insist(d, d.Ack)
	case errors.Is(cause, ErrStopped):
		p.giveBack(d)
	case errors.Is(cause, ErrLeaseLost), errors.Is(cause, ErrGone), errors.Is(cause, ErrNotFound):
		// There is nothing to settle.
	case errors.As(err, &permanent):
		p.insist(d, func(ctx context.Context) error {
			return d.Fail(ctx, clip(permanent.code, 255), clip(err.Error(), 16<<10))
		})
	case errors.As(err, &retry):
		p.release(d, &ReleaseOptions{Delay: max(retry.after, 0)})
	default:
		p.log.Warn("a job's handler failed; it will be delivered again", "job", d.ID, "deliveries", d.Deliveries, "error", err)
		p.release(d, &ReleaseOptions{Delay: max(p.opts.Backoff(d.Deliveries), 0)})
	}
}

// ackNext acks a job and takes the next one that waits, nil if there is none, in one request. If that fails, the ack is made by itself.
func (p *pool) ackNext(d *Delivery) (next *Delivery) {
	asked := false
	p.insist(d, func(ctx context.Context) (err error) {
		if !asked {
			asked = true
			next, err = d.ackNext(ctx, p.queue, p.poll(1, 0), true)
			switch {
			case d.settled.Load():
				return nil
			case errors.Is(err, ErrLeaseLost), errors.Is(err, ErrGone), errors.Is(err, ErrNotFound), askedFor(err) > 0:
				return err
			}
		}
		return d.Ack(ctx)
	})
	if next != nil && p.stops() {
		p.giveBack(next)
		next = nil
	}
	return next
}

// giveBack gives back a job on which no work was done.
func (p *pool) giveBack(d *Delivery) { p.release(d, &ReleaseOptions{Uncounted: true}) }

func (p *pool) release(d *Delivery, o *ReleaseOptions) {
	p.insist(d, func(ctx context.Context) error { return d.Release(ctx, o) })
}

// insist settles a job through failures that may pass, for two minutes or as long as a lease lasts: what the handler did must be told also when the
// consumer is stopping or the server is just being restarted.
func (p *pool) insist(d *Delivery, settle func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.ctx), max(p.opts.Lease, leastSettling))
	defer cancel()
	defer context.AfterFunc(p.ctx, func() { time.AfterFunc(lastSettling, cancel) })()
	b := backoff{first: time.Second, most: 5 * time.Second} // not longer: the job may be delivered to others meanwhile
	for {
		err := settle(ctx)
		if err == nil || errors.Is(err, ErrLeaseLost) || errors.Is(err, ErrGone) || errors.Is(err, ErrNotFound) {
			return
		}
		if ctx.Err() != nil || !passing(err) || pause(ctx, b.next(askedFor(err))) != nil {
			p.log.Error("a job could not be settled; its lease will lapse and it will be delivered again", "job", d.ID, "error", err)
			return
		}
	}
}

// clip makes a text one that a failure may have: valid, without NUL, and cut to at most max bytes at the border of a character.
func clip(s string, max int) string {
	s = strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "\uFFFD")
	for len(s) > max {
		_, size := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-size]
	}
	return s
}
