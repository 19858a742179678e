package jobqueue_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/boltstore"
	"github.com/pollackq/pollack/storage/memstore"
)

// When the job ends, a job in the queue "callbacks" says so, in the same transaction: nothing is lost between "ended" and "told".
func ExampleNewJob_outbox() {
	ctx := context.Background()
	broker, _ := jobqueue.New(memstore.New(nil), nil)
	defer broker.Shutdown(ctx)

	work := broker.Queue("work")
	work.Enqueue(ctx, jobqueue.NewJob{Name: "report", Outbox: []string{"callbacks"}})
	d, _ := work.Receive(ctx, nil)
	d.Complete(ctx, jobqueue.NewResult{ContentType: "application/json", Data: []byte(`{"pages": 12}`)})

	callback, _ := broker.Queue("callbacks").Receive(ctx, nil)
	var told struct {
		Name, State string
		Result      struct{ Pages int }
	}
	body, _ := callback.Payload(ctx)
	json.Unmarshal(body, &told)
	fmt.Println(callback.Name, told)
	callback.Ack(ctx)
	// Output:
	// job.succeeded {report succeeded {12}}
}

// A job is admitted only if its account can pay for it.
func ExampleOptions_admit() {
	ctx := context.Background()
	var credit atomic.Int64
	credit.Store(1)
	broker, _ := jobqueue.New(memstore.New(nil), &jobqueue.Options{
		Admit: func(ctx context.Context, j *jobqueue.Job) error { // asked once for each new job, not for replays
			if credit.Add(-1) < 0 {
				credit.Add(1)
				return errors.New("no credit")
			}
			return nil
		},
		Forget: func(ctx context.Context, id jobqueue.ID) { credit.Add(1) }, // the job could not be added after all
	})
	defer broker.Shutdown(ctx)

	for _, key := range []string{"a", "a", "b"} {
		job, err := broker.Queue("work").Enqueue(ctx, jobqueue.NewJob{Key: key})
		fmt.Println(job != nil && job.Replayed, err, errors.Is(err, jobqueue.ErrRefused))
	}
	// Output:
	// false <nil> false
	// true <nil> false
	// false refused: no credit true
}

// failures is an Observer that is interested in one thing only.
type failures struct {
	jobqueue.NopObserver
	count atomic.Int32
}

func (o *failures) Ended(q jobqueue.QueueName, s jobqueue.State, since time.Duration) {
	if s == jobqueue.Failed {
		o.count.Add(1)
	}
}

// An Observer feeds metrics; Stats counts what a broker has done.
func ExampleObserver() {
	ctx := context.Background()
	o := new(failures)
	broker, _ := jobqueue.New(memstore.New(nil), &jobqueue.Options{Observer: o})
	defer broker.Shutdown(ctx)
	queue := broker.Queue("work")
	queue.EnqueueMany(ctx, make([]jobqueue.NewJob, 2))
	ds, _ := queue.ReceiveMany(ctx, 2, nil)
	ds[0].Ack(ctx)
	ds[1].Fail(ctx, "bad_input", "it is empty")

	fmt.Println(o.count.Load(), "failed")
	fmt.Printf("%+v\n", broker.Stats())
	// Output:
	// 1 failed
	// {Enqueued:2 Delivered:2 Succeeded:1 Failed:1 Canceled:0 Lapsed:0 Receivers:0}
}

// The user's row and the job commit together, or not at all.
func ExampleBroker_EnqueueTx() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	db, err := bbolt.Open(filepath.Join(dir, "shop.db"), 0o600, nil) // the user's own file
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	store, err := boltstore.Wrap(db, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	broker, _ := jobqueue.New(store, nil)
	defer broker.Shutdown(ctx)

	err = db.Update(func(tx *bbolt.Tx) error {
		orders, err := tx.CreateBucketIfNotExists([]byte("orders"))
		if err != nil {
			return err
		}
		if err := orders.Put([]byte("17"), []byte("100 nails")); err != nil {
			return err
		}
		_, err = broker.EnqueueTx(ctx, store.Tx(tx), "pack", jobqueue.NewJob{Payload: []byte("17")})
		return err
	})
	fmt.Println(err)

	d, err := broker.Queue("pack").Receive(ctx, nil)
	if err != nil {
		log.Fatal(err)
	}
	number, _ := d.Payload(ctx)
	fmt.Printf("order %s\n", number)
	// Output:
	// <nil>
	// order 17
}

// Many acks in one transaction, each with its own outcome.
func ExampleBroker_AckMany() {
	ctx := context.Background()
	broker, _ := jobqueue.New(memstore.New(nil), nil)
	defer broker.Shutdown(ctx)
	queue := broker.Queue("work")
	queue.EnqueueMany(ctx, make([]jobqueue.NewJob, 2))
	ds, _ := queue.ReceiveMany(ctx, 2, nil)
	broker.Cancel(ctx, ds[1].ID)

	results, _ := broker.AckMany(ctx, []jobqueue.Ack{
		{ID: ds[0].ID, Token: ds[0].Token},
		{ID: ds[1].ID, Token: ds[1].Token},
	})
	for _, r := range results {
		fmt.Println(r.Err)
	}
	// Output:
	// <nil>
	// lease lost: canceled
}

// For protocols that know no tokens: whoever knows the id settles the latest delivery.
func ExampleAnyToken() {
	ctx := context.Background()
	broker, _ := jobqueue.New(memstore.New(nil), nil)
	defer broker.Shutdown(ctx)
	queue := broker.Queue("work")
	job, _ := queue.Enqueue(ctx, jobqueue.NewJob{})

	_, err := broker.Ack(ctx, job.ID, jobqueue.AnyToken)
	fmt.Println(err)
	queue.Receive(ctx, nil)
	_, err = broker.Ack(ctx, job.ID, jobqueue.AnyToken)
	fmt.Println(err)
	// Output:
	// job has not been delivered
	// <nil>
}
