package jobqueue_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/jobqueue"
)

// consume runs Consume beside the test; stop ends it and returns what it returned.
func (r *rig) consume(o *jobqueue.ConsumeOptions, h jobqueue.Handler) (stop func() error) {
	ctx, cancel := context.WithCancel(r.ctx)
	ended := make(chan error, 1)
	go func() { ended <- r.q.Consume(ctx, h, o) }()
	synctest.Wait()
	return func() error {
		cancel()
		return <-ended
	}
}

func TestConsumeDoesTheJobs(t *testing.T) {
	withRig(t, nil, func(r *rig) {
		var sum atomic.Int64
		stop := r.consume(nil, func(ctx context.Context, d *jobqueue.Delivery) error {
			p, err := d.Payload(ctx)
			sum.Add(int64(len(p)))
			return err
		})
		for range 10 {
			r.enqueue("four")
		}
		if err := r.q.Idle(r.ctx); err != nil {
			t.Fatal(err)
		}
		if err := stop(); err != nil {
			t.Errorf("Consume: got %v, want nil", err)
		}
		if sum.Load() != 40 || r.b.Stats().Succeeded != 10 {
			t.Errorf("got %d bytes, %+v", sum.Load(), r.b.Stats())
		}
	})
}

func TestConsumeClaimsOnlyForFreeWorkers(t *testing.T) {
	withRig(t, nil, func(r *rig) {
		var busy, most atomic.Int32
		stop := r.consume(&jobqueue.ConsumeOptions{Workers: 3}, func(ctx context.Context, d *jobqueue.Delivery) error {
			most.Store(max(most.Load(), busy.Add(1)))
			defer busy.Add(-1)
			time.Sleep(time.Minute)
			return nil
		})
		r.q.EnqueueMany(r.ctx, make([]jobqueue.NewJob, 10))
		for range 3 {
			synctest.Wait()
			info, err := r.q.Info(r.ctx)
			if err != nil || info.Counts[jobqueue.Running] != 3 || busy.Load() != 3 {
				t.Fatalf("got %v running, %d handlers, %v; want 3 of each", info.Counts, busy.Load(), err)
			}
			time.Sleep(time.Minute)
		}
		r.q.Idle(r.ctx)
		if stop(); most.Load() != 3 {
			t.Errorf("at most %d handlers ran at once, want 3", most.Load())
		}
	})
}

func TestALongHandlerKeepsItsShortLease(t *testing.T) {
	withRig(t, nil, func(r *rig) {
		calls := 0
		stop := r.consume(nil, func(ctx context.Context, d *jobqueue.Delivery) error {
			calls++
			if got := d.LeaseExpires.Sub(d.Started); got != 10*time.Second {
				t.Errorf("the lease is %v, want 10s", got)
			}
			select {
			case <-time.After(time.Hour):
			case <-ctx.Done():
				t.Errorf("the context ended: %v", context.Cause(ctx))
			}
			return nil
		})
		j := r.enqueue("x")
		r.q.Idle(r.ctx)
		stop()
		if got := r.job(j.ID); calls != 1 || got.State != jobqueue.Succeeded || got.Deliveries != 1 || got.Lapses != 0 || got.Finished.Sub(got.Started) != time.Hour {
			t.Errorf("got %d calls, %+v", calls, got)
		}
	})
}

func TestWhatAHandlerReturnsDecides(t *testing.T) {
	oops := errors.New("oops")
	for _, c := range []struct {
		name string
		do   func(ctx context.Context, d *jobqueue.Delivery) error
		want jobqueue.State
		code string
		text string
		rest time.Duration // until it may run again
	}{
		{"nil", func(context.Context, *jobqueue.Delivery) error { return nil }, jobqueue.Succeeded, "", "", 0},
		{"an error", func(context.Context, *jobqueue.Delivery) error { return oops }, jobqueue.Scheduled, "", "", 7 * time.Second},
		{"RetryAfter", func(context.Context, *jobqueue.Delivery) error { return jobqueue.RetryAfter(time.Hour, oops) }, jobqueue.Scheduled, "", "", time.Hour},
		{"RetryAfter, wrapped", func(context.Context, *jobqueue.Delivery) error {
			return fmt.Errorf("wrapped: %w", jobqueue.RetryAfter(time.Hour, oops))
		}, jobqueue.Scheduled, "", "", time.Hour},
		{"RetryAfter without an error", func(context.Context, *jobqueue.Delivery) error { return jobqueue.RetryAfter(time.Hour, nil) }, jobqueue.Scheduled, "", "", time.Hour},
		{"Permanent", func(context.Context, *jobqueue.Delivery) error { return jobqueue.Permanent("bad", oops) }, jobqueue.Failed, "bad", "oops", 0},
		{"Permanent, wrapped", func(context.Context, *jobqueue.Delivery) error {
			return fmt.Errorf("wrapped: %w", jobqueue.Permanent("bad", oops))
		}, jobqueue.Failed, "bad", "wrapped: oops", 0},
		{"Permanent with what no failure may have", func(context.Context, *jobqueue.Delivery) error {
			return jobqueue.Permanent(strings.Repeat("é", 300), errors.New("a\x00b\xff"+strings.Repeat("z", 1<<16)))
		}, jobqueue.Failed, strings.Repeat("é", jobqueue.MaxName/2), "ab\uFFFD" + strings.Repeat("z", jobqueue.MaxText-5), 0},
		{"Permanent with a line break in the code", func(context.Context, *jobqueue.Delivery) error {
			return jobqueue.Permanent("bad\ncode", oops)
		}, jobqueue.Failed, "bad\uFFFDcode", "oops", 0},
		{"a panic", func(context.Context, *jobqueue.Delivery) error { panic("boo") }, jobqueue.Scheduled, "", "", 7 * time.Second},
		{"a panic of nil", func(context.Context, *jobqueue.Delivery) error { panic(nil) }, jobqueue.Scheduled, "", "", 7 * time.Second},
		{"the end of its goroutine", func(context.Context, *jobqueue.Delivery) error { runtime.Goexit(); return nil }, jobqueue.Scheduled, "", "", 7 * time.Second},
		{"nil after Complete", func(ctx context.Context, d *jobqueue.Delivery) error {
			return d.Complete(ctx, jobqueue.NewResult{Data: []byte("1")})
		}, jobqueue.Succeeded, "", "", 0},
		{"nil after Fail", func(ctx context.Context, d *jobqueue.Delivery) error { return d.Fail(ctx, "own", "my way") }, jobqueue.Failed, "own", "my way", 0},
		{"nil after Release", func(ctx context.Context, d *jobqueue.Delivery) error {
			return d.Release(ctx, &jobqueue.ReleaseOptions{Delay: time.Minute})
		}, jobqueue.Scheduled, "", "", time.Minute},
		{"an error after Complete", func(ctx context.Context, d *jobqueue.Delivery) error {
			d.Complete(ctx, jobqueue.NewResult{Data: []byte("1")})
			return oops
		}, jobqueue.Succeeded, "", "", 0},
		{"nil, having settled and worked on", func(ctx context.Context, d *jobqueue.Delivery) error {
			d.Ack(ctx)
			time.Sleep(time.Hour)
			if ctx.Err() != nil {
				panic("the context ended, though the handler itself settled the job")
			}
			return ctx.Err()
		}, jobqueue.Succeeded, "", "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			withRig(t, nil, func(r *rig) {
				j := r.enqueue("x")
				stop := r.consume(&jobqueue.ConsumeOptions{Backoff: func(deliveries int) time.Duration {
					if deliveries != 1 {
						t.Errorf("Backoff was asked for %d deliveries, want 1", deliveries)
					}
					return 7 * time.Second
				}}, c.do)
				got := r.job(j.ID)
				if c.name == "nil, having settled and worked on" {
					time.Sleep(2 * time.Hour)
				}
				stop()
				if got.State != c.want || got.Deliveries != 1 {
					t.Errorf("got %v with %d deliveries, want %v with 1", got.State, got.Deliveries, c.want)
				}
				if c.want == jobqueue.Failed && (got.Failure == nil || got.Failure.Code != c.code || got.Failure.Message != c.text) {
					t.Errorf("failure: got %+v", got.Failure)
				}
				if c.rest > 0 && got.RunAt.Sub(got.Started) != c.rest {
					t.Errorf("it rests %v, want %v", got.RunAt.Sub(got.Started), c.rest)
				}
			})
		})
	}
}

func TestABackoffThatPanicsIsTheDefault(t *testing.T) {
	withRig(t, nil, func(r *rig) {
		j := r.enqueue("x")
		stop := r.consume(&jobqueue.ConsumeOptions{Backoff: func(int) time.Duration { panic("boo") }},
			func(context.Context, *jobqueue.Delivery) error { return errors.New("oops") })
		got := r.job(j.ID)
		stop()
		if rest := got.RunAt.Sub(got.Started); got.State != jobqueue.Scheduled || rest < time.Second/2 || rest > time.Second {
			t.Errorf("got %v, which rests %v; want scheduled and 0.5 s to 1 s", got.State, rest)
		}
	})
}

func TestTheDefaultBackoffGrowsWithJitter(t *testing.T) {
	withRig(t, nil, func(r *rig) {
		const jobs, rounds = 40, 14
		var mu sync.Mutex
		rests := map[int][]time.Duration{} // by delivery, since the one before
		last := map[jobqueue.ID]time.Time{}
		stop := r.consume(&jobqueue.ConsumeOptions{Workers: jobs}, func(ctx context.Context, d *jobqueue.Delivery) error {
			mu.Lock()
			defer mu.Unlock()
			if d.Deliveries > 1 {
				rests[d.Deliveries] = append(rests[d.Deliveries], d.Started.Sub(last[d.ID]))
			}
			last[d.ID] = d.Started
			if d.Deliveries == rounds {
				return nil
			}
			return errDisk
		})
		r.q.EnqueueMany(r.ctx, make([]jobqueue.NewJob, jobs))
		r.q.Idle(r.ctx)
		stop()
		for n := 2; n <= rounds; n++ {
			most := min(time.Second<<(n-2), 10*time.Minute)
			var sum time.Duration
			same := map[time.Duration]bool{}
			for _, d := range rests[n] {
				if d < most/2 || d > most {
					t.Errorf("before delivery %d: rested %v, want from %v to %v", n, d, most/2, most)
				}
				sum += d
				same[d] = true
			}
			if mean := sum / jobs; mean < most/4 || len(same) < jobs/2 {
				t.Errorf("before delivery %d: rested %v on average of at most %v, %d different times of %d", n, mean, most, len(same), jobs)
			}
		}
	})
}

// The handler learns that the job is no longer its own, and why.
func TestAHandlersContextEndsWithTheCause(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(r *rig, id jobqueue.ID)
		want jobqueue.Reason
	}{
		{"canceled", func(r *rig, id jobqueue.ID) { r.b.Cancel(r.ctx, id) }, jobqueue.JobCanceled},
		{"its deadline passes", func(r *rig, id jobqueue.ID) { time.Sleep(time.Hour) }, jobqueue.JobExpired},
	} {
		for name, limits := range map[string]jobqueue.Limits{
			"kept":             {},
			"not kept":         {Retention: -1},
			"only a tombstone": {Retention: time.Microsecond, Tombstone: time.Hour},
		} {
			t.Run(c.name+", "+name, func(t *testing.T) {
				withRig(t, nil, func(r *rig) {
					var cause error
					var at time.Time
					stop := r.consume(nil, func(ctx context.Context, d *jobqueue.Delivery) error {
						<-ctx.Done()
						cause, at = context.Cause(ctx), time.Now()
						return ctx.Err()
					})
					j := r.add(jobqueue.NewJob{Deadline: time.Now().Add(time.Hour), Limits: limits})
					synctest.Wait()
					c.end(r, j.ID)
					synctest.Wait()
					now := time.Now()
					stop()
					if !at.Equal(now) {
						t.Errorf("the context ended %v late", at.Sub(now))
					}
					lost(t, "the cause", cause, c.want)
				})
			})
		}
	}
}

// The job is canceled after its delivery has been committed and before anybody watches it.
func TestAHandlerLearnsOfACancelThatCameBeforeIt(t *testing.T) {
	withRig(t, nil, func(r *rig) {
		j := r.enqueue("x")
		r.store.onCommit(func() {
			r.store.onCommit(nil)
			r.b.Cancel(r.ctx, j.ID)
		})
		causes := make(chan error, 1)
		stop := r.consume(&jobqueue.ConsumeOptions{Lease: time.Hour}, func(ctx context.Context, _ *jobqueue.Delivery) error {
			select {
			case <-ctx.Done():
			case <-time.After(time.Minute):
			}
			causes <- context.Cause(ctx)
			return ctx.Err()
		})
		lost(t, "the cause", <-causes, jobqueue.JobCanceled)
		stop()
	})
}

func TestAHandlerIsNotDisturbedByWhatItDoesItself(t *testing.T) {
	for _, retention := range []time.Duration{0, -1} {
		withRig(t, &jobqueue.Options{Retention: retention}, func(r *rig) {
			stop := r.consume(nil, func(ctx context.Context, d *jobqueue.Delivery) error {
				for i := range 3 {
					if err := errors.Join(d.Progress(ctx, float64(i)/3, ""), d.Extend(ctx, time.Minute)); err != nil {
						t.Error(err)
					}
				}
				d.Complete(ctx, jobqueue.NewResult{})
				time.Sleep(time.Hour)
				if ctx.Err() != nil {
					t.Errorf("the context ended: %v", context.Cause(ctx))
				}
				return nil
			})
			r.enqueue("x")
			time.Sleep(2 * time.Hour)
			stop()
		})
	}
}

// The lease is lost because it could not be extended in time. The handler is told when it lapses: from then on somebody else may have the job.
func TestAHandlerWhoseLeaseCannotBeExtendedIsToldWhenItLapses(t *testing.T) {
	for name, down := range map[string]func(ctx context.Context) error{
		"the store fails": func(context.Context) error { return errDisk },
		"the store hangs": func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
	} {
		t.Run(name, func(t *testing.T) {
			withRig(t, nil, func(r *rig) {
				var cause error
				var held time.Duration
				again := make(chan int, 1)
				stop := r.consume(&jobqueue.ConsumeOptions{Workers: 1}, func(ctx context.Context, d *jobqueue.Delivery) error {
					if d.Deliveries > 1 {
						again <- d.Lapses
						return nil
					}
					<-ctx.Done()
					cause, held = context.Cause(ctx), time.Since(d.Started)
					return ctx.Err()
				})
				r.enqueue("x")
				synctest.Wait()
				hung, release := context.WithCancel(r.ctx)
				r.store.onUpdate(func(ctx context.Context) error {
					both, cancel := context.WithCancel(ctx)
					defer cancel()
					defer context.AfterFunc(hung, cancel)()
					return down(both)
				})
				time.Sleep(30 * time.Second)
				synctest.Wait()
				lost(t, "the cause", cause, jobqueue.LeaseLapsed)
				if held < 9*time.Second || held > 11*time.Second {
					t.Errorf("the context ended after %v, want the lease of 10s", held)
				}
				r.store.onUpdate(nil)
				release()
				if lapses := <-again; lapses != 1 {
					t.Errorf("delivered again with %d lapses, want 1", lapses)
				}
				stop()
			})
		})
	}
}

func TestAShortOutageOfTheStoreLosesNoLease(t *testing.T) {
	withRig(t, nil, func(r *rig) {
		stop := r.consume(nil, func(ctx context.Context, d *jobqueue.Delivery) error {
			time.Sleep(time.Minute)
			return ctx.Err()
		})
		j := r.enqueue("x")
		for range 8 {
			synctest.Wait()
			r.store.onUpdate(func(context.Context) error { return errDisk })
			time.Sleep(4 * time.Second)
			r.store.onUpdate(nil)
			time.Sleep(3500 * time.Millisecond)
		}
		r.q.Idle(r.ctx)
		stop()
		if got := r.job(j.ID); got.State != jobqueue.Succeeded || got.Deliveries != 1 {
			t.Errorf("got %v with %d deliveries, want succeeded with 1", got.State, got.Deliveries)
		}
	})
}

func TestAStoreThatFailsIsAskedAgainLessAndLessOften(t *testing.T) {
	withRig(t, nil, func(r *rig) {
		var calls atomic.Int32
		r.store.onUpdate(func(context.Context) error { calls.Add(1); return errDisk })
		stop := r.consume(&jobqueue.ConsumeOptions{Workers: 1}, func(context.Context, *jobqueue.Delivery) error { return nil })
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if n := calls.Load(); n < 15 || n > 200 {
			t.Errorf("10 minutes: %d calls, want a few dozen", n)
		}
		r.store.onUpdate(nil)
		j := r.enqueue("x")
		r.q.Idle(r.ctx)
		if err := stop(); err != nil {
			t.Errorf("Consume: got %v, want nil", err)
		}
		if got := r.job(j.ID); got.State != jobqueue.Succeeded {
			t.Errorf("got %v, want succeeded", got.State)
		}
	})
}

func TestAJobWhoseOutcomeCouldNotBeStoredComesBack(t *testing.T) {
	withRig(t, nil, func(r *rig) {
		calls := 0
		stop := r.consume(nil, func(ctx context.Context, d *jobqueue.Delivery) error {
			if calls++; calls == 1 {
				r.store.onUpdate(func(context.Context) error { r.store.onUpdate(nil); return errDisk }) // the ack
			}
			return nil
		})
		j := r.enqueue("x")
		r.q.Idle(r.ctx)
		stop()
		if got := r.job(j.ID); calls != 2 || got.State != jobqueue.Succeeded || got.Started.Sub(got.Created) != 10*time.Second {
			t.Errorf("got %d calls, %v, delivered again after %v; want 2, succeeded, 10s", calls, got.State, got.Started.Sub(got.Created))
		}
	})
}

func TestConsumeEndsWhenTheQueueIsDone(t *testing.T) {
	withRig(t, nil, func(r *rig) {
		r.q.EnqueueMany(r.ctx, make([]jobqueue.NewJob, 20))
		r.q.Close(r.ctx)
		err := r.q.Consume(r.ctx, func(context.Context, *jobqueue.Delivery) error { time.Sleep(time.Second); return nil }, nil)
		wants(t, "Consume", err, jobqueue.ErrDone)
		if s := r.b.Stats(); s.Succeeded != 20 {
			t.Errorf("got %+v, want 20 succeeded", s)
		}
	})
}

func TestConsumeRefusesWhatIsOutOfBounds(t *testing.T) {
	withRig(t, nil, func(r *rig) {
		h := func(context.Context, *jobqueue.Delivery) error { return nil }
		for _, o := range []jobqueue.ConsumeOptions{{Workers: -1}, {Lease: time.Millisecond}, {Lease: 13 * time.Hour}} {
			wants(t, fmt.Sprint(o), r.q.Consume(r.ctx, h, &o), jobqueue.ErrInvalid)
		}
		wants(t, "no name", r.b.Queue("").Consume(r.ctx, h, nil), jobqueue.ErrInvalid)
	})
}
