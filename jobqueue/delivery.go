package jobqueue

import (
	"context"
	"io"
	"time"

	"github.com/pollackq/pollack/storage"
)

// A Delivery is a job in the hands of a consumer. Its methods act under its token. They are safe for concurrent use.
type Delivery struct {
	*Job        // as it was delivered; Deliveries says how often
	Token Token // proves the lease

	c       *core
	payload []byte // nil if it is larger than InlineLimit
}

// delivery makes what the consumer gets of a job that was just leased.
func (b *Broker) delivery(j *storage.Job, kept beside, payload []byte) *Delivery {
	if payload == nil && j.Size == 0 && !j.NoPayload {
		payload = []byte{}
	}
	both := new(struct { // one allocation
		d Delivery
		j Job
	})
	fillJob(&both.j, j, kept)
	both.d = Delivery{Job: &both.j, Token: j.Token, c: b.core, payload: payload}
	return &both.d
}

// broker returns a handle that sees every job: whoever has a delivery may settle it.
func (d *Delivery) broker() *Broker { return d.c.all }

// Inline returns the payload if it came along: if it is at most InlineLimit bytes.
func (d *Delivery) Inline() ([]byte, bool) { return d.payload, d.payload != nil }

// Payload returns the whole payload. A large one is read into memory: to avoid that, Open it.
func (d *Delivery) Payload(ctx context.Context) ([]byte, error) {
	if d.payload != nil {
		return d.payload, nil
	}
	c, err := d.Open(ctx)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	p := make([]byte, c.Size())
	_, err = io.ReadFull(c, p)
	return p, err
}

// Open opens the payload for reading.
func (d *Delivery) Open(ctx context.Context) (*Content, error) {
	if d.payload != nil {
		return &Content{ctx: ctx, c: d.c, contentType: d.ContentType, size: int64(len(d.payload)), chunk: d.payload, number: -1}, nil
	}
	return d.broker().Payload(ctx, d.ID)
}

// Ack ends the job well. See Broker.Ack.
func (d *Delivery) Ack(ctx context.Context) error {
	_, err := d.broker().settle(ctx, settlement{id: d.ID, token: d.Token, to: Succeeded}, false)
	return err
}

// Complete ends the job well, with a result. See Broker.Complete.
func (d *Delivery) Complete(ctx context.Context, r NewResult) error {
	_, err := d.broker().Complete(ctx, d.ID, d.Token, r)
	return err
}

// Fail ends the job badly, for good. See Broker.Fail.
func (d *Delivery) Fail(ctx context.Context, code, message string) error {
	_, err := d.broker().Fail(ctx, d.ID, d.Token, Failure{Code: code, Message: message})
	return err
}

// Release gives the job back, to be delivered again. See Broker.Release.
func (d *Delivery) Release(ctx context.Context, o *ReleaseOptions) error {
	_, err := d.broker().Release(ctx, d.ID, d.Token, o)
	return err
}

// Extend has the lease end a time from now. See Broker.Extend.
func (d *Delivery) Extend(ctx context.Context, t time.Duration) error {
	_, err := d.broker().Extend(ctx, d.ID, d.Token, t)
	return err
}

// Progress tells those who watch how far the job is, from 0 to 1. See Broker.Progress.
func (d *Delivery) Progress(ctx context.Context, fraction float64, message string) error {
	_, err := d.broker().Progress(ctx, d.ID, d.Token, Progress{Fraction: fraction, Message: message})
	return err
}
