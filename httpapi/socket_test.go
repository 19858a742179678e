package httpapi_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/jobqueue"
)

// eventually waits for something to become so, in real time.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for began := time.Now(); !so(); time.Sleep(time.Millisecond) {
		if time.Since(began) > time.Minute {
			t.Fatalf("after a minute still not: %s", what)
		}
	}
}

// The same as over pipes: a client that goes while its poll is parked, by closing its socket or by resetting it, takes no job.
func TestAClientThatGoesOverARealSocketTakesNothing(t *testing.T) {
	h, b := newHandler(t, httpapi.Options{})
	server := httptest.NewServer(h)
	defer server.Close()
	for _, reset := range []bool{false, true} {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(conn, "POST /v1/queues/q/poll HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
		eventually(t, "the poll is parked", func() bool { return b.Stats().Receivers == 1 })
		if reset {
			conn.(*net.TCPConn).SetLinger(0)
		}
		conn.Close()
		eventually(t, "the poll has ended", func() bool { return b.Stats().Receivers == 0 })
		if _, err := b.Queue("q").Enqueue(t.Context(), jobqueue.NewJob{}); err != nil {
			t.Fatal(err)
		}
		d, err := b.Queue("q").TryReceive(t.Context(), nil)
		if err != nil || d.Deliveries != 1 {
			t.Errorf("reset %v: got %+v, %v; want the first delivery", reset, d, err)
		}
	}
}

// A body that ends too early is the client's mistake, and nothing is enqueued.
func TestABodyThatIsCutIsRefused(t *testing.T) {
	h, b := newHandler(t, httpapi.Options{})
	server := httptest.NewServer(h)
	defer server.Close()
	for _, kind := range []string{"text/plain", "application/json"} {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "POST /v1/queues/q/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: 100\r\n\r\n{}", kind)
		conn.(*net.TCPConn).CloseWrite()
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 400 {
			t.Errorf("%s: got %d, want 400", kind, resp.StatusCode)
		}
	}
	if _, err := b.Queue("q").Info(t.Context()); !errors.Is(err, jobqueue.ErrNotFound) {
		t.Errorf("got %v, want no queue", err)
	}
}
