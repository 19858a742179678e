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
	callers := []int{1, 64, 512}
	columns := make([]string, len(callers))
	for i, n := range callers {
		columns[i] = columnOf(n)
	}
	t := newTable("HTTP", "Polls and acks through httpapi on a memory store, retention off, with 256 bytes of JSON in the poll, against a handler of net/http "+
		"that reads the body and answers the same headers and bytes. Server and client (http.Transport, kept-alive connections) are processes of their own on "+
		"the same cores. Every request counts. The server's library refills the queue meanwhile; what that takes is httpapi's loss.", columns...)
	type figures struct{ rate, cpu, refill *row }
	rows := map[string]figures{}
	for _, kind := range []string{"httpapi", "bare"} {
		name := map[string]string{"httpapi": "httpapi: poll, ack", "bare": "bare net/http: the same"}[kind]
		f := figures{rate: t.row(name, overHTTP, "-", "requests/s"), cpu: t.row(name, overHTTP, "-", "server's CPU, us a request")}
		if kind == "httpapi" {
			f.refill = t.row("refilling the queue", inProcess, "-", "% of one CPU")
		}
		rows[kind] = f
		for i, n := range callers {
			rate, cpu := f.rate.cell(columns[i]), f.cpu.cell(columns[i])
			var refill *cell
			if f.refill != nil {
				refill = f.refill.cell(columns[i])
			}
			t.step(fmt.Sprintf("%s, %d callers", kind, n), func(ctx context.Context) error {
				got, err := pollAndAck(ctx, kind, n, r.span)
				if err != nil {
					return err
				}
				rate.add(got.rate)
				cpu.add(got.cpu)
				if refill != nil {
					refill.add(got.refill)
				}
				return nil
			})
		}
	}
	for _, c := range columns {
		t.ask("poll and ack against bare net/http, "+c, atLeast(0.6), ratio(rows["httpapi"].rate.cell(c), rows["bare"].rate.cell(c)))
	}
	return t, nil
}

type httpFigures struct {
	rate   float64 // requests a second
	cpu    float64 // of the server, microseconds a request
	refill float64 // share of the time that refilling took, in percent
}

func pollAndAck(ctx context.Context, kind string, callers int, span time.Duration) (f httpFigures, err error) {
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
	var warm, c clientAnswer
	// The first cycles make connections and are not counted.
	if err := client.ask(ctx, clientQuestion{URL: before.URL, Callers: callers, Span: span / 10}, &warm); err != nil {
		return f, err
	}
	if err := server.ask(ctx, struct{}{}, &before); err != nil {
		return f, err
	}
	if err := client.ask(ctx, clientQuestion{URL: before.URL, Callers: callers, Span: span}, &c); err != nil {
		return f, err
	}
	if err := server.ask(ctx, struct{}{}, &after); err != nil {
		return f, err
	}
	if acked := after.Acked - before.Acked; acked != c.Cycles || c.Cycles == 0 {
		return f, fmt.Errorf("the clients acked %d jobs, the server took %d acks", c.Cycles, acked)
	}
	requests := float64(2 * c.Cycles)
	return httpFigures{
		rate:   requests / c.Took.Seconds(),
		cpu:    float64((after.CPU - before.CPU).Nanoseconds()) / 1e3 / requests,
		refill: 100 * (after.Refill - before.Refill).Seconds() / c.Took.Seconds(),
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

// A bare handler answers a poll and an ack as httpapi once did, and knows nothing.
type bare struct {
	poll, ack recorded
	acked     atomic.Int64
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
	if _, err := broker.Queue("bench").Enqueue(context.Background(), jobqueue.NewJob{Payload: jsonPayload(0), ContentType: "application/json"}); err != nil {
		return nil, err
	}
	b := &bare{}
	if b.poll, err = record(handler, httptest.NewRequest("GET", pollPath, nil)); err != nil {
		return nil, err
	}
	ack, err := ackRequest("", b.poll.body)
	if err != nil {
		return nil, err
	}
	b.ack, err = record(handler, ack)
	return b, err
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
	if strings.HasSuffix(r.URL.Path, "/ack") {
		answer = &b.ack
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
	URL     string
	Callers int
	Span    time.Duration
}

type clientAnswer struct {
	Cycles int64 // a poll and an ack each
	Took   time.Duration
}

// httpClient is the child that polls and acks.
func httpClient([]string) error {
	client := &http.Client{}
	return answer(func(q clientQuestion) (clientAnswer, error) {
		if client.Transport == nil {
			client.Transport = &http.Transport{MaxIdleConnsPerHost: q.Callers}
		}
		var done atomic.Int64
		var all sync.WaitGroup
		errs := make(chan error, q.Callers)
		begun := time.Now()
		for range q.Callers {
			all.Go(func() {
				for more := true; more; more = time.Since(begun) < q.Span {
					if err := pollAckOnce(client, q.URL); err != nil {
						errs <- err
						return
					}
					done.Add(1)
				}
			})
		}
		all.Wait()
		took := time.Since(begun)
		select {
		case err := <-errs:
			return clientAnswer{}, err
		default:
			return clientAnswer{Cycles: done.Load(), Took: took}, nil
		}
	})
}

func pollAckOnce(client *http.Client, url string) error {
	poll, err := http.NewRequest("GET", url+pollPath, nil)
	if err != nil {
		return err
	}
	job, err := do(client, poll)
	if err != nil {
		return err
	}
	if !bytes.Contains(job, []byte(`"payload":{"at":`)) {
		return fmt.Errorf("a polled job came without its payload: %s", job)
	}
	ack, err := ackRequest(url, job)
	if err != nil {
		return err
	}
	outcome, err := do(client, ack)
	if err == nil && !bytes.Equal(outcome, []byte(`{"outcome":"acked"}`)) {
		err = fmt.Errorf("an ack was answered %s", outcome)
	}
	return err
}

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
func ackRequest(url string, job []byte) (*http.Request, error) {
	id, ok := member(job, "id")
	token, okToken := member(job, "lease_token")
	if !ok || !okToken {
		return nil, fmt.Errorf("a poll was answered without a job: %s", job)
	}
	r, err := http.NewRequest("POST", url+"/v1/jobs/"+id+"/ack", strings.NewReader(`{"lease_token":"`+token+`"}`))
	if err == nil {
		r.Header.Set("Content-Type", "application/json")
	}
	return r, err
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
