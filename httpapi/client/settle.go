package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// An Outcome says what became of a call that was to end a job.
type Outcome string

// The outcomes.
const (
	Acked        Outcome = "acked"         // this call ended the job
	AlreadyAcked Outcome = "already_acked" // it had ended by this very call already
)

// Ack says that a job is done. Repeating it with the same token is no error.
func (c *Client) Ack(ctx context.Context, id, token string) (Outcome, error) {
	return c.end(ctx, id, "ack", token, nil)
}

// Complete says that a job is done, with a JSON result: anything that encoding/json takes. Repeating it with the same token is no error. A
// result that is large, or no JSON, is for CompleteWith.
func (c *Client) Complete(ctx context.Context, id, token string, result any) (Outcome, error) {
	return c.end(ctx, id, "complete", token, map[string]any{"result": result})
}

// A NewResult is a result of any type.
type NewResult struct {
	Data        []byte    // the result
	Body        io.Reader // the result instead, streamed; as NewJob.Body
	ObjectKey   string    // of an upload that has been written, whose content is the result instead
	ContentType string    // "application/octet-stream" by default; of an upload its own
}

// CompleteWith says that a job is done, with a result of any type and size. Repeating it with the same token is no error. An ObjectKey that is unknown,
// has expired or is another job's result is ErrNotFound; ErrWrongState says that the upload has not been written.
func (c *Client) CompleteWith(ctx context.Context, id, token string, r NewResult) (Outcome, error) {
	if r.ObjectKey != "" {
		if r.Data != nil || r.Body != nil {
			return "", errors.New("client: there are an object key and a result, too")
		}
		return c.end(ctx, id, "complete", token, map[string]any{"object_key": r.ObjectKey, "content_type": r.ContentType})
	}
	l := call{method: http.MethodPost, path: jobPath(id) + "/complete", header: http.Header{}, query: url.Values{}}
	if err := l.raw(r.Data, r.Body, r.ContentType); err != nil {
		return "", err
	}
	return c.ended(ctx, l, token)
}

// Fail says that a job cannot be done, now or later. Repeating it with the same token is no error.
func (c *Client) Fail(ctx context.Context, id, token string, f Failure) (Outcome, error) {
	return c.end(ctx, id, "fail", token, map[string]any{"code": f.Code, "message": f.Message})
}

// ReleaseOptions say how to give a job back. The zero value, and a nil *ReleaseOptions, mean at once and counted.
type ReleaseOptions struct {
	Delay     time.Duration // not to be delivered again before that has passed
	Uncounted bool          // this delivery does not count
}

// Release gives a job back, to be delivered again, and ends its token: repeating it is ErrLeaseLost.
func (c *Client) Release(ctx context.Context, id, token string, o *ReleaseOptions) (*Job, error) {
	fields := map[string]any{}
	if o != nil {
		fields["delay_seconds"], fields["uncounted"] = o.Delay.Seconds(), o.Uncounted
	}
	return c.change(ctx, id, "release", token, fields)
}

// Extend makes the lease last so long from now; 0 stands for the job's own window.
func (c *Client) Extend(ctx context.Context, id, token string, lease time.Duration) (*Job, error) {
	fields := map[string]any{}
	if lease > 0 {
		fields["lease_seconds"] = lease.Seconds()
	}
	return c.change(ctx, id, "extend", token, fields)
}

// Progress says how far the work is: a fraction from 0 to 1, and a word about it. It does not extend the lease.
func (c *Client) Progress(ctx context.Context, id, token string, fraction float64, message string) (*Job, error) {
	return c.change(ctx, id, "progress", token, map[string]any{"progress": fraction, "message": message})
}

// Cancel ends a job that has not ended. Canceling it again is no error; one that succeeded or failed is ErrWrongState.
func (c *Client) Cancel(ctx context.Context, id string) (*Job, error) {
	return c.change(ctx, id, "cancel", "", nil)
}

// Redrive has a job that failed or was canceled done again, as if it were new.
func (c *Client) Redrive(ctx context.Context, id string) (*Job, error) {
	return c.change(ctx, id, "redrive", "", nil)
}

// end makes a call that ends a job.
func (c *Client) end(ctx context.Context, id, verb, token string, fields map[string]any) (Outcome, error) {
	l, err := jobCall(id, verb, fields)
	if err != nil {
		return "", err
	}
	return c.ended(ctx, l, token)
}

func (c *Client) ended(ctx context.Context, l call, token string) (Outcome, error) {
	out := struct{ Outcome Outcome }{Acked} // a server may answer without a body
	l.header.Set("Lease-Token", token)
	if _, err := c.ask(ctx, l, &out); err != nil {
		return "", err
	}
	return out.Outcome, nil
}

// change makes a call that answers the job.
func (c *Client) change(ctx context.Context, id, verb, token string, fields map[string]any) (*Job, error) {
	l, err := jobCall(id, verb, fields)
	if err != nil {
		return nil, err
	}
	if token != "" {
		l.header.Set("Lease-Token", token)
	}
	j := new(Job)
	if _, err := c.ask(ctx, l, j); err != nil {
		return nil, err
	}
	j.tidy(c.base)
	return j, nil
}

func jobCall(id, verb string, fields map[string]any) (call, error) {
	l := call{method: http.MethodPost, path: jobPath(id) + "/" + verb, header: http.Header{}}
	l.once = verb == "release" || verb == "redrive" // a repetition would be refused, though the first did it
	err := l.send(fields)
	return l, err
}

// send makes JSON the body of a call, an empty object if there is nothing to say.
func (l *call) send(v any) error {
	if fields, ok := v.(map[string]any); ok && fields == nil {
		v = struct{}{}
	}
	p, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	if l.header == nil {
		l.header = http.Header{}
	}
	l.header.Set("Content-Type", "application/json")
	l.body = uploadBytes(p)
	return nil
}

// An Ack names a job and the token of its delivery.
type Ack struct {
	ID    string `json:"id"`
	Token string `json:"lease_token"`
}

// An AckResult says what became of one of many acks: an Outcome, or an Err that is an *Error.
type AckResult struct {
	ID      string
	Outcome Outcome
	Err     error
}

// ackResult is one result on the wire: an outcome, or the problem that a single ack would have been answered with.
type ackResult struct {
	Outcome Outcome      `json:"outcome"`
	Error   *wireProblem `json:"error"`
}

func (r *ackResult) err() error {
	switch {
	case r.Error != nil:
		return r.Error.problem()
	case r.Outcome != Acked && r.Outcome != AlreadyAcked:
		return &Error{Title: "the answer has neither an outcome nor an error"}
	}
	return nil
}

// AckMany acknowledges up to 1,000 jobs in one request. The results are in the order of the acks; one that is refused does not hinder the others.
func (c *Client) AckMany(ctx context.Context, acks []Ack) ([]AckResult, error) {
	if len(acks) == 0 {
		return []AckResult{}, nil
	}
	l := call{method: http.MethodPost, path: "/v1/acks"}
	if err := l.send(struct {
		Acks []Ack `json:"acks"`
	}{acks}); err != nil {
		return nil, err
	}
	var wire struct {
		Results []ackResult `json:"results"`
	}
	if _, err := c.ask(ctx, l, &wire); err != nil {
		return nil, err
	}
	return resultsOf(&l, acks, wire.Results)
}

// resultsOf matches what was answered with what was asked.
func resultsOf(l *call, acks []Ack, results []ackResult) ([]AckResult, error) {
	if len(results) != len(acks) {
		return nil, fmt.Errorf("client: %s %s: %d results for %d acks", l.method, l.path, len(results), len(acks))
	}
	out := make([]AckResult, len(acks))
	for i, r := range results {
		out[i] = AckResult{ID: acks[i].ID, Outcome: r.Outcome, Err: r.err()}
	}
	return out, nil
}
