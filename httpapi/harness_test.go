package httpapi_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/internal/pipenet"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/memstore"
)

// A world is a server and a client that speak HTTP over pipes. It belongs to one bubble.
type world struct {
	t      *testing.T
	store  *memstore.Store
	broker *jobqueue.Broker
	h      *httpapi.Handler
	server *http.Server
	net    *pipenet.Listener
	client *http.Client
}

type setup struct {
	options httpapi.Options
	broker  *jobqueue.Options
	server  http.Server // without Handler
	wrap    func(http.Handler) http.Handler
	http2   bool
}

// tokens are the credentials of the tests, "house" those of the house.
var tokens = httpapi.BearerTokens(map[string]string{"alice-token": "alice", "bob-token": "bob", "house-token": ""})

func newWorld(t *testing.T, s *setup) *world {
	t.Helper()
	if s == nil {
		s = new(setup)
	}
	w := &world{t: t, store: memstore.New(nil), net: pipenet.Listen()}
	var err error
	if w.broker, err = jobqueue.New(w.store, s.broker); err != nil {
		t.Fatal(err)
	}
	if s.options.Authenticate == nil && !s.options.AllowAnonymous {
		s.options.Authenticate, s.options.House = tokens, true
	}
	if w.h, err = httpapi.New(w.broker, &s.options); err != nil {
		t.Fatal(err)
	}
	w.server = &http.Server{Handler: w.h, WriteTimeout: s.server.WriteTimeout, ReadTimeout: s.server.ReadTimeout}
	if s.wrap != nil {
		w.server.Handler = s.wrap(w.h)
	}
	w.client = w.net.Client()
	if s.http2 {
		p := new(http.Protocols)
		p.SetUnencryptedHTTP2(true)
		w.server.Protocols = p
		w.client.Transport.(*http.Transport).Protocols = p
	}
	served := make(chan struct{})
	go func() {
		w.server.Serve(w.net)
		close(served)
	}()
	t.Cleanup(func() {
		w.h.Drain()
		w.client.CloseIdleConnections()
		w.server.Close()
		<-served
		time.Sleep(time.Second) // net/http lets connections linger that it closes after an early answer
		w.broker.Shutdown(context.Background())
		w.store.Close()
	})
	return w
}

// queue returns a queue of alice's, as the process itself sees it.
func (w *world) queue(name string) *jobqueue.Queue { return w.broker.In("alice").Queue(name) }

// enqueue adds a job of alice's.
func (w *world) enqueue(queue string, j jobqueue.NewJob) *jobqueue.Job {
	w.t.Helper()
	job, err := w.queue(queue).Enqueue(context.Background(), j)
	if err != nil {
		w.t.Fatal(err)
	}
	return job
}

// receive leases the next job of alice's.
func (w *world) receive(queue string) *jobqueue.Delivery {
	w.t.Helper()
	d, err := w.queue(queue).TryReceive(context.Background(), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

// An answer is a response that has been read.
type answer struct {
	t      *testing.T
	status int
	header http.Header
	body   string
}

// do sends a request as alice; a header is given as "Name: value", and an empty Authorization takes alice's away.
func (w *world) do(method, path, body string, headers ...string) *answer {
	w.t.Helper()
	a, err := w.try(context.Background(), method, path, body, headers...)
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

func (w *world) try(ctx context.Context, method, path, body string, headers ...string) (*answer, error) {
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://test"+path, r)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer alice-token")
	if strings.HasPrefix(body, "{") {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		k, v, _ := strings.Cut(h, ": ")
		if v == "" {
			req.Header.Del(k)
			continue
		}
		if k == "Authorization" || k == "Content-Type" {
			req.Header.Del(k)
		}
		req.Header.Add(k, v)
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	p, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	return &answer{w.t, resp.StatusCode, resp.Header, string(p)}, nil
}

// want fails the test unless the answer has that status.
func (a *answer) want(status int) *answer {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("got status %d with %s, want %d", a.status, a.body, status)
	}
	return a
}

// wantProblem fails the test unless the answer is a problem of that status and code.
func (a *answer) wantProblem(status int, code string) *answer {
	a.t.Helper()
	a.want(status)
	if got := a.header.Get("Content-Type"); got != "application/problem+json" {
		a.t.Errorf("got Content-Type %q, want application/problem+json", got)
	}
	if got := a.get("code"); got != code {
		a.t.Errorf("got code %v, want %v: %s", got, code, a.body)
	}
	if a.get("title") != http.StatusText(status) || a.get("status") != float64(status) {
		a.t.Errorf("got %s, want status %d in it", a.body, status)
	}
	return a
}

// wantHeader fails the test unless the answer has that header; "" for none.
func (a *answer) wantHeader(name, value string) *answer {
	a.t.Helper()
	if got := a.header.Get(name); got != value {
		a.t.Errorf("got %s: %q, want %q", name, got, value)
	}
	return a
}

// object decodes the body.
func (a *answer) object() map[string]any {
	a.t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(a.body), &m); err != nil {
		a.t.Fatalf("got body %q: %v", a.body, err)
	}
	return m
}

// get returns a member of the body, given the names on the way to it separated by dots.
func (a *answer) get(path string) any {
	a.t.Helper()
	var v any = a.object()
	for name := range strings.SplitSeq(path, ".") {
		m, _ := v.(map[string]any)
		v = m[name]
	}
	return v
}

// text is get for strings.
func (a *answer) text(path string) string {
	a.t.Helper()
	s, ok := a.get(path).(string)
	if !ok {
		a.t.Fatalf("got no text as %s in %s", path, a.body)
	}
	return s
}

// later does something a while from now, and returns a channel that is closed when it is done.
func later(d time.Duration, fn func()) <-chan struct{} {
	done := make(chan struct{})
	time.AfterFunc(d, func() {
		defer close(done)
		fn()
	})
	return done
}
