package jobqueue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// CodeInvalidPayload is the code of the failure of a job whose payload a Typed consumer could not read.
const CodeInvalidPayload = "invalid_payload"

// Typed is a Queue whose payloads are values of T as JSON.
type Typed[T any] struct{ q *Queue }

// JSON returns the queue as one whose payloads are values of T as JSON.
func JSON[T any](q *Queue) Typed[T] { return Typed[T]{q} }

// Queue returns the queue itself.
func (t Typed[T]) Queue() *Queue { return t.q }

// Enqueue adds a job with v as its payload. What else there is to say of it is in j, nil for nothing; its Payload, Body and
// ContentType are not used.
func (t Typed[T]) Enqueue(ctx context.Context, v T, j *NewJob) (*Job, error) {
	p, err := json.Marshal(v)
	if err != nil {
		return nil, invalid("payload", "%v", err)
	}
	var job NewJob
	if j != nil {
		job = *j
	}
	job.Payload, job.Body, job.ContentType = p, nil, "application/json"
	return t.q.Enqueue(ctx, job)
}

// Receive is Queue.Receive that also reads the payload. A job whose payload is not a T fails with CodeInvalidPayload, and the next one
// is received.
func (t Typed[T]) Receive(ctx context.Context, o *ReceiveOptions) (T, *Delivery, error) {
	var opts ReceiveOptions
	if o != nil {
		opts = *o
	}
	if opts.OnWait != nil {
		opts.OnWait = sync.OnceValue(opts.OnWait)
	}
	begun, wait := time.Now(), opts.Wait
	for {
		var none T
		d, err := t.q.Receive(ctx, &opts)
		if err != nil {
			return none, nil, err
		}
		v, err := t.read(ctx, d)
		if err == nil {
			return v, d, nil
		}
		var unreadable *permanentError
		if !errors.As(err, &unreadable) {
			t.q.b.giveBack(ctx, d)
			return none, nil, err
		}
		if err := d.Fail(ctx, CodeInvalidPayload, clip(err.Error(), MaxText)); err != nil && !errors.Is(err, ErrLeaseLost) {
			return none, nil, err
		}
		if wait > 0 {
			if opts.Wait = wait - time.Since(begun); opts.Wait <= 0 {
				opts.Wait = -1
			}
		}
	}
}

// Consume is Queue.Consume for a handler that takes the value. A job whose payload is not a T fails with CodeInvalidPayload.
func (t Typed[T]) Consume(ctx context.Context, h func(ctx context.Context, v T, d *Delivery) error, o *ConsumeOptions) error {
	return t.q.Consume(ctx, func(ctx context.Context, d *Delivery) error {
		v, err := t.read(ctx, d)
		if err != nil {
			return err
		}
		return h(ctx, v, d)
	}, o)
}

func (t Typed[T]) read(ctx context.Context, d *Delivery) (v T, err error) {
	p, err := d.Payload(ctx)
	if err != nil {
		return v, err
	}
	if err := json.Unmarshal(p, &v); err != nil {
		return v, Permanent(CodeInvalidPayload, fmt.Errorf("the payload cannot be read: %w", err))
	}
	return v, nil
}

// CompleteJSON completes a job with v as its result, as JSON.
func CompleteJSON(ctx context.Context, d *Delivery, v any) error {
	p, err := json.Marshal(v)
	if err != nil {
		return invalid("result", "%v", err)
	}
	return d.Complete(ctx, NewResult{ContentType: "application/json", Data: p})
}

// ResultJSON reads the result of a job that succeeded.
func ResultJSON[R any](ctx context.Context, b *Broker, id ID) (R, error) {
	var v R
	c, err := b.Result(ctx, id)
	if err != nil {
		return v, err
	}
	defer c.Close()
	p, err := io.ReadAll(c)
	if err == nil {
		err = json.Unmarshal(p, &v)
	}
	return v, err
}
