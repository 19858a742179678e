package clocks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pollackq/pollack/jobqueue"
)

// act does something that producers and consumers do.
func (l *life) act(ctx context.Context) error {
	var mine []*job
	for _, j := range l.all {
		if j.state == held {
			mine = append(mine, j)
		}
	}
	what := l.rnd.IntN(100)
	if len(mine) == 0 || what < 40 {
		return l.enqueue(ctx)
	}
	j := mine[l.rnd.IntN(len(mine))]
	switch {
	case what < 60:
		return l.ack(ctx, j)
	case what < 75:
		return l.extend(ctx, j)
	case what < 90:
		return l.release(ctx, j)
	default:
		return l.superseded(ctx, j)
	}
}

// enqueue adds a job, and has it delivered if it need not wait.
func (l *life) enqueue(ctx context.Context) error {
	j := &job{
		number: len(l.all), window: between(l.rnd, time.Second, 12*time.Hour),
		retention: between(l.rnd, time.Second, longest), tombstone: between(l.rnd, time.Second, longest),
	}
	n := jobqueue.NewJob{Limits: jobqueue.Limits{Lease: j.window, Retention: j.retention, Tombstone: j.tombstone}}
	before, err := l.now()
	if err != nil {
		return err
	}
	if l.chance(40) {
		j.state, n.Delay = delayed, between(l.rnd, time.Second, 50*year)
	}
	if l.chance(15) {
		j.deadline = before.Add(between(l.rnd, 2*limit, 50*year))
		n.Deadline = j.deadline
	}
	got, err := l.queue().Enqueue(ctx, n)
	if err != nil {
		return err
	}
	after, err := l.now()
	if err != nil {
		return err
	}
	if err := l.wrote(got.Created, before, after); err != nil {
		return fmt.Errorf("enqueuing job %d: %w", j.number, err)
	}
	if want := got.Created.Add(n.Delay); j.state == delayed && !got.RunAt.Equal(want) {
		return fmt.Errorf("%v, enqueued at %v with a delay of %v, is to run at %v", j, got.Created, n.Delay, got.RunAt)
	}
	j.id, j.runAt = got.ID, got.RunAt
	l.all = append(l.all, j)
	l.byID[j.id] = j
	if j.state == waiting {
		_, err = l.receive(ctx, limit)
	}
	return err
}

// ack ends a job by its latest token, whether or not its lease has lapsed.
func (l *life) ack(ctx context.Context, j *job) error {
	out, err := l.m.broker().Ack(ctx, j.id, j.token)
	if gone, e := l.overdue(j, err, j.deadline); gone || e != nil {
		return e
	}
	if err != nil {
		return fmt.Errorf("%v: an ack by its latest token: %w", j, err)
	}
	j.state, j.finished = acked, out.Job.Finished
	out, err = l.m.broker().Ack(ctx, j.id, j.token)
	if now, e := l.now(); e != nil || !j.finished.Add(j.retention).After(now) {
		return e
	}
	if err != nil || !out.Repeated {
		return fmt.Errorf("%v: the same ack once more: got %+v, %v, want it repeated", j, out, err)
	}
	return nil
}

// ackLate acks a job whose lease has lapsed before anybody else has got it.
func (l *life) ackLate(ctx context.Context, j *job) error {
	l.lateAcks++
	return l.ack(ctx, j)
}

// extend and release need a lease that has not lapsed.
func (l *life) extend(ctx context.Context, j *job) error {
	before, err := l.now()
	if err != nil {
		return err
	}
	window := between(l.rnd, time.Second, 12*time.Hour)
	got, err := l.m.broker().Extend(ctx, j.id, j.token, window)
	if gone, e := l.overdue(j, err, j.expires); gone || e != nil {
		return e
	}
	if err != nil {
		return fmt.Errorf("%v: extending: %w", j, err)
	}
	after, err := l.now()
	if err != nil {
		return err
	}
	if err := l.wrote(got.LeaseExpires.Add(-window), before, after); err != nil {
		return fmt.Errorf("extending %v by %v: %w", j, window, err)
	}
	j.expires, j.given = got.LeaseExpires, window
	return nil
}

func (l *life) release(ctx context.Context, j *job) error {
	o := jobqueue.ReleaseOptions{}
	if l.chance(60) {
		o.Delay = between(l.rnd, time.Second, 50*year)
	}
	got, err := l.m.broker().Release(ctx, j.id, j.token, &o)
	if gone, e := l.overdue(j, err, j.expires); gone || e != nil {
		return e
	}
	if err != nil {
		return fmt.Errorf("%v: a release: %w", j, err)
	}
	j.old = append(j.old, j.token)
	if j.state = waiting; o.Delay > 0 {
		j.state, j.runAt = delayed, got.RunAt
		return nil
	}
	_, err = l.receive(ctx, limit)
	return err
}

// overdue reports whether a call was refused, or may have been, because a time has come meanwhile, or the deadline.
func (l *life) overdue(j *job, err error, at time.Time) (bool, error) {
	if !errors.Is(err, jobqueue.ErrLeaseLost) && !errors.Is(err, jobqueue.ErrGone) {
		return false, nil
	}
	if _, e := l.now(); e != nil {
		return false, e
	}
	if !j.deadline.IsZero() && !j.deadline.After(l.latest) {
		j.state = deadened
		return true, nil
	}
	return !at.IsZero() && !at.After(l.latest), nil
}

// superseded tries a token that is no longer good.
func (l *life) superseded(ctx context.Context, j *job) error {
	if len(j.old) == 0 {
		return nil
	}
	t := j.old[l.rnd.IntN(len(j.old))]
	if out, err := l.m.broker().Ack(ctx, j.id, t); !errors.Is(err, jobqueue.ErrLeaseLost) {
		return fmt.Errorf("%v: an ack by an old token: got %+v, %v, want it refused", j, out, err)
	}
	l.refused++
	return nil
}
