package jobqueue_test

import (
	"encoding/json"
	"errors"
	"strings"
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

func TestAReceiverLearnsThatAQueueIsDoneThoughItKeepsNoTombstones(t *testing.T) {
	for name, retention := range map[string]time.Duration{"ended jobs are kept": 0, "nothing is kept": -1} {
		t.Run(name, func(t *testing.T) {
			bubble(t, &jobqueue.Options{Tombstone: -1, Retention: retention}, func(t *testing.T, b *jobqueue.Broker) {
				q := b.Queue("q")
				if _, err := q.Enqueue(t.Context(), jobqueue.NewJob{}); err != nil {
					t.Fatal(err)
				}
				d, err := q.Receive(t.Context(), nil)
				if err != nil {
					t.Fatal(err)
				}
				waits := make(chan error)
				go func() {
					_, err := q.Receive(t.Context(), nil)
					waits <- err
				}()
				synctest.Wait()
				if err := errors.Join(q.Close(t.Context()), d.Ack(t.Context())); err != nil {
					t.Fatal(err)
				}
				if err := <-waits; !errors.Is(err, jobqueue.ErrDone) {
					t.Errorf("one that waited: got %v, want %v", err, jobqueue.ErrDone)
				}
				if _, err := q.Receive(t.Context(), nil); !errors.Is(err, jobqueue.ErrDone) {
					t.Errorf("one that comes after: got %v, want %v", err, jobqueue.ErrDone)
				}
			})
		})
	}
}

func TestACompleteAfterAnAckDoesNotPretendToKeepItsResult(t *testing.T) {
	bubble(t, nil, func(t *testing.T, b *jobqueue.Broker) {
		q := b.Queue("q")
		for range 2 {
			if _, err := q.Enqueue(t.Context(), jobqueue.NewJob{}); err != nil {
				t.Fatal(err)
			}
		}
		result := jobqueue.NewResult{ContentType: "text/plain", Data: []byte("r")}
		acked, _ := q.Receive(t.Context(), nil)
		completed, _ := q.Receive(t.Context(), nil)
		if err := errors.Join(acked.Ack(t.Context()), completed.Complete(t.Context(), result)); err != nil {
			t.Fatal(err)
		}
		var lost *jobqueue.LeaseLostError
		if err := acked.Complete(t.Context(), result); !errors.As(err, &lost) || lost.Reason != jobqueue.JobSucceeded {
			t.Errorf("Complete after Ack: got %v, want %v", err, jobqueue.JobSucceeded)
		}
		if err := acked.Ack(t.Context()); err != nil {
			t.Errorf("Ack again: %v", err)
		}
		if err := errors.Join(completed.Complete(t.Context(), result), completed.Ack(t.Context())); err != nil {
			t.Errorf("Complete and Ack after Complete: %v", err)
		}
	})
}

func TestADeliveryBringsTheMessageOfAnEarlierOne(t *testing.T) {
	bubble(t, nil, func(t *testing.T, b *jobqueue.Broker) {
		q := b.Queue("q")
		if _, err := q.Enqueue(t.Context(), jobqueue.NewJob{}); err != nil {
			t.Fatal(err)
		}
		d, _ := q.Receive(t.Context(), nil)
		if _, err := b.Progress(t.Context(), d.ID, d.Token, jobqueue.Progress{Fraction: 0.5, Message: "page 7"}); err != nil {
			t.Fatal(err)
		}
		if j, err := b.Progress(t.Context(), d.ID, d.Token, jobqueue.Progress{Message: "page 8", MessageOnly: true}); err != nil || *j.Progress != 0.5 {
			t.Fatalf("a message only: got %v, want progress 0.5", err)
		}
		if err := d.Release(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		d, err := q.Receive(t.Context(), nil)
		if err != nil || d.ProgressMessage != "page 8" || *d.Job.Progress != 0.5 {
			t.Errorf("got %q, %v; want the message", d.ProgressMessage, err)
		}
	})
}

func TestJSONThatCannotStandInOtherJSONIsLeftOut(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for _, c := range []struct {
		name, contentType, value string
		want                     bool
	}{
		{"an object", "application/json", `{"a":"[[[\\\"[["}`, true},
		{"with parameters", "application/problem+json; charset=utf-8", `1`, true},
		{"nested 1,000 deep", "application/json", deep(1000), true},
		{"nested 1,001 deep", "application/json", deep(1001), false},
		{"nested so deep that no decoder takes it", "application/json", deep(10_000), false},
		{"another type", "text/plain", `1`, false},
		{"not JSON", "application/json", `{`, false},
		{"not UTF-8", "application/json", "\"\xff\"", false},
		{"too large", "application/json", `"` + strings.Repeat("a", jobqueue.InlineLimit) + `"`, false},
	} {
		if got := jobqueue.InlineJSON(c.contentType, []byte(c.value)); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
		j := &jobqueue.Job{State: jobqueue.Succeeded, Result: &jobqueue.Result{ContentType: c.contentType, Data: []byte(c.value)}}
		p, err := json.Marshal([]*jobqueue.Job{j})
		if err != nil || strings.Contains(string(p), `"result":null`) == c.want {
			t.Errorf("%s: a job with it as its result is %.200s, %v", c.name, p, err)
		}
	}
}
