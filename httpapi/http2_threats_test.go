package httpapi_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/jobqueue"
)

// Threat: HTTP/2, reset floods. A client opens polls by hundreds and resets their streams at once, or while jobs come. No job stays with it longer than a
// lease, and all places are free again.
func TestAFloodOfResetStreamsKeepsNeitherJobsNorPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const flood, places = 400, 100
		w := newWorld(t, &setup{http2: true, options: httpapi.Options{MaxPolls: places}})
		for i := range flood {
			ctx, cancel := context.WithCancel(t.Context())
			var polls sync.WaitGroup
			polls.Go(func() { w.try(ctx, "GET", "/v1/queues/mail/poll", "") })
			if i%2 == 0 {
				synctest.Wait() // it is parked
			}
			if i%4 < 2 {
				polls.Go(func() { w.enqueue("mail", jobqueue.NewJob{}) })
			}
			cancel()
			polls.Wait()
		}
		time.Sleep(jobqueue.DefaultLease) // of answers that were on their way
		got := make(map[string]bool)
		for range flood / 2 {
			a := w.do("GET", "/v1/queues/mail/poll?timeout=1", "").want(200)
			got[a.text("id")] = true
			w.do("POST", "/v1/jobs/"+a.text("id")+"/ack", "", "Lease-Token: "+a.text("lease_token")).want(200)
		}
		if len(got) != flood/2 {
			t.Errorf("got %d different jobs, want %d", len(got), flood/2)
		}
		var parked sync.WaitGroup
		for range places {
			parked.Go(func() {
				if a, err := w.try(t.Context(), "GET", "/v1/queues/mail/poll?timeout=1", ""); err != nil || a.status != 204 {
					t.Errorf("got %+v, %v; want a place to wait in", a, err)
				}
			})
		}
		parked.Wait()
	})
}

// Threat: Host sets WriteTimeout < poll, and the like. http.TimeoutHandler keeps the answer to itself until it is whole, lets nobody reach the
// connection, and throws away what is late: a poll ends before that.
func TestAPollEndsBeforeATimeoutHandlerDoes(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, &setup{http2: http2, server: http.Server{WriteTimeout: 20 * time.Second}, wrap: func(h http.Handler) http.Handler {
				return http.TimeoutHandler(h, 10*time.Second, "late")
			}})
			began := time.Now()
			w.do("GET", "/v1/queues/mail/poll", "").want(204)
			if d := time.Since(began); d != 9*time.Second {
				t.Errorf("HTTP/2 %v: answered after %v, want 9s", http2, d)
			}
			done := later(5*time.Second, func() { w.enqueue("mail", jobqueue.NewJob{}) })
			w.do("GET", "/v1/queues/mail/poll", "").want(200).wantHeader("Delivery-Attempt", "1")
			<-done
		})
	}
}

// An answer that never arrives, although all of the server believes that it was sent, is no delivery: without an ack the job comes again.
func TestAJobWhoseAnswerIsLostOnTheWayComesAgain(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			lose := true
			w := newWorld(t, &setup{http2: http2, wrap: func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if lose {
						h.ServeHTTP(httptest.NewRecorder(), r)
						panic(http.ErrAbortHandler)
					}
					h.ServeHTTP(w, r)
				})
			}})
			w.enqueue("mail", jobqueue.NewJob{})
			if a, err := w.try(t.Context(), "GET", "/v1/queues/mail/poll", ""); err == nil {
				t.Fatalf("got %+v, want no answer", a)
			}
			lose = false
			began := time.Now()
			var a *answer
			for a == nil || a.status == 204 {
				a = w.do("GET", "/v1/queues/mail/poll", "")
			}
			a.want(200).wantHeader("Delivery-Attempt", "2")
			if d := time.Since(began); d != jobqueue.DefaultLease {
				t.Errorf("HTTP/2 %v: it came again after %v, want %v", http2, d, jobqueue.DefaultLease)
			}
		})
	}
}

// The same over sockets and TLS, in both versions of HTTP: a poll outlives a WriteTimeout by far, and other requests on the connection do not notice.
func TestAPollOutlivesTheWriteTimeoutOverTLS(t *testing.T) {
	for version := range 2 {
		t.Run(fmt.Sprint("HTTP/", version+1), func(t *testing.T) {
			t.Parallel()
			h, _ := newHandler(t, httpapi.Options{})
			server := httptest.NewUnstartedServer(h)
			server.EnableHTTP2 = version == 1
			server.Config.WriteTimeout = 100 * time.Millisecond
			server.StartTLS()
			defer server.Close()
			for range 2 {
				resp, err := server.Client().Get(server.URL + "/v1/queues/q/poll?timeout=1")
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if resp.StatusCode != 204 || resp.ProtoMajor != version+1 {
					t.Errorf("got %s %s, want 204", resp.Proto, resp.Status)
				}
			}
		})
	}
}

// Middleware that bounds how long a request takes to be read leaves its deadline on the connection, where it would end a wait (golang/go#70834).
func TestAPollOutlivesAReadDeadlineOfMiddleware(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, &setup{http2: http2, wrap: func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					http.NewResponseController(w).SetReadDeadline(time.Now().Add(5 * time.Second))
					h.ServeHTTP(w, r)
				})
			}})
			job := w.enqueue("other", jobqueue.NewJob{})
			for path, want := range map[string]int{"/v1/queues/mail/poll": 204, "/v1/jobs/" + job.ID.String() + "?wait=30": 200} {
				began := time.Now()
				w.do("GET", path, "").want(want)
				if d := time.Since(began); d != 30*time.Second {
					t.Errorf("HTTP/2 %v: %s: answered after %v, want 30s", http2, path, d)
				}
			}
		})
	}
}
