package main

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pollackq/pollack/jobqueue"
)

func TestQuantilesAreOfTheDurationsThemselves(t *testing.T) {
	var ds []time.Duration
	for i := 100; i > 0; i-- {
		ds = append(ds, time.Duration(i)*time.Microsecond)
	}
	for q, want := range map[float64]float64{0: 1, 0.5: 50, 0.99: 99, 1: 100} {
		if got := quantile(ds, q); got != want {
			t.Errorf("quantile %v: got %v, want %v", q, got, want)
		}
	}
}

func TestAPayloadOverHTTPIsJSONOfTheSizeOfTheOthers(t *testing.T) {
	for _, at := range []int64{0, time.Now().UnixNano()} {
		if p := jsonPayload(at); len(p) != payloadSize || !json.Valid(p) {
			t.Errorf("got %d bytes of %s, want %d of JSON", len(p), p, payloadSize)
		}
	}
}

// What the bare handler answers has the headers and the size of httpapi's, but for the zeros that times do not end with.
func TestTheBareHandlerAnswersLikeHTTPAPI(t *testing.T) {
	b, err := newBare()
	if err != nil {
		t.Fatal(err)
	}
	bareURL, stopBare, err := listen(b, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer stopBare()
	p, err := newPollackInMemory(noRetention)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	for range 2 {
		if _, err := p.queue.Enqueue(t.Context(), jobqueue.NewJob{Payload: jsonPayload(0), ContentType: "application/json"}); err != nil {
			t.Fatal(err)
		}
	}
	url, stop, err := serve(p.broker)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	ours, theirs := dialogue(t, url), dialogue(t, bareURL)
	for i := range ours {
		if ours[i].headers != theirs[i].headers || max(ours[i].size-theirs[i].size, theirs[i].size-ours[i].size) > 30 {
			t.Errorf("answer %d: httpapi has %v, the bare handler %v", i, ours[i], theirs[i])
		}
	}
	if n := b.acked.Load(); n != 2 {
		t.Errorf("the bare handler counted %d acks, want 2", n)
	}
}

type shape struct {
	headers string
	size    int64
}

// dialogue polls, acks with the next poll, and acks that.
func dialogue(t *testing.T, url string) (shapes []shape) {
	transport := &recordingTransport{}
	c := &pollClient{client: &http.Client{Transport: transport}, url: url}
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	job, err := c.poll()
	if err == nil {
		job, err = c.ackPoll(job)
	}
	if err == nil {
		err = c.ack(job)
	}
	if err != nil {
		t.Fatal(err)
	}
	return transport.shapes
}

type recordingTransport struct{ shapes []shape }

func (r *recordingTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err == nil {
		var names []string
		for name := range resp.Header {
			names = append(names, name)
		}
		slices.Sort(names)
		r.shapes = append(r.shapes, shape{strings.Join(names, " "), resp.ContentLength})
	}
	return resp, err
}

func TestAChildThatFailsIsAnError(t *testing.T) {
	if _, err := measureIn[crowdAnswer](t.Context(), "crowd", crowdQuestion{Kind: "nobody"}); err == nil || !strings.Contains(err.Error(), "exit status 1") {
		t.Errorf("got %v, want the child's failure", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := measureIn[idleAnswer](ctx, "idle", idleQuestion{Kind: "empty", Span: time.Hour}); err == nil || ctx.Err() == nil {
		t.Errorf("got %v, want an end of the time", err)
	}
}

func TestJobsThatAreLostOrMixedUpAreNoticed(t *testing.T) {
	p, err := newPollackInMemory(noRetention)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.fill(3, 1); err != nil {
		t.Fatal(err)
	}
	if err := (&scaleChild{p: p, ready: 4}).close(); err == nil {
		t.Error("a queue that has lost a job passed")
	}
	if _, err := (&timing{took: make([]time.Duration, 2), commits: 1}).figures(); err == nil {
		t.Error("a job that was not committed passed")
	}
	c, err := newPollCrowd()
	if err != nil {
		t.Fatal(err)
	}
	polls := c.(*httpCrowd)
	if err := polls.park(1); err != nil {
		t.Fatal(err)
	}
	enqueue := polls.enqueue
	polls.enqueue = func(payload []byte) (string, error) {
		_, err := enqueue(payload)
		return "another", err
	}
	if _, err := polls.wake(); err == nil {
		t.Error("a poll that got another job passed")
	}
	polls.enqueue = enqueue
	if err := polls.settle(); err != nil {
		t.Fatal(err)
	}
	calls := polls.calls
	polls.calls = func() uint64 { return 2 * calls() }
	if err := polls.end(); err == nil || !strings.Contains(err.Error(), "store calls") {
		t.Errorf("polls that look twice: got %v", err)
	}
}
