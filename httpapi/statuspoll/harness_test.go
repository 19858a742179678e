package statuspoll_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pollackq/pollack/httpapi/statuspoll"
	"github.com/pollackq/pollack/internal/pipenet"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/memstore"
)

// A world is a poller and the automation that it polls, in one bubble. The automation takes every order; what it answers to a check is up to the test.
type world struct {
	t     *testing.T
	began time.Time
	net   *pipenet.Listener
	opts  statuspoll.PollerOptions

	webhook func(w http.ResponseWriter, r *http.Request, n int) // nil: 202
	status  func(w http.ResponseWriter, r *http.Request, n int) // of the n-th call, from 0; nil: processing

	mu    sync.Mutex // guards what follows
	calls []call

	*process
	store storage.Store
}

// A call is a request that the automation got.
type call struct {
	at     time.Duration // since the world began
	method string
	path   string
	header http.Header
	body   string
}

// A process is what dies and is started again.
type process struct {
	broker *jobqueue.Broker
	poller *statuspoll.Poller
	cancel context.CancelFunc
	ran    chan error
}

// answers returns a status function that answers with these bodies in turn, the last one again and again.
func answers(bodies ...string) func(http.ResponseWriter, *http.Request, int) {
	return func(w http.ResponseWriter, r *http.Request, n int) { io.WriteString(w, bodies[min(n, len(bodies)-1)]) }
}

const (
	processing = `{"status":"processing","progress":"45%"}`
	completed  = `{"status":"completed","output_type":"text","result_text":"done","more":[1]}`
	failed     = `{"status":"failed","error_message":"cannot be done"}`
)

// newWorld starts the automation and a poller on memory.
func newWorld(t *testing.T, o *statuspoll.PollerOptions) *world {
	w := newWorldOn(t, o, memstore.New(nil))
	w.start(w.store)
	return w
}

// newWorldOn starts the automation alone.
func newWorldOn(t *testing.T, o *statuspoll.PollerOptions, store storage.Store) *world {
	w := &world{t: t, began: time.Now(), net: pipenet.Listen(), store: store}
	if o != nil {
		w.opts = *o
	}
	w.opts.StatusURL, w.opts.WebhookURL, w.opts.AllowHTTP = "http://automation.example/orders/{order_id}/status", "http://automation.example/orders", true
	if w.opts.Outbox == nil {
		w.opts.Outbox = []string{"events"}
	}
	if w.opts.Client == nil {
		c := w.net.Client()
		c.CheckRedirect = nil // it would follow
		w.opts.Client = c
	}
	server := &http.Server{Handler: http.HandlerFunc(w.serve)}
	served := make(chan struct{})
	go func() {
		server.Serve(w.net)
		close(served)
	}()
	t.Cleanup(func() {
		w.stop()
		server.Close()
		<-served
		time.Sleep(time.Hour) // net/http lets connections linger that it closes early, and handlers that wait come to their end
		w.store.Close()
	})
	return w
}

// serve is the automation.
func (w *world) serve(rw http.ResponseWriter, r *http.Request) {
	at := time.Since(w.began)
	body, _ := io.ReadAll(r.Body)
	w.mu.Lock()
	n := len(slices.DeleteFunc(slices.Clone(w.calls), func(c call) bool { return c.method != r.Method }))
	w.calls = append(w.calls, call{at, r.Method, r.URL.EscapedPath(), r.Header, string(body)})
	w.mu.Unlock()
	do, usual := w.status, answers(processing)
	if r.Method == http.MethodPost {
		do, usual = w.webhook, func(rw http.ResponseWriter, r *http.Request, n int) { rw.WriteHeader(http.StatusAccepted) }
	}
	if do == nil {
		do = usual
	}
	do(rw, r, n)
}

// start starts a process on the store, which may be a wrapper of the world's.
func (w *world) start(store storage.Store) {
	w.t.Helper()
	p := &process{ran: make(chan error, 1)}
	var err error
	if p.broker, err = jobqueue.New(store, &jobqueue.Options{MaxResult: 64 << 20, MaxDeliveries: 3}); err != nil {
		w.t.Fatal(err)
	}
	if p.poller, err = statuspoll.NewPoller(p.broker, &w.opts); err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	go func() { p.ran <- p.poller.Run(ctx) }()
	w.process = p
}

// stop ends the process in good order. It may be called again.
func (w *world) stop() {
	w.cancel()
	err := <-w.ran
	w.ran <- nil
	if err != nil && !errors.Is(err, jobqueue.ErrShutdown) && !errors.Is(err, jobqueue.ErrStoreFailed) {
		w.t.Errorf("Run: got %v", err)
	}
	w.broker.Shutdown(context.Background())
}

// order starts the order "o-1".
func (w *world) order(eta string) *jobqueue.Job {
	w.t.Helper()
	j, err := w.poller.Start(context.Background(), statuspoll.Order{ID: "o-1", ETA: eta, Inputs: json.RawMessage(`{"name": "Ada"}`)})
	if err != nil {
		w.t.Fatal(err)
	}
	return j
}

// state returns what is known of the order "o-1".
func (w *world) state() *statuspoll.OrderStatus {
	w.t.Helper()
	s, err := w.poller.Order(context.Background(), "o-1")
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// end waits for the end of the order "o-1" and returns it.
func (w *world) end() *statuspoll.OrderStatus {
	w.t.Helper()
	if _, err := w.broker.WaitEnd(context.Background(), w.state().Job.ID); err != nil {
		w.t.Fatal(err)
	}
	return w.state()
}

// checks returns when the status endpoint was called, and posts when the webhook was.
func (w *world) checks() []time.Duration { return w.times(http.MethodGet) }
func (w *world) posts() []time.Duration  { return w.times(http.MethodPost) }

// all returns the calls that the automation got.
func (w *world) all() []call {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.calls)
}

func (w *world) times(method string) (out []time.Duration) {
	for _, c := range w.all() {
		if c.method == method {
			out = append(out, c.at)
		}
	}
	return out
}

// sleepUntil lets time pass until so long after the world began.
func (w *world) sleepUntil(at time.Duration) { time.Sleep(at - time.Since(w.began)) }

// wantTimes fails the test unless calls were made exactly then.
func (w *world) wantTimes(what string, got []time.Duration, want ...time.Duration) {
	w.t.Helper()
	if !slices.Equal(got, want) {
		w.t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// minutes returns times, given in minutes.
func minutes(several ...float64) (out []time.Duration) {
	for _, m := range several {
		out = append(out, time.Duration(m*float64(time.Minute)))
	}
	return out
}

// events takes all events that there are, and returns them with the ids of their jobs.
func (w *world) events() (events []*statuspoll.Event, ids []jobqueue.ID) {
	w.t.Helper()
	for {
		d, err := w.broker.Queue("events").TryReceive(context.Background(), nil)
		if errors.Is(err, jobqueue.ErrEmpty) {
			return events, ids
		}
		if err != nil {
			w.t.Fatal(err)
		}
		e, err := statuspoll.ReadEvent(context.Background(), w.broker, d)
		if err != nil {
			w.t.Fatal(err)
		}
		events, ids = append(events, e), append(ids, d.ID)
		if err := d.Ack(context.Background()); err != nil {
			w.t.Fatal(err)
		}
	}
}

// wantEvent fails the test unless there is one event, of that type.
func (w *world) wantEvent(kind string) *statuspoll.Event {
	w.t.Helper()
	events, _ := w.events()
	if len(events) != 1 || events[0].Type != kind || events[0].OrderID != "o-1" {
		var got []string
		for _, e := range events {
			got = append(got, fmt.Sprintf("%s of %s", e.Type, e.OrderID))
		}
		w.t.Fatalf("got events %q, want one %s of o-1", got, kind)
	}
	return events[0]
}

// hijacked closes the connection of a request.
func hijacked(w http.ResponseWriter) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		conn.Close()
	}
}

// hang answers nothing until the client has gone.
func hang(r *http.Request) { <-r.Context().Done() }

func contains(s, part string) bool { return strings.Contains(s, part) }

// isInvalid reports whether an error is about that field.
func isInvalid(err error, field string) bool {
	var bad *jobqueue.InvalidError
	return errors.Is(err, jobqueue.ErrInvalid) && errors.As(err, &bad) && bad.Field == strings.TrimSpace(field)
}

func wantInvalid(t *testing.T, p *statuspoll.Poller, o statuspoll.Order, field string) {
	t.Helper()
	if j, err := p.Start(context.Background(), o); !isInvalid(err, field) {
		t.Errorf("%+v: got %v, %v, want ErrInvalid about %s", o, j, err, field)
	}
}
