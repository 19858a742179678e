package statuspoll_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/httpapi/statuspoll"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/memstore"
)

func TestChecksFollowTheScheduleUntilTheCutOff(t *testing.T) {
	for _, c := range []struct {
		eta    string
		checks int
		cutOff time.Duration
	}{
		{"under_2_min", 1, 10 * time.Minute},
		{"under_1_hr", 6, 90 * time.Minute},
		{"within_24_hr", 96, 1440 * time.Minute},
	} {
		t.Run(c.eta, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, nil)
				w.webhook = func(rw http.ResponseWriter, r *http.Request, n int) {
					time.Sleep(3 * time.Second) // t = 0 is the answer, not the question
				}
				w.order(c.eta)
				s := w.end()
				var want []time.Duration
				for i := range c.checks {
					want = append(want, 3*time.Second+5*time.Minute+time.Duration(i)*15*time.Minute)
				}
				w.wantTimes("checks", w.checks(), want...)
				w.wantTimes("posts", w.posts(), 0)
				if got := s.Job.Finished.Sub(w.began); got != 3*time.Second+c.cutOff || s.Checks != c.checks || s.State != statuspoll.OrderTimedOut || s.Code != statuspoll.CodeTimedOut || s.ErrorMessage == "" {
					t.Errorf("got %+v after %v, want it timed out after %v", s, got, 3*time.Second+c.cutOff)
				}
				w.wantEvent(statuspoll.EventTimedOut)
				time.Sleep(48 * time.Hour)
				w.wantTimes("checks, much later", w.checks(), want...)
			})
		})
	}
}

func TestAFinalAnswerEndsTheOrderAtOnce(t *testing.T) {
	for _, c := range []struct {
		name, answer, event, state, message string
	}{
		{"completed", completed, statuspoll.EventCompleted, statuspoll.OrderCompleted, ""},
		{"failed", failed, statuspoll.EventFailed, statuspoll.OrderFailed, "cannot be done"},
		{"failed, without a message", `{"status":"failed"}`, statuspoll.EventFailed, statuspoll.OrderFailed, "The order failed. No reason was given."},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, nil)
				w.status = answers(processing, processing, c.answer, processing)
				w.order("under_1_hr")
				s := w.end()
				if s.Checks != 3 || !s.Started.Equal(w.began) || s.State != c.state || s.ErrorMessage != c.message || s.Job.Finished.Sub(w.began) != 35*time.Minute {
					t.Errorf("got %+v after %v, want %s in the 35th minute", s, s.Job.Finished.Sub(w.began), c.state)
				}
				e := w.wantEvent(c.event)
				if e.ErrorMessage != c.message || !e.Timestamp.Equal(s.Job.Finished) {
					t.Errorf("got event %+v", e)
				}
				if c.answer == completed && (string(s.Result.Data) != completed || string(e.Result) != completed) {
					t.Errorf("got result %s and in the event %s, want the answer as it came", s.Result.Data, e.Result)
				}
				if j, err := w.broker.Redrive(t.Context(), s.Job.ID); !errors.Is(err, jobqueue.ErrWrongState) {
					t.Errorf("Redrive: got %v, %v, want ErrWrongState", j, err)
				}
				time.Sleep(48 * time.Hour)
				w.wantTimes("checks", w.checks(), minutes(5, 20, 35)...)
				if events, _ := w.events(); len(events) > 0 {
					t.Errorf("got %d more events", len(events))
				}
			})
		})
	}
}

func TestWhatIsSentToTheAutomation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &statuspoll.PollerOptions{Header: http.Header{"X-Api-Key": {"k1", "k2"}, "Content-Type": {"text/plain"}}})
		w.status = answers(completed)
		if _, err := w.poller.Start(t.Context(), statuspoll.Order{ID: "a/b ü", ETA: "under_2_min", Inputs: []byte(`{"name": "<Ada>", "n": [1, 2.50]}`)}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if len(w.all()) != 2 {
			t.Fatalf("got %v, want two calls", w.all())
		}
		post, get := w.all()[0], w.all()[1]
		if post.method != "POST" || post.path != "/orders" || post.header.Get("Content-Type") != "application/json" ||
			post.body != `{"order_id":"a/b ü","inputs":{"name":"\u003cAda\u003e","n":[1,2.50]}}` {
			t.Errorf("got %+v", post)
		}
		if get.method != "GET" || get.path != "/orders/a%2Fb%20%C3%BC/status" || get.body != "" {
			t.Errorf("got %+v", get)
		}
		for _, c := range w.all() {
			if !slices.Equal(c.header["X-Api-Key"], []string{"k1", "k2"}) {
				t.Errorf("%s: got header %v, want the configured one", c.method, c.header)
			}
		}
	})
}

func TestAnOrderSaysHowFarItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.status = answers(processing, `{"status":"processing"}`, `{"status":"processing","progress":200}`, `{"status":"processing","progress":0.9}`, completed)
		w.webhook = func(rw http.ResponseWriter, r *http.Request, n int) { time.Sleep(2 * time.Second) }
		w.order("under_1_hr")
		time.Sleep(time.Second)
		if s := w.state(); s.State != statuspoll.OrderProcessing || !s.Started.IsZero() || !s.NextCheck.IsZero() || s.Progress != nil {
			t.Errorf("before it has started: got %+v", s)
		}
		t0 := w.began.Add(2 * time.Second)
		for i, want := range []struct {
			progress float64
			problem  string
		}{{-1, ""}, {0.45, ""}, {0.45, ""}, {0.45, "progress must be"}, {0.9, ""}} {
			w.sleepUntil(time.Duration(i)*15*time.Minute + time.Second)
			s := w.state()
			if s.State != statuspoll.OrderProcessing || s.Checks != i || !s.Started.Equal(t0) && i > 0 || !s.CutOff.Equal(t0.Add(90*time.Minute)) && i > 0 {
				t.Errorf("after %d checks: got %+v", i, s)
			}
			if i > 0 && !s.NextCheck.Equal(t0.Add(5*time.Minute+time.Duration(i)*15*time.Minute)) {
				t.Errorf("after %d checks: got the next at %v", i, s.NextCheck)
			}
			if (s.Progress == nil) != (want.progress < 0) || s.Progress != nil && *s.Progress != want.progress || (s.Problem == "") != (want.problem == "") || !contains(s.Problem, want.problem) {
				t.Errorf("after %d checks: got progress %v and problem %q, want %+v", i, s.Progress, s.Problem, want)
			}
		}
		if s := w.end(); s.State != statuspoll.OrderCompleted || s.Progress != nil || s.Problem != "" || !s.NextCheck.IsZero() {
			t.Errorf("at the end: got %+v", s)
		}
		for _, id := range []string{"o-2", "", "\x00", string(make([]byte, 300))} {
			if s, err := w.poller.Order(t.Context(), id); err != jobqueue.ErrNotFound {
				t.Errorf("%.5q: got %v, %v, want ErrNotFound", id, s, err)
			}
		}
	})
}

func TestOneIDIsOneOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		first := w.order("under_1_hr")
		w.sleepUntil(6 * time.Minute)
		again, err := w.poller.Start(t.Context(), statuspoll.Order{ID: "o-1", ETA: "under_1_hr", Inputs: []byte(`{"name":"Ada"}`)})
		if err != nil || again.ID != first.ID || !again.Replayed || first.Replayed {
			t.Errorf("the same again: got %+v, %v", again, err)
		}
		for _, o := range []statuspoll.Order{
			{ID: "o-1", ETA: "under_1_hr"}, {ID: "o-1", ETA: "under_1_hr", Inputs: []byte(`{"name":"Eve"}`)}, {ID: "o-1", ETA: "under_2_min", Inputs: []byte(`{"name":"Ada"}`)},
		} {
			if j, err := w.poller.Start(t.Context(), o); err != jobqueue.ErrKeyReused {
				t.Errorf("another of the same id: got %v, %v, want ErrKeyReused", j, err)
			}
		}
		for field, o := range map[string]statuspoll.Order{
			"order_id":   {ETA: "under_1_hr"},
			"order_id ":  {ID: string(make([]byte, 256)), ETA: "under_1_hr"},
			"order_id\t": {ID: "a\nb", ETA: "under_1_hr"},
			"eta":        {ID: "o-2"},
			"eta ":       {ID: "o-2", ETA: "Under_1_hr"},
			"inputs":     {ID: "o-2", ETA: "under_1_hr", Inputs: []byte(`{"a":`)},
			"inputs ":    {ID: "o-2", ETA: "under_1_hr", Inputs: []byte("\"\xff\"")},
			"inputs\t":   {ID: "o-2", ETA: "under_1_hr", Inputs: []byte(``)},
		} {
			wantInvalid(t, w.poller, o, field)
		}
		if s := w.end(); s.State != statuspoll.OrderTimedOut || len(w.posts()) != 1 {
			t.Errorf("got %+v after posts at %v", s, w.posts())
		}
	})
}

func TestACanceledOrderIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.status = func(rw http.ResponseWriter, r *http.Request, n int) {
			time.Sleep(4 * time.Second)
			io.WriteString(rw, completed)
		}
		j := w.order("under_1_hr")
		w.sleepUntil(5*time.Minute + 2*time.Second) // while it is being asked
		if _, err := w.broker.Cancel(t.Context(), j.ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(24 * time.Hour / 2)
		w.wantTimes("checks", w.checks(), minutes(5)...)
		if s := w.state(); s.State != statuspoll.OrderFailed || s.Code != statuspoll.CodeCanceled {
			t.Errorf("got %+v", s)
		}
		if e := w.wantEvent(statuspoll.EventFailed); e.Code != statuspoll.CodeCanceled {
			t.Errorf("got %+v", e)
		}
	})
}

func TestAnOrderThatWaitsCostsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.order("within_24_hr")
		w.sleepUntil(6 * time.Minute) // when the alarm for the lease of the check has rung, too
		store := w.store.(*memstore.Store)
		before := store.Stats()
		w.sleepUntil(20*time.Minute - time.Second)
		if after := store.Stats(); after != before {
			t.Errorf("between two checks the store went from %+v to %+v", before, after)
		}
	})
}

// An event stays the same until it has been taken.
func TestAnEventIsToldUnderOneID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.status = answers(completed)
		w.order("under_2_min")
		w.end()
		var ids []jobqueue.ID
		for range 3 {
			d, err := w.broker.Queue("events").Receive(t.Context(), nil) // not acked: the lease lapses
			if err != nil {
				t.Fatal(err)
			}
			e, err := statuspoll.ReadEvent(t.Context(), w.broker, d)
			if err != nil || e.Type != statuspoll.EventCompleted {
				t.Fatalf("got %+v, %v", e, err)
			}
			ids = append(ids, d.ID)
		}
		if ids[0] != ids[1] || ids[1] != ids[2] {
			t.Errorf("got ids %v, want one", ids)
		}
		other, err := w.broker.Queue("events").Enqueue(t.Context(), jobqueue.NewJob{Payload: []byte(`{"id":5}`)})
		if err != nil {
			t.Fatal(err)
		}
		d, err := w.broker.Queue("events").Receive(t.Context(), nil)
		if err != nil || d.ID != other.ID {
			t.Fatalf("got %v, %v", d, err)
		}
		if e, err := statuspoll.ReadEvent(context.Background(), w.broker, d); !isInvalid(err, "payload") {
			t.Errorf("of a job that is no event: got %v, %v, want ErrInvalid", e, err)
		}
	})
}
