package jobqueue

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/pollackq/pollack/longpoll"
	"github.com/pollackq/pollack/storage"
)

// ReceiveOptions say how to receive. nil and the zero value: wait until ctx ends, with the lease that job, queue or broker say.
type ReceiveOptions struct {
	Wait  time.Duration   // how long to wait for a job before ErrEmpty; 0: until ctx ends; negative: not at all
	Lease time.Duration   // the receiver's own window, from MinLease to MaxLease
	Stop  <-chan struct{} // ends the waiting with ErrEmpty when it is closed; nil: nothing does
	// OnWait, if set, is called once, when nothing is there and the waiting begins. An error from it ends the call.
	OnWait func() error
}

// Receive leases the next job: by priority, then position. If there is none it waits, at no cost, until one is enqueued, comes back or
// becomes ready. Errors: ErrEmpty when Wait is over, ErrDone when the queue is closed and all its jobs have ended, ErrShutdown, the
// error of ctx. A ctx that has ended never leases a job.
func (q *Queue) Receive(ctx context.Context, o *ReceiveOptions) (*Delivery, error) {
	r := newReceiver(ctx, q, 1)
	r.begin(o)
	r.await()
	return r.one()
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
	r := newReceiver(ctx, q, max)
	r.begin(o)
	r.await()
	_, ds, err := r.many()
	return ds, err
}

// check demands that what was asked for is within bounds.
func (r *receiver) check(o *ReceiveOptions) error {
	if r.max < 1 || r.max > MaxBatch {
		return invalid("max", "%d is not from 1 to %d", r.max, MaxBatch)
	}
	if o != nil && o.Lease != 0 {
		if err := checkLease(o.Lease); err != nil {
			return err
		}
		r.window = o.Lease
	}
	if err := checkQueueName(r.q.name); err != nil {
		return err
	}
	r.names[0] = r.q.name
	return r.ctx.Err()
}

// begin looks, and stands in line where there is nothing. Mostly there is something: then there is no need to stand in line. Who does
// has to look again, so that no wake-up is lost, unless others are asleep there: then there is nothing to look for.
func (r *receiver) begin(o *ReceiveOptions) {
	if r.err = r.check(o); r.err != nil {
		return
	}
	if r.q.b.ShuttingDown() {
		r.err = r.ackOnly()
		return
	}
	found, wait := false, o == nil || o.Wait >= 0
	if !wait || r.acks != nil || !r.q.b.lines.Asleep(r.q.name) {
		found, r.err = r.look()
	}
	switch {
	case r.err != nil || found:
	case !wait || r.refused:
		r.err = ErrEmpty
	default:
		if o != nil {
			r.stop, r.onWait = o.Stop, o.OnWait
		}
		if o != nil && o.Wait > 0 {
			r.timer = time.NewTimer(o.Wait)
		}
		r.place = r.q.b.lines.Enter(r.ctx, r.q.name, r, r.looks, r.sleeps)
	}
}

// await sleeps until there is a job, or will be none. It is called by what the user calls and calls nothing that sleeps: very many
// may be here at once, each on a stack that should stay small.
func (r *receiver) await() {
	for !r.over() {
		select {
		case <-r.place.Wake():
			r.place.Woken(r.ctx)
		case <-r.ctx.Done():
			r.place.GiveUp(r.ctx.Err())
		case <-r.timeUp():
			r.place.GiveUp(ErrEmpty)
		case <-r.stop:
			r.place.GiveUp(ErrEmpty)
		}
	}
}

// over reports whether there is a job, or will be none.
func (r *receiver) over() bool { return r.place == nil || r.place.Over() }

// timeUp is when the waiting is over; nil if it never is.
func (r *receiver) timeUp() <-chan time.Time {
	if r.timer == nil {
		return nil
	}
	return r.timer.C
}

// sleep is called when the receiver is about to sleep for the first time.
func (r *receiver) sleep() error {
	r.waits = true
	r.q.b.waits(r.q.name, +1)
	r.tellWaits()
	if r.onWait != nil {
		return r.onWait()
	}
	return nil
}

// tellWaits tells other processes on the store, if there may be any, that a receiver is about to sleep.
func (r *receiver) tellWaits() {
	b := r.q.b
	if b.notifier == nil {
		return
	}
	if r.closed {
		b.closing.add(r.q.name)
	}
	b.notifier.Waits(r.q.name)
}

// end ends the call: what was received for a caller whose context has ended meanwhile goes back.
func (r *receiver) end() error {
	if r.place != nil {
		r.err = r.place.Err
	}
	if r.timer != nil {
		r.timer.Stop()
	}
	if r.waits {
		r.q.b.waits(r.q.name, -1)
	}
	if r.err == nil {
		r.err = r.ctx.Err()
	}
	if r.err != nil {
		for _, d := range r.got {
			r.q.b.giveBack(r.ctx, d)
		}
	}
	return r.err
}

// one and many end the call with what it returns.
func (r *receiver) one() (*Delivery, error) {
	defer r.free()
	if err := r.end(); err != nil {
		return nil, err
	}
	return r.got[0], nil
}

func (r *receiver) many() ([]AckResult, []*Delivery, error) {
	defer r.free()
	if err := r.end(); err != nil {
		return r.results, nil, err
	}
	return r.results, slices.Clone(r.got), nil
}

// A receiver is one call of ReceiveMany. While it waits an enqueue may hand it a job.
type receiver struct {
	ctx    context.Context // the caller's
	q      *Queue
	max    int
	window time.Duration // 0 for the job's
	names  [1]QueueName
	token  Token    // for the first job of a look, made before its transaction
	leased []leased // by the latest look
	seen   bool     // the queue was there
	closed bool     // the latest look found the queue closed
	done   bool     // and nothing unfinished
	got    []*Delivery

	acks    []Ack       // to be done by the first look's transaction; nil once they are
	results []AckResult // of that
	refused bool        // one of them was

	err    error                                  // why there is no job, unless place says it
	place  *longpoll.Waiter[QueueName, *receiver] // nil unless it stood in line
	timer  *time.Timer                            // nil unless the waiting ends by it
	stop   <-chan struct{}
	onWait func() error
	waits  bool // has been counted as one that waits

	runs   func(*step) error    // lease
	looks  func() (bool, error) // look
	sleeps func() error         // sleep
}

// receivers saves what calls are done with.
var receivers = sync.Pool{New: func() any {
	r := new(receiver)
	r.runs, r.looks, r.sleeps = r.lease, r.look, r.sleep
	return r
}}

func newReceiver(ctx context.Context, q *Queue, max int) *receiver {
	r := receivers.Get().(*receiver)
	r.ctx, r.q, r.max = ctx, q, max
	return r
}

// free makes the receiver another call's.
func (r *receiver) free() {
	clear(r.leased)
	clear(r.got)
	*r = receiver{leased: r.leased[:0], got: r.got[:0], runs: r.runs, looks: r.looks, sleeps: r.sleeps}
	receivers.Put(r)
}

// A leased job has just been delivered.
type leased struct {
	job     *storage.Job
	kept    beside // a message of its progress, if an earlier delivery left one
	payload []byte // nil if it is large
}

// giveBack releases a delivery that never happened. If that fails its lease will lapse.
func (c *core) giveBack(ctx context.Context, d *Delivery) {
	_, err := c.all.Release(context.WithoutCancel(ctx), d.ID, d.Token, &ReleaseOptions{Uncounted: true})
	if err != nil && !errors.Is(err, ErrLeaseLost) && !errors.Is(err, ErrShutdown) {
		c.log.Warn("a delivery that nobody took could not be given back; its lease will lapse", "job", d.ID, "error", err)
	}
}

// look leases what is ready.
func (r *receiver) look() (bool, error) {
	r.token = storage.NewToken()
	if err := r.q.b.update(r.ctx, r.reads(), r.runs); err != nil {
		if r.acks != nil {
			r.results = nil
		}
		return false, err
	}
	r.acks = nil
	if r.done {
		if err := r.q.confirmDone(r.ctx); err != nil {
			return false, err
		}
	}
	for _, l := range r.leased {
		r.got = append(r.got, r.q.b.delivery(l.job, l.kept, l.payload))
	}
	if len(r.leased) == 0 && r.waits {
		r.tellWaits() // it was woken in vain
	}
	return len(r.leased) > 0, nil
}

func (r *receiver) reads() storage.Reads {
	reads := storage.Reads{Queues: r.names[:], Ready: r.max, Payloads: true}
	if len(r.acks) > 0 {
		reads.Jobs, reads.Ends = idsOf(r.acks), true
	}
	return reads
}

// lease is the transaction of a look.
func (r *receiver) lease(s *step) error {
	r.leased, r.closed, r.done = r.leased[:0], false, false
	if len(r.acks) > 0 {
		if err := r.ackAll(s); err != nil || r.refused {
			return err
		}
	}
	q, err := s.tx.Queue(r.q.name)
	switch {
	case errors.Is(err, storage.ErrNotFound) && r.seen:
		return ErrDone // it has been forgotten since
	case errors.Is(err, storage.ErrNotFound) && !s.opts.ExplicitQueues:
		return nil // it may yet come into being
	case err != nil:
		return err
	}
	r.seen = true
	if err := r.leaseReady(s, q); err != nil || len(r.leased) > 0 || q.Closed.IsZero() {
		return err
	}
	r.closed = true
	counts, err := s.tx.Counts(q.QueueName)
	r.done = counts.Unfinished() == 0
	return err
}

// leaseReady delivers what is ready, with the payload where it is small.
func (r *receiver) leaseReady(s *step, q *storage.Queue) error {
	for len(r.leased) < r.max {
		ready, err := s.tx.Ready(q.QueueName, r.max-len(r.leased))
		if err != nil || len(ready) == 0 {
			return err
		}
		for _, j := range ready {
			if j, err = s.advance(j); err != nil {
				return err
			}
			if j.State != Pending {
				continue // its deadline had passed
			}
			limits := s.limitsFor(j.Spec, q)
			if spent(j, limits) { // the limit was lowered since
				if _, err = s.exhaust(j); err != nil {
					return err
				}
				continue
			}
			var payload []byte
			if j.Blob == (ID{}) && j.Size <= InlineLimit {
				payload, err = s.tx.Payload(j)
				if err != nil && !errors.Is(err, storage.ErrCorrupt) { // whoever asks for a damaged one gets the error
					return err
				}
			}
			kept, err := readBeside(s.tx, j)
			if err != nil && !errors.Is(err, storage.ErrCorrupt) {
				return err
			}
			token := r.token
			if len(r.leased) > 0 {
				token = storage.NewToken()
			}
			j = s.deliver(j, first(r.window, limits.Lease), token)
			s.note(delivered, j)
			if err := s.set(j); err != nil {
				return err
			}
			r.leased = append(r.leased, leased{j, kept, payload})
		}
	}
	return nil
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
