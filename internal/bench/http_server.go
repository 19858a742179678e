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
	"sync/atomic"
	"time"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/memstore"
)

func init() { children["http-server"] = httpServer }

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
