package jobqueue_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/jobqueue"
)

func TestAnIdleBrokerDoesNothing(t *testing.T) {
	withRig(t, nil, func(r *rig) {
		r.enqueue("ends, and is kept")
		r.take().Ack(r.ctx)
		r.enqueue("held")
		d := r.take()
		d.Extend(r.ctx, jobqueue.MaxLease)
		r.add(jobqueue.NewJob{Delay: 48 * time.Hour})
		stop := r.consume(nil, func(context.Context, *jobqueue.Delivery) error { return nil })
		waiting := r.watch(r.ctx, r.b, d.ID, -1)
		go r.q.Idle(r.ctx)
		time.Sleep(jobqueue.DefaultLease) // the alarm that was set before the lease was extended rings for nothing
		synctest.Wait()
		before := r.mem.Stats()
		time.Sleep(11 * time.Hour)
		synctest.Wait()
		if after := r.mem.Stats(); after != before {
			t.Errorf("11 hours: got %+v, want %+v", after, before)
		}
		stop()
		d.Ack(r.ctx)
		seen(waiting)
	})
}

// What time does costs one transaction a moment, however many jobs it is done to.
func TestJobsThatAreDueTogetherAreMovedTogether(t *testing.T) {
	withRig(t, nil, func(r *rig) {
		const n = 200
		for range n {
			r.add(jobqueue.NewJob{Delay: time.Hour})
			time.Sleep(time.Microsecond)
		}
		if got := r.updates(func() { time.Sleep(time.Hour - n*time.Microsecond - 1) }); got != 0 {
			t.Errorf("before the first is due: %d transactions, want none", got)
		}
		jobs := r.updates(func() { time.Sleep(n * 2 * time.Microsecond) })
		if jobs > n+1 {
			t.Errorf("%d jobs took %d transactions", n, jobs)
		}
		ds, err := r.q.ReceiveMany(r.ctx, n, nil)
		if err != nil || len(ds) != n {
			t.Fatalf("got %d, %v; want %d", len(ds), err, n)
		}
		if got := r.updates(func() { time.Sleep(jobqueue.DefaultLease) }); got > 2 {
			t.Errorf("%d leases that lapse together took %d transactions", n, got)
		}
	})
}

func TestIdleReturnsWhenNothingUnfinishedIsLeft(t *testing.T) {
	withRig(t, nil, func(r *rig) {
		if err := r.q.Idle(r.ctx); err != nil {
			t.Errorf("a queue that does not exist: got %v, want nil", err)
		}
		r.enqueue("acked")
		r.enqueue("canceled")
		r.add(jobqueue.NewJob{Delay: time.Hour, Deadline: time.Now().Add(time.Minute)})
		idle := make(chan time.Time, 1)
		go func() {
			if err := r.q.Idle(r.ctx); err != nil {
				t.Error(err)
			}
			idle <- time.Now()
		}()
		busy := func(after string) {
			t.Helper()
			synctest.Wait()
			if len(idle) > 0 {
				t.Fatalf("idle after %s", after)
			}
		}
		busy("the enqueues")
		acked := r.take()
		busy("a delivery")
		acked.Ack(r.ctx)
		busy("the first end")
		canceled := r.take()
		canceled.Release(r.ctx, nil)
		busy("a release")
		r.b.Cancel(r.ctx, canceled.ID)
		busy("the second end")
		begun := time.Now()
		if at := <-idle; at.Sub(begun) != time.Minute {
			t.Errorf("idle after %v, want at the deadline of the last job, after a minute", at.Sub(begun))
		}
		ctx, cancel := context.WithTimeout(r.ctx, time.Second)
		defer cancel()
		r.enqueue("x")
		wants(t, "Idle whose context ends", r.q.Idle(ctx), context.DeadlineExceeded)
	})
}

func TestIdleWaitsForJobsOfOtherAccountsInItsQueueAlone(t *testing.T) {
	withRig(t, nil, func(r *rig) {
		r.b.In("alice").Queue("work").Enqueue(r.ctx, jobqueue.NewJob{})
		if err := r.q.Idle(r.ctx); err != nil {
			t.Errorf("another account's queue of that name keeps it: %v", err)
		}
		j := r.add(jobqueue.NewJob{Account: "alice"})
		ctx, cancel := context.WithTimeout(r.ctx, time.Second)
		defer cancel()
		wants(t, "alice's job in the house's queue", r.q.Idle(ctx), context.DeadlineExceeded)
		r.b.In("alice").Cancel(r.ctx, j.ID)
		if err := r.q.Idle(r.ctx); err != nil {
			t.Error(err)
		}
	})
}
