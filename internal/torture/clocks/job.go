package clocks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pollackq/pollack/jobqueue"
)

type state int

const (
	waiting state = iota // for a consumer
	delayed
	held     // delivered last; its lease may have lapsed since
	acked    // or completed, or failed, by us
	deadened // its deadline has passed
)

// longest is the longest retention, and the longest time of a tombstone.
const longest = 10 * year

// A job is what is known of one.
type job struct {
	number               int
	id                   jobqueue.ID
	state                state
	window, given        time.Duration // of each lease at first, and of the latest, which may have been extended
	retention, tombstone time.Duration
	runAt, deadline      time.Time
	token                jobqueue.Token   // the latest
	expires              time.Time        // its lease, while held
	old                  []jobqueue.Token // superseded or given back
	deliveries, lapses   int
	finished             time.Time
}

func (j *job) String() string { return fmt.Sprintf("job %d (%v)", j.number, j.id) }

func (j *job) live() bool { return j.state == waiting || j.state == delayed || j.state == held }

// next is when something is to happen to it next; the zero time is at once.
func (j *job) next() time.Time {
	switch j.state {
	case delayed:
		return j.runAt
	case held:
		return j.expires
	case acked:
		return j.finished.Add(j.retention)
	}
	return time.Time{}
}

// may reports whether the job may be delivered at a time.
func (l *life) may(j *job, at time.Time) bool {
	if !j.live() || !j.deadline.IsZero() && !j.deadline.After(at) {
		return false
	}
	return !j.next().After(at) || !j.next().After(l.latest) // the latter if the clock has been set back since
}

// receive has the next job delivered, and looks whether it may be.
func (l *life) receive(ctx context.Context, wait time.Duration) (*job, error) {
	before, err := l.now()
	if err != nil {
		return nil, err
	}
	d, err := l.queue().Receive(ctx, &jobqueue.ReceiveOptions{Wait: wait})
	if err != nil {
		return nil, err
	}
	after, err := l.now()
	if err != nil {
		return nil, err
	}
	l.delivered++
	j := l.byID[d.ID]
	if j == nil {
		return nil, fmt.Errorf("delivered job %v, which nobody enqueued", d.ID)
	}
	if err := l.wrote(d.Started, before, after); err != nil {
		return nil, fmt.Errorf("delivering %v: %w", j, err)
	}
	if !l.may(j, d.Started) {
		return nil, fmt.Errorf("%v was delivered at %v, before its time (state %d, next %v, deadline %v)", j, d.Started, j.state, j.next(), j.deadline)
	}
	if j.state == held {
		j.lapses++
		j.old = append(j.old, j.token)
	}
	j.deliveries++
	if d.Deliveries != j.deliveries || d.Lapses != j.lapses {
		return nil, fmt.Errorf("%v counts %d deliveries and %d lapses, want %d and %d", j, d.Deliveries, d.Lapses, j.deliveries, j.lapses)
	}
	for _, t := range j.old {
		if t == d.Token {
			return nil, fmt.Errorf("%v got a token for the second time", j)
		}
	}
	if want := d.Started.Add(j.window); !d.LeaseExpires.Equal(want) {
		return nil, fmt.Errorf("%v, delivered at %v for %v, has a lease until %v, want %v", j, d.Started, j.window, d.LeaseExpires, want)
	}
	j.state, j.token, j.expires, j.given = held, d.Token, d.LeaseExpires, j.window
	return j, nil
}

// look demands that a job is as it must be now.
func (l *life) look(ctx context.Context, j *job, now time.Time) error {
	switch {
	case j.live() && !j.deadline.IsZero() && !j.deadline.After(now):
		end, err := l.m.broker().WaitEnd(ctx, j.id)
		if err == nil && end.State != jobqueue.Failed || err != nil && !errors.Is(err, jobqueue.ErrGone) {
			return fmt.Errorf("%v: its deadline passed at %v, it is %v: got %v, %v, want it failed", j, j.deadline, now, end, err)
		}
		j.state = deadened
		return nil
	case j.live():
		got, err := l.m.broker().Job(ctx, j.id)
		if err != nil {
			return fmt.Errorf("%v is to be there: %w", j, err)
		}
		if got.State == jobqueue.Failed && !j.deadline.IsZero() && !j.deadline.After(l.latest) {
			j.state = deadened // before the clock was set back
			return nil
		}
		return l.lease(j, got, now)
	case j.state == acked:
		return l.ended(ctx, j)
	}
	return nil
}

// lease looks at what is left of a lease. What has run out may not have been taken away yet, unless somebody asks for it.
func (l *life) lease(j *job, got *jobqueue.Job, now time.Time) error {
	if j.state != held || !j.expires.After(l.latest) {
		return nil
	}
	if got.State != jobqueue.Running || !got.LeaseExpires.Equal(j.expires) {
		return fmt.Errorf("%v has a lease until %v, it is %v: got %v until %v", j, j.expires, now, got.State, got.LeaseExpires)
	}
	if left := j.expires.Sub(now); left > j.given && !l.trusted {
		return fmt.Errorf("%v was given %v, of which %v are left", j, j.given, left)
	}
	return nil
}

// ended looks whether an ended job is kept for its retention, and its name for the time of its tombstone.
func (l *life) ended(ctx context.Context, j *job) error {
	retired, forgotten := j.finished.Add(j.retention), j.finished.Add(j.retention+j.tombstone)
	for begun := time.Now(); ; time.Sleep(time.Millisecond) {
		before, err := l.now()
		if err != nil {
			return err
		}
		got, err := l.m.broker().Job(ctx, j.id)
		if _, err := l.now(); err != nil {
			return err
		}
		// What may have happened has if the clock was ever that late; what must have has if it was before the question.
		var as string
		var from, until time.Time
		switch {
		case err == nil && got.State.Ended():
			as, until = "kept", retired
		case errors.Is(err, jobqueue.ErrGone):
			as, from, until = "gone", retired, forgotten
		case errors.Is(err, jobqueue.ErrNotFound):
			as, from = "unknown", forgotten
		default:
			return fmt.Errorf("%v ended at %v: got %v, %v", j, j.finished, got, err)
		}
		early, late := from.After(l.latest), !until.IsZero() && !until.After(before)
		if !early && !late {
			return nil
		}
		if late && as == "gone" && time.Since(begun) < limit {
			continue // until the tombstone's time is up, too, somebody has to come by
		}
		return fmt.Errorf("%v ended at %v and is %s at %v; it is to be kept until %v, and gone until %v", j, j.finished, as, before, retired, forgotten)
	}
}
