package httpapi_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/jobqueue"
)

func TestRoutesOfTheUsersOwn(t *testing.T) {
	h, _ := newHandler(t, httpapi.Options{MaxBody: 100})
	routes := h.Routes(map[string]http.HandlerFunc{
		"GET /files/{name}": func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.PathValue("name")) },
		"POST /files/{name}": h.Func(func(w http.ResponseWriter, r *http.Request, _ *jobqueue.Broker) error {
			var body struct{ Word string }
			if err := h.ReadJSON(w, r, &body); err != nil {
				return err
			}
			_, err := io.WriteString(w, body.Word)
			return err
		}),
		"PUT DELETE /other": func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Method) },
	})
	for _, c := range []struct {
		method, path, body string
		status             int
		answer, allow      string // answer: the body, or the code of a problem
	}{
		{"GET", "/files/a", "", 200, "a", ""},
		{"HEAD", "/files/a", "", 200, "a", ""}, // net/http leaves the body out
		{"POST", "/files/a", `{"word": "hello", "more": 1}`, 200, "hello", ""},
		{"POST", "/files/a", "", 200, "", ""},
		{"DELETE", "/other", "", 200, "DELETE", ""},
		{"PUT", "/files/a", "", 405, "method_not_allowed", "GET, HEAD, POST"},
		{"GET", "/other", "", 405, "method_not_allowed", "DELETE, PUT"},
		{"GET", "/files/a/b", "", 404, "not_found", ""},
		{"GET", "/", "", 404, "not_found", ""},
		{"POST", "/files/a", `{"word": `, 400, "invalid_request", ""},
		{"POST", "/files/a", `[]`, 400, "invalid_request", ""},
		{"POST", "/files/a", `{"word": 1}`, 400, "invalid_request", ""},
		{"POST", "/files/a", `{"word": "` + strings.Repeat("x", 100) + `"}`, 413, "too_large", ""},
	} {
		w := serve(routes, c.method, c.path, c.body)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.answer) || w.Header().Get("Allow") != c.allow {
			t.Errorf("%s %s %.20q: got %d %q, Allow %q; want %d %q, Allow %q",
				c.method, c.path, c.body, w.Code, w.Body, w.Header().Get("Allow"), c.status, c.answer, c.allow)
		}
		if c.status >= 400 && w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s: got %q, want a problem", c.method, c.path, w.Header().Get("Content-Type"))
		}
	}
}

func TestARouteOfTheUsersOwnMayBeTheRoot(t *testing.T) {
	h, _ := newHandler(t, httpapi.Options{})
	routes := h.Routes(map[string]http.HandlerFunc{"GET /": func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.URL.Path) }})
	w := httptest.NewRecorder()
	routes.ServeHTTP(w, httptest.NewRequest("GET", "/any/path", nil))
	if got := w.Body.String(); got != "/any/path" {
		t.Errorf("got %d %q, want what the user serves", w.Code, got)
	}
	defer func() {
		if recover() == nil {
			t.Error("a pattern without a method was taken")
		}
	}()
	h.Routes(map[string]http.HandlerFunc{"/": nil})
}

func TestBodiesAndAnswersOfTheUsersOwn(t *testing.T) {
	h, _ := newHandler(t, httpapi.Options{})
	routes := h.Routes(map[string]http.HandlerFunc{
		"POST /count": h.Func(func(w http.ResponseWriter, r *http.Request, _ *jobqueue.Broker) error {
			p, err := io.ReadAll(h.Body(w, r, 10))
			if err != nil {
				return err
			}
			return h.WriteJSON(w, r, http.StatusCreated, map[string]int{"bytes": len(p)})
		}),
		"POST /never": h.Func(func(w http.ResponseWriter, r *http.Request, _ *jobqueue.Broker) error {
			return h.WriteJSON(w, r, http.StatusOK, func() {})
		}),
	})
	for _, c := range []struct {
		path, body string
		status     int
		answer     string
	}{
		{"/count", "0123456789", 201, `{"bytes":10}`},
		{"/count", "0123456789x", 413, "too_large"},
		{"/never", "", 500, "internal"},
	} {
		w := serve(routes, "POST", c.path, c.body)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.answer) {
			t.Errorf("%s %q: got %d %s, want %d with %s", c.path, c.body, w.Code, w.Body, c.status, c.answer)
		}
	}
	r := httptest.NewRequest("POST", "/count", &cut{})
	w := httptest.NewRecorder()
	routes.ServeHTTP(w, r)
	if w.Code != http.StatusBadRequest {
		t.Errorf("a body that was cut off: got %d %s, want 400", w.Code, w.Body)
	}
}

// cut is a body that ends before its end.
type cut struct{}

func (*cut) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
