package jobqueue_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/memstore"
)

// These tests run in real time, as those of users do that speak real HTTP: the store's clock is moved by hand, and what follows is waited for.

// generous is how long anything may take on a busy machine.
const generous = time.Minute

func handClock(t *testing.T, o *jobqueue.Options) (context.Context, *memstore.Clock, *jobqueue.Broker) {
	clock := memstore.NewClock(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC))
	store := memstore.New(&memstore.Options{Clock: clock})
	b, err := jobqueue.New(store, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), generous)
	t.Cleanup(func() {
		if err := b.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		cancel()
		store.Close()
	})
	return ctx, clock, b
}

// waiting has a receiver wait, and returns once it does.
func waiting(ctx context.Context, q *jobqueue.Queue) <-chan received {
	out, waits := make(chan received, 1), make(chan struct{})
	go func() {
		d, err := q.Receive(ctx, &jobqueue.ReceiveOptions{OnWait: func() error { close(waits); return nil }})
		out <- received{d: d, err: err}
	}()
	<-waits
	return out
}

func TestAHandClockMovesAllThatTimeDoes(t *testing.T) {
	ctx, clock, b := handClock(t, &jobqueue.Options{Retention: time.Hour, Tombstone: time.Hour})
	q := b.Queue("work")
	j, err := q.Enqueue(ctx, jobqueue.NewJob{Delay: time.Minute})
	if err != nil || !j.Created.Equal(clock.Now()) {
		t.Fatalf("created %v, %v; want %v", j.Created, err, clock.Now())
	}
	first := waiting(ctx, q)
	clock.Advance(time.Minute)
	a := <-first
	if a.err != nil || !a.d.Started.Equal(clock.Now()) {
		t.Fatalf("a delay: got %v, %v", a.d, a.err)
	}
	second := waiting(ctx, q)
	clock.Advance(jobqueue.DefaultLease - 1)
	select {
	case a := <-second:
		t.Fatalf("before the lease is over: got %v, %v", a.d, a.err)
	default:
	}
	clock.Advance(1)
	a = <-second
	if a.err != nil || a.d.Lapses != 1 {
		t.Fatalf("a lapse: got %v, %v", a.d, a.err)
	}
	if err := a.d.Ack(ctx); err != nil {
		t.Fatal(err)
	}
	if got, err := b.Job(ctx, j.ID); err != nil || got.Expires.Sub(clock.Now()) != time.Hour {
		t.Errorf("expires: got %v, %v", got, err)
	}
	clock.Advance(time.Hour)
	_, err = b.Job(ctx, j.ID)
	wants(t, "after the retention", err, jobqueue.ErrGone)
	clock.Advance(time.Hour) // the job may not have been retired before: its tombstone's time is over nevertheless
	for ; !errors.Is(err, jobqueue.ErrNotFound); _, err = b.Job(ctx, j.ID) {
		if ctx.Err() != nil {
			t.Fatalf("after the tombstone's time: got %v, want %v", err, jobqueue.ErrNotFound)
		}
		runtime.Gosched()
	}
}

func TestAHandClockEndsAWorkersLease(t *testing.T) {
	ctx, clock, b := handClock(t, nil)
	q := b.Queue("work")
	begun, causes := make(chan int, 10), make(chan error, 10)
	stopped := make(chan error, 1)
	consuming, stop := context.WithCancel(ctx)
	go func() {
		stopped <- q.Consume(consuming, func(ctx context.Context, d *jobqueue.Delivery) error {
			begun <- d.Deliveries
			if d.Deliveries > 1 {
				return nil
			}
			<-ctx.Done()
			causes <- context.Cause(ctx)
			return ctx.Err()
		}, &jobqueue.ConsumeOptions{Workers: 2})
	}()
	if _, err := q.Enqueue(ctx, jobqueue.NewJob{}); err != nil {
		t.Fatal(err)
	}
	<-begun
	clock.Advance(10 * time.Second)                                // the lease of a worker
	wants(t, "the first handler", <-causes, jobqueue.ErrLeaseLost) // lapsed, or redelivered already
	if n := <-begun; n != 2 {
		t.Errorf("delivered as number %d, want 2", n)
	}
	if err := q.Idle(ctx); err != nil {
		t.Error(err)
	}
	stop()
	if err := <-stopped; err != nil {
		t.Errorf("Consume: got %v, want nil", err)
	}
}

func TestManyStepsOfAHandClockLoseNothing(t *testing.T) {
	ctx, clock, b := handClock(t, nil)
	q := b.Queue("work")
	const n = 50
	for i := range n {
		if _, err := q.Enqueue(ctx, jobqueue.NewJob{Delay: time.Duration(1+i) * time.Second}); err != nil {
			t.Fatal(err)
		}
	}
	go func() {
		for range n {
			clock.Advance(time.Second) // the timeline may come to several at once
		}
	}()
	for range n {
		d, err := q.Receive(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Ack(ctx); err != nil {
			t.Fatal(err)
		}
	}
}
