package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/memstore"
)

// acksOf is the body of a poll that acks deliveries.
func acksOf(held ...*jobqueue.Delivery) string {
	var acks []string
	for _, d := range held {
		acks = append(acks, fmt.Sprintf(`{"id":%q,"lease_token":%q}`, d.ID, d.Token))
	}
	return `{"acks":[` + strings.Join(acks, ",") + `]}`
}

// take enqueues jobs of alice's and receives them.
func (w *world) take(queue string, n int) []*jobqueue.Delivery {
	w.t.Helper()
	held := make([]*jobqueue.Delivery, n)
	for i := range held {
		w.enqueue(queue, jobqueue.NewJob{})
		held[i] = w.receive(queue)
	}
	return held
}

// wantState fails the test unless the job is in that state.
func (w *world) wantState(what string, id jobqueue.ID, want jobqueue.State) {
	w.t.Helper()
	if j, err := w.broker.Job(context.Background(), id); err != nil || j.State != want {
		w.t.Errorf("%s: got %+v, %v; want it %v", what, j, err, want)
	}
}

// wantAcked fails the test unless the answer is 200 with those outcomes (or codes of errors), that many jobs, and the code of an error, "" for none.
func (a *answer) wantAcked(outcomes string, jobs int, code string) *answer {
	a.t.Helper()
	var body struct {
		Acks []struct {
			ID, Outcome string
			Error       *httpapi.Problem
		}
		Jobs  []json.RawMessage
		Error *httpapi.Problem
	}
	if err := json.Unmarshal([]byte(a.want(200).body), &body); err != nil || body.Acks == nil || body.Jobs == nil {
		a.t.Fatalf("got %s, %v", a.body, err)
	}
	var got []string
	for _, one := range body.Acks {
		if one.Error != nil {
			one.Outcome += one.Error.Code
		}
		got = append(got, one.Outcome)
	}
	if strings.Join(got, " ") != outcomes || len(body.Jobs) != jobs {
		a.t.Errorf("got %s, want %q and %d jobs", a.body, outcomes, jobs)
	}
	if body.Error == nil && code != "" || body.Error != nil && (body.Error.Code != code || body.Error.Title != http.StatusText(body.Error.Status)) {
		a.t.Errorf("got %s, want the error %q", a.body, code)
	}
	return a
}

func TestAPollAcksAndTakesTheNextInOneTransaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		held := append(w.take("mail", 2), w.take("other", 1)...)
		for _, name := range []string{"a", "b", "c"} {
			w.enqueue("mail", jobqueue.NewJob{Name: name, Payload: []byte("1"), ContentType: "application/json"})
		}
		synctest.Wait()
		before := w.store.Stats()
		a := w.do("POST", "/v1/queues/mail/poll?max=2&lease=10", acksOf(held...)).wantAcked("acked acked acked", 2, "").wantHeader("Lease-Token", "")
		if after := w.store.Stats(); after.Updates != before.Updates+1 || after.Views != before.Views {
			t.Errorf("got %+v after %+v, want one transaction", after, before)
		}
		if ids := fmt.Sprintf(`{"acks":[{"id":%q,"outcome":"acked"},{"id":%q,`, held[0].ID, held[1].ID); !strings.HasPrefix(a.body, ids) {
			t.Errorf("got %s, want it to begin %s", a.body, ids)
		}
		first := a.get("jobs").([]any)[0].(map[string]any)
		if first["name"] != "a" || first["payload"] != 1.0 || first["lease_expires_in"] != 10.0 || len(first["lease_token"].(string)) != 32 {
			t.Errorf("got %v, want a polled job", first)
		}
		for _, d := range held {
			w.wantState("an acked job", d.ID, jobqueue.Succeeded)
		}
		a = w.do("POST", "/v1/queues/mail/poll?payload=none", acksOf(held...)).wantAcked("already_acked already_acked already_acked", 1, "")
		if job := a.get("jobs").([]any)[0].(map[string]any); job["name"] != "c" || job["payload"] != nil {
			t.Errorf("got %v, want c without its payload", job)
		}
	})
}

func TestAPollWithAcksWaitsLikeAnyOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		for _, c := range []struct {
			query string
			job   time.Duration // when one comes
			want  time.Duration
			jobs  int
		}{{"", time.Hour, 30 * time.Second, 0}, {"?timeout=5", time.Hour, 5 * time.Second, 0}, {"?timeout=0", time.Hour, 0, 0}, {"", 3 * time.Second, 3 * time.Second, 1}} {
			held := w.take("mail", 1)
			enqueue := time.AfterFunc(c.job, func() { w.enqueue("mail", jobqueue.NewJob{}) })
			began := time.Now()
			time.AfterFunc(time.Second, func() {
				if c.want > 0 {
					w.wantState("while the poll waits", held[0].ID, jobqueue.Succeeded)
				}
			})
			w.do("POST", "/v1/queues/mail/poll"+c.query, acksOf(held...)).wantAcked("acked", c.jobs, "")
			if d := time.Since(began); d != c.want {
				t.Errorf("%s: answered after %v, want %v", c.query, d, c.want)
			}
			enqueue.Stop()
			time.Sleep(time.Second)
		}
	})
}

func TestARefusedAckLeavesTheOthersButTakesNoJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &setup{options: httpapi.Options{Authorize: func(r *http.Request, account string, a httpapi.Action, queue string) error {
			if a == httpapi.ActionSettle && queue == "secret" || a == httpapi.ActionReceive && queue == "closed to alice" {
				return http.ErrNoCookie
			}
			return nil
		}}})
		foreign, err := w.broker.In("bob").Queue("mail").Enqueue(t.Context(), jobqueue.NewJob{})
		if err != nil {
			t.Fatal(err)
		}
		secret, lost := w.take("secret", 1)[0], w.take("mail", 1)[0]
		lost.Token[0]++
		w.enqueue("mail", jobqueue.NewJob{})
		for _, c := range []struct{ bad, want string }{
			{fmt.Sprintf(`{"id":%q,"lease_token":%q}`, lost.ID, lost.Token), "lease_lost"},
			{fmt.Sprintf(`{"id":%q,"lease_token":%q}`, foreign.ID, lost.Token), "not_found"},
			{fmt.Sprintf(`{"id":%q,"lease_token":%q}`, secret.ID, secret.Token), "forbidden"},
			{fmt.Sprintf(`{"id":"x","lease_token":%q}`, lost.Token), "not_found"},
			{fmt.Sprintf(`{"id":%q,"lease_token":"x"}`, lost.ID), "invalid_request"},
			{fmt.Sprintf(`{"id":%q}`, lost.ID), "invalid_request"},
			{`{}`, "not_found"},
		} {
			good := w.take("second", 1)
			body := strings.Replace(acksOf(good...), `[`, `[`+c.bad+`,`, 1)
			began := time.Now()
			w.do("POST", "/v1/queues/mail/poll", body).wantAcked(c.want+" acked", 0, "")
			w.do("POST", "/v1/queues/empty/poll", body).wantAcked(c.want+" already_acked", 0, "")
			if time.Since(began) != 0 {
				t.Errorf("%s: answered after %v, want at once", c.bad, time.Since(began))
			}
			w.do("POST", "/v1/queues/mail/poll", `{"acks":[`+c.bad+`]}`).wantAcked(c.want, 0, "")
			w.wantState("beside "+c.want, good[0].ID, jobqueue.Succeeded)
			w.do("POST", "/v1/queues/closed%20to%20alice/poll", acksOf(w.take("second", 1)...)).wantProblem(403, "forbidden")
		}
		if n := w.broker.Stats().Succeeded; n != 7 {
			t.Errorf("got %d acked jobs, want 7: a poll that is forbidden acks nothing", n)
		}
		w.do("POST", "/v1/queues/mail/poll?timeout=0", acksOf(secret)).wantAcked("forbidden", 0, "")
		if d := w.receive("mail"); d.Deliveries != 1 {
			t.Errorf("got delivery %d, want the first", d.Deliveries)
		}
	})
}

func TestAPollThatIsRefusedAcksNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &setup{options: httpapi.Options{MaxPolls: 1}, broker: &jobqueue.Options{ExplicitQueues: true}})
		w.do("PUT", "/v1/queues/mail", "{}").want(201)
		held := w.take("mail", 1)
		many := `{"acks":[` + strings.Repeat(`{},`, httpapi.MaxPollJobs) + `{}]}`
		for _, c := range []struct {
			path, body string
			status     int
			code       string
			named      string // what the detail begins with
		}{
			{"/v1/queues/unknown/poll", acksOf(held...), 404, "not_found", ""},
			{"/v1/queues/mail/poll?max=101", acksOf(held...), 400, "invalid_request", "max:"},
			{"/v1/queues/mail/poll?lease=43201", acksOf(held...), 400, "invalid_request", "lease:"},
			{"/v1/queues/mail/poll", many, 400, "invalid_request", "acks: there are 101"},
			{"/v1/queues/mail/poll", `{"acks":1}`, 400, "invalid_request", "acks:"},
			{"/v1/queues/mail/poll", `{"acks":[1]}`, 400, "invalid_request", "acks:"},
			{"/v1/queues/mail/poll", `[]`, 400, "invalid_request", "the body"},
			{"/v1/queues/mail/poll", `{"acks":`, 400, "invalid_request", "the body"},
		} {
			if a := w.do("POST", c.path, c.body).wantProblem(c.status, c.code); !strings.HasPrefix(a.text("detail"), c.named) {
				t.Errorf("%s with %.40s: got %s", c.path, c.body, a.body)
			}
		}
		parked := make(chan struct{})
		go func() {
			w.try(t.Context(), "GET", "/v1/queues/mail/poll", "")
			close(parked)
		}()
		synctest.Wait()
		w.do("POST", "/v1/queues/mail/poll", acksOf(held...)).wantProblem(429, "too_many_polls").wantHeader("Retry-After", "2")
		w.wantState("after refused polls", held[0].ID, jobqueue.Running)
		w.do("POST", "/v1/queues/mail/poll?timeout=0", acksOf(held...)).wantAcked("acked", 0, "") // it would not wait
		<-parked
		for range 3 { // its place is free again
			w.do("POST", "/v1/queues/mail/poll?timeout=1", acksOf(held...)).wantAcked("already_acked", 0, "")
		}
	})
}

func TestAListOfNoAcksIsAnsweredLikeOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.enqueue("mail", jobqueue.NewJob{})
		w.do("POST", "/v1/queues/mail/poll", `{"acks":[]}`).wantAcked("", 1, "")
		w.do("POST", "/v1/queues/mail/poll?timeout=1", `{"acks":[]}`).wantAcked("", 0, "")
		w.do("POST", "/v1/queues/mail/poll?timeout=1", `{"acks":null}`).want(204)
		w.do("POST", "/v1/queues/mail/poll?timeout=1", `{"other":1}`).want(204)
		w.do("GET", "/v1/queues/mail/poll?timeout=1", `{"acks":[]}`).want(204)
		w.take("over", 1)[0].Ack(t.Context())
		w.do("POST", "/v1/queues/over/close", "").want(204)
		w.do("POST", "/v1/queues/over/poll", `{"acks":[]}`).wantProblem(410, "queue_done")
	})
}

func TestAPollWithAcksIsToldThatTheQueueIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		held := w.take("mail", 2)
		w.do("POST", "/v1/queues/mail/close", "").want(204)
		done := later(5*time.Second, func() { held[1].Ack(context.Background()) })
		began := time.Now()
		w.do("POST", "/v1/queues/mail/poll", acksOf(held[0])).wantAcked("acked", 0, "queue_done")
		if d := time.Since(began); d != 5*time.Second {
			t.Errorf("a parked poll was told after %v, want 5s", d)
		}
		<-done
		w.do("POST", "/v1/queues/mail/poll", acksOf(held...)).wantAcked("already_acked already_acked", 0, "queue_done")
	})
}

func TestAcksAreTakenWhileAServerShutsDown(t *testing.T) {
	for _, end := range []string{"Drain", "Shutdown"} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, nil)
			held := w.take("mail", 3)
			// A worker that goes on keeps the shutdown from ending.
			w.enqueue("work", jobqueue.NewJob{})
			go w.queue("work").Consume(context.Background(), func(context.Context, *jobqueue.Delivery) error {
				time.Sleep(time.Minute)
				return nil
			}, &jobqueue.ConsumeOptions{Grace: time.Hour})
			over := make(chan struct{})
			time.AfterFunc(time.Second, func() {
				if end == "Drain" {
					w.h.Drain()
				} else {
					w.broker.Shutdown(context.Background())
				}
				close(over)
			})
			began := time.Now()
			w.do("POST", "/v1/queues/mail/poll", acksOf(held[0])).wantAcked("acked", 0, "")
			if d := time.Since(began); d != time.Second {
				t.Errorf("%s: a parked poll was answered after %v, want 1s", end, d)
			}
			w.enqueueIfOpen("mail", end == "Drain")
			w.do("POST", "/v1/queues/mail/poll", acksOf(held[1])).wantAcked("acked", 0, "shutting_down").wantHeader("Retry-After", "2")
			w.do("POST", "/v1/queues/mail/poll", `{"acks":[]}`).wantProblem(503, "shutting_down")
			<-over
			time.Sleep(time.Hour)
			a := w.do("POST", "/v1/queues/mail/poll?timeout=0", acksOf(held[2]))
			if end == "Drain" {
				a.wantAcked("acked", 0, "shutting_down")
				return
			}
			a.wantProblem(503, "shutting_down")
			w.do("POST", "/v1/queues/mail/poll?timeout=0", `{"acks":[{"id":"x"}]}`).wantAcked("not_found", 0, "") // as with /v1/acks
		})
	}
}

// enqueueIfOpen has a job wait where a shutdown still lets one in.
func (w *world) enqueueIfOpen(queue string, open bool) {
	if open {
		w.enqueue(queue, jobqueue.NewJob{})
	}
}

func TestJobsThatComeWithAcksGoBackIfNobodyTakesThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		defer func() {
			if log.Len() > 0 {
				t.Errorf("a client that has gone is told of: %s", log.String())
			}
		}()
		w := newWorld(t, &setup{options: httpapi.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}})
		held := w.take("mail", 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := w.try(ctx, "POST", "/v1/queues/mail/poll", acksOf(held...)); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		synctest.Wait()
		w.enqueue("mail", jobqueue.NewJob{})
		if d := w.receive("mail"); d.Deliveries != 1 {
			t.Errorf("a poll whose client has gone: got delivery %d, want the first", d.Deliveries)
		}
		w.wantState("acked by a client that has gone", held[0].ID, jobqueue.Succeeded)
	})
	for _, broken := range []brokenWriter{{write: errors.New("reset")}, {flush: errors.New("reset")}} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, &setup{options: httpapi.Options{Authenticate: func(*http.Request) (string, error) { return "alice", nil }}})
			held := w.take("mail", 1)
			w.enqueue("mail", jobqueue.NewJob{})
			broken.ResponseWriter = httptest.NewRecorder()
			w.h.ServeHTTP(&broken, httptest.NewRequest("POST", "/v1/queues/mail/poll", strings.NewReader(acksOf(held...))))
			if d := w.receive("mail"); d.Deliveries != 1 {
				t.Errorf("got delivery %d, want the first", d.Deliveries)
			}
			w.wantState("acked by an answer that was not taken", held[0].ID, jobqueue.Succeeded)
		})
	}
}

func TestOptionsShapeWhatAPollWithAcksAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &setup{options: httpapi.Options{
			IDPrefix: "img_", AnyToken: true, AckStatus: 204,
			ShapePolled: func(r *http.Request, d *jobqueue.Delivery) (any, error) {
				if d.Name == "bad" {
					return nil, &httpapi.Problem{Status: 418, Code: "teapot"}
				}
				return map[string]string{"image": d.Name}, nil
			},
			WriteError: func(w http.ResponseWriter, r *http.Request, p *httpapi.Problem) { w.WriteHeader(499) },
		}, wrap: func(http.Handler) http.Handler { return nil }})
		mux := http.NewServeMux()
		mux.HandleFunc("POST /s/{queue}/next", w.h.Poll)
		w.server.Handler = mux
		held := w.take("mail", 2)
		w.enqueue("mail", jobqueue.NewJob{Name: "good"})
		w.enqueue("mail", jobqueue.NewJob{Name: "bad"})
		a := w.do("POST", "/s/mail/next", fmt.Sprintf(`{"acks":[{"id":"img_%s"}]}`, held[0].ID)).want(200)
		if want := fmt.Sprintf(`{"acks":[{"id":"img_%s","outcome":"acked"}],"jobs":[{"image":"good"}]}`, held[0].ID); a.body != want {
			t.Errorf("got %s, want %s", a.body, want)
		}
		w.do("POST", "/s/mail/next", fmt.Sprintf(`{"acks":[{"id":"img_%s"}]}`, held[1].ID)).wantAcked("acked", 0, "teapot")
		if d := w.receive("mail"); d.Name != "bad" || d.Deliveries != 1 {
			t.Errorf("got delivery %d of %s, want the first of what could not be shaped", d.Deliveries, d.Name)
		}
		w.do("POST", "/s/mail/next", `{"acks":[{"id":`).want(499)
	})
}

// A store that fails after the acks, while the poll waits, does not hide what came of them.
func TestAcksAreToldThoughTheWaitFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(nil)
		b, err := jobqueue.New(store, nil)
		if err != nil {
			t.Fatal(err)
		}
		h, err := httpapi.New(b, &httpapi.Options{AllowAnonymous: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Queue("mail").Enqueue(t.Context(), jobqueue.NewJob{}); err != nil {
			t.Fatal(err)
		}
		d, err := b.Queue("mail").TryReceive(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan *answer)
		go func() {
			w := serve(h, "POST", "/v1/queues/mail/poll", acksOf(d))
			served <- &answer{t, w.Code, w.Header(), w.Body.String()}
		}()
		synctest.Wait()
		store.Close()
		b.Queue("mail").Enqueue(t.Context(), jobqueue.NewJob{})
		(<-served).wantAcked("acked", 0, "store_failed")
		b.Shutdown(t.Context())
	})
}
