package callback_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pollackq/pollack/httpapi/callback"
	"github.com/pollackq/pollack/jobqueue"
)

func TestAMessageMayHaveItsOwnBodyAndHeaders(t *testing.T) {
	inLab(t, func(l *lab) {
		older := callback.NewSecret()
		l.send(callback.Options{Message: func(context.Context, *jobqueue.Delivery) (*callback.Message, error) {
			m := l.message("http://receiver.test/hook?a=b%20c")
			m.Secrets = append(m.Secrets, older)
			m.Body, m.ContentType, m.SignatureHeader = []byte("<done/>"), "application/xml", "x-phota-signature"
			m.Header = http.Header{
				"x-more": {"1", "2"}, "webhook-id": {"forged"}, "Webhook-Timestamp": {"1"}, "webhook-signature": {"v1,forged"},
				"content-type": {"text/html"}, "User-Agent": {"other"}, "X-Phota-Signature": {"forged"},
			}
			return m, nil
		}})
		job := l.ended(l.add(jobqueue.NewJob{}).ID, "succeeded")
		got := l.requests()[0]
		if got.body != "<done/>" {
			l.Errorf("got body %q", got.body)
		}
		for name, want := range map[string][]string{
			"Webhook-Id": {job.ID.String()}, "Content-Type": {"application/xml"}, "User-Agent": {"pollack"}, "X-More": {"1", "2"},
			"X-Phota-Signature": {callback.SignHex(l.secret, []byte("<done/>"))},
		} {
			if v := got.header.Values(name); !slices.Equal(v, want) {
				l.Errorf("%s: got %q, want %q", name, v, want)
			}
		}
		if v := got.header.Values("Webhook-Signature"); len(v) != 1 || len(strings.Fields(v[0])) != 2 {
			l.Fatalf("got signatures %q, want one of each of the two secrets", v)
		}
		for _, s := range []callback.Secret{l.secret, older} {
			if err := (&callback.Verifier{Secrets: []callback.Secret{s}}).Verify(got.header, []byte(got.body)); err != nil {
				l.Errorf("with one of the secrets: got %v", err)
			}
		}
	})
}

func TestNobodyNeedBeTold(t *testing.T) {
	inLab(t, func(l *lab) {
		l.send(callback.Options{Message: func(context.Context, *jobqueue.Delivery) (*callback.Message, error) { return nil, nil }})
		l.ended(l.add(jobqueue.NewJob{}).ID, "succeeded")
		if n := len(l.requests()); n != 0 {
			l.Errorf("got %d requests, want none", n)
		}
	})
}

func TestAMessageThatCannotBeSentFailsAtOnce(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*callback.Message)
		code   string
	}{
		{"no URL", func(m *callback.Message) { m.URL = "" }, callback.CodeForbidden},
		{"a URL of another scheme", func(m *callback.Message) { m.URL = "ftp://receiver.test/" }, callback.CodeForbidden},
		{"a URL with a user", func(m *callback.Message) { m.URL = "http://a:b@receiver.test/" }, callback.CodeForbidden},
		{"a URL with a line break", func(m *callback.Message) { m.URL = "http://receiver.test/\r\nX: y" }, callback.CodeForbidden},
		{"no secret", func(m *callback.Message) { m.Secrets = nil }, callback.CodeInvalid},
		{"an empty secret", func(m *callback.Message) { m.Secrets = append(m.Secrets, "") }, callback.CodeInvalid},
		{"a bad secret", func(m *callback.Message) { m.Secrets = []callback.Secret{"whsec_!"} }, callback.CodeInvalid},
		{"a signature under another's name", func(m *callback.Message) { m.SignatureHeader = "webhook-signature" }, callback.CodeInvalid},
		{"a signature as the content type", func(m *callback.Message) { m.SignatureHeader = "content-type" }, callback.CodeInvalid},
		{"a signature under a bad name", func(m *callback.Message) { m.SignatureHeader = "X Signature" }, callback.CodeInvalid},
		{"a header with a bad name", func(m *callback.Message) { m.Header = http.Header{"a:b": {"c"}} }, callback.CodeInvalid},
		{"a header without a name", func(m *callback.Message) { m.Header = http.Header{"": {"c"}} }, callback.CodeInvalid},
		{"a header with a line break", func(m *callback.Message) { m.Header = http.Header{"A": {"b\r\nC: d"}} }, callback.CodeInvalid},
		{"a content type with a line break", func(m *callback.Message) { m.ContentType = "a/b\nC: d" }, callback.CodeInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inLab(t, func(l *lab) {
				l.send(callback.Options{Message: func(context.Context, *jobqueue.Delivery) (*callback.Message, error) {
					m := l.message("http://receiver.test/")
					tt.change(m)
					return m, nil
				}})
				began := time.Now()
				job := l.ended(l.add(jobqueue.NewJob{}).ID, tt.code)
				if job.Deliveries != 1 || time.Since(began) > 0 || job.Failure.Message == "" || strings.Contains(job.Failure.Message, "whsec_!") {
					l.Errorf("got %d deliveries in %v, %q, want one failure at once that says why", job.Deliveries, time.Since(began), job.Failure.Message)
				}
				if n := len(l.requests()); n != 0 {
					l.Errorf("got %d requests, want none", n)
				}
			})
		})
	}
}

func TestAMessageThatCannotBeMade(t *testing.T) {
	wrong := errors.New("no such customer")
	for _, tt := range []struct {
		name  string
		make  func(try int) (*callback.Message, error) // a nil message and a nil error: a good one
		state string
		tries int
		took  time.Duration
	}{
		{"is tried again", func(try int) (*callback.Message, error) {
			if try < 3 {
				return nil, wrong
			}
			return nil, nil
		}, "succeeded", 3, 11 * time.Minute},
		{"is given up in the end", func(int) (*callback.Message, error) { return nil, wrong }, callback.CodeFailed, 3, 11 * time.Minute},
		{"is given up at once if the error is permanent", func(int) (*callback.Message, error) {
			return nil, jobqueue.Permanent("no_customer", wrong)
		}, "no_customer", 1, 0},
		{"has its own code also at the last attempt", func(try int) (*callback.Message, error) {
			if try < 3 {
				return nil, wrong
			}
			return nil, jobqueue.Permanent("no_customer", wrong)
		}, "no_customer", 3, 11 * time.Minute},
		{"may say when to try again", func(int) (*callback.Message, error) {
			return nil, jobqueue.RetryAfter(time.Hour, wrong)
		}, callback.CodeFailed, 3, 2 * time.Hour},
		{"may panic", func(try int) (*callback.Message, error) {
			if try == 1 {
				panic("a fault")
			}
			return nil, nil
		}, "succeeded", 2, time.Minute},
		{"may panic for ever", func(int) (*callback.Message, error) { panic("a fault") }, callback.CodeFailed, 3, 21 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inLab(t, func(l *lab) {
				tries := 0
				l.send(callback.Options{
					Delays: []time.Duration{time.Minute, 10 * time.Minute}, Jitter: -1,
					Message: func(context.Context, *jobqueue.Delivery) (*callback.Message, error) {
						tries++
						m, err := tt.make(tries)
						if m == nil && err == nil {
							m = l.message("http://receiver.test/")
						}
						return m, err
					},
				})
				began := time.Now()
				l.ended(l.add(jobqueue.NewJob{}).ID, tt.state)
				if took := time.Since(began); tries != tt.tries || took != tt.took {
					l.Errorf("got %d tries in %v, want %d in %v", tries, took, tt.tries, tt.took)
				}
			})
		})
	}
}

func TestAPanicOfTheOnlyAttemptIsTheEnd(t *testing.T) {
	inLab(t, func(l *lab) {
		l.send(callback.Options{Delays: []time.Duration{}, Message: func(context.Context, *jobqueue.Delivery) (*callback.Message, error) { panic("a fault") }})
		l.ended(l.add(jobqueue.NewJob{}).ID, callback.CodeFailed)
	})
}
