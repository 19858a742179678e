package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/pollackq/pollack/jobqueue"
)

// Poll delivers up to ?max jobs of the queue of the path value "queue", waiting up to ?timeout seconds (or "Prefer: wait=N"; MaxWait if neither is
// there) for the first: 200 with the job and its lease, 204 if none came, 410 if none will ever come. ?lease asks for a lease of so many seconds;
// ?payload=none leaves the payload out.
//
// A POST may bring acks, of any queue: {"acks": [{"id", "lease_token"}]}, up to MaxPollJobs. They are taken in the transaction of the first look for
// jobs, and the answer is always 200: {"acks": [{"id", "outcome"} or {"id", "error"}], "jobs": [...]}, the jobs as with max above 1. An ack that is refused
// takes none of the others along, but there are no jobs then, at once. If there was another reason than time not to look for jobs any more (such as
// queue_done or shutting_down), "error" has the problem. A poll that is refused has taken no ack; one that is repeated does no harm.
//
// When the client has gone, or its connection does not take the answer, the jobs go back to the queue at once and the delivery does not count. A
// connection that took it is no proof that the client has it: only the ack is.
func (h *Handler) Poll(w http.ResponseWriter, r *http.Request) { h.handle(w, r, (*call).poll) }

func (c *call) poll() error {
	if c.r.Method == http.MethodHead { // a mux serves it where GET is
		c.h.wrongMethod(c.w, c.r, "GET, POST")
		return nil
	}
	q, err := c.queue(ActionReceive)
	if err != nil {
		return err
	}
	p, err := c.pollParameters()
	if err != nil {
		return err
	}
	if c.r.Method == http.MethodPost {
		acks, err := c.pollAcks()
		if err != nil {
			return err
		}
		if acks != nil {
			return c.ackAndPoll(q, acks, &p)
		}
	} else if err := c.finish(); err != nil {
		return err
	}
	got, err := c.receive(q, &p)
	if errors.Is(err, jobqueue.ErrEmpty) {
		c.w.WriteHeader(http.StatusNoContent)
		return nil
	}
	if err != nil {
		return err
	}
	return c.deliver(got, &p)
}

type pollParameters struct {
	wait, lease time.Duration
	max         int
	payload     bool
}

func (c *call) pollParameters() (pollParameters, error) {
	q := c.query()
	p := pollParameters{max: q.count("max", 1, MaxPollJobs, 1), payload: true}
	var ok bool
	if p.wait, ok = c.wait(q, "timeout"); !ok {
		p.wait = c.h.opts.MaxWait
	}
	if p.lease, ok = q.wholeSeconds("lease"); ok && p.lease == 0 {
		q.fail("lease: must be at least a second")
	}
	if s, ok := q.one("payload"); ok {
		if s != "none" {
			q.fail("payload: %q is not none", s)
		}
		p.payload = false
	}
	return p, q.err
}

// receive waits for jobs. ErrEmpty means that none came, be it because a shutdown ended the waiting.
func (c *call) receive(q *jobqueue.Queue, p *pollParameters) ([]*jobqueue.Delivery, error) {
	if c.h.drained.Err() != nil {
		return nil, jobqueue.ErrShutdown
	}
	got, err := q.ReceiveMany(c.r.Context(), p.max, c.receiveOptions(p))
	c.rise()
	return got, c.whyNone(err)
}

// ackReceive takes acks, at least one, and waits for jobs. The acks have been taken if there are results.
func (c *call) ackReceive(q *jobqueue.Queue, acks []jobqueue.Ack, p *pollParameters) ([]jobqueue.AckResult, []*jobqueue.Delivery, error) {
	if c.h.drained.Err() != nil {
		results, err := c.onlyAck(acks, jobqueue.ErrShutdown)
		return results, nil, err
	}
	if p.wait > 0 { // once they are taken it is too late to refuse
		if err := c.sit(); err != nil {
			return nil, nil, err
		}
	}
	results, got, err := q.AckReceive(c.r.Context(), acks, p.max, c.receiveOptions(p))
	c.rise()
	return results, got, c.whyNone(err)
}

// onlyAck takes acks where there are no jobs to be had, and returns why there are none.
func (c *call) onlyAck(acks []jobqueue.Ack, why error) ([]jobqueue.AckResult, error) {
	if len(acks) == 0 {
		return nil, why
	}
	results, err := c.broker.AckMany(c.r.Context(), acks)
	if err != nil {
		return nil, err
	}
	return results, why
}

func (c *call) receiveOptions(p *pollParameters) *jobqueue.ReceiveOptions {
	if p.wait == 0 {
		return &jobqueue.ReceiveOptions{Wait: -1, Lease: p.lease}
	}
	return &jobqueue.ReceiveOptions{Wait: c.longest(p.wait), Lease: p.lease, Stop: c.h.drained.Done(), OnWait: c.onWait}
}

// onWait is called when a poll begins to wait.
func (c *call) onWait() error {
	c.waited = true
	c.hold()
	return c.sit()
}

// whyNone returns what the error of a receive is to a poll.
func (c *call) whyNone(err error) error {
	if c.waited && errors.Is(err, jobqueue.ErrShutdown) || errors.Is(err, context.DeadlineExceeded) && !c.gone() { // a deadline set by middleware
		return jobqueue.ErrEmpty
	}
	return err
}

// ackAndPoll answers what came of acks, and the jobs that came then. Once acks have been taken there is no other answer.
func (c *call) ackAndPoll(q *jobqueue.Queue, a *ackList, p *pollParameters) error {
	var results []jobqueue.AckResult
	var got []*jobqueue.Delivery
	var err error
	switch {
	case a.refused:
		results, err = c.onlyAck(a.acks, jobqueue.ErrEmpty)
	case len(a.acks) == 0:
		got, err = c.receive(q, p)
	default:
		results, got, err = c.ackReceive(q, a.acks, p)
	}
	if results == nil && err != nil && !errors.Is(err, jobqueue.ErrEmpty) || errors.Is(err, context.Canceled) {
		return err
	}
	a.take(results)
	return c.handOver(got, func(b []byte) ([]byte, error) {
		b, e := a.append(append(b, `{"acks":`...))
		if e != nil {
			return nil, e
		}
		b = append(b, `,"jobs":`...)
		none := len(b)
		if b, e = c.appendJobs(b, got, p); e != nil {
			c.giveBack(got)
			b, err = append(b[:none], "[]"...), e
		}
		if err != nil && !errors.Is(err, jobqueue.ErrEmpty) {
			if b, e = appendJSON(append(b, `,"error":`...), c.h.problem(c.r, c.asSent(err))); e != nil {
				return nil, e
			}
			if errors.Is(err, jobqueue.ErrShutdown) {
				c.h.retryAfter(c.w)
			}
		}
		return append(b, '}'), nil
	})
}

// deliver answers what was received.
func (c *call) deliver(got []*jobqueue.Delivery, p *pollParameters) error {
	return c.handOver(got, func(b []byte) ([]byte, error) {
		if p.max > 1 {
			b, err := c.appendJobs(append(b, `{"jobs":`...), got, p)
			return append(b, '}'), err
		}
		d := got[0]
		b, err := c.appendPolled(b, d, p)
		if err == nil {
			setAll(c.w.Header(), "Lease-Token", d.Token.String(), "Lease-Expires-In", strconv.FormatInt(window(d), 10), "Delivery-Attempt", strconv.Itoa(d.Deliveries))
		}
		return b, err
	})
}

// handOver answers with what encode appends, or gives the jobs back.
func (c *call) handOver(got []*jobqueue.Delivery, encode func(b []byte) ([]byte, error)) error {
	taken := false
	defer func() { // also if a shape panics
		if !taken {
			c.giveBack(got)
		}
	}()
	t := newText()
	defer t.free()
	var err error
	if t.b, err = encode(t.b); err != nil {
		return err
	}
	if c.gone() {
		return c.r.Context().Err()
	}
	if err = c.answerText(http.StatusOK, t.b); err == nil {
		err = c.flush()
	}
	if err != nil {
		c.h.opts.Logger.Debug("a poll's answer could not be written; its jobs go back", "jobs", len(got), "error", err)
		return nil // there is nobody to answer
	}
	taken = true
	return nil
}

// giveBack releases jobs that nobody has got. Where that fails they come back when the lease lapses.
func (c *call) giveBack(got []*jobqueue.Delivery) {
	ctx, cancel := c.afterwards()
	defer cancel()
	for _, d := range got {
		if err := d.Release(ctx, &jobqueue.ReleaseOptions{Uncounted: true}); err != nil && !errors.Is(err, jobqueue.ErrLeaseLost) {
			c.h.opts.Logger.Warn("a job that nobody got could not be given back", "id", d.ID, "error", err)
		}
	}
}

// window returns how long the lease is, in whole seconds.
func window(d *jobqueue.Delivery) int64 { return int64(d.LeaseExpires.Sub(d.Started) / time.Second) }
