package drive

import (
	"context"
	"errors"

	"github.com/pollackq/pollack/internal/torture/model"
	"github.com/pollackq/pollack/jobqueue"
)

// A Caller does calls.
type Caller interface {
	Do(ctx context.Context, op *model.Op) model.Answer
}

// A Broker calls a queue of a broker in this process.
type Broker struct {
	B *jobqueue.Broker
	Q *jobqueue.Queue
}

// Do does a call and returns the answer in the model's form.
func (b Broker) Do(ctx context.Context, op *model.Op) (a model.Answer) {
	var err error
	switch op.Kind {
	case model.Enqueue:
		err = b.enqueue(ctx, op, &a)
	case model.Receive:
		var ds []*jobqueue.Delivery
		ds, err = b.Q.ReceiveMany(ctx, op.Max, receiveOptions(op))
		a.Deliveries = deliveries(ds)
	case model.AckReceive:
		var rs []jobqueue.AckResult
		var ds []*jobqueue.Delivery
		rs, ds, err = b.Q.AckReceive(ctx, op.Acks, op.Max, receiveOptions(op))
		a.Acks, a.Deliveries = acks(rs), deliveries(ds)
	case model.AckMany:
		var rs []jobqueue.AckResult
		rs, err = b.B.AckMany(ctx, op.Acks)
		a.Acks = acks(rs)
	case model.Ack:
		err = outcome(&a)(b.B.Ack(ctx, op.ID, op.Token))
	default:
		err = b.rest(ctx, op, &a)
	}
	a.Err = errorName(err)
	return a
}

func (b Broker) enqueue(ctx context.Context, op *model.Op, a *model.Answer) error {
	jobs := make([]jobqueue.NewJob, len(op.New))
	for i, n := range op.New {
		jobs[i] = jobqueue.NewJob{
			Payload: []byte(n.Payload()), Key: n.Key, Priority: n.Priority, Delay: n.Delay, Deadline: At(n.Deadline), Once: n.Once,
			Limits: jobqueue.Limits{MaxDeliveries: n.MaxDeliveries},
		}
	}
	var added []*jobqueue.Job
	var err error
	if len(jobs) == 1 {
		added = make([]*jobqueue.Job, 1)
		added[0], err = b.Q.Enqueue(ctx, jobs[0])
	} else {
		added, err = b.Q.EnqueueMany(ctx, jobs)
	}
	if err != nil {
		return err
	}
	for _, j := range added {
		a.Jobs = append(a.Jobs, told(j))
		a.Replayed = append(a.Replayed, j.Replayed)
	}
	return nil
}

func (b Broker) rest(ctx context.Context, op *model.Op, a *model.Answer) error {
	switch op.Kind {
	case model.Complete:
		return outcome(a)(b.B.Complete(ctx, op.ID, op.Token, jobqueue.NewResult{ContentType: "application/json", Data: []byte(op.Text)}))
	case model.Fail:
		return outcome(a)(b.B.Fail(ctx, op.ID, op.Token, jobqueue.Failure{Code: op.Text, Message: "it did"}))
	case model.Release:
		return job(a)(b.B.Release(ctx, op.ID, op.Token, &jobqueue.ReleaseOptions{Delay: op.For, Uncounted: op.Uncounted}))
	case model.Extend:
		return job(a)(b.B.Extend(ctx, op.ID, op.Token, op.For))
	case model.Progress:
		return job(a)(b.B.Progress(ctx, op.ID, op.Token, jobqueue.Progress{Fraction: op.Fraction, Message: op.Text}))
	case model.Cancel:
		return job(a)(b.B.Cancel(ctx, op.ID))
	case model.Redrive:
		return job(a)(b.B.Redrive(ctx, op.ID))
	case model.Status:
		return job(a)(b.B.Job(ctx, op.ID))
	case model.ByKey:
		return job(a)(b.B.JobByKey(ctx, b.Q.Name(), op.Key))
	case model.List:
		return b.list(ctx, op, a)
	case model.Info:
		i, err := b.Q.Info(ctx)
		if err == nil {
			a.Info = toldQueue(i)
		}
		return err
	case model.Configure:
		i, _, err := b.Q.Configure(ctx, Settings(op.Settings))
		if err == nil {
			a.Info = toldQueue(i)
		}
		return err
	case model.Purge:
		n, err := b.Q.Purge(ctx)
		a.N = n
		return err
	case model.Close:
		return b.Q.Close(ctx)
	case model.Delete:
		return b.Q.Delete(ctx)
	}
	panic("drive: no such call: " + string(op.Kind))
}

// states are in the order in which the model counts them.
var states = [...]jobqueue.State{jobqueue.Scheduled, jobqueue.Pending, jobqueue.Running, jobqueue.Succeeded, jobqueue.Failed, jobqueue.Canceled}

// Pages is the text of the error of a List that came in several pages, which are no one moment.
const Pages = "several pages"

var errPages = errors.New(Pages)

func (b Broker) list(ctx context.Context, op *model.Op, a *model.Answer) error {
	jobs, next, err := b.Q.Jobs(ctx, jobqueue.ListOptions{State: op.State, Limit: jobqueue.MaxBatch})
	if err == nil && next != (jobqueue.ID{}) {
		err = errPages
	}
	if err != nil {
		return err
	}
	for _, j := range jobs {
		a.Jobs = append(a.Jobs, told(j))
	}
	return nil
}

func receiveOptions(op *model.Op) *jobqueue.ReceiveOptions {
	return &jobqueue.ReceiveOptions{Wait: op.Wait, Lease: op.For}
}

// outcome and job note what a call returned of one job.
func outcome(a *model.Answer) func(jobqueue.Outcome, error) error {
	return func(o jobqueue.Outcome, err error) error {
		a.Repeated = o.Repeated
		return job(a)(o.Job, err)
	}
}

func job(a *model.Answer) func(*jobqueue.Job, error) error {
	return func(j *jobqueue.Job, err error) error {
		if err == nil {
			a.Jobs = []model.Told{told(j)}
		}
		return err
	}
}

func acks(rs []jobqueue.AckResult) []model.AckAnswer {
	var out []model.AckAnswer
	for _, r := range rs {
		out = append(out, model.AckAnswer{Err: errorName(r.Err), Repeated: r.Repeated})
	}
	return out
}

func deliveries(ds []*jobqueue.Delivery) []model.Delivery {
	var out []model.Delivery
	for _, d := range ds {
		p, ok := d.Inline()
		if !ok {
			p = []byte("did not come along")
		}
		out = append(out, model.Delivery{Told: told(d.Job), Token: d.Token, Payload: string(p)})
	}
	return out
}

// Settings returns the model's settings as a broker takes them.
func Settings(s model.Settings) jobqueue.Settings {
	return jobqueue.Settings{
		Limits:  jobqueue.Limits{Lease: s.Lease, MaxDeliveries: s.MaxDeliveries, Retention: s.Retention, Tombstone: s.Tombstone},
		Backlog: s.Backlog,
	}
}

func toldQueue(i *jobqueue.QueueInfo) model.ToldQueue {
	t := model.ToldQueue{Next: i.Next, Closed: !i.Closed.IsZero(), Oldest: i.Oldest}
	for n, s := range states {
		t.Counts[n] = int(i.Counts[s])
	}
	return t
}

// told returns what is said of a job. Of a tombstone only its name counts.
func told(j *jobqueue.Job) model.Told {
	t := model.Told{
		ID: j.ID, State: j.State, Position: j.Position, Priority: j.Priority, Key: j.Key, Created: Since(j.Created), Progress: -1, Version: j.Version,
	}
	if j.State == jobqueue.Gone {
		return t
	}
	t.Deliveries, t.Lapses, t.Message, t.PayloadGone = j.Deliveries, j.Lapses, j.ProgressMessage, j.PayloadGone
	t.RunAt, t.Deadline, t.Started, t.Expires = Since(j.RunAt), Since(j.Deadline), Since(j.Started), Since(j.LeaseExpires)
	t.Finished, t.Kept = Since(j.Finished), Since(j.Expires)
	if j.Progress != nil {
		t.Progress = *j.Progress
	}
	if j.Failure != nil {
		t.Failure = j.Failure.Code
	}
	if j.Result != nil {
		t.Result = string(j.Result.Data)
	}
	return t
}

// errorName returns the model's name of an error.
func errorName(err error) string {
	var lost *jobqueue.LeaseLostError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &lost):
		return model.LeaseLost + string(lost.Reason)
	}
	for _, e := range []struct {
		err  error
		name string
	}{
		{jobqueue.ErrNotFound, model.NotFound}, {jobqueue.ErrGone, model.Gone}, {jobqueue.ErrEmpty, model.Empty}, {jobqueue.ErrDone, model.Done},
		{jobqueue.ErrQueueClosed, model.QueueClosed}, {jobqueue.ErrNotDelivered, model.NotDelivered}, {jobqueue.ErrWrongState, model.WrongState},
		{jobqueue.ErrKeyReused, model.KeyReused}, {jobqueue.ErrBacklogFull, model.BacklogFull}, {jobqueue.ErrInvalid, model.Invalid},
		{jobqueue.ErrOutcomeUnknown, model.Unknown},
	} {
		if errors.Is(err, e.err) {
			return e.name
		}
	}
	return model.Nothing + err.Error()
}
