// Package app is a server of image sessions over a job queue. What it says over HTTP stands in protocol.go, how it takes images in upload.go.
package app

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage"
)

// Defaults and bounds.
const (
	DefaultAckWindow = 5 * time.Minute
	DefaultRetention = 24 * time.Hour
	DefaultTombstone = 30 * 24 * time.Hour

	MaxImage = 64 << 20                  // bytes of an image
	MaxWait  = 30 * time.Second          // of a poll
	MaxKept  = 10 * 365 * 24 * time.Hour // of Retention and Tombstone
)

// A Config says how to serve. All but Tokens may be left zero.
type Config struct {
	Tokens    map[string]string // the account of each bearer token
	AckWindow time.Duration     // how long an image that was polled is hidden from other polls; DefaultAckWindow
	// Retention is how long the record of an acknowledged image is kept, with its tokens; DefaultRetention.
	Retention time.Duration
	// Tombstone is how long an image is answered 410 from its ack on, and a session from when it is done; DefaultTombstone. The image's Retention is
	// part of it.
	Tombstone time.Duration
	Log       *slog.Logger // nil discards it
}

// An App is the server. It is safe for concurrent use.
type App struct {
	http.Handler
	broker *jobqueue.Broker
	api    *httpapi.Handler
	kept   jobqueue.Limits // how long an image is
}

// New returns an App over a store, which the caller closes after Shutdown.
func New(store storage.Store, c Config) (*App, error) {
	c.AckWindow = cmp.Or(c.AckWindow, DefaultAckWindow)
	c.Retention = cmp.Or(c.Retention, DefaultRetention)
	c.Tombstone = cmp.Or(c.Tombstone, DefaultTombstone)

	// A tombstone follows the retention, but a session's 410 lasts from when it is done: an image is remembered no longer than its session.
	a := &App{kept: jobqueue.Limits{Retention: c.Retention, Tombstone: c.Tombstone - c.Retention}}
	if a.kept.Tombstone <= 0 {
		a.kept = jobqueue.Limits{Retention: c.Tombstone, Tombstone: -1}
	}
	var err error
	a.broker, err = jobqueue.New(store, &jobqueue.Options{
		Lease:          c.AckWindow,
		MaxDeliveries:  -1, // an image leaves a session by its ack alone
		Retention:      c.Retention,
		Tombstone:      c.Tombstone,
		MaxPayload:     MaxImage,
		ExplicitQueues: true, // a session that nobody has opened is unknown
		Logger:         c.Log,
	})
	if err != nil {
		return nil, err
	}
	a.api, err = httpapi.New(a.broker, &httpapi.Options{
		Authenticate: httpapi.BearerTokens(c.Tokens),
		IDPrefix:     imagePrefix,
		ShapePolled:  a.polled,
		AckStatus:    http.StatusNoContent,
		AnyToken:     true, // an ack needs no Lease-Token
		MaxWait:      MaxWait,
		Logger:       c.Log,
	})
	if err != nil {
		return nil, err
	}
	a.Handler = a.api.Routes(a.routes())
	return a, nil
}

// Drain ends all polls that wait, with 204.
func (a *App) Drain() { a.api.Drain() }

// Shutdown ends the work. The store can be closed when it has returned.
func (a *App) Shutdown(ctx context.Context) error { return a.broker.Shutdown(ctx) }
