package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
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
// When the client has gone, or its connection does not take the answer, the jobs go back to the queue at once and the delivery does not count. A
// connection that took it is no proof that the client has it: only the ack is.
func (h *Handler) Poll(w http.ResponseWriter, r *http.Request) {
	h.handle(w, r, func(c *call) error {
		if r.Method == http.MethodHead { // a mux serves it where GET is
			h.wrongMethod(w, r, "GET, POST")
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
		if err := c.finish(); err != nil {
			return err
		}
		got, err := c.receive(q, p)
		if errors.Is(err, jobqueue.ErrEmpty) {
			w.WriteHeader(http.StatusNoContent)
			return nil
		}
		if err != nil {
			return err
		}
		return c.deliver(got, p)
	})
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
func (c *call) receive(q *jobqueue.Queue, p pollParameters) ([]*jobqueue.Delivery, error) {
	if c.h.drained.Err() != nil {
		return nil, jobqueue.ErrShutdown
	}
	ctx, cancel := c.untilDrained(c.r.Context())
	defer cancel(nil)
	waits := false
	o := &jobqueue.ReceiveOptions{Wait: -1, Lease: p.lease, OnWait: func() {
		if waits = c.h.parked.enter(c.account); !waits {
			cancel(errTooMany)
		}
	}}
	if p.wait > 0 {
		o.Wait = c.hold(p.wait)
	}
	got, err := q.ReceiveMany(ctx, p.max, o)
	if waits {
		c.h.parked.leave(c.account)
	}
	switch cause := context.Cause(ctx); {
	case err == nil:
		return got, nil
	case waits && errors.Is(err, jobqueue.ErrShutdown):
		return nil, jobqueue.ErrEmpty
	case !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) || c.gone():
		return nil, err
	case cause == errTooMany:
		return nil, errTooMany
	default: // drained, or a deadline set by middleware
		return nil, jobqueue.ErrEmpty
	}
}

// deliver answers what was received, or gives it back.
func (c *call) deliver(got []*jobqueue.Delivery, p pollParameters) error {
	taken := false
	defer func() { // also if a shape panics
		if !taken {
			c.giveBack(got)
		}
	}()
	answer, err := c.polled(got, p)
	if err != nil || c.gone() {
		return err
	}
	header := c.w.Header()
	if p.max == 1 {
		d := got[0]
		header.Set("Lease-Token", d.Token.String())
		header.Set("Lease-Expires-In", strconv.FormatInt(window(d), 10))
		header.Set("Delivery-Attempt", strconv.Itoa(d.Deliveries))
	}
	if err := c.answerText(http.StatusOK, answer); err != nil {
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

// polled encodes the answer of a poll.
func (c *call) polled(got []*jobqueue.Delivery, p pollParameters) ([]byte, error) {
	all := make([]json.RawMessage, len(got))
	for i, d := range got {
		var err error
		if all[i], err = c.polledJob(d, p); err != nil {
			return nil, err
		}
	}
	if p.max == 1 {
		return all[0], nil
	}
	return json.Marshal(struct {
		Jobs []json.RawMessage `json:"jobs"`
	}{all})
}

// leased is what a polled job has more than one that is read.
type leased struct {
	Token         string          `json:"lease_token"`
	Expires       time.Time       `json:"lease_expires_at"`
	ExpiresIn     int64           `json:"lease_expires_in"`
	Payload       json.RawMessage `json:"payload,omitempty"`
	PayloadBase64 *[]byte         `json:"payload_base64,omitempty"`
}

func (c *call) polledJob(d *jobqueue.Delivery, p pollParameters) ([]byte, error) {
	if c.h.opts.ShapePolled != nil {
		v, err := c.h.opts.ShapePolled(c.r, d)
		if err != nil {
			return nil, err
		}
		return json.Marshal(v)
	}
	l := leased{Token: d.Token.String(), Expires: d.LeaseExpires, ExpiresIn: window(d)}
	if payload, ok := d.Inline(); ok && p.payload {
		if jobqueue.InlineJSON(d.ContentType, payload) {
			l.Payload = payload
		} else {
			payload = bytes.Clone(payload)
			if payload == nil {
				payload = []byte{}
			}
			l.PayloadBase64 = &payload
		}
	}
	return c.encodeWith(d.Job, l)
}
