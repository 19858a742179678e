package httpapi_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/memstore"
)

// A client that closes its half of the connection behind a request looks gone to net/http, which ends the request's context. What then does not happen
// must not be answered as if it had: a 200 for an ack is a promise (I3), a 2xx for a submit is one too (I1). So that the end comes in time, looking up
// the credentials takes as long as the client seems to be there.
func TestNoSuccessIsToldToAHalfClosedClientUnlessItHappened(t *testing.T) {
	store := memstore.New(nil)
	defer store.Close()
	b, err := jobqueue.New(store, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Shutdown(context.Background())
	h, err := httpapi.New(b, &httpapi.Options{Authenticate: func(r *http.Request) (string, error) {
		select {
		case <-r.Context().Done():
			return "alice", nil
		case <-time.After(time.Minute):
			return "", errors.New("nobody noticed that the client closed its half")
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h)
	defer server.Close()
	q := b.In("alice").Queue("q")
	j, err := q.Enqueue(t.Context(), jobqueue.NewJob{})
	if err != nil {
		t.Fatal(err)
	}
	d, err := q.TryReceive(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for what, request := range map[string]string{
		"ack":    "POST /v1/jobs/" + j.ID.String() + "/ack HTTP/1.1\r\nHost: x\r\nLease-Token: " + d.Token.String() + "\r\n\r\n",
		"submit": "POST /v1/queues/q/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\r\n",
		"poll":   "GET /v1/queues/q/poll HTTP/1.1\r\nHost: x\r\n\r\n",
		"status": "GET /v1/jobs/" + j.ID.String() + "?wait=30 HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprint(conn, request)
		conn.(*net.TCPConn).CloseWrite()
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		info, err := q.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		happened := what == "ack" && info.Counts[jobqueue.Succeeded] == 1 || what == "submit" && info.Next == 2
		if resp.StatusCode < 300 && !happened {
			t.Errorf("%s: answered %d %q, and nothing happened: %v", what, resp.StatusCode, body, info.Counts)
		}
	}
}
