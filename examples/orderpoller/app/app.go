// Package app is the marketplace that polls its sellers. protocol.go states what it speaks; the polling itself is package statuspoll's.
package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/httpapi/callback"
	"github.com/pollackq/pollack/httpapi/outbound"
	"github.com/pollackq/pollack/httpapi/statuspoll"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage"
)

// A Config says what the marketplace is to do. StatusURL and WebhookURL are required; the zero value of everything else means its default.
type Config struct {
	StatusURL  string      // of the seller, with {order_id}
	WebhookURL string      // of the seller
	Header     http.Header // sent with both; demanded of the seller at /prepare
	AllowHTTP  bool        // URLs without TLS

	FirstCheck  time.Duration            // 5 min
	Interval    time.Duration            // 15 min
	AnswerLimit time.Duration            // 8 s
	ETAs        map[string]time.Duration // change the times of eta_buckets, and add some

	NotifyURL    string          // told of each order that ends; "": nobody is
	NotifySecret callback.Secret // for that; required with NotifyURL

	Tokens     []string // of those who order; none: everybody may
	BaseURL    string   // before the paths of put_urls
	SigningKey []byte   // of put_urls; nil: a random one

	Client *http.Client // nil: one that dials any address, since all URLs are the operator's. It follows no redirects
	Logger *slog.Logger // nil discards
}

// The house queues.
const (
	orderQueue  = "orders"
	eventQueue  = "events"
	uploadQueue = "uploads"
)

const (
	maxUpload = 512 << 20          // bytes of one file
	retention = 7 * 24 * time.Hour // of an order, from its end

	// workerLease is how long an order that a killed process was busy with waits for the next one.
	workerLease = 3 * time.Second
)

// App serves the marketplace's API, and polls.
type App struct {
	http.Handler
	config     Config
	broker     *jobqueue.Broker
	poller     *statuspoll.Poller
	customers  *httpapi.Handler // for those with tokens
	sellers    *httpapi.Handler // for those with the headers, or tokens
	uploadTime time.Duration    // that a seller has for one

	cancel context.CancelFunc
	joined sync.WaitGroup
}

// New starts the marketplace on a store, which stays open when it is shut down.
func New(store storage.Store, c Config) (*App, error) {
	etas := maps.Clone(etaBuckets)
	maps.Copy(etas, c.ETAs)
	c.ETAs = etas
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	if c.NotifyURL != "" {
		if _, err := callback.ParseSecret(string(c.NotifySecret)); err != nil {
			return nil, err
		}
	}
	if c.Client == nil {
		c.Client = outbound.NewClient(&outbound.Options{AllowPrivate: true, AllowHTTP: c.AllowHTTP, Timeout: -1})
	}
	rules := statuspoll.Reading()
	broker, err := jobqueue.New(store, &jobqueue.Options{MaxPayload: maxUpload, MaxResult: rules.MaxBody, Retention: retention, Logger: c.Logger})
	if err != nil {
		return nil, err
	}
	a := &App{config: c, broker: broker, uploadTime: uploadTime(etas)}
	if err := a.open(&rules); err != nil {
		return nil, errors.Join(err, broker.Shutdown(context.Background()))
	}
	ctx, cancel := context.WithCancel(context.Background())
	a.cancel = cancel
	a.work(ctx, "polling", a.poller.Run)
	a.work(ctx, "telling of events", a.notify)
	return a, nil
}

func (a *App) open(rules *statuspoll.Rules) (err error) {
	c := &a.config
	a.poller, err = statuspoll.NewPoller(a.broker, &statuspoll.PollerOptions{
		StatusURL: c.StatusURL, WebhookURL: c.WebhookURL, Header: c.Header, AllowHTTP: c.AllowHTTP,
		FirstCheck: c.FirstCheck, Interval: c.Interval, AnswerLimit: c.AnswerLimit, ETAs: c.ETAs, Rules: rules,
		Queue: orderQueue, Outbox: []string{eventQueue}, ObjectKey: a.objectKey, Accepted: a.accepted,
		Client: c.Client, Lease: workerLease, Logger: c.Logger,
	})
	if err != nil {
		return err
	}
	var customers, sellers httpapi.Authenticator
	if len(c.Tokens) > 0 {
		house := make(map[string]string)
		for _, t := range c.Tokens {
			house[t] = ""
		}
		customers = httpapi.BearerTokens(house)
		sellers = customers
	} else {
		c.Logger.Warn("there is no token: everybody may order and read orders")
	}
	switch {
	case len(c.Header) > 0 && customers != nil:
		sellers = httpapi.AnyOf(httpapi.HeaderAuth("", c.Header), customers)
	case len(c.Header) > 0:
		sellers = httpapi.HeaderAuth("", c.Header)
	case customers == nil:
		c.Logger.Warn("there is neither a token nor a header: everybody may prepare uploads")
	}
	if a.customers, err = a.handler(customers); err != nil {
		return err
	}
	if a.sellers, err = a.handler(sellers); err != nil {
		return err
	}
	a.Handler = a.routes()
	return nil
}

// handler returns a Handler for those whom an Authenticator lets in; nil lets in everybody.
func (a *App) handler(auth httpapi.Authenticator) (*httpapi.Handler, error) {
	return httpapi.New(a.broker, &httpapi.Options{
		Authenticate: auth, AllowAnonymous: auth == nil, House: auth != nil, SigningKey: a.config.SigningKey, Logger: a.config.Logger,
	})
}

// work runs f until the shutdown.
func (a *App) work(ctx context.Context, what string, f func(context.Context) error) {
	a.joined.Go(func() {
		if err := f(ctx); err != nil && !errors.Is(err, jobqueue.ErrShutdown) {
			a.config.Logger.Error(what+" has stopped", "error", err)
		}
	})
}

// Drain ends what waits: nothing here does.
func (a *App) Drain() {
	a.customers.Drain()
	a.sellers.Drain()
}

// Shutdown ends the polling. Requests to the seller that are under way are given up, and made again by the next process.
func (a *App) Shutdown(ctx context.Context) error {
	a.cancel()
	err := a.broker.Shutdown(ctx)
	a.joined.Wait()
	a.config.Client.CloseIdleConnections()
	return err
}

// uploadTime returns for how long an upload may be written and used: as long as any order may take.
func uploadTime(etas map[string]time.Duration) time.Duration {
	return startFor + slices.Max(slices.Collect(maps.Values(etas)))
}

var errOrderID = &httpapi.Problem{
	Status: http.StatusBadRequest, Code: "invalid_request",
	Detail: fmt.Sprintf("order_id: must be a text of 1 to %d bytes, without control characters, that is not only slashes", maxOrderID),
}
