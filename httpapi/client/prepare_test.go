package client_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/httpapi/client"
	"github.com/pollackq/pollack/jobqueue"
)

// content reads a job's result.
func content(t *testing.T, ctx context.Context, c *client.Client, id string) string {
	t.Helper()
	result := must[*client.Content](t)(c.Result(ctx, id, nil))
	defer result.Close()
	return string(must[[]byte](t)(io.ReadAll(result)))
}

func TestAResultIsSentAhead(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, c *client.Client) {
		large := strings.Repeat("frame ", 1<<18)
		for _, body := range []io.Reader{strings.NewReader(large), io.MultiReader(strings.NewReader(large))} {
			j := must[*client.Job](t)(c.Submit(ctx, "films", client.NewJob{}))
			d := must[[]*client.Delivery](t)(c.Poll(ctx, "films", nil))[0]
			u := must[*client.Upload](t)(c.PrepareUpload(ctx, client.NewUpload{Filename: "a b.mp4", ContentType: "video/mp4", Size: int64(len(large)), Expires: time.Minute}))
			if !strings.HasPrefix(u.PutURL, "http://queue.test/v1/uploads/") || !strings.HasSuffix(u.ObjectKey, "/a b.mp4") || time.Until(u.Expires) != time.Minute {
				t.Errorf("got %+v", u)
			}
			if _, err := c.CompleteWith(ctx, d.ID, d.LeaseToken, client.NewResult{ObjectKey: u.ObjectKey}); !errors.Is(err, client.ErrWrongState) {
				t.Errorf("complete before it was sent: got %v", err)
			}
			if err := c.PutUpload(ctx, u, body); err != nil {
				t.Fatal(err)
			}
			wantErr(t, "sent again", c.PutUpload(ctx, u, strings.NewReader(large)), client.ErrWrongState)
			if err := d.CompleteWith(ctx, client.NewResult{ObjectKey: u.ObjectKey}); err != nil {
				t.Fatal(err)
			}
			if out, err := c.CompleteWith(ctx, d.ID, d.LeaseToken, client.NewResult{ObjectKey: u.ObjectKey}); err != nil || out != client.AlreadyAcked {
				t.Errorf("repeated: got %v, %v", out, err)
			}
			if got := content(t, ctx, c, j.ID); got != large {
				t.Errorf("got a result of %d bytes, want %d", len(got), len(large))
			}
			wantErr(t, "sent after its use", c.PutUpload(ctx, u, strings.NewReader(large)), client.ErrExpired)
		}
		_, err := c.CompleteWith(ctx, "x", "y", client.NewResult{ObjectKey: "k", Data: []byte{}})
		if err == nil {
			t.Error("an object key beside data: got no error")
		}
	})
}

func TestAnUploadThatIsNotAsPreparedIsATypedError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := house(t, &jobqueue.Options{MaxPayload: 10})
		ctx := t.Context()
		prepare := func(n client.NewUpload) *client.Upload { return must[*client.Upload](t)(c.PrepareUpload(ctx, n)) }
		_, err := c.PrepareUpload(ctx, client.NewUpload{Size: 11})
		wantErr(t, "prepared too large", err, client.ErrTooLarge)
		_, err = c.PrepareUpload(ctx, client.NewUpload{Expires: 8 * 24 * time.Hour})
		wantErr(t, "prepared for too long", err, client.ErrInvalid)
		wantErr(t, "more than was prepared", c.PutUpload(ctx, prepare(client.NewUpload{Size: 3}), strings.NewReader("four")), client.ErrTooLarge)
		wantErr(t, "less than was prepared", c.PutUpload(ctx, prepare(client.NewUpload{Size: 3}), strings.NewReader("tw")), client.ErrInvalid)
		if err := c.PutUpload(ctx, prepare(client.NewUpload{Size: -1}), bytes.NewReader(make([]byte, 10))); err != nil {
			t.Errorf("any size: got %v", err)
		}
		if err := c.PutUpload(ctx, prepare(client.NewUpload{}), nil); err != nil {
			t.Errorf("nothing: got %v", err)
		}
		late := prepare(client.NewUpload{Size: -1, Expires: time.Second})
		time.Sleep(time.Second)
		wantErr(t, "too late", c.PutUpload(ctx, late, strings.NewReader("x")), client.ErrExpired)
		forged := prepare(client.NewUpload{Size: -1})
		forged.PutURL += "0"
		wantErr(t, "forged", c.PutUpload(ctx, forged, strings.NewReader("x")), client.ErrRefused)
		for _, url := range []string{"", "/v1/uploads/x", "ftp://host/x", "http://", "http://a b/", "\x00"} {
			if err := c.PutUpload(ctx, &client.Upload{PutURL: url}, strings.NewReader("x")); err == nil {
				t.Errorf("PutURL %q: got no error", url)
			}
		}
	})
}

func TestCredentialsDoNotGoWithAnUpload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got http.Header
		c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			got = r.Header
			w.WriteHeader(204)
		}), &client.Options{Token: "secret", Header: func(_ context.Context, h http.Header) error { h.Set("X-Api-Key", "secret"); return nil }})
		u := &client.Upload{PutURL: "http://elsewhere.test/x?signature=1", ContentType: "a/b"}
		if err := c.PutUpload(t.Context(), u, strings.NewReader("x")); err != nil {
			t.Fatal(err)
		}
		if got.Get("Authorization") != "" || got.Get("X-Api-Key") != "" || got.Get("Content-Type") != "a/b" || got.Get("User-Agent") != "pollack-client" {
			t.Errorf("got %v", got)
		}
	})
}

func TestAnUploadIsSentAgainWhereThatDoesNoHarm(t *testing.T) {
	reader := func() io.Reader { return strings.NewReader("content") }
	stream := func() io.Reader { return io.MultiReader(reader()) }
	for _, c := range []struct {
		name    string
		answers []http.HandlerFunc
		body    func() io.Reader
		want    error // nil for none; errAny for any other
		asked   int
	}{
		{"after a failure", []http.HandlerFunc{breaks, says(502, ""), says(204, "")}, reader, nil, 3},
		{"when the answer was lost it has been written already", []http.HandlerFunc{breaks, problem(409, "wrong_state")}, reader, nil, 2},
		{"when the outcome was unknown it has been written already", []http.HandlerFunc{problem(503, "outcome_unknown"), problem(409, "wrong_state")}, reader, nil, 2},
		{"when nothing had happened somebody else has written it", []http.HandlerFunc{problem(429, "busy"), problem(409, "wrong_state")}, reader, client.ErrWrongState, 2},
		{"not what can be read but once", []http.HandlerFunc{breaks, says(204, "")}, stream, errAny, 1},
		{"not what is refused", []http.HandlerFunc{problem(403, "bad_signature")}, reader, client.ErrRefused, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var sent []string
				s := &script{}
				for _, answer := range c.answers {
					s.answers = append(s.answers, func(w http.ResponseWriter, r *http.Request) {
						p, _ := io.ReadAll(r.Body)
						sent = append(sent, string(p))
						answer(w, r)
					})
				}
				err := serve(t, s, nil).PutUpload(t.Context(), &client.Upload{PutURL: "http://queue.test/x?signature=a-secret"}, c.body())
				if c.want == errAny && err == nil || c.want != errAny && !errors.Is(err, c.want) || s.n() != c.asked {
					t.Errorf("got %v after %d requests, want %v after %d", err, s.n(), c.want, c.asked)
				}
				if err != nil && strings.Contains(err.Error(), "a-secret") {
					t.Errorf("the error has the signature: %v", err)
				}
				for _, p := range sent {
					if p != "content" {
						t.Errorf("sent %q, want the whole content each time", p)
					}
				}
			})
		})
	}
}

var errAny = errors.New("any")

func TestAnAnswerThatPreparesNothingIsAnError(t *testing.T) {
	for _, body := range []string{`{}`, `{"object_key":"k"}`, `{"put_url":"/x"}`, `{"object_key":"k","put_url":"file:///etc/passwd"}`, `{"object_key":"k","put_url":"http://a b"}`, `[]`, `x`} {
		synctest.Test(t, func(t *testing.T) {
			if u, err := serve(t, says(201, body), nil).PrepareUpload(t.Context(), client.NewUpload{}); err == nil {
				t.Errorf("%s: got %+v, want an error", body, u)
			}
		})
	}
}

func TestAURLToPutToIsFoundBehindAPrefix(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, o := range []httpapi.Options{{Prefix: "/queue"}, {Prefix: "/queue", BaseURL: "http://queue.test"}} {
			h := must[*httpapi.Handler](t)(httpapi.New(brokerOf(t, nil), &httpapi.Options{AllowAnonymous: true, Prefix: o.Prefix, BaseURL: o.BaseURL}))
			c := must[*client.Client](t)(client.New("http://queue.test/queue", &client.Options{HTTPClient: serveHTTP(t, h)}))
			u := must[*client.Upload](t)(c.PrepareUpload(t.Context(), client.NewUpload{Filename: "%?#", Size: 1}))
			if !strings.HasPrefix(u.PutURL, "http://queue.test/queue/v1/uploads/") {
				t.Errorf("got %s", u.PutURL)
			}
			if err := c.PutUpload(t.Context(), u, strings.NewReader("x")); err != nil {
				t.Error(err)
			}
		}
	})
}
