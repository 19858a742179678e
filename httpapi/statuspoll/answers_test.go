package statuspoll_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/httpapi/statuspoll"
	"github.com/pollackq/pollack/jobqueue"
)

// Each case is what the endpoint does at the first check, and at its retry if there is one.
func TestACheckThatCameToNothing(t *testing.T) {
	const five, retry = 5 * time.Minute, time.Second
	after := func(d time.Duration) []time.Duration { return []time.Duration{five, five + d, 20 * time.Minute} }
	once := minutes(5, 20)
	respond := func(status int, header ...string) func(http.ResponseWriter, *http.Request, int) {
		return func(w http.ResponseWriter, r *http.Request, n int) {
			for _, h := range header {
				k, v, _ := strings.Cut(h, ": ")
				w.Header().Set(k, v)
			}
			w.WriteHeader(status)
			io.WriteString(w, completed)
		}
	}
	small := statuspoll.Reading()
	small.MaxBody = 1 << 20
	for _, c := range []struct {
		name    string
		do      func(w http.ResponseWriter, r *http.Request, n int)
		checks  []time.Duration
		problem string
	}{
		{"no answer", func(w http.ResponseWriter, r *http.Request, n int) { hang(r) }, after(8*time.Second + retry), "no answer in time"},
		{"an answer after 8 s", func(w http.ResponseWriter, r *http.Request, n int) {
			time.Sleep(8*time.Second + time.Millisecond)
			io.WriteString(w, completed)
		}, after(8*time.Second + retry), "no answer in time"},
		{"a body that comes later than 8 s", func(w http.ResponseWriter, r *http.Request, n int) {
			io.WriteString(w, completed[:10])
			w.(http.Flusher).Flush()
			time.Sleep(9 * time.Second)
			io.WriteString(w, completed[10:])
		}, after(8*time.Second + retry), "no answer in time"},
		{"a body that drips", func(w http.ResponseWriter, r *http.Request, n int) {
			for i := range completed {
				time.Sleep(time.Second)
				io.WriteString(w, completed[i:i+1])
				w.(http.Flusher).Flush()
			}
		}, after(8*time.Second + retry), "no answer in time"},
		{"a body that drips and never ends", func(w http.ResponseWriter, r *http.Request, n int) {
			for r.Context().Err() == nil {
				time.Sleep(time.Second)
				io.WriteString(w, " ")
				w.(http.Flusher).Flush()
			}
		}, after(8*time.Second + retry), "no answer in time"},
		{"a closed connection", func(w http.ResponseWriter, r *http.Request, n int) { hijacked(w) }, after(retry), "no valid answer"},
		{"no HTTP", func(w http.ResponseWriter, r *http.Request, n int) {
			conn, _, _ := w.(http.Hijacker).Hijack()
			io.WriteString(conn, "220 mail.example ESMTP\r\n")
			conn.Close()
		}, after(retry), "no valid answer"},
		{"a body that is cut off", func(w http.ResponseWriter, r *http.Request, n int) {
			w.Header().Set("Content-Length", strconv.Itoa(len(completed)+1))
			io.WriteString(w, completed)
		}, after(retry), "no valid answer"},
		{"a header that never ends", func(w http.ResponseWriter, r *http.Request, n int) {
			conn, _, _ := w.(http.Hijacker).Hijack()
			defer conn.Close()
			io.WriteString(conn, "HTTP/1.1 200 OK\r\n")
			for i := 0; ; i++ {
				if _, err := fmt.Fprintf(conn, "X-%d: %s\r\n", i, strings.Repeat("x", 1<<10)); err != nil {
					return
				}
			}
		}, after(retry), "no valid answer"},
		{"a body that never ends", func(w http.ResponseWriter, r *http.Request, n int) {
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 32<<10)); err != nil {
					return
				}
			}
		}, once, "more than 1048576 bytes"},
		{"a body that is said to be over the limit", func(w http.ResponseWriter, r *http.Request, n int) {
			w.Header().Set("Content-Length", strconv.Itoa(1<<20+1))
			w.(http.Flusher).Flush()
			hang(r)
		}, once, "more than 1048576 bytes"},
		{"a body that explodes", func(w http.ResponseWriter, r *http.Request, n int) {
			var p bytes.Buffer
			z := gzip.NewWriter(&p)
			for range 1024 {
				z.Write(make([]byte, 64<<10))
			}
			z.Close()
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(p.Bytes())
		}, once, "more than 1048576 bytes"},
		{"404", respond(404), once, "404 Not Found"},
		{"401", respond(401, "WWW-Authenticate: Basic"), once, "401 Unauthorized"},
		{"429", respond(429, "Retry-After: 1"), once, "429 Too Many Requests"},
		{"500", respond(500), once, "500 Internal Server Error"},
		{"503", respond(503, "Retry-After: 1"), once, "503 Service Unavailable"},
		{"an unknown status", respond(599), once, "599"},
		{"201", respond(201), once, "201 Created"},
		{"204", func(w http.ResponseWriter, r *http.Request, n int) { w.WriteHeader(204) }, once, "204 No Content"},
		{"a redirect", respond(302, "Location: http://automation.example/elsewhere"), once, "302 Found"},
		{"a redirect for good", respond(308, "Location: /orders/o-1/status"), once, "308 Permanent Redirect"},
		{"a body that breaks a rule", answers(`{"status":"completed","output_type":"text"}`), once, "result_text, result_url"},
		{"no body", answers(``), once, "JSON object"},
		{"a page", answers(`<!DOCTYPE html><title>Sign in</title>`), once, "JSON object"},
		{"a file key without uploads", answers(`{"status":"completed","output_type":"file","files":[{"object_key":"k","filename":"f","mime_type":"text/csv"}]}`), once, "files[0].object_key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, &statuspoll.PollerOptions{Rules: &small})
				// A client that takes compressed answers, follows redirects and keeps connections.
				w.opts.Client.Transport.(*http.Transport).DisableCompression = false
				retries := len(c.checks) - 2
				w.status = func(rw http.ResponseWriter, r *http.Request, n int) {
					if n <= retries {
						c.do(rw, r, n)
						return
					}
					io.WriteString(rw, completed)
				}
				w.order("under_1_hr")
				w.sleepUntil(19 * time.Minute)
				s := w.state()
				if s.State != statuspoll.OrderProcessing || s.Checks != 1 || !contains(s.Problem, c.problem) || s.Progress != nil {
					t.Errorf("got %+v, want problem %q", s, c.problem)
				}
				if s := w.end(); s.State != statuspoll.OrderCompleted {
					t.Errorf("got %+v, want it completed", s)
				}
				w.wantTimes("checks", w.checks(), c.checks...)
				for _, call := range w.all() {
					if call.path != "/orders" && call.path != "/orders/o-1/status" {
						t.Errorf("%s was called", call.path)
					}
				}
				w.wantEvent(statuspoll.EventCompleted)
			})
		})
	}
}

func TestTheRetryCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.status = func(rw http.ResponseWriter, r *http.Request, n int) {
			if n == 0 {
				hijacked(rw)
				return
			}
			time.Sleep(7 * time.Second)
			io.WriteString(rw, completed)
		}
		w.order("under_2_min")
		if s := w.end(); s.State != statuspoll.OrderCompleted || s.Job.Finished.Sub(w.began) != 5*time.Minute+8*time.Second {
			t.Errorf("got %+v after %v", s, s.Job.Finished.Sub(w.began))
		}
	})
}

// What is wrong is told with the timeout, to whom it concerns.
func TestATimeoutSaysWhatWasWrong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.status = func(rw http.ResponseWriter, r *http.Request, n int) {
			http.Error(rw, "secret details", http.StatusServiceUnavailable)
		}
		w.order("under_2_min")
		s := w.end()
		e := w.wantEvent(statuspoll.EventTimedOut)
		for _, got := range []string{s.Problem, e.Problem} {
			if got != "answered 503 Service Unavailable" {
				t.Errorf("got problem %q, want the status", got)
			}
		}
		if s.ErrorMessage != "There was no final answer within 10m0s." || e.ErrorMessage != s.ErrorMessage {
			t.Errorf("got message %q and in the event %q", s.ErrorMessage, e.ErrorMessage)
		}
	})
}

func TestALongOrMissingMessageIsMended(t *testing.T) {
	long := strings.Repeat("é", 1025)
	for body, want := range map[string]struct{ message, problem string }{
		`{"status":"failed","error_message":"` + long + `"}`:         {long[:2048], "cut to 1024"},
		`{"status":"failed"}`:                                        {"The order failed. No reason was given.", "missing"},
		`{"status":"failed","error_message":"a\n\nProblem: b"}`:      {"a\n\nProblem: b", ""},
		`{"status":"failed","error_message":"a\u0000\n\nProblem: "}`: {"a\ufffd\n\nProblem: ", ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, nil)
			w.status = answers(body)
			w.order("under_2_min")
			s := w.end()
			e := w.wantEvent(statuspoll.EventFailed)
			if s.Code != statuspoll.CodeOrderFailed || s.ErrorMessage != want.message || e.ErrorMessage != want.message {
				t.Errorf("got %s %.50q and in the event %.50q, want %.50q", s.Code, s.ErrorMessage, e.ErrorMessage, want.message)
			}
			if (s.Problem == "") != (want.problem == "") || !contains(s.Problem, want.problem) || e.Problem != s.Problem {
				t.Errorf("got problem %q and in the event %q, want %q", s.Problem, e.Problem, want.problem)
			}
		})
	}
}

// Checks near the cut-off: their answers come too late.
func TestAnswersAfterTheCutOffAreIgnored(t *testing.T) {
	for name, c := range map[string]struct {
		first  time.Duration
		do     func(w http.ResponseWriter, r *http.Request, n int)
		checks []time.Duration
	}{
		"the answer": {10*time.Minute - 5*time.Second, func(w http.ResponseWriter, r *http.Request, n int) {
			time.Sleep(6 * time.Second)
			io.WriteString(w, completed)
		}, minutes(9.0 + 55.0/60)},
		"the end of the answer": {10*time.Minute - 5*time.Second, func(w http.ResponseWriter, r *http.Request, n int) {
			io.WriteString(w, completed[:9])
			w.(http.Flusher).Flush()
			time.Sleep(5 * time.Second)
			io.WriteString(w, completed[9:])
		}, minutes(9.0 + 55.0/60)},
		"a failure": {10*time.Minute - time.Second, func(w http.ResponseWriter, r *http.Request, n int) {
			time.Sleep(time.Second)
			io.WriteString(w, failed)
		}, minutes(9.0 + 59.0/60)},
		"a retry":                   {10*time.Minute - time.Second, func(w http.ResponseWriter, r *http.Request, n int) { hijacked(w) }, minutes(9.0 + 59.0/60)},
		"a check at the cut-off":    {10 * time.Minute, answers(completed), nil},
		"a check after the cut-off": {11 * time.Minute, answers(completed), nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, &statuspoll.PollerOptions{FirstCheck: c.first})
				w.status = c.do
				w.order("under_2_min")
				w.sleepUntil(time.Minute)
				if s := w.state(); s.NextCheck.IsZero() != (c.checks == nil) {
					t.Errorf("got the next check at %v", s.NextCheck)
				}
				s := w.end()
				if s.Checks != len(c.checks) || s.State != statuspoll.OrderTimedOut || s.Job.Finished.Sub(w.began) != 10*time.Minute {
					t.Errorf("got %+v after %v, want it timed out after 10 minutes", s, s.Job.Finished.Sub(w.began))
				}
				w.wantTimes("checks", w.checks(), c.checks...)
				w.wantEvent(statuspoll.EventTimedOut)
			})
		})
	}
}

// The result is what came, whatever its size; a reader is not to hold it in memory.
func TestALargeAnswerIsKeptAsItCame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		body := `{"status":"completed","output_type":"html","result_text":"` + strings.Repeat(`<p>\u00e9</p>`, 500_000) + `"}`
		w.status = answers(body)
		w.order("under_2_min")
		s := w.end()
		if s.Result == nil || s.Result.Data != nil || s.Result.Size != int64(len(body)) {
			t.Fatalf("got %+v", s)
		}
		if e := w.wantEvent(statuspoll.EventCompleted); e.Result != nil {
			t.Errorf("got a result of %d bytes in the event, want none", len(e.Result))
		}
		c, err := w.broker.Result(t.Context(), s.Job.ID)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if got, err := io.ReadAll(c); err != nil || string(got) != body || c.ContentType() != "application/json" {
			t.Errorf("got %d bytes of %s, %v, want %d", len(got), c.ContentType(), err, len(body))
		}
	})
}

// Hooks are asked of completed answers alone, before the order completes.
func TestHooks(t *testing.T) {
	answer := `{"status":"completed","output_type":"video","files":[{"object_key":"k1","filename":"f","mime_type":"video/mp4"},{"object_key":"k2","filename":"f","mime_type":"video/mp4"}]}`
	for _, c := range []struct {
		name     string
		key      []error // of each time that k2 is asked for
		accepted []error
		checks   []time.Duration
		problem  string
	}{
		{"all is well", nil, nil, minutes(5), ""},
		{"a key is not known at first", []error{errors.New("never\nprepared")}, nil, minutes(5, 20), "files[1].object_key: never prepared"},
		{"the store is busy", []error{fmt.Errorf("asking: %w", jobqueue.ErrBusy), jobqueue.ErrOutcomeUnknown}, nil, minutes(5, 5.25, 5.5), ""},
		{"a hook takes too long", []error{context.DeadlineExceeded}, nil, minutes(5, 5.25), ""},
		{"an upload is gone when it is to be kept", nil, []error{jobqueue.ErrNotFound}, minutes(5, 20), "not found"},
		{"the store is full when it is to be kept", nil, []error{jobqueue.ErrStoreFull}, minutes(5, 5.25), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				next := func(list *[]error) (err error) {
					if len(*list) > 0 {
						err, *list = (*list)[0], (*list)[1:]
					}
					return err
				}
				asked, accepted := 0, 0
				var w *world
				w = newWorld(t, &statuspoll.PollerOptions{
					ObjectKey: func(ctx context.Context, orderID string, f statuspoll.File) error {
						asked++
						switch {
						case orderID != "o-1":
							t.Errorf("got order %q", orderID)
						case f.ObjectKey == "k2":
							return next(&c.key)
						case f.ObjectKey != "k1":
							t.Errorf("got file %+v", f)
						}
						return nil
					},
					Accepted: func(ctx context.Context, orderID string, a *statuspoll.Answer) error {
						accepted++
						if s := w.state(); s.State != statuspoll.OrderProcessing || orderID != "o-1" || len(a.Files) != 2 {
							t.Errorf("got %s, %+v in state %s", orderID, a, s.State)
						}
						return next(&c.accepted)
					},
				})
				w.status = answers(answer)
				w.order("under_1_hr")
				w.sleepUntil(19 * time.Minute)
				if s := w.state(); c.problem != "" && s.Problem != c.problem {
					t.Errorf("got problem %q, want %q", s.Problem, c.problem)
				}
				if s := w.end(); s.State != statuspoll.OrderCompleted || asked < 2 || accepted == 0 {
					t.Errorf("got %+v, hooks asked %d and %d times", s, asked, accepted)
				}
				w.wantTimes("checks", w.checks(), c.checks...)
				w.wantEvent(statuspoll.EventCompleted)
			})
		})
	}
}

// A client of one's own keeps its transport, whatever else it does.
func TestTheClientOfTheOptionsIsNotChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		own := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no network") }}}
		w := newWorld(t, &statuspoll.PollerOptions{Client: own})
		w.order("under_2_min")
		if s := w.end(); s.Code != statuspoll.CodeStartFailed || own.CheckRedirect != nil || len(w.all()) > 0 {
			t.Errorf("got %+v", s)
		}
	})
}
