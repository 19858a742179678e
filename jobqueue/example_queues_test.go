package jobqueue_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/memstore"
)

// What a readiness probe asks. A broker that shuts down wants no more traffic.
func ExampleBroker_Healthy() {
	ctx := context.Background()
	broker, _ := jobqueue.New(memstore.New(nil), nil)

	fmt.Println(broker.Healthy(ctx))
	broker.Shutdown(ctx)
	fmt.Println(broker.Healthy(ctx))
	// Output:
	// <nil>
	// broker is shutting down
}

// Figures for a metrics endpoint.
func ExampleBroker_Stats() {
	ctx := context.Background()
	broker, _ := jobqueue.New(memstore.New(nil), nil)
	defer broker.Shutdown(ctx)
	queue := broker.Queue("work")
	queue.EnqueueMany(ctx, make([]jobqueue.NewJob, 3))
	d, _ := queue.Receive(ctx, nil)
	d.Ack(ctx)

	stats := broker.Stats()
	fmt.Println(stats.Enqueued, stats.Delivered, stats.Succeeded, stats.Receivers)
	// Output: 3 1 1 0
}

// A submitter need not remember ids: its own key finds the job.
func ExampleBroker_JobByKey() {
	ctx := context.Background()
	broker, _ := jobqueue.New(memstore.New(nil), nil)
	defer broker.Shutdown(ctx)
	invoices := broker.Queue("invoices")
	invoices.Enqueue(ctx, jobqueue.NewJob{Key: "order-17"})

	job, err := broker.JobByKey(ctx, storage.QueueName{Name: "invoices"}, "order-17")
	fmt.Println(job.State, err)
	_, err = broker.JobByKey(ctx, storage.QueueName{Name: "invoices"}, "order-18")
	fmt.Println(err)
	// Output:
	// pending <nil>
	// not found
}

// Purge empties a queue of what waits; whoever is at work may finish.
func ExampleQueue_Purge() {
	ctx := context.Background()
	broker, _ := jobqueue.New(memstore.New(nil), nil)
	defer broker.Shutdown(ctx)
	queue := broker.Queue("newsletter")
	queue.EnqueueMany(ctx, make([]jobqueue.NewJob, 3))
	d, _ := queue.Receive(ctx, nil)

	fmt.Println(queue.Purge(ctx))
	fmt.Println(d.Ack(ctx))
	// Output:
	// 2 <nil>
	// <nil>
}

// A queue that was for one batch of work is forgotten once its results have been fetched.
func ExampleQueue_Delete() {
	ctx := context.Background()
	broker, _ := jobqueue.New(memstore.New(nil), nil)
	defer broker.Shutdown(ctx)
	batch := broker.Queue("batch-2030-01")
	batch.Enqueue(ctx, jobqueue.NewJob{})
	batch.Close(ctx)
	fmt.Println("one job left:", errors.Is(batch.Delete(ctx), jobqueue.ErrWrongState))

	d, _ := batch.Receive(ctx, nil)
	d.Ack(ctx)
	fmt.Println("done:", batch.Delete(ctx))
	_, err := batch.Info(ctx)
	fmt.Println("then:", err)
	// Output:
	// one job left: true
	// done: <nil>
	// then: not found
}
