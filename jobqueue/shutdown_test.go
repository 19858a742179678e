package jobqueue_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/boltstore"
	"github.com/pollackq/pollack/storage/memstore"
)

func TestShutdownAnswersAllThatWaitAtOnce(t *testing.T) {
	withRig(t, nil, func(r *rig) {
		j := r.enqueue("x")
		r.take()
		var receivers []<-chan received
		for range 100 {
			receivers = append(receivers, r.park(r.ctx, nil), r.park(r.ctx, &jobqueue.ReceiveOptions{Wait: time.Hour}))
		}
		end := r.watch(r.ctx, r.b, j.ID, -1)
		idle := make(chan error, 1)
		go func() { idle <- r.q.Idle(r.ctx) }()
		synctest.Wait()
		begun := time.Now()
		if err := r.b.Shutdown(r.ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		for _, c := range receivers {
			if a := r.answer(c); a.err != jobqueue.ErrShutdown || !a.at.Equal(begun) {
				t.Fatalf("got %v, %v after %v; want ErrShutdown at once", a.d, a.err, a.at.Sub(begun))
			}
		}
		wants(t, "WaitEnd", seen(end).err, jobqueue.ErrShutdown)
		wants(t, "Idle", <-idle, jobqueue.ErrShutdown)
	})
}

func TestAcksAreTakenUntilShutdownReturns(t *testing.T) {
	withRig(t, nil, func(r *rig) {
		stuck, ended := make(chan struct{}), make(chan error)
		stop := r.consume(nil, func(context.Context, *jobqueue.Delivery) error { <-stuck; return nil })
		r.enqueue("kept by a worker")
		synctest.Wait()
		other := r.b.Queue("other")
		other.EnqueueMany(r.ctx, make([]jobqueue.NewJob, 5))
		ds, err := other.ReceiveMany(r.ctx, 4, nil)
		if err != nil {
			t.Fatal(err)
		}
		go func() { ended <- r.b.Shutdown(r.ctx) }()
		synctest.Wait()
		if !r.b.ShuttingDown() {
			t.Error("ShuttingDown: got false")
		}
		wants(t, "Healthy", r.b.Healthy(r.ctx), jobqueue.ErrShutdown)
		if err := errors.Join(
			ds[0].Ack(r.ctx), ds[1].Fail(r.ctx, "", ""), ds[2].Release(r.ctx, nil), ds[3].Extend(r.ctx, 0), ds[3].Progress(r.ctx, 1, ""),
			ds[3].Complete(r.ctx, jobqueue.NewResult{}),
		); err != nil {
			t.Errorf("while it shuts down: %v", err)
		}
		_, err = other.TryReceive(r.ctx, nil)
		wants(t, "TryReceive", err, jobqueue.ErrShutdown)
		_, err = other.Receive(r.ctx, nil)
		wants(t, "Receive", err, jobqueue.ErrShutdown)
		_, err = other.Enqueue(r.ctx, jobqueue.NewJob{})
		wants(t, "Enqueue", err, jobqueue.ErrShutdown)
		wants(t, "Consume", other.Consume(r.ctx, nil, nil), jobqueue.ErrShutdown)

		close(stuck)
		if err := <-ended; err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		wants(t, "Consume", stop(), jobqueue.ErrShutdown)
		wants(t, "Ack afterwards", ds[2].Ack(r.ctx), jobqueue.ErrShutdown)
		if j := r.job(ds[3].ID); j.State != jobqueue.Succeeded { // reads go on
			t.Errorf("got %v, want succeeded", j.State)
		}
	})
}

func TestShutdownGivesBackWhatWorkersHoldUncounted(t *testing.T) {
	for name, handler := range map[string]jobqueue.Handler{
		"with the context's error": func(ctx context.Context, _ *jobqueue.Delivery) error { <-ctx.Done(); return ctx.Err() },
		"with its cause":           func(ctx context.Context, _ *jobqueue.Delivery) error { <-ctx.Done(); return context.Cause(ctx) },
		"with RetryAfter": func(ctx context.Context, _ *jobqueue.Delivery) error {
			<-ctx.Done()
			return jobqueue.RetryAfter(time.Hour, errDisk)
		},
		"with a panic": func(ctx context.Context, _ *jobqueue.Delivery) error { <-ctx.Done(); panic("help") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "jobs")
				ctx := t.Context()
				for start := range 3 { // the same job, at every start of the process
					store, err := boltstore.Open(path, nil)
					if err != nil {
						t.Fatal(err)
					}
					b, err := jobqueue.New(store, nil)
					if err != nil {
						t.Fatal(err)
					}
					q := b.Queue("work")
					if start == 0 {
						q.Enqueue(ctx, jobqueue.NewJob{})
					}
					var deliveries atomic.Int32
					ended := make(chan error, 1)
					go func() {
						ended <- q.Consume(ctx, func(ctx context.Context, d *jobqueue.Delivery) error {
							deliveries.Store(int32(d.Deliveries))
							return handler(ctx, d)
						}, nil)
					}()
					synctest.Wait()
					if got := deliveries.Load(); got != 1 {
						t.Errorf("start %d: delivered as number %d, want 1, at once", start, got)
					}
					if err := errors.Join(b.Shutdown(ctx), store.Close()); err != nil {
						t.Error(err)
					}
					wants(t, "Consume", <-ended, jobqueue.ErrShutdown)
				}
			})
		})
	}
}

func TestGraceLetsHandlersFinish(t *testing.T) {
	for _, c := range []struct {
		name  string
		takes time.Duration
		want  jobqueue.State
		after time.Duration
	}{
		{"in time", 20 * time.Second, jobqueue.Succeeded, 20 * time.Second},
		{"not in time", time.Hour, jobqueue.Pending, 30 * time.Second},
	} {
		for _, by := range []string{"shutdown", "context"} {
			t.Run(c.name+", "+by, func(t *testing.T) {
				withRig(t, nil, func(r *rig) {
					stop := r.consume(&jobqueue.ConsumeOptions{Grace: 30 * time.Second}, func(ctx context.Context, _ *jobqueue.Delivery) error {
						select {
						case <-time.After(c.takes):
							return nil
						case <-ctx.Done():
							return ctx.Err()
						}
					})
					j := r.enqueue("x")
					synctest.Wait()
					begun := time.Now()
					if by == "shutdown" {
						r.b.Shutdown(r.ctx)
						wants(t, "Consume", stop(), jobqueue.ErrShutdown)
					} else if err := stop(); err != nil {
						t.Errorf("Consume: got %v, want nil", err)
					}
					if took := time.Since(begun); took != c.after {
						t.Errorf("it took %v, want %v", took, c.after)
					}
					if got := r.job(j.ID); got.State != c.want || (c.want == jobqueue.Pending) != (got.Deliveries == 0) {
						t.Errorf("got %v with %d deliveries, want %v", got.State, got.Deliveries, c.want)
					}
				})
			})
		}
	}
}

func TestShutdownWaitsForAStuckHandlerOnlyAsLongAsItsContext(t *testing.T) {
	withRig(t, nil, func(r *rig) {
		stuck := make(chan struct{})
		stop := r.consume(nil, func(context.Context, *jobqueue.Delivery) error { <-stuck; return nil })
		j := r.enqueue("x")
		synctest.Wait()
		ctx, cancel := context.WithTimeout(r.ctx, time.Minute)
		defer cancel()
		begun := time.Now()
		if err := r.b.Shutdown(ctx); err != context.DeadlineExceeded || time.Since(begun) != time.Minute {
			t.Errorf("Shutdown: got %v after %v, want %v after a minute", err, time.Since(begun), context.DeadlineExceeded)
		}
		if got := r.job(j.ID); got.State != jobqueue.Running { // its lease was extended all the while, and will lapse
			t.Errorf("got %v, want running", got.State)
		}
		close(stuck)
		wants(t, "Consume", stop(), jobqueue.ErrShutdown)
		if err := r.b.Shutdown(r.ctx); err != nil {
			t.Errorf("a second Shutdown: %v", err)
		}
	})
}

func TestShutdownWaitsForAStuckStoreOnlyAsLongAsItsContext(t *testing.T) {
	withRig(t, nil, func(r *rig) {
		r.add(jobqueue.NewJob{Delay: time.Minute})
		g := make(chan struct{})
		r.store.onUpdate(func(context.Context) error { <-g; return nil })
		time.Sleep(time.Minute) // the timeline is stuck now
		synctest.Wait()
		ctx, cancel := context.WithTimeout(r.ctx, time.Second)
		defer cancel()
		if err := r.b.Shutdown(ctx); err != context.DeadlineExceeded {
			t.Errorf("Shutdown: got %v, want %v", err, context.DeadlineExceeded)
		}
		close(g)
	})
}

func TestShutdownWithdrawsWhatTheTimelineAsksOfAStoreThatHangs(t *testing.T) {
	withRig(t, nil, func(r *rig) {
		r.add(jobqueue.NewJob{Delay: time.Minute})
		r.store.onUpdate(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		time.Sleep(time.Minute)
		synctest.Wait()
		if err := r.b.Shutdown(r.ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
}

func TestSeveralShutdownsAllWait(t *testing.T) {
	withRig(t, nil, func(r *rig) {
		stuck := make(chan struct{})
		stop := r.consume(nil, func(context.Context, *jobqueue.Delivery) error { <-stuck; return nil })
		r.enqueue("x")
		var ended atomic.Int32
		for range 3 {
			go func() { r.b.Shutdown(r.ctx); ended.Add(1) }()
		}
		synctest.Wait()
		if n := ended.Load(); n != 0 {
			t.Errorf("%d returned before the handler", n)
		}
		close(stuck)
		synctest.Wait()
		if n := ended.Load(); n != 3 {
			t.Errorf("%d returned, want 3", n)
		}
		stop()
	})
}

// The process dies while a worker holds a job: the file is copied as it is then, and opened by the next process.
func TestWhatAKilledProcessHeldComesBackInSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, ctx := t.TempDir(), t.Context()
		store, err := boltstore.Open(filepath.Join(dir, "jobs"), nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := jobqueue.New(store, nil)
		if err != nil {
			t.Fatal(err)
		}
		j, err := b.Queue("work").Enqueue(ctx, jobqueue.NewJob{})
		if err != nil {
			t.Fatal(err)
		}
		go b.Queue("work").Consume(ctx, func(ctx context.Context, _ *jobqueue.Delivery) error { <-ctx.Done(); return ctx.Err() }, nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		file, err := os.ReadFile(filepath.Join(dir, "jobs"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "left"), bytes.Clone(file), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(b.Shutdown(ctx), store.Close()); err != nil {
			t.Fatal(err)
		}

		left, err := boltstore.Open(filepath.Join(dir, "left"), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer left.Close()
		next, err := jobqueue.New(left, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer next.Shutdown(ctx)
		begun := time.Now()
		d, err := next.Queue("work").Receive(ctx, nil)
		if took := time.Since(begun); err != nil || d.ID != j.ID || d.Deliveries != 2 || d.Lapses != 1 || took > 10*time.Second {
			t.Errorf("got %v, %v after %v; want the job again within 10s", d, err, took)
		}
	})
}

// A store that was closed first is a user's mistake, not a reason to hang.
func TestABrokerOnAClosedStoreStillShutsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(nil)
		b, err := jobqueue.New(store, nil)
		if err != nil {
			t.Fatal(err)
		}
		q := b.Queue("work")
		ended, waiting := make(chan error, 1), make(chan error, 1)
		go func() {
			ended <- q.Consume(t.Context(), func(context.Context, *jobqueue.Delivery) error { return nil }, nil)
		}()
		q.Enqueue(t.Context(), jobqueue.NewJob{Delay: time.Second})
		synctest.Wait()
		store.Close()
		go func() { _, err := b.Queue("other").Receive(t.Context(), nil); waiting <- err }()
		time.Sleep(time.Hour)
		wants(t, "Receive", <-waiting, jobqueue.ErrStoreFailed)
		_, err = q.Enqueue(t.Context(), jobqueue.NewJob{})
		wants(t, "Enqueue", err, jobqueue.ErrStoreFailed)
		wants(t, "Healthy", b.Healthy(t.Context()), jobqueue.ErrStoreFailed)
		if err := b.Shutdown(t.Context()); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := <-ended; err == nil {
			t.Error("Consume: got nil, want an error")
		}
	})
}
