package httpapi_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/jobqueue"
)

func newHandler(t *testing.T, o httpapi.Options) (*httpapi.Handler, *jobqueue.Broker) {
	t.Helper()
	b := newBroker(t)
	o.AllowAnonymous = true
	h, err := httpapi.New(b, &o)
	if err != nil {
		t.Fatal(err)
	}
	return h, b
}

func serve(h http.Handler, method, path, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestTheHandlerIsMountedUnderAnyPrefix(t *testing.T) {
	for _, c := range []struct {
		what, prefix, path string // path is where the routes are for clients
		mount              func(h http.Handler) http.Handler
	}{
		{"alone", "", "", func(h http.Handler) http.Handler { return h }},
		{"at the root of a mux", "", "", func(h http.Handler) http.Handler {
			mux := http.NewServeMux()
			mux.Handle("/", h)
			return mux
		}},
		{"at the routes' own root", "", "", func(h http.Handler) http.Handler {
			mux := http.NewServeMux()
			mux.Handle("/v1/", h)
			return mux
		}},
		{"under a prefix", "/some/path", "/some/path", func(h http.Handler) http.Handler {
			mux := http.NewServeMux()
			mux.Handle("/some/path/", h)
			return mux
		}},
		{"with StripPrefix", "/some/path", "/some/path", func(h http.Handler) http.Handler { return http.StripPrefix("/some/path", h) }},
		{"with StripPrefix of a part", "/api/queue", "/api/queue", func(h http.Handler) http.Handler {
			inner := http.NewServeMux()
			inner.Handle("/queue/", http.StripPrefix("/queue", h))
			outer := http.NewServeMux()
			outer.Handle("/api/", http.StripPrefix("/api", inner))
			return outer
		}},
		{"under a prefix that looks like a route", "/v1", "/v1", func(h http.Handler) http.Handler { return h }},
		{"with StripPrefix of such a one", "/v1", "/v1", func(h http.Handler) http.Handler { return http.StripPrefix("/v1", h) }},
	} {
		h, b := newHandler(t, httpapi.Options{Prefix: c.prefix})
		m := c.mount(h)
		w := serve(m, "POST", c.path+"/v1/queues/a%2Fb/jobs", "{}")
		if location := w.Header().Get("Location"); w.Code != 202 || !strings.HasPrefix(location, c.path+"/v1/jobs/") {
			t.Errorf("%s: got %d, Location %q", c.what, w.Code, location)
		} else if w := serve(m, "GET", location, ""); w.Code != 200 {
			t.Errorf("%s: GET of Location: got %d %s", c.what, w.Code, w.Body)
		}
		w = serve(m, "POST", c.path+"/v1/uploads", `{"filename":"ä b?.txt"}`)
		if put := (&answer{t, w.Code, w.Header(), w.Body.String()}).text("put_url"); !strings.HasPrefix(put, c.path+"/v1/uploads/") {
			t.Errorf("%s: got put_url %q", c.what, put)
		} else if w := serve(m, "PUT", put, "x"); w.Code != 204 {
			t.Errorf("%s: PUT to put_url: got %d %s", c.what, w.Code, w.Body)
		}
		if info, err := b.Queue("a/b").Info(t.Context()); err != nil || info.Next != 1 {
			t.Errorf("%s: got %+v, %v; want a job in a/b", c.what, info, err)
		}
	}
}

func TestARequestMayHaveNoBodyAtAll(t *testing.T) {
	h, _ := newHandler(t, httpapi.Options{})
	for _, e := range endpoints {
		r, err := http.NewRequest(e.method, e.path+"?timeout=0", nil) // a server would set its Body
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code >= 500 {
			t.Errorf("%s %s: got %d %s", e.method, e.path, w.Code, w.Body)
		}
	}
}

func TestWhatIsNoRouteIsAProblem(t *testing.T) {
	h, _ := newHandler(t, httpapi.Options{Prefix: "/p"})
	for _, c := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"GET", "/p/v1/", 404, ""}, {"GET", "/p/v1", 404, ""}, {"GET", "/p", 404, ""}, {"GET", "/", 404, ""}, {"GET", "/p/v1/queues/", 404, ""}, {"GET", "/p/v1/queues//jobs", 404, ""},
		{"GET", "/p/v1/queues/../queues", 404, ""}, {"GET", "/p/v1/jobs/x/none", 404, ""}, {"GET", "/p/v2/queues", 404, ""}, {"GET", "/p//v1/queues", 404, ""},
		{"CONNECT", "/p/v1/queues//", 404, ""}, {"GET", "/p/v1/./queues", 404, ""},
		{"GET", "/p/v1/jobs/x/ack", 405, "POST"}, {"POST", "/p/v1/queues/q", 405, "DELETE, GET, HEAD, PUT"}, {"HEAD", "/p/v1/queues/q/poll", 405, "GET, POST"},
		{"DELETE", "/p/v1/queues/q/jobs", 405, "GET, HEAD, POST"}, {"OPTIONS", "/p/v1/queues", 405, "GET, HEAD"}, {"CONNECT", "/p/v1/queues", 405, "GET, HEAD"}, {"get", "/p/v1/queues", 405, "GET, HEAD"},
	} {
		w := serve(h, c.method, c.path, "")
		if w.Code != c.status || w.Header().Get("Allow") != c.allow || w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s: got %d, Allow %q, %s; want a problem with %d and %q", c.method, c.path, w.Code, w.Header().Get("Allow"), w.Header().Get("Content-Type"), c.status, c.allow)
		}
	}
}

func TestTheMethodsServeOtherPaths(t *testing.T) {
	type image struct {
		ID    string `json:"image_id"`
		Index uint64 `json:"image_index"`
	}
	h, b := newHandler(t, httpapi.Options{
		IDPrefix: "img_", AckStatus: 204, AnyToken: true,
		ShapeJob: func(r *http.Request, j *jobqueue.Job) (any, error) {
			return image{"img_" + j.ID.String(), j.Position}, nil
		},
		ShapePolled: func(r *http.Request, d *jobqueue.Delivery) (any, error) {
			return image{"img_" + d.ID.String(), d.Position}, nil
		},
		WriteError: func(w http.ResponseWriter, r *http.Request, p *httpapi.Problem) {
			w.WriteHeader(p.Status)
			json.NewEncoder(w).Encode(map[string]any{"success": false, "message": p.Detail})
		},
		JobURL: func(r *http.Request, j *jobqueue.Job) string { return "/images/img_" + j.ID.String() },
	})
	mux := http.NewServeMux()
	mux.HandleFunc("POST /sessions/{queue}/images", h.Submit)
	mux.HandleFunc("GET /sessions/{queue}/poll", h.Poll)
	mux.HandleFunc("GET /images/{id}", h.Status)
	mux.HandleFunc("GET /images/{id}/download", h.Payload)
	mux.HandleFunc("POST /images/{id}/ack", h.Ack)
	mux.HandleFunc("GET /orders/{order}", func(w http.ResponseWriter, r *http.Request) { // an id that the other side chose
		j, err := b.JobByKey(r.Context(), b.Queue("s").Name(), r.PathValue("order"))
		if err == nil {
			r.SetPathValue("id", "img_"+j.ID.String())
		}
		h.Status(w, r)
	})
	mux.HandleFunc("GET /depth/{queue}", h.Func(func(w http.ResponseWriter, r *http.Request, b *jobqueue.Broker) error {
		info, err := b.Queue(r.PathValue("queue")).Info(r.Context())
		if err != nil {
			return err
		}
		return json.NewEncoder(w).Encode(info.Next)
	}))

	w := serve(mux, "POST", "/sessions/s/images", `{"payload":1}`)
	var got image
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 202 || w.Header().Get("Location") != "/images/"+got.ID {
		t.Fatalf("submit: got %d %s, Location %q", w.Code, w.Body, w.Header().Get("Location"))
	}
	serve(mux, "POST", "/sessions/s/images", `{}`)
	if _, err := b.Queue("s").Enqueue(t.Context(), jobqueue.NewJob{Key: "order-7"}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		method, path string
		status       int
		body         string
	}{
		{"GET", "/sessions/s/poll?timeout=0", 200, `{"image_id":"` + got.ID + `","image_index":0}`},
		{"GET", "/images/" + got.ID, 200, `{"image_id":"` + got.ID + `","image_index":0}`},
		{"GET", "/images/" + got.ID + "/download", 200, `1`},
		{"POST", "/images/" + got.ID + "/ack", 204, ``},
		{"GET", "/images/" + got.ID[4:], 404, `{"message":"there is no such thing","success":false}` + "\n"},
		{"GET", "/depth/s", 200, "3\n"},
		{"GET", "/depth/none", 404, `{"message":"there is no such thing","success":false}` + "\n"},
	} {
		if w := serve(mux, c.method, c.path, ""); w.Code != c.status || w.Body.String() != c.body {
			t.Errorf("%s %s: got %d %q, want %d %q", c.method, c.path, w.Code, w.Body, c.status, c.body)
		}
	}
	if w := serve(mux, "GET", "/orders/order-7", ""); w.Code != 200 || !strings.Contains(w.Body.String(), `"image_index":2`) {
		t.Errorf("an order: got %d %s", w.Code, w.Body)
	}
	if w := serve(mux, "GET", "/orders/unknown", ""); w.Code != 404 {
		t.Errorf("an unknown order: got %d %s", w.Code, w.Body)
	}
}

func TestAShapedJobGetsItsLease(t *testing.T) {
	shaped := any(map[string]string{"job_id": "x"})
	h, b := newHandler(t, httpapi.Options{ShapeJob: func(*http.Request, *jobqueue.Job) (any, error) { return shaped, nil }})
	poll := func() *httptest.ResponseRecorder {
		if _, err := b.Queue("q").Enqueue(t.Context(), jobqueue.NewJob{Payload: []byte("1"), ContentType: "application/json"}); err != nil {
			t.Fatal(err)
		}
		return serve(h, "GET", "/v1/queues/q/poll?timeout=0", "")
	}
	var got map[string]any
	if w := poll(); json.Unmarshal(w.Body.Bytes(), &got) != nil || got["job_id"] != "x" || got["payload"] != 1.0 || len(got["lease_token"].(string)) != 32 {
		t.Errorf("got %s, want the shape with the lease", w.Body)
	}
	d, err := b.Queue("q").Enqueue(t.Context(), jobqueue.NewJob{})
	if err != nil {
		t.Fatal(err)
	}
	held, err := b.Queue("q").TryReceive(t.Context(), nil)
	if err != nil || held.ID != d.ID {
		t.Fatal(held, err)
	}
	if w := serve(h, "POST", "/v1/jobs/"+d.ID.String()+"/extend", `{"lease_token":"`+held.Token.String()+`"}`); w.Code != 200 || w.Body.String() != `{"job_id":"x"}` {
		t.Errorf("extend: got %d %s, want the shape alone", w.Code, w.Body)
	}
	shaped = struct{}{}
	if w := poll(); json.Unmarshal(w.Body.Bytes(), &got) != nil || w.Code != 200 {
		t.Errorf("an empty shape: got %d %s", w.Code, w.Body)
	}
	shaped = 1
	if w := poll(); w.Code != 500 {
		t.Errorf("a shape that is no object: got %d %s, want 500", w.Code, w.Body)
	}
	if d, err := b.Queue("q").TryReceive(t.Context(), nil); err != nil || d.Deliveries != 1 {
		t.Errorf("got %+v, %v; want the job back", d, err)
	}
}
