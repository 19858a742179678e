package requests

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/internal/torture/tenants"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/memstore"
)

// A world is a server with an account that has jobs in every state, and watches over each request that reaches it. Time does nothing to its jobs while
// it lives, so whatever changes in the store is the work of a request.
type world struct {
	mem     *memstore.Store
	store   *counted
	broker  *jobqueue.Broker
	api     http.Handler // what is attacked
	codes   map[string]bool
	bad     func(format string, args ...any)
	now     func() string // what is being sent, for bad
	queues  []string
	ids     []string          // of jobs in every state
	running []string          // of those that run
	tokens  map[string]string // of their deliveries
	uploads []string          // where uploads are put, and their keys
	keys    []string

	mu      sync.Mutex     // guards what follows, and is held while a request is served: they are served one after the other
	digest  tenants.Digest // of the store, as the latest answer left it
	stale   bool           // the digest may be another
	refused int            // since the store was looked at
	last    int            // the status of the latest answer
}

const token = "alice-token"

// limits of the server under attack, so that what is too large need not be very large.
const (
	maxBody    = 64 << 10
	maxPayload = 128 << 10
	maxResult  = 64 << 10
)

func newWorld(codes map[string]bool, bad func(format string, args ...any)) *world {
	w := &world{mem: memstore.New(nil), codes: codes, bad: bad, now: func() string { return "" }, tokens: make(map[string]string), stale: true}
	w.store = &counted{Store: w.mem}
	var err error
	w.broker, err = jobqueue.New(w.store, &jobqueue.Options{
		Lease: jobqueue.MaxLease, Retention: 1000 * time.Hour, MaxPayload: maxPayload, MaxResult: maxResult,
	})
	if err != nil {
		panic(err) // the options are ours
	}
	w.api, err = httpapi.New(w.broker, &httpapi.Options{
		Authenticate: httpapi.BearerTokens(map[string]string{token: "alice", "bob-token": "bob"}), MaxBody: maxBody, MaxWait: time.Millisecond,
		Authorize: func(_ *http.Request, _ string, _ httpapi.Action, queue string) error {
			if queue == "secret" {
				return fmt.Errorf("nobody may do anything with it")
			}
			return nil
		},
	})
	if err != nil {
		panic(err)
	}
	w.fill()
	return w
}

// fill gives alice a job in every state.
func (w *world) fill() {
	ctx := context.Background()
	must := func(err error) {
		if err != nil {
			w.bad("the world could not be made: %v", err)
		}
	}
	w.queues = []string{"mail", "a/b", "büro", "closed", "secret", "uploads", "none"}
	b := w.broker.In("alice")
	add := func(queue string, n jobqueue.NewJob) *jobqueue.Job {
		n.Payload = []byte(`{"a":1}`)
		n.ContentType = "application/json"
		j, err := b.Queue(queue).Enqueue(ctx, n)
		must(err)
		w.ids = append(w.ids, j.ID.String())
		return j
	}
	take := func(queue string) *jobqueue.Delivery {
		d, err := b.Queue(queue).TryReceive(ctx, nil)
		must(err)
		return d
	}
	for range 3 {
		add("work", jobqueue.NewJob{})
		d := take("work")
		w.running = append(w.running, d.ID.String())
		w.tokens[d.ID.String()] = d.Token.String()
	}
	add("work", jobqueue.NewJob{})
	must(take("work").Complete(ctx, jobqueue.NewResult{ContentType: "application/json", Data: []byte(`{"sum":3}`)}))
	add("work", jobqueue.NewJob{})
	must(take("work").Complete(ctx, jobqueue.NewResult{ContentType: "text/plain", Data: []byte("done")}))
	add("work", jobqueue.NewJob{})
	must(take("work").Fail(ctx, "code", "message"))
	_, err := b.Cancel(ctx, add("work", jobqueue.NewJob{}).ID)
	must(err)
	add("mail", jobqueue.NewJob{Name: "n", Key: "k", Tags: map[string]string{"a": "b"}})
	add("mail", jobqueue.NewJob{Delay: 1000 * time.Hour})
	add("a/b", jobqueue.NewJob{})
	add("büro", jobqueue.NewJob{Priority: 3})
	add("secret", jobqueue.NewJob{})
	add("closed", jobqueue.NewJob{})
	must(b.Queue("closed").Close(ctx))
	for i := range 3 {
		p := w.ask("POST", "/v1/uploads", `{"filename":"a b.txt","expires_seconds":604800}`)
		var got struct {
			PutURL    string `json:"put_url"`
			ObjectKey string `json:"object_key"`
		}
		must(json.Unmarshal(p.Body.Bytes(), &got))
		if i == 0 {
			w.ask("PUT", got.PutURL, "content")
		}
		w.uploads, w.keys = append(w.uploads, got.PutURL), append(w.keys, got.ObjectKey)
	}
	w.ids = append(w.ids, "01ARZ3NDEKTSV4RRFFQ69G5FAV")
}

// ask makes a good request, as alice.
func (w *world) ask(method, target, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+token)
	if strings.HasPrefix(body, "{") {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, h := range header {
		k, v, _ := strings.Cut(h, ": ")
		r.Header.Set(k, v)
	}
	rec := httptest.NewRecorder()
	w.ServeHTTP(rec, r)
	return rec
}

// alive demands that the server still serves.
func (w *world) alive(ask func(method, target, body string, header ...string) *httptest.ResponseRecorder) {
	w.now = func() string { return "a job's whole life" }
	a := ask("POST", "/v1/queues/alive/jobs", `{"payload":1}`)
	if a.Code != 202 {
		w.bad("afterwards a job is not taken: got %d %s", a.Code, a.Body)
		return
	}
	a = ask("GET", "/v1/queues/alive/poll?timeout=0", "")
	var job struct {
		ID    string `json:"id"`
		Token string `json:"lease_token"`
	}
	if err := json.Unmarshal(a.Body.Bytes(), &job); err != nil || a.Code != 200 {
		w.bad("afterwards a poll delivers nothing: got %d %s", a.Code, a.Body)
		return
	}
	if a = ask("POST", "/v1/jobs/"+job.ID+"/ack", "", "Lease-Token: "+job.Token); a.Code != 200 {
		w.bad("afterwards an ack is not taken: got %d %s", a.Code, a.Body)
	}
}

// close ends the world, which looks at its store for a last time.
func (w *world) close() {
	w.mu.Lock()
	w.look("at the end")
	w.mu.Unlock()
	w.broker.Shutdown(context.Background())
	if err := w.mem.Check(context.Background()); err != nil {
		w.bad("the store is not as it should be: %v", err)
	}
	w.mem.Close()
}

// handledBy is a header of all answers that Pollack gave, not net/http by itself: with the method, which a reader of the answer must know.
const handledBy = "X-Handled"

// ServeHTTP serves a request and judges what came of it.
func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stale {
		w.digest, w.stale = w.contents(), false
	}
	writes := w.store.writes.Load()
	rw.Header().Set(handledBy, r.Method)
	a := &answer{ResponseWriter: rw}
	defer func() {
		if p := recover(); p != nil {
			w.bad("a panic: %v\n%s\n%s", p, w.now(), debug.Stack())
			rw.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.judge(r, a, w.store.writes.Load() != writes)
	}()
	w.api.ServeHTTP(a, r)
}

// judge holds an answer against what is promised.
func (w *world) judge(r *http.Request, a *answer, wrote bool) {
	w.last = a.status
	switch {
	case a.status == 0 && r.Context().Err() == nil:
		w.bad("there was no answer: %s", w.now())
	case a.status >= 500:
		w.bad("got %d %s: %s", a.status, a.body.Bytes(), w.now())
	case a.status >= 300 && a.status < 400 && a.status != http.StatusNotModified:
		w.bad("got %d %v: %s", a.status, a.Header(), w.now())
	case a.status >= 400:
		w.judgeRefusal(a)
	}
	safe := r.Method == "HEAD" || r.Method == "GET" && !strings.HasSuffix(r.URL.Path, "/poll")
	const clientGone = 499 // it may or may not have happened: as in raw requests, after which the client closes its half of the connection
	if !safe && (a.status < 400 || a.status >= clientGone) {
		w.stale = w.stale || wrote
		return
	}
	if w.refused++; wrote || w.refused%50 == 0 {
		w.look(fmt.Sprintf("after %d", a.status))
	}
}

// judgeRefusal demands a problem with a code that the document has.
func (w *world) judgeRefusal(a *answer) {
	var p httpapi.Problem
	err := json.Unmarshal(a.body.Bytes(), &p)
	if kind := a.Header().Get("Content-Type"); err != nil || kind != "application/problem+json" || p.Status != a.status || p.Title == "" || !w.codes[p.Code] {
		w.bad("got %d %s %q, want a problem with a code of the document: %s", a.status, kind, a.body.Bytes(), w.now())
	}
}

// look demands that the store is as the latest request that was served left it.
func (w *world) look(when string) {
	if w.stale {
		return
	}
	if got := w.contents(); got != w.digest {
		w.bad("the store changed %s: %s", when, w.now())
		w.digest = got
	}
}

func (w *world) contents() tenants.Digest {
	d, err := tenants.Contents(w.mem, func(string) bool { return true })
	if err != nil {
		w.bad("the store cannot be read: %v", err)
	}
	return d
}

// An answer keeps the status and the body of a refusal as they go by.
type answer struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(p []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	if a.status >= 400 {
		a.body.Write(p)
	}
	return a.ResponseWriter.Write(p)
}

// complaints are what net/http logs: panics, and misuse of its ResponseWriter.
func (w *world) complaints() *log.Logger {
	return log.New(writerFunc(func(p []byte) (int, error) {
		if !bytes.Contains(p, []byte("semicolon")) { // it says so of each such query
			w.bad("the server logs %q: %s", p, w.now())
		}
		return len(p), nil
	}), "", 0)
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// A counted store counts the writes of transactions that took effect.
type counted struct {
	storage.Store
	writes atomic.Int64
}

func (c *counted) Unwrap() storage.Store { return c.Store }

func (c *counted) Update(ctx context.Context, r storage.Reads, fn func(storage.Tx) error) error {
	var n int64
	err := c.Store.Update(ctx, r, func(tx storage.Tx) error {
		n = 0
		return fn(&writes{tx, &n})
	})
	if err == nil {
		c.writes.Add(n)
	}
	return err
}

// writes counts those of one transaction.
type writes struct {
	storage.Tx
	n *int64
}

func (w *writes) AddJob(j *storage.Job, p []byte) (*storage.Job, error) {
	*w.n++
	return w.Tx.AddJob(j, p)
}
func (w *writes) SetJob(j *storage.Job) error              { *w.n++; return w.Tx.SetJob(j) }
func (w *writes) SetResult(j *storage.Job, p []byte) error { *w.n++; return w.Tx.SetResult(j, p) }
func (w *writes) DeleteResult(j *storage.Job) error        { *w.n++; return w.Tx.DeleteResult(j) }
func (w *writes) DeletePayload(j *storage.Job) error       { *w.n++; return w.Tx.DeletePayload(j) }
func (w *writes) DeleteJob(j *storage.Job) error           { *w.n++; return w.Tx.DeleteJob(j) }
func (w *writes) PutQueue(q *storage.Queue) error          { *w.n++; return w.Tx.PutQueue(q) }
func (w *writes) DeleteQueue(q storage.QueueName) error    { *w.n++; return w.Tx.DeleteQueue(q) }
func (w *writes) DeleteBlob(b storage.ID) error            { *w.n++; return w.Tx.DeleteBlob(b) }
func (w *writes) PutChunk(b storage.ID, n uint32, p []byte) error {
	*w.n++
	return w.Tx.PutChunk(b, n, p)
}
