// Command quickstart shows the whole of a job queue in one process: it enqueues every file below a directory, and two consumers that know nothing but
// the HTTP API fetch each of them, compare its SHA-256 and acknowledge it. One file is dropped on purpose, so that it can be seen to come back.
//
//	go run ./examples/quickstart [-dir DIR] [-db FILE]
//
// This file puts the parts together; produce.go enqueues, consume.go fetches.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"time"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/httpapi/client"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/boltstore"
)

func main() {
	dir := flag.String("dir", ".", "`directory` whose files are delivered")
	db := flag.String("db", "", "bbolt `file` to keep the jobs in; without it a temporary one")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *dir, *db, log.New(os.Stdout, "", 0)); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

// run delivers all files below dir by way of the file db.
func run(ctx context.Context, dir, db string, out *log.Logger) (err error) {
	if db == "" {
		tmp, err := os.MkdirTemp("", "quickstart-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(tmp)
		db = filepath.Join(tmp, "jobs.db")
	}

	// A store keeps the jobs, and a broker makes a queue of them.
	store, err := boltstore.Open(db, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	broker, err := jobqueue.New(store, &jobqueue.Options{MaxPayload: -1, MaxDeliveries: 10})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, broker.Shutdown(context.WithoutCancel(ctx))) }()

	// A handler serves it over HTTP, on the mux that a program has anyway. Whoever knows the token is the account "demo".
	token := rand.Text()
	handler, err := httpapi.New(broker, &httpapi.Options{Authenticate: httpapi.BearerTokens(map[string]string{token: "demo"})})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/v1/", handler)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	server.RegisterOnShutdown(handler.Drain)
	go server.Serve(listener)
	defer server.Shutdown(context.WithoutCancel(ctx))

	// Consumers know the server's address, the token and the name of the queue, nothing else. A queue of its own for each run, to be closed
	// when all is in it, tells them when they are done.
	name := "files-" + time.Now().UTC().Format("20060102-150405.000000")
	queue := broker.In("demo").Queue(name)
	if _, _, err := queue.Configure(ctx, jobqueue.Settings{}); err != nil {
		return err
	}
	url := "http://" + listener.Addr().String()
	out.Printf("queue %s of %s is served at %s", name, db, url)
	api, err := client.New(url, &client.Options{Token: token})
	if err != nil {
		return err
	}

	defer api.CloseIdle()

	p := &producer{queue: queue, db: db, out: out}
	c := &consumer{api: api, queue: name, out: out}
	if err := together(ctx,
		func(ctx context.Context) error { return p.produce(ctx, dir) },
		func(ctx context.Context) error {
			if err := c.drop(ctx); err != nil {
				return err
			}
			return together(ctx, c.consume, c.consume)
		},
	); err != nil {
		return err
	}
	return c.report(ctx, p.files, p.bytes)
}

// together runs functions until all have returned. The first error ends the context of the others, and is returned.
func together(ctx context.Context, fns ...func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var g sync.WaitGroup
	for _, fn := range fns {
		g.Go(func() {
			if err := fn(ctx); err != nil {
				cancel(err)
			}
		})
	}
	g.Wait()
	return context.Cause(ctx)
}
