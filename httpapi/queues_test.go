package httpapi_test

import (
	"fmt"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/jobqueue"
)

func TestAQueueIsMadeChangedAndForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		const path = "/v1/queues/mail"
		a := w.do("PUT", path, `{"lease_seconds":10,"max_deliveries":3,"backlog":2,"retention_seconds":-1,"tags":{"a":"b"},"status":"uploading","x":1}`).want(201)
		for k, want := range map[string]any{
			"name": "mail", "lease_seconds": 10.0, "max_deliveries": 3.0, "backlog": 2.0, "retention_seconds": -1.0, "tombstone_seconds": 604800.0, "tags.a": "b", "status": "uploading",
			"closed": false, "counts.pending": 0.0, "oldest_age_seconds": nil, "next_position": 0.0,
		} {
			if got := a.get(k); got != want {
				t.Errorf("%s: got %v, want %v", k, got, want)
			}
		}
		if got := w.do("PUT", path, a.body).want(200); got.body != a.body {
			t.Errorf("putting what was got: got %s, want %s", got.body, a.body)
		}
		a = w.do("PUT", path, "").want(200)
		if a.get("lease_seconds") != 300.0 || a.get("max_deliveries") != -1.0 || a.get("backlog") != -1.0 || a.get("retention_seconds") != 86400.0 || a.get("status") != nil {
			t.Errorf("putting nothing: got %s, want the defaults", a.body)
		}
		for _, body := range []string{`{"lease_seconds":0.5}`, `{"lease_seconds":-1}`, `{"lease_seconds":1e300}`, `{"tags":{"":"x"}}`, `{"max_deliveries":"x"}`, `x`} {
			w.do("PUT", path, body).wantProblem(400, "invalid_request")
		}
		w.do("PUT", path, `{"backlog":2}`).want(200)
		for range 2 {
			w.do("POST", path+"/jobs", `{}`).want(202)
		}
		w.do("POST", path+"/jobs", `{}`).wantProblem(429, "backlog_full").wantHeader("Retry-After", "2")
		time.Sleep(1500 * time.Millisecond)
		if a := w.do("GET", path, "").want(200); a.get("counts.pending") != 2.0 || a.get("oldest_age_seconds") != 1.5 || a.get("next_position") != 2.0 {
			t.Errorf("got %s, want 2 pending", a.body)
		}
		w.do("DELETE", path, "").wantProblem(409, "wrong_state")
		w.do("POST", path+"/close", "").want(204)
		w.do("POST", path+"/close", "").want(204)
		if a := w.do("GET", path, "").want(200); a.get("closed") != true {
			t.Errorf("got %s, want it closed", a.body)
		}
		if a := w.do("POST", path+"/purge", "").want(200); a.body != `{"purged":2}` {
			t.Errorf("got %s, want 2 purged", a.body)
		}
		w.do("DELETE", path, "").want(204)
		for _, c := range []struct{ method, path string }{{"GET", ""}, {"DELETE", ""}, {"POST", "/close"}, {"POST", "/purge"}, {"GET", "/jobs"}} {
			w.do(c.method, path+c.path, "").wantProblem(404, "not_found")
		}
	})
}

func TestQueuesAreListedByName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		names := []string{"a", "b/c", "d e", "é%2F", ".."}
		for _, name := range names {
			path := url.PathEscape(name)
			if name == ".." {
				path = "%2E%2E"
			}
			if a := w.do("PUT", "/v1/queues/"+path, "").want(201); a.get("name") != name {
				t.Errorf("got %s, want the name %q", a.body, name)
			}
		}
		w.do("PUT", "/v1/queues/bobs", "", "Authorization: Bearer bob-token").want(201)
		var got []string
		query := "?limit=2"
		for {
			a := w.do("GET", "/v1/queues"+query, "").want(200)
			for _, q := range a.get("queues").([]any) {
				got = append(got, q.(map[string]any)["name"].(string))
			}
			if a.get("next") == nil {
				break
			}
			query = "?limit=2&after=" + url.QueryEscape(a.text("next"))
		}
		if want := []string{"..", "a", "b/c", "d e", "é%2F"}; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got %v, want %v", got, want)
		}
		for _, query := range []string{"?limit=0", "?limit=1001", "?limit=x", "?after=a&after=b"} {
			w.do("GET", "/v1/queues"+query, "").wantProblem(400, "invalid_request")
		}
	})
}

func TestJobsAreListedInTheOrderOfTheirMaking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		var want []string
		for range 5 {
			want = append(want, w.enqueue("mail", jobqueue.NewJob{}).ID.String())
			time.Sleep(time.Millisecond)
		}
		w.receive("mail")
		list := func(query string) (got []string) {
			after := ""
			for {
				a := w.do("GET", "/v1/queues/mail/jobs?limit=2"+query+after, "").want(200)
				for _, j := range a.get("jobs").([]any) {
					got = append(got, j.(map[string]any)["id"].(string))
				}
				if a.get("next") == nil {
					return got
				}
				after = "&after=" + a.text("next")
			}
		}
		if got := list(""); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got %v, want %v", got, want)
		}
		if got := list("&state=running"); fmt.Sprint(got) != fmt.Sprint(want[:1]) {
			t.Errorf("running: got %v, want %v", got, want[:1])
		}
		if got := list("&state=failed"); len(got) != 0 {
			t.Errorf("failed: got %v, want none", got)
		}
		for _, query := range []string{"?state=gone", "?state=", "?after=x", "?limit=0", "?state=failed&state=failed"} {
			w.do("GET", "/v1/queues/mail/jobs"+query, "").wantProblem(400, "invalid_request")
		}
	})
}
