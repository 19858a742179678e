package httpapi

import (
	"context"
	"errors"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/pollackq/pollack/jobqueue"
)

// A Handler serves a broker over HTTP. Its methods are the endpoints, each an http.HandlerFunc for those who lay out paths of their own: they read
// the path values "queue" and "id" (see http.Request.PathValue). It is safe for concurrent use.
type Handler struct {
	broker *jobqueue.Broker
	opts   Options
	mux    http.Handler
	parked *parked
	signer *Signer // of the URLs of uploads
	api    []byte  // the OpenAPI document

	drained context.Context // ends with Drain
	drain   context.CancelFunc
}

// New returns a Handler for a broker, one that is not narrowed to an account. It refuses options that have neither Authenticate nor AllowAnonymous.
func New(broker *jobqueue.Broker, o *Options) (*Handler, error) {
	opts, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	signer, err := NewSigner(opts.SigningKey)
	if err != nil {
		return nil, err
	}
	if _, scoped := broker.Account(); scoped {
		return nil, errors.New("httpapi: the broker is narrowed to an account; which one is to be served is up to Authenticate")
	}
	h := &Handler{
		broker: broker,
		opts:   opts,
		parked: newParked(opts.MaxPolls, opts.MaxPollsPerAccount),
		signer: signer,
		api:    openAPIFor(opts.BaseURL + opts.Prefix),
	}
	h.drained, h.drain = context.WithCancel(context.Background())
	h.mux = h.routes()
	return h, nil
}

// Drain ends all waiting: parked polls are answered 204, requests that wait for a job with where it stands, and new polls are refused with 503.
// Everything else goes on. It returns at once and is meant for http.Server.RegisterOnShutdown: a server that shuts down waits for its requests, and
// does not end them.
func (h *Handler) Drain() { h.drain() }

// ServeHTTP serves the routes of the package documentation, with or without Options.Prefix before them.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if p := r.URL.EscapedPath(); !strings.HasPrefix(p, "/") || path.Clean(p) != p { // the mux would redirect
		h.unknownPath(w, r)
		return
	}
	h.mux.ServeHTTP(w, r)
}

// Func returns a handler for an endpoint of the user's own beside those of this package: fn is called with the broker narrowed to whom Authenticate
// found (see jobqueue.Broker.Account), and an error it returns before it has written anything is answered like those of the endpoints here.
func (h *Handler) Func(fn func(w http.ResponseWriter, r *http.Request, b *jobqueue.Broker) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		h.handle(w, r, func(c *call) error { return fn(c.w, c.r, c.broker) })
	}
}

// A call is one request, of somebody who has been authenticated unless it is handled openly.
type call struct {
	h       *Handler
	w       http.ResponseWriter
	r       *http.Request
	ctl     http.ResponseController
	account string
	broker  *jobqueue.Broker // as the account sees it

	inJSON, keyInHeader bool // where what jobqueue may find invalid has come from, see asSent
	seated              bool // has a place among those that wait
	waited              bool // for jobs
}

func (h *Handler) newCall(w http.ResponseWriter, r *http.Request) *call {
	return &call{h: h, w: w, r: r, ctl: *http.NewResponseController(w), broker: h.broker}
}

// handle authenticates the caller and answers the error of fn, which has then written nothing.
func (h *Handler) handle(w http.ResponseWriter, r *http.Request, fn func(c *call) error) {
	c := h.newCall(w, r)
	c.guard()
	err := c.authenticate()
	if err == nil {
		err = fn(c)
	}
	c.end(err)
}

// handleOpen is handle without authentication: fn sees to it that whoever calls may do so.
func (h *Handler) handleOpen(w http.ResponseWriter, r *http.Request, fn func(c *call) error) {
	c := h.newCall(w, r)
	c.guard()
	c.end(fn(c))
}

// end answers the error of a call, if there is one. A client that seems to have gone may have closed only its own half of the connection: it must not
// take silence, which net/http would make a 200, for success.
func (c *call) end(err error) {
	switch {
	case err == nil:
	case c.gone() && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)): // of a wait that was over at the same moment
		c.h.refuse(c.w, c.r, errGone)
	default:
		c.h.refuse(c.w, c.r, c.asSent(err))
	}
}

// authenticate finds out whose call it is.
func (c *call) authenticate() (err error) {
	if c.h.opts.Authenticate == nil {
		return nil
	}
	if c.account, err = c.h.authenticate(c.r); err == nil && c.account != "" {
		c.broker = c.h.broker.In(c.account)
	}
	return err
}

// guard closes the connection after an HTTP/1 request about whose end a proxy in front may have thought otherwise, so that what the proxy took for a part
// of it is not handled as another's: net/http accepts a chunked one that has a Content-Length too, takes one of HTTP/1.0 for never chunked, and hides in
// both cases what the header said. And it bounds how long the body of a request may take that nobody reads, since net/http reads it before it answers.
func (c *call) guard() {
	if c.r.ProtoMajor == 1 && (len(c.r.TransferEncoding) > 0 || c.r.ProtoMinor == 0) {
		c.w.Header().Set("Connection", "close")
	}
	if c.r.Body != http.NoBody && paced(c.r) {
		c.ctl.SetReadDeadline(time.Now().Add(c.h.opts.Patience))
	}
}

// gone reports whether the client has gone, or failed to send its body. A deadline set by middleware is no sign of that.
func (c *call) gone() bool { return errors.Is(c.r.Context().Err(), context.Canceled) }

// aftermath is how long what must be done after a client has gone may take.
const aftermath = 10 * time.Second

// afterwards returns a context for that.
func (c *call) afterwards() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(c.r.Context()), aftermath)
}
