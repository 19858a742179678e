package statuspoll_test

import (
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

func seconds(several ...int) (out []time.Duration) {
	for _, s := range several {
		out = append(out, time.Duration(s)*time.Second)
	}
	return out
}

// statuses returns a webhook that answers with these statuses in turn, the last one again and again; 0 is no answer.
func statuses(several ...int) func(http.ResponseWriter, *http.Request, int) {
	return func(w http.ResponseWriter, r *http.Request, n int) {
		status := several[min(n, len(several)-1)]
		if status == 0 {
			hijacked(w)
			return
		}
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
		io.WriteString(w, "anything")
	}
}

func TestTheWebhookIsTriedForFiveMinutes(t *testing.T) {
	whole := seconds(0, 1, 3, 7, 15, 31, 63, 123, 183, 243)
	hangs := func(w http.ResponseWriter, r *http.Request, n int) { hang(r) }
	slow := func(w http.ResponseWriter, r *http.Request, n int) { time.Sleep(8*time.Second + time.Millisecond) }
	for _, c := range []struct {
		name    string
		webhook func(http.ResponseWriter, *http.Request, int)
		posts   []time.Duration
		started time.Duration // negative: it failed
		ended   time.Duration
		problem string
	}{
		{"200", statuses(200), seconds(0), 0, 0, ""},
		{"204", statuses(204), seconds(0), 0, 0, ""},
		{"299", statuses(299), seconds(0), 0, 0, ""},
		{"503, then 200", statuses(503, 500, 599, 200), seconds(0, 1, 3, 7), 7 * time.Second, 0, ""},
		{"no answer, then 202", statuses(0, 0, 202), seconds(0, 1, 3), 3 * time.Second, 0, ""},
		{"500 for ever", statuses(500), whole, -1, 5 * time.Minute, "webhook: answered 500 Internal Server Error"},
		{"no answer for ever", statuses(0), whole, -1, 5 * time.Minute, "webhook: no valid answer came"},
		{"hanging for ever", hangs, seconds(0, 9, 19, 31, 47, 71, 111, 179, 247), -1, 5 * time.Minute, "webhook: no answer in time"},
		{"too slow for ever", slow, seconds(0, 9, 19, 31, 47, 71, 111, 179, 247), -1, 5 * time.Minute, "webhook: no answer in time"},
		{"400", statuses(400), seconds(0), -1, 0, "webhook: answered 400 Bad Request"},
		{"401", statuses(401), seconds(0), -1, 0, "webhook: answered 401 Unauthorized"},
		{"429", statuses(429), seconds(0), -1, 0, "webhook: answered 429 Too Many Requests"},
		{"500, then 404", statuses(500, 404), seconds(0, 1), -1, time.Second, "webhook: answered 404 Not Found"},
		{"a redirect", statuses(307), seconds(0), -1, 0, "webhook: answered 307 Temporary Redirect"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, nil)
				w.webhook = c.webhook
				w.order("under_2_min")
				s := w.end()
				w.wantTimes("posts", w.posts(), c.posts...)
				for _, call := range w.all() {
					if call.method == "POST" && (call.body != w.all()[0].body || call.path != "/orders") {
						t.Errorf("got %+v, want it like the first", call)
					}
				}
				if c.started >= 0 {
					w.wantTimes("checks", w.checks(), c.started+5*time.Minute)
					if got := s.Job.Finished.Sub(w.began); got != c.started+10*time.Minute || s.State != statuspoll.OrderTimedOut {
						t.Errorf("got %+v after %v", s, got)
					}
					return
				}
				w.wantTimes("checks", w.checks())
				if got := s.Job.Finished.Sub(w.began); got != c.ended || s.State != statuspoll.OrderFailed || s.Code != statuspoll.CodeStartFailed || s.Problem != c.problem {
					t.Errorf("got %+v after %v, want problem %q after %v", s, got, c.problem, c.ended)
				}
				if e := w.wantEvent(statuspoll.EventFailed); e.Code != statuspoll.CodeStartFailed || e.ErrorMessage != "The order could not be handed over." || e.Problem != c.problem {
					t.Errorf("got event %+v", e)
				}
				time.Sleep(48 * time.Hour)
				w.wantTimes("posts, much later", w.posts(), c.posts...)
			})
		})
	}
}

// A try in the 299th second has one second left.
func TestTheLastTryEndsWithTheFiveMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &statuspoll.PollerOptions{RetryPause: 299 * time.Second})
		w.webhook = func(rw http.ResponseWriter, r *http.Request, n int) {
			if n == 0 {
				hijacked(rw)
				return
			}
			time.Sleep(2 * time.Second)
		}
		w.order("under_2_min")
		s := w.end()
		w.wantTimes("posts", w.posts(), seconds(0, 299)...)
		if got := s.Job.Finished.Sub(w.began); got != 5*time.Minute || s.Code != statuspoll.CodeStartFailed {
			t.Errorf("got %+v after %v", s, got)
		}
	})
}

func TestWhileTheWebhookIsTriedTheOrderSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.webhook = statuses(500, 200)
		w.order("under_2_min")
		time.Sleep(time.Second / 2)
		if s := w.state(); s.State != statuspoll.OrderProcessing || !s.Started.IsZero() || s.Problem != "webhook: answered 500 Internal Server Error" {
			t.Errorf("got %+v", s)
		}
		time.Sleep(time.Second)
		if s := w.state(); !s.Started.Equal(w.began.Add(time.Second)) || s.Problem != "" {
			t.Errorf("got %+v", s)
		}
	})
}

func TestWhatAPollerRefuses(t *testing.T) {
	broker := func(o *jobqueue.Options) *jobqueue.Broker {
		b, err := jobqueue.New(memstore.New(nil), o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { b.Shutdown(t.Context()) })
		return b
	}
	large := broker(&jobqueue.Options{MaxResult: 64 << 20})
	const status, webhook = "https://a.example/{order_id}", "https://a.example/"
	small := statuspoll.Reading()
	small.MaxBody = 1 << 20
	if _, err := statuspoll.NewPoller(large, &statuspoll.PollerOptions{StatusURL: status, WebhookURL: webhook}); err != nil {
		t.Errorf("got %v, want nil", err)
	}
	if _, err := statuspoll.NewPoller(broker(nil), &statuspoll.PollerOptions{StatusURL: status, WebhookURL: webhook, Rules: &small}); err != nil {
		t.Errorf("with small answers: got %v, want nil", err)
	}
	for _, c := range []struct {
		b    *jobqueue.Broker
		o    *statuspoll.PollerOptions
		word string
	}{
		{large, nil, "{order_id}"},
		{large, &statuspoll.PollerOptions{StatusURL: status}, "webhook URL"},
		{large, &statuspoll.PollerOptions{WebhookURL: webhook}, "status URL"},
		{large, &statuspoll.PollerOptions{StatusURL: "http://a.example/{order_id}", WebhookURL: webhook}, "https"},
		{large, &statuspoll.PollerOptions{StatusURL: status, WebhookURL: "http://a.example/"}, "https"},
		{large.In("alice"), &statuspoll.PollerOptions{StatusURL: status, WebhookURL: webhook}, "account"},
		{broker(nil), &statuspoll.PollerOptions{StatusURL: status, WebhookURL: webhook}, "MaxResult"},
		{large, &statuspoll.PollerOptions{StatusURL: status, WebhookURL: webhook, Interval: -1}, "Interval"},
		{large, &statuspoll.PollerOptions{StatusURL: status, WebhookURL: webhook, FirstCheck: -1}, "FirstCheck"},
		{large, &statuspoll.PollerOptions{StatusURL: status, WebhookURL: webhook, ETAs: map[string]time.Duration{"soon": 0}}, "soon"},
	} {
		if p, err := statuspoll.NewPoller(c.b, c.o); err == nil || p != nil || !contains(err.Error(), c.word) {
			t.Errorf("%+v: got %v, %v, want an error about %s", c.o, p, err, c.word)
		}
	}
}

// Orders of one poller do not wait for each other, as long as there are workers.
func TestManyOrdersAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &statuspoll.PollerOptions{Workers: 50})
		w.status = func(rw http.ResponseWriter, r *http.Request, n int) {
			time.Sleep(7 * time.Second)
			io.WriteString(rw, completed)
		}
		var ids []string
		for i := range 50 {
			id := string(rune('A' + i))
			ids = append(ids, id)
			if _, err := w.poller.Start(t.Context(), statuspoll.Order{ID: id, ETA: "under_2_min"}); err != nil {
				t.Fatal(err)
			}
		}
		w.sleepUntil(5*time.Minute + 8*time.Second)
		events, _ := w.events()
		var got []string
		for _, e := range events {
			got = append(got, e.OrderID)
		}
		if slices.Sort(got); !slices.Equal(got, ids) {
			t.Errorf("got events of %q, want of %q", got, ids)
		}
	})
}
