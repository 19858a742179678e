package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/pgstore"
)

// A node learns from its environment what it is to do: its arguments are for everybody to see.
const (
	envNode   = "POLLACK_CLUSTER_NODE"
	envDSN    = "POLLACK_CLUSTER_DSN"
	envSchema = "POLLACK_CLUSTER_SCHEMA"
	envToken  = "POLLACK_CLUSTER_TOKEN"
)

// isNode reports whether this process is to be a server.
func isNode() bool { return os.Getenv(envNode) != "" }

// serve is a server as any other, but that its store is shared: it serves the queue on a free port until its standard input ends, as it does when
// whoever has started it is gone.
func serve() (err error) {
	signal.Ignore(os.Interrupt) // that of a terminal is for the process that started this one
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go func() {
		io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil)).With("node", os.Getenv(envNode))

	pool, err := pgxpool.New(ctx, os.Getenv(envDSN))
	if err != nil {
		return err
	}
	defer pool.Close()
	store, err := pgstore.New(ctx, pool, &pgstore.Options{Schema: os.Getenv(envSchema), Logger: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	broker, err := jobqueue.New(store, &jobqueue.Options{Logger: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, broker.Shutdown(context.Background())) }()
	handler, err := httpapi.New(broker, &httpapi.Options{
		Authenticate: httpapi.BearerTokens(map[string]string{os.Getenv(envToken): "demo"}), Logger: log,
	})
	if err != nil {
		return err
	}

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	server.RegisterOnShutdown(handler.Drain) // or Shutdown would wait for the parked polls
	fmt.Printf("listening on http://%s\n", listener.Addr())
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	within, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if server.Shutdown(within) != nil {
		return server.Close()
	}
	return nil
}
