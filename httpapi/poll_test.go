package httpapi_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/jobqueue"
)

func TestPollDeliversWithALease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.enqueue("mail", jobqueue.NewJob{Payload: []byte(`{"a": 1}`), ContentType: "application/json", Name: "x"})
		a := w.do("GET", "/v1/queues/mail/poll", "").want(200)
		a.wantHeader("Lease-Token", a.text("lease_token")).wantHeader("Lease-Expires-In", "300").wantHeader("Delivery-Attempt", "1").wantHeader("Cache-Control", "no-store")
		for k, want := range map[string]any{
			"state": "running", "deliveries": 1.0, "lease_expires_in": 300.0, "lease_expires_at": "2000-01-01T00:05:00Z", "payload.a": 1.0, "payload_base64": nil,
			"started_at": "2000-01-01T00:00:00Z", "name": "x",
		} {
			if got := a.get(k); got != want {
				t.Errorf("%s: got %v, want %v", k, got, want)
			}
		}
	})
}

func TestPollGivesAnyPayloadThatIsSmall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		big := strings.Repeat("x", jobqueue.InlineLimit)
		deep := strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000)
		for _, c := range []struct {
			what, payload, kind, query string
			field                      string // where it is
			want                       any
		}{
			{"text", "hi", "text/plain", "", "payload_base64", "aGk="},
			{"JSON that is none", "{", "application/json", "", "payload_base64", "ew=="},
			{"JSON of another name", "[]", "application/problem+json; charset=utf-8", "", "payload", []any{}},
			{"nothing", "", "", "", "payload_base64", ""},
			{"none wanted", "1", "application/json", "?payload=none", "", nil},
			{"the largest", `"` + big[2:] + `"`, "application/json", "", "payload", big[2:]},
			{"larger", big + "x", "application/json", "", "", nil},
			{"JSON nested too deep", deep, "application/json", "", "payload_base64", base64.StdEncoding.EncodeToString([]byte(deep))},
			{"JSON nested too deep, in a list", deep, "application/json", "?max=2", "payload_base64", base64.StdEncoding.EncodeToString([]byte(deep))},
			{"JSON that is not UTF-8", "\"\xff\"", "application/json", "", "payload_base64", "Iv8i"},
		} {
			w.enqueue("mail", jobqueue.NewJob{Payload: []byte(c.payload), ContentType: c.kind})
			m := w.do("POST", "/v1/queues/mail/poll"+c.query, "").want(200).object()
			if jobs, ok := m["jobs"].([]any); ok {
				m = jobs[0].(map[string]any)
			}
			for _, field := range []string{"payload", "payload_base64"} {
				got, there := m[field]
				if there != (field == c.field) || there && fmt.Sprint(got) != fmt.Sprint(c.want) {
					t.Errorf("%s: got %s %.40v, %v; want it in %q", c.what, field, got, there, c.field)
				}
			}
		}
	})
}

func TestPollDeliversSeveral(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		for range 3 {
			w.enqueue("mail", jobqueue.NewJob{})
		}
		for _, want := range []int{2, 1} {
			a := w.do("GET", "/v1/queues/mail/poll?max=2", "").want(200).wantHeader("Lease-Token", "")
			if jobs, _ := a.get("jobs").([]any); len(jobs) != want {
				t.Errorf("got %s, want %d jobs", a.body, want)
			}
		}
	})
}

func TestPollTakesALeaseOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.enqueue("mail", jobqueue.NewJob{})
		w.do("GET", "/v1/queues/mail/poll?lease=10", "").want(200).wantHeader("Lease-Expires-In", "10")
		time.Sleep(10*time.Second + time.Millisecond)
		w.do("GET", "/v1/queues/mail/poll?timeout=0", "").want(200).wantHeader("Delivery-Attempt", "2").wantHeader("Lease-Expires-In", "300")
	})
}

func TestPollWaitsAsLongAsItIsAskedTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		for _, c := range []struct {
			query, prefer string
			want          time.Duration
			applied       string
		}{
			{"", "", 30 * time.Second, ""},
			{"?timeout=0", "", 0, ""},
			{"?timeout=7", "", 7 * time.Second, ""},
			{"?timeout=31", "", 30 * time.Second, ""},
			{"?timeout=99999999999999999999999", "", 30 * time.Second, ""},
			{"", "Prefer: wait=5", 5 * time.Second, "wait=5"},
			{"", `Prefer: foo, WAIT="6"`, 6 * time.Second, "wait=6"},
			{"", "Prefer: wait=1000", 30 * time.Second, "wait=30"},
			{"", "Prefer: wait=-1", 30 * time.Second, ""},
			{"", "Prefer: wait", 30 * time.Second, ""},
			{"?timeout=2", "Prefer: wait=5", 2 * time.Second, ""},
		} {
			began := time.Now()
			a := w.do("GET", "/v1/queues/mail/poll"+c.query, "", c.prefer).want(204).wantHeader("Preference-Applied", c.applied)
			if d := time.Since(began); d != c.want || a.body != "" {
				t.Errorf("%s %s: got %q after %v, want nothing after %v", c.query, c.prefer, a.body, d, c.want)
			}
		}
	})
}

func TestPollRefusesWhatIsWrong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.enqueue("mail", jobqueue.NewJob{})
		for _, query := range []string{
			"timeout=-1", "timeout=1.5", "timeout=x", "timeout=", "timeout=1&timeout=1", "timeout=+1", "timeout=0x1", "max=0", "max=101", "max=x", "max=1&max=1", "lease=0", "lease=1.5",
			"lease=43201", "payload=all", "payload=none&payload=none",
		} {
			a := w.do("GET", "/v1/queues/mail/poll?"+query, "").wantProblem(400, "invalid_request")
			if name, _, _ := strings.Cut(query, "="); !strings.HasPrefix(a.text("detail"), name) {
				t.Errorf("%s: got %s, want it named", query, a.body)
			}
		}
		if j := w.receive("mail"); j.Deliveries != 1 {
			t.Errorf("got delivery %d, want the first: a refused poll delivers nothing", j.Deliveries)
		}
	})
}

func TestPollAnswersAsSoonAsThereIsAJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		done := later(2*time.Second, func() { w.enqueue("mail", jobqueue.NewJob{}) })
		began := time.Now()
		w.do("GET", "/v1/queues/mail/poll", "").want(200)
		if d := time.Since(began); d != 2*time.Second {
			t.Errorf("got it after %v, want 2s", d)
		}
		<-done
	})
}

// The 5-minute window: an unacknowledged job is hidden from every poll for it, and then comes again, first.
func TestTheWindowOfFiveMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		began := time.Now()
		for _, name := range []string{"0", "1"} {
			w.enqueue("images", jobqueue.NewJob{Name: name})
		}
		first := w.do("GET", "/v1/queues/images/poll?timeout=0", "").want(200)
		second := w.do("GET", "/v1/queues/images/poll?timeout=0", "").want(200)
		if first.get("name") != "0" || second.get("name") != "1" {
			t.Fatalf("got %s and %s, want them in order", first.body, second.body)
		}
		w.do("POST", "/v1/jobs/"+second.text("id")+"/ack", "", "Lease-Token: "+second.text("lease_token")).want(200)
		for time.Since(began) < 5*time.Minute-30*time.Second {
			w.do("GET", "/v1/queues/images/poll?timeout=30", "").want(204)
		}
		time.Sleep(time.Until(began.Add(5*time.Minute - time.Second)))
		again := w.do("GET", "/v1/queues/images/poll?timeout=30", "").want(200).wantHeader("Delivery-Attempt", "2")
		if d := time.Since(began); d != 5*time.Minute {
			t.Errorf("it came back after %v to a poll that waited, want 5m", d)
		}
		if again.get("id") != first.get("id") || again.get("position") != 0.0 || again.get("lapses") != 1.0 {
			t.Errorf("got %s, want the first again", again.body)
		}
		ack := func(a *answer) *answer {
			return w.do("POST", "/v1/jobs/"+a.text("id")+"/ack", "", "Lease-Token: "+a.text("lease_token"))
		}
		if a := ack(first).wantProblem(409, "lease_lost"); a.get("reason") != "redelivered" {
			t.Errorf("the superseded token: got %s", a.body)
		}
		time.Sleep(5*time.Minute + time.Second)
		ack(again).want(200) // late, but not delivered again
		w.do("GET", "/v1/queues/images/poll?timeout=30", "").want(204)
	})
}

func TestPollOfAQueueThatIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.enqueue("mail", jobqueue.NewJob{})
		d := w.receive("mail")
		w.do("POST", "/v1/queues/mail/close", "").want(204)
		w.do("GET", "/v1/queues/mail/poll?timeout=1", "").want(204) // one is still unacknowledged
		done := later(5*time.Second, func() { d.Ack(context.Background()) })
		began := time.Now()
		w.do("GET", "/v1/queues/mail/poll", "").wantProblem(410, "queue_done")
		if d := time.Since(began); d != 5*time.Second {
			t.Errorf("a parked poll was told after %v, want 5s", d)
		}
		<-done
		w.do("POST", "/v1/queues/mail/jobs", "{}").wantProblem(409, "queue_closed")
	})
}

func TestPollOfAnUnknownQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.do("GET", "/v1/queues/nothing/poll?timeout=1", "").want(204)
		w.do("GET", "/v1/queues/nothing", "").wantProblem(404, "not_found")
	})
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &setup{broker: &jobqueue.Options{ExplicitQueues: true}})
		w.do("GET", "/v1/queues/nothing/poll?timeout=1", "").wantProblem(404, "not_found")
	})
}

func TestAHeadOfThePollTakesNoJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &setup{wrap: func(http.Handler) http.Handler { return nil }})
		mux := http.NewServeMux()
		mux.HandleFunc("GET /s/{queue}/poll", w.h.Poll) // serves HEAD too
		w.server.Handler = mux
		w.enqueue("mail", jobqueue.NewJob{})
		w.do("HEAD", "/s/mail/poll", "").want(405).wantHeader("Allow", "GET, POST")
		w.do("GET", "/s/mail/poll", "").want(200).wantHeader("Delivery-Attempt", "1")
	})
}

// A thousand parked polls cost no look at the store; a thousand jobs wake each of them once.
func TestAThousandParkedPolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 1000
		w := newWorld(t, &setup{options: httpapi.Options{MaxWait: 2 * time.Hour}})
		var mu sync.Mutex
		ids := make(map[string]int)
		statuses := make(map[int]int)
		var polls sync.WaitGroup
		for range n {
			polls.Go(func() {
				a, err := w.try(t.Context(), "GET", "/v1/queues/mail/poll?timeout=7200", "")
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
					return
				}
				statuses[a.status]++
				ids[a.text("id")]++
			})
		}
		synctest.Wait()
		before := w.store.Stats()
		time.Sleep(time.Hour)
		synctest.Wait()
		if after := w.store.Stats(); after != before {
			t.Errorf("an idle hour: got %+v after %+v, want no call", after, before)
		}
		for range n {
			w.enqueue("mail", jobqueue.NewJob{})
		}
		polls.Wait()
		if statuses[200] != n || len(ids) != n {
			t.Errorf("got %v and %d different jobs, want 200 for all %d", statuses, len(ids), n)
		}
		after := w.store.Stats()
		t.Logf("%d views and %d updates for %d jobs", after.Views-before.Views, after.Updates-before.Updates, n)
		if after.Updates-before.Updates > 2*n {
			t.Errorf("got %d updates for %d jobs, want 2 for each at most", after.Updates-before.Updates, n)
		}
	})
}

func TestAPollWhoseClientHasGoneTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		for _, method := range []string{"GET", "POST"} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			body := ""
			if method == "POST" {
				body = "{}"
			}
			if _, err := w.try(ctx, method, "/v1/queues/mail/poll", body); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
			cancel()
			synctest.Wait()
			w.enqueue("mail", jobqueue.NewJob{})
			a := w.do("GET", "/v1/queues/mail/poll", "").want(200).wantHeader("Delivery-Attempt", "1")
			w.do("POST", "/v1/jobs/"+a.text("id")+"/ack", "", "Lease-Token: "+a.text("lease_token")).want(200)
		}
	})
}

// brokenWriter is a connection that takes no answer.
type brokenWriter struct {
	http.ResponseWriter
	write, flush error
}

func (b *brokenWriter) Write(p []byte) (int, error) {
	if b.write != nil {
		return 0, b.write
	}
	return b.ResponseWriter.Write(p)
}
func (b *brokenWriter) FlushError() error           { return b.flush }
func (b *brokenWriter) Unwrap() http.ResponseWriter { return b.ResponseWriter }

func TestAnAnswerThatCannotBeWrittenGivesTheJobsBack(t *testing.T) {
	for _, broken := range []brokenWriter{{write: errors.New("broken pipe")}, {flush: errors.New("broken pipe")}} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, &setup{wrap: func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					b := broken
					b.ResponseWriter = w
					h.ServeHTTP(&b, r)
				})
			}})
			for range 2 {
				w.enqueue("mail", jobqueue.NewJob{})
			}
			w.try(t.Context(), "GET", "/v1/queues/mail/poll?max=2", "")
			synctest.Wait()
			for range 2 {
				if d := w.receive("mail"); d.Deliveries != 1 || d.Lapses != 0 {
					t.Errorf("got delivery %d and %d lapses, want 1 and 0", d.Deliveries, d.Lapses)
				}
			}
		})
	}
}

func TestAnAnswerIsNotWrittenForAClientThatHasGone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	h, b := newHandler(t, httpapi.Options{ShapePolled: func(*http.Request, *jobqueue.Delivery) (any, error) {
		cancel() // just now
		return "too late", nil
	}})
	if _, err := b.Queue("q").Enqueue(t.Context(), jobqueue.NewJob{}); err != nil {
		t.Fatal(err)
	}
	rec := httptest.NewRecorder() // takes anything, as a socket does whose other end has just closed
	h.ServeHTTP(rec, httptest.NewRequest("GET", "/v1/queues/q/poll", nil).WithContext(ctx))
	if d, err := b.Queue("q").TryReceive(t.Context(), nil); err != nil || d.Deliveries != 1 || rec.Code != 499 {
		t.Errorf("got %+v, %v and the answer %d %q; want the job back", d, err, rec.Code, rec.Body)
	}
}

func TestAShapeThatFailsGivesTheJobBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &setup{options: httpapi.Options{ShapePolled: func(r *http.Request, d *jobqueue.Delivery) (any, error) {
			if r.URL.Query().Has("panic") {
				panic(http.ErrAbortHandler)
			}
			return nil, &httpapi.Problem{Status: 418, Code: "teapot"}
		}}})
		w.enqueue("mail", jobqueue.NewJob{})
		w.do("GET", "/v1/queues/mail/poll", "").want(418).wantHeader("Lease-Token", "")
		w.try(t.Context(), "GET", "/v1/queues/mail/poll?panic", "")
		synctest.Wait()
		if d := w.receive("mail"); d.Deliveries != 1 {
			t.Errorf("got delivery %d, want 1", d.Deliveries)
		}
	})
}
