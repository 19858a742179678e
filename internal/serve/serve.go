// Package serve is what the mains of the examples have in common: flags, the store, the listener, signals, and the order in which all of it ends.
package serve

import (
	"context"
	"crypto/rand"
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

	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/boltstore"
	"github.com/pollackq/pollack/storage/memstore"
)

// An App is a server over a store that its main opens and closes.
type App interface {
	http.Handler
	Drain()                             // ends all waiting requests
	Shutdown(ctx context.Context) error // ends the work, workers included
}

// An Env is what an App is made of.
type Env struct {
	Store   storage.Store
	DB      string // the file of the store; "" if it is in memory
	BaseURL string // under which the server is reached: "http://127.0.0.1:8080"
	Log     *slog.Logger
}

// ErrUsage is matched by errors that say what is wrong with the flags: the exit status is then 2.
var ErrUsage = errors.New("see -help")

// Usage returns an error that matches ErrUsage.
func Usage(format string, a ...any) error { return fmt.Errorf(format+"; %w", append(a, ErrUsage)...) }

// patience is how long a shutdown waits for requests that are being answered. Those that wait are not among them: Drain ends these at once.
const patience = 500 * time.Millisecond

// Main is a program: define declares its flags, besides -addr, -db and -base-url, and what it returns makes the App once they have been read.
func Main(name string, define func(f *flag.FlagSet) func(Env) (App, error)) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	err := run(ctx, name, os.Args[1:], os.Stdout, os.Stderr, define)
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return
	case errors.Is(err, ErrUsage):
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(2)
	default:
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, name string, args []string, stdout, stderr io.Writer, define func(f *flag.FlagSet) func(Env) (App, error)) (err error) {
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	f.SetOutput(stderr)
	addr := f.String("addr", "127.0.0.1:8080", "`address` to listen on; port 0 takes a free one")
	db := f.String("db", "", "bbolt `file` to keep everything in; without it nothing outlives the process")
	base := f.String("base-url", "", "`URL` under which the server is reached, where that is not http:// and the address")
	open := define(f)
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return err
	case err != nil:
		return fmt.Errorf("%w; %w", err, ErrUsage)
	case f.NArg() > 0:
		return Usage("unexpected argument %q", f.Arg(0))
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		return err
	}
	defer listener.Close()
	store, err := openStore(*db, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	env := Env{Store: store, DB: *db, BaseURL: strings.TrimRight(*base, "/"), Log: log}
	if env.BaseURL == "" {
		env.BaseURL = "http://" + listener.Addr().String()
	}
	app, err := open(env)
	if err != nil {
		return err
	}
	server := &http.Server{ // as the documentation of package httpapi has it
		Handler: app, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
		HTTP2: &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second},
	}
	server.RegisterOnShutdown(app.Drain) // or Shutdown would wait for the parked polls
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	fmt.Fprintf(stdout, "listening on http://%s\n", listener.Addr())
	select {
	case err = <-served: // it never returns nil
	case <-ctx.Done():
	}

	// From above: no more requests, then no more work, then (deferred) the file.
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if server.Shutdown(within) != nil {
		server.Close() // whoever is still downloading will ask again
	}
	return errors.Join(err, app.Shutdown(context.WithoutCancel(ctx)))
}

func openStore(path string, log *slog.Logger) (storage.Store, error) {
	if path == "" {
		return memstore.New(nil), nil
	}
	return boltstore.Open(path, &boltstore.Options{Logger: log})
}

// Key returns 32 bytes to sign URLs with, kept in a file beside the database, so that URLs outlive the process as the data does; random ones if there
// is no database.
func Key(db string) ([]byte, error) {
	key := make([]byte, 32)
	rand.Read(key) // never fails
	if db == "" {
		return key, nil
	}
	path := db + ".key"
	switch kept, err := os.ReadFile(path); {
	case err == nil && len(kept) == len(key):
		return kept, nil
	case err == nil:
		return nil, fmt.Errorf("%s: has %d bytes, want %d", path, len(kept), len(key))
	case !errors.Is(err, os.ErrNotExist):
		return nil, err
	}
	return key, create(path, key)
}

// create makes a file that is there whole or not at all.
func create(path string, p []byte) error {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(p)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
