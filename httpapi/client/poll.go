package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"
)

// PollOptions say what to poll for. The zero value of each field, and a nil *PollOptions, mean the defaults.
type PollOptions struct {
	Wait      time.Duration // how long the server may wait for a job: 30 seconds by default, negative for not at all
	Max       int           // how many jobs to take at most, from 1 to 100; 1 by default
	Lease     time.Duration // the window to ask for, in whole seconds; 0 for the one that job or queue have
	NoPayload bool          // leave small payloads out of the answer, too: they can still be opened
}

func (o *PollOptions) withDefaults() PollOptions {
	var out PollOptions
	if o != nil {
		out = *o
	}
	switch {
	case out.Wait == 0:
		out.Wait = 30 * time.Second
	case out.Wait < 0:
		out.Wait = 0
	}
	out.Max = max(out.Max, 1)
	return out
}

// A Delivery is a job in the hands of a consumer, who has the lease until it lapses. Its methods act under its token. They are safe for
// concurrent use.
type Delivery struct {
	*Job
	LeaseToken   string
	LeaseExpires time.Time     // by the server's clock
	Lease        time.Duration // how long from the answer that brought it; 0 if the server did not say

	client *Client
	json   json.RawMessage // the payload that came along, one of the two at most
	bytes  []byte
	coming bool // the payload came along

	settled atomic.Bool // by one of the methods
}

// Poll waits for jobs and takes their leases: at least one of them, or ErrEmpty if none came, or ErrDone if none will ever come.
// If the answer is lost on its way the jobs come back when their leases have lapsed.
func (c *Client) Poll(ctx context.Context, queue string, o *PollOptions) ([]*Delivery, error) {
	return c.poll(ctx, queue, o.withDefaults(), false)
}

func (c *Client) poll(ctx context.Context, queue string, o PollOptions, single bool) ([]*Delivery, error) {
	l := o.call(http.MethodGet, queue, single)
	var wire struct {
		polledJob
		Jobs []*polledJob `json:"jobs"`
	}
	a, err := c.ask(ctx, l, &wire)
	if err != nil {
		return nil, err
	}
	jobs := wire.Jobs
	if wire.ID != "" {
		jobs = append(jobs, &wire.polledJob)
	}
	if len(jobs) == 0 {
		if a.status == http.StatusNoContent || wire.Jobs != nil {
			return nil, ErrEmpty
		}
		return nil, fmt.Errorf("client: %s %s: the answer has no job", l.method, l.path)
	}
	return c.deliveries(jobs), nil
}

// call returns the request of a poll. One that is single is not repeated.
func (o *PollOptions) call(method, queue string, single bool) call {
	l := call{method: method, path: queuePath(queue) + "/poll", query: url.Values{}, wait: o.Wait, single: single}
	l.query.Set("timeout", wholeSeconds(o.Wait))
	if o.Max > 1 {
		l.query.Set("max", strconv.Itoa(o.Max))
	}
	if o.Lease > 0 {
		l.query.Set("lease", wholeSeconds(o.Lease))
	}
	if o.NoPayload {
		l.query.Set("payload", "none")
	}
	return l
}

// A polledJob is a job as a poll answers it.
type polledJob struct {
	Job
	LeaseToken     string          `json:"lease_token"`
	LeaseExpires   time.Time       `json:"lease_expires_at"`
	LeaseExpiresIn float64         `json:"lease_expires_in"` // seconds
	Payload        json.RawMessage `json:"payload"`
	PayloadBase64  *[]byte         `json:"payload_base64"`
}

func (c *Client) deliveries(jobs []*polledJob) []*Delivery {
	out := make([]*Delivery, len(jobs))
	for i, j := range jobs {
		out[i] = j.delivery(c)
	}
	return out
}

func (j *polledJob) delivery(c *Client) *Delivery {
	d := &Delivery{
		Job: &j.Job, LeaseToken: j.LeaseToken, LeaseExpires: j.LeaseExpires, client: c,
		Lease: time.Duration(max(j.LeaseExpiresIn, 0) * float64(time.Second)),
	}
	d.tidy(c.base)
	switch {
	case j.PayloadBase64 != nil:
		d.bytes, d.coming = *j.PayloadBase64, true
	case len(j.Payload) > 0 && (string(j.Payload) != "null" || j.Size == int64(len("null"))):
		d.json, d.coming = j.Payload, true
	}
	return d
}

// Inline returns the payload if it came along with the poll, as those up to 64 KiB do. One that is JSON has the same value as what was submitted but not
// always the same bytes: white space may differ. Where the bytes matter, use Open or Bytes.
func (d *Delivery) Inline() ([]byte, bool) {
	if d.json != nil {
		return d.json, true
	}
	return d.bytes, d.coming
}

// Open opens the payload, byte for byte as it was submitted. It asks the server unless these bytes came along.
func (d *Delivery) Open(ctx context.Context) (*Content, error) {
	if d.coming && d.json == nil {
		return &Content{
			ReadCloser: io.NopCloser(bytes.NewReader(d.bytes)), Size: int64(len(d.bytes)), Length: int64(len(d.bytes)), ContentType: d.ContentType,
		}, nil
	}
	return d.client.Payload(ctx, d.ID, nil)
}

// Bytes reads the payload into memory, byte for byte as it was submitted. One larger than limit is ErrAnswerTooLarge.
func (d *Delivery) Bytes(ctx context.Context, limit int64) ([]byte, error) {
	if d.Size > limit {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrAnswerTooLarge, d.Size, limit)
	}
	c, err := d.Open(ctx)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return readAll(c, limit)
}

// Ack says that the job is done.
func (d *Delivery) Ack(ctx context.Context) error {
	_, err := d.client.Ack(ctx, d.ID, d.LeaseToken)
	return d.settledIf(err)
}

// Complete says that the job is done, with a JSON result.
func (d *Delivery) Complete(ctx context.Context, result any) error {
	_, err := d.client.Complete(ctx, d.ID, d.LeaseToken, result)
	return d.settledIf(err)
}

// CompleteWith says that the job is done, with a result of any type and size.
func (d *Delivery) CompleteWith(ctx context.Context, r NewResult) error {
	_, err := d.client.CompleteWith(ctx, d.ID, d.LeaseToken, r)
	return d.settledIf(err)
}

// Fail says that the job cannot be done, now or later.
func (d *Delivery) Fail(ctx context.Context, code, message string) error {
	_, err := d.client.Fail(ctx, d.ID, d.LeaseToken, Failure{Code: code, Message: message})
	return d.settledIf(err)
}

// Release gives the job back, to be delivered again.
func (d *Delivery) Release(ctx context.Context, o *ReleaseOptions) error {
	_, err := d.client.Release(ctx, d.ID, d.LeaseToken, o)
	return d.settledIf(err)
}

// Extend makes the lease last so long from now; 0 stands for the job's own window.
func (d *Delivery) Extend(ctx context.Context, lease time.Duration) error {
	_, err := d.client.Extend(ctx, d.ID, d.LeaseToken, lease)
	return err
}

// Progress says how far the work is: a fraction from 0 to 1, and a word about it. It does not extend the lease.
func (d *Delivery) Progress(ctx context.Context, fraction float64, message string) error {
	_, err := d.client.Progress(ctx, d.ID, d.LeaseToken, fraction, message)
	return err
}

// settledIf notes that there is nothing left to settle.
func (d *Delivery) settledIf(err error) error {
	if err == nil {
		d.settled.Store(true)
	}
	return err
}
