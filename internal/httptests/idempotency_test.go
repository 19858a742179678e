package httptests

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/memstore"
	"github.com/pollackq/pollack/storage/storagetest"
)

// submit enqueues with a key, as JSON or as a raw payload.
func submit(h http.Handler, key, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", "/v1/queues/q/jobs", strings.NewReader(body))
	r.Header.Set("Idempotency-Key", key)
	if strings.HasPrefix(body, "{") {
		r.Header.Set("Content-Type", "application/json")
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// start returns a server of a process that begins with what the store holds.
func start(t *testing.T, store storage.Store) (http.Handler, *jobqueue.Broker) {
	t.Helper()
	b, err := jobqueue.New(store, nil)
	if err != nil {
		return nil, nil // the store failed already
	}
	h, err := httpapi.New(b, &httpapi.Options{AllowAnonymous: true})
	if err != nil {
		t.Fatal(err)
	}
	return h, b
}

// Whichever call of the store fails, before or after its effect, and though the process starts again then: who asks again with the key until there is an
// answer has one job, and the same answer each time; another request with the key is refused (threat: Duplicate creates; I4).
func TestAKeyIsOneJobThoughTheStoreFailsAnywhere(t *testing.T) {
	for _, body := range []string{`{"payload":{"a":1},"name":"n"}`, "raw", strings.Repeat("large", 60_000)} {
		for kind, name := range map[storagetest.FaultKind]string{
			storagetest.Before: "before", storagetest.Undone: "undone", storagetest.After: "after", storagetest.Rerun: "rerun",
		} {
			if len(body) > 1000 && (kind == storagetest.Before || kind == storagetest.Undone) {
				continue // as with the others, and it takes its time
			}
			for n, calls := uint64(1), uint64(1); calls >= n; n++ {
				what := fmt.Sprintf("%.10s, call %d %s", body, n, name)
				synctest.Test(t, func(t *testing.T) { // a broker rests after a fault
					calls = failAt(t, what, body, storagetest.Nth(n, storagetest.Fault{Kind: kind}))
				})
				if calls < n && n < 3 {
					t.Errorf("%s: there were only %d calls to fail", what, calls)
				}
			}
		}
	}
}

// failAt submits one job with a key until there are answers enough, and returns how many calls the store had.
func failAt(t *testing.T, what, body string, fault func(storagetest.Call) storagetest.Fault) uint64 {
	inner := memstore.New(nil)
	faulty := storagetest.Faulty(inner, fault)
	first, answers := "", 0
	for range 3 { // processes
		h, b := start(t, faulty)
		if b == nil {
			continue
		}
		for range 3 {
			w := submit(h, "key", body)
			switch {
			case w.Code == 202 && answers == 0:
				first, answers = w.Body.String(), 1
			case w.Code == 202:
				if answers++; w.Body.String() != first || w.Header().Get("Idempotent-Replayed") != "true" {
					t.Errorf("%s: answer %d is %v %s, the first was %s", what, answers, w.Header(), w.Body, first)
				}
			case w.Code != 503:
				t.Errorf("%s: got %d %s", what, w.Code, w.Body)
			}
			if answers == 0 {
				continue
			}
			for _, other := range []string{body[:len(body)-1] + "x", `{"payload":2}`} { // of the first the JSON is broken
				if w := submit(h, "key", other); w.Code != 422 && w.Code != 503 && (w.Code != 400 || other[0] != '{') {
					t.Errorf("%s: another request with the key: got %d %s, want 422", what, w.Code, w.Body)
				}
			}
		}
		b.Shutdown(context.Background())
	}
	calls := faulty.Calls()
	h, b := start(t, inner)
	info, err := b.Queue("q").Info(t.Context())
	if err != nil || info.Counts[jobqueue.Pending] != 1 || answers < 3 {
		t.Errorf("%s: got %+v, %v after %d answers, want one job", what, info, err, answers)
	}
	if w := submit(h, "key", body); w.Body.String() != first {
		t.Errorf("%s: in the end: got %s, the first answer was %s", what, w.Body, first)
	}
	b.Shutdown(context.Background())
	if err := inner.Check(t.Context()); err != nil {
		t.Errorf("%s: %v", what, err)
	}
	inner.Close()
	return calls
}

// Of many requests with one key at once, one makes the job, all like it get its answer, and the others are refused (threat: Duplicate creates).
func TestAKeyIsOneJobForAllWhoUseItAtOnce(t *testing.T) {
	for round := range 20 {
		h, b := newHandler(t, httpapi.Options{})
		bodies := []string{`{"payload":1}`, `{"payload":2}`, "raw", strings.Repeat("large", 60_000)}
		answers := make([]*httptest.ResponseRecorder, 40)
		var all sync.WaitGroup
		for i := range answers {
			all.Go(func() { answers[i] = submit(h, "key", bodies[i%len(bodies)]) })
		}
		all.Wait()
		won, made := -1, 0
		first := ""
		for i, w := range answers {
			switch kind := i % len(bodies); {
			case w.Code == 422:
			case w.Code != 202 || won >= 0 && kind != won || first != "" && w.Body.String() != first:
				t.Errorf("round %d: request %d: got %d %s; kind %d had won with %s", round, i, w.Code, w.Body, won, first)
			default:
				won, first = kind, w.Body.String()
				if w.Header().Get("Idempotent-Replayed") == "" {
					made++
				}
			}
		}
		for i, w := range answers {
			if i%len(bodies) == won && w.Code != 202 {
				t.Errorf("round %d: request %d is the one that won and got %d %s", round, i, w.Code, w.Body)
			}
		}
		info, err := b.Queue("q").Info(t.Context())
		if err != nil || info.Counts.Total() != 1 || made != 1 {
			t.Errorf("round %d: got %v jobs, %d made, %v; want one", round, info.Counts, made, err)
		}
	}
}
