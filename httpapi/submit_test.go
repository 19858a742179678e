package httpapi_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/jobqueue"
)

func TestSubmitAnswersTheJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		a := w.do("POST", "/v1/queues/mail/jobs", `{"payload":{"to":"bob"},"name":"hello","priority":3,"tags":{"a":"b"},"ignored":1}`).want(202)
		id := a.text("id")
		a.wantHeader("Location", "/v1/jobs/"+id).wantHeader("Retry-After", "2").wantHeader("Idempotent-Replayed", "").wantHeader("Content-Type", "application/json")
		for k, want := range map[string]any{
			"state": "pending", "queue": "mail", "account": "alice", "name": "hello", "priority": 3.0, "position": 0.0, "content_type": "application/json",
			"size": 12.0, "tags.a": "b", "deliveries": 0.0, "progress": nil, "failure": nil, "started_at": nil,
		} {
			if got := a.get(k); got != want {
				t.Errorf("%s: got %v, want %v", k, got, want)
			}
		}
		p, err := w.receive("mail").Payload(t.Context())
		if string(p) != `{"to":"bob"}` || err != nil {
			t.Errorf("got payload %s, %v", p, err)
		}
	})
}

func TestSubmitTakesAnyOtherTypeAsThePayload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		a := w.do("POST", "/v1/queues/mail/jobs?name=p.png&delay=60&priority=-2&tag.user=u1&tag.=x&deadline=2100-01-01T00:00:00Z", "\x89PNG", "Content-Type: image/png")
		a.wantProblem(400, "invalid_request") // a tag without a name
		a = w.do("POST", "/v1/queues/mail/jobs?name=p.png&delay=60&priority=-2&tag.user=u1&deadline=2100-01-01T00:00:00Z", "\x89PNG", "Content-Type: image/png").want(202)
		for k, want := range map[string]any{
			"state": "scheduled", "name": "p.png", "priority": -2.0, "content_type": "image/png", "size": 4.0, "tags.user": "u1", "run_at": "2000-01-01T00:01:00Z",
		} {
			if got := a.get(k); got != want {
				t.Errorf("%s: got %v, want %v", k, got, want)
			}
		}
		a = w.do("POST", "/v1/queues/mail/jobs", "").want(202)
		if a.get("content_type") != "application/octet-stream" || a.get("size") != 0.0 {
			t.Errorf("a submit without body and type: got %s", a.body)
		}
		a = w.do("POST", "/v1/queues/mail/jobs?content_type=application/json", "[1]", "Content-Type: text/plain").want(202)
		if a.get("content_type") != "application/json" {
			t.Errorf("content_type in the query: got %s", a.body)
		}
	})
}

func TestSubmitRefusesWhatIsWrong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &setup{options: httpapi.Options{MaxBody: 1000}, broker: &jobqueue.Options{MaxPayload: 100}})
		for _, c := range []struct {
			what, path, body string
			header           string
			status           int
			detail           string
		}{
			{"malformed JSON", "", `{"payload":`, "", 400, "JSON"},
			{"trailing garbage", "", `{"payload":1} x`, "", 400, "JSON"},
			{"two objects", "", `{}{}`, "", 400, "JSON"},
			{"no object", "", `[1]`, "Content-Type: application/json", 400, "object"},
			{"null", "", `null`, "Content-Type: application/json; charset=utf-8", 400, "object"},
			{"a wrong type", "", `{"priority":"high"}`, "", 400, "priority"},
			{"a fractional priority", "", `{"priority":1.5}`, "", 400, "priority"},
			{"a priority out of bounds", "", `{"priority":40000}`, "", 400, "priority"},
			{"payload and payload_base64", "", `{"payload":1,"payload_base64":""}`, "", 400, "payload"},
			{"bad base64", "", `{"payload_base64":"%"}`, "", 400, "payload_base64"},
			{"JSON that is said to be none", "", `{"payload":1,"content_type":"text/plain"}`, "", 400, "content_type"},
			{"a negative delay", "", `{"delay_seconds":-1}`, "", 400, "delay"},
			{"a delay out of all bounds", "", `{"delay_seconds":1e300}`, "", 400, "delay"},
			{"a malformed deadline", "", `{"deadline":"tomorrow"}`, "", 400, "deadline: \"tomorrow\" is not a time of RFC 3339"},
			{"a deadline that is no text", "", `{"deadline":1}`, "", 400, "deadline: cannot be a number"},
			{"an envelope that is not UTF-8", "", "{\"name\":\"\xff\"}", "", 400, "UTF-8"},
			{"a payload in JSON that is not UTF-8", "", "{\"payload\":\"\xff\"}", "", 400, "UTF-8"},
			{"an envelope and a name beside it", "?name=n", `{}`, "", 400, "name: belongs into the JSON body, as name"},
			{"an envelope and a delay beside it", "?delay=1", `{}`, "", 400, "delay: belongs into the JSON body, as delay_seconds"},
			{"an envelope and a priority beside it", "?priority=1", `{}`, "", 400, "priority: belongs into the JSON body"},
			{"an envelope and a deadline beside it", "?deadline=x", `{}`, "", 400, "deadline: belongs into the JSON body"},
			{"an envelope and a type beside it", "?content_type=application/json", `{}`, "", 400, "content_type: belongs into the JSON body"},
			{"an envelope and a tag beside it", "?tag.a=1", `{}`, "", 400, "tag.a: belongs into the JSON body, as tags"},
			{"an envelope and a malformed query", "?tag.a=%zz", `{}`, "", 400, "query"},
			{"a deadline that has passed", "", `{"deadline":"1999-01-01T00:00:00Z"}`, "", 400, "deadline"},
			{"a control character in the name", "", `{"name":"a\u0000"}`, "", 400, "name"},
			{"a name too long", "", `{"name":"` + strings.Repeat("a", 256) + `"}`, "", 400, "name"},
			{"a parameter twice", "?delay=1&delay=1", "x", "Content-Type: text/plain", 400, "delay"},
			{"a tag twice", "?tag.a=1&tag.a=1", "x", "Content-Type: text/plain", 400, "tag.a"},
			{"a malformed query", "?a;b", "x", "Content-Type: text/plain", 400, "query"},
			{"a malformed escape", "?name=%zz", "x", "Content-Type: text/plain", 400, "query"},
			{"a delay that is no number", "?delay=1.5", "x", "Content-Type: text/plain", 400, "delay"},
			{"a media type that is none", "", "x", "Content-Type: ;;", 400, "Content-Type"},
			{"an empty key", "", `{}`, `Idempotency-Key: ""`, 400, "Idempotency-Key"},
			{"a key with one quote", "", `{}`, `Idempotency-Key: "a`, 400, "Idempotency-Key"},
			{"a JSON body over the limit", "", `{"name":"` + strings.Repeat("a", 1000) + `"}`, "", 413, "large"},
			{"a payload over the limit", "", strings.Repeat("a", 101), "Content-Type: text/plain", 413, "large"},
			{"a payload in JSON over the limit", "", `{"payload":"` + strings.Repeat("a", 101) + `"}`, "", 413, "large"},
		} {
			var headers []string
			if c.header != "" {
				headers = append(headers, c.header)
			}
			a := w.do("POST", "/v1/queues/mail/jobs"+c.path, c.body, headers...)
			if a.status != c.status || !strings.Contains(a.text("detail"), c.detail) {
				t.Errorf("%s: got %d %s, want %d and a detail with %q", c.what, a.status, a.body, c.status, c.detail)
			}
		}
		w.do("GET", "/v1/queues/mail", "").wantProblem(404, "not_found") // nothing has been enqueued
		w.do("POST", "/v1/queues/mail/jobs?unknown=1", `{"deadline":null}`).want(202)
	})
}

// unsized hides its length, so that net/http sends it in chunks.
type unsized struct{ *strings.Reader }

func TestAPayloadOfUnknownLengthIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &setup{broker: &jobqueue.Options{MaxPayload: 100}})
		for n, want := range map[int]int{100: 202, 101: 413} {
			req, _ := http.NewRequest("POST", "http://test/v1/queues/mail/jobs", unsized{strings.NewReader(strings.Repeat("a", n))})
			req.Header.Set("Authorization", "Bearer alice-token")
			resp, err := w.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != want || !resp.Close {
				t.Errorf("%d bytes: got %d, close %v; want %d, true: a chunked request ends its connection", n, resp.StatusCode, resp.Close, want)
			}
		}
	})
}

func TestAKeyNamesOneJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		submit := func(body, key string) *answer {
			return w.do("POST", "/v1/queues/mail/jobs", body, "Idempotency-Key: "+key)
		}
		first := submit(`{"payload":1}`, "order-1").want(202)
		again := submit(`{"payload":1}`, `"order-1"`).want(202).wantHeader("Idempotent-Replayed", "true")
		if again.text("id") != first.text("id") || again.header.Get("Location") != first.header.Get("Location") {
			t.Errorf("got %s, want the job %s", again.body, first.body)
		}
		submit(`{"payload":2}`, "order-1").wantProblem(422, "idempotency_key_reused")
		d := w.receive("mail")
		if err := d.Ack(t.Context()); err != nil {
			t.Fatal(err)
		}
		if a := submit(`{"payload":1}`, "order-1").want(202).wantHeader("Idempotent-Replayed", "true").wantHeader("Retry-After", ""); a.get("state") != "succeeded" {
			t.Errorf("after the ack: got %s", a.body)
		}
		w.do("POST", "/v1/queues/mail/jobs", `{"payload":1}`, "Idempotency-Key: order-1", "Prefer: wait=9").want(200).wantHeader("Idempotent-Replayed", "true")
		time.Sleep(25 * time.Hour)
		if a := submit(`{"payload":1}`, "order-1").want(202).wantHeader("Idempotent-Replayed", "true").wantHeader("Retry-After", ""); a.get("state") != "gone" || a.get("id") != first.get("id") {
			t.Errorf("after the retention: got %s", a.body)
		}
	})
}

func TestSubmitThatPrefersToWaitSeesTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		done := later(3*time.Second, func() {
			d := w.receive("mail")
			d.Complete(context.Background(), jobqueue.NewResult{ContentType: "application/json", Data: []byte(`{"sum":3}`)})
		})
		began := time.Now()
		a := w.do("POST", "/v1/queues/mail/jobs", `{}`, "Prefer: respond-async, wait=10; x=y").want(200)
		if a.get("result.sum") != 3.0 || a.get("state") != "succeeded" || time.Since(began) != 3*time.Second {
			t.Errorf("got %s after %v, want the result after 3s", a.body, time.Since(began))
		}
		a.wantHeader("Preference-Applied", "wait=10").wantHeader("Retry-After", "")
		<-done

		began = time.Now()
		a = w.do("POST", "/v1/queues/mail/jobs", `{}`, "Prefer: wait=100").want(202).wantHeader("Preference-Applied", "wait=30").wantHeader("Retry-After", "2")
		if a.get("state") != "pending" || time.Since(began) != 30*time.Second {
			t.Errorf("got %s after %v, want it pending after 30s", a.body, time.Since(began))
		}
	})
}

func TestAdmissionRefusesWithItsOwnStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &setup{broker: &jobqueue.Options{Admit: func(_ context.Context, j *jobqueue.Job) error {
			if j.Name == "poor" {
				return &httpapi.Problem{Status: 402, Code: "insufficient_balance"}
			}
			return context.DeadlineExceeded // any error
		}}})
		w.do("POST", "/v1/queues/mail/jobs", `{"name":"poor"}`).wantProblem(402, "insufficient_balance")
		w.do("POST", "/v1/queues/mail/jobs", `{}`).wantProblem(403, "refused")
	})
}

func TestSubmitFuncIsAuthorizedForTheQueueItNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &setup{options: httpapi.Options{Authorize: func(_ *http.Request, _ string, a httpapi.Action, queue string) error {
			if a == httpapi.ActionSubmit && queue == "images" {
				return nil
			}
			return context.Canceled // any error
		}}})
		for queue, want := range map[string]int{"images": 202, "others": 403} {
			submit := w.h.SubmitFunc(func(_ *http.Request, b *jobqueue.Broker) (*jobqueue.Queue, jobqueue.NewJob, error) {
				return b.Queue(queue), jobqueue.NewJob{}, nil
			})
			for token, want := range map[string]int{"alice-token": want, "none": 401} {
				r := httptest.NewRequest("POST", "/generate", nil)
				r.Header.Set("Authorization", "Bearer "+token)
				rec := httptest.NewRecorder()
				if submit(rec, r); rec.Code != want {
					t.Errorf("%s, %s: got %d %s, want %d", queue, token, rec.Code, rec.Body, want)
				}
			}
		}
	})
}

func TestSubmitFuncReadsAnotherForm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		submit := w.h.SubmitFunc(func(r *http.Request, b *jobqueue.Broker) (*jobqueue.Queue, jobqueue.NewJob, error) {
			if r.FormValue("prompt") == "" {
				return nil, jobqueue.NewJob{}, &httpapi.Problem{Status: 422, Code: "no_prompt"}
			}
			account, scoped := b.Account()
			return b.Queue("images"), jobqueue.NewJob{Payload: []byte(r.FormValue("prompt")), Name: account, Once: scoped}, nil
		})
		for form, want := range map[string]int{"prompt=cat": 202, "": 422} {
			r := httptest.NewRequest("POST", "/generate", strings.NewReader(form))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("Authorization", "Bearer alice-token")
			rec := httptest.NewRecorder()
			submit(rec, r)
			if rec.Code != want {
				t.Errorf("%q: got %d %s, want %d", form, rec.Code, rec.Body, want)
			}
		}
		if d := w.receive("images"); d.Name != "alice" {
			t.Errorf("got account %q, want alice", d.Name)
		}
	})
}

func TestSubmitFuncPutsJobsOfAccountsIntoAQueueOfTheHouse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &setup{options: httpapi.Options{Authenticate: tokens, House: true, Authorize: func(_ *http.Request, _ string, _ httpapi.Action, queue string) error {
			if queue == "pool" {
				return nil
			}
			return context.Canceled
		}}})
		account := ""
		mux := http.NewServeMux()
		mux.Handle("POST /generate", w.h.SubmitFunc(func(r *http.Request, b *jobqueue.Broker) (*jobqueue.Queue, jobqueue.NewJob, error) {
			return w.broker.Queue("pool"), jobqueue.NewJob{Account: account}, nil
		}))
		mux.Handle("/", w.h)
		submit := func(token, key string) *answer {
			r := httptest.NewRequest("POST", "/generate", nil)
			r.Header.Set("Authorization", "Bearer "+token)
			r.Header.Set("Idempotency-Key", key)
			rec := httptest.NewRecorder()
			mux.ServeHTTP(rec, r)
			return &answer{t, rec.Code, rec.Header(), rec.Body.String()}
		}
		a := submit("alice-token", "1").want(202)
		if a.text("account") != "alice" || a.text("queue") != "pool" {
			t.Errorf("got %s, want alice's in the pool", a.body)
		}
		w.do("GET", a.header.Get("Location"), "").want(200)
		w.do("GET", a.header.Get("Location"), "", "Authorization: Bearer bob-token").wantProblem(404, "not_found")
		if b := submit("bob-token", "1").want(202); b.text("id") == a.text("id") || b.header.Get("Idempotent-Replayed") != "" { // a key is an account's own
			t.Errorf("got %s, want bob's own", b.body)
		}
		submit("alice-token", "1").want(202).wantHeader("Idempotent-Replayed", "true")
		if c := submit("house-token", "1").want(202); c.text("account") != "" {
			t.Errorf("got %s, want the house's", c.body)
		}
		account = "carol" // whom the server chooses
		if d := submit("alice-token", "2").want(202); d.text("account") != "carol" {
			t.Errorf("got %s, want carol's", d.body)
		}
		if info, err := w.broker.Queue("pool").Info(t.Context()); err != nil || info.Next != 4 {
			t.Errorf("got %+v, %v; want four jobs", info, err)
		}
	})
}

func TestABodyThatIsTooLargeForAReaderOfTheUsersIsSaidSo(t *testing.T) {
	h, _ := newHandler(t, httpapi.Options{})
	submit := h.SubmitFunc(func(r *http.Request, b *jobqueue.Broker) (*jobqueue.Queue, jobqueue.NewJob, error) {
		return b.Queue("q"), jobqueue.NewJob{Body: http.MaxBytesReader(nil, r.Body, 3)}, nil
	})
	w := serve(submit, "POST", "/", "four")
	(&answer{t, w.Code, w.Header(), w.Body.String()}).wantProblem(413, "too_large")
}
