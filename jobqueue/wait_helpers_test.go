package jobqueue_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/memstore"
)

// A rig is a broker on a memory store in a bubble of its own, with one queue to play with.
type rig struct {
	t     *testing.T
	ctx   context.Context
	mem   *memstore.Store
	store *hooked
	b     *jobqueue.Broker
	q     *jobqueue.Queue
}

// withRig runs fn in a bubble, then shuts the broker down and checks the store. A goroutine that is left behind fails the bubble.
func withRig(t *testing.T, o *jobqueue.Options, fn func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, ctx: t.Context(), mem: memstore.New(nil)}
		r.store = &hooked{Store: r.mem}
		var err error
		if r.b, err = jobqueue.New(r.store, o); err != nil {
			t.Fatal(err)
		}
		r.q = r.b.Queue("work")
		synctest.Wait() // the timeline has had its first look
		t.Cleanup(func() {
			r.store.onUpdate(nil)
			r.store.onCommit(nil)
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			if err := r.b.Shutdown(ctx); err != nil {
				t.Errorf("Shutdown: got %v, want nil", err)
			}
			synctest.Wait()
			if receivers, idlers, watches := r.b.Left(); receivers+idlers+watches != 0 {
				t.Errorf("left behind: %d receivers, %d that wait for idleness, %d watched jobs", receivers, idlers, watches)
			}
			if err := r.mem.Check(ctx); err != nil {
				t.Errorf("the store disagrees with itself: %v", err)
			}
			r.mem.Close()
		})
		fn(r)
	})
}

// enqueue adds a job with that payload.
func (r *rig) enqueue(payload string) *jobqueue.Job {
	r.t.Helper()
	return r.add(jobqueue.NewJob{Payload: []byte(payload)})
}

func (r *rig) add(j jobqueue.NewJob) *jobqueue.Job {
	r.t.Helper()
	out, err := r.q.Enqueue(r.ctx, j)
	if err != nil {
		r.t.Fatalf("Enqueue: %v", err)
	}
	return out
}

// take receives a job that must be there.
func (r *rig) take() *jobqueue.Delivery {
	r.t.Helper()
	d, err := r.q.TryReceive(r.ctx, nil)
	if err != nil {
		r.t.Fatalf("TryReceive: %v", err)
	}
	return d
}

func (r *rig) job(id jobqueue.ID) *jobqueue.Job {
	r.t.Helper()
	j, err := r.b.Job(r.ctx, id)
	if err != nil {
		r.t.Fatalf("Job: %v", err)
	}
	return j
}

// received is the answer to a Receive, and when it came.
type received struct {
	d   *jobqueue.Delivery
	err error
	at  time.Time
}

// park has a receiver wait, and returns once it does.
func (r *rig) park(ctx context.Context, o *jobqueue.ReceiveOptions) <-chan received {
	out := make(chan received, 1)
	go func() {
		d, err := r.q.Receive(ctx, o)
		out <- received{d, err, time.Now()}
	}()
	synctest.Wait()
	return out
}

// answer returns what has come, without waiting for more than what is under way.
func (r *rig) answer(c <-chan received) received {
	r.t.Helper()
	synctest.Wait()
	select {
	case got := <-c:
		return got
	default:
		r.t.Fatal("the receiver still waits")
		return received{}
	}
}

// silent demands that a receiver still waits.
func (r *rig) silent(c <-chan received) {
	r.t.Helper()
	synctest.Wait()
	select {
	case got := <-c:
		r.t.Fatalf("the receiver got %v, %v; want it to wait", got.d, got.err)
	default:
	}
}

// got demands that a receiver has been given a job.
func (r *rig) got(c <-chan received, id jobqueue.ID) *jobqueue.Delivery {
	r.t.Helper()
	a := r.answer(c)
	if a.err != nil || a.d.ID != id {
		r.t.Fatalf("the receiver got %v, %v; want job %v", a.d, a.err, id)
	}
	return a.d
}

// updates returns how many transactions fn took, once all it set off is quiet.
func (r *rig) updates(fn func()) uint64 {
	synctest.Wait()
	before := r.mem.Stats().Updates
	fn()
	synctest.Wait()
	return r.mem.Stats().Updates - before
}

// wants demands an error of a kind.
func wants(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// lost demands a lost lease with its reason.
func lost(t *testing.T, what string, err error, want jobqueue.Reason) {
	t.Helper()
	var l *jobqueue.LeaseLostError
	if !errors.As(err, &l) || l.Reason != want || !errors.Is(err, jobqueue.ErrLeaseLost) {
		t.Errorf("%s: got %v, want a lost lease with reason %q", what, err, want)
	}
}

// hooked is a store whose transactions can be held up, or made to fail before they begin, or be followed by something.
type hooked struct {
	storage.Store
	mu     sync.Mutex // guards what follows
	before func(ctx context.Context) error
	after  func()
	view   func(ctx context.Context) error
}

// Unwrap lets storage.As see the store itself.
func (h *hooked) Unwrap() storage.Store { return h.Store }

// onUpdate has fn called before every Update; what it returns is what the Update returns, unless that is nil.
func (h *hooked) onUpdate(fn func(ctx context.Context) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.before = fn
}

// onCommit has fn called when an Update has succeeded and not returned yet.
func (h *hooked) onCommit(fn func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.after = fn
}

// onView is onUpdate for View.
func (h *hooked) onView(fn func(ctx context.Context) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.view = fn
}

func (h *hooked) View(ctx context.Context, r storage.Reads, fn func(storage.Reader) error) error {
	h.mu.Lock()
	view := h.view
	h.mu.Unlock()
	if view != nil {
		if err := view(ctx); err != nil {
			return err
		}
	}
	return h.Store.View(ctx, r, fn)
}

func (h *hooked) Update(ctx context.Context, r storage.Reads, fn func(storage.Tx) error) error {
	h.mu.Lock()
	before, after := h.before, h.after
	h.mu.Unlock()
	if before != nil {
		if err := before(ctx); err != nil {
			return err
		}
	}
	err := h.Store.Update(ctx, r, fn)
	if err == nil && after != nil {
		after()
	}
	return err
}

var errDisk = errors.New("the disk is away")
