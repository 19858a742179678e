package jobqueue_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/boltstore"
	"github.com/pollackq/pollack/storage/memstore"
)

// These tests end a broker in each state that it can be in (I20): whoever waits is told at once and by the documented error, nothing is acknowledged
// afterwards, and no goroutine is left, which the bubble of each test demands.

// waits are the calls that wait, each in a state in which it does; held is a running job of the queue "held".
var waits = map[string]func(r *rig, held *jobqueue.Delivery) error{
	"Receive": func(r *rig, _ *jobqueue.Delivery) error { _, err := r.q.Receive(r.ctx, nil); return err },
	"Receive for an hour": func(r *rig, _ *jobqueue.Delivery) error {
		_, err := r.q.Receive(r.ctx, &jobqueue.ReceiveOptions{Wait: time.Hour})
		return err
	},
	"ReceiveMany": func(r *rig, _ *jobqueue.Delivery) error { _, err := r.q.ReceiveMany(r.ctx, 10, nil); return err },
	"AckReceive": func(r *rig, _ *jobqueue.Delivery) error {
		d := r.hold("acked")
		results, _, err := r.q.AckReceive(r.ctx, []jobqueue.Ack{{ID: d.ID, Token: d.Token}}, 10, nil)
		if len(results) != 1 || results[0].Err != nil {
			return fmt.Errorf("the ack: got %v", results)
		}
		return err
	},
	"AckNext":        func(r *rig, _ *jobqueue.Delivery) error { _, err := r.hold("next").AckNext(r.ctx, nil); return err },
	"Wait":           func(r *rig, d *jobqueue.Delivery) error { _, err := r.b.Wait(r.ctx, d.ID, d.Version); return err },
	"WaitEnd":        func(r *rig, d *jobqueue.Delivery) error { _, err := r.b.WaitEnd(r.ctx, d.ID); return err },
	"Idle":           func(r *rig, _ *jobqueue.Delivery) error { return r.b.Queue("held").Idle(r.ctx) },
	"an idle worker": func(r *rig, _ *jobqueue.Delivery) error { return r.q.Consume(r.ctx, handled, nil) },
	"a busy worker": func(r *rig, _ *jobqueue.Delivery) error {
		r.b.Queue("busy").Enqueue(r.ctx, jobqueue.NewJob{})
		return r.b.Queue("busy").Consume(r.ctx, func(ctx context.Context, _ *jobqueue.Delivery) error { <-ctx.Done(); return ctx.Err() }, nil)
	},
	"a worker that rests": func(r *rig, _ *jobqueue.Delivery) error {
		r.b.Queue("failing").Enqueue(r.ctx, jobqueue.NewJob{})
		return r.b.Queue("failing").Consume(r.ctx, func(context.Context, *jobqueue.Delivery) error { return errDisk }, nil)
	},
}

func handled(context.Context, *jobqueue.Delivery) error { return nil }

// hold leases a new job of a queue.
func (r *rig) hold(queue string) *jobqueue.Delivery {
	q := r.b.Queue(queue)
	if _, err := q.Enqueue(r.ctx, jobqueue.NewJob{}); err != nil {
		r.t.Error(err)
	}
	d, err := q.TryReceive(r.ctx, nil)
	if err != nil {
		r.t.Error(err)
		return &jobqueue.Delivery{}
	}
	return d
}

// shutdowns are the ways to end a broker; each returns what Shutdown returned.
var shutdowns = map[string]func(r *rig) error{
	"Shutdown": func(r *rig) error { return r.b.Shutdown(r.ctx) },
	"Shutdown twice": func(r *rig) error {
		return errors.Join(r.b.Shutdown(r.ctx), r.b.Shutdown(r.ctx))
	},
	"three Shutdowns at once": func(r *rig) error {
		errs := make([]error, 3)
		var all sync.WaitGroup
		for i := range errs {
			all.Go(func() { errs[i] = r.b.In(fmt.Sprint(i)).Shutdown(r.ctx) })
		}
		all.Wait()
		return errors.Join(errs...)
	},
	"a Shutdown whose context has ended, and another": func(r *rig) error {
		ctx, cancel := context.WithCancel(r.ctx)
		cancel()
		r.b.Shutdown(ctx) // may wait for nobody
		return r.b.Shutdown(r.ctx)
	},
}

func TestWhateverWaitsIsEndedByShutdown(t *testing.T) {
	for how, end := range shutdowns {
		t.Run(how, func(t *testing.T) {
			withRig(t, nil, func(r *rig) {
				held := r.hold("held")
				if _, err := r.b.Queue("full").Enqueue(r.ctx, jobqueue.NewJob{}); err != nil {
					t.Fatal(err)
				}
				type told struct {
					call string
					err  error
					at   time.Time
				}
				all := make(chan told, len(waits))
				for call, wait := range waits {
					go func() {
						err := wait(r, held)
						all <- told{call, err, time.Now()}
					}()
				}
				synctest.Wait()
				if len(all) > 0 {
					t.Fatalf("%v did not wait", <-all)
				}
				begun := time.Now()
				if err := end(r); err != nil {
					t.Errorf("got %v, want nil", err)
				}
				synctest.Wait()
				if len(all) != len(waits) {
					t.Errorf("%d of %d were told", len(all), len(waits))
				}
				for range len(all) {
					if a := <-all; !errors.Is(a.err, jobqueue.ErrShutdown) || !a.at.Equal(begun) {
						t.Errorf("%s: got %v after %v, want %v at once", a.call, a.err, a.at.Sub(begun), jobqueue.ErrShutdown)
					}
				}
				r.refusesAll(held)
			})
		})
	}
}

// refusesAll demands that a broker which has been shut down changes nothing any more.
func (r *rig) refusesAll(held *jobqueue.Delivery) {
	r.t.Helper()
	before := r.job(held.ID)
	updates := r.mem.Stats().Updates
	_, enqueued := r.q.Enqueue(r.ctx, jobqueue.NewJob{})
	_, staged := r.q.Enqueue(r.ctx, jobqueue.NewJob{Payload: make([]byte, 1<<20)})
	_, received := r.q.Receive(r.ctx, nil)
	_, acked := r.b.AckMany(r.ctx, []jobqueue.Ack{{ID: held.ID, Token: held.Token}})
	_, next := held.AckNext(r.ctx, nil)
	_, canceled := r.b.Cancel(r.ctx, held.ID)
	_, prepared := r.q.Prepare(r.ctx, jobqueue.NewUpload{})
	_, _, configured := r.q.Configure(r.ctx, jobqueue.Settings{})
	_, purged := r.b.Queue("full").Purge(r.ctx)
	_, redriven := r.b.Redrive(r.ctx, held.ID)
	_, waited := r.b.WaitEnd(r.ctx, held.ID)
	for call, err := range map[string]error{
		"Enqueue": enqueued, "Enqueue of a large payload": staged, "Receive": received, "AckMany": acked, "AckNext": next, "Cancel": canceled, "Prepare": prepared,
		"Configure": configured, "Purge": purged, "Redrive": redriven, "WaitEnd": waited,
		"Ack": held.Ack(r.ctx), "Complete": held.Complete(r.ctx, jobqueue.NewResult{}), "Complete with a large result": held.Complete(r.ctx, jobqueue.NewResult{Data: make([]byte, 1<<20)}),
		"Fail": held.Fail(r.ctx, "", ""), "Release": held.Release(r.ctx, nil), "Extend": held.Extend(r.ctx, 0), "Progress": held.Progress(r.ctx, 1, ""),
		"Close": r.q.Close(r.ctx), "Consume": r.q.Consume(r.ctx, handled, nil), "Idle": r.b.Queue("held").Idle(r.ctx),
	} {
		if !errors.Is(err, jobqueue.ErrShutdown) {
			r.t.Errorf("%s after the shutdown: got %v, want %v", call, err, jobqueue.ErrShutdown)
		}
	}
	if after := r.job(held.ID); after.Version != before.Version || after.State != jobqueue.Running {
		r.t.Errorf("the job has changed after the shutdown: it is %v, version %d, was %d", after.State, after.Version, before.Version)
	}
	time.Sleep(24 * time.Hour)
	if n := r.mem.Stats().Updates - updates; n > 0 {
		r.t.Errorf("there were %d transactions after the shutdown", n)
	}
}

// What is in the hands of the store when the broker ends comes to its own end, and what its caller is told is so.
func TestAnEnqueueInCommitOutlivesShutdown(t *testing.T) {
	for _, ends := range []string{"it commits", "it fails"} {
		for _, parked := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, a receiver waits: %t", ends, parked), func(t *testing.T) {
				withRig(t, nil, func(r *rig) {
					var receiver <-chan received
					if parked {
						receiver = r.park(r.ctx, nil)
					}
					commit := make(chan error)
					r.store.onUpdate(func(context.Context) error { return <-commit })
					type told struct {
						j   *jobqueue.Job
						err error
					}
					enqueue := make(chan told, 1)
					go func() {
						j, err := r.q.Enqueue(r.ctx, jobqueue.NewJob{Key: "k"})
						enqueue <- told{j, err}
					}()
					synctest.Wait() // the receiver is reserved for the job
					if err := r.b.Shutdown(r.ctx); err != nil {
						t.Errorf("Shutdown: %v", err)
					}
					r.store.onUpdate(nil)
					if ends == "it fails" {
						commit <- storage.ErrFull
					} else {
						commit <- nil
					}
					a := <-enqueue
					j, err := r.b.JobByKey(r.ctx, r.q.Name(), "k")
					switch ends {
					case "it commits":
						if a.err != nil || err != nil || j.ID != a.j.ID {
							t.Fatalf("Enqueue: got %v, %v; the job is %v, %v", a.j, a.err, j, err)
						}
					default:
						wants(t, "Enqueue", a.err, jobqueue.ErrStoreFull)
						wants(t, "the job", err, jobqueue.ErrNotFound)
					}
					if !parked {
						return
					}
					got := r.answer(receiver)
					if ends == "it commits" { // it was handed over in that commit
						if got.err != nil || got.d.ID != j.ID || j.State != jobqueue.Running {
							t.Errorf("Receive: got %v, %v; want the job", got.d, got.err)
						}
						return
					}
					wants(t, "Receive", got.err, jobqueue.ErrShutdown)
				})
			})
		}
	}
}

// half is a body of which a first part comes, and the rest when it is let.
type half struct {
	first int
	rest  chan struct{}
}

func (h *half) Read(p []byte) (int, error) {
	if h.first == 0 {
		<-h.rest
		return 0, io.EOF
	}
	n := min(len(p), h.first)
	h.first -= n
	return n, nil
}

func TestWhatIsHalfWrittenWhenTheBrokerEndsComesToNothing(t *testing.T) {
	for name, write := range map[string]func(l *lab, d *jobqueue.Delivery, u *jobqueue.Upload, body io.Reader) error{
		"a payload": func(l *lab, _ *jobqueue.Delivery, _ *jobqueue.Upload, body io.Reader) error {
			_, err := l.b.Queue("q").Enqueue(l.ctx, jobqueue.NewJob{Body: body})
			return err
		},
		"a result": func(l *lab, d *jobqueue.Delivery, _ *jobqueue.Upload, body io.Reader) error {
			return d.Complete(l.ctx, jobqueue.NewResult{Body: body})
		},
		"an upload": func(l *lab, _ *jobqueue.Delivery, u *jobqueue.Upload, body io.Reader) error {
			_, err := l.b.PutUpload(l.ctx, u.ID, body)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachStore(t, func(t *testing.T, open opener) {
				l := open(nil)
				d := l.held(jobqueue.NewJob{})
				u, err := l.b.Queue("q").Prepare(l.ctx, jobqueue.NewUpload{Size: -1})
				l.must(err)
				body := &half{first: 3 << 20, rest: make(chan struct{})}
				written := later(l, func() error { return write(l, d, u, body) })
				equal(l, "some is written", l.chunks() > 0, true)
				begun := time.Now()
				l.must(l.b.Shutdown(l.ctx)) // waits for no body
				equal(l, "the shutdown took", time.Since(begun), 0)
				close(body.rest)
				wants(l.T, "the one who wrote", written(), jobqueue.ErrShutdown)
				equal(l, "chunks", l.chunks(), 0)
				l.state(d.ID, jobqueue.Running)
			})
		})
	}
}

func TestAPayloadIsReadOnWhenTheBrokerEndsUntilTheStoreDoes(t *testing.T) {
	withRig(t, nil, func(r *rig) {
		const size = 4 * storage.ChunkSize
		j := r.add(jobqueue.NewJob{Payload: make([]byte, 2*size)})
		c, err := r.b.Payload(r.ctx, j.ID)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.b.Shutdown(r.ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if _, err := io.ReadFull(c, make([]byte, size)); err != nil {
			t.Errorf("after Shutdown: %v", err)
		}
		r.store.onView(func(context.Context) error { return storage.ErrClosed })
		if n, err := io.Copy(io.Discard, c); !errors.Is(err, jobqueue.ErrStoreFailed) || n >= size {
			t.Errorf("after the store has been closed: got %d bytes, %v; want %v", n, err, jobqueue.ErrStoreFailed)
		}
	})
}

// A store that has failed, or was closed first, tells whoever waits when the next transaction finds out, and keeps no Shutdown waiting.
func TestWhateverWaitsIsToldOfAStoreThatEnded(t *testing.T) {
	for how, want := range map[string]struct {
		fault error
		err   error
	}{
		"the outcome of a commit is unknown, and it refuses all work": {storage.ErrOutcomeUnknown, jobqueue.ErrOutcomeUnknown},
		"it failed":     {storage.ErrFailed, jobqueue.ErrStoreFailed},
		"it was closed": {storage.ErrClosed, jobqueue.ErrStoreFailed},
	} {
		t.Run(how, func(t *testing.T) {
			withRig(t, nil, func(r *rig) {
				held := r.hold("held")
				after := storage.ErrFailed
				if want.fault == storage.ErrClosed {
					after = storage.ErrClosed
				}
				failed := func(context.Context) error { return after }
				calls := []string{"Receive", "Receive for an hour", "ReceiveMany", "AckReceive", "AckNext", "Wait", "WaitEnd", "Idle", "an idle worker"}
				all := make(chan error, len(calls))
				for _, call := range calls {
					go func() {
						if err := waits[call](r, held); !errors.Is(err, jobqueue.ErrStoreFailed) {
							all <- fmt.Errorf("%s: got %v, want %v", call, err, jobqueue.ErrStoreFailed)
							return
						}
						all <- nil
					}()
				}
				synctest.Wait()
				begun := time.Now()
				r.store.onUpdate(func(context.Context) error { // the first finds out, and none gets through after it
					r.store.onUpdate(failed)
					r.store.onView(failed)
					return want.fault
				})
				_, err := r.b.Queue("another").Enqueue(r.ctx, jobqueue.NewJob{})
				wants(t, "Enqueue", err, want.err)
				for range calls {
					if err := <-all; err != nil {
						t.Error(err)
					}
				}
				if err := r.b.Shutdown(r.ctx); err != nil {
					t.Errorf("Shutdown: %v", err)
				}
				if took := time.Since(begun); took != 0 {
					t.Errorf("it took %v, want no time", took)
				}
				r.store.onUpdate(nil)
				r.store.onView(nil)
				if got := r.job(held.ID); got.State != jobqueue.Running {
					t.Errorf("got %v, want running", got.State)
				}
			})
		})
	}
}

func TestAStoreThatIsClosedFirstEndsWhateverWaitsWithShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := memstore.New(nil)
		b, err := jobqueue.New(mem, nil)
		if err != nil {
			t.Fatal(err)
		}
		r := &rig{t: t, ctx: t.Context(), mem: mem, b: b, q: b.Queue("work")}
		held := r.hold("held")
		all := make(chan error, len(waits))
		for call, wait := range waits {
			go func() {
				err := wait(r, held)
				if !errors.Is(err, jobqueue.ErrShutdown) && !errors.Is(err, jobqueue.ErrStoreFailed) {
					t.Errorf("%s: got %v, want %v or %v", call, err, jobqueue.ErrShutdown, jobqueue.ErrStoreFailed)
				}
				all <- err
			}()
		}
		synctest.Wait()
		mem.Close()
		begun := time.Now()
		if err := b.Shutdown(r.ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		for range waits {
			<-all
		}
		if took := time.Since(begun); took != 0 {
			t.Errorf("it took %v, want no time", took)
		}
		if err := held.Ack(r.ctx); !errors.Is(err, jobqueue.ErrShutdown) {
			t.Errorf("Ack: got %v, want %v", err, jobqueue.ErrShutdown)
		}
	})
}

// A store that is full still takes back what workers hold.
func TestAFullStoreShutsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path, ctx := filepath.Join(t.TempDir(), "jobs.db"), t.Context()
		open := func() (*boltstore.Store, *jobqueue.Broker) {
			store, err := boltstore.Open(path, &boltstore.Options{MaxSize: 2 << 20})
			if err != nil {
				t.Fatal(err)
			}
			b, err := jobqueue.New(store, nil)
			if err != nil {
				t.Fatal(err)
			}
			return store, b
		}
		store, b := open()
		q := b.Queue("work")
		n := 0
		for ; ; n++ {
			_, err := q.Enqueue(ctx, jobqueue.NewJob{Payload: make([]byte, 32<<10)})
			if errors.Is(err, jobqueue.ErrStoreFull) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		ended := make(chan error, 1)
		go func() {
			ended <- q.Consume(ctx, func(ctx context.Context, _ *jobqueue.Delivery) error { <-ctx.Done(); return ctx.Err() }, nil)
		}()
		synctest.Wait()
		if err := errors.Join(b.Shutdown(ctx), store.Close()); err != nil {
			t.Fatal(err)
		}
		wants(t, "Consume", <-ended, jobqueue.ErrShutdown)
		store, b = open()
		info, err := b.Queue("work").Info(ctx)
		if err != nil || info.Counts[jobqueue.Pending] != int64(n) {
			t.Errorf("got %v, %v; want all %d jobs pending", info, err, n)
		}
		if err := errors.Join(b.Shutdown(ctx), store.Close()); err != nil {
			t.Fatal(err)
		}
	})
}

// An alarm that is set by what was under way while the broker ended would keep all of it in memory until it rings, be it in fifty years.
func TestNoAlarmIsLeftByWhatOutlivesShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &alarms{hooked: hooked{Store: memstore.New(nil)}}
		b, err := jobqueue.New(store, nil)
		if err != nil {
			t.Fatal(err)
		}
		commit := make(chan struct{})
		synctest.Wait()
		store.onUpdate(func(context.Context) error { <-commit; return nil })
		enqueued := make(chan error, 1)
		go func() {
			_, err := b.Queue("q").Enqueue(t.Context(), jobqueue.NewJob{Delay: time.Hour})
			enqueued <- err
		}()
		synctest.Wait()
		if err := b.Shutdown(t.Context()); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		close(commit)
		if err := <-enqueued; err != nil {
			t.Errorf("Enqueue: %v", err)
		}
		if n := store.left(); n != 0 {
			t.Errorf("%d alarms are left", n)
		}
		store.Close()
	})
}

// alarms is a store that counts its alarms.
type alarms struct {
	hooked
	count sync.Mutex // guards n
	n     int
}

func (a *alarms) left() int {
	a.count.Lock()
	defer a.count.Unlock()
	return a.n
}

func (a *alarms) add(by int) {
	a.count.Lock()
	defer a.count.Unlock()
	a.n += by
}

// Alarm implements storage.Alarmer; the alarms of this test never ring.
func (a *alarms) Alarm(time.Time, func()) (stop func()) {
	a.add(1)
	return sync.OnceFunc(func() { a.add(-1) })
}
