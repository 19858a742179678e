package httpapi_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/jobqueue"
)

// FuzzRequest looks for a request that panics, is answered as if the server had failed or with something else than the API's answers, or changes
// something although it is refused (promise 9).
func FuzzRequest(f *testing.F) {
	for _, e := range endpoints {
		f.Add(e.method, e.path+"?timeout=0", `{"lease_token":"00000000000000000000000000000001"}`, "application/json", "Prefer", "wait=0")
	}
	f.Add("POST", "/v1/queues/%2e%2e/jobs?tag.=%00&delay=9", "x", "text/plain; a=b", "Idempotency-Key", `"a\"b"`)
	f.Add("GET", "/v1/jobs/ID/payload", "", "", "Range", "bytes=0-0,2-1,-5")
	f.Add("GET", "/v1/jobs/ID?wait=0", "", "", "If-None-Match", `W/"1", *`)
	f.Add("POST", "/v1/jobs/ID/complete", `{"result":1e999,"lease_token":"ffffffffffffffffffffffffffffffff"}`, "application/json", "Lease-Token", "")
	f.Add("PUT", "/v1/queues/q", `{"lease_seconds":1e18,"retention_seconds":-1e300,"tags":{"a":null}}`, "application/json", "Content-Type", "x")
	f.Add("POST", "/v1/acks", `{"acks":[{"id":"","lease_token":null},null]}`, "", "Transfer-Encoding", "chunked")
	f.Add("PUT", "/v1/uploads/ID/file?upload=ID&expires=99999999999&signature=00", "x", "a/b", "Content-Length", "1")
	f.Add("POST", "/v1/uploads", `{"filename":"../\u0000\ud800/..","size":-1e3,"expires_seconds":1e-9,"content_type":"\n"}`, "application/json", "Content-Length", "1")
	f.Add("POST", "/v1/jobs/ID/complete", `{"object_key":"ID/../x","lease_token":"00000000000000000000000000000001"}`, "application/json", "Content-Type", "x")
	f.Fuzz(func(t *testing.T, method, target, body, kind, name, value string) {
		b := newBroker(t) // what one request does must not change what the next one finds
		h, err := httpapi.New(b, &httpapi.Options{Authenticate: tokens})
		if err != nil {
			t.Fatal(err)
		}
		job, err := b.In("alice").Queue("q").Enqueue(t.Context(), jobqueue.NewJob{Payload: []byte("payload")})
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.ParseRequestURI(strings.Replace(target, "ID", job.ID.String(), 1))
		if err != nil {
			return // net/http would not have it
		}
		r := httptest.NewRequest("GET", "/", strings.NewReader(body))
		r.Method, r.URL = method, u
		r.Header.Set("Content-Type", kind)
		r.Header.Set("Authorization", "Bearer alice-token")
		r.Header[http.CanonicalHeaderKey(name)] = []string{value}
		if value := u.Query().Get("timeout"); strings.Contains(u.Path, "poll") && value != "0" || u.Query().Has("wait") || r.Header.Get("Prefer") != "" {
			return // it would wait
		}
		before := snapshot(t, b)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if wantSound(t, w); w.Code >= 400 {
			if after := snapshot(t, b); after != before {
				t.Errorf("%s %s: answered %d %s, and changed\n%s\nto\n%s", method, target, w.Code, w.Body, before, after)
			}
		}
	})
}
