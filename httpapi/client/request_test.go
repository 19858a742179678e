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

	"github.com/pollackq/pollack/httpapi/client"
)

const aJob = `{"id":"J","state":"pending","version":1}`

func TestACallIsRepeatedWhereThatCanHelpAndDoesNoHarm(t *testing.T) {
	get := func(ctx context.Context, c *client.Client) error { _, err := c.Job(ctx, "J"); return err }
	submit := func(ctx context.Context, c *client.Client) error {
		_, err := c.Submit(ctx, "q", client.NewJob{Payload: []byte("x")})
		return err
	}
	keyed := func(ctx context.Context, c *client.Client) error {
		_, err := c.Submit(ctx, "q", client.NewJob{Payload: []byte("x"), Key: "k"})
		return err
	}
	good := says(200, aJob)
	for _, tc := range []struct {
		name    string
		call    func(context.Context, *client.Client) error
		answers []http.HandlerFunc
		tries   int
		want    error
	}{
		{"a read after a broken connection", get, []http.HandlerFunc{breaks, good}, 2, nil},
		{"a read after 502, 503 and 504", get, []http.HandlerFunc{says(502, ""), says(503, ""), says(504, ""), good}, 4, nil},
		{"a read that gets half an answer", get, []http.HandlerFunc{says(200, aJob, "Content-Length", "1000"), good}, 2, nil},
		{"a read no more than four times", get, []http.HandlerFunc{problem(503, "shutting_down")}, 5, client.ErrShutdown},
		{"not after 404", get, []http.HandlerFunc{problem(404, "not_found"), good}, 1, client.ErrNotFound},
		{"not after 400", get, []http.HandlerFunc{problem(400, "invalid_request"), good}, 1, client.ErrInvalid},
		{"not after 507", get, []http.HandlerFunc{problem(507, "store_full"), good}, 1, client.ErrStoreFull},
		{"a submit after 429", submit, []http.HandlerFunc{problem(429, "backlog_full"), good}, 2, nil},
		{"a submit after a refusal that did nothing", submit, []http.HandlerFunc{problem(503, "shutting_down"), good}, 2, nil},
		{"not a submit whose outcome is unknown", submit, []http.HandlerFunc{problem(503, "outcome_unknown"), good}, 1, client.ErrOutcomeUnknown},
		{"not a submit after a broken connection", submit, []http.HandlerFunc{breaks, good}, 1, io.EOF},
		{"not a release after a broken connection", func(ctx context.Context, c *client.Client) error {
			_, err := c.Release(ctx, "J", "T", nil)
			return err
		}, []http.HandlerFunc{breaks, problem(409, "lease_lost")}, 1, io.EOF},
		{"but an ack", func(ctx context.Context, c *client.Client) error {
			_, err := c.Ack(ctx, "J", "T")
			return err
		}, []http.HandlerFunc{breaks, says(200, `{"outcome":"already_acked"}`)}, 2, nil},
		{"but one with a key", keyed, []http.HandlerFunc{problem(503, "outcome_unknown"), breaks, good}, 3, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{answers: tc.answers}
				err := tc.call(t.Context(), serve(t, s, nil))
				if !errors.Is(err, tc.want) || s.n() != tc.tries {
					t.Errorf("got %v after %d tries, want %v after %d", err, s.n(), tc.want, tc.tries)
				}
			})
		})
	}
}

func TestRetryAfterIsWaitedForInSecondsAndAsADate(t *testing.T) {
	for name, value := range map[string]func() string{
		"seconds": func() string { return "20" },
		"date":    func() string { return time.Now().Add(20 * time.Second).UTC().Format(http.TimeFormat) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{answers: []http.HandlerFunc{problem(503, "shutting_down", "Retry-After", value()), says(200, aJob)}}
				begun := time.Now()
				must[*client.Job](t)(serve(t, s, nil).Job(t.Context(), "J"))
				if d := time.Since(begun); d < 20*time.Second || d > 20*time.Second+200*time.Millisecond {
					t.Errorf("came back after %v, want 20s and at most 200ms of jitter", d)
				}
			})
		})
	}
}

func TestADateIsHeldAgainstTheServersOwnClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		theirs := time.Now().Add(-time.Hour).UTC() // their clock is slow
		s := &script{answers: []http.HandlerFunc{
			problem(503, "shutting_down", "Date", theirs.Format(http.TimeFormat), "Retry-After", theirs.Add(10*time.Second).Format(http.TimeFormat)), says(200, aJob),
		}}
		begun := time.Now()
		must[*client.Job](t)(serve(t, s, nil).Job(t.Context(), "J"))
		if d := time.Since(begun); d < 10*time.Second {
			t.Errorf("came back after %v, want 10s", d)
		}
	})
}

func TestALongRetryAfterIsLeftToTheCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for value, want := range map[string]time.Duration{"3600": time.Hour, "99999999999999999999999": 24 * time.Hour, "Fri, 31 Dec 9999 23:59:59 GMT": 24 * time.Hour} {
			s := &script{answers: []http.HandlerFunc{problem(503, "shutting_down", "Retry-After", value)}}
			begun := time.Now()
			_, err := serve(t, s, nil).Job(t.Context(), "J")
			var e *client.Error
			if !errors.As(err, &e) || e.RetryAfter != want || time.Since(begun) != 0 {
				t.Errorf("%s: got %v after %v, want it at once with %v", value, err, time.Since(begun), want)
			}
		}
		for _, value := range []string{"-5", "soon", "1.5"} {
			_, err := serve(t, problem(404, "not_found", "Retry-After", value), nil).Job(t.Context(), "J")
			var e *client.Error
			if !errors.As(err, &e) || e.RetryAfter != 0 {
				t.Errorf("%s: got %v", value, e.RetryAfter)
			}
		}
	})
}

func TestAConnectionOnWhichNothingMovesIsGivenUp(t *testing.T) {
	hang := func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}
	for name, h := range map[string]http.HandlerFunc{
		"before the answer": hang,
		"within the answer": func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, `{"id":`)
			http.NewResponseController(w).Flush()
			hang(w, r)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := serve(t, h, &client.Options{Retries: -1, Timeout: 10 * time.Second})
				begun := time.Now()
				_, err := c.Job(t.Context(), "J")
				wantErr(t, "a status", err, client.ErrStalled)
				if d := time.Since(begun); d != 10*time.Second {
					t.Errorf("given up after %v, want 10s", d)
				}
			})
		})
	}
	t.Run("a poll has the time it asks for, too", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := serve(t, http.HandlerFunc(hang), &client.Options{Retries: -1, Timeout: 10 * time.Second})
			begun := time.Now()
			_, err := c.Poll(t.Context(), "q", &client.PollOptions{Wait: time.Minute})
			wantErr(t, "a poll", err, client.ErrStalled)
			if d := time.Since(begun); d != 70*time.Second {
				t.Errorf("given up after %v, want 70s", d)
			}
		})
	})
	t.Run("after the request's body", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := serve(t, http.HandlerFunc(hang), &client.Options{Retries: -1, Timeout: 10 * time.Second})
			begun := time.Now()
			_, err := c.Submit(t.Context(), "q", client.NewJob{Payload: []byte("x"), Wait: 5 * time.Second})
			wantErr(t, "a submit", err, client.ErrStalled)
			if d := time.Since(begun); d != 15*time.Second {
				t.Errorf("given up after %v, want 15s", d)
			}
		})
	})
	t.Run("within the request's body", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			stuck := make(chan struct{})
			c := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-stuck }), &client.Options{Retries: -1, Timeout: 10 * time.Second})
			begun := time.Now()
			_, err := c.Submit(t.Context(), "q", client.NewJob{Body: &counting{}, Wait: 5 * time.Second})
			wantErr(t, "a submit", err, client.ErrStalled)
			if d := time.Since(begun); d != 10*time.Second {
				t.Errorf("given up after %v, want 10s", d)
			}
			close(stuck)
		})
	})
	t.Run("a caller who takes an answer slowly is not given up", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := serve(t, says(200, strings.Repeat("x", 100<<10)), &client.Options{Retries: -1, Timeout: 10 * time.Second})
			p := must[*client.Content](t)(c.Payload(t.Context(), "J", nil))
			defer p.Close()
			io.CopyN(io.Discard, p, 10)
			time.Sleep(time.Hour)
			if n, err := io.Copy(io.Discard, p); n != 100<<10-10 || err != nil {
				t.Errorf("got %d bytes more, %v", n, err)
			}
		})
	})
	t.Run("a slow transfer is not given up", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				io.Copy(&slow{}, r.Body)
				for range 10 {
					time.Sleep(6 * time.Second)
					io.WriteString(w, " ")
					http.NewResponseController(w).Flush()
				}
				io.WriteString(w, aJob)
			}), &client.Options{Retries: -1, Timeout: 10 * time.Second})
			body := io.MultiReader(strings.NewReader("begin"), &slow{[]byte("0123456789")})
			if _, err := c.Submit(t.Context(), "q", client.NewJob{Body: body}); err != nil {
				t.Error(err)
			}
		})
	})
}

// slow gives a byte at a time, each after 20 seconds, and takes anything, after 6.
type slow struct{ p []byte }

func (s *slow) Read(p []byte) (int, error) {
	time.Sleep(20 * time.Second)
	if len(s.p) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:1], s.p)
	s.p = s.p[n:]
	return n, nil
}

func (s *slow) Write(p []byte) (int, error) {
	time.Sleep(6 * time.Second)
	return len(p), nil
}

func TestAFileIsSentAgainFromWhereItStood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		h := func(w http.ResponseWriter, r *http.Request) {
			p, _ := io.ReadAll(r.Body)
			got = append(got, string(p))
			if len(got) == 1 {
				problem(503, "shutting_down")(w, r)
				return
			}
			if r.ContentLength != 5 {
				t.Errorf("got a length of %d", r.ContentLength)
			}
			says(202, aJob)(w, r)
		}
		body := bytes.NewReader([]byte("--this"))
		body.Seek(1, io.SeekStart)
		if _, err := serve(t, http.HandlerFunc(h), nil).Submit(t.Context(), "q", client.NewJob{Body: body}); err != nil {
			t.Fatal(err)
		}
		if len(got) != 2 || got[0] != "-this" || got[1] != "-this" {
			t.Errorf("got %q", got)
		}
	})
}

func TestAnErrorOfTheBodyEndsTheSubmit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("disk is on fire")
		s := &script{answers: []http.HandlerFunc{says(202, aJob)}}
		_, err := serve(t, s, nil).Submit(t.Context(), "q", client.NewJob{Key: "k", Body: io.MultiReader(strings.NewReader("x"), failing{broken})})
		wantErr(t, "submit", err, broken)
		if s.n() > 1 {
			t.Errorf("got %d requests", s.n())
		}
	})
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestTheBodyIsNotReadAfterSubmitHasReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := func(w http.ResponseWriter, r *http.Request) { // answers, and then goes on reading
			http.NewResponseController(w).EnableFullDuplex()
			w.Header().Set("Content-Length", "2")
			w.WriteHeader(http.StatusConflict)
			io.WriteString(w, "{}")
			http.NewResponseController(w).Flush()
			for p := make([]byte, 8<<10); ; time.Sleep(time.Millisecond) {
				if _, err := r.Body.Read(p); err != nil {
					return
				}
			}
		}
		body := &counting{}
		_, err := serve(t, http.HandlerFunc(h), nil).Submit(t.Context(), "q", client.NewJob{Body: body})
		var e *client.Error
		if !errors.As(err, &e) || e.Status != http.StatusConflict {
			t.Errorf("got %v", err)
		}
		n := body.n
		time.Sleep(time.Hour)
		if body.n != n {
			t.Errorf("read %d times more", body.n-n)
		}
	})
}

func TestPayloadsAreAskedForAsTheyAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Header.Get("Accept-Encoding")) }), nil)
		p := must[*client.Content](t)(c.Payload(t.Context(), "J", nil))
		defer p.Close()
		if got := string(must[[]byte](t)(io.ReadAll(p))); got != "identity" {
			t.Errorf("asked for %q: a size or range would be that of something else", got)
		}
		if _, err := c.Payload(t.Context(), "J", &client.Range{Offset: 5}); err == nil {
			t.Error("got the whole for a part, and no error")
		}
	})
}

// counting never ends.
type counting struct{ n int }

func (c *counting) Read(p []byte) (int, error) {
	c.n++
	return len(p), nil
}

func TestAnswersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{answers: []http.HandlerFunc{says(200, `{"id":"J","name":"`+strings.Repeat("x", 1000)+`"}`)}}
		_, err := serve(t, s, &client.Options{MaxAnswer: 1000}).Job(t.Context(), "J")
		wantErr(t, "status", err, client.ErrAnswerTooLarge)
		if s.n() != 1 {
			t.Errorf("asked %d times", s.n())
		}
	})
}

func TestAnAnswerThatIsNoProblemIsAnErrorAllTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, err := serve(t, says(404, "<html>nothing here</html>"), nil).Job(t.Context(), "J")
		wantErr(t, "a proxy's 404", err, client.ErrNotFound)
		_, err = serve(t, says(302, "", "Location", "http://elsewhere.test/"), nil).Job(t.Context(), "J")
		var e *client.Error
		if !errors.As(err, &e) || e.Status != 302 {
			t.Errorf("got %v, want the redirect as it is", err)
		}
		_, err = serve(t, says(200, "<html>"), &client.Options{Retries: -1}).Job(t.Context(), "J")
		if err == nil {
			t.Error("got no error for an answer that is no JSON")
		}
	})
}

func TestEveryAttemptHasTheCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen []string
		h := func(w http.ResponseWriter, r *http.Request) {
			seen = append(seen, r.Header.Get("Authorization")+" "+r.Header.Get("X-Try")+" "+r.Header.Get("User-Agent"))
			(&script{answers: []http.HandlerFunc{says(503, "")}}).ServeHTTP(w, r)
		}
		n := 0
		c := serve(t, http.HandlerFunc(h), &client.Options{Token: "T", Retries: 1, UserAgent: "me", Header: func(_ context.Context, h http.Header) error {
			n++
			h.Set("X-Try", string(rune('0'+n)))
			return nil
		}})
		c.Job(t.Context(), "J")
		if len(seen) != 2 || seen[0] != "Bearer T 1 me" || seen[1] != "Bearer T 2 me" {
			t.Errorf("got %q", seen)
		}
		no := errors.New("no credentials")
		_, err := serve(t, http.HandlerFunc(h), &client.Options{Header: func(context.Context, http.Header) error { return no }}).Job(t.Context(), "J")
		wantErr(t, "header", err, no)
		if len(seen) != 2 {
			t.Error("the request was sent all the same")
		}
	})
}

func TestADeadContextSendsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		s := &script{answers: []http.HandlerFunc{says(200, aJob)}}
		if _, err := serve(t, s, nil).Job(ctx, "J"); err != context.Canceled || s.n() != 0 {
			t.Errorf("got %v after %d requests", err, s.n())
		}
	})
}

func TestBaseURLs(t *testing.T) {
	for _, u := range []string{"", "queue.test", "ftp://queue.test", "http://", "http://queue.test?x=1", "http://u:p@queue.test", "http://queue.test/#x", "http://a b/"} {
		if _, err := client.New(u, nil); err == nil {
			t.Errorf("%q: got no error", u)
		}
	}
	c, err := client.New("https://queue.test/some/path/", nil)
	if err != nil || c.JobURL("a/..") != "https://queue.test/some/path/v1/jobs/a%2F.." {
		t.Errorf("got %v, %v", c.JobURL("a/.."), err)
	}
}
