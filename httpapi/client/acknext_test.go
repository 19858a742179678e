package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/httpapi/client"
	"github.com/pollackq/pollack/jobqueue"
)

func TestADeliveryIsAckedAndTheNextTaken(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, c *client.Client) {
		for _, name := range []string{"a", "b"} {
			must[*client.Job](t)(c.Submit(ctx, "q", client.NewJob{Name: name, Payload: []byte(name)}))
		}
		first := must[[]*client.Delivery](t)(c.Poll(ctx, "q", nil))[0]
		next := must[*client.Delivery](t)(first.AckNext(ctx, &client.PollOptions{Lease: time.Minute}))
		payload, _ := next.Inline()
		if next.Name != "b" || next.Lease != time.Minute || string(payload) != "b" {
			t.Errorf("got %+v with %q, want b", next, payload)
		}
		if got := must[*client.Job](t)(c.Job(ctx, first.ID)); got.State != client.Succeeded {
			t.Errorf("got the first %v, want it acked", got.State)
		}
		begun := time.Now()
		_, err := next.AckNext(ctx, &client.PollOptions{Wait: 5 * time.Second})
		wantErr(t, "nothing comes", err, client.ErrEmpty)
		if d := time.Since(begun); d != 5*time.Second {
			t.Errorf("waited %v, want 5s", d)
		}
		if _, err = first.AckNext(ctx, &client.PollOptions{Wait: -1}); !errors.Is(err, client.ErrEmpty) {
			t.Errorf("repeated: got %v, want it to do no harm", err)
		}
		lost := must[*client.Job](t)(c.Submit(ctx, "q", client.NewJob{}))
		d := must[[]*client.Delivery](t)(c.Poll(ctx, "q", nil))[0]
		must[*client.Job](t)(c.Cancel(ctx, lost.ID))
		_, err = d.AckNext(ctx, nil)
		wantErr(t, "canceled meanwhile", err, client.ErrLeaseLost)
	})
}

func TestManyAreAckedAndMoreTaken(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, c *client.Client) {
		for i := range 5 {
			must[*client.Job](t)(c.Submit(ctx, "q", client.NewJob{Name: fmt.Sprint(i)}))
		}
		held := must[[]*client.Delivery](t)(c.Poll(ctx, "q", &client.PollOptions{Max: 2}))
		acks := []client.Ack{{held[0].ID, held[0].LeaseToken}, {held[1].ID, held[1].LeaseToken}}
		results, next, err := c.AckReceive(ctx, "q", acks, &client.PollOptions{Max: 2})
		if err != nil || len(results) != 2 || results[0] != (client.AckResult{held[0].ID, client.Acked, nil}) || len(next) != 2 || next[1].Name != "3" {
			t.Fatalf("got %+v, %v, %v", results, next, err)
		}
		bad := append([]client.Ack{{"x", held[0].LeaseToken}}, acks...)
		results, next, err = c.AckReceive(ctx, "q", bad, nil)
		wantErr(t, "one refused", err, client.ErrEmpty)
		if len(next) != 0 || len(results) != 3 || !errors.Is(results[0].Err, client.ErrNotFound) || results[1].Outcome != client.AlreadyAcked {
			t.Errorf("got %+v and %v, want one refused and no job", results, next)
		}
		results, next, err = c.AckReceive(ctx, "q", nil, nil)
		if err != nil || results == nil || len(next) != 1 {
			t.Errorf("without acks: got %v, %v, %v; want a job", results, next, err)
		}
		results, _, err = c.AckReceive(ctx, "q", make([]client.Ack, 101), nil)
		wantErr(t, "too many", err, client.ErrInvalid)
		if results != nil {
			t.Errorf("too many: got %v, want no results", results)
		}
	})
}

func TestAPollWithAcksTellsWhyThereAreNoJobs(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, c *client.Client) {
		must[*client.Job](t)(c.Submit(ctx, "q", client.NewJob{}))
		d := must[[]*client.Delivery](t)(c.Poll(ctx, "q", nil))[0]
		if err := c.Close(ctx, "q"); err != nil {
			t.Fatal(err)
		}
		results, next, err := c.AckReceive(ctx, "q", []client.Ack{{d.ID, d.LeaseToken}}, nil)
		wantErr(t, "the last of a closed queue", err, client.ErrDone)
		if len(results) != 1 || results[0].Outcome != client.Acked || len(next) != 0 {
			t.Errorf("got %+v and %v, want it acked", results, next)
		}
		_, err = d.AckNext(ctx, nil)
		wantErr(t, "repeated", err, client.ErrDone)
	})
	synctest.Test(t, func(t *testing.T) {
		_, c := house(t, &jobqueue.Options{ExplicitQueues: true})
		results, _, err := c.AckReceive(t.Context(), "unknown", nil, nil)
		wantErr(t, "an unknown queue", err, client.ErrNotFound)
		if results != nil {
			t.Errorf("an unknown queue: got %v, want no results", results)
		}
	})
}

func TestAServerThatShutsDownSaysWhenToComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := serve(t, says(200, `{"acks":[{"id":"J","outcome":"acked"}],"jobs":[],"error":{"status":503,"code":"shutting_down"}}`, "Retry-After", "20"), nil)
		results, _, err := c.AckReceive(t.Context(), "q", []client.Ack{{"J", "T"}}, nil)
		var e *client.Error
		if len(results) != 1 || !errors.Is(err, client.ErrShutdown) || !errors.As(err, &e) || e.RetryAfter != 20*time.Second {
			t.Errorf("got %v, %#v; want it acked and ErrShutdown, for 20s", results, err)
		}
	})
}

// counted counts requests by method and the last word of their path.
type counted struct {
	http.RoundTripper
	mu    sync.Mutex
	lines []string
}

func (c *counted) RoundTrip(r *http.Request) (*http.Response, error) {
	c.mu.Lock()
	c.lines = append(c.lines, r.Method+r.URL.Path[strings.LastIndex(r.URL.Path, "/"):])
	c.mu.Unlock()
	return c.RoundTripper.RoundTrip(r)
}

// countedHouse is house with a client whose requests are counted.
func countedHouse(t *testing.T) (*client.Client, *counted) {
	_, c := house(t, nil)
	hc := *c.HTTPClient()
	n := &counted{RoundTripper: hc.Transport}
	hc.Transport = n
	c, err := client.New("http://queue.test", &client.Options{HTTPClient: &hc, Token: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	return c, n
}

func TestAWorkerMakesOneRequestAJob(t *testing.T) {
	for _, workers := range []int{1, 4} {
		synctest.Test(t, func(t *testing.T) {
			const jobs = 40
			c, n := countedHouse(t)
			for range jobs {
				must[*client.Job](t)(c.Submit(t.Context(), "q", client.NewJob{}))
			}
			n.lines = nil
			begun := time.Now()
			var ended time.Time
			done := 0
			var mu sync.Mutex
			stop := consuming(t, c, func(context.Context, *client.Delivery) error {
				mu.Lock()
				defer mu.Unlock()
				done++
				ended = time.Now()
				return nil
			}, &client.ConsumeOptions{Workers: workers})
			time.Sleep(20 * time.Second)
			synctest.Wait()
			// A poll brings the first ones; each ack takes one along, as long as there are any; then polls wait for more.
			slices.Sort(n.lines)
			lines := slices.Compact(slices.Clone(n.lines))
			polls := slices.Index(n.lines, "POST/poll")
			if posts := len(n.lines) - polls; done != jobs || posts != jobs || polls > 1+workers || len(lines) != 2 || ended != begun {
				t.Errorf("%d workers made %d polls and %d with acks (%q) for %d of %d jobs in %v", workers, polls, posts, lines, done, jobs, ended.Sub(begun))
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

// What a server without acks in polls, a broken one and a busy one say leaves the ack to be made by itself.
func TestAnAckThatTakesNoJobAlongIsMadeByItself(t *testing.T) {
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		acks   int
		after  time.Duration
	}{
		"nothing":     {says(204, ""), 1, 0},
		"nonsense":    {says(200, "{}"), 1, 0},
		"too few":     {says(200, `{"acks":[],"jobs":[]}`), 1, 0},
		"broken":      {breaks, 1, 0},
		"failed":      {problem(500, "internal"), 1, 0},
		"not now":     {problem(503, "busy", "Retry-After", "20"), 1, 20 * time.Second},
		"lost":        {says(200, `{"acks":[{"id":"J","error":{"status":409,"code":"lease_lost"}}],"jobs":[]}`), 0, 0},
		"acked":       {says(200, `{"acks":[{"id":"J","outcome":"acked"}],"jobs":[]}`), 0, 0},
		"shut down":   {says(200, `{"acks":[{"id":"J","outcome":"acked"}],"jobs":[],"error":{"status":503,"code":"shutting_down"}}`, "Retry-After", "20"), 0, 0},
		"not allowed": {says(200, `{"acks":[{"id":"J","error":{"status":403,"code":"forbidden"}}],"jobs":[]}`), 1, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			var polls, acks int
			var at time.Duration
			begun := time.Now()
			api := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case strings.HasSuffix(r.URL.Path, "/ack"):
					acks++
					at = time.Since(begun)
					says(200, `{"outcome":"acked"}`)(w, r)
				case r.Method == "POST":
					c.answer(w, r)
				default:
					if polls++; polls > 1 {
						<-r.Context().Done()
						return
					}
					says(200, `{"jobs":[{"id":"J","lease_token":"T","lease_expires_in":30}]}`)(w, r)
				}
			}), nil)
			stop := consuming(t, api, func(context.Context, *client.Delivery) error { return nil }, &client.ConsumeOptions{Workers: 1, Wait: time.Hour})
			time.Sleep(time.Minute)
			synctest.Wait()
			if acks != c.acks || at < c.after || at > c.after+2*time.Second || polls != 2 {
				t.Errorf("%s: got %d acks after %v and %d polls, want %d after %v and 2", name, acks, at, polls, c.acks, c.after)
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A job that an ack brings along when the consumer has stopped meanwhile is given back, and nothing is taken along once it has.
func TestAJobTakenAlongByAnAckIsGivenBackOnceTheConsumerStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := house(t, nil)
		first := must[*client.Job](t)(c.Submit(t.Context(), "q", client.NewJob{}))
		second := must[*client.Job](t)(c.Submit(t.Context(), "q", client.NewJob{}))
		ctx, cancel := context.WithCancel(t.Context())
		hc := *c.HTTPClient()
		transport := &pollThenStop{hc.Transport, func() {}}
		hc.Transport = transport
		stopping, err := client.New("http://queue.test", &client.Options{HTTPClient: &hc, Token: "secret"})
		if err != nil {
			t.Fatal(err)
		}
		err = stopping.Consume(ctx, "q", func(context.Context, *client.Delivery) error {
			transport.stop = cancel // with the next poll, which acks this
			return nil
		}, &client.ConsumeOptions{Workers: 1})
		if err != nil {
			t.Error(err)
		}
		if got := must[*client.Job](t)(c.Job(t.Context(), first.ID)); got.State != client.Succeeded {
			t.Errorf("the first: got %v, want it acked", got.State)
		}
		if got := must[*client.Job](t)(c.Job(t.Context(), second.ID)); got.State != client.Pending || got.Deliveries != 0 || got.Version == second.Version {
			t.Errorf("the second: got %v with %d deliveries, want it delivered and given back", got.State, got.Deliveries)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		c, n := countedHouse(t)
		for range 2 {
			must[*client.Job](t)(c.Submit(t.Context(), "q", client.NewJob{}))
		}
		n.lines = nil
		ctx, cancel := context.WithCancel(t.Context())
		err := c.Consume(ctx, "q", func(context.Context, *client.Delivery) error {
			cancel()
			return nil
		}, &client.ConsumeOptions{Workers: 1})
		if want := []string{"GET/poll", "POST/ack"}; err != nil || !slices.Equal(n.lines, want) {
			t.Errorf("got %v, %v; want %v", n.lines, err, want)
		}
	})
}

// Once the polls have been refused for good, workers that are still at it take nothing more.
func TestWorkersTakeNoMoreOnceThePollsAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lines []string
		var polls int
		c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			lines = append(lines, r.Method+r.URL.Path[strings.LastIndex(r.URL.Path, "/"):])
			switch {
			case r.Method == "POST":
				says(200, `{"outcome":"acked"}`)(w, r)
			case polls == 0:
				polls++
				says(200, `{"jobs":[{"id":"J","lease_token":"T","lease_expires_in":30}]}`)(w, r)
			default:
				problem(403, "forbidden")(w, r)
			}
		}), nil)
		err := c.Consume(t.Context(), "q", func(context.Context, *client.Delivery) error {
			time.Sleep(time.Second)
			return nil
		}, &client.ConsumeOptions{Workers: 2})
		wantErr(t, "Consume", err, client.ErrRefused)
		if want := []string{"GET/poll", "GET/poll", "POST/ack"}; !slices.Equal(lines, want) {
			t.Errorf("got %v, want %v", lines, want)
		}
	})
}
