package httpapi_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/memstore"
	"github.com/pollackq/pollack/storage/storagetest"
)

// A safeBuffer may be written to while it is read.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// Threat: Log/metric leaks. All of the API is used, rightly and wrongly, on a store of which every few calls fail in one way or another, with everything
// logged that can be. No credentials, lease tokens, keys, signatures, queries or contents are in the log, and of what is secret nothing is in a refusal.
func TestNoSecretIsLoggedOrToldInARefusal(t *testing.T) {
	const bearer, password, key, content, query = "bearer-secret-1", "password-secret-2", "key-secret-3", "content-secret-4", "query-secret-5"
	var log safeBuffer
	logger := slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug, AddSource: true}))
	faulty := storagetest.Faulty(memstore.New(nil), nil)
	defer faulty.Close()
	b, err := jobqueue.New(faulty, &jobqueue.Options{Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Shutdown(context.Background())
	h, err := httpapi.New(b, &httpapi.Options{Logger: logger, SigningKey: []byte("signing-secret-6"), Authenticate: httpapi.AnyOf(
		httpapi.BearerTokens(map[string]string{bearer: "alice", "house-" + bearer: ""}), httpapi.BasicAuth("api", map[httpapi.Login]string{{User: "bob", Password: password}: "bob"}))})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(h)
	server.Config.ErrorLog = slog.NewLogLogger(logger.Handler(), slog.LevelError)
	server.Start()
	defer server.Close()

	secrets := map[string]bool{bearer: true, password: true, "signing-secret-6": true, base64.StdEncoding.EncodeToString([]byte("bob:" + password)): true}
	private := map[string]bool{key: true, content: true, query: true} // whoever sent them may be told of them, but the log may not
	refusals, failures := 0, 0
	send := func(method, path, body string, headers ...string) *answer {
		req, err := http.NewRequest(method, server.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+bearer)
		for _, line := range headers {
			k, v, _ := strings.Cut(line, ": ")
			req.Header.Set(k, v)
		}
		resp, err := server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var got bytes.Buffer
		got.ReadFrom(resp.Body)
		a := &answer{t, resp.StatusCode, resp.Header, got.String()}
		if a.status >= 400 {
			refusals++
			for s := range secrets {
				if strings.Contains(a.body+fmt.Sprint(a.header), s) {
					t.Errorf("%s %s: the refusal has the secret %q: %v %s", method, path, s, a.header, a.body)
				}
			}
		}
		if a.status >= 500 {
			failures++
		}
		return a
	}
	fault := func(n uint64, kind storagetest.FaultKind) {
		if n == 0 {
			faulty.Set(nil)
		} else {
			faulty.Set(storagetest.Every(n, storagetest.Fault{Kind: kind}))
		}
	}
	const jsonType = "Content-Type: application/json"
	for round, kind := range []storagetest.FaultKind{storagetest.Before, storagetest.After} {
		for _, every := range []uint64{1, 3} {
			fault(0, kind)
			queue := fmt.Sprintf("q-%d-%d", round, every)
			a := send("POST", "/v1/queues/"+queue+"/jobs?name="+query, content, "Content-Type: text/plain", "Idempotency-Key: "+key+queue).want(202)
			p := send("GET", "/v1/queues/"+queue+"/poll?timeout=0", "").want(200)
			id, token := "/v1/jobs/"+a.text("id"), p.text("lease_token")
			secrets[token] = true
			up, err := url.Parse(send("POST", "/v1/uploads", `{"filename": "f"}`, jsonType).want(201).text("put_url"))
			if err != nil {
				t.Fatal(err)
			}
			for _, values := range up.Query() {
				if len(values[0]) > 30 { // the signature
					secrets[values[0]] = true
				}
			}
			wrong := strings.Repeat("ab", 16)
			secrets[wrong] = true

			fault(every, kind)
			for _, e := range endpoints {
				path := strings.ReplaceAll(strings.ReplaceAll(e.path, "/q", "/"+queue), "/v1/jobs/x", id)
				path = strings.Replace(path, "/v1/"+queue+"ueues", "/v1/queues", 1)
				for _, headers := range [][]string{
					{"Lease-Token: " + wrong}, {"Lease-Token: not-" + wrong}, {"Lease-Token: " + token, jsonType}, {"Authorization: Bearer x" + bearer}, {"Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("bob:"+password))},
					{"Authorization: Bearer house-" + bearer}, {"Idempotency-Key: \"" + key}, {"Idempotency-Key: " + key + queue, "Content-Type: text/plain"},
				} {
					for _, body := range []string{"", `{"result": "` + content + `", "code": "c", "message": "` + content + `"}`, `{"lease_token": "` + wrong + `"}`, `{"` + content, content} {
						if e.method == "GET" && body != "" {
							continue
						}
						send(e.method, path+"?timeout=0&max="+query, body, headers...)
						send(e.method, path+"?timeout=0&x="+query, body, headers...)
					}
				}
			}
			send("PUT", up.Path+"?"+up.RawQuery+"0", content)
			send("PUT", up.Path+"?"+up.RawQuery, content)
		}
	}
	if refusals < 100 || failures < 100 {
		t.Errorf("only %d refusals and %d failures: this shows nothing", refusals, failures)
	}
	text := log.String()
	if strings.Count(text, "\n") < 100 {
		t.Errorf("only %d lines were logged: this shows nothing", strings.Count(text, "\n"))
	}
	for _, set := range []map[string]bool{secrets, private} {
		for s := range set {
			if i := strings.Index(text, s); i >= 0 {
				t.Errorf("%q is in the log: ...%s...", s, text[max(0, i-300):min(len(text), i+100)])
			}
		}
	}
	t.Logf("%d refusals, %d failures, %d lines", refusals, failures, strings.Count(text, "\n"))
}
