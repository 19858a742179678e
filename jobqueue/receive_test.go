package jobqueue_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/jobqueue"
)

// Each case puts a job out of reach, lets a receiver wait, and says what brings the job within reach and when the answer is due.
func TestReceiveIsAnsweredInTheMomentAJobIsThere(t *testing.T) {
	held := func(r *rig) (jobqueue.ID, *jobqueue.Delivery) {
		j := r.enqueue("x")
		return j.ID, r.take()
	}
	for _, c := range []struct {
		name  string
		setup func(r *rig) (id jobqueue.ID, event func())
		after time.Duration // the event; 0: at once
	}{
		{"released", func(r *rig) (jobqueue.ID, func()) {
			id, d := held(r)
			return id, func() { d.Release(r.ctx, nil) }
		}, 0},
		{"released with a delay", func(r *rig) (jobqueue.ID, func()) {
			id, d := held(r)
			return id, func() { d.Release(r.ctx, &jobqueue.ReleaseOptions{Delay: 90 * time.Second}) }
		}, 90 * time.Second},
		{"lapsed", func(r *rig) (jobqueue.ID, func()) {
			id, _ := held(r)
			return id, func() {}
		}, jobqueue.DefaultLease},
		{"lapsed after an extension", func(r *rig) (jobqueue.ID, func()) {
			id, d := held(r)
			return id, func() { d.Extend(r.ctx, time.Hour) }
		}, time.Hour},
		{"lapsed early, the lease having been shortened", func(r *rig) (jobqueue.ID, func()) {
			id, d := held(r)
			return id, func() { d.Extend(r.ctx, time.Second) }
		}, time.Second},
		{"delayed", func(r *rig) (jobqueue.ID, func()) {
			return r.add(jobqueue.NewJob{Delay: time.Hour}).ID, func() {}
		}, time.Hour},
		{"run at a time", func(r *rig) (jobqueue.ID, func()) {
			return r.add(jobqueue.NewJob{RunAt: time.Now().Add(time.Minute)}).ID, func() {}
		}, time.Minute},
		{"failed, then redriven", func(r *rig) (jobqueue.ID, func()) {
			id, d := held(r)
			d.Fail(r.ctx, "broken", "")
			return id, func() { r.b.Redrive(r.ctx, id) }
		}, 0},
		{"canceled, then redriven", func(r *rig) (jobqueue.ID, func()) {
			id, _ := held(r)
			r.b.Cancel(r.ctx, id)
			return id, func() { r.b.Redrive(r.ctx, id) }
		}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			withRig(t, nil, func(r *rig) {
				id, event := c.setup(r)
				waiting := r.park(r.ctx, nil)
				r.silent(waiting)
				begun := time.Now()
				event()
				if c.after > 0 {
					time.Sleep(c.after - time.Microsecond)
					r.silent(waiting)
					time.Sleep(time.Microsecond)
				}
				a := r.answer(waiting)
				if a.err != nil || a.d.ID != id || a.at.Sub(begun) != c.after {
					t.Errorf("got %v, %v after %v; want %v after %v", a.d, a.err, a.at.Sub(begun), id, c.after)
				}
			})
		})
	}
}

func TestReceiveIsAnsweredByAnEnqueue(t *testing.T) {
	withRig(t, nil, func(r *rig) {
		waiting := r.park(r.ctx, nil) // on a queue that does not exist yet
		j := r.enqueue("hello")
		d := r.got(waiting, j.ID)
		if p, ok := d.Inline(); !ok || string(p) != "hello" {
			t.Errorf("payload: got %q, %v; want hello", p, ok)
		}
		if d.Deliveries != 1 || d.State != jobqueue.Running || d.Token == (jobqueue.Token{}) {
			t.Errorf("got deliveries %d, state %v, token %v", d.Deliveries, d.State, d.Token)
		}
		if err := d.Ack(r.ctx); err != nil {
			t.Errorf("Ack: %v", err)
		}
	})
}

func TestAReceiveThatWaitsInAnUnknownQueueStoresNothing(t *testing.T) {
	withRig(t, nil, func(r *rig) {
		_, err := r.q.Receive(r.ctx, &jobqueue.ReceiveOptions{Wait: time.Hour})
		wants(t, "Receive", err, jobqueue.ErrEmpty)
		_, err = r.q.Info(r.ctx)
		wants(t, "Info", err, jobqueue.ErrNotFound)
	})
	withRig(t, &jobqueue.Options{ExplicitQueues: true}, func(r *rig) {
		_, err := r.q.Receive(r.ctx, nil)
		wants(t, "Receive with explicit queues", err, jobqueue.ErrNotFound)
	})
}

func TestWaitEndsWithErrEmptyAtExactlyItsTime(t *testing.T) {
	withRig(t, nil, func(r *rig) {
		for _, wait := range []time.Duration{time.Microsecond, time.Second, 30 * time.Second, 24 * time.Hour} {
			begun := time.Now()
			_, err := r.q.Receive(r.ctx, &jobqueue.ReceiveOptions{Wait: wait})
			if got := time.Since(begun); err != jobqueue.ErrEmpty || got != wait {
				t.Errorf("wait %v: got %v after %v", wait, err, got)
			}
		}
		for _, wait := range []time.Duration{-1, -time.Hour} {
			_, err := r.q.Receive(r.ctx, &jobqueue.ReceiveOptions{Wait: wait})
			wants(t, "without a wait", err, jobqueue.ErrEmpty)
		}
	})
}

func TestReceiveReturnsTheErrorOfItsContext(t *testing.T) {
	withRig(t, nil, func(r *rig) {
		ctx, cancel := context.WithCancel(r.ctx)
		waiting := r.park(ctx, &jobqueue.ReceiveOptions{Wait: time.Hour})
		cancel()
		if a := r.answer(waiting); a.err != context.Canceled {
			t.Errorf("canceled: got %v", a.err)
		}
		ctx, cancel = context.WithTimeout(r.ctx, time.Minute)
		defer cancel()
		begun := time.Now()
		if _, err := r.q.Receive(ctx, &jobqueue.ReceiveOptions{Wait: time.Hour}); err != context.DeadlineExceeded || time.Since(begun) != time.Minute {
			t.Errorf("deadline: got %v after %v", err, time.Since(begun))
		}
	})
}

func TestADeadContextNeverLeases(t *testing.T) {
	withRig(t, nil, func(r *rig) {
		j := r.enqueue("x")
		ctx, cancel := context.WithCancel(r.ctx)
		cancel()
		for name, receive := range map[string]func() error{
			"Receive":     func() error { _, err := r.q.Receive(ctx, nil); return err },
			"TryReceive":  func() error { _, err := r.q.TryReceive(ctx, nil); return err },
			"ReceiveMany": func() error { _, err := r.q.ReceiveMany(ctx, 9, nil); return err },
		} {
			if err := receive(); err != context.Canceled {
				t.Errorf("%s: got %v, want %v", name, err, context.Canceled)
			}
		}
		if got := r.job(j.ID); got.State != jobqueue.Pending || got.Deliveries != 0 || got.Version != j.Version {
			t.Errorf("the job: got %v with %d deliveries", got.State, got.Deliveries)
		}
	})
}

// The context ends while the store commits the lease: too late to take it back, so it is given back.
func TestAReceiveWhoseContextEndsDuringTheCommitGivesTheJobBackUncounted(t *testing.T) {
	withRig(t, nil, func(r *rig) {
		j := r.enqueue("x")
		ctx, cancel := context.WithCancel(r.ctx)
		r.store.onCommit(cancel)
		_, err := r.q.Receive(ctx, nil)
		wants(t, "Receive", err, context.Canceled)
		if got := r.job(j.ID); got.State != jobqueue.Pending || got.Deliveries != 0 {
			t.Errorf("the job: got %v with %d deliveries; want pending, 0", got.State, got.Deliveries)
		}
	})
}

func TestReceiveManyTakesWhatIsThereAndWaitsOnlyForTheFirst(t *testing.T) {
	withRig(t, nil, func(r *rig) {
		var ids []jobqueue.ID
		for range 5 {
			ids = append(ids, r.enqueue("x").ID)
		}
		n := r.updates(func() {
			ds, err := r.q.ReceiveMany(r.ctx, 3, nil)
			if err != nil || len(ds) != 3 || ds[0].ID != ids[0] || ds[1].ID != ids[1] || ds[2].ID != ids[2] {
				t.Errorf("first: got %v, %v; want the first three", ds, err)
			}
		})
		if n != 1 {
			t.Errorf("three jobs took %d transactions, want 1", n)
		}
		if ds, err := r.q.ReceiveMany(r.ctx, 3, nil); err != nil || len(ds) != 2 || ds[0].Token == ds[1].Token {
			t.Errorf("second: got %v, %v; want the other two, each with its token", ds, err)
		}
		begun := time.Now()
		time.AfterFunc(time.Minute, func() { r.q.EnqueueMany(r.ctx, make([]jobqueue.NewJob, 2)) })
		if ds, err := r.q.ReceiveMany(r.ctx, 3, nil); err != nil || len(ds) < 1 || time.Since(begun) != time.Minute {
			t.Errorf("waiting: got %v, %v after %v", ds, err, time.Since(begun))
		}
	})
}

func TestReceiveRefusesWhatIsOutOfBounds(t *testing.T) {
	withRig(t, nil, func(r *rig) {
		r.enqueue("x")
		for _, max := range []int{-1, 0, jobqueue.MaxBatch + 1} {
			_, err := r.q.ReceiveMany(r.ctx, max, nil)
			wants(t, "max", err, jobqueue.ErrInvalid)
		}
		for _, lease := range []time.Duration{-1, 1, jobqueue.MinLease - 1, jobqueue.MaxLease + 1} {
			_, err := r.q.Receive(r.ctx, &jobqueue.ReceiveOptions{Lease: lease})
			wants(t, "lease", err, jobqueue.ErrInvalid)
		}
		for _, name := range []string{"", "a\x00b", "\xff", string(make([]byte, 300))} {
			_, err := r.b.Queue(name).Receive(r.ctx, nil)
			wants(t, "queue", err, jobqueue.ErrInvalid)
		}
		if d := r.take(); d.Deliveries != 1 {
			t.Errorf("deliveries: got %d, want 1", d.Deliveries)
		}
	})
}

func TestTheWindowIsTheReceiversElseTheJobsElseTheQueuesElseTheBrokers(t *testing.T) {
	withRig(t, &jobqueue.Options{Lease: time.Minute}, func(r *rig) {
		window := func(j jobqueue.NewJob, o *jobqueue.ReceiveOptions, handed bool) time.Duration {
			var d *jobqueue.Delivery
			if handed {
				waiting := r.park(r.ctx, o)
				d = r.got(waiting, r.add(j).ID)
			} else {
				r.add(j)
				var err error
				if d, err = r.q.TryReceive(r.ctx, o); err != nil {
					t.Fatal(err)
				}
			}
			defer d.Ack(r.ctx)
			return d.LeaseExpires.Sub(d.Started)
		}
		own := jobqueue.NewJob{Limits: jobqueue.Limits{Lease: 3 * time.Minute}}
		for _, handed := range []bool{false, true} {
			if _, _, err := r.q.Configure(r.ctx, jobqueue.Settings{}); err != nil {
				t.Fatal(err)
			}
			if got := window(jobqueue.NewJob{}, nil, handed); got != time.Minute {
				t.Errorf("handed %v, broker's: got %v", handed, got)
			}
			r.q.Configure(r.ctx, jobqueue.Settings{Limits: jobqueue.Limits{Lease: 2 * time.Minute}})
			if got := window(jobqueue.NewJob{}, nil, handed); got != 2*time.Minute {
				t.Errorf("handed %v, queue's: got %v", handed, got)
			}
			if got := window(own, nil, handed); got != 3*time.Minute {
				t.Errorf("handed %v, job's: got %v", handed, got)
			}
			if got := window(own, &jobqueue.ReceiveOptions{Lease: 4 * time.Minute}, handed); got != 4*time.Minute {
				t.Errorf("handed %v, receiver's: got %v", handed, got)
			}
		}
	})
}

func TestJobsComeByPriorityThenPositionAndAReturnedOneComesFirstAgain(t *testing.T) {
	withRig(t, nil, func(r *rig) {
		for _, j := range []struct {
			payload  string
			priority int
		}{{"c", 0}, {"a", 7}, {"d", 0}, {"b", 7}, {"e", -1}} {
			r.add(jobqueue.NewJob{Payload: []byte(j.payload), Priority: j.priority})
		}
		first := r.take()
		second := r.take()
		if err := errors.Join(second.Release(r.ctx, nil), first.Release(r.ctx, nil)); err != nil {
			t.Fatal(err)
		}
		order := ""
		for range 5 {
			p, _ := r.take().Inline()
			order += string(p)
		}
		if order != "abcde" {
			t.Errorf("order: got %s, want abcde", order)
		}
	})
}

func TestOnWaitIsCalledOnceAndOnlyBeforeWaiting(t *testing.T) {
	withRig(t, nil, func(r *rig) {
		calls := 0
		o := &jobqueue.ReceiveOptions{OnWait: func() error {
			calls++
			return nil
		}}
		r.enqueue("x")
		d, err := r.q.Receive(r.ctx, o)
		if err != nil || calls != 0 {
			t.Errorf("a job is there: got %v, %d calls; want none", err, calls)
		}
		waiting := r.park(r.ctx, o)
		if calls != 1 {
			t.Errorf("waiting: got %d calls, want 1", calls)
		}
		r.q.Close(r.ctx) // wakes it for nothing: a job is still running
		r.silent(waiting)
		d.Release(r.ctx, nil)
		r.got(waiting, d.ID)
		if calls != 1 {
			t.Errorf("after a wake-up: got %d calls, want 1", calls)
		}
	})
}

func TestAJobWhoseDeadlinePassedIsNotDelivered(t *testing.T) {
	withRig(t, nil, func(r *rig) {
		j := r.add(jobqueue.NewJob{Deadline: time.Now().Add(time.Minute)})
		time.Sleep(time.Minute) // the timeline and this goroutine wake in the same instant
		_, err := r.q.TryReceive(r.ctx, nil)
		wants(t, "TryReceive", err, jobqueue.ErrEmpty)
		if got := r.job(j.ID); got.State != jobqueue.Failed || got.Failure.Code != jobqueue.CodeDeadline {
			t.Errorf("the job: got %v, %v", got.State, got.Failure)
		}
	})
}

func TestAClosedQueueIsDoneOnceNothingUnfinishedIsLeft(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(r *rig, d *jobqueue.Delivery)
		when time.Duration
	}{
		{"acked", func(r *rig, d *jobqueue.Delivery) { d.Ack(r.ctx) }, 0},
		{"failed", func(r *rig, d *jobqueue.Delivery) { d.Fail(r.ctx, "", "") }, 0},
		{"canceled", func(r *rig, d *jobqueue.Delivery) { r.b.Cancel(r.ctx, d.ID) }, 0},
		{"lapsed for the last time", func(r *rig, d *jobqueue.Delivery) {}, jobqueue.DefaultLease},
		{"given back for the last time", func(r *rig, d *jobqueue.Delivery) { d.Release(r.ctx, nil) }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			withRig(t, &jobqueue.Options{MaxDeliveries: 1}, func(r *rig) {
				r.enqueue("x")
				d := r.take()
				a, b := r.park(r.ctx, nil), r.park(r.ctx, nil)
				if err := r.q.Close(r.ctx); err != nil {
					t.Fatal(err)
				}
				r.silent(a)
				r.silent(b)
				begun := time.Now()
				c.end(r, d)
				time.Sleep(c.when)
				for _, waiting := range []<-chan received{a, b} {
					if got := r.answer(waiting); got.err != jobqueue.ErrDone || got.at.Sub(begun) != c.when {
						t.Errorf("got %v, %v after %v; want ErrDone after %v", got.d, got.err, got.at.Sub(begun), c.when)
					}
				}
				_, err := r.q.Receive(r.ctx, nil)
				wants(t, "Receive afterwards", err, jobqueue.ErrDone)
				_, err = r.q.TryReceive(r.ctx, nil)
				wants(t, "TryReceive afterwards", err, jobqueue.ErrDone)
			})
		})
	}
}

func TestClosingAnEmptyQueueAnswersItsReceiversAtOnce(t *testing.T) {
	withRig(t, nil, func(r *rig) {
		if _, _, err := r.q.Configure(r.ctx, jobqueue.Settings{}); err != nil {
			t.Fatal(err)
		}
		a, b := r.park(r.ctx, nil), r.park(r.ctx, &jobqueue.ReceiveOptions{Wait: time.Hour})
		other, cancel := context.WithCancel(r.ctx)
		defer cancel()
		elsewhere := make(chan error, 1)
		go func() { _, err := r.b.Queue("other").Receive(other, nil); elsewhere <- err }()
		synctest.Wait()
		if err := r.q.Close(r.ctx); err != nil {
			t.Fatal(err)
		}
		wants(t, "first", r.answer(a).err, jobqueue.ErrDone)
		wants(t, "second", r.answer(b).err, jobqueue.ErrDone)
		if len(elsewhere) > 0 {
			t.Errorf("a receiver of another queue was answered: %v", <-elsewhere)
		}
	})
}

// The store fails just when a lease lapses. Whatever else happens before the next attempt, that is made.
func TestALapseIsNotForgottenWhenTheStoreFailsInThatMoment(t *testing.T) {
	withRig(t, nil, func(r *rig) {
		j := r.enqueue("x")
		r.take()
		waiting := r.park(r.ctx, nil)
		time.Sleep(jobqueue.DefaultLease - 1)
		synctest.Wait()
		r.store.onUpdate(func(context.Context) error { return errDisk })
		time.Sleep(time.Millisecond)
		synctest.Wait()
		r.store.onUpdate(nil)
		r.add(jobqueue.NewJob{Delay: time.Hour}) // sets the alarm anew
		time.Sleep(time.Second)
		if d := r.got(waiting, j.ID); d.Lapses != 1 {
			t.Errorf("got %d lapses, want 1", d.Lapses)
		}
	})
}

// One that sleeps has looked in vain, so whoever comes then does not look.
func TestOnlyTheFirstOfACrowdLooks(t *testing.T) {
	withRig(t, nil, func(r *rig) {
		first := r.park(r.ctx, nil)
		var second <-chan received
		if n := r.updates(func() { second = r.park(r.ctx, nil) }); n != 0 {
			t.Errorf("parking behind another took %d transactions, want none", n)
		}
		one, two := r.enqueue("one"), r.enqueue("two")
		r.got(first, one.ID)
		r.got(second, two.ID)
		three := r.enqueue("three")
		if d, err := r.q.TryReceive(r.ctx, nil); err != nil || d.ID != three.ID {
			t.Errorf("with nobody asleep: got %v, %v, want job %v", d, err, three.ID)
		}
	})
}

func TestAWaitCanBeStoppedAndRefused(t *testing.T) {
	errFull := errors.New("no room to wait")
	withRig(t, nil, func(r *rig) {
		stop := make(chan struct{})
		waiting := r.park(r.ctx, &jobqueue.ReceiveOptions{Stop: stop})
		_, err := r.q.Receive(r.ctx, &jobqueue.ReceiveOptions{OnWait: func() error { return errFull }})
		wants(t, "a wait that is refused", err, errFull)
		r.silent(waiting)
		close(stop)
		if a := r.answer(waiting); !errors.Is(a.err, jobqueue.ErrEmpty) {
			t.Errorf("stopped: got %v, %v, want %v", a.d, a.err, jobqueue.ErrEmpty)
		}
		j := r.enqueue("x")
		d, err := r.q.Receive(r.ctx, &jobqueue.ReceiveOptions{Stop: stop}) // there is no need to wait
		if err != nil || d.ID != j.ID {
			t.Errorf("with a job there: got %v, %v, want job %v", d, err, j.ID)
		}
	})
}
