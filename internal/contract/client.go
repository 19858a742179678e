package contract

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/pollackq/pollack/internal/pipenet"
)

// An App is a server under test, as the examples' apps are.
type App interface {
	http.Handler
	Drain()
	Shutdown(ctx context.Context) error
}

// Serve serves an app at a host of the network until the test ends, or the returned function is called, which ends it as a main does.
func Serve(t testing.TB, n *pipenet.Network, host string, app App) (stop func()) {
	t.Helper()
	end := Listen(t, n, host, app, app.Drain)
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		end()
		if err := app.Shutdown(context.Background()); err != nil {
			t.Errorf("shutdown of %s: %v", host, err)
		}
	}
	t.Cleanup(stop)
	return stop
}

// Listen serves a handler at a host of the network until the test ends or the returned function is called.
func Listen(t testing.TB, n *pipenet.Network, host string, h http.Handler, onShutdown ...func()) (stop func()) {
	t.Helper()
	l, err := n.Listen(host)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h}
	for _, f := range onShutdown {
		srv.RegisterOnShutdown(f)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		srv.Serve(l)
	}()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		if err := srv.Shutdown(context.Background()); err != nil {
			t.Errorf("server shutdown of %s: %v", host, err)
		}
		<-served
	}
	t.Cleanup(stop)
	return stop
}

// A Client makes requests of one server, each on a connection of its own.
type Client struct {
	Base   string      // "https://compressor.example"
	Header http.Header // sent with every request
	http   *http.Client
}

// NewClient returns a client of a base URL, with credentials for each request: name, value, name, value.
func NewClient(n *pipenet.Network, base string, header ...string) *Client {
	c := n.Client()
	c.Transport.(*http.Transport).DisableKeepAlives = true // so that the bubble ends
	return &Client{Base: base, Header: headers(header), http: c}
}

// With returns a client with other headers.
func (c *Client) With(header ...string) *Client {
	return &Client{Base: c.Base, Header: headers(header), http: c.http}
}

func headers(pairs []string) http.Header {
	h := make(http.Header)
	for i := 0; i+1 < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

// An Answer is what a server answered.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Do makes a request of a path below Base, or of a whole URL. A body is nil, []byte, string, an io.Reader, or a value that is sent as JSON.
func (c *Client) Do(t testing.TB, method, path string, body any, header ...string) *Answer {
	t.Helper()
	a, err := c.Try(t.Context(), method, path, body, header...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// Try is Do that returns the error.
func (c *Client) Try(ctx context.Context, method, path string, body any, header ...string) (*Answer, error) {
	var r io.Reader
	isJSON := false
	switch b := body.(type) {
	case nil:
	case []byte:
		r = bytes.NewReader(b)
	case string:
		r = bytes.NewReader([]byte(b))
	case io.Reader:
		r = b
	default:
		p, err := json.Marshal(b)
		if err != nil {
			return nil, err
		}
		r, isJSON = bytes.NewReader(p), true
	}
	url := path
	if path == "" || path[0] == '/' {
		url = c.Base + path
	}
	req, err := http.NewRequestWithContext(ctx, method, url, r)
	if err != nil {
		return nil, err
	}
	if isJSON {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, h := range []http.Header{c.Header, headers(header)} {
		for k, v := range h {
			req.Header[k] = v
		}
	}
	resp, err := c.http.Do(req)
	// A server that refuses a body early, to a client that keeps no connection, closes at once: net/http may then fail to write the rest before it sees
	// the answer. That has been given all the same, and will be given again.
	for tries := 0; errors.Is(err, io.ErrClosedPipe) && req.GetBody != nil && tries < 5; tries++ {
		if req.Body, err = req.GetBody(); err == nil {
			resp, err = c.http.Do(req)
		}
	}
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	p, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	return &Answer{resp.StatusCode, resp.Header, p}, nil
}

// Want fails the test unless the answer has that status.
func (a *Answer) Want(t testing.TB, status int) *Answer {
	t.Helper()
	if a.Status != status {
		t.Fatalf("got status %d, want %d: %s", a.Status, status, a.Body)
	}
	return a
}

// Problem fails the test unless the answer is an RFC 9457 problem of that status and code.
func (a *Answer) Problem(t testing.TB, status int, code string) {
	t.Helper()
	a.Want(t, status)
	if got := a.Header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("got content type %q, want a problem", got)
	}
	if got := a.JSON(t)["code"]; got != code {
		t.Errorf("got code %v, want %s: %s", got, code, a.Body)
	}
}

// JSON returns the answer's JSON object.
func (a *Answer) JSON(t testing.TB) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(a.Body, &v); err != nil {
		t.Fatalf("%v: %s", err, a.Body)
	}
	return v
}
