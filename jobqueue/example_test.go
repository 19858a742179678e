package jobqueue_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/memstore"
)

func Example() {
	ctx := context.Background()
	store := memstore.New(nil) // or boltstore.Open("jobs.db", nil)
	defer store.Close()
	broker, err := jobqueue.New(store, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer broker.Shutdown(ctx)

	mail := broker.Queue("mail")
	if _, err := mail.Enqueue(ctx, jobqueue.NewJob{Payload: []byte("hello")}); err != nil {
		log.Fatal(err)
	}

	delivery, err := mail.Receive(ctx, nil) // waits, if there is nothing
	if err != nil {
		log.Fatal(err)
	}
	text, _ := delivery.Payload(ctx)
	fmt.Printf("%s, delivery %d\n", text, delivery.Deliveries)
	fmt.Println(delivery.Ack(ctx))
	// Output:
	// hello, delivery 1
	// <nil>
}

// One broker serves many accounts. What belongs to one does not exist for the others.
func ExampleBroker_In() {
	ctx := context.Background()
	broker, _ := jobqueue.New(memstore.New(nil), nil)
	defer broker.Shutdown(ctx)

	alice, bob := broker.In("alice"), broker.In("bob")
	job, _ := alice.Queue("mail").Enqueue(ctx, jobqueue.NewJob{})

	_, err := bob.Job(ctx, job.ID)
	fmt.Println("bob:", err)
	_, err = bob.Queue("mail").TryReceive(ctx, nil) // bob's own queue of that name
	fmt.Println("bob:", err)
	job, err = broker.Job(ctx, job.ID) // the house sees all
	fmt.Println("house:", job.Queue.Account, err)
	// Output:
	// bob: not found
	// bob: queue is empty
	// house: alice <nil>
}

// A Key makes it safe to enqueue again when one does not know whether it worked.
func ExampleQueue_Enqueue_key() {
	ctx := context.Background()
	broker, _ := jobqueue.New(memstore.New(nil), nil)
	defer broker.Shutdown(ctx)
	invoices := broker.Queue("invoices")

	for range 2 {
		job, err := invoices.Enqueue(ctx, jobqueue.NewJob{Key: "order-17", Payload: []byte("3 EUR")})
		fmt.Println(job.Position, job.Replayed, err)
	}
	_, err := invoices.Enqueue(ctx, jobqueue.NewJob{Key: "order-17", Payload: []byte("4 EUR")})
	fmt.Println(errors.Is(err, jobqueue.ErrKeyReused))
	// Output:
	// 0 false <nil>
	// 0 true <nil>
	// true
}

// Urgent jobs come first, others in the order they were enqueued.
func ExampleQueue_EnqueueMany() {
	ctx := context.Background()
	broker, _ := jobqueue.New(memstore.New(nil), nil)
	defer broker.Shutdown(ctx)
	queue := broker.Queue("work")

	queue.EnqueueMany(ctx, []jobqueue.NewJob{ // all or none
		{Name: "one"},
		{Name: "two"},
		{Name: "urgent", Priority: 5},
	})
	deliveries, _ := queue.ReceiveMany(ctx, 10, nil)
	for _, d := range deliveries {
		fmt.Println(d.Name, d.Position)
	}
	// Output:
	// urgent 2
	// one 0
	// two 1
}

// A receiver that waits is given the job in the very transaction that adds it.
func ExampleQueue_Receive() {
	ctx := context.Background()
	broker, _ := jobqueue.New(memstore.New(nil), nil)
	defer broker.Shutdown(ctx)
	queue := broker.Queue("work")

	waits, done := make(chan bool), make(chan bool)
	go func() {
		d, err := queue.Receive(ctx, &jobqueue.ReceiveOptions{
			Wait:   time.Minute, // then ErrEmpty
			OnWait: func() error { waits <- true; return nil },
		})
		fmt.Println("received", d.Name, err)
		done <- true
	}()
	<-waits
	job, _ := queue.Enqueue(ctx, jobqueue.NewJob{Name: "now"})
	<-done
	fmt.Println("enqueued, and", job.State)
	// Output:
	// received now <nil>
	// enqueued, and running
}

// Whoever enqueued a job can wait until it has ended.
func ExampleBroker_WaitEnd() {
	ctx := context.Background()
	broker, _ := jobqueue.New(memstore.New(nil), nil)
	defer broker.Shutdown(ctx)
	sums := broker.Queue("sums")

	go func() { // a consumer
		d, _ := sums.Receive(ctx, nil)
		d.Complete(ctx, jobqueue.NewResult{ContentType: "text/plain", Data: []byte("42")})
	}()

	job, _ := sums.Enqueue(ctx, jobqueue.NewJob{Payload: []byte("40 + 2")})
	job, err := broker.WaitEnd(ctx, job.ID)
	fmt.Printf("%v: %s %v\n", job.State, job.Result.Data, err)
	// Output:
	// succeeded: 42 <nil>
}

// Every change of a job gives it a higher version. Wait returns when there is one after the version that is already known.
func ExampleBroker_Wait() {
	ctx := context.Background()
	broker, _ := jobqueue.New(memstore.New(nil), nil)
	defer broker.Shutdown(ctx)
	queue := broker.Queue("videos")
	job, _ := queue.Enqueue(ctx, jobqueue.NewJob{})
	delivery, _ := queue.Receive(ctx, nil)

	told := make(chan bool)
	go func() { // whoever watches
		for version := delivery.Version; ; {
			job, _ := broker.Wait(ctx, job.ID, version)
			version = job.Version
			if job.State.Ended() {
				fmt.Println(job.State)
				told <- true
				return
			}
			fmt.Printf("%.0f %% %s\n", *job.Progress*100, job.ProgressMessage)
			told <- true
		}
	}()

	delivery.Progress(ctx, 0.5, "first pass") // the consumer
	<-told
	delivery.Ack(ctx)
	<-told
	// Output:
	// 50 % first pass
	// succeeded
}

// A job that cannot be done now is given back, to come again after a while.
func ExampleDelivery_Release() {
	ctx := context.Background()
	broker, _ := jobqueue.New(memstore.New(nil), nil)
	defer broker.Shutdown(ctx)
	queue := broker.Queue("work")
	queue.Enqueue(ctx, jobqueue.NewJob{})

	d, _ := queue.Receive(ctx, nil)
	d.Release(ctx, &jobqueue.ReleaseOptions{Delay: time.Hour})

	job, _ := broker.Job(ctx, d.ID)
	fmt.Println(job.State, job.RunAt.After(job.Started), job.Deliveries)
	fmt.Println(d.Ack(ctx)) // the token has ended
	// Output:
	// scheduled true 1
	// lease lost: released
}

// A LeaseLostError says what became of the job instead.
func ExampleLeaseLostError() {
	ctx := context.Background()
	broker, _ := jobqueue.New(memstore.New(nil), nil)
	defer broker.Shutdown(ctx)
	queue := broker.Queue("work")
	queue.Enqueue(ctx, jobqueue.NewJob{})

	d, _ := queue.Receive(ctx, nil)
	broker.Cancel(ctx, d.ID)

	err := d.Progress(ctx, 0.9, "nearly there")
	var lost *jobqueue.LeaseLostError
	if errors.As(err, &lost) && lost.Reason == jobqueue.JobCanceled {
		fmt.Println("nobody wants it any more")
	}
	// Output:
	// nobody wants it any more
}

// Jobs that ran out of deliveries are dead letters: they can be looked at, and be tried again once the cause is mended.
func ExampleBroker_Redrive() {
	ctx := context.Background()
	broker, _ := jobqueue.New(memstore.New(nil), &jobqueue.Options{MaxDeliveries: 3})
	defer broker.Shutdown(ctx)
	queue := broker.Queue("work")
	queue.Enqueue(ctx, jobqueue.NewJob{Name: "stubborn"})
	for range 3 {
		d, _ := queue.Receive(ctx, nil)
		d.Release(ctx, nil)
	}

	dead, _, _ := queue.Jobs(ctx, jobqueue.ListOptions{State: jobqueue.Failed})
	for _, job := range dead {
		fmt.Printf("%s: %s (%s)\n", job.Name, job.Failure.Message, job.Failure.Code)
		job, _ = broker.Redrive(ctx, job.ID)
		fmt.Println(job.State, job.Deliveries)
	}
	// Output:
	// stubborn: delivered 3 times without being acknowledged (deliveries_exhausted)
	// pending 0
}

// A queue for one batch of work: close it after the last job, and its consumers learn when all is done.
func ExampleQueue_Close() {
	ctx := context.Background()
	broker, _ := jobqueue.New(memstore.New(nil), nil)
	defer broker.Shutdown(ctx)
	batch := broker.Queue("batch-2030-01")
	batch.EnqueueMany(ctx, []jobqueue.NewJob{{Name: "a"}, {Name: "b"}})
	batch.Close(ctx)

	_, err := batch.Enqueue(ctx, jobqueue.NewJob{})
	fmt.Println(err)
	for {
		d, err := batch.Receive(ctx, nil)
		if errors.Is(err, jobqueue.ErrDone) {
			fmt.Println(err)
			return
		}
		fmt.Println(d.Name)
		d.Ack(ctx)
	}
	// Output:
	// queue is closed
	// a
	// b
	// queue is done
}

// A queue's settings hold for its jobs, unless a job says otherwise.
func ExampleQueue_Configure() {
	ctx := context.Background()
	broker, _ := jobqueue.New(memstore.New(nil), nil)
	defer broker.Shutdown(ctx)
	queue := broker.Queue("calls")

	info, created, _ := queue.Configure(ctx, jobqueue.Settings{
		Limits:  jobqueue.Limits{Lease: time.Minute, MaxDeliveries: 5},
		Backlog: 2,
	})
	fmt.Println(created, info.Effective.Lease, info.Effective.Retention)

	_, err := queue.EnqueueMany(ctx, make([]jobqueue.NewJob, 3))
	fmt.Println(err)
	// Output:
	// true 1m0s 24h0m0s
	// backlog is full
}
