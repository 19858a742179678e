package client

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Options of a Client. The zero value of each field, and a nil *Options, mean the defaults.
type Options struct {
	// HTTPClient makes the requests. It should have no Timeout of its own, which would cut long polls and large transfers. The
	// default follows no redirects and keeps up to 64 idle connections.
	HTTPClient *http.Client
	// Token is sent as a bearer token.
	Token string
	// Header, if set, is called for every attempt and adds to its header: credentials that change, trace ids. Its error fails the call.
	Header func(ctx context.Context, h http.Header) error
	// UserAgent replaces "pollack-client".
	UserAgent string

	// Timeout is how long nothing at all may move on a connection before an attempt is given up, 30 seconds by default. The time that a server is
	// asked to wait is added to it. The whole of a call is bounded by its context only.
	Timeout time.Duration
	// Retries is how often a call is repeated at most: 4 by default, negative for never.
	Retries int
	// FirstPause and MaxPause bound the pauses before repetitions: anything up to the first, which doubles each time, but never more than the
	// second. 200 milliseconds and 30 seconds by default.
	FirstPause, MaxPause time.Duration
	// MaxAnswer is the largest answer, in bytes, that is read into memory: 32 MiB by default. Payloads and results are streamed and not bounded.
	MaxAnswer int64

	// Logger is told of failures that were overcome; nil discards it.
	Logger *slog.Logger
}

// A Client speaks to one server. It is safe for concurrent use.
type Client struct {
	base string // without a slash at its end
	opts Options
}

// New returns a client of the server at baseURL, which has the prefix under which httpapi is mounted but not its /v1: "https://example.com/queue".
// It does not connect.
func New(baseURL string, o *Options) (*Client, error) {
	u, err := url.Parse(baseURL)
	if err != nil {
		return nil, fmt.Errorf("client: base URL: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("client: base URL %q: want http://host or https://host", u.Redacted())
	}
	if u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, fmt.Errorf("client: base URL %q: must have no user, query or fragment", u.Redacted())
	}
	c := &Client{base: strings.TrimRight(u.String(), "/")}
	if o != nil {
		c.opts = *o
	}
	c.opts.setDefaults()
	if strings.ContainsAny(c.opts.Token, "\r\n") {
		return nil, fmt.Errorf("client: the token has a line break")
	}
	return c, nil
}

func (o *Options) setDefaults() {
	if o.HTTPClient == nil {
		o.HTTPClient = newHTTPClient()
	}
	if o.UserAgent == "" {
		o.UserAgent = "pollack-client"
	}
	if o.Timeout <= 0 {
		o.Timeout = 30 * time.Second
	}
	if o.Retries == 0 {
		o.Retries = 4
	}
	if o.FirstPause <= 0 {
		o.FirstPause = 200 * time.Millisecond
	}
	if o.MaxPause <= 0 {
		o.MaxPause = 30 * time.Second
	}
	if o.MaxAnswer <= 0 {
		o.MaxAnswer = 32 << 20
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

// newHTTPClient returns a client for many connections to one host. It does not follow redirects: httpapi sends none, and a payload or
// token must not go elsewhere because somebody in between does.
func newHTTPClient() *http.Client {
	t, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		t = &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true}
	}
	t = t.Clone()
	t.MaxIdleConnsPerHost = 64
	return &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// CloseIdle closes connections that are not in use. The client can be used further.
func (c *Client) CloseIdle() { c.opts.HTTPClient.CloseIdleConnections() }

// JobURL returns the address of a job's status, to be given to others or to Await.
func (c *Client) JobURL(id string) string { return c.base + jobPath(id) }

func jobPath(id string) string     { return "/v1/jobs/" + segment(id) }
func queuePath(name string) string { return "/v1/queues/" + segment(name) }

// segment escapes a name so that it is one segment of a path, whatever it contains; net/http would resolve a bare "..".
func segment(name string) string {
	switch name {
	case ".":
		return "%2E"
	case "..":
		return "%2E%2E"
	}
	return url.PathEscape(name)
}
