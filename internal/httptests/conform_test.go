package httptests

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/memstore"
)

// A judge serves requests and holds the answers, and the requests that were accepted, against the document.
type judge struct {
	t      *testing.T
	h      http.Handler
	router routers.Router
	seen   map[string]bool // "operation status"
}

func (j *judge) do(method, path, body string, headers ...string) *httptest.ResponseRecorder {
	j.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer token")
	if strings.HasPrefix(body, "{") {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		k, v, _ := strings.Cut(h, ": ")
		r.Header.Set(k, v)
	}
	route, params, err := j.router.FindRoute(r)
	if err != nil {
		j.t.Fatalf("%s %s: %v", method, path, err)
	}
	options := &openapi3filter.Options{IncludeResponseStatus: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, SkipSettingDefaults: true}
	asked := &openapi3filter.RequestValidationInput{Request: r.Clone(context.Background()), PathParams: params, Route: route, Options: options}
	asked.Request.Body = http.NoBody
	if body != "" {
		asked.Request.Body = httptest.NewRequest(method, path, strings.NewReader(body)).Body
	}
	w := httptest.NewRecorder()
	j.h.ServeHTTP(w, r)
	if w.Code < 300 && !strings.Contains(path, "tag.") { // the validator knows no such parameters
		if err := openapi3filter.ValidateRequest(context.Background(), asked); err != nil {
			j.t.Errorf("%s %s is served, but the document says: %v", method, path, err)
		}
	}
	if route.Operation.Responses.Value(fmt.Sprint(w.Code)) == nil && w.Code < 400 {
		j.t.Errorf("%s %s: the document has no %d", method, path, w.Code)
	}
	answer := &openapi3filter.ResponseValidationInput{RequestValidationInput: asked, Status: w.Code, Header: w.Header(), Options: options}
	answer.SetBodyBytes(w.Body.Bytes())
	if err := openapi3filter.ValidateResponse(context.Background(), answer); err != nil {
		j.t.Errorf("%s %s: the answer %d %.300s is not what the document says: %v", method, path, w.Code, w.Body, err)
	}
	for name := range w.Header() {
		if name == "X-Content-Type-Options" {
			continue
		}
		if route.Operation.Responses.Value(fmt.Sprint(w.Code)) == nil {
			continue
		}
		documented := route.Operation.Responses.Value(fmt.Sprint(w.Code)).Value.Headers
		if plain := []string{
			"Content-Type", "Content-Length", "Cache-Control", "Content-Range", "Accept-Ranges", "Last-Modified", "Content-Security-Policy", "Allow",
		}; documented[name] == nil && documented[strings.ReplaceAll(name, "Etag", "ETag")] == nil && documented[strings.ReplaceAll(name, "Www", "WWW")] == nil && !slices.Contains(plain, name) {
			if w.Code < 400 && w.Code != 304 {
				j.t.Errorf("%s %s: the document has no header %s for %d", method, path, name, w.Code)
			}
		}
	}
	j.seen[fmt.Sprint(route.Operation.OperationID, " ", w.Code)] = true
	return w
}

// member returns a text of a JSON answer.
func member(t *testing.T, w *httptest.ResponseRecorder, name string) string {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &m); err != nil {
		t.Fatalf("got %d %q: %v", w.Code, w.Body, err)
	}
	s, _ := m[name].(string)
	return s
}

// Every operation is asked for every answer that the document has for it, and what is answered is what the document says.
func TestAnswersAreWhatTheDocumentSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(nil)
		broker, err := jobqueue.New(store, &jobqueue.Options{MaxPayload: 1000, MaxResult: 1000})
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		defer broker.Shutdown(context.Background())
		newJudge := func(o httpapi.Options) *judge {
			o.Authenticate = httpapi.BearerTokens(map[string]string{"token": "alice"})
			h, err := httpapi.New(broker, &o)
			if err != nil {
				t.Fatal(err)
			}
			return &judge{t: t, h: h}
		}
		j := newJudge(httpapi.Options{MaxBody: 2000})
		doc := read(t, j.h)
		if j.router, err = gorillamux.NewRouter(doc); err != nil {
			t.Fatal(err)
		}
		j.seen = make(map[string]bool)
		narrow := newJudge(httpapi.Options{MaxPolls: 1, MaxPollsPerAccount: -1, AckStatus: 204})
		narrow.router, narrow.seen = j.router, j.seen

		const q = "/v1/queues/mail"
		enqueue := func() string {
			return "/v1/jobs/" + member(t, j.do("POST", q+"/jobs", `{"payload":{"a":1},"name":"n","tags":{"a":"b"}}`), "id")
		}
		poll := func() (path, token string) {
			w := j.do("GET", q+"/poll?timeout=0", "")
			return "/v1/jobs/" + member(t, w, "id"), "Lease-Token: " + member(t, w, "lease_token")
		}

		// Submit.
		j.do("POST", q+"/jobs?name=n&delay=0&priority=1&content_type=text/plain&deadline=2100-01-01T00:00:00Z", "raw", "Content-Type: application/octet-stream")
		j.do("POST", q+"/jobs", `{"payload":1,"deadline":"2100-01-01T00:00:00Z","delay_seconds":60}`, "Idempotency-Key: k", "Prefer: wait=1")
		j.do("POST", q+"/jobs", `{"payload":2}`, "Idempotency-Key: k")
		j.do("POST", q+"/jobs?name=n&name=n", "raw", "Content-Type: text/plain")
		j.do("POST", q+"/jobs?tag.a=b", "raw", "Content-Type: text/plain")
		j.do("POST", q+"/jobs", strings.Repeat("x", 1001), "Content-Type: text/plain")
		j.do("POST", "/v1/queues/closed/jobs", `{}`)
		j.do("POST", "/v1/queues/closed/close", "")
		j.do("POST", "/v1/queues/closed/jobs", `{}`)
		j.do("POST", "/v1/queues/closed/purge", "")
		j.do("GET", "/v1/queues/closed/poll", "")
		j.do("POST", "/v1/queues/closed/poll", "")
		j.do("POST", q+"/purge", "")

		// Poll.
		for _, method := range []string{"GET", "POST"} {
			j.do(method, q+"/poll?timeout=1", "", "Prefer: wait=1")
			j.do(method, q+"/poll?timeout=-1", "")
			for range 3 {
				enqueue()
			}
			j.do(method, q+"/poll?lease=1&payload=none", "", "Prefer: wait=1")
			j.do(method, q+"/poll?max=2&lease=1", "")
			time.Sleep(2 * time.Second)
			j.do("POST", q+"/purge", "")
		}
		// Acks with it.
		enqueue()
		enqueue()
		ack := func() string {
			w := j.do("GET", q+"/poll?timeout=0", "")
			return fmt.Sprintf(`{"acks":[{"id":%q,"lease_token":%q}]}`, member(t, w, "id"), member(t, w, "lease_token"))
		}
		last := ack()
		j.do("POST", q+"/poll", last)
		j.do("POST", q+"/poll?timeout=1", last)
		j.do("POST", q+"/poll", `{"acks":[{"id":"x"}]}`)
		j.do("POST", q+"/poll?timeout=0", `{"acks":[]}`)
		j.do("POST", q+"/poll?timeout=0", `{"acks":null}`)
		j.do("POST", q+"/poll", `{"acks":[`+strings.Repeat(`{"id":"x"},`, 100)+`{"id":"x"}]}`)
		j.do("POST", "/v1/queues/closed/poll", last)
		j.do("POST", q+"/purge", "")
		parked := make(chan struct{})
		go func() {
			narrow.h.ServeHTTP(httptest.NewRecorder(), authorized("GET", q+"/poll?timeout=30"))
			close(parked)
		}()
		synctest.Wait()
		narrow.do("GET", q+"/poll?timeout=30", "")
		narrow.do("POST", q+"/poll?timeout=30", "")
		other := member(t, j.do("POST", "/v1/queues/other/jobs", `{}`), "id")
		narrow.do("GET", "/v1/jobs/"+other+"?wait=1", "")
		<-parked

		// A job's life.
		job := enqueue()
		tag := j.do("GET", job, "").Header().Get("ETag")
		j.do("GET", job, "", "If-None-Match: "+tag)
		j.do("GET", job+"?wait=1", "", "Prefer: wait=1")
		j.do("GET", job, "", "Prefer: wait=1")
		j.do("GET", job+"?wait=x", "")
		path, token := poll()
		j.do("GET", path+"/payload", "")
		j.do("GET", path+"/payload", "", "Range: bytes=0-1")
		j.do("GET", path+"/payload", "", "Range: bytes=100-")
		j.do("GET", path+"/payload", "", "If-None-Match: *")
		j.do("GET", path+"/payload", "", `If-Match: "x"`)
		j.do("GET", path+"/result", "")
		j.do("POST", path+"/progress", `{"progress":0.5,"message":"half"}`, token)
		j.do("POST", path+"/extend", `{"lease_seconds":60}`, token)
		for _, verb := range []string{"ack", "complete", "fail", "release", "extend", "progress"} {
			j.do("POST", path+"/"+verb, "")
			j.do("POST", path+"/"+verb, `{"message":"m"}`, "Lease-Token: 00000000000000000000000000000001")
		}
		j.do("POST", path+"/complete", strings.Repeat("x", 1001), "Content-Type: text/plain", token)
		j.do("POST", path+"/redrive", "")
		j.do("POST", path+"/release", `{"delay_seconds":0,"uncounted":true}`, token)
		path, token = poll()
		j.do("POST", path+"/complete", `{"result":{"sum":3}}`, token)
		j.do("GET", path, "")
		j.do("GET", path+"/payload", "")
		j.do("GET", path+"/result", "")
		j.do("GET", path+"/result", "", "Range: bytes=0-1")
		j.do("GET", path+"/result", "", "Range: bytes=100-")
		j.do("GET", path+"/result", "", "If-None-Match: *")
		j.do("GET", path+"/result", "", `If-Match: "x"`)
		j.do("POST", path+"/cancel", "")
		enqueue()
		path, token = poll()
		j.do("POST", path+"/complete?content_type=text/plain", "raw", "Content-Type: image/png", token)
		enqueue()
		path, token = poll()
		j.do("POST", path+"/fail", `{"code":"c","message":"m"}`, token)
		j.do("GET", path, "")
		j.do("POST", path+"/redrive", "")
		j.do("POST", path+"/cancel", "")
		for _, verb := range []string{"ack", "complete", "fail"} {
			enqueue()
			path, token = poll()
			narrow.do("POST", path+"/"+verb, `{}`, token)
		}
		enqueue()
		path, token = poll()
		j.do("POST", path+"/ack", "", token)
		j.do("POST", path+"/ack", "", token)
		enqueue()
		path, token = poll()
		id, bare := strings.TrimPrefix(path, "/v1/jobs/"), strings.TrimPrefix(token, "Lease-Token: ")
		j.do("POST", "/v1/acks", fmt.Sprintf(`{"acks":[{"id":%q,"lease_token":%q},{"id":"x","lease_token":%q},{"id":%q,"lease_token":"00000000000000000000000000000001"}]}`, id, bare, bare, id))
		j.do("POST", "/v1/acks", `{}`)
		j.do("POST", "/v1/acks", `{"acks":[{"id":"`+strings.Repeat("x", 2000)+`"}]}`)

		// A job that ends while its submitter waits.
		time.AfterFunc(time.Second, func() {
			if d, err := broker.In("alice").Queue("quick").TryReceive(context.Background(), nil); err == nil {
				d.Ack(context.Background())
			}
		})
		j.do("POST", "/v1/queues/quick/jobs", `{}`, "Prefer: wait=5", "Idempotency-Key: once")
		j.do("POST", "/v1/queues/quick/jobs", `{}`, "Prefer: wait=5", "Idempotency-Key: once")

		// Uploads.
		prepare := func(body string) (key, url string) {
			w := j.do("POST", "/v1/uploads", body)
			return member(t, w, "object_key"), member(t, w, "put_url")
		}
		key, url := prepare(`{"filename":"../a b.txt","content_type":"text/plain","size":3,"expires_seconds":60}`)
		unused, late := prepare(`{}`)
		j.do("PUT", url, "four", "Content-Type: text/plain")
		j.do("PUT", url, "two", "Content-Type: image/png")
		j.do("PUT", url+"x", "two", "Content-Type: text/plain")
		j.do("PUT", url, "two", "Content-Type: text/plain")
		j.do("PUT", url, "two", "Content-Type: text/plain")
		j.do("POST", "/v1/uploads", `{"size":-1}`)
		j.do("POST", "/v1/uploads", `{"size":1001}`)
		enqueue()
		path, token = poll()
		j.do("POST", path+"/complete", `{"object_key":"`+unused+`"}`, token)
		j.do("POST", path+"/complete", `{"object_key":"`+key+`"}`, token)
		j.do("GET", path+"/result", "")
		time.Sleep(2 * time.Hour)
		j.do("PUT", late, "x")

		// Queues.
		j.do("GET", "/v1/queues?limit=1", "")
		j.do("GET", "/v1/queues?after=a&limit=1000", "")
		j.do("GET", "/v1/queues?limit=0", "")
		j.do("PUT", "/v1/queues/set", `{"lease_seconds":10,"max_deliveries":3,"retention_seconds":-1,"tombstone_seconds":60,"backlog":5,"tags":{"a":"b"},"status":"s"}`)
		j.do("PUT", "/v1/queues/set", `{}`)
		j.do("PUT", "/v1/queues/set", `{"lease_seconds":"x"}`)
		j.do("PUT", "/v1/queues/set", `{"status":"`+strings.Repeat("x", 2000)+`"}`)
		j.do("GET", "/v1/queues/set", "")
		j.do("DELETE", "/v1/queues/set", "")
		j.do("POST", "/v1/queues/set/close", "")
		j.do("DELETE", "/v1/queues/set", "")
		enqueue()
		j.do("GET", q, "")
		j.do("GET", q+"/jobs?limit=1&state=pending", "")
		j.do("GET", q+"/jobs?after="+id, "")
		j.do("GET", q+"/jobs?state=x", "")
		j.do("GET", "/v1/openapi.json", "")

		// What every operation answers.
		ended, _ := poll()
		broker.Cancel(t.Context(), mustID(t, ended))
		time.Sleep(25 * time.Hour)
		for at, operation := range operations(doc) {
			method, template, _ := strings.Cut(at, " ")
			for _, id := range []string{"unknown", strings.TrimPrefix(ended, "/v1/jobs/")} {
				path := strings.NewReplacer("{queue}", "unknown-"+operation, "{id}", id, "{filename}", "f").Replace(template)
				if operation != "poll" && operation != "pollPost" {
					j.do(method, path, "", token)
				}
				j.do(method, path, "", "Authorization: none")
			}
		}
		enqueue()
		last = ack()
		j.h.(*httpapi.Handler).Drain()
		j.do("POST", q+"/poll", last)
		broker.Shutdown(context.Background())
		j.do("GET", q+"/poll", "")
		j.do("POST", q+"/poll", "")

		for at, operation := range operations(doc) {
			method, template, _ := strings.Cut(at, " ")
			for status := range doc.Paths.Value(template).GetOperation(method).Responses.Map() {
				if status != "default" && !j.seen[operation+" "+status] {
					t.Errorf("%s: %s was never answered", operation, status)
				}
			}
		}
	})
}

// read returns the document, which must be valid.
func read(t *testing.T, h http.Handler) *openapi3.T {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, authorized("GET", "/v1/openapi.json"))
	doc, err := openapi3.NewLoader().LoadFromData(w.Body.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(context.Background()); err != nil {
		t.Fatal(err)
	}
	return doc
}

func authorized(method, path string) *http.Request {
	r := httptest.NewRequest(method, path, nil)
	r.Header.Set("Authorization", "Bearer token")
	return r
}

// operations returns the ids of all operations by "METHOD path".
func operations(doc *openapi3.T) map[string]string {
	out := make(map[string]string)
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			out[method+" "+path] = op.OperationID
		}
	}
	return out
}

func mustID(t *testing.T, path string) jobqueue.ID {
	t.Helper()
	id, err := jobqueue.ParseID(regexp.MustCompile(`[^/]*$`).FindString(path))
	if err != nil {
		t.Fatal(err)
	}
	return id
}
