package jobqueue

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pollackq/pollack/storage"
)

// dueBatch is how many jobs the timeline moves in one transaction; retryDue how long it waits after one that failed, and at most after one that
// came to nothing since others were busy with what is due. They mostly are for a moment: so it begins with busyDue and doubles that.
const (
	dueBatch = 256
	retryDue = time.Second
	busyDue  = 20 * time.Millisecond
)

// A timeline does what time does to jobs: one goroutine, one alarm, set to the earliest Due of the store.
type timeline struct {
	c    *core
	fire chan struct{}   // holds one
	life context.Context // ends when the timeline is to stop
	end  context.CancelFunc
	done chan struct{}
	busy time.Duration // how long it has last waited for others, 0 if it has moved something since; for the goroutine alone

	mu    sync.Mutex   // guards what follows
	next  atomic.Int64 // when the alarm is set to, in microseconds since 1970; 0 if it is not
	unset func()       // stops the alarm
}

func newTimeline(c *core) *timeline {
	t := &timeline{c: c, fire: make(chan struct{}, 1), done: make(chan struct{}), unset: func() {}}
	t.life, t.end = context.WithCancel(context.Background())
	return t
}

// start begins with a look at the store. The goroutine ends with stop.
func (t *timeline) start() {
	t.look()
	go t.run()
}

// stop ends the goroutine and waits for it, until ctx ends.
func (t *timeline) stop(ctx context.Context) error {
	t.end()
	t.mu.Lock()
	t.unset()
	t.mu.Unlock()
	select {
	case <-t.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// look makes the timeline look at the store now.
func (t *timeline) look() {
	select {
	case t.fire <- struct{}{}:
	default:
	}
}

// at says that there is something to do at a time; now is the store's time of when that was found.
func (t *timeline) at(due, now time.Time) {
	if t.early(due) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.early(due) || t.life.Err() != nil {
		return // after stop nobody would unset the alarm
	}
	t.unset()
	t.next.Store(due.UnixMicro())
	if a, ok := storage.As[storage.Alarmer](t.c.store); ok {
		t.unset = a.Alarm(due, t.look)
		return
	}
	timer := time.AfterFunc(due.Sub(now), t.look)
	t.unset = func() { timer.Stop() }
}

// early reports whether the alarm will ring by then anyway.
func (t *timeline) early(due time.Time) bool {
	next := t.next.Load()
	return next != 0 && next <= due.UnixMicro()
}

func (t *timeline) run() {
	defer close(t.done)
	for {
		select {
		case <-t.fire:
			t.mu.Lock()
			t.unset()
			t.next.Store(0)
			t.mu.Unlock()
			t.work()
		case <-t.life.Done():
			return
		}
	}
}

// work moves all jobs that are due and sets the alarm to the next.
func (t *timeline) work() {
	bad := map[ID]error{} // jobs that cannot be moved, and why
	for {
		var now, next time.Time
		var found int
		var culprit ID
		var cause error
		err := t.c.run(t.life, storage.Reads{Due: dueBatch}, func(s *step) error {
			now = s.now
			jobs, err := s.tx.Due(s.now, dueBatch)
			if err != nil {
				return err
			}
			found, culprit, cause = len(jobs), ID{}, nil
			for _, j := range jobs {
				if why := bad[j.ID]; why != nil {
					err = t.putOff(s, j, why)
				} else if err = t.move(s, j); err != nil {
					culprit, cause = j.ID, err
				}
				if err != nil {
					return err
				}
			}
			next, err = s.tx.NextDue()
			return err
		})
		select {
		case <-t.life.Done():
			return
		default:
		}
		if err == nil && (found > 0 || next.IsZero() || next.After(now)) {
			t.busy = 0
		}
		switch {
		case t.c.over(err):
			return // for good: whoever opens the store again makes a new Broker
		case err != nil && cause != nil && bad[culprit] == nil && !passing(err):
			bad[culprit] = cause // nothing of this transaction has happened: once more, and put that one off
		case err != nil:
			t.c.log.Error("moving due jobs failed; will try again", "error", err)
			t.again(retryDue)
			return
		case next.IsZero():
			return
		case next.After(now):
			t.at(next.Add(t.c.lag()), now) // maybe another process set it
			return
		case found == 0: // others are busy with what is due
			t.busy = min(max(2*t.busy, busyDue), retryDue)
			t.again(t.busy)
			return
		}
	}
}

// move does to one job what time has done.
func (t *timeline) move(s *step, j *storage.Job) error {
	fresh, err := s.tx.Job(j.ID) // another of the batch may have changed it
	if err == nil {
		_, err = s.advance(fresh)
	}
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	return err
}

// putOff puts a job off for a minute that cannot be moved: it must not keep the others waiting.
func (t *timeline) putOff(s *step, j *storage.Job, why error) error {
	t.c.log.Error("a due job cannot be moved; will try again in a minute", "job", j.ID, "queue", j.Queue, "error", why)
	st := j.Status
	st.Due = s.now.Add(time.Minute)
	if err := s.set(j.With(st)); err != nil && !errors.Is(err, storage.ErrCorrupt) && !errors.Is(err, storage.ErrNotFound) {
		return err
	}
	return nil
}

// passing reports whether an error is the store's, and no job's fault.
func passing(err error) bool {
	return errors.Is(err, ErrOutcomeUnknown) || errors.Is(err, ErrStoreFull) || errors.Is(err, ErrBusy) || errors.Is(err, context.Canceled)
}

// again looks once more after a while of real time. Until then no alarm is set that would take its place: nothing is as overdue.
func (t *timeline) again(after time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.life.Err() != nil {
		return
	}
	t.unset()
	timer := time.AfterFunc(after, t.look)
	t.unset = func() { timer.Stop() }
	t.next.Store(1) // microsecond after 1970
}
