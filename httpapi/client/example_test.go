package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/httpapi/client"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/memstore"
)

// startServer starts a queue server, which is somebody else's business: see package httpapi.
func startServer() (url string, stop func()) {
	store := memstore.New(nil)
	broker, err := jobqueue.New(store, nil)
	if err != nil {
		panic(err)
	}
	handler, err := httpapi.New(broker, &httpapi.Options{Authenticate: httpapi.BearerTokens(map[string]string{"secret": "demo"})})
	if err != nil {
		panic(err)
	}
	server := httptest.NewServer(handler)
	return server.URL, func() {
		handler.Drain()
		server.Close()
		broker.Shutdown(context.Background())
		store.Close()
	}
}

// One program submits a job and waits for its result, another works.
func Example() {
	url, stop := startServer()
	defer stop()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c, err := client.New(url, &client.Options{Token: "secret"})
	if err != nil {
		fmt.Println(err)
		return
	}

	worker := make(chan error)
	go func() {
		worker <- c.Consume(ctx, "shout", func(ctx context.Context, d *client.Delivery) error {
			payload, err := d.Bytes(ctx, 1<<20)
			if err != nil {
				return err
			}
			return d.Complete(ctx, strings.ToUpper(string(payload)))
		}, nil)
	}()

	job, err := c.Submit(ctx, "shout", client.NewJob{Payload: []byte("hello"), Key: "greeting 1"})
	if err != nil {
		fmt.Println(err)
		return
	}
	job, err = c.Wait(ctx, job.ID, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(job.State, string(job.Result))

	cancel()
	fmt.Println(<-worker)
	// Output:
	// succeeded "HELLO"
	// <nil>
}

// A consumer of one's own polls, works and settles.
func ExampleClient_Poll() {
	url, stop := startServer()
	defer stop()
	ctx := context.Background()
	c, _ := client.New(url, &client.Options{Token: "secret"})
	c.Submit(ctx, "mail", client.NewJob{Payload: []byte("to: you"), Name: "letter"})
	c.Close(ctx, "mail") // nothing more will come

	for {
		got, err := c.Poll(ctx, "mail", &client.PollOptions{Wait: 30 * time.Second})
		if errors.Is(err, client.ErrEmpty) {
			continue
		}
		if err != nil {
			fmt.Println(err)
			break
		}
		payload, _ := got[0].Inline()
		fmt.Printf("%s: %s\n", got[0].Name, payload)
		got[0].Ack(ctx)
	}
	// Output:
	// letter: to: you
	// server answered 410 Gone, queue_done: the queue is closed and all its jobs have ended
}

// What a handler returns decides what becomes of its job.
func ExampleClient_Consume() {
	url, stop := startServer()
	defer stop()
	ctx := context.Background()
	c, _ := client.New(url, &client.Options{Token: "secret"})
	for _, payload := range []string{"good", "bad"} {
		c.Submit(ctx, "q", client.NewJob{Payload: []byte(payload), Name: payload})
	}
	c.Close(ctx, "q")

	err := c.Consume(ctx, "q", func(ctx context.Context, d *client.Delivery) error {
		payload, err := d.Bytes(ctx, 1<<20)
		if err != nil {
			return err // the job is delivered again, after a pause
		}
		if string(payload) == "bad" {
			return client.Permanent("bad_payload", fmt.Errorf("cannot work with %q", payload))
		}
		return nil // the job has succeeded
	}, &client.ConsumeOptions{Workers: 1})
	fmt.Println("done:", errors.Is(err, client.ErrDone))

	for job, err := range c.Jobs(ctx, "q", "") {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(job.Name, job.State, job.Failure)
	}
	// Output:
	// done: true
	// good succeeded <nil>
	// bad failed &{bad_payload cannot work with "bad"}
}

// Part of a payload, as of RFC 9110.
func ExampleClient_Payload() {
	url, stop := startServer()
	defer stop()
	ctx := context.Background()
	c, _ := client.New(url, &client.Options{Token: "secret"})
	job, _ := c.Submit(ctx, "films", client.NewJob{Body: strings.NewReader("0123456789"), ContentType: "video/mp4"})

	part, err := c.Payload(ctx, job.ID, &client.Range{Offset: 4, Length: 3})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer part.Close()
	p, _ := io.ReadAll(part)
	fmt.Printf("%s of %d bytes, %s\n", p, part.Size, part.ContentType)
	// Output: 456 of 10 bytes, video/mp4
}

// A result of any type and size is streamed, here from a reader.
func ExampleClient_CompleteWith() {
	url, stop := startServer()
	defer stop()
	ctx := context.Background()
	c, _ := client.New(url, &client.Options{Token: "secret"})
	c.Submit(ctx, "thumbnails", client.NewJob{})
	got, _ := c.Poll(ctx, "thumbnails", nil)

	outcome, err := c.CompleteWith(ctx, got[0].ID, got[0].LeaseToken, client.NewResult{
		Body: strings.NewReader("GIF89a..."), ContentType: "image/gif",
	})
	fmt.Println(outcome, err)

	result, err := c.Result(ctx, got[0].ID, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer result.Close()
	p, _ := io.ReadAll(result)
	fmt.Printf("%s, %s\n", p, result.ContentType)
	// Output:
	// acked <nil>
	// GIF89a..., image/gif
}

// What the server refuses is an *Error that matches a sentinel.
func ExampleError() {
	url, stop := startServer()
	defer stop()
	ctx := context.Background()
	c, _ := client.New(url, &client.Options{Token: "secret"})
	c.Submit(ctx, "q", client.NewJob{})
	got, _ := c.Poll(ctx, "q", nil)
	c.Cancel(ctx, got[0].ID)

	_, err := c.Ack(ctx, got[0].ID, got[0].LeaseToken)
	var e *client.Error
	if errors.Is(err, client.ErrLeaseLost) && errors.As(err, &e) {
		fmt.Println(e.Status, e.Code, e.Reason)
	}
	// Output: 409 lease_lost canceled
}

// Await follows the status endpoint of any system.
func ExampleAwait() {
	states := []string{"queued", "rendering", "completed"}
	n := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"status": %q, "progress": "%d%%", "url": "/film.mp4"}`, states[n], n*50)
		n++
	}))
	defer server.Close()

	status, err := client.Await(context.Background(), server.URL+"/orders/7", &client.AwaitOptions{
		First:    time.Millisecond, // 1 s unless set
		OnStatus: func(s *client.Status) { fmt.Println(s.Word, *s.Progress) },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(status.State, string(status.Body))
	// Output:
	// queued 0
	// rendering 0.5
	// completed 1
	// succeeded {"status": "completed", "progress": "100%", "url": "/film.mp4"}
}

// A queue is configured, looked at and emptied.
func ExampleClient_Configure() {
	url, stop := startServer()
	defer stop()
	ctx := context.Background()
	c, _ := client.New(url, &client.Options{Token: "secret"})
	c.Configure(ctx, "mail", client.Settings{Lease: time.Minute, MaxDeliveries: 5, Backlog: 100})
	c.Submit(ctx, "mail", client.NewJob{})

	q, _ := c.Queue(ctx, "mail")
	fmt.Println(q.Name, q.Lease, q.MaxDeliveries, q.Counts.Pending)
	purged, _ := c.Purge(ctx, "mail")
	fmt.Println("purged", purged)
	// Output:
	// mail 1m0s 5 1
	// purged 1
}

// A result is sent ahead, here by the worker itself, and the job completed with its object key.
func ExampleClient_PutUpload() {
	url, stop := startServer()
	defer stop()
	ctx := context.Background()
	c, err := client.New(url, &client.Options{Token: "secret"})
	if err != nil {
		fmt.Println(err)
		return
	}
	job, err := c.Submit(ctx, "films", client.NewJob{})
	if err != nil {
		fmt.Println(err)
		return
	}
	deliveries, err := c.Poll(ctx, "films", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	upload, err := c.PrepareUpload(ctx, client.NewUpload{Filename: "cat.mp4", ContentType: "video/mp4", Size: 6})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c.PutUpload(ctx, upload, strings.NewReader("frames")))
	fmt.Println(deliveries[0].CompleteWith(ctx, client.NewResult{ObjectKey: upload.ObjectKey}))
	result, err := c.Result(ctx, job.ID, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer result.Close()
	text, err := io.ReadAll(result)
	fmt.Printf("%s: %s %v\n", result.ContentType, text, err)
	// Output:
	// <nil>
	// <nil>
	// video/mp4: frames <nil>
}
