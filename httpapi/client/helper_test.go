package client_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/httpapi/client"
	"github.com/pollackq/pollack/internal/pipenet"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/memstore"
)

// serve serves a handler over pipes until the test ends, and returns a client of it whose options may be changed.
func serve(t *testing.T, h http.Handler, o *client.Options) *client.Client {
	t.Helper()
	hc := serveHTTP(t, h)
	var opts client.Options
	if o != nil {
		opts = *o
	}
	opts.HTTPClient = hc
	c, err := client.New("http://queue.test", &opts)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func serveHTTP(t *testing.T, h http.Handler) *http.Client {
	t.Helper()
	l := pipenet.Listen()
	srv := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() {
		defer close(done)
		srv.Serve(l)
	}()
	hc := l.Client()
	t.Cleanup(func() {
		hc.CloseIdleConnections()
		srv.Close()
		<-done
		time.Sleep(time.Minute) // of the bubble: net/http lets connections linger that it closes after an early answer, and a handler may have just begun
	})
	return hc
}

// house is a queue server over memory with everything that httpapi has, for the account "demo" whose token is "secret".
func house(t *testing.T, o *jobqueue.Options) (*jobqueue.Broker, *client.Client) {
	t.Helper()
	broker := brokerOf(t, o)
	h, err := httpapi.New(broker, &httpapi.Options{Authenticate: httpapi.BearerTokens(map[string]string{"secret": "demo"})})
	if err != nil {
		t.Fatal(err)
	}
	return broker.In("demo"), serve(t, h, &client.Options{Token: "secret"})
}

// brokerOf returns a broker over memory.
func brokerOf(t *testing.T, o *jobqueue.Options) *jobqueue.Broker {
	t.Helper()
	store := memstore.New(nil)
	broker, err := jobqueue.New(store, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := broker.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return broker
}

// A script answers requests one after the other; the last answer is given for ever.
type script struct {
	answers []http.HandlerFunc
	asked   atomic.Int64
}

func (s *script) n() int { return int(s.asked.Load()) }

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := int(s.asked.Add(1))
	s.answers[min(n, len(s.answers))-1](w, r)
}

// says returns an answer with a status, a body and pairs of header fields.
func says(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

// breaks is an answer that ends in the middle.
func breaks(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func problem(status int, code string, header ...string) http.HandlerFunc {
	return says(status, fmt.Sprintf(`{"status":%d,"code":%q,"title":"a title","detail":"a detail"}`, status, code),
		append(header, "Content-Type", "application/problem+json")...)
}
