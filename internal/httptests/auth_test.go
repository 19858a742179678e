package httptests

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/memstore"
)

// A house is a broker in which bob has a running job, an ended one and a queue, and alice a running job, and the document of a server of it.
type house struct {
	t                   *testing.T
	broker              *jobqueue.Broker
	doc                 *openapi3.T
	running, ended, own *jobqueue.Delivery // the last is alice's
}

func newHouse(t *testing.T) *house {
	t.Helper()
	store := memstore.New(nil)
	h := &house{t: t}
	var err error
	if h.broker, err = jobqueue.New(store, &jobqueue.Options{Lease: jobqueue.MaxLease}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		h.broker.Shutdown(context.Background())
		store.Close()
	})
	take := func(account, queue string) *jobqueue.Delivery {
		q := h.broker.In(account).Queue(queue)
		if _, err := q.Enqueue(t.Context(), jobqueue.NewJob{Payload: []byte("payload"), Name: "name"}); err != nil {
			t.Fatal(err)
		}
		d, err := q.TryReceive(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	h.running, h.ended, h.own = take("bob", "bobsown"), take("bob", "bobsown"), take("alice", "work")
	if err := h.ended.Complete(t.Context(), jobqueue.NewResult{Data: []byte("result")}); err != nil {
		t.Fatal(err)
	}
	h.doc = read(t, h.serve(httpapi.Options{Authenticate: httpapi.BearerTokens(map[string]string{"token": "alice"})}))
	return h
}

func (h *house) serve(o httpapi.Options) http.Handler {
	h.t.Helper()
	s, err := httpapi.New(h.broker, &o)
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

// routes calls fn with each operation of the document that asks for credentials, its parameters filled in, and HEAD where there is GET.
func (h *house) routes(id, queue string, fn func(operation, method, path string)) {
	for _, at := range slices.Sorted(maps.Keys(operations(h.doc))) {
		method, template, _ := strings.Cut(at, " ")
		op := h.doc.Paths.Value(template).GetOperation(method)
		if op.Security != nil && len(*op.Security) == 0 { // it says that it asks for none: uploads, whose URLs are signed
			if op.OperationID != "putUpload" {
				h.t.Errorf("%s asks for no credentials", op.OperationID)
			}
			continue
		}
		path := strings.NewReplacer("{id}", id, "{queue}", queue).Replace(template)
		if strings.HasSuffix(path, "/poll") {
			path += "?timeout=0"
		}
		fn(op.OperationID, method, path)
		if method == "GET" && !strings.Contains(path, "/poll") {
			fn(op.OperationID, "HEAD", path)
		}
	}
}

func (h *house) ask(s http.Handler, method, path, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// unchanged demands that bob's jobs and queue are as they were.
func (h *house) unchanged(what string) {
	h.t.Helper()
	for _, d := range []*jobqueue.Delivery{h.running, h.ended} {
		j, err := h.broker.Job(h.t.Context(), d.ID)
		if err != nil || d == h.running && j.Version != d.Version || d == h.ended && j.State != jobqueue.Succeeded {
			h.t.Fatalf("%s: bob's job has become %+v, %v", what, j, err)
		}
	}
	info, err := h.broker.In("bob").Queue("bobsown").Info(h.t.Context())
	if err != nil || !info.Closed.IsZero() || info.Next != 2 {
		h.t.Fatalf("%s: bob's queue has become %+v, %v", what, info, err)
	}
}

// Every route of the document demands credentials, of whatever kind the server takes, before it looks at anything (threat: Auth bypass).
func TestEveryRouteOfTheDocumentDemandsGoodCredentials(t *testing.T) {
	basic := func(s string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(s)) }
	expired := time.Now().Add(-time.Second)
	for _, c := range []struct {
		what      string
		auth      httpapi.Authenticator
		bad       []string // values of Authorization
		code      string
		status    int
		challenge string
	}{
		{"bearer tokens", httpapi.BearerTokens(map[string]string{"bob-token": "bob", "": "bob"}), []string{
			"", "Bearer", "Bearer ", "bob-token", "Bearer bob-toke", "Bearer bob-token2", "Bearer b", "Bearer BOB-TOKEN", "Bearer bob-token bob-token",
			"Bearer\tbob-token",
			"Bearer bob-token\x00", "Token bob-token", "Basic bob-token", basic("bob:bob-token"), "Bearer " + strings.Repeat("b", 10_000),
		}, "unauthorized", 401, "Bearer"},
		{"logins", httpapi.BasicAuth("r", map[httpapi.Login]string{{User: "bob", Password: "secret"}: "bob", {}: "bob"}), []string{
			"", "Basic", "Basic ", "Basic x", "Basic !!", basic(":"), basic("bob:"), basic("bob"), basic(":secret"), basic("bob:secre"),
			basic("bob:secret2"), basic("BOB:secret"),
			basic("bo:b\x00secret"), basic("bob\x00secret:"), "Bearer secret",
		}, "unauthorized", 401, `Basic realm="r", charset="UTF-8"`},
		{"a header", httpapi.HeaderAuth("bob", http.Header{"Authorization": {"secret"}, "X-Tenant": {"7"}}), []string{"", "secret", "secre",
			"secret, secret"}, "unauthorized", 401, "Header"},
		{"tokens that expire", func(r *http.Request) (string, error) {
			if r.Header.Get("Authorization") == "Bearer old" && time.Now().After(expired) {
				return "bob", &httpapi.Problem{Status: 401, Code: "expired"}
			}
			return "bob", errors.New("who is that?")
		}, []string{"Bearer old"}, "expired", 401, "Bearer"},
		{"an error beside an account", func(*http.Request) (string, error) { return "bob", errors.New("no") }, []string{"", "Bearer x"}, "unauthorized",
			401, "Bearer"},
		{"no account and no error", func(*http.Request) (string, error) { return "", nil }, []string{"", "Bearer x"}, "unauthorized", 401, "Bearer"},
		{"a directory that is down", func(*http.Request) (string, error) {
			return "bob", &httpapi.Problem{Status: 503, Code: "busy"}
		}, []string{"", "Bearer x"}, "busy", 503, ""},
	} {
		h := newHouse(t)
		s := h.serve(httpapi.Options{Authenticate: c.auth})
		asked := 0
		for _, id := range []string{h.running.ID.String(), "01ARZ3NDEKTSV4RRFFQ69G5FAV"} {
			h.routes(id, "bobsown", func(operation, method, path string) {
				for _, bad := range c.bad {
					header := []string{"Lease-Token", h.running.Token.String()}
					if bad != "" {
						header = append(header, "Authorization", bad)
					}
					w := h.ask(s, method, path, "{}", header...)
					var p httpapi.Problem
					if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != c.status || p.Code != c.code || w.Header().Get("WWW-Authenticate") != c.challenge {
						t.Errorf("%s: %s %s with %.60q: got %d %v %s, want %d %s", c.what, method, path, bad, w.Code, w.Header(), w.Body, c.status, c.code)
					}
					asked++
				}
			})
		}
		w := h.ask(s, "GET", "/v1/openapi.json", "", "Authorization", "Bearer bob-token", "Authorization", "Bearer bob-token")
		if w.Code != c.status {
			t.Errorf("%s: two headers: got %d, want %d", c.what, w.Code, c.status)
		}
		if asked < 40 {
			t.Errorf("%s: got %d requests: the document has more routes", c.what, asked)
		}
		h.unchanged(c.what)
	}
}

// What is another account's is answered on every route like what never was, byte for byte but for the name itself; nothing of it changes (threats:
// Cross-tenant access, Enumeration; I18).
func TestEveryRouteAnswersForeignThingsLikeUnknownOnes(t *testing.T) {
	h := newHouse(t)
	s := h.serve(httpapi.Options{Authenticate: httpapi.BearerTokens(map[string]string{"token": "alice"})})
	same := func(what string, a, b *httptest.ResponseRecorder, foreign, unknown string) {
		t.Helper()
		show := func(w *httptest.ResponseRecorder) string {
			var b strings.Builder
			fmt.Fprintln(&b, w.Code)
			w.Header().Write(&b)
			return b.String() + w.Body.String()
		}
		if got, want := strings.ReplaceAll(show(a), foreign, unknown), show(b); got != want {
			t.Errorf("%s: got\n%s\nwant what is answered of something unknown\n%s", what, got, want)
		}
	}
	for _, d := range []*jobqueue.Delivery{h.running, h.ended} {
		foreign := d.ID.String()
		unknown := d.ID
		for i := 6; i < len(unknown); i++ { // of the same time
			unknown[i] ^= 0x55
		}
		for _, token := range []string{d.Token.String(), "0123456789abcdef0123456789abcdef", "x", ""} {
			for _, body := range []string{"", "{}", `{"result":1}`, `{"progress":0.5}`, `{"lease_seconds":-1}`, `{`, "\xff"} {
				h.routes("{id}", "none", func(operation, method, path string) {
					if !strings.Contains(path, "{id}") {
						return
					}
					header := []string{"Authorization", "Bearer token", "If-None-Match", `"1"`, "Prefer", "wait=1"}
					if token != "" {
						header = append(header, "Lease-Token", token)
					}
					a := h.ask(s, method, strings.Replace(path, "{id}", foreign, 1), body, header...)
					b := h.ask(s, method, strings.Replace(path, "{id}", unknown.String(), 1), body, header...)
					what := fmt.Sprintf("%s %s %q", method, path, body)
					same(what, a, b, foreign, unknown.String())
					if a.Code != 404 {
						t.Errorf("%s: got %d, want 404", what, a.Code)
					}
				})
			}
			for _, path := range []string{"/v1/acks", "/v1/queues/none/poll?timeout=0"} {
				ack := func(id string) *httptest.ResponseRecorder {
					return h.ask(s, "POST", path, fmt.Sprintf(`{"acks":[{"id":%q,"lease_token":%q}]}`, id, token), "Authorization", "Bearer token")
				}
				same(path, ack(foreign), ack(unknown.String()), foreign, unknown.String())
			}
		}
	}
	// A queue's name says nothing of whose it is: alice's own of that name is not there.
	for _, body := range []string{"", "{"} {
		for _, op := range []string{"GET /v1/queues/{queue}", "HEAD /v1/queues/{queue}", "GET /v1/queues/{queue}/jobs",
			"GET /v1/queues/{queue}/poll?timeout=0", "DELETE /v1/queues/{queue}",
			"POST /v1/queues/{queue}/close", "POST /v1/queues/{queue}/purge", "POST /v1/queues/{queue}/poll?timeout=0"} {
			method, path, _ := strings.Cut(op, " ")
			ask := func(queue string) *httptest.ResponseRecorder {
				return h.ask(s, method, strings.Replace(path, "{queue}", queue, 1), body, "Authorization", "Bearer token")
			}
			same(op, ask("bobsown"), ask("unknown"), "bobsown", "unknown")
		}
	}
	if w := h.ask(s, "GET", "/v1/queues", "", "Authorization", "Bearer token"); strings.Contains(w.Body.String(), "bobsown") {
		t.Errorf("got bob's queue in %s", w.Body)
	}
	h.unchanged("alice's requests")
}

// Whoever Authorize refuses is refused on every route, and nothing happens.
func TestEveryRouteAsksAuthorize(t *testing.T) {
	h := newHouse(t)
	asked := false
	s := h.serve(httpapi.Options{
		Authenticate: httpapi.BearerTokens(map[string]string{"token": "bob"}),
		Authorize: func(*http.Request, string, httpapi.Action, string) error {
			asked = true
			return errors.New("no")
		},
	})
	h.routes(h.running.ID.String(), "bobsown", func(operation, method, path string) {
		asked = false
		body := ""
		if operation == "ackMany" {
			body = fmt.Sprintf(`{"acks":[{"id":%q,"lease_token":%q}]}`, h.running.ID, h.running.Token)
		}
		w := h.ask(s, method, path, body, "Authorization", "Bearer token", "Lease-Token", h.running.Token.String())
		switch operation {
		case "openAPI": // it concerns nobody
		case "ackMany": // each ack is answered by itself
			if w.Code != 200 || !asked || !strings.Contains(w.Body.String(), `"status":403`) || strings.Contains(w.Body.String(), "outcome") {
				t.Errorf("%s: got %d %s, asked %v", operation, w.Code, w.Body, asked)
			}
		default:
			if w.Code != 403 || !asked {
				t.Errorf("%s %s: got %d %s, asked %v, want 403", method, path, w.Code, w.Body, asked)
			}
		}
	})
	h.unchanged("what was refused")
}
