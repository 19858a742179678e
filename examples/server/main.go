// Command server is a job queue with an HTTP API: package httpapi on an ordinary mux, over memory or a bbolt file.
//
//	go run ./examples/server -db jobs.db -token secret
//	curl -H 'Authorization: Bearer secret' --data-binary hello 'http://127.0.0.1:8080/v1/queues/mail/jobs?name=greeting'
//	curl -H 'Authorization: Bearer secret' 'http://127.0.0.1:8080/v1/queues/mail/poll?timeout=10'
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/boltstore"
	"github.com/pollackq/pollack/storage/memstore"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage):
		fmt.Fprintln(os.Stderr, "server:", err)
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "server:", err)
		os.Exit(1)
	}
}

// errUsage is matched by errors that say what is wrong with the flags.
var errUsage = errors.New("see -help")

// patience is how long a shutdown waits for requests that are being answered. Polls are not among them: Drain ends these at once.
const patience = 500 * time.Millisecond

// run serves until ctx ends.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	c, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return err
	}
	if err != nil {
		return fmt.Errorf("%w; %w", err, errUsage)
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))

	// The three layers, from below: the store keeps the jobs, the broker makes a queue of them, the handler serves it.
	store, err := openStore(c.db, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	broker, err := jobqueue.New(store, &jobqueue.Options{
		Lease: c.ackWindow, Retention: c.retention, MaxDeliveries: c.maxDeliveries, Logger: log,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, broker.Shutdown(context.WithoutCancel(ctx))) }()
	options := &httpapi.Options{Prefix: c.prefix, Logger: log}
	if len(c.accounts) > 0 {
		options.Authenticate, options.House = httpapi.BearerTokens(c.accounts), true
	} else {
		options.AllowAnonymous = true
	}
	handler, err := httpapi.New(broker, options)
	if err != nil {
		return err
	}

	mux := http.NewServeMux()
	mux.Handle(c.prefix+"/v1/", handler)
	server := &http.Server{ // as the documentation of package httpapi has it
		Handler: mux, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
		HTTP2: &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second},
	}
	server.RegisterOnShutdown(handler.Drain) // or Shutdown would wait for the parked polls
	listener, err := net.Listen("tcp", c.addr)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "listening on http://%s%s\n", listener.Addr(), c.prefix)

	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err = <-served: // it never returns nil
	case <-ctx.Done():
	}

	// And from above: no more requests, then (deferred) no more queue, then the file.
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if server.Shutdown(within) != nil {
		server.Close() // whoever is still downloading will ask again
	}
	return err
}

func openStore(path string, log *slog.Logger) (storage.Store, error) {
	if path == "" {
		return memstore.New(nil), nil
	}
	return boltstore.Open(path, &boltstore.Options{Logger: log})
}

// A config is what the flags say.
type config struct {
	addr, db, prefix     string
	accounts             map[string]string // by token
	ackWindow, retention time.Duration
	maxDeliveries        int
}

func parse(args []string, stderr io.Writer) (*config, error) {
	c := &config{accounts: map[string]string{}}
	f := flag.NewFlagSet("server", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&c.addr, "addr", "127.0.0.1:8080", "`address` to listen on; port 0 takes a free one")
	f.StringVar(&c.db, "db", "", "bbolt `file` to keep the jobs in; without it they are kept in memory")
	f.StringVar(&c.prefix, "prefix", "", "`path` before /v1")
	f.DurationVar(&c.ackWindow, "ack-window", jobqueue.DefaultLease,
		fmt.Sprintf("how long a consumer may hold a job before it is delivered again: from %v to %v; 0 and negative are refused", jobqueue.MinLease, jobqueue.MaxLease))
	f.DurationVar(&c.retention, "retention", jobqueue.DefaultRetention, "how long an ended job is kept; 0: the default, negative: not at all")
	f.IntVar(&c.maxDeliveries, "max-deliveries", 0, "how often a job is delivered before it fails; 0 for no limit")
	anonymous := f.Bool("anonymous", false, "let everybody do everything")
	f.Func("token", "bearer `TOKEN` that is let in, or ACCOUNT=TOKEN for an account with queues of its own; may be repeated", c.addToken)
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	c.prefix = strings.TrimRight(c.prefix, "/")
	switch {
	case f.NArg() > 0:
		return nil, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case c.ackWindow < jobqueue.MinLease || c.ackWindow > jobqueue.MaxLease:
		return nil, fmt.Errorf("-ack-window %v: want from %v to %v", c.ackWindow, jobqueue.MinLease, jobqueue.MaxLease)
	case len(c.accounts) == 0 && !*anonymous:
		return nil, errors.New("nobody could be let in: give a -token, or say -anonymous to let everybody do everything")
	case len(c.accounts) > 0 && *anonymous:
		return nil, errors.New("-token and -anonymous contradict each other")
	}
	return c, nil
}

// addToken takes TOKEN, which sees everything, or ACCOUNT=TOKEN.
func (c *config) addToken(s string) error {
	account, token, found := strings.Cut(s, "=")
	if !found {
		account, token = "", s
	}
	if token == "" || token[0] == '=' {
		return errors.New("want TOKEN or ACCOUNT=TOKEN; a TOKEN with = in it needs an = before it")
	}
	if _, twice := c.accounts[token]; twice {
		return errors.New("this token was given already")
	}
	c.accounts[token] = account
	return nil
}
