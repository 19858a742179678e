package httpapi_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/memstore"
)

func newBroker(t *testing.T) *jobqueue.Broker { return newBrokerFor(t) }

func newBrokerFor(t testing.TB) *jobqueue.Broker {
	t.Helper()
	store := memstore.New(nil)
	b, err := jobqueue.New(store, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.Shutdown(t.Context())
		store.Close()
	})
	return b
}

func TestNewRefusesToServeEverybodyByAccident(t *testing.T) {
	b := newBroker(t)
	if _, err := httpapi.New(b, nil); err == nil {
		t.Error("New without Authenticate and AllowAnonymous: got no error")
	}
	if _, err := httpapi.New(b.In("alice"), &httpapi.Options{AllowAnonymous: true}); err == nil {
		t.Error("New with a narrowed broker: got no error")
	}
	for _, o := range []httpapi.Options{
		{Authenticate: tokens}, {Prefix: "/a/b"}, {BaseURL: "https://example.com:8080"}, {IDPrefix: "img_"}, {AckStatus: 204},
	} {
		o.AllowAnonymous = o.Authenticate == nil
		if _, err := httpapi.New(b, &o); err != nil {
			t.Errorf("%+v: %v", o, err)
		}
	}
	for _, o := range []httpapi.Options{
		{Authenticate: tokens, AllowAnonymous: true}, {Prefix: "a"}, {Prefix: "/"}, {Prefix: "/a/"}, {Prefix: "/a//b"}, {Prefix: "/a b"}, {BaseURL: "example.com"}, {BaseURL: "https://a/b"},
		{IDPrefix: "a/b"}, {IDPrefix: "ä"}, {IDPrefix: `"`}, {AckStatus: 202},
	} {
		o.AllowAnonymous = true
		if _, err := httpapi.New(b, &o); err == nil {
			t.Errorf("%+v: got no error", o)
		}
	}
}

// endpoints are all routes, with path values in them.
var endpoints = []struct{ method, path string }{
	{"POST", "/v1/queues/q/jobs"}, {"GET", "/v1/queues/q/poll"}, {"POST", "/v1/queues/q/poll"}, {"GET", "/v1/jobs/x"}, {"GET", "/v1/jobs/x/payload"}, {"GET", "/v1/jobs/x/result"},
	{"POST", "/v1/jobs/x/ack"}, {"POST", "/v1/jobs/x/complete"}, {"POST", "/v1/jobs/x/fail"}, {"POST", "/v1/jobs/x/release"}, {"POST", "/v1/jobs/x/extend"}, {"POST", "/v1/jobs/x/progress"},
	{"POST", "/v1/jobs/x/cancel"}, {"POST", "/v1/jobs/x/redrive"}, {"POST", "/v1/acks"}, {"GET", "/v1/queues"}, {"GET", "/v1/queues/q"}, {"PUT", "/v1/queues/q"},
	{"DELETE", "/v1/queues/q"}, {"GET", "/v1/queues/q/jobs"}, {"POST", "/v1/queues/q/close"}, {"POST", "/v1/queues/q/purge"}, {"POST", "/v1/uploads"},
	{"GET", "/v1/openapi.json"},
}

func TestEveryRouteDemandsCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		for _, e := range endpoints {
			for _, credentials := range []string{"", "Bearer", "Bearer ", "Bearer x", "Bearer alice-token2", "Basic YWxpY2U6", "alice-token", "Bearer alice-token x"} {
				w.do(e.method, e.path, "", "Authorization: "+credentials).wantProblem(401, "unauthorized").wantHeader("WWW-Authenticate", "Bearer")
			}
			w.do(e.method, e.path, "", "Authorization: Bearer alice-token", "authorization: Bearer bob-token").wantProblem(401, "unauthorized")
			if a := w.do(e.method, e.path, "", "Authorization: bearer alice-token"); a.status == 401 {
				t.Errorf("%s %s: good credentials got %s", e.method, e.path, a.body)
			}
		}
		w.do("GET", "/v1/queues/q", "", "Authorization: Bearer bob-token").wantProblem(404, "not_found") // nothing was done for those refused
	})
}

func TestCredentialsGiveTheAccount(t *testing.T) {
	basic := httpapi.BasicAuth(`a "realm"`, map[httpapi.Login]string{{User: "key", Password: ""}: "carol", {User: "dave", Password: "secret"}: "dave", {}: "nobody"})
	both := httpapi.AnyOf(httpapi.BearerTokens(map[string]string{"t": "alice", "": "nobody"}), basic)
	down := httpapi.AnyOf(func(*http.Request) (string, error) { return "", &httpapi.Problem{Status: 503, Code: "directory_down"} }, basic)
	for _, c := range []struct {
		what       string
		a          httpapi.Authenticator
		user, pass string
		token      string
		want       string
		status     int
		challenges string
	}{
		{"a login", basic, "dave", "secret", "", "dave", 0, ""},
		{"a key as a user", basic, "key", "", "", "carol", 0, ""},
		{"a wrong password", basic, "dave", "secret2", "", "", 401, `Basic realm="a \"realm\"", charset="UTF-8"`},
		{"a part of the user in the password", basic, "dav", "e\x00secret", "", "", 401, `Basic realm="a \"realm\"", charset="UTF-8"`},
		{"both, by token", both, "", "", "t", "alice", 0, ""},
		{"both, by login", both, "dave", "secret", "", "dave", 0, ""},
		{"both, with neither", both, "", "", "", "", 401, `Bearer, Basic realm="a \"realm\"", charset="UTF-8"`},
		{"an Authenticator that says nothing more", httpapi.AnyOf(func(*http.Request) (string, error) { return "", errors.New("no") }, basic), "dave", "secret", "", "dave", 0, ""},
		{"a directory that is down", down, "dave", "secret", "", "", 503, ""},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		if c.user != "" || c.pass != "" {
			r.SetBasicAuth(c.user, c.pass)
		}
		if c.token != "" {
			r.Header.Set("Authorization", "Bearer "+c.token)
		}
		got, err := c.a(r)
		var p *httpapi.Problem
		if errors.As(err, &p) {
			if p.Status != c.status || strings.Join(p.Header.Values("WWW-Authenticate"), ", ") != c.challenges {
				t.Errorf("%s: got %d %v, want %d %s", c.what, p.Status, p.Header, c.status, c.challenges)
			}
		} else if got != c.want || err != nil || c.status != 0 {
			t.Errorf("%s: got %q, %v; want %q, %d", c.what, got, err, c.want, c.status)
		}
	}
}

func TestNobodyIsTheHouseByAccident(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &setup{options: httpapi.Options{Authenticate: func(r *http.Request) (string, error) {
			return r.Header.Get("X-User"), nil // and somebody forgot it
		}}})
		id := w.enqueue("mail", jobqueue.NewJob{}).ID.String()
		w.do("GET", "/v1/jobs/"+id, "").wantProblem(401, "unauthorized").wantHeader("WWW-Authenticate", "Bearer")
		w.do("GET", "/v1/jobs/"+id, "", "X-User: alice").want(200)
	})
}

func TestTheHouseServesAllAccounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		j, err := w.broker.Queue("render").Enqueue(t.Context(), jobqueue.NewJob{Account: "alice"})
		if err != nil {
			t.Fatal(err)
		}
		a := w.do("GET", "/v1/queues/render/poll?timeout=0", "", "Authorization: Bearer house-token").want(200)
		w.do("POST", "/v1/jobs/"+j.ID.String()+"/ack", "", "Authorization: Bearer house-token", "Lease-Token: "+a.text("lease_token")).want(200)
		w.do("GET", "/v1/jobs/"+j.ID.String(), "").want(200)
		w.do("GET", "/v1/jobs/"+j.ID.String(), "", "Authorization: Bearer bob-token").want(404)
	})
}

func TestAnErrorOfAuthenticateIsAnswered(t *testing.T) {
	for _, c := range []struct {
		err       error
		status    int
		code      string
		challenge string
	}{
		{errors.New("expired"), 401, "unauthorized", "Bearer"},
		{&httpapi.Problem{Status: 401, Code: "expired"}, 401, "expired", "Bearer"},
		{httpapi.Unauthorized("Custom"), 401, "unauthorized", "Custom"},
		{&httpapi.Problem{Status: 503, Code: "directory_down"}, 503, "directory_down", ""},
		{&httpapi.Problem{Status: 200, Code: "nonsense"}, 500, "nonsense", ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, &setup{options: httpapi.Options{Authenticate: func(*http.Request) (string, error) { return "alice", c.err }}})
			w.do("GET", "/v1/queues", "").wantProblem(c.status, c.code).wantHeader("WWW-Authenticate", c.challenge)
		})
	}
}

func TestAuthorizeMayRefuseEachAction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked httpapi.Action
		var of string
		w := newWorld(t, &setup{options: httpapi.Options{Authorize: func(r *http.Request, account string, a httpapi.Action, queue string) error {
			asked, of = a, queue
			if account != "alice" {
				t.Errorf("got account %q, want alice", account)
			}
			if r.Header.Get("X-Teapot") != "" {
				return &httpapi.Problem{Status: 418, Code: "teapot"}
			}
			return errors.New("no")
		}}})
		id := w.enqueue("q", jobqueue.NewJob{}).ID.String()
		d := w.receive("q")
		actions := map[string]httpapi.Action{
			"POST /v1/queues/q/jobs": httpapi.ActionSubmit, "GET /v1/queues/q/poll": httpapi.ActionReceive, "POST /v1/queues/q/poll": httpapi.ActionReceive,
			"GET /v1/jobs/x": httpapi.ActionRead, "GET /v1/jobs/x/payload": httpapi.ActionRead, "GET /v1/jobs/x/result": httpapi.ActionRead,
			"POST /v1/jobs/x/cancel": httpapi.ActionCancel, "POST /v1/jobs/x/redrive": httpapi.ActionManage,
			"GET /v1/queues": httpapi.ActionInspect, "GET /v1/queues/q": httpapi.ActionInspect, "GET /v1/queues/q/jobs": httpapi.ActionInspect,
			"POST /v1/uploads": httpapi.ActionSubmit,
			"PUT /v1/queues/q": httpapi.ActionManage, "DELETE /v1/queues/q": httpapi.ActionManage, "POST /v1/queues/q/close": httpapi.ActionManage, "POST /v1/queues/q/purge": httpapi.ActionManage,
		}
		for _, e := range endpoints {
			if e.path == "/v1/acks" || e.path == "/v1/openapi.json" {
				continue // the first answers each ack, the second concerns no queue
			}
			want, ok := actions[e.method+" "+e.path]
			if !ok {
				want = httpapi.ActionSettle
			}
			path := strings.Replace(e.path, "/x", "/"+id, 1)
			w.do(e.method, path, "", "Lease-Token: "+d.Token.String()).wantProblem(403, "forbidden")
			wantQueue := "q"
			switch e.path {
			case "/v1/uploads":
				wantQueue = "uploads"
			case "/v1/queues":
				wantQueue = ""
			}
			if asked != want || of != wantQueue {
				t.Errorf("%s %s: asked for %s of %q, want %s of %q", e.method, e.path, asked, of, want, wantQueue)
			}
			w.do(e.method, path, "", "X-Teapot: 1").want(418)
		}
		if j, err := w.broker.Job(t.Context(), d.ID); err != nil || j.Version != d.Version {
			t.Errorf("got %+v, %v; want the job as it was", j, err)
		}
	})
}

func TestHeadersWithSecretsGiveTheAccount(t *testing.T) {
	both := http.Header{"x-api-key": {"key"}, "X-Tenant": {"17"}} // not in canonical form
	for _, c := range []struct {
		what      string
		want, got http.Header
		ok        bool
		challenge string
	}{
		{"all are there", both, http.Header{"X-Api-Key": {"key"}, "X-Tenant": {"17"}, "X-More": {"1"}}, true, ""},
		{"one is missing", both, http.Header{"X-Api-Key": {"key"}}, false, "Header"},
		{"none is there", both, nil, false, "Header"},
		{"one is another", both, http.Header{"X-Api-Key": {"key"}, "X-Tenant": {"18"}}, false, "Header"},
		{"one is longer", both, http.Header{"X-Api-Key": {"keys"}, "X-Tenant": {"17"}}, false, "Header"},
		{"one is there twice", both, http.Header{"X-Api-Key": {"key", "key"}, "X-Tenant": {"17"}}, false, "Header"},
		{"the values are swapped", both, http.Header{"X-Api-Key": {"17"}, "X-Tenant": {"key"}}, false, "Header"},
		{"two values are wanted", http.Header{"X-Key": {"a", "b"}}, http.Header{"X-Key": {"a", "b"}}, true, ""},
		{"two values are wanted, in one", http.Header{"X-Key": {"a", "b"}}, http.Header{"X-Key": {"ab"}}, false, "Header"},
		{"two values are wanted, in another order", http.Header{"X-Key": {"a", "b"}}, http.Header{"X-Key": {"b", "a"}}, false, "Header"},
		{"a bearer token", http.Header{"Authorization": {"Bearer secret"}}, http.Header{"Authorization": {"Bearer secret"}}, true, ""},
		{"another bearer token", http.Header{"Authorization": {"Bearer secret"}}, http.Header{"Authorization": {"Bearer other"}}, false, "Bearer"},
		{"another login", http.Header{"Authorization": {"Basic c2VjcmV0"}}, nil, false, `Basic realm="api", charset="UTF-8"`},
		{"a secret without a scheme", http.Header{"Authorization": {"secret"}}, nil, false, "Header"},
		{"a secret in place of a scheme", http.Header{"Authorization": {"secret 1"}}, nil, false, "Header"},
		{"nothing is wanted", nil, nil, false, "Header"},
		{"no value is wanted", http.Header{"X-Key": nil}, nil, false, "Header"},
		{"an empty value is wanted", http.Header{"X-Key": {""}}, http.Header{"X-Key": {""}}, false, "Header"},
		{"a header is wanted twice", http.Header{"X-Key": {"a"}, "x-key": {"b"}}, http.Header{"X-Key": {"a"}}, false, "Header"},
	} {
		a := httpapi.HeaderAuth("alice", c.want)
		r := httptest.NewRequest("GET", "/", nil)
		r.Header = c.got
		if r.Header == nil {
			r.Header = http.Header{}
		}
		account, err := a(r)
		var p *httpapi.Problem
		switch {
		case c.ok && (err != nil || account != "alice"):
			t.Errorf("%s: got %q, %v; want alice", c.what, account, err)
		case !c.ok && (!errors.As(err, &p) || p.Status != 401 || p.Header.Get("WWW-Authenticate") != c.challenge || account != ""):
			t.Errorf("%s: got %q, %v; want 401 with %s", c.what, account, err, c.challenge)
		}
	}
	want := http.Header{"X-Key": {"a"}}
	a := httpapi.HeaderAuth("alice", want)
	want.Set("X-Key", "b")
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("X-Key", "b")
	if account, err := a(r); err == nil {
		t.Errorf("after the caller changed its map: got %q, want 401", account)
	}
}
