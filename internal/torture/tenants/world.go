package tenants

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/memstore"
)

// A world is a server with two accounts that call everything the same: alice, who attacks, and bob. Time does nothing to it while it lives.
type world struct {
	store      *memstore.Store
	broker     *jobqueue.Broker
	server     http.Handler
	alice, bob *owned
	before     Digest // of what is bob's
	operations []operation
	bad        func(format string, args ...any)
}

// owned is what an account has, and what it alone should know.
type owned struct {
	name    string
	ids     []string          // of jobs in every state
	tokens  map[string]string // of those that run
	uploads []string          // ids
	keys    []string          // of objects
	puts    []string          // URLs
}

// An operation is one of the OpenAPI document.
type operation struct{ method, path string }

var queueNames = []string{"work", "mail", "uploads", "render", "none"}

// secret is in whatever bob gave to the server that is not the same for both accounts.
const secret = "bobs-own"

func newWorld(bad func(format string, args ...any)) *world {
	w := &world{store: memstore.New(nil), bad: bad}
	var err error
	if w.broker, err = jobqueue.New(w.store, &jobqueue.Options{Lease: jobqueue.MaxLease, Retention: 1000 * time.Hour}); err != nil {
		panic(err) // the options are ours
	}
	w.server, err = httpapi.New(w.broker, &httpapi.Options{
		Authenticate: httpapi.BearerTokens(map[string]string{"alice-token": "alice", "bob-token": "bob"}), MaxWait: time.Millisecond,
	})
	if err != nil {
		panic(err)
	}
	w.alice, w.bob = w.account("alice"), w.account("bob")
	rec := w.ask("Bearer bob-token", "GET", "/v1/openapi.json", "")
	var doc struct {
		Paths map[string]map[string]json.RawMessage `json:"paths"`
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &doc); err != nil || len(doc.Paths) == 0 {
		w.bad("the OpenAPI document cannot be read: %v", err)
	}
	for path, item := range doc.Paths {
		for _, method := range []string{"GET", "PUT", "POST", "DELETE", "PATCH", "HEAD"} {
			if item[strings.ToLower(method)] != nil {
				w.operations = append(w.operations, operation{method, path})
			}
		}
	}
	sortOperations(w.operations)
	w.before = w.bobs()
	return w
}

// account gives an account jobs in every state, uploads, and a job in a queue of the house.
func (w *world) account(name string) *owned {
	ctx := context.Background()
	o := &owned{name: name, tokens: make(map[string]string)}
	must := func(err error) {
		if err != nil {
			w.bad("the world could not be made: %v", err)
		}
	}
	mine := name + "s-own"
	b := w.broker.In(name)
	add := func(q *jobqueue.Queue, n jobqueue.NewJob) *jobqueue.Job {
		n.Payload, n.Name, n.Tags, n.Account = []byte(mine), mine, map[string]string{"of": mine}, name
		j, err := q.Enqueue(ctx, n)
		must(err)
		o.ids = append(o.ids, j.ID.String())
		return j
	}
	take := func(q *jobqueue.Queue) *jobqueue.Delivery {
		d, err := q.TryReceive(ctx, nil)
		must(err)
		return d
	}
	work, mail := b.Queue("work"), b.Queue("mail")
	for range 2 {
		add(work, jobqueue.NewJob{})
		d := take(work)
		o.tokens[d.ID.String()] = d.Token.String()
		must(d.Progress(ctx, 0.5, mine))
	}
	add(work, jobqueue.NewJob{Key: "done"})
	must(take(work).Complete(ctx, jobqueue.NewResult{ContentType: "text/plain", Data: []byte(mine)}))
	add(work, jobqueue.NewJob{})
	must(take(work).Fail(ctx, "code", mine))
	_, err := b.Cancel(ctx, add(work, jobqueue.NewJob{}).ID)
	must(err)
	add(mail, jobqueue.NewJob{Key: "key"})
	add(mail, jobqueue.NewJob{Delay: 1000 * time.Hour})
	add(w.broker.Queue("render"), jobqueue.NewJob{Key: "key"})
	for i := range 2 {
		rec := w.ask("Bearer "+name+"-token", "POST", "/v1/uploads", `{"filename":"`+mine+`","expires_seconds":600000}`)
		var got struct {
			Put string `json:"put_url"`
			Key string `json:"object_key"`
		}
		must(json.Unmarshal(rec.Body.Bytes(), &got))
		id, _, _ := strings.Cut(got.Key, "/")
		o.uploads, o.keys, o.puts = append(o.uploads, id), append(o.keys, got.Key), append(o.puts, got.Put)
		if i == 0 {
			w.ask("", "PUT", got.Put, mine)
		}
	}
	return o
}

func (w *world) close() {
	w.broker.Shutdown(context.Background())
	w.store.Close()
}

// ask makes a request with credentials, "" for none.
func (w *world) ask(authorization, method, target, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	if strings.HasPrefix(body, "{") {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	w.server.ServeHTTP(rec, r)
	return rec
}

// bobs returns the digest of what is bob's.
func (w *world) bobs() Digest {
	d, err := Contents(w.store, func(account string) bool { return account == "bob" })
	if err != nil {
		w.bad("the store cannot be read: %v", err)
	}
	return d
}

// unchanged demands that all that is bob's is as it was (I18).
func (w *world) unchanged(after string) {
	if got := w.bobs(); got != w.before {
		w.before = got
		w.bad("what is bob's has changed after %s", after)
	}
}

// same demands that an answer about something of bob's is the one about something that never was, byte for byte but for the id itself.
func (w *world) same(what, theirs, never string, a, b *httptest.ResponseRecorder) {
	read := func(rec *httptest.ResponseRecorder) string {
		var out bytes.Buffer
		fmt.Fprintln(&out, rec.Code)
		rec.Header().Write(&out) // in order
		out.Write(rec.Body.Bytes())
		return out.String()
	}
	if got, want := strings.ReplaceAll(read(a), theirs, never), read(b); got != want {
		w.bad("%s: what is bob's is answered\n%s\nwhat never was is answered\n%s", what, got, want)
	}
}

// silent demands that an answer to alice tells nothing of bob's that she has not said herself.
func (w *world) silent(what, said string, rec *httptest.ResponseRecorder) {
	var out bytes.Buffer
	rec.Header().Write(&out)
	out.Write(rec.Body.Bytes())
	told := out.String()
	for _, text := range append([]string{secret, "bob"}, w.bob.ids...) {
		if strings.Contains(told, text) && !strings.Contains(said, text) {
			w.bad("%s: alice is told %q of bob's in %.500q", what, text, told)
		}
	}
}

// neverWas returns an id of the same time as another, of nothing.
func neverWas(rnd *rand.Rand, like string) string {
	id, err := jobqueue.ParseID(like)
	if err != nil {
		panic(err)
	}
	for i := 6; i < len(id); i++ { // behind the time
		id[i] = byte(rnd.Uint32())
	}
	return storage.ID(id).String()
}
