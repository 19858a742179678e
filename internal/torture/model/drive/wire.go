package drive

import (
	"context"
	"errors"
	"net/http"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/httpapi/client"
	"github.com/pollackq/pollack/internal/pipenet"
	"github.com/pollackq/pollack/internal/torture/model"
	"github.com/pollackq/pollack/jobqueue"
)

// A Server serves a broker over HTTP, on connections inside the process.
type Server struct {
	Client *client.Client
	http   *http.Server
	h      *httpapi.Handler
	over   chan struct{}
}

// Serve serves a broker until Close. The client tries everything once: what came of a call is what came of one request.
func Serve(b *jobqueue.Broker) (*Server, error) {
	h, err := httpapi.New(b, &httpapi.Options{AllowAnonymous: true})
	if err != nil {
		return nil, err
	}
	l := pipenet.Listen()
	s := &Server{h: h, http: &http.Server{Handler: h}, over: make(chan struct{})}
	over := l.Client()
	over.Transport.(*http.Transport).MaxIdleConnsPerHost = 64
	if s.Client, err = client.New("http://queue.example", &client.Options{HTTPClient: over, Retries: -1}); err != nil {
		return nil, err
	}
	go func() {
		defer close(s.over)
		_ = s.http.Serve(l) // it always ends with an error: that it was closed
	}()
	return s, nil
}

// Close ends the server.
func (s *Server) Close() {
	s.h.Drain()
	s.Client.CloseIdle()
	s.http.Close()
	<-s.over
}

// A Wire calls a queue over HTTP. It does no List, ByKey or EnqueueMany, and no receive of it waits.
type Wire struct {
	C     *client.Client
	Queue string
}

// Do does a call and returns the answer in the model's form.
func (w Wire) Do(ctx context.Context, op *model.Op) model.Answer {
	a := model.Answer{Wire: true}
	id, token := op.ID.String(), op.Token.String()
	var err error
	switch op.Kind {
	case model.Enqueue:
		n := op.New[0]
		j, e := w.C.Submit(ctx, w.Queue, client.NewJob{Payload: []byte(n.Payload()), Key: n.Key, Priority: n.Priority, Delay: n.Delay, Deadline: At(n.Deadline)})
		if err = wireJob(&a)(j, e); err == nil {
			a.Replayed = []bool{j.Replayed}
		}
	case model.Receive:
		a.Deliveries, err = wireDeliveries(w.C.Poll(ctx, w.Queue, pollOptions(op)))
	case model.AckReceive:
		err = w.ackReceive(ctx, op, &a)
	case model.AckMany:
		var rs []client.AckResult
		rs, err = w.C.AckMany(ctx, wireAcks(op))
		a.Acks = ackAnswers(rs)
	case model.Ack:
		err = wireOutcome(&a)(w.C.Ack(ctx, id, token))
	case model.Complete:
		err = wireOutcome(&a)(w.C.CompleteWith(ctx, id, token, client.NewResult{ContentType: "application/json", Data: []byte(op.Text)}))
	case model.Fail:
		err = wireOutcome(&a)(w.C.Fail(ctx, id, token, client.Failure{Code: op.Text, Message: "it did"}))
	case model.Release:
		err = wireJob(&a)(w.C.Release(ctx, id, token, &client.ReleaseOptions{Delay: op.For, Uncounted: op.Uncounted}))
	case model.Extend:
		err = wireJob(&a)(w.C.Extend(ctx, id, token, op.For))
	case model.Progress:
		err = wireJob(&a)(w.C.Progress(ctx, id, token, op.Fraction, op.Text))
	case model.Cancel:
		err = wireJob(&a)(w.C.Cancel(ctx, id))
	case model.Redrive:
		err = wireJob(&a)(w.C.Redrive(ctx, id))
	case model.Status:
		err = wireJob(&a)(w.C.Job(ctx, id))
	case model.Info:
		var q *client.Queue
		if q, err = w.C.Queue(ctx, w.Queue); err == nil {
			c := q.Counts
			a.Info = model.ToldQueue{Counts: [6]int{c.Scheduled, c.Pending, c.Running, c.Succeeded, c.Failed, c.Canceled}, Next: q.Next, Closed: q.Closed, Oldest: q.Oldest}
		}
	case model.Purge:
		a.N, err = w.C.Purge(ctx, w.Queue)
	case model.Close:
		err = w.C.Close(ctx, w.Queue)
	default:
		panic("drive: no such call over HTTP: " + string(op.Kind))
	}
	a.Err = wireErrorName(err)
	return a
}

func (w Wire) ackReceive(ctx context.Context, op *model.Op, a *model.Answer) error {
	rs, ds, err := w.C.AckReceive(ctx, w.Queue, wireAcks(op), pollOptions(op))
	a.Acks = ackAnswers(rs)
	if err == nil || len(ds) > 0 {
		a.Deliveries, err = wireDeliveries(ds, err)
	}
	return err
}

func pollOptions(op *model.Op) *client.PollOptions {
	return &client.PollOptions{Wait: -1, Max: op.Max, Lease: op.For}
}

func wireAcks(op *model.Op) []client.Ack {
	out := make([]client.Ack, len(op.Acks))
	for i, a := range op.Acks {
		out[i] = client.Ack{ID: a.ID.String(), Token: a.Token.String()}
	}
	return out
}

func ackAnswers(rs []client.AckResult) []model.AckAnswer {
	var out []model.AckAnswer
	for _, r := range rs {
		out = append(out, model.AckAnswer{Err: wireErrorName(r.Err), Repeated: r.Outcome == client.AlreadyAcked})
	}
	return out
}

func wireOutcome(a *model.Answer) func(client.Outcome, error) error {
	return func(o client.Outcome, err error) error {
		a.Repeated = o == client.AlreadyAcked
		return err
	}
}

func wireJob(a *model.Answer) func(*client.Job, error) error {
	return func(j *client.Job, err error) error {
		if err != nil {
			return err
		}
		t, err := wireTold(j)
		a.Jobs = []model.Told{t}
		return err
	}
}

func wireDeliveries(ds []*client.Delivery, err error) ([]model.Delivery, error) {
	if err != nil {
		return nil, err
	}
	var out []model.Delivery
	for _, d := range ds {
		t, err := wireTold(d.Job)
		if err != nil {
			return nil, err
		}
		t.Expires = Since(d.LeaseExpires)
		token, err := jobqueue.ParseToken(d.LeaseToken)
		if err != nil {
			return nil, err
		}
		p, ok := d.Inline()
		if !ok {
			p = []byte("did not come along")
		}
		out = append(out, model.Delivery{Told: t, Token: token, Payload: string(p)})
	}
	return out, nil
}

func wireTold(j *client.Job) (model.Told, error) {
	id, err := jobqueue.ParseID(j.ID)
	t := model.Told{
		ID: id, Position: j.Position, Priority: j.Priority, Deliveries: j.Deliveries, Lapses: j.Lapses, Progress: -1, Message: j.ProgressMessage,
		Result: string(j.Result), Created: Since(j.Created), RunAt: Since(j.RunAt), Started: Since(j.Started), Finished: Since(j.Finished),
		Kept: Since(j.Expires), Version: j.Version,
	}
	for _, s := range states {
		if s.String() == string(j.State) {
			t.State = s
		}
	}
	if j.Progress != nil {
		t.Progress = *j.Progress
	}
	if j.Failure != nil {
		t.Failure = j.Failure.Code
	}
	return t, err
}

// wireErrorName returns the model's name of an error. A request that got no answer may have been done.
func wireErrorName(err error) string {
	var e *client.Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e) && e.Code == "lease_lost":
		return model.LeaseLost + e.Reason
	}
	for _, n := range []struct {
		err  error
		name string
	}{
		{client.ErrNotFound, model.NotFound}, {client.ErrGone, model.Gone}, {client.ErrEmpty, model.Empty}, {client.ErrDone, model.Done},
		{client.ErrQueueClosed, model.QueueClosed}, {client.ErrNotDelivered, model.NotDelivered}, {client.ErrWrongState, model.WrongState},
		{client.ErrKeyReused, model.KeyReused}, {client.ErrBacklogFull, model.BacklogFull}, {client.ErrInvalid, model.Invalid},
		{client.ErrOutcomeUnknown, model.Unknown},
	} {
		if errors.Is(err, n.err) {
			return n.name
		}
	}
	if e != nil {
		return model.Nothing + err.Error()
	}
	return model.Unknown
}
