// Package app is an image service in the manner of Phota: synchronous requests that wait for their image, asynchronous ones whose jobs are polled for
// and tell of their end by signed callbacks, and a prepaid balance that each job is charged to once.
//
// The protocol is in protocol.go, the fields of a request in request.go. All jobs are in the house's queue "images", each belonging to the caller's
// account. When one ends, its outbox tells "billing", and "callbacks" where that was asked for.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/httpapi/outbound"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage"
)

// The queues, all of the house.
const (
	queueImages    = "images"
	queueBilling   = "billing"
	queueCallbacks = "callbacks"
)

const (
	lease         = 3 * time.Second // of all workers, extended while they work: what a killed process held runs again soon after the next start
	maxDeliveries = 20              // of an image, so that one which breaks the process does not do so for ever
	maxResult     = 32 << 20        // bytes of an image that is made
)

// Config says how the service is to be. The zero value of each field means its default; Accounts or Tokens must name somebody.
type Config struct {
	Accounts []Account         // the customers
	Tokens   map[string]string // more bearer tokens and the accounts they belong to, which begin with nothing if they are not there

	FloorCost int64 // reserved when a job is submitted: 0; up to MaxAmount
	FinalCost int64 // charged when it succeeds: 0; up to MaxAmount

	Retention time.Duration // how long a job that has ended, and its image, can be had: 24 hours
	Tombstone time.Duration // how long it is remembered after that: 30 days

	Ledger     string // the file of balances and reservations; "": a temporary one, which goes with the App
	SigningKey []byte // of download URLs, at least 16 bytes; nil: a random one, so that they go with the App
	BaseURL    string // under which the service is reached, for the URLs it gives out; "": they are paths

	AllowPrivateFetch     bool // image_url may be any address: for tests
	AllowPrivateCallbacks bool // callback_url may be any address, in plain HTTP too: for tests

	FetchClient, CallbackClient *http.Client // nil: outbound's, as the two fields above say

	Workers int // images at once, those being fetched included: 32. Two are being edited at once
	Backlog int // images that wait: 1,000. More are refused with 429
	Log     *slog.Logger
}

// withDefaults returns the configuration that is meant.
func (c Config) withDefaults() (Config, error) {
	for _, f := range []struct {
		name string
		bad  bool
	}{
		{"FloorCost", c.FloorCost < 0 || c.FloorCost > MaxAmount},
		{"FinalCost", c.FinalCost < 0 || c.FinalCost > MaxAmount},
		{"Retention", c.Retention < 0},
		{"Tombstone", c.Tombstone < 0},
		{"Workers", c.Workers < 0},
		{"Backlog", c.Backlog < 0},
	} {
		if f.bad {
			return c, fmt.Errorf("photoedit: Config.%s is out of bounds", f.name)
		}
	}
	if c.Retention == 0 {
		c.Retention = 24 * time.Hour
	}
	if c.Tombstone == 0 {
		c.Tombstone = 30 * 24 * time.Hour
	}
	if c.Workers == 0 {
		c.Workers = 32
	}
	if c.Backlog == 0 {
		c.Backlog = 1000
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.FetchClient == nil {
		c.FetchClient = outbound.NewClient(&outbound.Options{AllowPrivate: c.AllowPrivateFetch, AllowHTTP: true, Timeout: -1})
	}
	if c.CallbackClient == nil {
		c.CallbackClient = outbound.NewClient(&outbound.Options{AllowPrivate: c.AllowPrivateCallbacks, AllowHTTP: c.AllowPrivateCallbacks})
	}
	return c, nil
}

// An App is the service. It is an http.Handler.
type App struct {
	config  Config
	ledger  *Ledger
	broker  *jobqueue.Broker
	images  *jobqueue.Queue
	api     *httpapi.Handler // for those with a token
	files   *httpapi.Handler // for those with a signed URL
	signer  *httpapi.Signer
	handler http.Handler
	editing chan struct{} // holds one for each image that is being edited

	workers sync.WaitGroup
	drained context.Context // ends with Drain
	drain   context.CancelFunc
}

// New returns an App on a store, which it leaves open, with its workers at work. What has been left unsettled is settled before.
func New(store storage.Store, c Config) (*App, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	owners, err := tokens(c)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAccounts, err)
	}
	a := &App{config: c, editing: make(chan struct{}, 2)}
	a.drained, a.drain = context.WithCancel(context.Background())
	if a.ledger, err = OpenLedger(c.Ledger); err != nil {
		return nil, err
	}
	if err := a.open(store, owners); err != nil {
		return nil, errors.Join(err, a.Shutdown(context.Background()))
	}
	a.work("images", func(ctx context.Context) error {
		options := &jobqueue.ConsumeOptions{Workers: c.Workers, Lease: lease}
		return jobqueue.JSON[task](a.images).Consume(ctx, a.make, options)
	})
	a.work("billing", func(ctx context.Context) error {
		return a.broker.Queue(queueBilling).Consume(ctx, a.bill, &jobqueue.ConsumeOptions{Workers: 1, Lease: lease})
	})
	a.work("callbacks", a.sendCallbacks)
	return a, nil
}

// open makes all that serves, and puts the books in order.
func (a *App) open(store storage.Store, owners map[string]string) (err error) {
	for _, account := range a.config.Accounts {
		if err := a.ledger.Add(account); err != nil {
			return err
		}
	}
	for _, name := range owners {
		if err := a.ledger.Add(Account{Account: name}); err != nil {
			return err
		}
	}
	a.broker, err = jobqueue.New(store, &jobqueue.Options{
		Retention: a.config.Retention, Tombstone: a.config.Tombstone, MaxResult: maxResult,
		Admit: a.admit, Forget: a.forget, Logger: a.config.Log,
	})
	if err != nil {
		return err
	}
	a.images = a.broker.Queue(queueImages)
	ctx := context.Background()
	for name, s := range map[string]jobqueue.Settings{
		queueImages:    {Limits: jobqueue.Limits{MaxDeliveries: maxDeliveries}, Backlog: a.config.Backlog},
		queueBilling:   {Limits: jobqueue.Limits{Retention: -1, Tombstone: -1}},
		queueCallbacks: {Limits: jobqueue.Limits{Tombstone: -1}}, // their ids are told as webhook-id, but are no jobs to customers
	} {
		if _, _, err := a.broker.Queue(name).Configure(ctx, s); err != nil {
			return err
		}
	}
	if err := a.reconcile(ctx); err != nil {
		return err
	}
	if a.signer, err = httpapi.NewSigner(a.config.SigningKey); err != nil {
		return err
	}
	options := httpapi.Options{Authenticate: httpapi.BearerTokens(owners), BaseURL: a.config.BaseURL, MaxBody: maxBody, Logger: a.config.Log}
	if a.api, err = httpapi.New(a.broker, &options); err != nil {
		return err
	}
	options.Authenticate, options.AllowAnonymous = nil, true
	if a.files, err = httpapi.New(a.broker, &options); err != nil {
		return err
	}
	a.handler = a.routes()
	return nil
}

// work runs a consumer until the broker shuts down. Shutdown joins it.
func (a *App) work(name string, consume func(ctx context.Context) error) {
	a.workers.Go(func() {
		if err := consume(context.Background()); !errors.Is(err, jobqueue.ErrShutdown) {
			a.config.Log.Error("a consumer has ended", "queue", name, "error", err)
		}
	})
}

// ServeHTTP implements http.Handler.
func (a *App) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.handler.ServeHTTP(w, r) }

// Drain ends all waiting: those who wait for an image are answered 503 and where it will be. It returns at once.
func (a *App) Drain() {
	a.drain()
	a.api.Drain()
	a.files.Drain()
}

// Shutdown ends the work, once there are no more requests. The store stays open.
func (a *App) Shutdown(ctx context.Context) (err error) {
	a.drain()
	if a.broker != nil {
		err = a.broker.Shutdown(ctx)
	}
	a.workers.Wait()
	a.config.FetchClient.CloseIdleConnections()
	a.config.CallbackClient.CloseIdleConnections()
	return errors.Join(err, a.ledger.Close())
}
