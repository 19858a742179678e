package jobqueue_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/memstore"
)

// Workers of this process: Consume receives, calls the handler, keeps the lease meanwhile and settles the job by what the handler returns.
func ExampleQueue_Consume() {
	ctx, stop := context.WithCancel(context.Background())
	broker, _ := jobqueue.New(memstore.New(nil), nil)
	defer broker.Shutdown(context.Background())
	queue := broker.Queue("greetings")
	queue.Enqueue(ctx, jobqueue.NewJob{Payload: []byte("Ada")})
	queue.Enqueue(ctx, jobqueue.NewJob{Payload: []byte("Grace")})

	go func() {
		queue.Idle(ctx) // until all is done
		stop()
	}()
	err := queue.Consume(ctx, func(ctx context.Context, d *jobqueue.Delivery) error {
		name, err := d.Payload(ctx)
		if err != nil {
			return err // to be tried again, after a pause
		}
		fmt.Printf("hello %s\n", name)
		return nil // done
	}, &jobqueue.ConsumeOptions{Workers: 1})
	fmt.Println(err)
	// Output:
	// hello Ada
	// hello Grace
	// <nil>
}

// An error that trying again will not mend.
func ExamplePermanent() {
	ctx, stop := context.WithCancel(context.Background())
	broker, _ := jobqueue.New(memstore.New(nil), nil)
	defer broker.Shutdown(context.Background())
	queue := broker.Queue("mail")
	job, _ := queue.Enqueue(ctx, jobqueue.NewJob{Payload: []byte("nobody")})

	go func() { queue.Idle(ctx); stop() }()
	queue.Consume(ctx, func(context.Context, *jobqueue.Delivery) error {
		return jobqueue.Permanent("no_such_address", errors.New("nobody is not an address"))
	}, nil)

	job, _ = broker.Job(context.Background(), job.ID)
	fmt.Println(job.State, *job.Failure)
	// Output:
	// failed {no_such_address nobody is not an address}
}

// An error that says itself when to try again.
func ExampleRetryAfter() {
	ctx, stop := context.WithCancel(context.Background())
	broker, _ := jobqueue.New(memstore.New(nil), nil)
	defer broker.Shutdown(context.Background())
	queue := broker.Queue("calls")
	job, _ := queue.Enqueue(ctx, jobqueue.NewJob{})

	queue.Consume(ctx, func(context.Context, *jobqueue.Delivery) error {
		stop() // for the sake of the example; Grace lets this handler finish
		return jobqueue.RetryAfter(time.Hour, errors.New("429 Too Many Requests"))
	}, &jobqueue.ConsumeOptions{Workers: 1, Grace: time.Minute})

	job, _ = broker.Job(context.Background(), job.ID)
	fmt.Println(job.State, job.RunAt.After(job.Created.Add(59*time.Minute)))
	// Output:
	// scheduled true
}

// A handler's context ends when the job is canceled. The cause says so.
func ExampleBroker_Cancel() {
	ctx, stop := context.WithCancel(context.Background())
	broker, _ := jobqueue.New(memstore.New(nil), nil)
	defer broker.Shutdown(context.Background())
	queue := broker.Queue("long")
	queue.Enqueue(ctx, jobqueue.NewJob{})

	queue.Consume(ctx, func(ctx context.Context, d *jobqueue.Delivery) error {
		defer stop()
		go broker.Cancel(context.Background(), d.ID) // somebody else

		<-ctx.Done()
		fmt.Println(context.Cause(ctx))
		return ctx.Err()
	}, nil)
	// Output:
	// lease lost: canceled
}

type order struct {
	Item  string `json:"item"`
	Count int    `json:"count"`
}

// A queue whose payloads are values of a type.
func ExampleJSON() {
	ctx := context.Background()
	broker, _ := jobqueue.New(memstore.New(nil), nil)
	defer broker.Shutdown(ctx)
	orders := jobqueue.JSON[order](broker.Queue("orders"))

	job, _ := orders.Enqueue(ctx, order{"nails", 100}, nil)

	what, delivery, _ := orders.Receive(ctx, nil)
	fmt.Println(what.Count, what.Item)
	jobqueue.CompleteJSON(ctx, delivery, "packed")

	result, err := jobqueue.ResultJSON[string](ctx, broker, job.ID)
	fmt.Println(result, err)
	// Output:
	// 100 nails
	// packed <nil>
}

// In this order: first no more requests, then the broker, then the store.
func ExampleBroker_Shutdown() {
	store := memstore.New(nil)
	broker, _ := jobqueue.New(store, nil)
	queue := broker.Queue("work")
	waits, answered := make(chan bool), make(chan error)
	go func() {
		_, err := queue.Receive(context.Background(), &jobqueue.ReceiveOptions{OnWait: func() error { waits <- true; return nil }})
		answered <- err
	}()
	<-waits

	// The HTTP server, if there is one, comes first: server.Shutdown(ctx), with broker.Shutdown beside it, which ends the polls it waits for.
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	fmt.Println("broker:", broker.Shutdown(ctx)) // answers who waits, waits for its workers
	fmt.Println("store:", store.Close())
	fmt.Println("receiver:", <-answered)
	// Output:
	// broker: <nil>
	// store: <nil>
	// receiver: broker is shutting down
}
