package client

import (
	"context"
	"fmt"
	"net/http"
)

// AckReceive acknowledges up to 100 jobs, of any queue, and polls a queue, in one request and one transaction of the server. If an ack is refused, the
// others are done and no job is taken: err is ErrEmpty, at once. Otherwise it waits as Poll does.
//
// The results are in the order of the acks. If they are nil, err says why, and repeating the acks does no harm; otherwise the acks were told,
// whatever err says: the errors of Poll.
func (c *Client) AckReceive(ctx context.Context, queue string, acks []Ack, o *PollOptions) ([]AckResult, []*Delivery, error) {
	return c.ackReceive(ctx, queue, acks, o.withDefaults(), false)
}

func (c *Client) ackReceive(ctx context.Context, queue string, acks []Ack, o PollOptions, single bool) ([]AckResult, []*Delivery, error) {
	l := o.call(http.MethodPost, queue, single)
	if err := l.send(map[string]any{"acks": append([]Ack{}, acks...)}); err != nil { // an empty list where there are none
		return nil, nil, err
	}
	var wire struct {
		Acks  []ackResult  `json:"acks"`
		Jobs  []*polledJob `json:"jobs"`
		Error *wireProblem `json:"error"`
	}
	a, err := c.ask(ctx, l, &wire)
	if err != nil {
		return nil, nil, err
	}
	if wire.Acks == nil {
		return nil, nil, fmt.Errorf("client: %s %s: the answer says nothing of the acks", l.method, l.path)
	}
	results, err := resultsOf(&l, acks, wire.Acks)
	switch {
	case err != nil:
	case wire.Error != nil:
		e := wire.Error.problem()
		e.RetryAfter = retryAfter(a.header)
		err = e
	case len(wire.Jobs) == 0:
		err = ErrEmpty
	}
	return results, c.deliveries(wire.Jobs), err
}

// AckNext says that the job is done, and takes the next one of its queue in the same request, for which it waits as Poll does. Errors: ErrLeaseLost and
// the others of Ack say that it was refused, and no job taken; ErrEmpty and ErrDone that it was done, and there is no job. After any other error it may
// have been done: acking it again does no harm.
func (d *Delivery) AckNext(ctx context.Context, o *PollOptions) (*Delivery, error) {
	opts := o.withDefaults()
	opts.Max = 1
	return d.ackNext(ctx, d.Queue, opts, false)
}

// ackNext notes whether the ack was done: then the error is another one.
func (d *Delivery) ackNext(ctx context.Context, queue string, o PollOptions, single bool) (*Delivery, error) {
	results, next, err := d.client.ackReceive(ctx, queue, []Ack{{ID: d.ID, Token: d.LeaseToken}}, o, single)
	if len(results) == 1 {
		if results[0].Err != nil {
			return nil, results[0].Err
		}
		d.settled.Store(true)
	}
	if len(next) == 0 {
		return nil, err
	}
	return next[0], nil
}
