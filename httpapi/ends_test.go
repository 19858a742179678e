package httpapi_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage"
)

// These tests end a server in each state that its requests can be in (I20). http.Server.Shutdown ends no request that waits; Drain does.

// parkedRequests has one request wait of each kind that does, and returns once they do. What is returned demands that all are answered now, as they are
// where nothing came.
func (w *world) parkedRequests() (answered func()) {
	w.t.Helper()
	path, _ := w.held()
	held := w.take("acked", 1)
	version := w.do("GET", path, "").header.Get("ETag")
	type told struct {
		name string
		a    *answer
		err  error
		want int
		at   time.Time
	}
	requests := []struct {
		name, method, path, body, header string
		want                             int
	}{
		{"a poll", "GET", "/v1/queues/mail/poll", "", "", 204},
		{"a poll for several", "GET", "/v1/queues/mail/poll?max=10&timeout=20", "", "", 204},
		{"a poll with acks", "POST", "/v1/queues/mail/poll", acksOf(held[0]), "", 200},
		{"a wait for the end", "GET", path + "?wait=30", "", "", 200},
		{"a wait for a change", "GET", path + "?wait=30", "", "If-None-Match: " + version, 304},
		{"a submit that waits", "POST", "/v1/queues/work/jobs", `{}`, "Prefer: wait=30", 202},
	}
	all := make(chan told, len(requests))
	for _, r := range requests {
		go func() {
			var headers []string
			if r.header != "" {
				headers = append(headers, r.header)
			}
			a, err := w.try(w.t.Context(), r.method, r.path, r.body, headers...)
			all <- told{r.name, a, err, r.want, time.Now()}
		}()
	}
	synctest.Wait()
	if len(all) > 0 {
		got := <-all
		w.t.Fatalf("%s did not wait: got %v, %v", got.name, got.a, got.err)
	}
	return func() {
		w.t.Helper()
		now := time.Now()
		synctest.Wait()
		if len(all) != len(requests) {
			w.t.Errorf("%d of %d requests were answered", len(all), len(requests))
		}
		for range requests {
			if got := <-all; got.err != nil || got.a.status != got.want || got.at.After(now) {
				w.t.Errorf("%s: got %v, %v after %v; want status %d at once", got.name, got.a, got.err, got.at.Sub(now), got.want)
			}
		}
	}
}

func TestAServerThatDrainsShutsDownAtOnce(t *testing.T) {
	for protocol, h2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(protocol, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, &setup{http2: h2})
				w.server.RegisterOnShutdown(w.h.Drain)
				answered := w.parkedRequests()
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				ended := make(chan error, 1)
				go func() { ended <- w.server.Shutdown(ctx) }()
				answered()
				if err := <-ended; err != nil {
					t.Errorf("Shutdown: got %v, want nil", err)
				}
			})
		})
	}
}

func TestAServerThatDoesNotDrainWaitsForWhoeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		answered := w.parkedRequests()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := w.server.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the server's Shutdown: got %v, want %v", err, context.DeadlineExceeded)
		}
		if err := w.broker.Shutdown(t.Context()); err != nil { // the broker's does end them
			t.Errorf("the broker's Shutdown: %v", err)
		}
		answered()
	})
}

func TestEndsThatComeTwiceAndAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		answered := w.parkedRequests()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var all sync.WaitGroup
		shutdown := func() {
			if err := errors.Join(w.server.Shutdown(ctx), w.broker.Shutdown(ctx)); err != nil {
				t.Errorf("Shutdown: %v", err)
			}
		}
		for range 3 {
			all.Go(w.h.Drain)
			all.Go(shutdown)
			all.Go(func() { w.broker.Shutdown(ctx) })
		}
		answered()
		all.Wait()
		w.h.Drain()
		shutdown()
	})
}

// An upload of which only a part has come keeps the server's Shutdown waiting until its context ends; when the connection is then closed, what had come is
// deleted.
func TestAnUploadThatIsHalfWrittenWhenTheServerEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.server.RegisterOnShutdown(w.h.Drain)
		a := w.prepare(`{}`)
		u, err := url.Parse(a.text("put_url"))
		if err != nil {
			t.Fatal(err)
		}
		conn := w.send("PUT " + u.RequestURI() + " HTTP/1.1\nHost: x\nContent-Length: 4000000\n\n" + strings.Repeat("x", 3<<20))
		synctest.Wait()
		if n := w.staged(); n != 2 {
			t.Errorf("got %d uploads in the store, want the prepared one and what is being written", n)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := w.server.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown: got %v, want %v", err, context.DeadlineExceeded)
		}
		w.server.Close()
		synctest.Wait()
		if n := w.staged(); n != 1 {
			t.Errorf("got %d uploads in the store, want the prepared one", n)
		}
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			t.Error("the connection lives")
		}
	})
}

// staged returns how many uploads there are in the store.
func (w *world) staged() (n int64) {
	w.t.Helper()
	err := w.store.View(context.Background(), storage.Reads{}, func(r storage.Reader) error {
		queues, err := r.Queues(storage.QueueName{}, 100)
		for _, q := range queues {
			counts, _ := r.Counts(q.QueueName)
			n += counts[storage.Staged]
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

func TestAPayloadIsSentToItsEndWhenTheServerEnds(t *testing.T) {
	for _, c := range []struct {
		name   string
		closed bool // the store, before the end
	}{{"in order", false}, {"the store first", true}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, nil)
				w.server.RegisterOnShutdown(w.h.Drain)
				payload := bytes.Repeat([]byte("payload "), 1<<18)
				j := w.enqueue("mail", jobqueue.NewJob{Payload: payload})
				conn := w.send("GET /v1/jobs/" + j.ID.String() + "/payload HTTP/1.1\nHost: x\nAuthorization: Bearer alice-token\n\n")
				resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				ended := make(chan error, 1)
				go func() { ended <- w.server.Shutdown(ctx) }()
				synctest.Wait()
				if err := w.broker.Shutdown(t.Context()); err != nil {
					t.Errorf("the broker's Shutdown: %v", err)
				}
				if c.closed {
					w.store.Close()
				}
				got, err := io.ReadAll(resp.Body)
				switch {
				case c.closed && (err == nil || len(got) >= len(payload)):
					t.Errorf("got %d bytes, %v; want the answer cut off", len(got), err)
				case !c.closed && (err != nil || !bytes.Equal(got, payload)):
					t.Errorf("got %d bytes, %v; want all %d", len(got), err, len(payload))
				}
				if err := <-ended; err != nil {
					t.Errorf("the server's Shutdown: %v", err)
				}
			})
		})
	}
}

func TestWhoeverWaitsIsToldThatTheStoreHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		path, token := w.held()
		held := w.take("acked", 1)
		answers := make(chan *answer, 4)
		for _, r := range [][3]string{
			{"GET", "/v1/queues/mail/poll", ""}, {"POST", "/v1/queues/mail/poll", acksOf(held[0])}, {"GET", path + "?wait=30", ""},
			{"GET", "/v1/queues/mail/poll?max=3", ""},
		} {
			go func() { answers <- w.do(r[0], r[1], r[2]) }()
		}
		synctest.Wait()
		w.store.Close()
		begun := time.Now()
		w.do("POST", "/v1/queues/other/jobs", "{}").wantProblem(503, "store_failed") // finds out
		for range cap(answers) {
			a := <-answers
			if acks, ok := a.object()["acks"]; ok && a.status == 200 { // taken before; the error says why there are no jobs
				if code := a.get("error.code"); acks == nil || code != "store_failed" {
					t.Errorf("got %s, want the acks and store_failed", a.body)
				}
				continue
			}
			a.wantProblem(503, "store_failed")
		}
		w.do("POST", path+"/ack", "", token).wantProblem(503, "store_failed")
		w.do("GET", path, "").wantProblem(503, "store_failed")
		if took := time.Since(begun); took != 0 {
			t.Errorf("it took %v, want no time", took)
		}
	})
}
