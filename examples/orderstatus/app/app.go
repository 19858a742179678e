// Package app is the automation whose status endpoint a platform polls. protocol.go states what it speaks, work.go how it works off its orders.
package app

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/httpapi/outbound"
	"github.com/pollackq/pollack/httpapi/statuspoll"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage"
)

// A Config says who may come in, and where the platform is. Header or Tokens is required; the zero value of everything else means its default.
type Config struct {
	Header http.Header       // that a request must have, to be of the account Platform; sent to PrepareURL
	Tokens map[string]string // the account of each bearer token

	PrepareURL string // where uploads are prepared; "": videos are answered as base64
	PublicURL  string // before the paths of result pages: https://example.com
	SigningKey []byte // of result pages; nil: a random one

	Client *http.Client // nil: one that dials any address for PrepareURL and put_urls of its host, and public ones for other put_urls. It follows no redirects
	Logger *slog.Logger // nil discards
}

// Platform is the account of those who come in by the header, or by a token without an account. Each account has orders of its own.
const Platform = "platform"

const (
	retention = 7 * 24 * time.Hour // of an order, from its end

	// Working on an order takes a worker for moments only, so these are many more than are ever busy, unless the platform is slow at taking videos.
	workers = 32
	// workerLease is how long an order that a killed process was busy with waits for the next one.
	workerLease = 3 * time.Second
)

// orderQueue is the house queue of all orders. The key of a job is the order's id.
var orderQueue = jobqueue.QueueName{Name: "orders"}

// App serves the automation's two endpoints, and works.
type App struct {
	http.Handler
	config   Config
	broker   *jobqueue.Broker
	platform *httpapi.Handler // for those with credentials
	public   *httpapi.Handler // for everybody, with a signed URL
	signer   *httpapi.Signer
	own      *http.Client  // for the platform's own host
	others   *http.Client  // for those that it names
	large    chan struct{} // held while a large output is in memory

	cancel context.CancelFunc
	joined sync.WaitGroup
}

// New starts the automation on a store, which stays open when it is shut down.
func New(store storage.Store, c Config) (*App, error) {
	if len(c.Header) == 0 && len(c.Tokens) == 0 {
		return nil, errors.New("app: neither a header nor a token: nobody could come in")
	}
	signer, err := httpapi.NewSigner(c.SigningKey)
	if err != nil {
		return nil, err
	}
	c.PublicURL = strings.TrimRight(cmp.Or(c.PublicURL, "https://example.com"), "/")
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	rules := statuspoll.Writing()
	broker, err := jobqueue.New(store, &jobqueue.Options{MaxResult: rules.MaxBody, Retention: retention, Logger: c.Logger})
	if err != nil {
		return nil, err
	}
	a := &App{config: c, broker: broker, signer: signer, own: c.Client, others: c.Client, large: make(chan struct{}, 1)}
	if c.Client == nil {
		development := plain(c.PrepareURL) // where all may be on one machine
		a.own = outbound.NewClient(&outbound.Options{AllowPrivate: true, AllowHTTP: development, Timeout: -1})
		a.others = outbound.NewClient(&outbound.Options{AllowPrivate: development, AllowHTTP: development, Timeout: -1})
	}
	if err := a.open(); err != nil {
		return nil, errors.Join(err, broker.Shutdown(context.Background()))
	}
	ctx, cancel := context.WithCancel(context.Background())
	a.cancel = cancel
	a.joined.Go(func() {
		orders := jobqueue.JSON[order](broker.Queue(orderQueue.Name))
		err := orders.Consume(ctx, a.work, &jobqueue.ConsumeOptions{Workers: workers, Lease: workerLease})
		if err != nil && !errors.Is(err, jobqueue.ErrShutdown) {
			c.Logger.Error("working has stopped", "error", err)
		}
	})
	return a, nil
}

func (a *App) open() (err error) {
	ways := []httpapi.Authenticator{}
	if len(a.config.Header) > 0 {
		ways = append(ways, httpapi.HeaderAuth(Platform, a.config.Header))
	}
	if len(a.config.Tokens) > 0 {
		ways = append(ways, httpapi.BearerTokens(a.config.Tokens))
	}
	if a.platform, err = httpapi.New(a.broker, &httpapi.Options{Authenticate: httpapi.AnyOf(ways...), Logger: a.config.Logger}); err != nil {
		return err
	}
	if a.public, err = httpapi.New(a.broker, &httpapi.Options{AllowAnonymous: true, Logger: a.config.Logger}); err != nil {
		return err
	}
	a.Handler = a.routes()
	return nil
}

// Drain ends what waits: nothing here does.
func (a *App) Drain() {
	a.platform.Drain()
	a.public.Drain()
}

// Shutdown ends the work. An upload that is under way is given up, and made again by the next process.
func (a *App) Shutdown(ctx context.Context) error {
	a.cancel()
	err := a.broker.Shutdown(ctx)
	a.joined.Wait()
	a.own.CloseIdleConnections()
	a.others.CloseIdleConnections()
	return err
}
