package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/memstore"
)

func init() {
	children["http-server"] = httpServer
	children["http-client"] = httpClient
}

// overHTTPTable compares polls and acks with a handler that answers the same bytes and does nothing.
func overHTTPTable(r *run) (*table, error) {
	var columns []string
	for _, n := range allCallers {
		columns = append(columns, columnOf(n))
	}
	t := newTable("HTTP", "Polls and acks through httpapi on a memory store, retention off, with 256 bytes of JSON in the poll, against a handler of net/http "+
		"that reads the body and answers the same headers and bytes. Server and client (http.Transport, kept-alive connections) are processes of their own on "+
		"the same cores. Every request counts. The server's library refills the queue meanwhile; what that takes is httpapi's loss.", columns...)
	works := []struct{ work, name string }{
		{"poll, ack", "a poll and an ack a job"},
		{"ack and take the next", "a poll with the ack of the job before"},
	}
	for _, w := range works {
		ours := httpRows(r, t, "httpapi", w.work)
		bare := httpRows(r, t, "bare", w.work)
		for _, c := range columns {
			t.ask(w.name+", against bare net/http, "+c, atLeast(0.6), ratio(ours.cell(c), bare.cell(c)))
		}
	}
	return t, nil
}

// httpRows adds the rows of a kind of server and of work, and returns the one with the requests a second.
func httpRows(r *run, t *table, kind, work string) *row {
	name := map[string]string{"httpapi": "httpapi: ", "bare": "bare net/http, the bytes of: "}[kind] + work
	rate := t.row(name, overHTTP, "-", "requests/s")
	jobs := t.row(name, overHTTP, "-", "jobs/s")
	cpu := t.row(name, overHTTP, "-", "server's CPU, us a request")
	var refill *row
	if kind == "httpapi" {
		refill = t.row("refilling the queue meanwhile", inProcess, "-", "% of one CPU")
	}
	for _, n := range allCallers {
		c := columnOf(n)
		rows := map[*row]func(httpFigures) float64{
			rate: func(f httpFigures) float64 { return f.requests },
			jobs: func(f httpFigures) float64 { return f.jobs },
			cpu:  func(f httpFigures) float64 { return f.cpu },
		}
		if refill != nil {
			rows[refill] = func(f httpFigures) float64 { return f.refill }
		}
		for row := range rows {
			row.cell(c)
		}
		t.step(name+", "+c, func(ctx context.Context) error {
			f, err := pollAndAck(ctx, kind, work, n, r.span)
			for row, value := range rows {
				row.cell(c).add(value(f))
			}
			return err
		})
	}
	return rate
}

type httpFigures struct {
	requests, jobs float64 // a second
	cpu            float64 // of the server, microseconds a request
	refill         float64 // share of the time that refilling took, in percent
}

func pollAndAck(ctx context.Context, kind, work string, callers int, span time.Duration) (f httpFigures, err error) {
	server, err := startMeasurer("http-server", kind)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, server.close()) }()
	client, err := startMeasurer("http-client")
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, client.close()) }()

	var before, after serverAnswer
	if err := server.ask(ctx, struct{}{}, &before); err != nil {
		return f, err
	}
	q := clientQuestion{URL: before.URL, Work: work, Callers: callers, Span: span / 10}
	var warm, c clientAnswer
	if err := client.ask(ctx, q, &warm); err != nil { // makes connections
		return f, err
	}
	if err := server.ask(ctx, struct{}{}, &before); err != nil {
		return f, err
	}
	q.Span = span
	if err := client.ask(ctx, q, &c); err != nil {
		return f, err
	}
	if err := server.ask(ctx, struct{}{}, &after); err != nil {
		return f, err
	}
	if acked := after.Acked - before.Acked; acked != c.Acked || acked == 0 {
		return f, fmt.Errorf("the clients acked %d jobs, the server took %d acks", c.Acked, acked)
	}
	return httpFigures{
		requests: float64(c.Requests) / c.Took.Seconds(),
		jobs:     float64(c.Acked) / c.Took.Seconds(),
		cpu:      float64((after.CPU - before.CPU).Nanoseconds()) / 1e3 / float64(c.Requests),
		refill:   100 * (after.Refill - before.Refill).Seconds() / c.Took.Seconds(),
	}, nil
}

// A serverAnswer is what the server's process has done so far.
type serverAnswer struct {
	URL    string
	CPU    time.Duration
	Acked  int64
	Refill time.Duration // spent on refilling the queue
}

// httpServer is the child that serves, by httpapi or with the bare handler.
func httpServer(args []string) error {
	if len(args) != 1 {
		return errors.New("want one kind of server")
	}
	if args[0] == "bare" {
		bare, err := newBare()
		if err != nil {
			return err
		}
		url, stop, err := listen(bare, nil)
		if err != nil {
			return err
		}
		defer stop()
		return answer(func(struct{}) (serverAnswer, error) {
			return serverAnswer{URL: url, CPU: cpuTime(), Acked: bare.acked.Load()}, nil
		})
	}
	store := memstore.New(nil)
	defer store.Close()
	broker, err := jobqueue.New(store, &jobqueue.Options{Retention: -1})
	if err != nil {
		return err
	}
	defer broker.Shutdown(context.Background())
	full := &refiller{broker: broker}
	if err := full.start(); err != nil {
		return err
	}
	defer full.stop()
	url, stop, err := serve(broker)
	if err != nil {
		return err
	}
	defer stop()
	return answer(func(struct{}) (serverAnswer, error) {
		return serverAnswer{URL: url, CPU: cpuTime(), Acked: int64(broker.Stats().Succeeded), Refill: time.Duration(full.took.Load())}, full.failed()
	})
}

// A refiller keeps a queue from running empty.
type refiller struct {
	broker *jobqueue.Broker
	took   atomic.Int64 // nanoseconds
	err    atomic.Pointer[error]
	end    chan struct{}
	ended  chan struct{}
}

// Between two looks even the fastest clients take far fewer than lowWater.
const (
	lowWater   = 2 * jobqueue.MaxBatch
	refillLook = 5 * time.Millisecond
)

func (f *refiller) start() error {
	f.end, f.ended = make(chan struct{}), make(chan struct{})
	if err := f.refill(); err != nil {
		return err
	}
	go func() {
		defer close(f.ended)
		ticker := time.NewTicker(refillLook)
		defer ticker.Stop()
		for {
			select {
			case <-f.end:
				return
			case <-ticker.C:
			}
			if err := f.refill(); err != nil {
				f.err.Store(&err)
				return
			}
		}
	}()
	return nil
}

func (f *refiller) refill() error {
	for {
		s := f.broker.Stats()
		if s.Enqueued-s.Delivered >= lowWater {
			return nil
		}
		begun := time.Now()
		jobs := make([]jobqueue.NewJob, jobqueue.MaxBatch)
		for i := range jobs {
			jobs[i] = jobqueue.NewJob{Payload: jsonPayload(0), ContentType: "application/json"}
		}
		if _, err := f.broker.Queue("bench").EnqueueMany(context.Background(), jobs); err != nil {
			return err
		}
		f.took.Add(int64(time.Since(begun)))
	}
}

func (f *refiller) failed() error {
	if err := f.err.Load(); err != nil {
		return *err
	}
	return nil
}

func (f *refiller) stop() {
	close(f.end)
	<-f.ended
}

// jsonPayload returns JSON of 256 bytes that begins with a time.
func jsonPayload(at int64) []byte {
	p := fmt.Appendf(make([]byte, 0, payloadSize), `{"at":%20d,"pad":"`, at)
	p = append(p, bytes.Repeat([]byte("x"), payloadSize-len(p)-2)...)
	return append(p, `"}`...)
}

// A bare handler answers polls and acks as httpapi once did, and knows nothing.
type bare struct {
	poll, ack, ackPoll recorded
	acked              atomic.Int64
}

type recorded struct {
	header [][2]string
	body   []byte
}

func newBare() (*bare, error) {
	store := memstore.New(nil)
	defer store.Close()
	broker, err := jobqueue.New(store, &jobqueue.Options{Retention: -1})
	if err != nil {
		return nil, err
	}
	defer broker.Shutdown(context.Background())
	handler, err := httpapi.New(broker, &httpapi.Options{AllowAnonymous: true})
	if err != nil {
		return nil, err
	}
	job := jobqueue.NewJob{Payload: jsonPayload(0), ContentType: "application/json"}
	if _, err := broker.Queue("bench").EnqueueMany(context.Background(), []jobqueue.NewJob{job, job}); err != nil {
		return nil, err
	}
	b := &bare{}
	if b.poll, err = record(handler, httptest.NewRequest("GET", pollPath, nil)); err != nil {
		return nil, err
	}
	if b.ackPoll, err = recordAnswer(handler, ackPollRequest, b.poll.body); err != nil {
		return nil, err
	}
	b.ack, err = recordAnswer(handler, ackRequest, b.ackPoll.body)
	return b, err
}

// recordAnswer records the answer to what is done with a job that was polled.
func recordAnswer(h http.Handler, request func(url string, job []byte) (*http.Request, error), polled []byte) (recorded, error) {
	r, err := request("", polled)
	if err != nil {
		return recorded{}, err
	}
	return record(h, r)
}

// record remembers what a handler answers.
func record(h http.Handler, r *http.Request) (recorded, error) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		return recorded{}, fmt.Errorf("%s was answered %d %s", r.URL, w.Code, w.Body)
	}
	got := recorded{body: w.Body.Bytes()}
	for name, values := range w.Header() {
		for _, v := range values {
			got.header = append(got.header, [2]string{name, v})
		}
	}
	return got, nil
}

// ServeHTTP implements http.Handler.
func (b *bare) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return
	}
	answer := &b.poll
	switch {
	case strings.HasSuffix(r.URL.Path, "/ack"):
		answer = &b.ack
		b.acked.Add(1)
	case r.Method == http.MethodPost:
		answer = &b.ackPoll
		b.acked.Add(1)
	}
	answer.write(w)
}

func (a *recorded) write(w http.ResponseWriter) {
	for _, h := range a.header {
		w.Header().Set(h[0], h[1])
	}
	w.WriteHeader(http.StatusOK)
	w.Write(a.body)
}

const pollPath = "/v1/queues/bench/poll?timeout=30"

type clientQuestion struct {
	URL, Work string
	Callers   int
	Span      time.Duration
}

type clientAnswer struct {
	Requests, Acked int64
	Took            time.Duration
}

// httpClient is the child that polls and acks.
func httpClient([]string) error {
	transport := &http.Transport{}
	return answer(func(q clientQuestion) (clientAnswer, error) {
		transport.MaxIdleConnsPerHost = q.Callers // the same each time: it is asked to warm up, and then again
		c := &pollClient{client: &http.Client{Transport: transport}, url: q.URL}
		work := map[string]func(more func() bool) error{"poll, ack": c.pollAndAck, "ack and take the next": c.ackAndTakeNext}[q.Work]
		if work == nil {
			return clientAnswer{}, fmt.Errorf("there is no work %q", q.Work)
		}
		var all sync.WaitGroup
		errs := make(chan error, q.Callers)
		begun := time.Now()
		for range q.Callers {
			all.Go(func() {
				if err := work(func() bool { return time.Since(begun) < q.Span }); err != nil {
					errs <- err
				}
			})
		}
		all.Wait()
		took := time.Since(begun)
		if len(errs) > 0 {
			return clientAnswer{}, <-errs
		}
		return clientAnswer{Requests: c.requests.Load(), Acked: c.acked.Load(), Took: took}, nil
	})
}

// A pollClient counts what its callers do.
type pollClient struct {
	client          *http.Client
	url             string
	requests, acked atomic.Int64
}

func (c *pollClient) pollAndAck(more func() bool) error {
	for more() {
		job, err := c.poll()
		if err == nil {
			err = c.ack(job)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// ackAndTakeNext has one request a job but for the first and the last, which count, too.
func (c *pollClient) ackAndTakeNext(more func() bool) error {
	job, err := c.poll()
	for err == nil && more() {
		job, err = c.ackPoll(job)
	}
	if err != nil {
		return err
	}
	return c.ack(job)
}

func (c *pollClient) poll() ([]byte, error) {
	r, err := http.NewRequest("GET", c.url+pollPath, nil)
	if err != nil {
		return nil, err
	}
	job, err := c.do(r)
	if err == nil && !bytes.Contains(job, []byte(payloadBegins)) {
		err = fmt.Errorf("a polled job came without its payload: %s", job)
	}
	return job, err
}

func (c *pollClient) ack(job []byte) error {
	r, err := ackRequest(c.url, job)
	if err != nil {
		return err
	}
	outcome, err := c.do(r)
	if err == nil && !bytes.Equal(outcome, []byte(`{"outcome":"acked"}`)) {
		err = fmt.Errorf("an ack was answered %s", outcome)
	}
	c.acked.Add(1)
	return err
}

func (c *pollClient) ackPoll(job []byte) ([]byte, error) {
	r, err := ackPollRequest(c.url, job)
	if err != nil {
		return nil, err
	}
	next, err := c.do(r)
	if err == nil && (!bytes.Contains(next, []byte(`"outcome":"acked"`)) || !bytes.Contains(next, []byte(payloadBegins))) {
		err = fmt.Errorf("a poll with an ack was answered %s", next)
	}
	c.acked.Add(1)
	return next, err
}

func (c *pollClient) do(r *http.Request) ([]byte, error) {
	c.requests.Add(1)
	return do(c.client, r)
}

const payloadBegins = `"payload":{"at":`

func do(client *http.Client, r *http.Request) ([]byte, error) {
	resp, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s was answered %s: %s", r.Method, r.URL, resp.Status, body)
	}
	return body, err
}

// ackRequest acks a polled job. Finding what it needs costs the client little, so that what the servers cost shows.
func ackRequest(url string, polled []byte) (*http.Request, error) {
	id, token, err := leaseOf(polled)
	if err != nil {
		return nil, err
	}
	return postJSON(url+"/v1/jobs/"+id+"/ack", `{"lease_token":"`+token+`"}`)
}

// ackPollRequest acks a polled job and takes the next.
func ackPollRequest(url string, polled []byte) (*http.Request, error) {
	id, token, err := leaseOf(polled)
	if err != nil {
		return nil, err
	}
	return postJSON(url+pollPath, `{"acks":[{"id":"`+id+`","lease_token":"`+token+`"}]}`)
}

func postJSON(url, body string) (*http.Request, error) {
	r, err := http.NewRequest("POST", url, strings.NewReader(body))
	if err == nil {
		r.Header.Set("Content-Type", "application/json")
	}
	return r, err
}

// leaseOf finds the job and the token in the answer of a poll, with acks or without.
func leaseOf(polled []byte) (id, token string, err error) {
	if _, jobs, ok := bytes.Cut(polled, []byte(`"jobs":`)); ok {
		polled = jobs
	}
	id, ok := member(polled, "id")
	token, okToken := member(polled, "lease_token")
	if !ok || !okToken {
		err = fmt.Errorf("a poll was answered without a job: %s", polled)
	}
	return id, token, err
}

// member finds a string of a JSON object that has no other member of that name further in.
func member(object []byte, name string) (string, bool) {
	_, after, ok := bytes.Cut(object, []byte(`"`+name+`":"`))
	value, _, closed := bytes.Cut(after, []byte(`"`))
	return string(value), ok && closed
}

// serve mounts a broker on a loopback port.
func serve(broker *jobqueue.Broker) (url string, stop func(), err error) {
	handler, err := httpapi.New(broker, &httpapi.Options{AllowAnonymous: true, MaxPolls: -1, MaxWait: time.Hour})
	if err != nil {
		return "", nil, err
	}
	return listen(handler, handler.Drain)
}

// listen serves a handler on a loopback port.
func listen(h http.Handler, drain func()) (url string, stop func(), err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	server := &http.Server{Handler: h}
	if drain != nil {
		server.RegisterOnShutdown(drain)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		server.Serve(listener)
	}()
	return "http://" + listener.Addr().String(), func() {
		server.Shutdown(context.Background())
		<-served
	}, nil
}
