package client_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/httpapi/client"
)

// consuming starts a consumer and returns what stops it and waits for its error.
func consuming(t *testing.T, c *client.Client, h client.Handler, o *client.ConsumeOptions) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Consume(ctx, "q", h, o) }()
	return func() error {
		cancel()
		return <-done
	}
}

func TestWhatAHandlerReturnsDecidesWhatBecomesOfTheJob(t *testing.T) {
	oops := errors.New("oops")
	for _, tc := range []struct {
		name   string
		err    error
		after  time.Duration
		state  client.State
		failed string
		least  int // deliveries by then
		most   int
	}{
		{"nil ends it well", nil, 0, client.Succeeded, "", 1, 1},
		{"Permanent ends it badly", client.Permanent("broken", oops), 0, client.Failed, "broken: oops", 1, 1},
		{"RetryAfter has it delivered again then, not before", client.RetryAfter(time.Hour, oops), 59 * time.Minute, client.Scheduled, "", 1, 1},
		{"RetryAfter has it delivered again then", client.RetryAfter(time.Hour, oops), 61 * time.Minute, client.Scheduled, "", 2, 2},
		{"another error has it delivered again soon", oops, 2 * time.Second, "", "", 2, 5},
		{"and with growing pauses", oops, time.Hour, "", "", 10, 40},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, ctx context.Context, c *client.Client) {
				j := must[*client.Job](t)(c.Submit(ctx, "q", client.NewJob{}))
				stop := consuming(t, c, func(context.Context, *client.Delivery) error { return tc.err }, nil)
				time.Sleep(tc.after)
				synctest.Wait()
				got := must[*client.Job](t)(c.Job(ctx, j.ID))
				failed := ""
				if got.Failure != nil {
					failed = got.Failure.Code + ": " + got.Failure.Message
				}
				if tc.state != "" && got.State != tc.state || got.Deliveries < tc.least || got.Deliveries > tc.most || got.Lapses != 0 || failed != tc.failed {
					t.Errorf("got %v %q after %d deliveries and %d lapses", got.State, failed, got.Deliveries, got.Lapses)
				}
				if err := stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestALeaseIsExtendedWhileTheHandlerRuns(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, c *client.Client) {
		j := must[*client.Job](t)(c.Submit(ctx, "q", client.NewJob{}))
		stop := consuming(t, c, func(ctx context.Context, _ *client.Delivery) error {
			time.Sleep(time.Hour)
			return ctx.Err()
		}, nil)
		got := must[*client.Job](t)(c.Wait(ctx, j.ID, nil))
		if got.State != client.Succeeded || got.Deliveries != 1 || got.Lapses != 0 || got.Finished.Sub(got.Started) != time.Hour {
			t.Errorf("got %+v", got)
		}
		stop()
	})
}

func TestACanceledJobEndsTheContextOfItsHandler(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, c *client.Client) {
		j := must[*client.Job](t)(c.Submit(ctx, "q", client.NewJob{}))
		var cause error
		stop := consuming(t, c, func(ctx context.Context, _ *client.Delivery) error {
			<-ctx.Done()
			cause = context.Cause(ctx)
			return ctx.Err()
		}, &client.ConsumeOptions{Lease: 30 * time.Second})
		synctest.Wait()
		must[*client.Job](t)(c.Cancel(ctx, j.ID))
		time.Sleep(10 * time.Second)
		synctest.Wait()
		var e *client.Error
		if !errors.As(cause, &e) || e.Reason != "canceled" {
			t.Errorf("got cause %v, want a lost lease, canceled, a third of the lease later", cause)
		}
		stop()
	})
}

func TestAHandlerMaySettleItsJobItself(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, c *client.Client) {
		j := must[*client.Job](t)(c.Submit(ctx, "q", client.NewJob{}))
		stop := consuming(t, c, func(ctx context.Context, d *client.Delivery) error {
			if err := d.Complete(ctx, "mine"); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Hour)
			return errors.Join(ctx.Err(), errors.New("ignored"))
		}, nil)
		time.Sleep(2 * time.Hour)
		if got := must[*client.Job](t)(c.Job(ctx, j.ID)); got.State != client.Succeeded || string(got.Result) != `"mine"` {
			t.Errorf("got %v %s", got.State, got.Result)
		}
		stop()
	})
	synctest.Test(t, func(t *testing.T) {
		var asked []string
		c := serve(t, oneJob(func(w http.ResponseWriter, r *http.Request) {
			asked = append(asked, r.URL.Path)
			says(200, aJob)(w, r)
		}), nil)
		stop := consuming(t, c, func(ctx context.Context, d *client.Delivery) error { return d.Fail(ctx, "broken", "") }, nil)
		synctest.Wait()
		stop()
		if len(asked) != 1 || asked[0] != "/v1/jobs/J/fail" {
			t.Errorf("the server was asked %q, want nothing after the fail", asked)
		}
	})
}

// oneJob gives one job to the first poll; others wait. The rest is for h.
func oneJob(h http.HandlerFunc) http.Handler {
	var polls atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !strings.HasSuffix(r.URL.Path, "/poll"):
			h(w, r)
		case polls.Add(1) == 1:
			says(200, `{"jobs":[{"id":"J","lease_token":"T","lease_expires_in":30}]}`)(w, r)
		default:
			<-r.Context().Done()
		}
	})
}

// A pollThenStop ends a context just when the answer to a poll has come.
type pollThenStop struct {
	http.RoundTripper
	stop context.CancelFunc
}

func (p *pollThenStop) RoundTrip(r *http.Request) (*http.Response, error) {
	if !strings.HasSuffix(r.URL.Path, "/poll") {
		return p.RoundTripper.RoundTrip(r)
	}
	resp, err := p.RoundTripper.RoundTrip(r.WithContext(context.WithoutCancel(r.Context())))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	resp.Body = io.NopCloser(bytes.NewReader(body))
	p.stop()
	return resp, err
}

func TestAJobThatComesWhenTheConsumerStopsIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := house(t, nil)
		j := must[*client.Job](t)(c.Submit(t.Context(), "q", client.NewJob{}))
		ctx, cancel := context.WithCancel(t.Context())
		hc := *c.HTTPClient()
		hc.Transport = &pollThenStop{hc.Transport, cancel}
		stopping, err := client.New("http://queue.test", &client.Options{HTTPClient: &hc, Token: "secret"})
		if err != nil {
			t.Fatal(err)
		}
		err = stopping.Consume(ctx, "q", func(context.Context, *client.Delivery) error {
			t.Error("the handler was called")
			return nil
		}, nil)
		got := must[*client.Job](t)(c.Job(t.Context(), j.ID))
		if err != nil || got.State != client.Pending || got.Deliveries != 0 || got.Version == j.Version {
			t.Errorf("got %v, %v with %d deliveries, want the job delivered and given back", err, got.State, got.Deliveries)
		}
	})
}

func TestAPanicIsAnErrorOfTheHandler(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, c *client.Client) {
		j := must[*client.Job](t)(c.Submit(ctx, "q", client.NewJob{}))
		n := 0
		stop := consuming(t, c, func(context.Context, *client.Delivery) error {
			if n++; n == 1 {
				panic("oops")
			}
			return nil
		}, nil)
		if got := must[*client.Job](t)(c.Wait(ctx, j.ID, nil)); got.State != client.Succeeded || got.Deliveries != 2 {
			t.Errorf("got %v after %d deliveries", got.State, got.Deliveries)
		}
		stop()
	})
}

func TestAConsumerThatStopsGivesBackWhatItHolds(t *testing.T) {
	for _, grace := range []time.Duration{0, time.Minute} {
		bubble(t, func(t *testing.T, ctx context.Context, c *client.Client) {
			j := must[*client.Job](t)(c.Submit(ctx, "q", client.NewJob{}))
			stop := consuming(t, c, func(ctx context.Context, _ *client.Delivery) error {
				<-ctx.Done()
				if cause := context.Cause(ctx); cause != client.ErrStopped {
					t.Errorf("got cause %v", cause)
				}
				return ctx.Err()
			}, &client.ConsumeOptions{Grace: grace})
			synctest.Wait()
			begun := time.Now()
			if err := stop(); err != nil {
				t.Error(err)
			}
			if d := time.Since(begun); d != grace {
				t.Errorf("stopped after %v, want %v", d, grace)
			}
			got := must[*client.Job](t)(c.Job(ctx, j.ID))
			if got.State != client.Pending || got.Deliveries != 0 || got.Lapses != 0 {
				t.Errorf("got %v with %d deliveries, want it back and uncounted", got.State, got.Deliveries)
			}
		})
	}
}

func TestAConsumerEndsWhenTheQueueIsDone(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, c *client.Client) {
		for range 20 {
			must[*client.Job](t)(c.Submit(ctx, "q", client.NewJob{}))
		}
		var now, most, all atomic.Int32
		done := make(chan error, 1)
		go func() {
			done <- c.Consume(ctx, "q", func(context.Context, *client.Delivery) error {
				all.Add(1)
				most.Store(max(most.Load(), now.Add(1)))
				time.Sleep(time.Second)
				now.Add(-1)
				return nil
			}, &client.ConsumeOptions{Workers: 3})
		}()
		time.Sleep(time.Hour)
		if err := c.Close(ctx, "q"); err != nil {
			t.Error(err)
		}
		if err := <-done; err != client.ErrDone && !errors.Is(err, client.ErrDone) {
			t.Errorf("got %v", err)
		}
		if all.Load() != 20 || most.Load() != 3 {
			t.Errorf("handled %d jobs, at most %d at once, want 20 and 3", all.Load(), most.Load())
		}
	})
}

func TestAnIdleConsumerAsksOnceInAPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int64
		c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n.Add(1)
			if q := r.URL.Query(); q.Get("timeout") != "30" || q.Get("max") != "4" || q.Get("lease") != "30" {
				t.Errorf("got %v", r.URL)
			}
			select {
			case <-time.After(30 * time.Second):
			case <-r.Context().Done():
			}
			w.WriteHeader(http.StatusNoContent)
		}), nil)
		stop := consuming(t, c, nil, nil)
		time.Sleep(time.Hour)
		if err := stop(); err != nil || n.Load() < 119 || n.Load() > 121 {
			t.Errorf("asked %d times in an hour, %v, want 120", n.Load(), err)
		}
	})
}

func TestAConsumerDoesNotOverrunAServer(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"that does not wait":   says(204, ""),
		"that is broken":       breaks,
		"that has trouble":     says(500, ""),
		"that is full":         problem(429, "too_many_polls"),
		"that talks nonsense":  says(200, "{}"),
		"that says how long":   problem(503, "shutting_down", "Retry-After", "20"),
		"that answers no JSON": says(200, "<html>"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{answers: []http.HandlerFunc{h}}
				stop := consuming(t, serve(t, s, nil), nil, nil)
				time.Sleep(time.Hour)
				if err := stop(); err != nil || s.n() < 60 || s.n() > 360 {
					t.Errorf("asked %d times in an hour, %v, want about 240 or less", s.n(), err)
				}
			})
		})
	}
}

func TestAConsumerEndsWhenItIsRefusedForGood(t *testing.T) {
	for status, want := range map[int]error{400: client.ErrInvalid, 401: client.ErrUnauthorized, 403: client.ErrRefused, 404: client.ErrNotFound} {
		synctest.Test(t, func(t *testing.T) {
			code := map[int]string{400: "invalid_request", 401: "unauthorized", 403: "forbidden", 404: "not_found"}[status]
			err := serve(t, problem(status, code), nil).Consume(t.Context(), "q", nil, nil)
			wantErr(t, code, err, want)
		})
	}
	for _, o := range []client.ConsumeOptions{{Workers: -1}, {Wait: 1}, {Lease: time.Millisecond}, {Lease: -1}} {
		synctest.Test(t, func(t *testing.T) {
			if err := serve(t, says(204, ""), nil).Consume(t.Context(), "q", nil, &o); err == nil {
				t.Errorf("%+v: got no error", o)
			}
		})
	}
}

func TestAnAckOutlastsARestartOfTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		var polled, acked atomic.Int64
		c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			ack := r.Method == "POST" // with a poll or without
			switch down := time.Since(begun) < 25*time.Second; {
			case ack && down:
				panic(http.ErrAbortHandler)
			case ack:
				acked.CompareAndSwap(0, int64(time.Since(begun)))
				says(200, `{"outcome":"acked"}`)(w, r)
			default:
				if polled.Add(1) > 1 {
					<-r.Context().Done()
					return
				}
				says(200, `{"jobs":[{"id":"J","lease_token":"T","lease_expires_in":30}]}`)(w, r)
			}
		}), nil)
		stop := consuming(t, c, func(context.Context, *client.Delivery) error { return nil }, nil)
		time.Sleep(time.Minute)
		if at := time.Duration(acked.Load()); at < 25*time.Second || at > 35*time.Second {
			t.Errorf("acked after %v, want soon after 25s", at)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestAConsumerStopsThoughTheServerIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var polled atomic.Int64
		c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if polled.Add(1) > 1 {
				panic(http.ErrAbortHandler)
			}
			says(200, `{"jobs":[{"id":"J","lease_token":"T","lease_expires_in":300}]}`)(w, r)
		}), nil)
		stop := consuming(t, c, func(ctx context.Context, _ *client.Delivery) error { <-ctx.Done(); return ctx.Err() }, nil)
		time.Sleep(time.Minute)
		begun := time.Now()
		if err := stop(); err != nil || time.Since(begun) > 10*time.Second {
			t.Errorf("stopped after %v with %v", time.Since(begun), err)
		}
	})
}
