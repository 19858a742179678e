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
	for _, w := range []struct{ work, name string }{
		{"poll, ack", "a poll and an ack a job"},
		{"ack and take the next", "a poll with the ack of the job before"},
	} {
		ours := newHTTPRows(t, "httpapi", "httpapi: "+w.work)
		bare := newHTTPRows(t, "bare", "bare net/http, the bytes of: "+w.work)
		for i, n := range allCallers {
			c := columns[i]
			for _, rows := range []*httpRows{ours, bare} {
				for _, row := range rows.all {
					row.cell(c)
				}
			}
			t.step(w.work+", "+c, func(ctx context.Context) error { return compareHTTP(ctx, r, w.work, n, ours, bare) })
			t.ask(w.name+", against bare net/http, "+c, atLeast(0.6), ratio(ours.requests.cell(c), bare.requests.cell(c)))
		}
	}
	return t, nil
}

// httpRows are what a kind of server has in the table.
type httpRows struct {
	kind                        string
	requests, jobs, cpu, refill *row
	all                         []*row
}

func newHTTPRows(t *table, kind, name string) *httpRows {
	h := &httpRows{kind: kind}
	h.requests, h.jobs = t.row(name, overHTTP, "-", "requests/s"), t.row(name, overHTTP, "-", "jobs/s")
	h.cpu = t.row(name, overHTTP, "-", "server's CPU, us a request")
	h.all = []*row{h.requests, h.jobs, h.cpu}
	if kind == "httpapi" {
		h.refill = t.row("refilling the queue meanwhile", inProcess, "-", "% of one CPU")
		h.all = append(h.all, h.refill)
	}
	return h
}

// compareHTTP measures servers in turns of an eighth of the time each, so that what disturbs the machine meets all of them.
func compareHTTP(ctx context.Context, r *run, work string, callers int, rows ...*httpRows) (err error) {
	const turns = 8
	var all []*httpPair
	for _, h := range rows {
		p, e := startPair(ctx, h.kind, clientQuestion{Work: work, Callers: callers, Span: r.span / turns})
		if e != nil {
			return e
		}
		defer func() { err = errors.Join(err, p.close()) }()
		all = append(all, p)
	}
	for turn := range turns + 1 { // the first makes connections and is not counted
		for _, p := range all {
			if err := p.measure(ctx, turn > 0); err != nil {
				return err
			}
		}
	}
	for i, p := range all {
		p.add(rows[i], columnOf(callers))
	}
	return nil
}

// An httpPair is a server and its clients, each a process, and what they did while they were measured.
type httpPair struct {
	server, client *measurer
	question       clientQuestion
	clients        clientAnswer
	cpu, refill    time.Duration
}

func startPair(ctx context.Context, kind string, q clientQuestion) (*httpPair, error) {
	p := &httpPair{question: q}
	var err error
	if p.server, err = startMeasurer("http-server", kind); err != nil {
		return nil, err
	}
	if p.client, err = startMeasurer("http-client"); err != nil {
		return nil, errors.Join(err, p.server.close())
	}
	var at serverAnswer
	if err := p.server.ask(ctx, struct{}{}, &at); err != nil {
		return nil, errors.Join(err, p.close())
	}
	p.question.URL = at.URL
	return p, nil
}

func (p *httpPair) close() error { return errors.Join(p.client.close(), p.server.close()) }

func (p *httpPair) measure(ctx context.Context, counts bool) error {
	var before, after serverAnswer
	var c clientAnswer
	err := p.server.ask(ctx, struct{}{}, &before)
	if err == nil {
		err = p.client.ask(ctx, p.question, &c)
	}
	if err == nil {
		err = p.server.ask(ctx, struct{}{}, &after)
	}
	if err != nil {
		return err
	}
	if acked := after.Acked - before.Acked; acked != c.Acked || acked == 0 {
		return fmt.Errorf("the clients acked %d jobs, the server took %d acks", c.Acked, acked)
	}
	if counts {
		p.clients.Requests += c.Requests
		p.clients.Acked += c.Acked
		p.clients.Took += c.Took
		p.cpu += after.CPU - before.CPU
		p.refill += after.Refill - before.Refill
	}
	return nil
}

func (p *httpPair) add(h *httpRows, column string) {
	requests, seconds := float64(p.clients.Requests), p.clients.Took.Seconds()
	h.requests.cell(column).add(requests / seconds)
	h.jobs.cell(column).add(float64(p.clients.Acked) / seconds)
	h.cpu.cell(column).add(float64(p.cpu.Nanoseconds()) / 1e3 / requests)
	if h.refill != nil {
		h.refill.cell(column).add(100 * p.refill.Seconds() / seconds)
	}
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
