package httpapi_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/jobqueue"
)

// opaque hides the connection: it has no Unwrap.
type opaque struct{ http.ResponseWriter }

func hideConnection(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(opaque{w}, r) })
}

func setDeadline(d time.Duration) func(http.Handler) http.Handler {
	return func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), d)
			defer cancel()
			h.ServeHTTP(w, r.WithContext(ctx))
		})
	}
}

func TestAWaitOutlivesTheServersTimeoutsOrHeedsThem(t *testing.T) {
	for _, c := range []struct {
		what        string
		write, read time.Duration
		wrap        func(http.Handler) http.Handler
		want        time.Duration
		http2       bool
	}{
		{"timeouts that can be moved", 2 * time.Second, 3 * time.Second, nil, 30 * time.Second, false},
		{"timeouts that can be moved, HTTP/2", 2 * time.Second, 3 * time.Second, nil, 30 * time.Second, true},
		{"a hidden connection with a WriteTimeout, HTTP/2", 5 * time.Second, 0, hideConnection, 4 * time.Second, true},
		{"a hidden connection with a ReadTimeout, HTTP/2", 0, 7 * time.Second, hideConnection, 30 * time.Second, true},
		{"a hidden connection with a WriteTimeout", 5 * time.Second, 0, hideConnection, 4 * time.Second, false},
		{"a hidden connection with a short WriteTimeout", time.Second, 0, hideConnection, 500 * time.Millisecond, false},
		{"a hidden connection with a ReadTimeout", 0, 7 * time.Second, hideConnection, 30 * time.Second, false},
		{"a hidden connection without timeouts", 0, 0, hideConnection, 30 * time.Second, false},
		{"a deadline set by middleware", 0, 0, setDeadline(10 * time.Second), 9 * time.Second, false},
	} {
		t.Run(c.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, &setup{server: http.Server{WriteTimeout: c.write, ReadTimeout: c.read}, wrap: c.wrap, http2: c.http2})
				path := "/v1/jobs/" + w.enqueue("other", jobqueue.NewJob{}).ID.String()
				for _, request := range []struct {
					method, path, body, prefer string
					want                       int
				}{
					{"GET", "/v1/queues/mail/poll", "", "", 204},
					{"POST", "/v1/queues/mail/poll", "{}", "", 204},
					{"GET", path + "?wait=30", "", "", 200},
					{"POST", "/v1/queues/other/jobs", "{}", "Prefer: wait=30", 202},
				} {
					began := time.Now()
					w.do(request.method, request.path, request.body, request.prefer).want(request.want)
					if d := time.Since(began); d != c.want {
						t.Errorf("%s %s: answered after %v, want %v", request.method, request.path, d, c.want)
					}
				}
				done := later(c.want/2, func() { w.enqueue("mail", jobqueue.NewJob{}) })
				w.do("GET", "/v1/queues/mail/poll", "").want(200).wantHeader("Delivery-Attempt", "1")
				<-done
			})
		})
	}
}

func TestHowManyWaitIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &setup{options: httpapi.Options{MaxPolls: 3, MaxPollsPerAccount: 2, RetryAfter: 1500 * time.Millisecond}})
		job := "/v1/jobs/" + w.enqueue("other", jobqueue.NewJob{}).ID.String()
		const path = "/v1/queues/mail/poll"
		var parked sync.WaitGroup
		park := func(want int, headers ...string) {
			parked.Go(func() {
				if a, err := w.try(t.Context(), "GET", path, "", headers...); err != nil || a.status != want {
					t.Errorf("got %v, %v; want %d", a, err, want)
				}
			})
			synctest.Wait()
		}
		park(200)
		park(204)
		w.do("GET", path, "").wantProblem(429, "too_many_polls").wantHeader("Retry-After", "2")
		w.do("GET", job+"?wait=1", "").wantProblem(429, "too_many_polls")
		w.do("POST", "/v1/queues/other/jobs", "{}", "Prefer: wait=10").want(202).wantHeader("Preference-Applied", "") // it is enqueued, so it is no error
		w.do("GET", path+"?timeout=0", "").want(204)
		park(204, "Authorization: Bearer bob-token")
		w.do("GET", path, "", "Authorization: Bearer bob-token").wantProblem(429, "too_many_polls") // in all
		w.enqueue("mail", jobqueue.NewJob{})                                                        // the longest waits for it: it gets 200
		parked.Wait()
		for range 4 { // all places are free again
			w.do("GET", path+"?timeout=1", "").want(204)
			w.do("GET", job+"?wait=1", "").want(200)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &setup{options: httpapi.Options{MaxPolls: -1, MaxPollsPerAccount: -1}})
		w.do("GET", "/v1/queues/mail/poll?timeout=1", "").want(204)
	})
}

func TestAWaitWhoseClientHasGoneEnds(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		testAWaitWhoseClientHasGone(t, http2)
	}
}

func testAWaitWhoseClientHasGone(t *testing.T, http2 bool) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &setup{options: httpapi.Options{MaxPolls: 1}, http2: http2})
		job := "/v1/jobs/" + w.enqueue("other", jobqueue.NewJob{}).ID.String()
		for _, request := range []struct{ method, path, body, prefer string }{
			{"GET", "/v1/queues/mail/poll", "", ""}, {"GET", "/v1/queues/mail/poll", "body", ""}, {"POST", "/v1/queues/mail/poll", "{}", ""},
			{"GET", job + "?wait=30", "", ""}, {"GET", job + "?wait=30", "body", ""}, {"POST", "/v1/queues/other/jobs", "{}", "Prefer: wait=30"},
			{"POST", "/v1/queues/other/jobs?name=raw", "raw", "Prefer: wait=30"},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			began := time.Now()
			w.try(ctx, request.method, request.path, request.body, request.prefer)
			cancel()
			synctest.Wait()
			w.do("GET", job+"?wait=1", "").want(200) // the only place is free
			if d := time.Since(began); d != 2*time.Second {
				t.Errorf("%v: took %v, want 2s", request, d)
			}
		}
	})
}

func TestAnEndedJobIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &setup{options: httpapi.Options{MaxPolls: 1}})
		job := "/v1/jobs/" + w.enqueue("other", jobqueue.NewJob{}).ID.String()
		w.do("POST", job+"/cancel", "").want(200)
		var parked sync.WaitGroup
		parked.Go(func() { w.try(t.Context(), "GET", "/v1/queues/mail/poll", "") })
		synctest.Wait()
		w.do("GET", job+"?wait=30", "").want(200) // so it needs no place
		parked.Wait()
	})
}

// What takes long after the body has been read is cut neither by the time that the body was given nor by the server's WriteTimeout.
func TestASlowAdmissionIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &setup{server: http.Server{WriteTimeout: 2 * time.Second}, broker: &jobqueue.Options{Admit: func(ctx context.Context, _ *jobqueue.Job) error {
			select {
			case <-time.After(time.Minute):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}}})
		w.do("POST", "/v1/queues/mail/jobs", `{}`).want(202)
		w.do("POST", "/v1/queues/mail/jobs", `raw`).want(202)
	})
}

func TestShutdownEndsWhatWaits(t *testing.T) {
	for _, end := range []string{"Drain", "Shutdown"} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, nil)
			job := w.enqueue("other", jobqueue.NewJob{})
			d := w.receive("other")
			path := "/v1/jobs/" + job.ID.String()
			began := time.Now()
			done := later(time.Second, func() {
				if end == "Drain" {
					w.h.Drain()
				} else {
					w.broker.Shutdown(context.Background())
				}
			})
			var parked sync.WaitGroup
			for p, want := range map[string]int{"/v1/queues/mail/poll": 204, path + "?wait=30": 200, path + "?wait=30#": 304} {
				parked.Go(func() {
					var known string
					p, ok := strings.CutSuffix(p, "#")
					if ok {
						known = `If-None-Match: "` + fmt.Sprint(job.Version+1) + `"`
					}
					if a, err := w.try(t.Context(), "GET", p, "", known); err != nil || a.status != want || time.Since(began) != time.Second {
						t.Errorf("%s: %s: got %v, %v after %v; want %d after 1s", end, p, a, err, time.Since(began), want)
					}
				})
			}
			parked.Wait()
			<-done
			w.do("GET", "/v1/queues/mail/poll", "").wantProblem(503, "shutting_down").wantHeader("Retry-After", "2")
			w.do("GET", "/v1/queues/mail/poll?timeout=0", "").wantProblem(503, "shutting_down")
			w.do("GET", path+"?wait=30", "").want(200)
			if end == "Drain" {
				w.do("POST", path+"/ack", "", "Lease-Token: "+d.Token.String()).want(200)
				w.do("POST", "/v1/queues/mail/jobs", "{}", "Prefer: wait=30").want(202)
			} else {
				w.do("POST", path+"/ack", "", "Lease-Token: "+d.Token.String()).wantProblem(503, "shutting_down")
				w.do("POST", "/v1/queues/mail/jobs", "{}").wantProblem(503, "shutting_down")
			}
		})
	}
}

// send writes a request by hand and returns the connection.
func (w *world) send(text string) net.Conn {
	w.t.Helper()
	conn, err := w.net.Dial(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	if _, err := conn.Write([]byte(strings.ReplaceAll(text, "\n", "\r\n"))); err != nil {
		w.t.Fatal(err)
	}
	return conn
}

func TestAClientThatSendsItsBodyTooSlowlyIsCut(t *testing.T) {
	for _, c := range []struct{ path, kind string }{{"/v1/queues/mail/jobs", "text/plain"}, {"/v1/queues/mail/jobs", "application/json"}, {"/v1/queues/mail/poll", "text/plain"}} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, nil)
			began := time.Now()
			conn := w.send("POST " + c.path + " HTTP/1.1\nHost: x\nAuthorization: Bearer alice-token\nContent-Type: " + c.kind + "\nContent-Length: 100\n\n{")
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if d := time.Since(began); resp.StatusCode != 408 || d != 30*time.Second {
				t.Errorf("%s: got %d after %v, want 408 after 30s", c.path, resp.StatusCode, d)
			}
		})
	}
}

func TestABodyThatNobodyReadsIsNotAwaited(t *testing.T) {
	for path, want := range map[string]struct {
		status int
		size   string
		after  time.Duration
	}{
		"/v1/unknown":               {404, "100", 30 * time.Second},
		"/v1/queues/mail":           {405, "100", 30 * time.Second},
		"/v1/queues/mail/close":     {404, "100", 30 * time.Second},
		"/v1/jobs/unknown/complete": {404, "100", 30 * time.Second},
		"/v1/queues/mail/jobs":      {413, "100000000", 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, nil)
			began := time.Now()
			conn := w.send("POST " + path + " HTTP/1.1\nHost: x\nAuthorization: Bearer alice-token\nContent-Length: " + want.size + "\n\n")
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if d := time.Since(began); resp.StatusCode != want.status || d != want.after {
				t.Errorf("%s: got %d after %v, want %d after %v", path, resp.StatusCode, d, want.status, want.after)
			}
		})
	}
}

func TestABodyMayTakeLongWhileItMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		const piece, pieces = 32 << 10, 100 // 32 KiB every second, 100 s in all
		conn := w.send(fmt.Sprintf("POST /v1/queues/mail/jobs HTTP/1.1\nHost: x\nAuthorization: Bearer alice-token\nContent-Type: text/plain\nContent-Length: %d\n\n", piece*pieces))
		for range pieces {
			time.Sleep(time.Second)
			if _, err := conn.Write(make([]byte, piece)); err != nil {
				t.Fatal(err)
			}
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 202 {
			t.Errorf("got %d, want 202", resp.StatusCode)
		}
	})
}

func TestAClientThatReadsTooSlowlyIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		job := w.enqueue("mail", jobqueue.NewJob{Payload: make([]byte, 1<<20)})
		conn := w.send("GET /v1/jobs/" + job.ID.String() + "/payload HTTP/1.1\nHost: x\nAuthorization: Bearer alice-token\n\n")
		time.Sleep(time.Hour)
		n := 0
		p := make([]byte, 4096)
		for {
			k, err := conn.Read(p)
			if n += k; err != nil {
				break
			}
		}
		if n > 64<<10 {
			t.Errorf("after an hour without reading %d bytes could still be read", n)
		}
	})
}

func TestAClientThatDoesNotTakeItsJobGivesItBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.enqueue("mail", jobqueue.NewJob{Payload: make([]byte, jobqueue.InlineLimit)})
		w.send("GET /v1/queues/mail/poll HTTP/1.1\nHost: x\nAuthorization: Bearer alice-token\n\n")
		time.Sleep(time.Minute) // the answer would take 35 s at the least rate
		if d := w.receive("mail"); d.Deliveries != 1 || d.Lapses != 0 {
			t.Errorf("got delivery %d and %d lapses, want 1 and 0", d.Deliveries, d.Lapses)
		}
	})
}

// A chunked request that has a Content-Length too ends its connection, so what follows it is not taken for another request.
func TestASmuggledRequestIsNotServed(t *testing.T) {
	for _, path := range []string{"/v1/queues/mail/jobs", "/unknown", "/v1/queues"} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, nil)
			conn := w.send("POST " + path + " HTTP/1.1\nHost: x\nAuthorization: Bearer alice-token\nContent-Type: text/plain\nContent-Length: 5\nTransfer-Encoding: chunked\n\n1\nx\n0\n\n" +
				"GET /v1/smuggled HTTP/1.1\nHost: x\n\n")
			r := bufio.NewReader(conn)
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			var body strings.Builder
			bufio.NewReader(resp.Body).WriteTo(&body)
			resp.Body.Close()
			if !resp.Close {
				t.Errorf("%s: the connection stays open after %s %s", path, resp.Status, body.String())
			}
			if again, err := http.ReadResponse(r, nil); err == nil {
				t.Errorf("%s: the smuggled request was answered: %s", path, again.Status)
			}
		})
	}
}
