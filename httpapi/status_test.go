package httpapi_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/jobqueue"
)

func TestStatusSaysWhereAJobStands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		path := "/v1/jobs/" + w.enqueue("mail", jobqueue.NewJob{}).ID.String()
		a := w.do("GET", path, "").want(200).wantHeader("Retry-After", "2").wantHeader("Cache-Control", "private, no-cache")
		if a.get("state") != "pending" || a.get("result") != nil || len(a.object()) != 22 {
			t.Errorf("got %s, want all 22 members of a pending job", a.body)
		}
		tag := a.header.Get("ETag")
		for _, match := range []string{tag, "W/" + tag, `"x", ` + tag, "*"} {
			if a := w.do("GET", path, "", "If-None-Match: "+match).want(304).wantHeader("ETag", tag).wantHeader("Retry-After", "2"); a.body != "" {
				t.Errorf("304 has a body: %q", a.body)
			}
		}
		w.do("GET", path, "", `If-None-Match: "x"`).want(200)
		if a := w.do("HEAD", path, "").want(200).wantHeader("ETag", tag); a.body != "" {
			t.Errorf("HEAD has a body: %q", a.body)
		}
		d := w.receive("mail")
		w.do("GET", path, "", "If-None-Match: "+tag).want(200)
		if err := d.Complete(t.Context(), jobqueue.NewResult{ContentType: "application/json", Data: []byte(`[1]`)}); err != nil {
			t.Fatal(err)
		}
		if a := w.do("GET", path, "").want(200).wantHeader("Retry-After", ""); a.get("state") != "succeeded" || a.get("expires_at") != "2000-01-02T00:00:00Z" {
			t.Errorf("got %s", a.body)
		}
		time.Sleep(24 * time.Hour)
		w.do("GET", path, "").wantProblem(410, "job_gone")
		w.do("GET", path+"/result", "").wantProblem(410, "job_gone")
		time.Sleep(8 * 24 * time.Hour)
		w.do("GET", path, "").wantProblem(404, "not_found")
	})
}

func TestStatusWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		path := "/v1/jobs/" + w.enqueue("mail", jobqueue.NewJob{}).ID.String()
		var d *jobqueue.Delivery
		a := w.do("GET", path, "")
		for _, c := range []struct {
			what, query string
			known       bool   // If-None-Match names the present version
			after       func() // happens after 3 s
			status      int
			state       any
			took        time.Duration
		}{
			{"for the next version, which does not come", "?wait=10", true, nil, 304, nil, 10 * time.Second},
			{"for the next version", "?wait=10", true, func() { d = w.receive("mail") }, 200, "running", 3 * time.Second},
			{"for the end, which does not come", "?wait=10", false, func() { d.Progress(context.Background(), 0.5, "half") }, 200, "running", 10 * time.Second},
			{"for longer than allowed", "?wait=31", false, nil, 200, "running", 30 * time.Second},
			{"not at all", "?wait=0", false, nil, 200, "running", 0},
			{"for the end", "?wait=10", false, func() { d.Ack(context.Background()) }, 200, "succeeded", 3 * time.Second},
			{"for the end that was", "?wait=10", false, nil, 200, "succeeded", 0},
		} {
			var headers []string
			if c.known {
				headers = append(headers, "If-None-Match: "+a.header.Get("ETag"))
			}
			var done <-chan struct{}
			if c.after != nil {
				done = later(3*time.Second, c.after)
			}
			began := time.Now()
			got := w.do("GET", path+c.query, "", headers...).want(c.status)
			if d := time.Since(began); d != c.took || c.state != nil && got.get("state") != c.state {
				t.Errorf("%s: got %s after %v, want %v after %v", c.what, got.body, d, c.state, c.took)
			}
			if done != nil {
				<-done
			}
			a = w.do("GET", path, "")
		}
		began := time.Now()
		w.do("GET", path+"?wait=10", "", `If-None-Match: "0"`).want(200)
		if d := time.Since(began); d != 0 {
			t.Errorf("a wait that knows another version took %v, want none", d)
		}
		w.do("GET", path+"?wait=x", "").wantProblem(400, "invalid_request")
		began = time.Now()
		w.do("GET", path, "", "Prefer: wait=4", "If-None-Match: "+a.header.Get("ETag")).want(304).wantHeader("Preference-Applied", "wait=4")
		if d := time.Since(began); d != 4*time.Second {
			t.Errorf("Prefer: wait=4 took %v", d)
		}
	})
}

func TestAWaitSeesTheEndOfAJobThatIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &setup{broker: &jobqueue.Options{Retention: -1, Tombstone: -1}})
		path := "/v1/jobs/" + w.enqueue("mail", jobqueue.NewJob{}).ID.String()
		d := w.receive("mail")
		done := later(time.Second, func() { d.Fail(context.Background(), "broken", "no luck") })
		if a := w.do("GET", path+"?wait=10", "").want(200); a.get("failure.code") != "broken" || a.get("failure.message") != "no luck" {
			t.Errorf("got %s, want the failure", a.body)
		}
		<-done
		w.do("GET", path, "").wantProblem(404, "not_found")
	})
}

func TestOneAccountDoesNotSeeAnothers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		id := w.enqueue("mail", jobqueue.NewJob{}).ID.String()
		w.receive("mail")
		unknown := jobqueue.ID{1, 2, 3}.String()
		for _, c := range []struct{ method, path string }{
			{"GET", ""}, {"GET", "/payload"}, {"GET", "/result"}, {"POST", "/ack"}, {"POST", "/complete"}, {"POST", "/fail"}, {"POST", "/release"}, {"POST", "/extend"},
			{"POST", "/progress"}, {"POST", "/cancel"}, {"POST", "/redrive"},
		} {
			var answers []string
			for _, id := range []string{id, unknown, "x", "01ARZ3NDEKTSV4RRFFQ69G5FAV0"} {
				body := ""
				if c.method == "POST" {
					body = "{malformed" // existence comes before the body
				}
				a := w.do(c.method, "/v1/jobs/"+id+c.path, body, "Authorization: Bearer bob-token").wantProblem(404, "not_found")
				a.header.Del("Date")
				answers = append(answers, a.body+"\n"+headerText(a))
			}
			for _, other := range answers[1:] {
				if other != answers[0] {
					t.Errorf("%s %s: a foreign job is answered\n%s\nand an unknown one\n%s", c.method, c.path, answers[0], other)
				}
			}
		}
		w.do("GET", "/v1/queues/mail", "", "Authorization: Bearer bob-token").wantProblem(404, "not_found")
		w.do("GET", "/v1/queues/mail/poll?timeout=0", "", "Authorization: Bearer bob-token").want(204)
		w.do("GET", "/v1/jobs/"+id, "", "Authorization: Bearer house-token").want(200)
	})
}

func TestIDsMayHaveAPrefix(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &setup{options: httpapi.Options{IDPrefix: "img_", Prefix: "/api", BaseURL: "https://example.com", AckStatus: 204, AnyToken: true}})
		a := w.do("POST", "/api/v1/queues/mail/jobs", `{"tags":{"id":"x"}}`).want(202)
		id := a.text("id")
		a.wantHeader("Location", "https://example.com/api/v1/jobs/"+id)
		if id[:4] != "img_" || len(id) != 30 {
			t.Errorf("got id %q", id)
		}
		if got := w.do("GET", "/api/v1/queues/mail/jobs", "").want(200); got.get("jobs").([]any)[0].(map[string]any)["id"] != id {
			t.Errorf("got %s, want %s in it", got.body, id)
		}
		w.do("GET", "/api/v1/queues/mail/poll", "").want(200)
		w.do("GET", "/v1/jobs/"+id[4:], "").wantProblem(404, "not_found")
		w.do("POST", "/v1/jobs/"+id+"/ack", "").want(204)
		w.do("POST", "/v1/jobs/"+id+"/ack", "").want(204)
		w.do("GET", "/v1/jobs/"+id, "").want(200)
	})
}
