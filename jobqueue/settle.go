package jobqueue

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"

	"github.com/pollackq/pollack/storage"
)

// A NewResult is what a job is completed with.
type NewResult struct {
	ContentType string    // at most MaxName bytes; of an Upload its own unless given
	Data        []byte    // at most Options.MaxResult bytes
	Body        io.Reader // the data instead, read to its end
	// Upload is what has been written already, instead of Data and Body: its content becomes the result, in the same transaction and
	// without being copied, which ends the upload. Only its ID is looked at.
	Upload *Upload
}

// An Outcome is what came of ending a job.
type Outcome struct {
	Job      *Job
	Repeated bool // the job had ended by the same call with the same token already; nothing was changed
}

// Ack ends a job well, without a result. It may come late: it is taken as long as the job has not been delivered again and has not
// ended. Ack, Complete and Fail, repeated with their token while the job's record exists, succeed and change nothing. Errors:
// ErrNotFound, ErrGone, ErrLeaseLost with its reason, ErrNotDelivered.
func (b *Broker) Ack(ctx context.Context, id ID, t Token) (Outcome, error) {
	return b.settle(ctx, settlement{id: id, token: t, to: Succeeded}, true)
}

// Complete ends a job well, with a result. Otherwise it is like Ack; a result over Options.MaxResult is ErrTooLarge. After an Ack it
// is ErrLeaseLost (JobSucceeded), since the result could not be kept; an Ack after a Complete repeats it. An Upload that is not there, or
// is not the broker's account's, is ErrNotFound, and ErrWrongState one that has not been written; a Complete that is repeated does not
// miss the upload that it has used.
func (b *Broker) Complete(ctx context.Context, id ID, t Token, r NewResult) (Outcome, error) {
	return b.settle(ctx, settlement{id: id, token: t, to: Succeeded, result: &r}, true)
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
	return b.settle(ctx, settlement{id: id, token: t, to: Failed, failure: f}, true)
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

// AckMany acks up to MaxBatch deliveries in one transaction, each by itself: the results are in the order of the acks, and the error
// of one does not touch the others. The error returned says that none was done.
func (b *Broker) AckMany(ctx context.Context, acks []Ack) ([]AckResult, error) {
	if err := checkAcks(acks); err != nil {
		return nil, err
	}
	var out []AckResult
	err := b.update(ctx, storage.Reads{Jobs: idsOf(acks), Ends: true}, func(s *step) (err error) {
		out, err = s.ackAll(b, acks)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// unreadable reports whether a job's record is damaged, so that nothing can have been done to it.
func (s *step) unreadable(b *Broker, id ID) bool {
	_, err := b.find(s.tx, id)
	return errors.Is(err, storage.ErrCorrupt)
}

func checkAcks(acks []Ack) error {
	if len(acks) == 0 || len(acks) > MaxBatch {
		return invalid("acks", "there are %d, from 1 to %d are allowed", len(acks), MaxBatch)
	}
	return nil
}

// ackAll acks each by itself.
func (s *step) ackAll(b *Broker, acks []Ack) ([]AckResult, error) {
	out := make([]AckResult, len(acks))
	for i, a := range acks {
		j, repeated, err := s.settle(b, &settlement{id: a.ID, token: a.Token, to: Succeeded})
		if err != nil && !own(err) && !s.unreadable(b, a.ID) {
			return nil, err
		}
		if err == nil {
			out[i].Outcome, err = s.outcome(j, repeated)
		}
		out[i].Err = fromStore(err)
	}
	return out, nil
}

func idsOf(acks []Ack) []ID {
	ids := make([]ID, len(acks))
	for i, a := range acks {
		ids[i] = a.ID
	}
	return ids
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

// A settlement is what the holder of a token wants a job to end as.
type settlement struct {
	id      ID
	token   Token
	to      State
	failure Failure
	result  *NewResult // nil for none
	value   *value     // the result, once it has been read
}

// A settling is one call of Ack, Complete or Fail.
type settling struct {
	settlement
	b       *Broker
	tells   bool // the caller wants to know what came of it
	out     Outcome
	adopted bool // the latest run has taken the result over
	ids     [1]ID
	runs    func(*step) error // run
}

// settlings saves what calls are done with.
var settlings = sync.Pool{New: func() any {
	w := new(settling)
	w.runs = w.run
	return w
}}

// settle ends a job. Whoever does not ask to be told gets no Outcome.
func (b *Broker) settle(ctx context.Context, m settlement, tells bool) (Outcome, error) {
	if err := ctx.Err(); err != nil {
		return Outcome{}, err
	}
	w := settlings.Get().(*settling)
	w.settlement, w.b, w.tells = m, b, tells
	w.ids[0] = m.id
	err := w.do(ctx)
	out := w.out
	*w = settling{runs: w.runs}
	settlings.Put(w)
	if err != nil {
		return Outcome{}, err
	}
	return out, nil
}

func (w *settling) do(ctx context.Context) error {
	if err := w.b.readResult(ctx, &w.settlement); err != nil {
		return err
	}
	err := w.b.update(ctx, w.reads(), w.runs)
	if w.value != nil && w.value.blob != (ID{}) && !(w.adopted && err == nil) && !errors.Is(err, ErrOutcomeUnknown) {
		w.b.unstage(ctx, w.value.blob, w.value.madeQueue)
	}
	return err
}

func (w *settling) reads() storage.Reads {
	r := storage.Reads{Jobs: w.ids[:], Ends: true}
	switch {
	case w.result == nil:
	case w.result.Upload != nil:
		r.Jobs = append(r.Jobs, w.result.Upload.ID)
	case w.value.blob != (ID{}):
		r.Jobs = append(r.Jobs, w.value.blob)
	}
	return r
}

// run is the transaction.
func (w *settling) run(s *step) error {
	j, repeated, err := s.settle(w.b, &w.settlement)
	w.adopted = err == nil && !repeated
	if err == nil && w.tells {
		w.out, err = s.outcome(j, repeated)
	}
	return err
}

// settle checks that the token may end the job, and ends it. It reports whether it had been already by the same call.
func (s *step) settle(b *Broker, m *settlement) (*storage.Job, bool, error) {
	j, err := s.load(b, m.id)
	if err != nil {
		return nil, false, err
	}
	repeated, err := mayEnd(j, m.token, m.to)
	if err == nil && repeated && m.result != nil {
		err = hasResult(s.tx, j)
	}
	if err != nil || repeated {
		return j, repeated, err
	}
	kept := beside{failure: m.failure}
	if m.result != nil {
		if j, kept, err = s.take(b, j, m); err != nil {
			return nil, false, err
		}
	}
	j, err = s.end(j, m.to, kept, true)
	return j, false, err
}

// take returns the job with the result that it is completed with, and what of that is kept beside it. The result's chunks, if it has any,
// are the job's own from then on.
func (s *step) take(b *Broker, j *storage.Job, m *settlement) (*storage.Job, beside, error) {
	st, kept := j.Status, beside{hasResult: true, contentType: m.result.ContentType}
	if m.result.Upload == nil {
		st.ResultSize, st.ResultBlob, kept.result = m.value.size, m.value.blob, bytes.Clone(m.value.data)
		return j.With(st), kept, s.adopt(m.value.blob)
	}
	u, small, err := s.useUpload(b, m.result.Upload.ID)
	if err != nil {
		return nil, beside{}, err
	}
	st.ResultSize, st.ResultBlob, kept.result = u.Size, u.Blob, small
	if kept.contentType == "" {
		kept.contentType = u.ContentType
	}
	return j.With(st), kept, nil
}

// outcome returns what the caller of a settlement gets: from the event if the job has just ended, since its record may be gone.
func (s *step) outcome(j *storage.Job, repeated bool) (Outcome, error) {
	for i := range s.events {
		if e := &s.events[i]; e.kind == ended && e.job.ID == j.ID && e.job.Version == j.Version {
			return Outcome{Job: jobOf(e.job, e.beside), Repeated: repeated}, nil
		}
	}
	kept, err := readBeside(s.tx, j)
	return Outcome{Job: jobOf(j, kept), Repeated: repeated}, err
}

// readResult reads the result of a Complete; a large one into a blob, before which it looks whether the job is there to be completed.
func (b *Broker) readResult(ctx context.Context, m *settlement) error {
	r := m.result
	if r == nil {
		return nil
	}
	if err := checkString("content_type", r.ContentType, MaxName); err != nil {
		return err
	}
	if r.Data != nil && r.Body != nil {
		return invalid("result", "there is a Body, too")
	}
	if r.Upload != nil {
		if r.Data != nil || r.Body != nil {
			return invalid("result", "there is an Upload, too")
		}
		return nil // it is looked for in the transaction: where the job ended so already it is gone
	}
	if int64(len(r.Data)) > b.opts.MaxResult {
		return tooLarge("result", b.opts.MaxResult)
	}
	if r.Body == nil && len(r.Data) <= stageAt {
		m.value = &value{data: r.Data, size: int64(len(r.Data))}
		return nil
	}
	var q QueueName
	wanted := func(rd storage.Reader) error {
		j, err := b.find(rd, m.id)
		if err == nil {
			q = j.Queue
			_, err = mayEnd(j, m.token, m.to)
		}
		return err
	}
	err := b.view(ctx, storage.Reads{Jobs: []ID{m.id}}, wanted)
	if err != nil {
		return err
	}
	body := r.Body
	if body == nil {
		body = bytes.NewReader(r.Data)
	}
	v, err := b.readValue(ctx, q, body, b.opts.MaxResult, "result", value{looks: []ID{m.id}, wanted: func(s *step) error { return wanted(s.tx) }})
	m.value = &v
	return err
}

// load returns a job as of now, which the broker may know of.
func (s *step) load(b *Broker, id ID) (*storage.Job, error) {
	j, err := b.find(s.tx, id)
	if err != nil {
		return nil, err
	}
	return s.advance(j)
}

// hasResult returns nil if a job that succeeded did so with a result: a Complete that comes after an Ack is no repetition of it, and
// would lose its result.
func hasResult(r storage.Reader, j *storage.Job) error {
	kept, err := readBeside(r, j)
	if err == nil && !kept.hasResult {
		err = &LeaseLostError{JobSucceeded}
	}
	return err
}
