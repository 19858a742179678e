package client_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/httpapi/client"
	"github.com/pollackq/pollack/jobqueue"
)

// bubble runs a test of a house in virtual time.
func bubble(t *testing.T, fn func(t *testing.T, ctx context.Context, c *client.Client)) {
	synctest.Test(t, func(t *testing.T) {
		_, c := house(t, nil)
		fn(t, t.Context(), c)
	})
}

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got error %v, want %v", what, err, want)
	}
}

func TestASubmittedJobReadsAsItWasSubmitted(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, c *client.Client) {
		deadline := time.Now().Add(time.Hour)
		for _, body := range []io.Reader{nil, strings.NewReader(`{"n": 1}`), io.MultiReader(strings.NewReader(`{"n": 1}`))} {
			n := client.NewJob{
				Body: body, ContentType: "application/json", Name: "a/ö & b", Tags: map[string]string{"x y": "ä=&"}, Priority: -3,
				Delay: 1500 * time.Millisecond, Deadline: deadline,
			}
			if body == nil {
				n.Payload = []byte(`{"n": 1}`)
			}
			j := must[*client.Job](t)(c.Submit(ctx, "a/b ?..", n))
			if j.State != client.Scheduled || j.Queue != "a/b ?.." || j.Account != "demo" || j.Name != n.Name || j.Tags["x y"] != "ä=&" || j.Priority != -3 ||
				j.ContentType != "application/json" || j.Size != 8 || j.URL != c.JobURL(j.ID) || j.RetryAfter == 0 {
				t.Errorf("got %+v", j)
			}
			if got := j.RunAt.Sub(j.Created); got != 2*time.Second {
				t.Errorf("got a delay of %v, want 2s: never less than asked for", got)
			}
			payload := must[*client.Content](t)(c.Payload(ctx, j.ID, nil))
			if got := string(must[[]byte](t)(io.ReadAll(payload))); got != `{"n": 1}` || payload.ContentType != "application/json" {
				t.Errorf("got payload %q of type %q", got, payload.ContentType)
			}
			payload.Close()
			again := must[*client.Job](t)(c.Job(ctx, j.ID))
			if again.ID != j.ID || again.ETag == "" || again.Version != j.Version {
				t.Errorf("got status %+v", again)
			}
		}
	})
}

func TestAQueueMayHaveAnyName(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, c *client.Client) {
		for _, name := range []string{".", "..", "a/../b", "//", "%2F", "ä ö", "jobs", "+&=?#;"} {
			if j, err := c.Submit(ctx, name, client.NewJob{}); err != nil || j.Queue != name {
				t.Errorf("queue %q: got %+v, %v", name, j, err)
				continue
			}
			if q := must[*client.Queue](t)(c.Queue(ctx, name)); q.Name != name || q.Counts.Pending != 1 {
				t.Errorf("got queue %+v, want %q", q, name)
			}
		}
	})
}

func TestTheSameKeyGivesTheSameJob(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, c *client.Client) {
		for _, key := range []string{"order 1", `"quoted" \ key`, "schlüssel"} {
			n := client.NewJob{Payload: []byte("x"), Key: key}
			first := must[*client.Job](t)(c.Submit(ctx, "q", n))
			second := must[*client.Job](t)(c.Submit(ctx, "q", n))
			if first.Replayed || !second.Replayed || first.ID != second.ID {
				t.Errorf("key %q: got %v %v, then %v %v", key, first.ID, first.Replayed, second.ID, second.Replayed)
			}
			n.Payload = []byte("y")
			_, err := c.Submit(ctx, "q", n)
			wantErr(t, "another request", err, client.ErrKeyReused)
		}
	})
}

func TestASubmitCanWaitForTheEnd(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, c *client.Client) {
		go func() {
			got, err := c.Poll(ctx, "q", nil)
			if err == nil {
				time.Sleep(5 * time.Second)
				err = got[0].Complete(ctx, map[string]int{"sum": 3})
			}
			if err != nil {
				t.Error(err)
			}
		}()
		j := must[*client.Job](t)(c.Submit(ctx, "q", client.NewJob{Wait: 20 * time.Second}))
		if j.State != client.Succeeded || string(j.Result) != `{"sum":3}` {
			t.Errorf("got %v, result %s", j.State, j.Result)
		}
		synctest.Wait()
	})
}

func TestAPollGivesJobsWithTheirPayloads(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, c *client.Client) {
		_, err := c.Poll(ctx, "q", &client.PollOptions{Wait: -1})
		wantErr(t, "nothing there", err, client.ErrEmpty)

		big := bytes.Repeat([]byte("0123456789abcdef"), 8<<10)
		for _, n := range []client.NewJob{
			{Payload: []byte("raw")}, {Payload: []byte(`{"a": 1}`), ContentType: "application/json"}, {Payload: big},
			{}, {Payload: []byte("null"), ContentType: "application/json"},
		} {
			must[*client.Job](t)(c.Submit(ctx, "q", n))
		}
		got := must[[]*client.Delivery](t)(c.Poll(ctx, "q", &client.PollOptions{Max: 10, Lease: 90 * time.Second}))
		if len(got) != 5 {
			t.Fatalf("got %d jobs, want 5", len(got))
		}
		for i, want := range []struct{ inline, whole string }{
			{"raw", "raw"}, {`{"a": 1}`, `{"a": 1}`}, {"", string(big)}, {"", ""}, {"null", "null"},
		} {
			d := got[i]
			inline, coming := d.Inline()
			if string(inline) != want.inline || coming != (i != 2) || d.Lease != 90*time.Second || d.Deliveries != 1 || d.State != client.Running {
				t.Errorf("job %d: got %q %v, lease %v, %v", i, inline, coming, d.Lease, d.State)
			}
			if whole := must[[]byte](t)(d.Bytes(ctx, 1<<20)); string(whole) != want.whole {
				t.Errorf("job %d: got %d bytes, want those submitted", i, len(whole))
			}
		}
		_, err = got[2].Bytes(ctx, 100)
		wantErr(t, "a limit", err, client.ErrAnswerTooLarge)
		part := must[*client.Content](t)(c.Payload(ctx, got[2].ID, &client.Range{Offset: 17, Length: 3}))
		if p := string(must[[]byte](t)(io.ReadAll(part))); p != "123" || part.Size != int64(len(big)) || part.Offset != 17 || part.Length != 3 {
			t.Errorf("got part %q of %d at %d, %d long", p, part.Size, part.Offset, part.Length)
		}
		part.Close()
		part = must[*client.Content](t)(c.Payload(ctx, got[2].ID, &client.Range{Offset: -2}))
		if p := string(must[[]byte](t)(io.ReadAll(part))); p != "ef" {
			t.Errorf("got end %q", p)
		}
		part.Close()
	})
}

func TestAHolderDoesWithAJobWhatItCanBeDoneWith(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, c *client.Client) {
		take := func() *client.Delivery {
			t.Helper()
			must[*client.Job](t)(c.Submit(ctx, "q", client.NewJob{Payload: []byte("x")}))
			return must[[]*client.Delivery](t)(c.Poll(ctx, "q", nil))[0]
		}
		d := take()
		if o := must[client.Outcome](t)(c.Ack(ctx, d.ID, d.LeaseToken)); o != client.Acked {
			t.Errorf("got %v", o)
		}
		if o := must[client.Outcome](t)(c.Ack(ctx, d.ID, d.LeaseToken)); o != client.AlreadyAcked {
			t.Errorf("got %v, want already_acked", o)
		}
		_, err := c.Payload(ctx, d.ID, nil)
		wantErr(t, "payload of a succeeded job", err, client.ErrPayloadGone)

		d = take()
		j := must[*client.Job](t)(c.Progress(ctx, d.ID, d.LeaseToken, 0.5, "half"))
		if *j.Progress != 0.5 || j.ProgressMessage != "half" {
			t.Errorf("got %+v", j)
		}
		if err := d.Extend(ctx, time.Hour); err != nil {
			t.Error(err)
		}
		time.Sleep(59 * time.Minute)
		if err := d.Release(ctx, &client.ReleaseOptions{Uncounted: true}); err != nil {
			t.Error(err)
		}
		err = d.Extend(ctx, 0)
		var e *client.Error
		if !errors.As(err, &e) || e.Reason != "released" || e.Status != 409 || e.Code != "lease_lost" || !errors.Is(err, client.ErrLeaseLost) {
			t.Errorf("got %#v, want a lost lease, released", err)
		}
		d = must[[]*client.Delivery](t)(c.Poll(ctx, "q", nil))[0]
		if d.Deliveries != 1 {
			t.Errorf("got delivery %d, want 1: the other did not count", d.Deliveries)
		}
		if err := d.Fail(ctx, "broken", "it is broken"); err != nil {
			t.Error(err)
		}
		j = must[*client.Job](t)(c.Wait(ctx, d.ID, nil))
		if j.State != client.Failed || *j.Failure != (client.Failure{Code: "broken", Message: "it is broken"}) {
			t.Errorf("got %v %v", j.State, j.Failure)
		}
		if j = must[*client.Job](t)(c.Redrive(ctx, d.ID)); j.State != client.Pending {
			t.Errorf("got %v after a redrive", j.State)
		}
		if j = must[*client.Job](t)(c.Cancel(ctx, d.ID)); j.State != client.Canceled {
			t.Errorf("got %v after a cancel", j.State)
		}

		d = take()
		result := bytes.Repeat([]byte("r"), 100<<10)
		if _, err := c.CompleteWith(ctx, d.ID, d.LeaseToken, client.NewResult{Body: bytes.NewReader(result), ContentType: "text/plain"}); err != nil {
			t.Fatal(err)
		}
		r := must[*client.Content](t)(c.Result(ctx, d.ID, nil))
		if p := must[[]byte](t)(io.ReadAll(r)); !bytes.Equal(p, result) || r.ContentType != "text/plain" {
			t.Errorf("got a result of %d bytes, %s", len(p), r.ContentType)
		}
		r.Close()
	})
}

func TestAResultOfAnyTypeIsKeptAsItIs(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, c *client.Client) {
		for _, kind := range []string{"application/json", "application/x-www-form-urlencoded", "application/x-www-form-urlencoded; charset=utf-8", "text/plain"} {
			must[*client.Job](t)(c.Submit(ctx, "q", client.NewJob{}))
			d := must[[]*client.Delivery](t)(c.Poll(ctx, "q", nil))[0]
			const result = `{"result": 7}` // what looks like an envelope is none
			if _, err := c.CompleteWith(ctx, d.ID, d.LeaseToken, client.NewResult{Data: []byte(result), ContentType: kind}); err != nil {
				t.Errorf("%s: %v", kind, err)
				continue
			}
			r := must[*client.Content](t)(c.Result(ctx, d.ID, nil))
			if p := must[[]byte](t)(io.ReadAll(r)); string(p) != result || r.ContentType != kind {
				t.Errorf("%s: got %q, %s", kind, p, r.ContentType)
			}
			r.Close()
		}
	})
}

func TestManyAcksHaveOneOutcomeEach(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, c *client.Client) {
		for range 2 {
			must[*client.Job](t)(c.Submit(ctx, "q", client.NewJob{}))
		}
		got := must[[]*client.Delivery](t)(c.Poll(ctx, "q", &client.PollOptions{Max: 2}))
		results := must[[]client.AckResult](t)(c.AckMany(ctx, []client.Ack{
			{ID: got[0].ID, Token: got[0].LeaseToken}, {ID: got[1].ID, Token: got[0].LeaseToken}, {ID: "nonsense", Token: got[0].LeaseToken},
		}))
		if results[0].Outcome != client.Acked || results[0].Err != nil {
			t.Errorf("got %+v", results[0])
		}
		wantErr(t, "another's token", results[1].Err, client.ErrLeaseLost)
		wantErr(t, "no id", results[2].Err, client.ErrNotFound)
	})
}

func TestQueuesAreConfiguredListedAndClosed(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, c *client.Client) {
		set := client.Settings{
			Lease: 90 * time.Second, MaxDeliveries: 3, Retention: time.Hour, Tombstone: 2 * time.Hour, Backlog: 2, Tags: map[string]string{"a": "b"}, Status: "fine",
		}
		q := must[*client.Queue](t)(c.Configure(ctx, "q", set))
		if !q.Created || q.Lease != set.Lease || q.Status != "fine" || q.Retention != time.Hour || q.Tombstone != 2*time.Hour || q.Tags["a"] != "b" {
			t.Errorf("got %+v", q)
		}
		if q = must[*client.Queue](t)(c.Configure(ctx, "q", client.Settings{Backlog: 2, Retention: -1})); q.Created || q.Lease != 5*time.Minute || q.Retention >= 0 {
			t.Errorf("got %+v, want the defaults again and no retention", q)
		}
		for range 2 {
			must[*client.Job](t)(c.Submit(ctx, "q", client.NewJob{}))
		}
		_, err := c.Submit(t.Context(), "q", client.NewJob{})
		var e *client.Error
		if !errors.As(err, &e) || !errors.Is(err, client.ErrBacklogFull) || e.RetryAfter == 0 {
			t.Errorf("got %v, want a full backlog", err)
		}
		time.Sleep(time.Minute)
		q = must[*client.Queue](t)(c.Queue(ctx, "q"))
		if q.Counts != (client.Counts{Pending: 2}) || q.Next != 2 || q.Oldest < time.Minute {
			t.Errorf("got %+v", q)
		}
		if n := must[int](t)(c.Purge(ctx, "q")); n != 2 {
			t.Errorf("purged %d", n)
		}
		wantErr(t, "delete of an open queue", c.Delete(ctx, "q"), client.ErrWrongState)
		for range 2 {
			if err := c.Close(ctx, "q"); err != nil {
				t.Error(err)
			}
		}
		_, err = c.Poll(ctx, "q", nil)
		wantErr(t, "poll of a done queue", err, client.ErrDone)
		_, err = c.Submit(ctx, "q", client.NewJob{})
		wantErr(t, "submit to a closed queue", err, client.ErrQueueClosed)
		if err := c.Delete(ctx, "q"); err != nil {
			t.Error(err)
		}
		_, err = c.Queue(ctx, "q")
		wantErr(t, "a deleted queue", err, client.ErrNotFound)
	})
}

func TestListsAreReadPageByPage(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, c *client.Client) {
		const n = 250
		var ids []string
		for i := range n {
			ids = append(ids, must[*client.Job](t)(c.Submit(ctx, "q", client.NewJob{Priority: i % 3})).ID)
			must[*client.Queue](t)(c.Configure(ctx, "p"+strings.Repeat("x", i), client.Settings{}))
		}
		slices.Sort(ids)
		var got []string
		for j, err := range c.Jobs(ctx, "q", client.Pending) {
			got = append(got, must[*client.Job](t)(j, err).ID)
		}
		if !slices.Equal(got, ids) {
			t.Errorf("got %d jobs, want the %d of the queue by id", len(got), n)
		}
		for range c.Jobs(ctx, "q", client.Failed) {
			t.Error("got a job in another state")
		}
		queues := 0
		for q, err := range c.Queues(ctx) {
			queues++
			if must[*client.Queue](t)(q, err).Name == "q" {
				break
			}
		}
		if queues != n+1 {
			t.Errorf("got %d queues up to q, want %d", queues, n+1)
		}
	})
}

func TestAStatusIsWaitedForWithoutAsking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker, c := house(t, nil)
		ctx := t.Context()
		j := must[*client.Job](t)(c.Submit(ctx, "q", client.NewJob{}))
		begun := time.Now()
		go func() {
			time.Sleep(10 * time.Minute)
			d, err := broker.Queue("q").TryReceive(ctx, nil)
			if err != nil {
				t.Error(err)
				return
			}
			time.Sleep(time.Minute)
			if err := d.Ack(ctx); err != nil {
				t.Error(err)
			}
		}()
		changed := must[*client.Job](t)(c.Changed(ctx, j, nil))
		if changed.State != client.Running || time.Since(begun) != 10*time.Minute {
			t.Errorf("got %v after %v", changed.State, time.Since(begun))
		}
		ended := must[*client.Job](t)(c.Wait(ctx, j.ID, nil))
		if ended.State != client.Succeeded || time.Since(begun) != 11*time.Minute {
			t.Errorf("got %v after %v", ended.State, time.Since(begun))
		}
		short, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		if _, err := c.Changed(short, ended, nil); err != context.DeadlineExceeded {
			t.Errorf("got %v, want the context's error", err)
		}
		synctest.Wait()
	})
}

func TestWaitAsksAgainAtOnceButDoesNotOverrunAServer(t *testing.T) {
	for _, tc := range []struct {
		name        string
		takes       time.Duration
		answer      http.HandlerFunc
		least, most int // requests in an hour
	}{
		{"one that waits", 30 * time.Second, says(200, aJob), 120, 120},
		{"one that does not wait", 0, says(200, aJob), 3600, 4 * 3600},
		{"one that says how long", 0, says(200, aJob, "Retry-After", "60"), 59, 60},
		{"one that is broken", 0, breaks, 60, 400},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{answers: []http.HandlerFunc{func(w http.ResponseWriter, r *http.Request) {
					time.Sleep(tc.takes)
					tc.answer(w, r)
				}}}
				c := serve(t, s, &client.Options{Retries: -1})
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				if _, err := c.Wait(ctx, "J", &client.WaitOptions{Failures: 1 << 30}); err != context.DeadlineExceeded {
					t.Errorf("got %v", err)
				}
				if s.n() < tc.least || s.n() > tc.most {
					t.Errorf("asked %d times in an hour, want %d to %d", s.n(), tc.least, tc.most)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		s := &script{answers: []http.HandlerFunc{breaks}}
		_, err := serve(t, s, &client.Options{Retries: -1}).Wait(t.Context(), "J", &client.WaitOptions{Failures: 3})
		if err == nil || s.n() != 4 {
			t.Errorf("got %v after %d requests, want the error of the fourth", err, s.n())
		}
	})
}

func TestWhatIsNotThereIsATypedError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := house(t, &jobqueue.Options{Retention: time.Minute, MaxPayload: 10})
		ctx := t.Context()
		for _, id := range []string{"01ARZ3NDEKTSV4RRFFQ69G5FAV", "nonsense", "a/b", "..", "."} {
			_, err := c.Job(ctx, id)
			wantErr(t, "id "+id, err, client.ErrNotFound)
		}
		j := must[*client.Job](t)(c.Submit(ctx, "q", client.NewJob{}))
		_, err := c.Ack(ctx, j.ID, strings.Repeat("0", 32))
		wantErr(t, "ack before delivery", err, client.ErrNotDelivered)
		_, err = c.Result(ctx, j.ID, nil)
		wantErr(t, "no result", err, client.ErrNotFound)
		_, err = c.Redrive(ctx, j.ID)
		wantErr(t, "redrive of a pending job", err, client.ErrWrongState)
		_, err = c.Submit(ctx, "q", client.NewJob{Payload: make([]byte, 11)})
		wantErr(t, "too large", err, client.ErrTooLarge)
		_, err = c.Submit(ctx, "q", client.NewJob{Priority: 1 << 20})
		wantErr(t, "priority", err, client.ErrInvalid)
		must[*client.Job](t)(c.Cancel(ctx, j.ID))
		time.Sleep(2 * time.Minute)
		_, err = c.Job(ctx, j.ID)
		wantErr(t, "retention is over", err, client.ErrGone)
	})
}
