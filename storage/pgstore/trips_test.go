package pgstore_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/pgstore"
	"github.com/pollackq/pollack/storage/pgstore/internal/pgbubble"
	"github.com/pollackq/pollack/storage/pgstore/internal/pgtest"
)

// A lone caller waits for two trips: one that begins the transaction and reads all that will be wanted, and one that writes and commits it. Where the node
// remembers what will be wanted it is one. A look is answered after its first trip; the second ends the snapshot.
func TestAStepOfALoneCallerTakesTwoTrips(t *testing.T) {
	open := pgbubble.Opener(t) // in a bubble nothing goes to the database besides
	for name, remembers := range map[string]bool{"a node that remembers": true, "a node that does not": false} {
		t.Run(name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { countTrips(t, open(t), remembers) }) })
	}
}

func countTrips(t *testing.T, store *pgstore.Store, remembers bool) {
	ctx := t.Context()
	defer store.Close()
	b, err := jobqueue.New(store, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Shutdown(ctx)
	q := b.Queue("q")
	_, _, err = q.Configure(ctx, jobqueue.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	var d *jobqueue.Delivery
	step := func(name string, want uint64, run func() error) {
		t.Helper()
		time.Sleep(time.Microsecond) // until nothing is under way
		if !remembers {
			store.Forget()
		}
		before := store.Stats().Trips
		if err := run(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		time.Sleep(time.Microsecond)
		if got := store.Stats().Trips - before; got > want || !remembers && got < want {
			t.Errorf("%s: got %d trips, want %d", name, got, want)
		}
	}
	enqueue := func(j jobqueue.NewJob) func() error {
		return func() error { _, err := q.Enqueue(ctx, j); return err }
	}
	receive := func() (err error) { d, err = q.TryReceive(ctx, nil); return err }
	for range 2 {
		step("Enqueue", 2, enqueue(jobqueue.NewJob{Payload: []byte("p")}))
		step("Receive", 2, receive)
		step("Extend", 2, func() error { return d.Extend(ctx, time.Minute) })
		step("Progress", 2, func() error { return d.Progress(ctx, 0.5, "half") })
		step("Job", 2, func() error { _, err := b.Job(ctx, d.ID); return err })
		step("Release", 2, func() error { return d.Release(ctx, nil) })
		step("Receive", 2, receive)
		step("Ack", 2, func() error { return d.Ack(ctx) })
		step("Ack, repeated", 2, func() error { return d.Ack(ctx) })

		step("Enqueue with a delay", 2, enqueue(jobqueue.NewJob{Delay: time.Hour}))
		step("EnqueueMany", 2, func() error { _, err := q.EnqueueMany(ctx, make([]jobqueue.NewJob, 50)); return err })
		step("Receive", 2, receive)
		step("Complete", 2, func() error { return d.Complete(ctx, jobqueue.NewResult{Data: []byte("r")}) })
		step("Job", 2, func() error { _, err := b.Job(ctx, d.ID); return err })
		step("Receive", 2, receive)
		step("Fail", 2, func() error { return d.Fail(ctx, "code", "message") })
		step("Redrive", 2, func() error { _, err := b.Redrive(ctx, d.ID); return err })
		step("Receive", 2, receive)
		step("AckNext", 2, func() (err error) { d, err = d.AckNext(ctx, nil); return err })
		step("Cancel", 2, func() error { _, err := b.Cancel(ctx, d.ID); return err })
		var ds []*jobqueue.Delivery
		step("ReceiveMany", 2, func() (err error) { ds, err = q.ReceiveMany(ctx, 60, nil); return err })
		acks := make([]jobqueue.Ack, len(ds))
		for i, d := range ds {
			acks[i] = jobqueue.Ack{ID: d.ID, Token: d.Token}
		}
		step("AckMany", 2, func() error { _, err := b.AckMany(ctx, acks); return err })
		step("Receive where nothing is", 2, func() error {
			if err := receive(); err != jobqueue.ErrEmpty {
				return err
			}
			return nil
		})
	}
	step("Enqueue with a key", 2, enqueue(jobqueue.NewJob{Key: "k"}))
	step("Enqueue with a key, repeated", 3, enqueue(jobqueue.NewJob{Key: "k"})) // by key, then the job
	step("Receive", 2, receive)
	step("Ack", 2, func() error { return d.Ack(ctx) })
	_, _, err = b.Queue("events").Configure(ctx, jobqueue.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	step("Enqueue with an outbox", 2, enqueue(jobqueue.NewJob{Outbox: []string{"events"}}))
	step("Receive", 2, receive)
	step("Ack that is told", 3, func() error { return d.Ack(ctx) }) // the job says who is told

	got := make(chan error)
	go func() { _, err := q.Receive(ctx, nil); got <- err }()
	step("Enqueue for a receiver that waits", 2, enqueue(jobqueue.NewJob{}))
	if err := <-got; err != nil {
		t.Error(err)
	}
}

// What is read beforehand is locked: so no more than was announced.
func TestOfTheQueuesOfACallOnlyTheFirstIsReadForWhatIsReady(t *testing.T) {
	schema := pgtest.Schema(t)
	one, two := openIn(t, schema), openIn(t, schema)
	defer one.Close()
	defer two.Close()
	a, b := storage.QueueName{Name: "a"}, storage.QueueName{Name: "b"}
	err := one.Update(t.Context(), storage.Reads{}, func(tx storage.Tx) error {
		for _, q := range []storage.QueueName{a, b} {
			if err := tx.PutQueue(&storage.Queue{QueueName: q}); err != nil {
				return err
			}
			if _, err := tx.AddJob(job(q, ""), nil); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	ready := func(s storage.Store, q storage.QueueName, r storage.Reads, then func()) (n int) {
		t.Helper()
		err := s.Update(t.Context(), r, func(tx storage.Tx) error {
			jobs, err := tx.Ready(q, 1)
			n = len(jobs)
			then()
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	none := func() {}
	first := ready(one, a, storage.Reads{Queues: []storage.QueueName{a, b}, Ready: 1}, func() {
		if n := ready(two, b, storage.Reads{}, none); n != 1 {
			t.Errorf("another node finds %d jobs in b, want 1", n)
		}
		if n := ready(two, a, storage.Reads{}, none); n != 0 {
			t.Errorf("another node finds %d jobs in a, want none", n)
		}
	})
	if first != 1 {
		t.Errorf("got %d jobs, want 1", first)
	}
}
