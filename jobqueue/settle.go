package jobqueue

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/pollackq/pollack/storage"
)

// A NewResult is what a job is completed with.
type NewResult struct {
	ContentType string    // at most MaxName bytes
	Data        []byte    // at most Options.MaxResult bytes
	Body        io.Reader // the data instead, read to its end
}

// An Outcome is what came of ending a job.
type Outcome struct {
	Job      *Job
	Repeated bool // the job had ended by the same call with the same token already; nothing was changed
}

// Ack ends a job well, without a result. It may come late: it is taken as long as the job has not been delivered again and has not ended.
// Ack, Complete and Fail, repeated with their token while the job's record exists, succeed and change nothing. Errors: ErrNotFound, ErrGone,
// ErrLeaseLost with its reason, ErrNotDelivered.
func (b *Broker) Ack(ctx context.Context, id ID, t Token) (Outcome, error) {
	return b.settle(ctx, id, t, Succeeded, nil, Failure{})
}

// Complete ends a job well, with a result. Otherwise it is like Ack; a result over Options.MaxResult is ErrTooLarge.
func (b *Broker) Complete(ctx context.Context, id ID, t Token, r NewResult) (Outcome, error) {
	return b.settle(ctx, id, t, Succeeded, &r, Failure{})
}

// Fail ends a job badly, for good. Otherwise it is like Ack. To have it tried again, Release it.
func (b *Broker) Fail(ctx context.Context, id ID, t Token, f Failure) (Outcome, error) {
	if err := checkString("code", f.Code, MaxName); err != nil {
		return Outcome{}, err
	}
	if err := checkText("message", f.Message); err != nil {
		return Outcome{}, err
	}
	if f.Code == "" {
		f.Code = "failed"
	}
	return b.settle(ctx, id, t, Failed, nil, f)
}

// An Ack names a delivery.
type Ack struct {
	ID    ID
	Token Token
}

// An AckResult is what came of one of many acks.
type AckResult struct {
	Outcome
	Err error
}

// AckMany acks up to MaxBatch deliveries in one transaction, each by itself: the results are in the order of the acks, and the error of one does not touch the others. The error
// returned says that none was done.
func (b *Broker) AckMany(ctx context.Context, acks []Ack) ([]AckResult, error) {
	if len(acks) == 0 || len(acks) > MaxBatch {
		return nil, invalid("acks", "there are %d, from 1 to %d are allowed", len(acks), MaxBatch)
	}
	var out []AckResult
	reads := storage.Reads{Jobs: make([]ID, len(acks)), Ends: true}
	for i, a := range acks {
		reads.Jobs[i] = a.ID
	}
	err := b.update(ctx, reads, func(s *step) error {
		out = make([]AckResult, len(acks))
		for i, a := range acks {
			j, repeated, err := s.settled(b, a.ID, a.Token, Succeeded, func(j *storage.Job) (*storage.Job, error) {
				return s.end(j, Succeeded, beside{}, true)
			})
			if err != nil && !own(err) {
				return err
			}
			if err == nil {
				out[i].Outcome, err = s.outcome(j, repeated)
			}
			out[i].Err = fromStore(err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// own reports whether an error concerns one job alone and was found before anything was changed.
func own(err error) bool {
	for _, e := range []error{storage.ErrNotFound, ErrNotFound, ErrGone, ErrLeaseLost, ErrNotDelivered} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func (b *Broker) settle(ctx context.Context, id ID, t Token, to State, r *NewResult, f Failure) (Outcome, error) {
	if err := ctx.Err(); err != nil {
		return Outcome{}, err
	}
	v, err := b.readResult(ctx, id, t, to, r)
	if err != nil {
		return Outcome{}, err
	}
	var out Outcome
	err = b.update(ctx, storage.Reads{Jobs: []ID{id}, Ends: true}, func(s *step) error {
		j, repeated, err := s.settled(b, id, t, to, func(j *storage.Job) (*storage.Job, error) {
			kept := beside{failure: f}
			if r != nil {
				st := j.Status
				st.ResultSize, st.ResultBlob = v.size, v.blob
				j = j.With(st)
				kept = beside{hasResult: true, contentType: r.ContentType, result: v.data}
				if err := s.adopt(v.blob); err != nil {
					return nil, err
				}
			}
			return s.end(j, to, kept, true)
		})
		if err != nil {
			return err
		}
		out, err = s.outcome(j, repeated)
		return err
	})
	if v.blob != (ID{}) && (out.Repeated || err != nil && !errors.Is(err, ErrOutcomeUnknown)) {
		b.unstage(ctx, v.blob)
	}
	if err != nil {
		return Outcome{}, err
	}
	return out, nil
}

// outcome returns what the caller of a settlement gets: from the event if the job has just ended, since its record may be gone.
func (s *step) outcome(j *storage.Job, repeated bool) (Outcome, error) {
	for i := range s.events {
		if e := &s.events[i]; e.kind == ended && e.job.ID == j.ID {
			return Outcome{Job: jobOf(e.job, e.beside)}, nil
		}
	}
	kept, err := readBeside(s.tx, j)
	return Outcome{Job: jobOf(j, kept), Repeated: repeated}, err
}

// readResult reads the result of a Complete; a large one into a blob, before which it looks whether the job is there to be completed.
func (b *Broker) readResult(ctx context.Context, id ID, t Token, to State, r *NewResult) (value, error) {
	if r == nil {
		return value{}, nil
	}
	if err := checkString("content_type", r.ContentType, MaxName); err != nil {
		return value{}, err
	}
	if r.Data != nil && r.Body != nil {
		return value{}, invalid("result", "there is a Body, too")
	}
	if int64(len(r.Data)) > b.opts.MaxResult {
		return value{}, tooLarge("result", b.opts.MaxResult)
	}
	if r.Body == nil && len(r.Data) <= stageAt {
		return value{data: r.Data, size: int64(len(r.Data))}, nil
	}
	var q QueueName
	err := b.view(ctx, storage.Reads{Jobs: []ID{id}}, func(rd storage.Reader) error {
		j, err := b.find(rd, id)
		if err == nil {
			q = j.Queue
			_, err = mayEnd(j, t, to)
		}
		return err
	})
	if err != nil {
		return value{}, err
	}
	body := r.Body
	if body == nil {
		body = bytes.NewReader(r.Data)
	}
	return b.readValue(ctx, q, body, b.opts.MaxResult, "result", value{})
}

// settled checks that the token may end the job, and has it ended. It reports whether it had been already by the same call.
func (s *step) settled(b *Broker, id ID, t Token, to State, end func(*storage.Job) (*storage.Job, error)) (*storage.Job, bool, error) {
	j, err := s.load(b, id)
	if err != nil {
		return nil, false, err
	}
	repeated, err := mayEnd(j, t, to)
	if err != nil || repeated {
		return j, repeated, err
	}
	j, err = end(j)
	return j, false, err
}

// load returns a job as of now, which the broker may know of.
func (s *step) load(b *Broker, id ID) (*storage.Job, error) {
	j, err := b.find(s.tx, id)
	if err != nil {
		return nil, err
	}
	return s.advance(j)
}
