package jobqueue_test

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/boltstore"
)

func TestAWaitingReceiverGetsTheJobInTheEnqueuesOwnTransaction(t *testing.T) {
	withRig(t, nil, func(r *rig) {
		waiting := r.park(r.ctx, nil)
		var j *jobqueue.Job
		if n := r.updates(func() { j = r.enqueue("x") }); n != 1 {
			t.Errorf("got %d transactions, want 1", n)
		}
		d := r.got(waiting, j.ID)
		if j.State != jobqueue.Running || j.Deliveries != 1 || j.Position != 0 {
			t.Errorf("the enqueue returned %v, %d deliveries, position %d; want running, 1, 0", j.State, j.Deliveries, j.Position)
		}
		if want := d.Started.Add(jobqueue.DefaultLease); !d.LeaseExpires.Equal(want) {
			t.Errorf("the lease expires %v, want %v", d.LeaseExpires, want)
		}
		next := r.park(r.ctx, nil) // does not ack: the lease lapses as any other
		time.Sleep(jobqueue.DefaultLease)
		if again := r.got(next, j.ID); again.Deliveries != 2 || again.Lapses != 1 {
			t.Errorf("again: got %d deliveries, %d lapses; want 2, 1", again.Deliveries, again.Lapses)
		}
		lost(t, "the first's ack", d.Ack(r.ctx), jobqueue.Redelivered)
	})
}

func TestAHandOverIsOneCommitOnDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, err := boltstore.Open(filepath.Join(t.TempDir(), "jobs"), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		b, err := jobqueue.New(store, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Shutdown(t.Context())
		q, got := b.Queue("work"), make(chan *jobqueue.Delivery)
		go func() { d, _ := q.Receive(t.Context(), nil); got <- d }()
		synctest.Wait()
		before := store.Stats().Commits
		j, err := q.Enqueue(t.Context(), jobqueue.NewJob{Payload: []byte("x")})
		if err != nil {
			t.Fatal(err)
		}
		if d := <-got; d.ID != j.ID {
			t.Errorf("got %v, want %v", d.ID, j.ID)
		}
		if n := store.Stats().Commits - before; n != 1 {
			t.Errorf("got %d commits, want 1", n)
		}
	})
}

func TestManyJobsAreHandedToManyReceiversInOneTransaction(t *testing.T) {
	for _, c := range []struct{ receivers, jobs int }{{5, 5}, {5, 3}, {3, 5}, {1, 100}, {100, 1}} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			withRig(t, nil, func(r *rig) {
				ctx, cancel := context.WithCancel(r.ctx)
				defer cancel()
				var waiting []<-chan received
				for range c.receivers {
					waiting = append(waiting, r.park(ctx, nil))
				}
				jobs := make([]jobqueue.NewJob, c.jobs)
				for i := range jobs {
					jobs[i].Payload = fmt.Append(nil, i)
				}
				var out []*jobqueue.Job
				if n := r.updates(func() { out, _ = r.q.EnqueueMany(r.ctx, jobs) }); n != 1 {
					t.Errorf("got %d transactions, want 1", n)
				}
				for i := range min(c.receivers, c.jobs) {
					d := r.got(waiting[i], out[i].ID) // who waited longest gets the first
					if p, _ := d.Inline(); string(p) != fmt.Sprint(i) {
						t.Errorf("job %d came with payload %q", i, p)
					}
				}
				for i := c.jobs; i < c.receivers; i++ {
					r.silent(waiting[i])
				}
				if ds, err := r.q.ReceiveMany(r.ctx, jobqueue.MaxBatch, &jobqueue.ReceiveOptions{Wait: -1}); len(ds) != max(c.jobs-c.receivers, 0) {
					t.Errorf("left over: got %d, %v; want %d", len(ds), err, max(c.jobs-c.receivers, 0))
				}
			})
		})
	}
}

// Fewer receivers than jobs: the most urgent ones go out.
func TestAHandOverHeedsPriority(t *testing.T) {
	withRig(t, nil, func(r *rig) {
		a, b := r.park(r.ctx, nil), r.park(r.ctx, nil)
		out, err := r.q.EnqueueMany(r.ctx, []jobqueue.NewJob{{Priority: 1}, {Priority: 3}, {Priority: 2}})
		if err != nil {
			t.Fatal(err)
		}
		got := []jobqueue.ID{r.answer(a).d.ID, r.answer(b).d.ID}
		if !slices.Contains(got, out[1].ID) || !slices.Contains(got, out[2].ID) {
			t.Errorf("got %v, want the jobs of priority 3 and 2 of %v", got, out)
		}
	})
}

func TestJobsThatAreNotReadyOrNotNewAreNotHandedOver(t *testing.T) {
	withRig(t, nil, func(r *rig) {
		known := r.add(jobqueue.NewJob{Key: "k", Delay: time.Hour})
		ctx, cancel := context.WithCancel(r.ctx)
		waiting := r.park(ctx, nil)
		if j := r.add(jobqueue.NewJob{Key: "k", Delay: time.Hour}); !j.Replayed || j.ID != known.ID {
			t.Errorf("replay: got %+v", j)
		}
		r.add(jobqueue.NewJob{Delay: 30 * time.Minute})
		r.add(jobqueue.NewJob{RunAt: time.Now().Add(31 * time.Minute)})
		r.silent(waiting)
		past := r.add(jobqueue.NewJob{RunAt: time.Now().Add(-time.Hour)})
		r.got(waiting, past.ID)
		cancel()
	})
}

// A job that is ready already goes first, even though a receiver waits: its look has been held up.
func TestAHandOverDoesNotOvertakeWhatIsReady(t *testing.T) {
	withRig(t, nil, func(r *rig) {
		first := r.enqueue("first")
		d := r.take()
		waiting := r.park(r.ctx, nil)
		g := make(chan struct{})
		calls := 0
		r.store.onUpdate(func(context.Context) error {
			if calls++; calls == 1 {
				<-g // the enqueue, which has reserved the receiver
			}
			return nil
		})
		second := make(chan jobqueue.ID)
		go func() {
			j, _ := r.q.Enqueue(r.ctx, jobqueue.NewJob{Payload: []byte("second")})
			second <- j.ID
		}()
		synctest.Wait()
		if err := d.Release(r.ctx, nil); err != nil {
			t.Fatal(err)
		}
		r.silent(waiting)
		close(g)
		id := <-second
		r.got(waiting, first.ID)
		if d := r.take(); d.ID != id {
			t.Errorf("then: got %v, want %v", d.ID, id)
		}
	})
}

func TestAReceiverThatGaveUpDuringTheCommitPassesTheJobOn(t *testing.T) {
	withRig(t, nil, func(r *rig) {
		ctx, cancel := context.WithCancel(r.ctx)
		leaver, stayer := r.park(ctx, nil), r.park(r.ctx, nil)
		g := make(chan struct{})
		r.store.onUpdate(func(context.Context) error { <-g; return nil })
		added := make(chan *jobqueue.Job)
		go func() { j, _ := r.q.Enqueue(r.ctx, jobqueue.NewJob{}); added <- j }()
		synctest.Wait()
		cancel()
		r.silent(leaver) // its fate is being decided
		close(g)
		j := <-added
		wants(t, "the one who left", r.answer(leaver).err, context.Canceled)
		if d := r.got(stayer, j.ID); d.Deliveries != 1 || d.Lapses != 0 {
			t.Errorf("the other: got %d deliveries, %d lapses; want 1, 0", d.Deliveries, d.Lapses)
		}
	})
}

func TestAReceiverWhoseWaitEndsDuringTheCommitStillGetsTheJob(t *testing.T) {
	withRig(t, nil, func(r *rig) {
		waiting := r.park(r.ctx, &jobqueue.ReceiveOptions{Wait: time.Second})
		r.store.onUpdate(func(context.Context) error { time.Sleep(time.Minute); return nil })
		j := r.enqueue("x")
		r.got(waiting, j.ID)
	})
}

func TestAnEnqueueThatFailsLeavesNobodyStuck(t *testing.T) {
	for name, fail := range map[string]func(r *rig) (jobqueue.NewJob, context.Context, error){
		"the store fails": func(r *rig) (jobqueue.NewJob, context.Context, error) {
			calls := 0
			r.store.onUpdate(func(context.Context) error {
				if calls++; calls == 1 {
					return errDisk
				}
				return nil
			})
			return jobqueue.NewJob{}, r.ctx, errDisk
		},
		"the context ends": func(r *rig) (jobqueue.NewJob, context.Context, error) {
			ctx, cancel := context.WithCancel(r.ctx)
			calls := 0
			r.store.onUpdate(func(context.Context) error {
				if calls++; calls == 1 {
					cancel()
				}
				return nil
			})
			return jobqueue.NewJob{}, ctx, context.Canceled
		},
		"the key is another request's": func(r *rig) (jobqueue.NewJob, context.Context, error) {
			r.add(jobqueue.NewJob{Key: "k", Delay: time.Hour})
			return jobqueue.NewJob{Key: "k"}, r.ctx, jobqueue.ErrKeyReused
		},
		"the payload cannot be read": func(r *rig) (jobqueue.NewJob, context.Context, error) {
			return jobqueue.NewJob{Body: io.MultiReader(badReader{})}, r.ctx, errDisk
		},
		"the deadline has passed": func(r *rig) (jobqueue.NewJob, context.Context, error) {
			return jobqueue.NewJob{Deadline: time.Now().Add(-1)}, r.ctx, jobqueue.ErrInvalid
		},
	} {
		t.Run(name, func(t *testing.T) {
			withRig(t, nil, func(r *rig) {
				a, b := r.park(r.ctx, nil), r.park(r.ctx, nil)
				j, ctx, want := fail(r)
				_, err := r.q.Enqueue(ctx, j)
				wants(t, "Enqueue", err, want)
				r.silent(a)
				r.silent(b)
				r.q.Configure(r.ctx, jobqueue.Settings{})
				first, second := r.enqueue("1"), r.enqueue("2")
				got := []jobqueue.ID{r.answer(a).d.ID, r.answer(b).d.ID}
				if !slices.Contains(got, first.ID) || !slices.Contains(got, second.ID) {
					t.Errorf("got %v, want %v and %v", got, first.ID, second.ID)
				}
			})
		})
	}
}

type badReader struct{}

func (badReader) Read([]byte) (int, error) { return 0, errDisk }

// A panic of the store, or of the observer, is somebody else's bug: the receivers survive it.
func TestAnEnqueueThatPanicsLeavesNobodyStuck(t *testing.T) {
	withRig(t, nil, func(r *rig) {
		waiting := r.park(r.ctx, nil)
		r.store.onUpdate(func(context.Context) error { panic("bug") })
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic did not come through")
				}
			}()
			r.store.mu.Lock()
			hook := r.store.before
			r.store.before = func(ctx context.Context) error { r.store.onUpdate(nil); return hook(ctx) } // once
			r.store.mu.Unlock()
			r.q.Enqueue(r.ctx, jobqueue.NewJob{})
		}()
		r.silent(waiting)
		r.got(waiting, r.enqueue("x").ID)
	})
}

func TestReceiversAreServedInTheOrderOfTheirComing(t *testing.T) {
	withRig(t, nil, func(r *rig) {
		var waiting []<-chan received
		for range 20 {
			waiting = append(waiting, r.park(r.ctx, nil))
		}
		for i, w := range waiting {
			if i%2 == 0 {
				r.got(w, r.enqueue("x").ID)
				continue
			}
			j := r.add(jobqueue.NewJob{Delay: time.Second}) // comes by a signal
			time.Sleep(time.Second)
			r.got(w, j.ID)
		}
	})
}

func TestJobsThatBecomeReadyTogetherWakeAsManyReceivers(t *testing.T) {
	withRig(t, nil, func(r *rig) {
		ctx, cancel := context.WithCancel(r.ctx)
		defer cancel()
		var waiting []<-chan received
		for range 5 {
			waiting = append(waiting, r.park(ctx, nil))
		}
		at := time.Now().Add(time.Minute)
		jobs, err := r.q.EnqueueMany(r.ctx, []jobqueue.NewJob{{RunAt: at}, {RunAt: at}, {RunAt: at}})
		if err != nil {
			t.Fatal(err)
		}
		if n := r.updates(func() { time.Sleep(time.Minute) }); n != 4 {
			t.Errorf("got %d transactions, want one of the timeline and one of each receiver that was woken", n)
		}
		got := map[jobqueue.ID]bool{}
		for _, w := range waiting[:3] {
			got[r.answer(w).d.ID] = true
		}
		for _, j := range jobs {
			if !got[j.ID] {
				t.Errorf("nobody got job %v", j.ID)
			}
		}
		r.silent(waiting[3])
		r.silent(waiting[4])
	})
}

func TestAThousandParkedReceiversCostNothingAndEachJobOneTransaction(t *testing.T) {
	withRig(t, nil, func(r *rig) {
		const n = 1000
		var waiting []<-chan received
		for range n {
			waiting = append(waiting, r.park(r.ctx, nil))
		}
		if got := r.b.Stats().Receivers; got != n {
			t.Errorf("Receivers: got %d, want %d", got, n)
		}
		before := r.mem.Stats()
		time.Sleep(time.Hour)
		synctest.Wait()
		if after := r.mem.Stats(); after != before {
			t.Errorf("an hour of waiting: got %+v, want %+v", after, before)
		}
		var ids []jobqueue.ID
		if took := r.updates(func() {
			for range n {
				ids = append(ids, r.enqueue("x").ID)
			}
		}); took != n {
			t.Errorf("%d enqueues took %d transactions", n, took)
		}
		for i, w := range waiting {
			r.got(w, ids[i])
		}
		if got := r.b.Stats(); got.Receivers != 0 || got.Delivered != n {
			t.Errorf("afterwards: got %+v, want no receivers and %d delivered", got, n)
		}
	})
}
