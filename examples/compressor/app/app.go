// Package app is the compressor. protocol.go states what it speaks, submit.go reads what is sent, and the work is in work.go and the files it calls.
package app

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/httpapi/outbound"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage"
)

// A Config says who is let in, and how the work is done. At least one of Tokens and Logins must let somebody in; the zero value of everything else
// means its default.
type Config struct {
	Tokens map[string]string        // the account of each bearer token
	Logins map[httpapi.Login]string // the account of each login of HTTP Basic authentication

	BaseURL           string        // under which the server is reached, "https://api.compressor.app"; without it the answers have paths
	AllowPrivateFetch bool          // fetch from private addresses, too
	Workers           int           // files that are worked on, or fetched, at a time: 16
	Retention         time.Duration // of a job and its output, from the end: 24 hours

	Client *http.Client // that files are fetched with; nil: one that dials public addresses only, or all with AllowPrivateFetch
	Logger *slog.Logger // nil discards
}

const (
	workers   = 16
	retention = 24 * time.Hour
	inMemory  = 4      // files that are compressed at a time
	backlog   = 10_000 // jobs that wait; more are refused with 429

	// maxDeliveries ends a job that kills the process whenever it is worked on.
	maxDeliveries = 10

	// workerLease is how long a job that a killed process was working on waits for the next one.
	workerLease = 3 * time.Second
)

// App serves the compressor's API, and compresses.
type App struct {
	http.Handler
	config   Config
	broker   *jobqueue.Broker
	queue    *jobqueue.Queue  // the house's: one pool of workers for all accounts
	accounts []string         // who may have jobs
	api      *httpapi.Handler // for those with credentials
	files    *httpapi.Handler // for everybody who knows an output's URL

	compressing chan struct{} // holds one for each file that is being compressed
	fetching    chan struct{} // holds one for each file that is being fetched: slow servers do not keep all workers from those who upload

	images sync.Mutex // held while an image is decoded and encoded: one of 40 million pixels takes up to half a gigabyte

	cancel context.CancelFunc
	joined sync.WaitGroup
}

// New starts the compressor on a store, which stays open when it is shut down.
func New(store storage.Store, c Config) (*App, error) {
	c.Workers = cmp.Or(c.Workers, workers)
	c.Retention = cmp.Or(c.Retention, retention)
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	if c.Client == nil {
		c.Client = outbound.NewClient(&outbound.Options{AllowPrivate: c.AllowPrivateFetch, AllowHTTP: true, Timeout: fetchTimeout})
	}
	a := &App{config: c, accounts: accountsOf(&c), compressing: make(chan struct{}, inMemory), fetching: make(chan struct{}, max(1, c.Workers*3/4))}
	if len(a.accounts) == 0 {
		return nil, errors.New("compressor: nobody is let in")
	}
	var err error
	a.broker, err = jobqueue.New(store, &jobqueue.Options{
		MaxPayload: maxInput, MaxResult: maxOutput,
		MaxDeliveries: maxDeliveries, Retention: c.Retention, Backlog: backlog, Logger: c.Logger,
	})
	if err != nil {
		return nil, err
	}
	a.queue = a.broker.Queue(queueName)
	if err := a.open(); err != nil {
		return nil, errors.Join(err, a.broker.Shutdown(context.Background()))
	}
	ctx, cancel := context.WithCancel(context.Background())
	a.cancel = cancel
	a.joined.Go(func() {
		err := a.queue.Consume(ctx, a.work, &jobqueue.ConsumeOptions{Workers: c.Workers, Lease: workerLease})
		if err != nil && !errors.Is(err, jobqueue.ErrShutdown) {
			c.Logger.Error("the workers have stopped", "error", err)
		}
	})
	return a, nil
}

func (a *App) open() (err error) {
	a.api, err = httpapi.New(a.broker, &httpapi.Options{
		Authenticate: httpapi.AnyOf(httpapi.BasicAuth("compressor", a.config.Logins), httpapi.BearerTokens(a.config.Tokens)),
		ShapeJob:     a.shape, JobURL: a.jobURL, Logger: a.config.Logger,
	})
	if err != nil {
		return err
	}
	a.files, err = httpapi.New(a.broker, &httpapi.Options{AllowAnonymous: true, Logger: a.config.Logger})
	if err != nil {
		return err
	}
	a.Handler = a.routes()
	return nil
}

// accountsOf returns all accounts that somebody can be let in as.
func accountsOf(c *Config) []string {
	all := slices.AppendSeq(slices.Collect(maps.Values(c.Tokens)), maps.Values(c.Logins))
	slices.Sort(all)
	return slices.Compact(all)
}

// Drain answers those who wait for a job with where it stands.
func (a *App) Drain() {
	a.api.Drain()
	a.files.Drain()
}

// Shutdown ends the work. What is being worked on is given back, for the next process.
func (a *App) Shutdown(ctx context.Context) error {
	a.cancel()
	err := a.broker.Shutdown(ctx)
	a.joined.Wait()
	a.config.Client.CloseIdleConnections()
	return err
}
