package statuspoll_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/httpapi/statuspoll"
	"github.com/pollackq/pollack/internal/pipenet"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/memstore"
	"github.com/pollackq/pollack/storage/storagetest"
)

// An automation is a server with a status endpoint for the orders of "alice".
type automation struct {
	t      *testing.T
	broker *jobqueue.Broker
	store  *storagetest.FaultyStore // counts
	mux    *http.ServeMux
}

func newAutomation(t *testing.T) *automation {
	a := &automation{t: t, store: storagetest.Faulty(memstore.New(nil), nil), mux: http.NewServeMux()}
	var err error
	if a.broker, err = jobqueue.New(a.store, &jobqueue.Options{MaxResult: 64 << 20, Retention: time.Hour}); err != nil {
		t.Fatal(err)
	}
	h, err := httpapi.New(a.broker, &httpapi.Options{Authenticate: httpapi.BearerTokens(map[string]string{"k": "alice", "k2": "bob"})})
	if err != nil {
		t.Fatal(err)
	}
	a.mux.Handle("GET /orders/{order_id}/status", h.Func(statuspoll.Endpoint(jobqueue.QueueName{Account: "alice", Name: "orders"})))
	t.Cleanup(func() { a.broker.Shutdown(context.Background()) })
	return a
}

func (a *automation) queue() *jobqueue.Queue { return a.broker.In("alice").Queue("orders") }

// add enqueues the job of an order.
func (a *automation) add(id string) *jobqueue.Job {
	a.t.Helper()
	j, err := a.queue().Enqueue(context.Background(), jobqueue.NewJob{Key: id})
	if err != nil {
		a.t.Fatal(err)
	}
	return j
}

func (a *automation) take() *jobqueue.Delivery {
	a.t.Helper()
	d, err := a.queue().TryReceive(context.Background(), nil)
	if err != nil {
		a.t.Fatal(err)
	}
	return d
}

// ask asks the endpoint, and how often the store was used for that.
func (a *automation) ask(method, id, token string) (*httptest.ResponseRecorder, uint64) {
	r := httptest.NewRequest(method, "http://automation.example/orders/"+strings.ReplaceAll(url.PathEscape(id), ".", "%2E")+"/status", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	synctest.Wait() // the broker's own timeline has looked at what has been done
	w, before := httptest.NewRecorder(), a.store.Calls()
	a.mux.ServeHTTP(w, r)
	return w, a.store.Calls() - before
}

func TestTheEndpointAnswersTheStateOfAJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		done := &statuspoll.Answer{OutputType: "html", ResultText: "<b>&amp;ü</b>"}
		for _, c := range []struct {
			name string
			do   func(a *automation)
			want string
		}{
			{"pending", func(a *automation) {}, `{"status":"processing"}`},
			{"running", func(a *automation) { a.take() }, `{"status":"processing"}`},
			{"with progress", func(a *automation) { a.take().Progress(ctx, 0.456, "rendering") }, `{"status":"processing","progress":"45%"}`},
			{"given back", func(a *automation) {
				d := a.take()
				d.Progress(ctx, 1, "")
				d.Release(ctx, &jobqueue.ReleaseOptions{Delay: time.Hour})
			}, `{"status":"processing","progress":"100%"}`},
			{"completed", func(a *automation) { statuspoll.Complete(ctx, a.take(), done) }, `{"status":"completed","output_type":"html","result_text":"<b>&amp;ü</b>"}`},
			{"failed", func(a *automation) { a.take().Fail(ctx, "bad_input", "Unable to process the provided input") },
				`{"status":"failed","error_message":"Unable to process the provided input"}`},
			{"failed, without a message", func(a *automation) { a.take().Fail(ctx, "bad_input", "") }, `{"status":"failed","error_message":"The order failed. No reason was given."}`},
			{"failed, with a long message", func(a *automation) { a.take().Fail(ctx, "", strings.Repeat("é", 1025)) },
				`{"status":"failed","error_message":"` + strings.Repeat("é", 1024) + `"}`},
			{"canceled", func(a *automation) {
				j, _ := a.broker.JobByKey(ctx, a.queue().Name(), "o-1")
				a.broker.Cancel(ctx, j.ID)
			}, `{"status":"failed","error_message":"The order was canceled."}`},
			{"acked", func(a *automation) { a.take().Ack(ctx) }, `{"status":"failed","error_message":"The order ended without a result."}`},
			{"completed with something else", func(a *automation) {
				a.take().Complete(ctx, jobqueue.NewResult{ContentType: "image/png", Data: make([]byte, 100_000)})
			}, `{"status":"failed","error_message":"The order ended without a result."}`},
		} {
			a := newAutomation(t)
			a.add("o-1")
			c.do(a)
			w, calls := a.ask("GET", "o-1", "k")
			if w.Code != 200 || w.Body.String() != c.want || w.Header().Get("Content-Type") != "application/json" || w.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("%s: got %d %.200s with %v, want %s", c.name, w.Code, w.Body, w.Header(), c.want)
			}
			if calls != 1 {
				t.Errorf("%s: the store was used %d times, want once", c.name, calls)
			}
			head, calls := a.ask("HEAD", "o-1", "k")
			if head.Code != 200 || head.Header().Get("Content-Length") != fmt.Sprint(w.Body.Len()) || calls != 1 {
				t.Errorf("%s: HEAD: got %d with %v after %d uses", c.name, head.Code, head.Header(), calls)
			}
		}
	})
}

func TestAnOrderThatIsNotThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAutomation(t)
		a.add("o-1")
		for _, id := range []string{"o-2", "O-1", " o-1", "o-1 ", "\x00", "a\nb", "\xff", strings.Repeat("x", 256), strings.Repeat("x", 5000)} {
			w, _ := a.ask("GET", id, "k")
			var p struct{ Code string }
			if err := json.Unmarshal(w.Body.Bytes(), &p); w.Code != 404 || err != nil || p.Code != "not_found" {
				t.Errorf("%.20q: got %d %s, want 404", id, w.Code, w.Body)
			}
		}
		for token, status := range map[string]int{"k2": 404, "": 401, "wrong": 401} {
			if w, _ := a.ask("GET", "o-1", token); w.Code != status {
				t.Errorf("with token %q: got %d, want %d", token, w.Code, status)
			}
		}
		a.take().Fail(t.Context(), "x", "y")
		time.Sleep(2 * time.Hour)
		if w, _ := a.ask("GET", "o-1", "k"); w.Code != 410 {
			t.Errorf("after its retention: got %d, want 410", w.Code)
		}
		a.store.Set(func(storagetest.Call) storagetest.Fault { return storagetest.Fault{Kind: storagetest.Before} })
		if w, _ := a.ask("GET", "o-1", "k"); w.Code != 503 {
			t.Errorf("of a store that failed: got %d, want 503", w.Code)
		}
	})
}

func TestOrderIDsWithOddCharacters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAutomation(t)
		for i, id := range []string{"a/b", "..", ".", "a b", "ü", "a%2Fb", "a+b", "a?b#c", "{order_id}", "日本/;,:@", strings.Repeat("é", 127)} {
			a.add(id)
			if err := statuspoll.Complete(t.Context(), a.take(), &statuspoll.Answer{OutputType: "text", ResultText: fmt.Sprint(i)}); err != nil {
				t.Fatal(err)
			}
			if w, calls := a.ask("GET", id, "k"); w.Code != 200 || !contains(w.Body.String(), fmt.Sprintf(`"result_text":"%d"`, i)) || calls != 1 {
				t.Errorf("%q: got %d %s after %d uses of the store", id, w.Code, w.Body, calls)
			}
		}
	})
}

// Both sides at once: what one end writes the other reads, whatever its size.
func TestAPollerAndAnEndpoint(t *testing.T) {
	for name, text := range map[string]string{
		"small": "hello", "just inline": strings.Repeat("x", jobqueue.InlineLimit-62), "large": strings.Repeat("<é\n", 40_000), "of the limit": strings.Repeat("x", 10_000_000),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAutomation(t)
				w := newWorld(t, &statuspoll.PollerOptions{Header: http.Header{"Authorization": {"Bearer k"}}})
				w.webhook = func(rw http.ResponseWriter, r *http.Request, n int) { a.add("o-1") }
				w.status = func(rw http.ResponseWriter, r *http.Request, n int) { a.mux.ServeHTTP(rw, r) }
				w.order("under_1_hr")
				w.sleepUntil(6 * time.Minute)
				d := a.take()
				d.Progress(t.Context(), 0.8, "")
				w.sleepUntil(21 * time.Minute)
				if s := w.state(); s.Progress == nil || *s.Progress != 0.8 {
					t.Errorf("got progress %v, want 0.8", s.Progress)
				}
				if err := statuspoll.Complete(t.Context(), d, &statuspoll.Answer{OutputType: "text", ResultText: text}); err != nil { // late, but in time
					t.Fatal(err)
				}
				s := w.end()
				if s.State != statuspoll.OrderCompleted || s.Job.Finished.Sub(w.began) != 35*time.Minute {
					t.Fatalf("got %+v, want it completed", s)
				}
				c, err := w.broker.Result(t.Context(), s.Job.ID)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				got := new(statuspoll.Answer)
				if err := json.NewDecoder(c).Decode(got); err != nil || got.ResultText != text {
					t.Errorf("got %d bytes, %v, want %d", len(got.ResultText), err, len(text))
				}
			})
		})
	}
}

// A client that reads slowly gets all of a large answer, as long as it reads at all, and is not waited for otherwise.
func TestALargeAnswerIsStreamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAutomation(t)
		a.add("o-1")
		text := strings.Repeat("x", 2<<20)
		if err := statuspoll.Complete(t.Context(), a.take(), &statuspoll.Answer{OutputType: "text", ResultText: text}); err != nil {
			t.Fatal(err)
		}
		head, calls := a.ask("HEAD", "o-1", "k")
		if want := fmt.Sprint(len(text) + len(`{"status":"completed","output_type":"text","result_text":""}`)); head.Header().Get("Content-Length") != want || head.Body.Len() > 0 || calls != 2 {
			t.Errorf("HEAD: got %v and %d bytes after %d uses, want a length of %s", head.Header(), head.Body.Len(), calls, want)
		}
		l := pipenet.Listen()
		server := &http.Server{Handler: a.mux, WriteTimeout: time.Second}
		served := make(chan struct{})
		go func() { server.Serve(l); close(served) }()
		get := func() *http.Response {
			req, _ := http.NewRequest("GET", "http://automation.example/orders/o-1/status", nil)
			req.Header.Set("Authorization", "Bearer k")
			resp, err := l.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			return resp
		}
		resp, n := get(), 0
		for p := make([]byte, 64<<10); ; time.Sleep(time.Second) {
			m, err := io.ReadFull(resp.Body, p)
			if n += m; err != nil {
				break
			}
		}
		if int64(n) != resp.ContentLength {
			t.Errorf("a slow client got %d bytes, want %d", n, resp.ContentLength)
		}
		resp.Body.Close()
		resp = get()
		time.Sleep(10 * time.Minute)
		if p, err := io.ReadAll(resp.Body); err == nil {
			t.Errorf("a client that did not read got %d bytes, want an error", len(p))
		}
		resp.Body.Close()
		server.Close()
		<-served
		time.Sleep(time.Second)
	})
}

func TestCompleteRefusesWhatNobodyCouldRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAutomation(t)
		a.add("o-1")
		d := a.take()
		for rule, answer := range map[string]*statuspoll.Answer{
			statuspoll.RuleStatus:     {Status: statuspoll.Failed, ErrorMessage: "no"},
			statuspoll.RuleOutputType: {ResultText: "x"},
			statuspoll.RuleCarrier:    {OutputType: "text"},
			statuspoll.RuleSize:       {OutputType: "text", ResultText: strings.Repeat("x", 10_000_001)},
			statuspoll.RuleURL:        {OutputType: "url", ResultURL: "http://a.example/"},
			statuspoll.RuleMIMEType:   {OutputType: "file", FileBase64: "eA==", Filename: "x", MIMEType: "application/x-sh"},
			statuspoll.RuleBody: {OutputType: "file", Files: []statuspoll.File{
				{ObjectKey: strings.Repeat("k", 64_000_000), Filename: "f", MIMEType: "text/csv"},
			}},
		} {
			err := statuspoll.Complete(t.Context(), d, answer)
			if bad := new(statuspoll.RuleError); !errors.As(err, &bad) || bad.Rule != rule {
				t.Errorf("%s: got %v", rule, err)
			}
		}
		if j, err := a.broker.Job(t.Context(), d.ID); err != nil || j.State != jobqueue.Running {
			t.Errorf("got %+v, %v, want it running still", j, err)
		}
		answer := &statuspoll.Answer{OutputType: "text", ResultText: "x"}
		for range 2 {
			if err := statuspoll.Complete(t.Context(), d, answer); err != nil || answer.Status != "" {
				t.Errorf("got %v and %+v, want the answer unchanged", err, answer)
			}
		}
	})
}
