package httpapi_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/jobqueue"
)

func TestAProblemSaysWhatTheBrokerSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &setup{options: httpapi.Options{MaxBody: 1000}, broker: &jobqueue.Options{MaxPayload: 100, MaxResult: 200}})
		w.enqueue("mail", jobqueue.NewJob{})
		path, token := w.poll("mail")
		for _, c := range []struct {
			method, path, body string
			header             string
			status             int
			detail             string // begins with it
		}{
			{"POST", path + "/redrive", "", "", 409, "cannot redrive a job that is running"},
			{"DELETE", "/v1/queues/mail", "", "", 409, "wrong state: only a closed queue"},
			{"POST", "/v1/queues/mail/jobs", `{"payload":"` + strings.Repeat("a", 100) + `"}`, "", 413, "too large: the payload has more than 100 bytes"},
			{"POST", path + "/complete", `{"result":"` + strings.Repeat("a", 200) + `"}`, "", 413, "too large: the result has more than 200 bytes"},
			{"POST", "/v1/queues/mail/jobs", strings.Repeat("a", 101), "", 413, "the body is too large: it has more than 100 bytes"},
			{"POST", path + "/complete", strings.Repeat("a", 201), "Content-Type: text/plain", 413, "the body is too large: it has more than 200 bytes"},
			{"POST", path + "/fail", `{"message":"` + strings.Repeat("a", 1000) + `"}`, "", 413, "the body is too large: it has more than 1000 bytes"},
			{"POST", "/v1/queues/mail/jobs", `{"delay_seconds":-1}`, "", 400, "delay_seconds: -1s is not"},
			{"POST", "/v1/queues/mail/jobs?delay=9999999999", "x", "", 400, "delay: "},
			{"POST", path + "/release", `{"delay_seconds":-1}`, "", 400, "delay_seconds: "},
			{"POST", path + "/extend", `{"lease_seconds":1e9}`, "", 400, "lease_seconds: "},
			{"POST", "/v1/queues/mail/poll?lease=999999", "", "", 400, "lease: "},
			{"PUT", "/v1/queues/mail", `{"lease_seconds":0.1}`, "", 400, "lease_seconds: "},
			{"PUT", "/v1/queues/mail", `{"retention_seconds":4e9}`, "", 400, "retention_seconds: "},
			{"PUT", "/v1/queues/mail", `{"tombstone_seconds":4e9}`, "", 400, "tombstone_seconds: "},
			{"PUT", "/v1/queues/mail", `{"status":"\u0000"}`, "", 400, "status: "},
			{"POST", "/v1/queues/mail/jobs", `{}`, "Idempotency-Key: " + strings.Repeat("k", 256), 400, "Idempotency-Key: has 256 bytes"},
			{"POST", "/v1/queues/mail/jobs", `x`, "Idempotency-Key: " + strings.Repeat("k", 256), 400, "Idempotency-Key: has 256 bytes"},
		} {
			headers := []string{"Lease-Token: " + token}
			if c.header != "" {
				headers = append(headers, c.header)
			}
			a := w.do(c.method, c.path, c.body, headers...)
			if a.status != c.status || !strings.HasPrefix(a.text("detail"), c.detail) {
				t.Errorf("%s %s %.40s: got %d %s, want %d and the detail %q", c.method, c.path, c.body, a.status, a.body, c.status, c.detail)
			}
		}
	})
}

func TestAProblemSaysNothingThatWasWrappedAround(t *testing.T) {
	secret := errors.New("secret")
	for _, c := range []struct {
		err    error
		detail string
	}{
		{fmt.Errorf("secret: %w", jobqueue.ErrTooLarge), "it is larger than allowed"},
		{fmt.Errorf("%w (secret)", jobqueue.ErrTooLarge), "it is larger than allowed"}, // the text of a store's error
		{fmt.Errorf("%w: %w", jobqueue.ErrTooLarge, secret), "it is larger than allowed"},
		{fmt.Errorf("secret: %w", fmt.Errorf("%w: 3 bytes", jobqueue.ErrTooLarge)), "too large: 3 bytes"},
		{fmt.Errorf("%w: secret", jobqueue.ErrBusy), "the store is busy"},
		{fmt.Errorf("%w: secret", jobqueue.ErrStoreFailed), "the store failed"},
		{fmt.Errorf("%w: secret", jobqueue.ErrNotFound), "there is no such thing"},
		{fmt.Errorf("%w: %w", jobqueue.ErrRefused, secret), "the job was refused"},
		{fmt.Errorf("secret: %w", &jobqueue.InvalidError{Field: "key", Problem: "is bad"}), "key: is bad"},
	} {
		h, _ := newHandler(t, httpapi.Options{})
		w := serve(h.Func(func(http.ResponseWriter, *http.Request, *jobqueue.Broker) error { return c.err }), "GET", "/", "")
		if a := (&answer{t, w.Code, w.Header(), w.Body.String()}); a.get("detail") != c.detail {
			t.Errorf("%v: got %s, want the detail %q", c.err, a.body, c.detail)
		}
	}
}
