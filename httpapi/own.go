package httpapi

import (
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// Routes returns a handler for paths of the user's own: patterns of http.ServeMux, each behind its methods ("POST /files", "GET POST /poll"), and what
// serves them. GET serves HEAD too. Unknown paths are answered 404 and wrong methods 405, with Allow, in the form of all refusals; nobody is
// authenticated before that. It panics where http.ServeMux does.
func (h *Handler) Routes(routes map[string]http.HandlerFunc) http.Handler {
	byPath := make(map[string]*methods)
	for pattern, serve := range routes {
		words := strings.Fields(pattern)
		if len(words) < 2 {
			panic("httpapi: the pattern " + pattern + " has no method")
		}
		path := words[len(words)-1]
		if byPath[path] == nil {
			byPath[path] = &methods{h: h, serve: make(map[string]http.HandlerFunc)}
		}
		for _, m := range words[:len(words)-1] {
			byPath[path].serve[m] = serve
			if m == http.MethodGet {
				byPath[path].serve[http.MethodHead] = serve
			}
		}
	}
	mux := http.NewServeMux()
	for path, m := range byPath {
		m.allowed = strings.Join(slices.Sorted(maps.Keys(m.serve)), ", ")
		mux.Handle(path, m)
	}
	if byPath["/"] == nil {
		mux.HandleFunc("/", h.unknownPath)
	}
	return mux
}

// methods serve one path.
type methods struct {
	h       *Handler
	serve   map[string]http.HandlerFunc
	allowed string // for people and in Allow
}

func (m *methods) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if serve, ok := m.serve[r.Method]; ok {
		serve(w, r)
		return
	}
	m.h.wrongMethod(w, r, m.allowed)
}

// ReadJSON reads the body of a request, a JSON object of at most Options.MaxBody bytes, into v, for endpoints of the user's own. Unknown fields are
// ignored, and an empty body is an empty object. An error is a *Problem, such as 400 or 413.
func (h *Handler) ReadJSON(w http.ResponseWriter, r *http.Request, v any) error {
	return h.newCall(w, r).decode(v)
}

// Body returns the body of a request, for endpoints of the user's own, bounded to limit bytes and in time by Options.Patience. The error of a Read is
// io.EOF or a *Problem: 413 if there is more, 408 if it took too long, 400 if it was cut off.
func (h *Handler) Body(w http.ResponseWriter, r *http.Request, limit int64) io.Reader {
	return &ownBody{h.newCall(w, r).body(limit)}
}

type ownBody struct{ b *body }

func (o *ownBody) Read(p []byte) (int, error) {
	n, err := o.b.Read(p)
	if err != nil && err != io.EOF {
		err = o.b.problem()
	}
	return n, err
}

// WriteJSON answers v as JSON, for endpoints of the user's own. The client has Options.Patience to take it. An error means that v cannot be encoded,
// and that nothing has been written.
func (h *Handler) WriteJSON(w http.ResponseWriter, r *http.Request, status int, v any) error {
	return h.newCall(w, r).answer(status, v)
}
