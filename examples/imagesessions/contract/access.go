package contract

import (
	"net/http"
	"strings"
	"testing"

	"github.com/pollackq/pollack/internal/contract"
)

// A request is one of those that the protocol knows, of a session or an image.
type request struct{ method, path string }

func requests(session, image string) []request {
	var out []request
	for _, v1 := range []string{"/api/v1", "/v1"} {
		out = append(out,
			request{"GET", v1 + "/sessions/" + session + "/poll?timeout=0"}, request{"POST", v1 + "/sessions/" + session + "/images"},
			request{"POST", v1 + "/sessions/" + session + "/close"}, request{"GET", v1 + "/images/" + image + "/download"},
			request{"HEAD", v1 + "/images/" + image + "/download"}, request{"POST", v1 + "/images/" + image + "/ack"},
		)
	}
	return out
}

// make sends it, with a body where there is one.
func (r request) make(t *testing.T, c *contract.Client) *contract.Answer {
	t.Helper()
	if strings.HasSuffix(r.path, "/images") {
		return c.Do(t, r.method, r.path, "image")
	}
	return c.Do(t, r.method, r.path, nil)
}

func init() {
	suite.Case("who has no token is not let in", "S1-06 D-all", func(t *testing.T, open contract.Opener) {
		w := newWorld(t, open)
		session := w.open()
		image := w.add(session)
		for _, r := range append(requests(session, image), request{"POST", "/v1/sessions"}, request{"POST", "/api/v1/sessions"}) {
			for _, authorization := range []string{"", "Bearer aptr_xxxx", "Bearer", "Bearer ", "Basic YXB0cl9hbGljZTo=", "aptr_alice", "Bearer aptr_alice x"} {
				c := w.nobody
				if authorization != "" {
					c = w.nobody.With("Authorization", authorization)
				}
				a := r.make(t, c).Want(t, http.StatusUnauthorized)
				if r.method != "HEAD" {
					a.Problem(t, 401, "unauthorized")
				}
				if got := a.Header.Get("WWW-Authenticate"); !strings.HasPrefix(got, "Bearer") {
					t.Errorf("%v: got WWW-Authenticate %q", r, got)
				}
			}
		}
		if a := w.poll(session, "?timeout=0"); a.Header.Get("Delivery-Attempt") != "1" {
			t.Error("a refused poll has been given the image")
		}
	})

	suite.Case("another account's and unknown are told alike", "S1-06 D-all", func(t *testing.T, open contract.Opener) {
		w := newWorld(t, open)
		session := w.open()
		image := w.add(session)
		w.take(session)
		unknown := requests("sess_01ARZ3NDEKTSV4RRFFQ69G5FAV", "img_01ARZ3NDEKTSV4RRFFQ69G5FAV")
		for i, r := range requests(session, image) {
			foreign, never := r.make(t, w.bob).Want(t, 404), unknown[i].make(t, w.bob)
			if r.method != "HEAD" {
				never.Problem(t, 404, "not_found")
			}
			if string(foreign.Body) != string(never.Body) {
				t.Errorf("%v: got %s, and for one that never was %s", r, foreign.Body, never.Body)
			}
		}
		for _, id := range []string{"x", "sess_", "sess_x", "01ARZ3NDEKTSV4RRFFQ69G5FAV", image, "sess_" + strings.Repeat("0", 300), "%FF", "sess_%00", "a%2Fb"} {
			for _, r := range requests(id, session) { // nor is the one an id of the other
				r.make(t, w.alice).Want(t, 404)
			}
		}
		w.download(image).Want(t, 200) // bob has done nothing
	})

	suite.Case("a wrong method is told the right ones", "S1-07 D-all", func(t *testing.T, open contract.Opener) {
		w := newWorld(t, open)
		session := w.open()
		image := w.add(session)
		for _, r := range append(requests(session, image), request{"POST", "/v1/sessions"}) {
			for _, method := range []string{"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"} {
				if method == r.method || r.method == "HEAD" {
					continue
				}
				a := w.alice.Do(t, method, r.path, nil)
				a.Problem(t, 405, "method_not_allowed")
				if got := a.Header.Get("Allow"); !strings.Contains(got, r.method) || strings.Contains(got, method) {
					t.Errorf("%s %s: got Allow %q, want %s", method, r.path, got, r.method)
				}
			}
		}
		a := w.alice.Do(t, "HEAD", "/v1/sessions/"+session+"/poll?timeout=0", nil).Want(t, 405)
		if got := a.Header.Get("Allow"); got != "GET" {
			t.Errorf("HEAD of a poll: got Allow %q", got)
		}
		if a := w.poll(session, "?timeout=0"); a.Header.Get("Delivery-Attempt") != "1" {
			t.Error("a refused poll has been given the image")
		}
	})

	suite.Case("bodies are read leniently, within bounds", "D-all I-open", func(t *testing.T, open contract.Opener) {
		w := newWorld(t, open)
		post := func(body string) *contract.Answer { return w.alice.Do(t, "POST", "/v1/sessions", body) }
		for _, body := range []string{``, ` `, `{}`, `{"tags": null}`, `{"tags": {}}`, `{"tags": {"a": "b"}, "other": [1]}`} {
			a := post(body).Want(t, 201)
			if got := a.Header.Get("Content-Type"); got != "application/json" {
				t.Errorf("got content type %q", got)
			}
			w.poll(text(t, a, "session_id"), "?timeout=0").Want(t, 204)
		}
		for _, body := range []string{
			`{`, `[]`, `"x"`, `null`, `{"tags": []}`, `{"tags": {"a": 1}}`, `{"tags": "x"}`, `{"tags": {"": "x"}}`, `{} x`, "{\"tags\": {\"a\": \"\xff\"}}",
			`{"tags": {"a": "` + strings.Repeat("x", 2000) + `"}}`,
		} {
			post(body).Problem(t, 400, "invalid_request")
		}
		post(`{"x": "`+strings.Repeat("x", 5<<20)+`"}`).Problem(t, 413, "too_large")

		session := w.open()
		w.add(session)
		id, _ := w.take(session)
		w.alice.Do(t, "POST", "/v1/images/"+id+"/ack", `{"lease_token": `).Problem(t, 400, "invalid_request")
		w.download(id).Want(t, 200)
		w.alice.Do(t, "POST", "/v1/images/"+id+"/ack", `{"other": 1}`).Want(t, 204)
	})
}
