package jobqueue_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/memstore"
)

// bubble runs a test in virtual time on a broker in memory.
func bubble(t *testing.T, o *jobqueue.Options, test func(t *testing.T, b *jobqueue.Broker)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(nil)
		defer store.Close()
		b, err := jobqueue.New(store, o)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Shutdown(t.Context())
		test(t, b)
	})
}

func TestJobsHandedToWaitingReceiversDoNotCountAsBacklog(t *testing.T) {
	bubble(t, &jobqueue.Options{Backlog: 1}, func(t *testing.T, b *jobqueue.Broker) {
		q := b.Queue("q")
		got := make(chan error, 2)
		for range 2 {
			go func() {
				_, err := q.Receive(t.Context(), nil)
				got <- err
			}()
		}
		synctest.Wait()
		if _, err := q.EnqueueMany(t.Context(), make([]jobqueue.NewJob, 3)); err != nil {
			t.Fatalf("two to receivers and one to wait: got %v, want nil", err)
		}
		if err := errors.Join(<-got, <-got); err != nil {
			t.Error(err)
		}
		if _, err := q.Enqueue(t.Context(), jobqueue.NewJob{}); !errors.Is(err, jobqueue.ErrBacklogFull) {
			t.Errorf("one more: got %v, want %v", err, jobqueue.ErrBacklogFull)
		}
	})
}

func TestWithExplicitQueuesAnOutboxMustExist(t *testing.T) {
	bubble(t, &jobqueue.Options{ExplicitQueues: true}, func(t *testing.T, b *jobqueue.Broker) {
		q := b.Queue("q")
		if _, _, err := q.Configure(t.Context(), jobqueue.Settings{}); err != nil {
			t.Fatal(err)
		}
		j := jobqueue.NewJob{Outbox: []string{"events"}}
		if _, err := q.Enqueue(t.Context(), j); !errors.Is(err, jobqueue.ErrNotFound) {
			t.Errorf("got %v, want %v", err, jobqueue.ErrNotFound)
		}
		if _, _, err := b.Queue("events").Configure(t.Context(), jobqueue.Settings{}); err != nil {
			t.Fatal(err)
		}
		if _, err := q.Enqueue(t.Context(), j); err != nil {
			t.Error(err)
		}
	})
}

func TestAfterShutdownWaitStillTellsWhatIsSo(t *testing.T) {
	bubble(t, nil, func(t *testing.T, b *jobqueue.Broker) {
		j, err := b.Queue("q").Enqueue(t.Context(), jobqueue.NewJob{})
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, err := b.Wait(t.Context(), j.ID, 0); err != nil || got.ID != j.ID {
			t.Errorf("Wait for what is so: got %v, want the job", err)
		}
		if _, err := b.WaitEnd(t.Context(), j.ID); !errors.Is(err, jobqueue.ErrShutdown) {
			t.Errorf("WaitEnd: got %v, want %v", err, jobqueue.ErrShutdown)
		}
	})
}

func TestABrokerOfOneAccountEnqueuesForNoOther(t *testing.T) {
	bubble(t, nil, func(t *testing.T, b *jobqueue.Broker) {
		for _, of := range []*jobqueue.Broker{b.In(""), b.In("acme")} {
			_, err := of.Queue("q").Enqueue(t.Context(), jobqueue.NewJob{Account: "other"})
			if !errors.Is(err, jobqueue.ErrInvalid) {
				t.Errorf("got %v, want %v", err, jobqueue.ErrInvalid)
			}
		}
		j, err := b.Queue("q").Enqueue(t.Context(), jobqueue.NewJob{Account: "other", Delay: time.Hour})
		if err != nil || j.Account != "other" {
			t.Errorf("the house for an account: got %v, want its job", err)
		}
	})
}
