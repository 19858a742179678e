package httpapi_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/jobqueue"
)

func headerText(a *answer) string {
	var lines []string
	for k, v := range a.header {
		lines = append(lines, fmt.Sprint(k, v))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// poll leases the next job of alice's over HTTP and returns its path and token.
func (w *world) poll(queue string) (path, token string) {
	w.t.Helper()
	a := w.do("GET", "/v1/queues/"+queue+"/poll?timeout=0", "").want(200)
	return "/v1/jobs/" + a.text("id"), a.text("lease_token")
}

func TestACallThatEndsAJobMayBeRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		for _, c := range []struct{ verb, body, state string }{
			{"ack", ``, "succeeded"},
			{"complete", `,"result":{"a":1}`, "succeeded"},
			{"fail", `,"code":"broken","message":"no luck"`, "failed"},
		} {
			w.enqueue("mail", jobqueue.NewJob{})
			path, token := w.poll("mail")
			for _, want := range []string{"acked", "already_acked"} {
				if a := w.do("POST", path+"/"+c.verb, `{"lease_token":"`+token+`"`+c.body+`}`).want(200); a.body != `{"outcome":"`+want+`"}` {
					t.Errorf("%s: got %s, want %s", c.verb, a.body, want)
				}
			}
			if a := w.do("GET", path, "").want(200); a.get("state") != c.state {
				t.Errorf("%s: got %s, want %s", c.verb, a.body, c.state)
			}
			a := w.do("POST", path+"/extend", "", "Lease-Token: "+token).wantProblem(409, "lease_lost")
			if a.get("reason") != c.state {
				t.Errorf("%s: got %s, want reason %s", c.verb, a.body, c.state)
			}
		}
	})
}

func TestTheTokenIsRequired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.enqueue("mail", jobqueue.NewJob{})
		path, token := w.poll("mail")
		other := strings.Repeat("0", 31) + "1"
		for _, verb := range []string{"ack", "complete", "fail", "release", "extend", "progress"} {
			w.do("POST", path+"/"+verb, "").wantProblem(400, "invalid_request")
			w.do("POST", path+"/"+verb, "{}").wantProblem(400, "invalid_request")
			w.do("POST", path+"/"+verb, "", "Lease-Token: x").wantProblem(400, "invalid_request")
			w.do("POST", path+"/"+verb, "", "Lease-Token: "+jobqueue.AnyToken.String()).wantProblem(400, "invalid_request")
			w.do("POST", path+"/"+verb, `{"lease_token":"`+token+`"}`, "Lease-Token: "+other).wantProblem(400, "invalid_request")
			w.do("POST", path+"/"+verb, "", "Lease-Token: "+token, "Lease-Token: "+token).wantProblem(400, "invalid_request")
			w.do("POST", path+"/"+verb, `{"message":"m"}`, "Lease-Token: "+other).wantProblem(409, "lease_lost")
			w.do("POST", path+"/"+verb, "[]", "Content-Type: application/json").wantProblem(400, "invalid_request")
		}
		w.do("POST", path+"/ack", `{"lease_token":"`+token+`"}`, "Lease-Token: "+token).want(200)
	})
}

func TestAJobThatWasNeverDeliveredCannotBeSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &setup{options: httpapi.Options{AnyToken: true}})
		path := "/v1/jobs/" + w.enqueue("mail", jobqueue.NewJob{}).ID.String()
		w.do("POST", path+"/ack", "").wantProblem(409, "not_delivered")
		_, token := w.poll("mail")
		w.do("POST", path+"/ack", "", "Lease-Token: "+strings.Repeat("1", 32)).wantProblem(409, "lease_lost")
		w.do("POST", path+"/ack", "", "Lease-Token: "+token).want(200)
	})
}

func TestAHolderCanDoMoreThanAck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.enqueue("mail", jobqueue.NewJob{})
		path, token := w.poll("mail")
		post := func(verb, fields string) *answer {
			return w.do("POST", path+"/"+verb, `{"lease_token":"`+token+`"`+fields+`}`)
		}
		if a := post("progress", `,"progress":0.25,"message":"a quarter"`).want(200); a.get("progress") != 0.25 || a.get("progress_message") != "a quarter" {
			t.Errorf("progress: got %s", a.body)
		}
		if a := post("progress", `,"message":"still"`).want(200); a.get("progress") != 0.25 || a.get("progress_message") != "still" {
			t.Errorf("progress with a message only: got %s", a.body)
		}
		if a := post("progress", `,"progress":null,"message":""`).want(200); a.get("progress") != 0.25 || a.get("progress_message") != nil {
			t.Errorf("progress with an empty message: got %s", a.body)
		}
		if a := post("progress", `,"progress":0`).want(200); a.get("progress") != 0.0 {
			t.Errorf("progress of 0: got %s", a.body)
		}
		post("progress", ``).wantProblem(400, "invalid_request")
		post("progress", `,"progress":null,"message":null`).wantProblem(400, "invalid_request")
		post("progress", `,"progress":1.5`).wantProblem(400, "invalid_request")
		if a := post("extend", `,"lease_seconds":600`).want(200); a.get("lease_expires_at") != "2000-01-01T00:10:00Z" || a.get("state") != "running" {
			t.Errorf("extend: got %s", a.body)
		}
		if a := post("extend", ``).want(200); a.get("lease_expires_at") != "2000-01-01T00:05:00Z" {
			t.Errorf("extend by the usual window: got %s", a.body)
		}
		post("extend", `,"lease_seconds":-1`).wantProblem(400, "invalid_request")
		post("extend", `,"lease_seconds":1e9`).wantProblem(400, "invalid_request")
		post("release", `,"delay_seconds":-1`).wantProblem(400, "invalid_request")
		if a := post("release", `,"delay_seconds":60,"uncounted":true`).want(200); a.get("state") != "scheduled" || a.get("deliveries") != 0.0 {
			t.Errorf("release: got %s", a.body)
		}
		if a := post("ack", ``).wantProblem(409, "lease_lost"); a.get("reason") != "released" {
			t.Errorf("ack after release: got %s", a.body)
		}
		time.Sleep(time.Minute + time.Millisecond)
		path, token = w.poll("mail")
		time.Sleep(6 * time.Minute)
		if a := post("extend", ``).wantProblem(409, "lease_lost"); a.get("reason") != "lapsed" {
			t.Errorf("extend after the lapse: got %s", a.body)
		}
		if a := w.do("POST", path+"/cancel", "").want(200); a.get("state") != "canceled" {
			t.Errorf("cancel: got %s", a.body)
		}
		w.do("POST", path+"/cancel", "").want(200)
		if a := post("ack", ``).wantProblem(409, "lease_lost"); a.get("reason") != "canceled" {
			t.Errorf("ack after cancel: got %s", a.body)
		}
		if a := w.do("POST", path+"/redrive", "").want(200); a.get("state") != "pending" {
			t.Errorf("redrive: got %s", a.body)
		}
		w.do("POST", path+"/redrive", "").wantProblem(409, "wrong_state")
	})
}

func TestCompleteTakesAnyResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &setup{broker: &jobqueue.Options{MaxResult: 1000}})
		for _, c := range []struct {
			what, query, body, kind string
			want, wantKind          string
			inStatus                any
		}{
			{"JSON", "", `{"result":[1]}`, "application/json", `[1]`, "application/json", []any{1.0}},
			{"null", "", `{"result":null}`, "application/json", `null`, "application/json", nil},
			{"base64", "", `{"result_base64":"aGk=","content_type":"text/plain"}`, "application/json", `hi`, "text/plain", nil},
			{"raw", "", `hi`, "text/plain; charset=utf-8", `hi`, "text/plain; charset=utf-8", nil},
			{"JSON without a type", "", `{"result":[4]}`, "", `[4]`, "application/json", []any{4.0}},
			{"JSON that curl calls a form", "", `{"result":[5]}`, "application/x-www-form-urlencoded", `[5]`, "application/json", []any{5.0}},
			{"raw JSON", "?content_type=application/json", `[2]`, "application/octet-stream", `[2]`, "application/json", []any{2.0}},
		} {
			w.enqueue("mail", jobqueue.NewJob{})
			path, token := w.poll("mail")
			w.do("GET", path+"/result", "").wantProblem(404, "not_found")
			w.do("POST", path+"/complete"+c.query, c.body, "Content-Type: "+c.kind, "Lease-Token: "+token).want(200)
			if a := w.do("GET", path+"/result", "").want(200).wantHeader("Content-Type", c.wantKind); a.body != c.want {
				t.Errorf("%s: got %q, want %q", c.what, a.body, c.want)
			}
			if a := w.do("GET", path, "").want(200); fmt.Sprint(a.get("result")) != fmt.Sprint(c.inStatus) {
				t.Errorf("%s: got %s, want result %v", c.what, a.body, c.inStatus)
			}
		}
		w.enqueue("mail", jobqueue.NewJob{})
		path, token := w.poll("mail")
		w.do("POST", path+"/complete", strings.Repeat("x", 1001), "Content-Type: text/plain", "Lease-Token: "+token).wantProblem(413, "too_large")
		w.do("POST", path+"/complete", `{"result":"`+strings.Repeat("x", 1001)+`"}`, "Lease-Token: "+token).wantProblem(413, "too_large")
		w.do("POST", path+"/complete", "x", "Content-Type: text/plain").wantProblem(400, "invalid_request") // no token
		for _, kind := range []string{"application/json", "application/x-www-form-urlencoded", ""} {
			a := w.do("POST", path+"/complete?content_type=application/json", `{"sum":3}`, "Content-Type: "+kind, "Lease-Token: "+token)
			if a.wantProblem(400, "invalid_request"); !strings.HasPrefix(a.text("detail"), "content_type: ") {
				t.Errorf("%q and content_type beside it: got %s", kind, a.body)
			}
		}
		w.do("POST", path+"/complete", `a=b`, "Content-Type: application/x-www-form-urlencoded", "Lease-Token: "+token).wantProblem(400, "invalid_request")
		w.do("POST", path+"/complete", "", "Lease-Token: "+token).want(200)
		w.do("GET", path+"/result", "").wantProblem(404, "not_found")
	})
}

func TestManyAcksAreAnsweredEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &setup{options: httpapi.Options{Authorize: func(r *http.Request, account string, a httpapi.Action, queue string) error {
			if a == httpapi.ActionSettle && queue == "secret" {
				return http.ErrNoCookie
			}
			return nil
		}}})
		good, foreign := w.enqueue("mail", jobqueue.NewJob{}), jobqueue.ID{9}
		w.enqueue("secret", jobqueue.NewJob{})
		token := w.receive("mail").Token.String()
		secret, before := w.receive("secret"), w.enqueue("mail", jobqueue.NewJob{}).ID
		acked := w.receive("mail")
		if err := acked.Ack(t.Context()); err != nil || acked.ID != before {
			t.Fatal(err)
		}
		a := w.do("POST", "/v1/acks", fmt.Sprintf(`{"acks":[
			{"id":"x"}, {"id":%q,"lease_token":%q}, {"id":%q,"lease_token":%q}, {"id":%q,"lease_token":%q}, {"id":%q}, {"id":%q,"lease_token":%q}, {"id":%q,"lease_token":%q}
		]}`, good.ID, token, acked.ID, acked.Token, foreign, token, good.ID, good.ID, strings.Repeat("1", 32), secret.ID, secret.Token)).want(200)
		var got []string
		for _, r := range a.get("results").([]any) {
			m := r.(map[string]any)
			if e, ok := m["error"].(map[string]any); ok {
				got = append(got, fmt.Sprint(e["status"], e["code"], e["reason"]))
				continue
			}
			got = append(got, m["outcome"].(string))
		}
		want := []string{"404not_found<nil>", "acked", "already_acked", "404not_found<nil>", "400invalid_request<nil>", "409lease_lostsucceeded", "403forbidden<nil>"}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got %v, want %v", got, want)
		}
		for _, body := range []string{`{}`, `{"acks":[]}`, `{"acks":[` + strings.Repeat(`{},`, jobqueue.MaxBatch) + `{}]}`, `{"acks":1}`} {
			w.do("POST", "/v1/acks", body).wantProblem(400, "invalid_request")
		}
	})
}
