package jobqueue_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/jobqueue"
)

// watched is the answer to a Wait or WaitEnd, and when it came.
type watched struct {
	j   *jobqueue.Job
	err error
	at  time.Time
}

// watch waits beside the test for a version after since, or, if that is negative, for the end.
func (r *rig) watch(ctx context.Context, b *jobqueue.Broker, id jobqueue.ID, since int64) <-chan watched {
	out := make(chan watched, 1)
	go func() {
		var w watched
		if since < 0 {
			w.j, w.err = b.WaitEnd(ctx, id)
		} else {
			w.j, w.err = b.Wait(ctx, id, uint64(since))
		}
		w.at = time.Now()
		out <- w
	}()
	synctest.Wait()
	return out
}

// seen returns what has come; the zero value if nothing has.
func seen(c <-chan watched) (w watched) {
	synctest.Wait()
	select {
	case w = <-c:
	default:
	}
	return w
}

func TestWaitReturnsAtTheNextVersion(t *testing.T) {
	withRig(t, &jobqueue.Options{MaxDeliveries: 2}, func(r *rig) {
		j := r.add(jobqueue.NewJob{Delay: time.Minute})
		var d *jobqueue.Delivery
		version := j.Version
		for _, c := range []struct {
			name string
			do   func()
			want jobqueue.State
		}{
			{"the delay is over", func() { time.Sleep(time.Minute) }, jobqueue.Pending},
			{"it is delivered", func() { d = r.take() }, jobqueue.Running},
			{"progress", func() { d.Progress(r.ctx, 0.5, "half") }, jobqueue.Running},
			{"the lease is extended", func() { d.Extend(r.ctx, time.Hour) }, jobqueue.Running},
			{"it is released with a delay", func() { d.Release(r.ctx, &jobqueue.ReleaseOptions{Delay: time.Second}) }, jobqueue.Scheduled},
			{"that delay is over", func() { time.Sleep(time.Second) }, jobqueue.Pending},
			{"it is delivered again", func() { d = r.take() }, jobqueue.Running},
			{"the lease lapses for the last time", func() { time.Sleep(jobqueue.DefaultLease) }, jobqueue.Failed},
			{"it is redriven", func() { r.b.Redrive(r.ctx, j.ID) }, jobqueue.Pending},
			{"it is canceled", func() { r.b.Cancel(r.ctx, j.ID) }, jobqueue.Canceled},
		} {
			waiting := r.watch(r.ctx, r.b, j.ID, int64(version))
			if w := seen(waiting); w.j != nil || w.err != nil {
				t.Fatalf("before %q: got %v, %v; want it to wait in version %d", c.name, w.j, w.err, version)
			}
			c.do()
			w := seen(waiting)
			if w.err != nil || w.j == nil || w.j.State != c.want || w.j.Version <= version {
				t.Fatalf("when %s: got %+v, %v; want %v and a version after %d", c.name, w.j, w.err, c.want, version)
			}
			if now := time.Now(); !w.at.Equal(now) {
				t.Errorf("when %s: answered %v late", c.name, now.Sub(w.at))
			}
			if late := seen(r.watch(r.ctx, r.b, j.ID, int64(version))); late.j == nil || late.j.Version != w.j.Version {
				t.Errorf("when %s: a Wait that comes later got %+v, %v; want the same at once", c.name, late.j, late.err)
			}
			version = w.j.Version
		}
	})
}

func TestWaitEndReturnsTheEnd(t *testing.T) {
	for _, retention := range []time.Duration{0, -1} {
		for _, c := range []struct {
			name string
			end  func(r *rig, d *jobqueue.Delivery)
			ok   func(j *jobqueue.Job) bool
		}{
			{"acked", func(r *rig, d *jobqueue.Delivery) { d.Ack(r.ctx) },
				func(j *jobqueue.Job) bool { return j.State == jobqueue.Succeeded && j.Result == nil }},
			{"completed", func(r *rig, d *jobqueue.Delivery) { d.Complete(r.ctx, jobqueue.NewResult{Data: []byte("42")}) },
				func(j *jobqueue.Job) bool { return j.State == jobqueue.Succeeded && string(j.Result.Data) == "42" }},
			{"failed", func(r *rig, d *jobqueue.Delivery) { d.Fail(r.ctx, "broken", "sorry") },
				func(j *jobqueue.Job) bool {
					return j.State == jobqueue.Failed && *j.Failure == jobqueue.Failure{Code: "broken", Message: "sorry"}
				}},
			{"canceled", func(r *rig, d *jobqueue.Delivery) { r.b.Cancel(r.ctx, d.ID) },
				func(j *jobqueue.Job) bool { return j.State == jobqueue.Canceled }},
			{"expired", func(r *rig, d *jobqueue.Delivery) { time.Sleep(time.Minute) },
				func(j *jobqueue.Job) bool {
					return j.State == jobqueue.Failed && j.Failure.Code == jobqueue.CodeDeadline
				}},
		} {
			t.Run(c.name, func(t *testing.T) {
				withRig(t, &jobqueue.Options{Retention: retention}, func(r *rig) {
					j := r.add(jobqueue.NewJob{Deadline: time.Now().Add(time.Minute)})
					d := r.take()
					var waiting []<-chan watched
					for range 100 {
						waiting = append(waiting, r.watch(r.ctx, r.b, j.ID, -1), r.watch(r.ctx, r.b.In(""), j.ID, int64(d.Version)))
					}
					c.end(r, d)
					for _, w := range waiting {
						got := seen(w)
						if got.err != nil || got.j == nil || !c.ok(got.j) || got.j.Finished.IsZero() {
							t.Fatalf("retention %v: got %+v, %v", retention, got.j, got.err)
						}
					}
					_, err := r.b.WaitEnd(r.ctx, j.ID)
					if retention < 0 {
						wants(t, "afterwards", err, jobqueue.ErrNotFound)
					} else if err != nil {
						t.Errorf("afterwards: %v", err)
					}
				})
			})
		}
	}
}

// Between the end of a job that is not kept and the waiter's next look there is nothing left to look at.
func TestWaitEndMissesNoEndOfAJobThatIsNotKept(t *testing.T) {
	withRig(t, &jobqueue.Options{Retention: -1}, func(r *rig) {
		for range 100 {
			j := r.enqueue("x")
			done := make(chan watched, 1)
			go func() {
				got, err := r.b.WaitEnd(r.ctx, j.ID)
				done <- watched{j: got, err: err}
			}()
			for r.job(j.ID).State == jobqueue.Pending { // not synctest.Wait: the waiter may be anywhere
				if d, err := r.q.TryReceive(r.ctx, nil); err == nil {
					go d.Ack(r.ctx)
					break
				}
			}
			w := <-done
			if w.err == jobqueue.ErrNotFound {
				continue // it came too late altogether
			}
			if w.err != nil || w.j.State != jobqueue.Succeeded {
				t.Fatalf("got %+v, %v", w.j, w.err)
			}
		}
	})
}

// Who waits may find the job deleted before its end has been told.
func TestWaitEndAwaitsTheNewsOfADeletedJob(t *testing.T) {
	withRig(t, &jobqueue.Options{Retention: -1}, func(r *rig) {
		j := r.enqueue("x")
		d := r.take()
		type answer struct {
			j   *jobqueue.Job
			err error
		}
		got := make(chan answer, 1)
		go func() {
			j, err := r.b.WaitEnd(r.ctx, j.ID)
			got <- answer{j, err}
		}()
		synctest.Wait()
		acked := make(chan struct{})
		r.store.onView(func(context.Context) error { // the look after the progress comes when the job has ended
			<-acked
			return nil
		})
		if err := d.Progress(r.ctx, 0.5, ""); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		r.store.onCommit(func() {
			close(acked)
			time.Sleep(time.Second) // until it has looked
		})
		if err := d.Ack(r.ctx); err != nil {
			t.Fatal(err)
		}
		r.store.onView(nil)
		r.store.onCommit(nil)
		synctest.Wait()
		select {
		case a := <-got:
			if a.err != nil || a.j.State != jobqueue.Succeeded {
				t.Errorf("WaitEnd: got %v, %v, want the job succeeded", a.j, a.err)
			}
		default:
			t.Error("WaitEnd still waits")
		}
	})
}

func TestWaitEndSleepsThroughWhatIsNoEnd(t *testing.T) {
	withRig(t, nil, func(r *rig) {
		j := r.enqueue("x")
		waiting := r.watch(r.ctx, r.b, j.ID, -1)
		d := r.take()
		d.Progress(r.ctx, 1, "all but done")
		d.Release(r.ctx, nil)
		r.take()
		time.Sleep(jobqueue.DefaultLease)
		if w := seen(waiting); w.j != nil || w.err != nil {
			t.Fatalf("got %+v, %v; want it to wait", w.j, w.err)
		}
		before := r.mem.Stats()
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if after := r.mem.Stats(); after != before {
			t.Errorf("a day of waiting: got %+v, want %+v", after, before)
		}
		r.take().Ack(r.ctx)
		if w := seen(waiting); w.j == nil || w.j.State != jobqueue.Succeeded {
			t.Errorf("got %+v, %v; want it succeeded", w.j, w.err)
		}
	})
}

func TestSomebodyElsesJobCannotBeWaitedFor(t *testing.T) {
	for _, retention := range []time.Duration{0, -1} {
		withRig(t, &jobqueue.Options{Retention: retention}, func(r *rig) {
			theirs, err := r.b.In("alice").Queue("work").Enqueue(r.ctx, jobqueue.NewJob{})
			if err != nil {
				t.Fatal(err)
			}
			for _, since := range []int64{-1, 0, 1} {
				if w := seen(r.watch(r.ctx, r.b.In("bob"), theirs.ID, since)); w.err != jobqueue.ErrNotFound {
					t.Errorf("since %d: got %v, %v; want ErrNotFound", since, w.j, w.err)
				}
			}
			house := r.watch(r.ctx, r.b, theirs.ID, -1)
			own := r.watch(r.ctx, r.b.In("alice"), theirs.ID, -1)
			r.b.Cancel(r.ctx, theirs.ID)
			for name, w := range map[string]<-chan watched{"the house": house, "its account": own} {
				if got := seen(w); got.err != nil || got.j.State != jobqueue.Canceled {
					t.Errorf("%s: got %v, %v", name, got.j, got.err)
				}
			}
		})
	}
}

func TestWaitEndsWithItsContextOrTheBroker(t *testing.T) {
	withRig(t, nil, func(r *rig) {
		j := r.enqueue("x")
		ctx, cancel := context.WithCancel(r.ctx)
		one := r.watch(ctx, r.b, j.ID, -1)
		cancel()
		if w := seen(one); w.err != context.Canceled {
			t.Errorf("canceled: got %v, %v", w.j, w.err)
		}
		if _, err := r.b.Wait(ctx, j.ID, 0); err != context.Canceled {
			t.Errorf("with a dead context: got %v", err)
		}
		two, three := r.watch(r.ctx, r.b, j.ID, -1), r.watch(r.ctx, r.b, j.ID, int64(j.Version))
		r.b.Shutdown(r.ctx)
		wants(t, "WaitEnd at shutdown", seen(two).err, jobqueue.ErrShutdown)
		wants(t, "Wait at shutdown", seen(three).err, jobqueue.ErrShutdown)
		_, err := r.b.WaitEnd(r.ctx, j.ID)
		wants(t, "WaitEnd afterwards", err, jobqueue.ErrShutdown)
	})
}

func TestWaitForWhatIsNotThere(t *testing.T) {
	withRig(t, &jobqueue.Options{Retention: time.Hour, Tombstone: time.Hour}, func(r *rig) {
		_, err := r.b.WaitEnd(r.ctx, jobqueue.ID{1})
		wants(t, "no job", err, jobqueue.ErrNotFound)
		j := r.enqueue("x")
		r.b.Cancel(r.ctx, j.ID)
		waiting := r.watch(r.ctx, r.b, j.ID, 1000) // a version that never comes
		time.Sleep(time.Hour)
		wants(t, "retired meanwhile", seen(waiting).err, jobqueue.ErrGone)
		_, err = r.b.Wait(r.ctx, j.ID, 0)
		wants(t, "gone", err, jobqueue.ErrGone)
		time.Sleep(time.Hour)
		_, err = r.b.Wait(r.ctx, j.ID, 0)
		wants(t, "forgotten", err, jobqueue.ErrNotFound)

		j = r.enqueue("y")
		r.b.Cancel(r.ctx, j.ID)
		waiting = r.watch(r.ctx, r.b, j.ID, 1000)
		if err := errors.Join(r.q.Close(r.ctx), r.q.Delete(r.ctx)); err != nil {
			t.Fatal(err)
		}
		wants(t, "deleted with its queue", seen(waiting).err, jobqueue.ErrNotFound)
	})
}
