package jobqueue_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strings"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/memstore"
)

// A result is sent ahead, in a request of its own for instance, and becomes the job's when that is completed.
func ExampleQueue_Prepare() {
	ctx := context.Background()
	store := memstore.New(nil)
	defer store.Close()
	broker, err := jobqueue.New(store, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer broker.Shutdown(ctx)

	films := broker.Queue("films")
	films.Enqueue(ctx, jobqueue.NewJob{Payload: []byte("a cat, 4 seconds")})
	d, err := films.Receive(ctx, nil)
	if err != nil {
		log.Fatal(err)
	}
	u, err := films.Prepare(ctx, jobqueue.NewUpload{Key: "orders/17/cat.mp4", ContentType: "video/mp4", Size: 12})
	if err != nil {
		log.Fatal(err)
	}
	_, err = broker.PutUpload(ctx, u.ID, strings.NewReader("frame, frame"))
	fmt.Println(err)
	_, err = broker.PutUpload(ctx, u.ID, strings.NewReader("other frames"))
	fmt.Println(errors.Is(err, jobqueue.ErrWrongState))

	fmt.Println(d.Complete(ctx, jobqueue.NewResult{Upload: u}))
	job, err := broker.Job(ctx, d.ID)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s: %s\n", job.Result.ContentType, job.Result.Data)
	_, err = broker.Upload(ctx, u.ID)
	fmt.Println(errors.Is(err, jobqueue.ErrNotFound))
	// Output:
	// <nil>
	// true
	// <nil>
	// video/mp4: frame, frame
	// true
}
