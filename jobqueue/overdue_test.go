package jobqueue_test

import (
	"context"
	"testing"
	"time"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/memstore"
)

// A silent store never rings, so that the timeline comes to nothing: what is overdue stays so until a call meets it.
type silent struct{ storage.Store }

func (silent) Alarm(time.Time, func()) (stop func()) { return func() {} }

// overdue returns a key's job that has used up its deliveries, is not kept when it ends, and whose lease has just run out.
func overdue(t *testing.T, tombstone time.Duration) (context.Context, *jobqueue.Broker, *jobqueue.Queue, jobqueue.NewJob, *jobqueue.Delivery) {
	ctx := context.Background()
	clock := memstore.NewClock(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC))
	store := memstore.New(&memstore.Options{Clock: clock})
	b, err := jobqueue.New(silent{store}, &jobqueue.Options{MaxDeliveries: 1, Retention: -1, Tombstone: tombstone})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Shutdown(ctx); store.Close() })
	q, j := b.Queue("q"), jobqueue.NewJob{Key: "k", Payload: []byte("payload")}
	if _, err := q.Enqueue(ctx, j); err != nil {
		t.Fatal(err)
	}
	d, err := q.TryReceive(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	clock.Advance(jobqueue.DefaultLease)
	return ctx, b, q, j, d
}

func TestAKeyWhoseJobHasJustEndedUnkeptIsFree(t *testing.T) {
	ctx, _, q, j, d := overdue(t, -1)
	got, err := q.Enqueue(ctx, j)
	if err != nil || got.Replayed || got.ID == d.ID {
		t.Errorf("got %+v, %v; want a new job", got, err)
	}
}

func TestAKeyWhoseJobHasJustEndedUnkeptNamesItsTombstone(t *testing.T) {
	ctx, _, q, j, d := overdue(t, time.Hour)
	got, err := q.Enqueue(ctx, j)
	if err != nil || !got.Replayed || got.ID != d.ID || got.State != jobqueue.Gone {
		t.Errorf("got %+v, %v; want the tombstone of %v", got, err, d.ID)
	}
}

func TestAJobThatHasJustEndedUnkeptIsNotRedriven(t *testing.T) {
	for tombstone, want := range map[time.Duration]error{-1: jobqueue.ErrNotFound, time.Hour: jobqueue.ErrGone} {
		ctx, b, q, _, d := overdue(t, tombstone)
		j, err := b.Redrive(ctx, d.ID)
		wants(t, "redrive", err, want)
		if err == nil {
			again, err := q.TryReceive(ctx, nil)
			t.Errorf("tombstone %v: it was redriven as %+v, and received as %+v, %v", tombstone, j, again, err)
		}
	}
}
