package httptests

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/internal/pipenet"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/memstore"
)

func newHandler(t *testing.T, o httpapi.Options) (*httpapi.Handler, *jobqueue.Broker) {
	t.Helper()
	store := memstore.New(nil)
	b, err := jobqueue.New(store, nil)
	if err != nil {
		t.Fatal(err)
	}
	o.AllowAnonymous = true
	h, err := httpapi.New(b, &o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.Shutdown(context.Background())
		store.Close()
	})
	return h, b
}

func serve(h http.Handler, method, path, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	return w
}

func TestTheHandlerIsMountedOnChi(t *testing.T) {
	for _, c := range []struct {
		what, prefix string
		mount        func(r chi.Router, h http.Handler)
	}{
		{"at the root", "", func(r chi.Router, h http.Handler) { r.Mount("/", h) }},
		{"under a prefix", "/queue", func(r chi.Router, h http.Handler) { r.Mount("/queue", h) }},
		{"nested", "/api/internal/queue", func(r chi.Router, h http.Handler) {
			r.Route("/api", func(r chi.Router) {
				r.Route("/internal", func(r chi.Router) { r.Mount("/queue", h) })
			})
		}},
		{"nested, with StripPrefix", "/api/queue", func(r chi.Router, h http.Handler) {
			r.Route("/api", func(r chi.Router) { r.Mount("/queue", http.StripPrefix("/api/queue", h)) })
		}},
		{"behind middleware", "/queue", func(r chi.Router, h http.Handler) {
			r.Use(middleware.RequestID, middleware.Recoverer, middleware.Compress(5))
			r.Mount("/queue", h)
		}},
	} {
		h, _ := newHandler(t, httpapi.Options{Prefix: c.prefix})
		r := chi.NewRouter()
		c.mount(r, h)
		w := serve(r, "POST", c.prefix+"/v1/queues/a%2Fb/jobs", "payload")
		location := w.Header().Get("Location")
		if w.Code != 202 || !strings.HasPrefix(location, c.prefix+"/v1/jobs/") {
			t.Errorf("%s: got %d %s, Location %q", c.what, w.Code, w.Body, location)
			continue
		}
		if w := serve(r, "GET", location+"/payload", ""); w.Code != 200 || w.Body.String() != "payload" {
			t.Errorf("%s: got %d %s, want the payload", c.what, w.Code, w.Body)
		}
		if w := serve(r, "GET", c.prefix+"/v1/queues/a%2Fb", ""); w.Code != 200 {
			t.Errorf("%s: got %d %s, want the queue a/b", c.what, w.Code, w.Body)
		}
		put := member(t, serve(r, "POST", c.prefix+"/v1/uploads", `{"filename":"ä b?%.txt"}`), "put_url")
		if w := serve(r, "PUT", put, "content"); w.Code != 204 {
			t.Errorf("%s: PUT to %q: got %d %s, want 204", c.what, put, w.Code, w.Body)
		}
		if w := serve(r, "GET", c.prefix+"/v1/none", ""); w.Code != 404 || w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: an unknown path: got %d %v, want a problem", c.what, w.Code, w.Header())
		}
	}
}

func TestTheMethodsServeChisPaths(t *testing.T) {
	h, b := newHandler(t, httpapi.Options{AnyToken: true})
	r := chi.NewRouter()
	r.Route("/sessions/{queue}", func(r chi.Router) { r.Get("/poll", h.Poll) })
	r.Route("/images/{id}", func(r chi.Router) {
		r.Get("/", h.Status)
		r.Get("/download", h.Payload)
		r.Post("/ack", h.Ack)
	})
	job, err := b.Queue("s").Enqueue(t.Context(), jobqueue.NewJob{Payload: []byte("image")})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ method, path string }{
		{"GET", "/sessions/s/poll?timeout=0"}, {"GET", "/images/" + job.ID.String()}, {"GET", "/images/" + job.ID.String() + "/download"}, {"POST", "/images/" + job.ID.String() + "/ack"},
	} {
		if w := serve(r, c.method, c.path, ""); w.Code != 200 {
			t.Errorf("%s %s: got %d %s, want 200", c.method, c.path, w.Code, w.Body)
		}
	}
}

// chi's wrappers of the ResponseWriter do not shorten a wait, and its Timeout ends it with an answer.
func TestAPollBehindChisMiddleware(t *testing.T) {
	for _, c := range []struct {
		what string
		use  []func(http.Handler) http.Handler
		want time.Duration
	}{
		{"none", nil, 30 * time.Second},
		{"wrappers", []func(http.Handler) http.Handler{middleware.RequestLogger(&middleware.DefaultLogFormatter{Logger: discard{}}), middleware.Compress(5)}, 30 * time.Second},
		{"Timeout", []func(http.Handler) http.Handler{middleware.Timeout(10 * time.Second)}, 9 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			h, _ := newHandler(t, httpapi.Options{})
			r := chi.NewRouter()
			r.Use(c.use...)
			r.Mount("/", h)
			l := pipenet.Listen()
			srv := &http.Server{Handler: r, WriteTimeout: 3 * time.Second, ReadTimeout: 3 * time.Second}
			served := make(chan error, 1)
			go func() { served <- srv.Serve(l) }()
			client := l.Client()
			began := time.Now()
			resp, err := client.Get("http://any/v1/queues/q/poll")
			if err != nil {
				t.Errorf("%s: %v", c.what, err)
			} else {
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if d := time.Since(began); resp.StatusCode != 204 || d != c.want {
					t.Errorf("%s: got %d after %v, want 204 after %v", c.what, resp.StatusCode, d, c.want)
				}
			}
			client.CloseIdleConnections()
			srv.Close()
			if err := <-served; !errors.Is(err, http.ErrServerClosed) {
				t.Error(err)
			}
		})
	}
}

type discard struct{}

func (discard) Print(...any) {}
