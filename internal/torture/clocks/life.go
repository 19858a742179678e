package clocks

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/pollackq/pollack/internal/torture/attack"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage"
)

// A life is what one machine goes through, with what is known of its jobs.
type life struct {
	r   *attack.Run
	rnd *rand.Rand
	m   machine

	all       []*job
	byID      map[jobqueue.ID]*job
	latest    time.Time // the latest time that the store's clock has shown: what is due then may have happened
	committed time.Time // the latest time of a commit since the clock last went back: without trust it goes back no further
	trusts    bool      // the wall clock is trusted now and then
	trusted   bool      // it has been while it was behind: leases may have more left than they were given

	delivered, lateAcks, refused int
}

func newLife(r *attack.Run, rnd *rand.Rand, m machine) *life {
	return &life{r: r, rnd: rnd, m: m, byID: make(map[jobqueue.ID]*job), trusts: rnd.IntN(2) == 0}
}

// queue is the only one of a life.
func (l *life) queue() *jobqueue.Queue { return l.m.broker().Queue("q") }

// now returns the store's time.
func (l *life) now() (now time.Time, err error) {
	err = l.m.store().View(context.Background(), storage.Reads{}, func(r storage.Reader) error {
		now = r.Now()
		return nil
	})
	if now.After(l.latest) {
		l.latest = now
	}
	return now, err
}

// chance is true so often, of 100.
func (l *life) chance(percent int) bool { return l.rnd.IntN(100) < percent }

// turn lets things happen, then the clock jump, and then looks at all that must have come of it.
func (l *life) turn() error {
	ctx, cancel := context.WithTimeout(context.Background(), 4*limit)
	defer cancel()
	for range 1 + l.rnd.IntN(5) {
		if err := l.act(ctx); err != nil {
			return err
		}
	}
	if err := l.glitch(); err != nil {
		return err
	}
	if err := l.jump(); err != nil {
		return err
	}
	return l.settle(ctx)
}

// glitch has the wall clock jump while the store is open, which must be as if nothing had happened.
func (l *life) glitch() error {
	before := time.Now()
	then, err := l.now()
	if err != nil {
		return err
	}
	l.m.glitch(l.somewhen(then))
	now, err := l.now()
	if took := time.Since(before); err == nil && (now.Before(then) || now.Sub(then) > took+time.Microsecond) {
		return fmt.Errorf("the wall clock jumped while the store was open: its clock went from %v to %v within %v", then, now, took)
	}
	l.r.Count("jumps of an open store's wall clock", 1)
	return err
}

// somewhen returns a time a second to fifty years away, in the years 1975 to 2200.
func (l *life) somewhen(from time.Time) time.Time {
	by := between(l.rnd, time.Second, 50*year)
	if to := from.Add(-by); l.chance(50) && to.Year() >= 1975 {
		return to
	}
	if to := from.Add(by); to.Year() <= 2200 {
		return to
	}
	return from.Add(time.Second)
}

// jump has the clock jump: anywhere, or to just before or after something is due.
func (l *life) jump() error {
	then, err := l.now()
	if err != nil {
		return err
	}
	to := l.somewhen(then)
	if l.chance(40) && len(l.all) > 0 {
		if next := l.all[l.rnd.IntN(len(l.all))].next(); next.After(then) {
			to = next.Add([]time.Duration{-time.Second, -time.Microsecond, 0, time.Microsecond, time.Second}[l.rnd.IntN(5)])
		}
	}
	trust := l.trusts && l.chance(40)
	if err := l.m.jump(to, trust); err != nil {
		return err
	}
	now, err := l.now()
	if err != nil {
		return err
	}
	switch {
	case l.m.exact():
		if to.Before(then) {
			to = then
		}
		if !now.Equal(to) {
			return fmt.Errorf("jumped from %v to %v: the store's clock shows %v", then, to, now)
		}
	case now.Before(to):
		return fmt.Errorf("the wall clock went to %v, the store's clock to %v", to, now)
	case now.Before(l.committed) && !trust:
		return fmt.Errorf("the wall clock went back to %v, and so did the store's, to %v, though there was a commit at %v", to, now, l.committed)
	case now.Before(l.committed):
		l.trusted, l.committed = true, now
	}
	return nil
}

// wrote takes the time that a transaction says it was at. A call may join a batch that began a little before it.
func (l *life) wrote(at, before, after time.Time) error {
	if at.After(l.committed) {
		l.committed = at
	}
	if at.Before(before.Add(-limit)) || at.After(after) {
		return fmt.Errorf("what was done between %v and %v says that it was at %v", before, after, at)
	}
	return nil
}

// settle looks at all jobs after a jump, and has all delivered that must be.
func (l *life) settle(ctx context.Context) error {
	now, err := l.now()
	if err != nil {
		return err
	}
	must := map[*job]bool{}
	for _, j := range l.all {
		if err := l.look(ctx, j, now); err != nil {
			return err
		}
		if !j.live() || !j.deadline.IsZero() && !j.deadline.After(l.latest) || j.next().After(now) {
			continue
		}
		if j.state == held && l.chance(30) {
			if err := l.ackLate(ctx, j); err != nil {
				return err
			}
			continue
		}
		must[j] = true
	}
	for len(must) > 0 {
		j, err := l.receive(ctx, limit)
		if errors.Is(err, jobqueue.ErrEmpty) {
			if err := l.stuck(must); err != nil {
				return err
			}
			break
		}
		if err != nil {
			return err
		}
		delete(must, j)
	}
	for { // nothing else is there, unless its time has come meanwhile
		if _, err := l.receive(ctx, -1); errors.Is(err, jobqueue.ErrEmpty) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// stuck returns an error if jobs should have been delivered that were not.
func (l *life) stuck(must map[*job]bool) error {
	now, err := l.now()
	for j := range must {
		if err == nil && (j.deadline.IsZero() || j.deadline.After(now)) {
			err = fmt.Errorf("%v was not delivered within %v though it was due at %v and it is %v", j, limit, j.next(), now)
		}
	}
	return err
}

// finish lets all happen that is still to come, and looks that nothing is left.
func (l *life) finish() error {
	ctx, cancel := context.WithTimeout(context.Background(), 4*limit)
	defer cancel()
	end := l.latest
	for _, j := range l.all {
		if next := j.next(); j.live() && next.After(end) {
			end = next
		}
	}
	if err := l.m.jump(end.Add(time.Second), true); err != nil {
		return err
	}
	if err := l.settle(ctx); err != nil {
		return err
	}
	for _, j := range l.all {
		if j.state == held {
			if err := l.ack(ctx, j); err != nil {
				return err
			}
		}
	}
	now, err := l.now()
	if err != nil {
		return err
	}
	if err := l.m.jump(now.Add(2*longest+time.Second), true); err != nil {
		return err
	}
	for begun := time.Now(); ; time.Sleep(time.Millisecond) {
		info, err := l.queue().Info(ctx)
		if errors.Is(err, jobqueue.ErrNotFound) && len(l.all) == 0 {
			return nil
		}
		if err != nil {
			return err
		}
		if info.Counts.Total() == 0 {
			break
		}
		if time.Since(begun) > limit {
			return fmt.Errorf("when all is over there are still %v", info.Counts)
		}
	}
	for _, j := range l.all {
		if got, err := l.m.broker().Job(ctx, j.id); !errors.Is(err, jobqueue.ErrNotFound) {
			return fmt.Errorf("when all is over: %v is %v, %v", j, got, err)
		}
	}
	return l.m.store().(storage.Checker).Check(ctx)
}
