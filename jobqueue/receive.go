package jobqueue

import (
	"context"
	"errors"
	"time"

	"github.com/pollackq/pollack/storage"
)

// ReceiveOptions say how to receive. nil and the zero value: wait until ctx ends, with the lease that job, queue or broker say.
type ReceiveOptions struct {
	Wait  time.Duration // how long to wait for a job before ErrEmpty; 0: until ctx ends; negative: not at all
	Lease time.Duration // the receiver's own window, from MinLease to MaxLease
	// OnWait, if set, is called once, when nothing is there and the waiting begins.
	OnWait func()
}

// Receive leases the next job: by priority, then position. If there is none it waits, at no cost, until one is enqueued, comes back or becomes ready. Errors: ErrEmpty when
// Wait is over, ErrDone when the queue is closed and all its jobs have ended, ErrShutdown, the error of ctx. A ctx that has ended never leases a job.
func (q *Queue) Receive(ctx context.Context, o *ReceiveOptions) (*Delivery, error) {
	ds, err := q.ReceiveMany(ctx, 1, o)
	if err != nil {
		return nil, err
	}
	return ds[0], nil
}

// TryReceive is Receive that does not wait.
func (q *Queue) TryReceive(ctx context.Context, o *ReceiveOptions) (*Delivery, error) {
	var opts ReceiveOptions
	if o != nil {
		opts = *o
	}
	opts.Wait = -1
	return q.Receive(ctx, &opts)
}

// ReceiveMany leases up to max jobs (1 to MaxBatch) in one transaction. It waits for the first, not for more.
func (q *Queue) ReceiveMany(ctx context.Context, max int, o *ReceiveOptions) ([]*Delivery, error) {
	var opts ReceiveOptions
	if o != nil {
		opts = *o
	}
	if max < 1 || max > MaxBatch {
		return nil, invalid("max", "%d is not from 1 to %d", max, MaxBatch)
	}
	if opts.Lease != 0 {
		if err := checkLease(opts.Lease); err != nil {
			return nil, err
		}
	}
	if err := checkQueueName(q.name); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if q.b.ShuttingDown() {
		return nil, ErrShutdown
	}
	r := &receiver{q: q, max: max, window: opts.Lease}
	if opts.Wait < 0 {
		found, err := r.look(ctx)
		if err == nil && !found {
			err = ErrEmpty
		}
		return r.result(ctx, err)
	}
	waitCtx := ctx
	if opts.Wait > 0 {
		var cancel context.CancelFunc
		waitCtx, cancel = context.WithTimeoutCause(ctx, opts.Wait, ErrEmpty)
		defer cancel()
	}
	waiting := false
	_, err := q.b.lines.Wait(waitCtx, q.name, r, func() (bool, error) {
		found, err := r.look(ctx)
		if !found && err == nil && !waiting {
			waiting = true
			q.b.waits(q.name, +1)
			if opts.OnWait != nil {
				opts.OnWait()
			}
		}
		return found, err
	})
	if waiting {
		q.b.waits(q.name, -1)
	}
	if err != nil && ctx.Err() == nil && waitCtx.Err() != nil && errors.Is(err, waitCtx.Err()) {
		err = ErrEmpty
	}
	return r.result(ctx, err)
}

// A receiver is one call of ReceiveMany, while it waits: an enqueue may hand it a job.
type receiver struct {
	q      *Queue
	max    int
	window time.Duration // 0 for the job's
	got    []*Delivery
}

// result gives back what was received for a caller whose context has ended meanwhile.
func (r *receiver) result(ctx context.Context, err error) ([]*Delivery, error) {
	if err == nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	if err == nil {
		return r.got, nil
	}
	for _, d := range r.got {
		r.q.b.giveBack(ctx, d)
	}
	return nil, err
}

// giveBack releases a delivery that never happened. If that fails its lease will lapse.
func (c *core) giveBack(ctx context.Context, d *Delivery) {
	b := &Broker{core: c}
	_, err := b.Release(context.WithoutCancel(ctx), d.ID, d.Token, &ReleaseOptions{Uncounted: true})
	if err != nil && !errors.Is(err, ErrLeaseLost) && !errors.Is(err, ErrShutdown) {
		c.log.Warn("a delivery that nobody took could not be given back; its lease will lapse", "job", d.ID, "error", err)
	}
}

// look leases what is ready.
func (r *receiver) look(ctx context.Context) (bool, error) {
	b, name := r.q.b, r.q.name
	var leased []*storage.Job
	var payloads [][]byte
	done := false
	err := b.update(ctx, storage.Reads{Queues: []QueueName{name}, Ready: r.max, Payloads: true}, func(s *step) error {
		leased, payloads, done = nil, nil, false
		q, err := s.tx.Queue(name)
		if errors.Is(err, storage.ErrNotFound) && !s.opts.ExplicitQueues {
			return nil // it may yet come into being
		}
		if err != nil {
			return err
		}
		leased, payloads, err = s.lease(q, r.max, r.window)
		if err != nil || len(leased) > 0 || q.Closed.IsZero() {
			return err
		}
		counts, err := s.tx.Counts(name)
		done = counts.Unfinished() == 0
		return err
	})
	if err == nil && done {
		err = r.q.confirmDone(ctx)
	}
	if err != nil {
		return false, err
	}
	for i, j := range leased {
		r.got = append(r.got, b.delivery(j, payloads[i]))
	}
	return len(leased) > 0, nil
}

// lease delivers up to max jobs of a queue, with their payloads where these are small.
func (s *step) lease(q *storage.Queue, max int, window time.Duration) (leased []*storage.Job, payloads [][]byte, err error) {
	for len(leased) < max {
		ready, err := s.tx.Ready(q.QueueName, max-len(leased))
		if err != nil || len(ready) == 0 {
			return leased, payloads, err
		}
		for _, j := range ready {
			if j, err = s.advance(j); err != nil {
				return nil, nil, err
			}
			if j.State != Pending {
				continue // its deadline had passed
			}
			var payload []byte
			if j.Blob == (ID{}) && j.Size <= InlineLimit {
				if payload, err = s.tx.Payload(j); err != nil {
					if !errors.Is(err, storage.ErrCorrupt) {
						return nil, nil, err
					}
					payload = nil // whoever asks for it gets the error
				}
			}
			j = j.With(s.deliver(j, first(window, s.limitsFor(j.Spec, q).Lease)))
			s.note(delivered, j)
			if err := s.set(j); err != nil {
				return nil, nil, err
			}
			leased, payloads = append(leased, j), append(payloads, payload)
		}
	}
	return leased, payloads, nil
}

// confirmDone returns ErrDone if a snapshot confirms that the queue is closed and has nothing unfinished.
func (q *Queue) confirmDone(ctx context.Context) error {
	return q.b.view(ctx, storage.Reads{Queues: []QueueName{q.name}}, func(r storage.Reader) error {
		rec, err := r.Queue(q.name)
		if errors.Is(err, storage.ErrNotFound) {
			return ErrDone // it has been forgotten since
		}
		if err != nil {
			return err
		}
		counts, err := r.Counts(q.name)
		if err == nil && !rec.Closed.IsZero() && counts.Unfinished() == 0 {
			return ErrDone
		}
		return err
	})
}
