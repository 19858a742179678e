package httpapi_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/jobqueue"
)

// exact reads a JSON object whose members are all named by one of the names, once each and in that very case: of others encoding/json has rules of
// its own, and we have its.
func exact(body string, names ...string) (map[string]json.RawMessage, bool) {
	var members map[string]json.RawMessage
	if json.Unmarshal([]byte(body), &members) != nil {
		return nil, false
	}
	d := json.NewDecoder(strings.NewReader(body))
	d.Token()
	for n := 0; d.More(); n++ {
		token, _ := d.Token()
		var skipped json.RawMessage
		if name, ok := token.(string); !ok || !slices.Contains(names, name) || d.Decode(&skipped) != nil || n >= len(members) {
			return nil, false
		}
	}
	return members, true
}

// FuzzBodies looks for a JSON body that is answered as if the server had failed, that changes something although it is refused (promise 9), or that
// does something else than what encoding/json finds in it.
func FuzzBodies(f *testing.F) {
	for i := range bodies {
		for _, s := range bodies[i].seeds {
			f.Add(byte(i), s)
		}
		for _, s := range []string{"", " ", "null", "[]", "{", "{}", "\xff", `{"lease_token":"TOKEN"}`, `{"lease_token":1}`, `{"LEASE_TOKEN":"TOKEN"}`} {
			f.Add(byte(i), s)
		}
	}
	f.Fuzz(func(t *testing.T, which byte, body string) {
		b := newBroker(t)
		h, err := httpapi.New(b, &httpapi.Options{Authenticate: tokens})
		if err != nil {
			t.Fatal(err)
		}
		q := b.In("alice").Queue("q")
		if _, err := q.Enqueue(t.Context(), jobqueue.NewJob{Payload: []byte("payload")}); err != nil {
			t.Fatal(err)
		}
		d, err := q.TryReceive(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		e := bodies[int(which)%len(bodies)]
		body = strings.NewReplacer("TOKEN", d.Token.String(), "ID", d.ID.String()).Replace(body)
		r := httptest.NewRequest(e.method, strings.Replace(e.path, "ID", d.ID.String(), 1), strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer alice-token")
		r.Header.Set("Content-Type", "application/json")
		before := snapshot(t, b)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		wantSound(t, w)
		if w.Code >= 400 {
			if after := snapshot(t, b); after != before {
				t.Fatalf("%s %q: answered %d %s, and changed\n%s\nto\n%s", e.path, body, w.Code, w.Body, before, after)
			}
			return
		}
		if trimmed := strings.Trim(body, " \t\r\n"); trimmed != "" && (trimmed[0] != '{' || !json.Valid([]byte(body))) {
			t.Fatalf("%s: %q was taken: %d %s", e.path, body, w.Code, w.Body)
		}
		if members, ok := exact(body, e.members...); ok && e.did != nil {
			after, err := b.Job(t.Context(), d.ID)
			if err != nil {
				t.Fatal(err)
			}
			if e.did(t, b, after, w, members); t.Failed() {
				t.Logf("%s %q: %d %s", e.path, body, w.Code, w.Body)
			}
		}
	})
}

// snapshot shows the queues of a broker and their jobs, but for ages.
func snapshot(t *testing.T, b *jobqueue.Broker) string {
	t.Helper()
	infos, err := b.In("alice").Queues(t.Context(), "", 100)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, info := range infos {
		info.Oldest = 0
		fmt.Fprintf(&out, "%+v\n", *info)
		jobs, _, err := b.In("alice").Queue(info.Name.Name).Jobs(t.Context(), jobqueue.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range jobs {
			text, err := json.Marshal(j)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&out, "%s %v\n", text, j.LeaseExpires)
		}
	}
	return out.String()
}

// wantSound demands that an answer is one that the API may give: no failure of the server, and JSON as it is announced.
func wantSound(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	if w.Code >= 500 {
		t.Fatalf("got %d %s", w.Code, w.Body)
	}
	for name, values := range w.Header() {
		for _, v := range values {
			if strings.ContainsAny(v, "\r\n\x00") {
				t.Fatalf("got %s: %q", name, v)
			}
		}
	}
	kind := w.Header().Get("Content-Type")
	if w.Code >= 400 {
		var p httpapi.Problem
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || kind != "application/problem+json" || p.Status != w.Code || p.Code == "" || p.Detail == "" {
			t.Fatalf("got %d, %s, %s, %v", w.Code, kind, w.Body, err)
		}
	}
	if kind == "application/json" && !json.Valid(w.Body.Bytes()) {
		t.Fatalf("got %d %s, which is no JSON", w.Code, w.Body)
	}
}

// text returns a string of an object, "" if it is not there, and whether it is one.
func text(members map[string]json.RawMessage, name string) (s string) {
	json.Unmarshal(members[name], &s)
	return s
}

func number(members map[string]json.RawMessage, name string) (n float64) {
	json.Unmarshal(members[name], &n)
	return n
}

// content returns what a member and its twin in base64 stand for, nil for nothing.
func content(members map[string]json.RawMessage, name string) []byte {
	if raw, ok := members[name]; ok {
		return bytes.Trim(raw, " \t\r\n")
	}
	if s := members[name+"_base64"]; s != nil && string(s) != "null" {
		p, _ := base64.StdEncoding.DecodeString(text(members, name+"_base64"))
		return append([]byte{}, p...)
	}
	return nil
}

// bodies are the endpoints that take JSON, with what must have come of a body that was taken.
var bodies = []struct {
	method, path string
	seeds        []string
	members      []string
	did          func(t *testing.T, b *jobqueue.Broker, j *jobqueue.Job, w *httptest.ResponseRecorder, in map[string]json.RawMessage)
}{
	{"POST", "/v1/queues/new/jobs",
		[]string{
			`{"payload":{"a":[1,"x"]},"name":"n","priority":-3,"tags":{"a":"b"},"content_type":"application/json"}`, `{"payload":null}`, `{"payload_base64":"AP8="}`,
			`{"delay_seconds":1e9}`, `{"delay_seconds":-1e-9}`, `{"deadline":"2026-01-02T03:04:05.999999999+23:59"}`, `{"payload":1,"content_type":"text/plain"}`,
			`{"priority":1e2}`, `{"priority":32768}`, `{"tags":{"":"x"}}`, `{"payload_base64":"A\nP8="}`, `{"payload":1,"payload_base64":""}`,
		},
		[]string{"payload", "payload_base64", "content_type", "name", "delay_seconds", "priority", "deadline", "tags"},
		func(t *testing.T, b *jobqueue.Broker, _ *jobqueue.Job, w *httptest.ResponseRecorder, in map[string]json.RawMessage) {
			var answer struct{ ID string }
			json.Unmarshal(w.Body.Bytes(), &answer)
			id, err := jobqueue.ParseID(answer.ID)
			if err != nil {
				t.Fatal(err)
			}
			j, err := b.Job(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			if j.Name != text(in, "name") || float64(j.Priority) != number(in, "priority") || in["content_type"] != nil && text(in, "content_type") != "" && j.ContentType != text(in, "content_type") {
				t.Errorf("got %+v", j)
			}
			var tags map[string]string
			if json.Unmarshal(in["tags"], &tags); len(tags) != len(j.Tags) || len(tags) > 0 && !reflect.DeepEqual(tags, j.Tags) {
				t.Errorf("got tags %v", j.Tags)
			}
			if d := number(in, "delay_seconds"); d > 0 && math.Abs(j.RunAt.Sub(j.Created).Seconds()-d) > 1e-5*max(1, d) {
				t.Errorf("got %v, after %v", j.RunAt, j.Created)
			}
			if !j.State.Ended() {
				wantContent(t, b.Payload, j.ID, content(in, "payload"))
			}
		}},
	{"POST", "/v1/jobs/ID/complete",
		[]string{
			`{"lease_token":"TOKEN","result":{"a":"<&>"}}`, `{"lease_token":"TOKEN","result":null}`, `{"lease_token":"TOKEN","result_base64":"AP8=","content_type":"image/png"}`,
			`{"lease_token":"TOKEN","object_key":"ID/x"}`, `{"lease_token":"TOKEN","result":1e999}`, `{"lease_token":"TOKEN","result_base64":"","result":1}`, `{"lease_token":"ffffffffffffffffffffffffffffffff"}`,
		},
		[]string{"lease_token", "result", "result_base64", "content_type", "object_key"},
		func(t *testing.T, b *jobqueue.Broker, j *jobqueue.Job, _ *httptest.ResponseRecorder, in map[string]json.RawMessage) {
			if want := content(in, "result"); j.State != jobqueue.Succeeded || (j.Result != nil) != (want != nil) {
				t.Errorf("got %+v, %+v", j, j.Result)
			} else if want != nil {
				wantContent(t, b.Result, j.ID, want)
			}
		}},
	{"POST", "/v1/jobs/ID/fail",
		[]string{`{"lease_token":"TOKEN","code":"no_space","message":"line\nline"}`, `{"lease_token":"TOKEN","code":"\u0000"}`, `{"lease_token":"TOKEN","message":"\ud800"}`, `{"lease_token":"TOKEN","code":null}`},
		[]string{"lease_token", "code", "message"},
		func(t *testing.T, _ *jobqueue.Broker, j *jobqueue.Job, _ *httptest.ResponseRecorder, in map[string]json.RawMessage) {
			if j.State != jobqueue.Failed || text(in, "code") != "" && (j.Failure == nil || j.Failure.Code != text(in, "code") || j.Failure.Message != text(in, "message")) {
				t.Errorf("got %+v", j.Failure)
			}
		}},
	{"POST", "/v1/jobs/ID/release",
		[]string{`{"lease_token":"TOKEN","delay_seconds":1.5}`, `{"lease_token":"TOKEN","delay_seconds":1e10}`, `{"lease_token":"TOKEN","uncounted":true}`, `{"lease_token":"TOKEN","delay_seconds":-1}`},
		[]string{"lease_token", "delay_seconds", "uncounted"},
		func(t *testing.T, _ *jobqueue.Broker, j *jobqueue.Job, _ *httptest.ResponseRecorder, in map[string]json.RawMessage) {
			var uncounted bool
			json.Unmarshal(in["uncounted"], &uncounted)
			if j.State == jobqueue.Running || uncounted != (j.Deliveries == 0) || number(in, "delay_seconds") >= 1 && j.State != jobqueue.Scheduled {
				t.Errorf("got %+v", j)
			}
		}},
	{"POST", "/v1/jobs/ID/extend",
		[]string{`{"lease_token":"TOKEN","lease_seconds":60}`, `{"lease_token":"TOKEN","lease_seconds":43200}`, `{"lease_token":"TOKEN","lease_seconds":1e-9}`, `{"lease_token":"TOKEN","lease_seconds":1e300}`},
		[]string{"lease_token", "lease_seconds"},
		func(t *testing.T, _ *jobqueue.Broker, j *jobqueue.Job, _ *httptest.ResponseRecorder, in map[string]json.RawMessage) {
			if n, left := number(in, "lease_seconds"), time.Until(j.LeaseExpires).Seconds(); j.State != jobqueue.Running || n > 0 && (left > n || left < n-60) {
				t.Errorf("got %v, %v s left", j.LeaseExpires, left)
			}
		}},
	{"POST", "/v1/jobs/ID/progress",
		[]string{`{"lease_token":"TOKEN","progress":0.5,"message":"half"}`, `{"lease_token":"TOKEN","message":""}`, `{"lease_token":"TOKEN","progress":1.0000001}`, `{"lease_token":"TOKEN","progress":-0}`},
		[]string{"lease_token", "progress", "message"},
		func(t *testing.T, _ *jobqueue.Broker, j *jobqueue.Job, _ *httptest.ResponseRecorder, in map[string]json.RawMessage) {
			if raw := in["progress"]; raw != nil && string(raw) != "null" && (j.Progress == nil || *j.Progress != number(in, "progress")) {
				t.Errorf("got progress %v", j.Progress)
			}
			if raw := in["message"]; raw != nil && string(raw) != "null" && j.ProgressMessage != text(in, "message") {
				t.Errorf("got message %q", j.ProgressMessage)
			}
		}},
	{"POST", "/v1/acks",
		[]string{`{"acks":[{"id":"ID","lease_token":"TOKEN"},{"id":"ID","lease_token":"TOKEN"},{}]}`, `{"acks":[null]}`, `{"acks":null}`, `{"acks":[{"id":"\u0000<","lease_token":"x"}]}`, `{"acks":{}}`},
		[]string{"acks"},
		func(t *testing.T, _ *jobqueue.Broker, _ *jobqueue.Job, w *httptest.ResponseRecorder, in map[string]json.RawMessage) {
			var asked []struct{ ID string }
			var answer struct {
				Results []struct {
					ID, Outcome string
					Error       *httpapi.Problem
				}
			}
			json.Unmarshal(in["acks"], &asked)
			if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || len(answer.Results) != len(asked) {
				t.Fatalf("got %v, %+v for %+v", err, answer, asked)
			}
			for i, r := range answer.Results {
				if r.ID != asked[i].ID || (r.Outcome == "") != (r.Error != nil) || r.Error != nil && r.Error.Status == 500 {
					t.Errorf("got %+v for %+v", r, asked[i])
				}
			}
		}},
	{"POST", "/v1/queues/other/poll?timeout=0",
		[]string{`{"acks":[{"id":"ID","lease_token":"TOKEN"}]}`, `{"acks":[{"id":"x"}]}`, `{"acks":[]}`}, nil, nil},
	{"PUT", "/v1/queues/q",
		[]string{
			`{"lease_seconds":60,"max_deliveries":3,"retention_seconds":3600,"tombstone_seconds":-1,"backlog":10,"tags":{"a":"b"},"status":"paused"}`, `{"lease_seconds":1e-9}`,
			`{"retention_seconds":4294967296}`, `{"backlog":-9223372036854775808}`, `{"max_deliveries":1.5}`, `{"max_deliveries":4294967296}`, `{"lease_seconds":0.1,"retention_seconds":1e-7}`, `{"tags":{"a":null}}`,
		},
		[]string{"lease_seconds", "max_deliveries", "retention_seconds", "tombstone_seconds", "backlog", "tags", "status"},
		func(t *testing.T, b *jobqueue.Broker, _ *jobqueue.Job, w *httptest.ResponseRecorder, in map[string]json.RawMessage) {
			// What it answered has the same effect again.
			h, err := httpapi.New(b, &httpapi.Options{Authenticate: tokens})
			if err != nil {
				t.Fatal(err)
			}
			r := httptest.NewRequest("PUT", "/v1/queues/q", bytes.NewReader(w.Body.Bytes()))
			r.Header.Set("Authorization", "Bearer alice-token")
			again := httptest.NewRecorder()
			if h.ServeHTTP(again, r); again.Code != 200 || withoutAge(again.Body.Bytes()) != withoutAge(w.Body.Bytes()) {
				t.Errorf("what was answered, put again: got %d %s", again.Code, again.Body)
			}
			var out map[string]json.RawMessage
			json.Unmarshal(w.Body.Bytes(), &out)
			for _, name := range []string{"lease_seconds", "max_deliveries", "retention_seconds", "backlog"} {
				if n := number(in, name); n > 0 && math.Abs(number(out, name)-n) > 1e-6*n {
					t.Errorf("%s: got %s", name, out[name])
				}
			}
		}},
	{"POST", "/v1/uploads",
		[]string{`{"filename":"a.txt","content_type":"text/plain","size":3,"expires_seconds":60}`, `{"filename":"../\u0000\ud800/..","size":-1}`, `{"expires_seconds":604800.1}`, `{"size":1e18}`, `{"filename":null,"size":null}`},
		[]string{"filename", "content_type", "size", "expires_seconds"}, nil},
}

func withoutAge(p []byte) string {
	var m map[string]any
	json.Unmarshal(p, &m)
	delete(m, "oldest_age_seconds")
	return fmt.Sprint(m)
}

func wantContent(t *testing.T, open func(context.Context, jobqueue.ID) (*jobqueue.Content, error), id jobqueue.ID, want []byte) {
	t.Helper()
	c, err := open(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(bytes.Trim(got, " \t\r\n"), bytes.Trim(want, " \t\r\n")) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}
