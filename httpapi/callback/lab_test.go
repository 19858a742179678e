package callback_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/httpapi/callback"
	"github.com/pollackq/pollack/internal/pipenet"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/memstore"
)

// longest is when a callback has ended at the latest, in virtual time.
const longest = 30 * 24 * time.Hour

// A lab is a queue server whose house queue "callbacks" is sent to one receiver, whatever the host. All runs in a bubble.
type lab struct {
	*testing.T
	store    *memstore.Store
	broker   *jobqueue.Broker
	client   *http.Client
	secret   callback.Secret
	listener *pipenet.Listener
	served   sync.WaitGroup // the server and its handlers
	stop     func() error   // ends the Send that runs and returns what it did; nil if none runs

	mu     sync.Mutex // guards what follows
	got    []request
	answer http.HandlerFunc // after the request was noted
}

// A request is what the receiver got.
type request struct {
	at     time.Time
	host   string
	id     string
	header http.Header
	body   string
}

// inLab runs fn with a lab in a bubble.
func inLab(t *testing.T, fn func(*lab)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := &lab{T: t, store: memstore.New(nil), secret: callback.NewSecret(), listener: pipenet.Listen(), answer: says(204)}
		l.client = l.listener.Client()
		l.open()
		srv := &http.Server{Handler: l, ErrorLog: discard}
		l.served.Go(func() { srv.Serve(l.listener) })
		fn(l)
		l.close()
		l.client.CloseIdleConnections()
		srv.Close()
		l.served.Wait()
		if err := l.store.Close(); err != nil {
			t.Error(err)
		}
	})
}

// open has a broker take up the store's work, as after a start of the process.
func (l *lab) open() {
	l.Helper()
	b, err := jobqueue.New(l.store, nil)
	if err != nil {
		l.Fatal(err)
	}
	l.broker = b
}

func (l *lab) close() {
	l.Helper()
	if l.stop != nil {
		if err := l.stop(); err != nil {
			l.Errorf("Send: got %v, want nil when its context ends", err)
		}
	}
	if err := l.broker.Shutdown(context.Background()); err != nil {
		l.Error(err)
	}
}

// send starts Send with options whose Client and Message have defaults of the lab's.
func (l *lab) send(o callback.Options) {
	if o.Client == nil {
		o.Client = l.client
	}
	if o.Message == nil {
		o.Message = func(ctx context.Context, d *jobqueue.Delivery) (*callback.Message, error) {
			url := "https://receiver.test/hook?who=acme"
			if host := d.Tags["host"]; host != "" {
				url = "http://" + host + "/hook"
			}
			return l.message(url), nil
		}
	}
	if o.Client == l.client { // pipes have no TLS
		message := o.Message
		o.Message = func(ctx context.Context, d *jobqueue.Delivery) (*callback.Message, error) {
			m, err := message(ctx, d)
			if m != nil && len(m.URL) > 5 && m.URL[:5] == "https" {
				m.URL = "http" + m.URL[5:]
			}
			return m, err
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() { over <- callback.Send(ctx, l.queue(), &o) }()
	l.stop = func() error {
		cancel()
		l.stop = nil
		return <-over
	}
}

func (l *lab) message(url string) *callback.Message {
	return &callback.Message{URL: url, Secrets: []callback.Secret{l.secret}}
}

func (l *lab) queue() *jobqueue.Queue { return l.broker.Queue("callbacks") }

// add adds a callback's job.
func (l *lab) add(j jobqueue.NewJob) *jobqueue.Job {
	l.Helper()
	if j.Payload == nil {
		j.Payload = []byte(`{"state":"succeeded"}`)
	}
	job, err := l.queue().Enqueue(context.Background(), j)
	if err != nil {
		l.Fatal(err)
	}
	return job
}

// idle waits until all callbacks have ended.
func (l *lab) idle() {
	l.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	if err := l.queue().Idle(ctx); err != nil {
		l.Fatal(err)
	}
}

// ended waits until a job has ended, and demands how: state is "succeeded", or the code of its failure.
func (l *lab) ended(id jobqueue.ID, state string) *jobqueue.Job {
	l.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	for since := uint64(0); ; {
		j, err := l.broker.Wait(ctx, id, since)
		if err != nil {
			l.Fatal(err)
		}
		since = j.Version
		if !j.State.Ended() {
			continue
		}
		got := j.State.String()
		if j.Failure != nil {
			got = j.Failure.Code
		}
		if got != state {
			l.Errorf("got %s (%+v), want %s", got, j.Failure, state)
		}
		return j
	}
}

// pass lets time pass, and what happens meanwhile happen.
func (l *lab) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (l *lab) requests() []request {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.got)
}

// answers has the receiver answer otherwise from now on.
func (l *lab) answers(h http.HandlerFunc) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answer = h
}

// ServeHTTP is the receiver.
func (l *lab) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.served.Add(1)
	defer l.served.Done()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	v := callback.Verifier{Secrets: []callback.Secret{l.secret}, Tolerance: time.Second}
	if err := v.Verify(r.Header, body); err != nil {
		l.Errorf("the receiver: %v", err)
	}
	l.mu.Lock()
	l.got = append(l.got, request{time.Now(), r.Host, r.Header.Get("webhook-id"), r.Header, string(body)})
	answer := l.answer
	l.mu.Unlock()
	answer(w, r)
}

// says answers with a status, pairs of header fields and a body that nobody is to see.
func says(status int, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		if status >= 200 && status != 204 && status != 304 {
			io.WriteString(w, "receiver's secret")
		}
	}
}

// hijacks answers with bytes, and what fn does with the connection then.
func hijacks(answer string, fn func(net.Conn)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		defer c.Close()
		io.WriteString(c, answer)
		if fn != nil {
			fn(c)
		}
	}
}
