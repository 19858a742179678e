package callback_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pollackq/pollack/httpapi/callback"
	"github.com/pollackq/pollack/jobqueue"
)

var discard = log.New(io.Discard, "", 0)

// delays are those of the default, which the documentation names.
var delays = []time.Duration{
	5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 10 * time.Hour,
}

func TestTheEndOfAJobIsTold(t *testing.T) {
	inLab(t, func(l *lab) {
		work := l.broker.In("acme").Queue("work")
		l.send(callback.Options{})
		job, err := l.broker.Queue("work").Enqueue(l.Context(), jobqueue.NewJob{Account: "acme", Outbox: []string{"callbacks"}})
		if err != nil {
			l.Fatal(err)
		}
		if len(l.requests()) > 0 {
			l.Error("got a callback before the end")
		}
		d, err := l.broker.Queue("work").Receive(l.Context(), nil)
		if err != nil {
			l.Fatal(err)
		}
		if err := d.Complete(l.Context(), jobqueue.NewResult{ContentType: "application/json", Data: []byte(`{"pages":3}`)}); err != nil {
			l.Fatal(err)
		}
		l.idle()
		got := l.requests()
		if len(got) != 1 {
			l.Fatalf("got %d callbacks, want 1", len(got))
		}
		read, err := l.broker.Job(l.Context(), job.ID)
		if err != nil {
			l.Fatal(err)
		}
		if want, err := read.MarshalJSON(); got[0].body != string(want) || err != nil {
			l.Errorf("body: got %s, want what a status read gives, %s", got[0].body, want)
		}
		told, _, err := l.queue().Jobs(l.Context(), jobqueue.ListOptions{})
		if err != nil || len(told) != 1 || told[0].State != jobqueue.Succeeded || told[0].ID.String() != got[0].id {
			l.Errorf("got outbox %v, %v, want one job that succeeded, whose id is the webhook-id %s", told, err, got[0].id)
		}
		for name, want := range map[string]string{"Content-Type": "application/json", "User-Agent": "pollack"} {
			if v := got[0].header.Get(name); v != want {
				l.Errorf("%s: got %q, want %q", name, v, want)
			}
		}
		_ = work
	})
}

func TestAttemptsFollowTheSchedule(t *testing.T) {
	for name, jitter := range map[string]float64{"with the default jitter": 0, "with none": -1, "with the most": 1} {
		t.Run(name, func(t *testing.T) {
			inLab(t, func(l *lab) {
				l.answers(says(503))
				l.send(callback.Options{Jitter: jitter})
				job := l.ended(l.add(jobqueue.NewJob{}).ID, callback.CodeFailed)
				if job.Failure.Message != "answered 503 Service Unavailable" {
					l.Errorf("got message %q", job.Failure.Message)
				}
				got := l.requests() // whose signatures the receiver has verified
				if len(got) != len(delays)+1 || job.Deliveries != len(got) {
					l.Fatalf("got %d attempts, %d deliveries, want %d", len(got), job.Deliveries, len(delays)+1)
				}
				part := map[float64]float64{0: 0.2, -1: 0, 1: 1}[jitter]
				exact := 0
				for i, delay := range delays {
					pause := got[i+1].at.Sub(got[i].at)
					if off := math.Abs(float64(pause - delay)); off > part*float64(delay)+float64(time.Millisecond) {
						l.Errorf("pause %d: got %v, want %v give or take %v of it", i, pause, delay, part)
					} else if off < float64(time.Millisecond) {
						exact++
					}
				}
				if part > 0 && exact > 2 {
					l.Errorf("got %d pauses that are exact, want jitter", exact)
				}
				for i, r := range got {
					if r.id != job.ID.String() {
						l.Errorf("attempt %d: got id %s, want that of the job, %v", i, r.id, job.ID)
					}
					if want := fmt.Sprint(r.at.Unix()); r.header.Get("webhook-timestamp") != want {
						l.Errorf("attempt %d: got timestamp %s, want that of the attempt, %s", i, r.header.Get("webhook-timestamp"), want)
					}
				}
			})
		})
	}
}

func TestOneAttemptMayBeAll(t *testing.T) {
	inLab(t, func(l *lab) {
		l.answers(says(500))
		l.send(callback.Options{Delays: []time.Duration{}})
		l.ended(l.add(jobqueue.NewJob{}).ID, callback.CodeFailed)
		if n := len(l.requests()); n != 1 {
			l.Errorf("got %d attempts, want 1", n)
		}
	})
}

func TestAnswersDecide(t *testing.T) {
	for status := 200; status < 600; status++ {
		if http.StatusText(status) == "" && status%100 != 99 {
			continue
		}
		inLab(t, func(l *lab) {
			l.answers(says(status, "Location", "http://elsewhere.test/"))
			l.send(callback.Options{Delays: []time.Duration{time.Minute}, Jitter: -1})
			state, attempts := callback.CodeFailed, 2
			switch {
			case status < 300:
				state, attempts = "succeeded", 1
			case status == 410:
				state, attempts = callback.CodeGone, 1
			}
			job := l.ended(l.add(jobqueue.NewJob{}).ID, state)
			got := l.requests()
			if len(got) != attempts {
				l.Errorf("%d: got %d attempts, want %d", status, len(got), attempts)
			}
			for _, r := range got {
				if r.host != "receiver.test" {
					l.Errorf("%d: got a request to %s", status, r.host)
				}
			}
			if f := job.Failure; f != nil && !strings.HasPrefix(f.Message, fmt.Sprintf("answered %d", status)) && !strings.HasPrefix(f.Message, "answered status") {
				l.Errorf("%d: got message %q", status, f.Message)
			}
		})
	}
}

func TestRedirectsAreNotFollowedByAnyClient(t *testing.T) {
	inLab(t, func(l *lab) {
		l.answers(says(307, "Location", "http://elsewhere.test/"))
		follows := *l.client
		follows.CheckRedirect = nil
		l.send(callback.Options{Client: &follows, Delays: []time.Duration{}, Message: func(context.Context, *jobqueue.Delivery) (*callback.Message, error) {
			return l.message("http://receiver.test/"), nil
		}})
		l.ended(l.add(jobqueue.NewJob{}).ID, callback.CodeFailed)
		if n := len(l.requests()); n != 1 {
			l.Errorf("got %d requests, want 1", n)
		}
		if follows.CheckRedirect != nil {
			l.Error("the caller's client was changed")
		}
	})
}

func TestTheReceiverMayAskForALongerPause(t *testing.T) {
	in := func(d time.Duration) func(*lab) string {
		return func(*lab) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
	}
	text := func(s string) func(*lab) string { return func(*lab) string { return s } }
	for _, tt := range []struct {
		name  string
		asked func(*lab) string
		want  time.Duration
	}{
		{"seconds", text("600"), 10 * time.Minute},
		{"fewer seconds than the pause", text("1"), time.Minute},
		{"a date", in(2 * time.Hour), 2 * time.Hour},
		{"a date that has passed", in(-time.Hour), time.Minute},
		{"more than a day", text("8640000"), 24 * time.Hour},
		{"a date in a hundred years", in(100 * 365 * 24 * time.Hour), 24 * time.Hour},
		{"nonsense", text("tomorrow"), time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inLab(t, func(l *lab) {
				l.answers(says(429, "Retry-After", tt.asked(l)))
				l.send(callback.Options{Delays: []time.Duration{time.Minute}, Jitter: -1})
				l.ended(l.add(jobqueue.NewJob{}).ID, callback.CodeFailed)
				got := l.requests()
				if len(got) != 2 {
					l.Fatalf("got %d attempts, want 2", len(got))
				}
				if pause := got[1].at.Sub(got[0].at); (pause - tt.want).Abs() > time.Second {
					l.Errorf("got a pause of %v, want %v", pause, tt.want)
				}
			})
		})
	}
}

func TestSendRefusesBadOptions(t *testing.T) {
	inLab(t, func(l *lab) {
		message := func(context.Context, *jobqueue.Delivery) (*callback.Message, error) { return nil, nil }
		for name, o := range map[string]*callback.Options{
			"nil":                  nil,
			"no Message":           {},
			"a negative delay":     {Message: message, Delays: []time.Duration{1, -1}},
			"too much jitter":      {Message: message, Jitter: 1.1},
			"jitter of no number":  {Message: message, Jitter: math.NaN()},
			"a negative timeout":   {Message: message, Timeout: -1},
			"negative workers":     {Message: message, Workers: -1},
			"a negative grace":     {Message: message, Grace: -1},
			"a lease out of bound": {Message: message, Lease: time.Millisecond},
		} {
			if err := callback.Send(l.Context(), l.queue(), o); err == nil {
				l.Errorf("%s: got no error", name)
			}
		}
	})
}

func TestSendEndsWithItsQueueAndBroker(t *testing.T) {
	inLab(t, func(l *lab) {
		l.add(jobqueue.NewJob{})
		l.send(callback.Options{})
		l.idle()
		if err := l.queue().Close(l.Context()); err != nil {
			l.Fatal(err)
		}
		l.pass(time.Second)
		if err := l.stop(); !errors.Is(err, jobqueue.ErrDone) {
			l.Errorf("after Close: got %v, want ErrDone", err)
		}
		go l.broker.Shutdown(context.Background())
		l.pass(time.Second)
		l.send(callback.Options{})
		l.pass(time.Second)
		if err := l.stop(); !errors.Is(err, jobqueue.ErrShutdown) {
			l.Errorf("after Shutdown: got %v, want ErrShutdown", err)
		}
	})
}
