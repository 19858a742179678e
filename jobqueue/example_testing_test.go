package jobqueue_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/memstore"
)

// A user's test in a bubble of testing/synctest: five minutes take no time.
func TestAJobThatNobodyAcksIsDeliveredAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		broker, err := jobqueue.New(memstore.New(nil), nil) // in the bubble, so that it has the bubble's time
		if err != nil {
			t.Fatal(err)
		}
		defer broker.Shutdown(ctx)
		queue := broker.Queue("work")
		queue.Enqueue(ctx, jobqueue.NewJob{})
		queue.Receive(ctx, nil)

		begun := time.Now()
		d, err := queue.Receive(ctx, nil)
		if err != nil || d.Deliveries != 2 || time.Since(begun) != 5*time.Minute {
			t.Errorf("got %v, %v after %v", d, err, time.Since(begun))
		}
	})
}

// Where a test speaks real HTTP, virtual time does not move. There the store gets a clock that the test moves by hand.
func Example_handClock() {
	ctx := context.Background()
	clock := memstore.NewClock(time.Now())
	broker, _ := jobqueue.New(memstore.New(&memstore.Options{Clock: clock}), nil)
	defer broker.Shutdown(ctx)
	queue := broker.Queue("work")
	queue.Enqueue(ctx, jobqueue.NewJob{})

	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d, err := queue.Receive(r.Context(), nil)
		if err != nil {
			return // the client has gone
		}
		fmt.Fprintf(w, "delivery %d", d.Deliveries)
	}))
	defer server.Close()

	poll := func() {
		resp, err := http.Get(server.URL)
		if err != nil {
			fmt.Println(err)
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		fmt.Printf("%s\n", body)
	}
	poll()
	clock.Advance(5 * time.Minute) // nobody has acked
	poll()
	// Output:
	// delivery 1
	// delivery 2
}

// Idle waits until a queue's work is done, and needs no guess at how long that takes.
func ExampleQueue_Idle() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	broker, _ := jobqueue.New(memstore.New(nil), nil)
	defer broker.Shutdown(context.Background())
	queue := broker.Queue("work")
	go queue.Consume(ctx, func(context.Context, *jobqueue.Delivery) error { return nil }, nil)

	queue.EnqueueMany(ctx, make([]jobqueue.NewJob, 100))
	fmt.Println(queue.Idle(ctx))
	info, _ := queue.Info(ctx)
	fmt.Println(info.Counts[jobqueue.Succeeded])
	// Output:
	// <nil>
	// 100
}
