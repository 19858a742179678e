package client_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/httpapi/client"
)

// awaited runs Await against a script and returns when its requests came, counted from the first.
func awaited(t *testing.T, ctx context.Context, o client.AwaitOptions, answers ...http.HandlerFunc) (*client.Status, []time.Duration, error) {
	t.Helper()
	s := &script{answers: answers}
	var mu sync.Mutex // guards begun and at
	var begun time.Time
	var at []time.Duration
	o.HTTPClient = serveHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		if begun.IsZero() {
			begun = time.Now()
		}
		at = append(at, time.Since(begun))
		mu.Unlock()
		s.ServeHTTP(w, r)
	}))
	status, err := client.Await(ctx, "http://other.test/orders/7", &o)
	mu.Lock()
	defer mu.Unlock()
	return status, slices.Clone(at), err
}

func state(word string, header ...string) http.HandlerFunc {
	return says(200, `{"status":"`+word+`"}`, header...)
}

func TestAwaitBeginsWithOneToTwoSecondsAndGrowsToACap(t *testing.T) {
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			var answers []http.HandlerFunc
			for range 15 {
				answers = append(answers, state("processing"))
			}
			s, at, err := awaited(t, t.Context(), client.AwaitOptions{}, append(answers, state("completed"))...)
			if err != nil || s.State != client.Succeeded || s.Word != "completed" {
				t.Fatalf("got %+v, %v", s, err)
			}
			least := time.Second
			for i := 1; i < len(at); i++ {
				if d := at[i] - at[i-1]; d < least || d > min(2*least, 30*time.Second) {
					t.Errorf("pause %d was %v, want %v to twice that, and at most 30s", i, d, least)
				}
				least = min(least+least/2, 15*time.Second)
			}
		})
	}
}

func TestAwaitHonoursRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, at, err := awaited(t, t.Context(), client.AwaitOptions{},
			state("queued", "Retry-After", "100"),
			func(w http.ResponseWriter, r *http.Request) {
				state("queued", "Retry-After", time.Now().Add(200*time.Second).UTC().Format(http.TimeFormat))(w, r)
			},
			says(429, "", "Retry-After", "300"),
			says(503, "", "Retry-After", "400"),
			state("done"))
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []time.Duration{100, 200, 300, 400} {
			want *= time.Second
			// A date has no parts of a second: the wait can be up to one shorter.
			if d := at[i+1] - at[i]; d < want-time.Second || d > want+want/10 {
				t.Errorf("pause %d was %v, want %v and up to a tenth more", i, d, want)
			}
		}
	})
}

func TestAwaitWaitsOutWhatMayPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, at, err := awaited(t, t.Context(), client.AwaitOptions{},
			breaks, says(500, "oops"), says(502, ""), says(507, ""), says(408, ""), says(425, ""), says(200, `{"sta`, "Content-Length", "100"),
			says(304, ""), says(202, ""), state("reticulating splines"), says(200, `{"status":7}`), says(200, `{}`), state("FINISHED"))
		if err != nil || s.State != client.Succeeded || len(at) != 13 {
			t.Errorf("got %+v, %v after %d requests", s, err, len(at))
		}
	})
}

func TestAwaitEndsWhenTheJobHasOrCannotBeRead(t *testing.T) {
	for word, want := range map[string]client.State{
		"succeeded": client.Succeeded, "Success": client.Succeeded, "COMPLETED": client.Succeeded, "error": client.Failed, "timed out": client.Failed,
		"timed-out": client.Failed, "failed": client.Failed, "canceled": client.Canceled, "cancelled": client.Canceled,
	} {
		synctest.Test(t, func(t *testing.T) {
			s, _, err := awaited(t, t.Context(), client.AwaitOptions{}, state(word))
			if err != nil || s.State != want || string(s.Body) != `{"status":"`+word+`"}` {
				t.Errorf("%s: got %+v, %v, want %v", word, s, err, want)
			}
		})
	}
	for status, want := range map[int]error{401: client.ErrUnauthorized, 403: client.ErrRefused, 404: client.ErrNotFound, 410: nil, 400: nil, 422: nil} {
		synctest.Test(t, func(t *testing.T) {
			last, at, err := awaited(t, t.Context(), client.AwaitOptions{}, state("running"), says(status, ""))
			var e *client.Error
			if !errors.As(err, &e) || e.Status != status || want != nil && !errors.Is(err, want) || len(at) != 2 || last == nil || last.Word != "running" {
				t.Errorf("%d: got %v after %d requests, last %+v", status, err, len(at), last)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		_, _, err := awaited(t, t.Context(), client.AwaitOptions{MaxBody: 100}, state(strings.Repeat("x", 100)))
		wantErr(t, "a large answer", err, client.ErrAnswerTooLarge)
		if _, _, err = awaited(t, t.Context(), client.AwaitOptions{}, says(200, "<html>")); err == nil {
			t.Error("got no error for a page")
		}
		if _, err := client.Await(t.Context(), "other.test", nil); err == nil {
			t.Error("got no error for half a URL")
		}
	})
}

func TestAwaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, answer := range []http.HandlerFunc{state("running"), breaks, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			begun := time.Now()
			_, at, err := awaited(t, ctx, client.AwaitOptions{}, answer)
			if err != context.DeadlineExceeded || time.Since(begun) != time.Hour || len(at) > 250 {
				t.Errorf("got %v after %v and %d requests", err, time.Since(begun), len(at))
			}
			cancel()
		}
	})
}

func TestAwaitReadsAnswersAsItIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := 0
		s, _, err := awaited(t, t.Context(), client.AwaitOptions{
			Token: "T",
			Decode: func(s *client.Status) error {
				if s.Word = string(s.Body); s.Word == "ready" {
					s.State = client.Succeeded
				}
				return nil
			},
			OnStatus: func(*client.Status) { seen++ },
		}, says(200, "not yet"), func(w http.ResponseWriter, r *http.Request) { says(200, "ready")(w, r) })
		if err != nil || s.Word != "ready" || seen != 2 {
			t.Errorf("got %+v, %v, %d seen", s, err, seen)
		}
	})
}

func TestProgressIsAFractionOrPercents(t *testing.T) {
	for text, want := range map[string]float64{
		`0.25`: 0.25, `1`: 1, `25`: 0.25, `"25"`: 0.25, `"25 %"`: 0.25, `100`: 1, `0`: 0, `"1"`: 0.01,
		`-1`: -1, `101`: -1, `"x"`: -1, `null`: -1, `{}`: -1, `"NaN"`: -1, // none
	} {
		s := &client.Status{Code: 200, Body: []byte(`{"status":"running","progress":` + text + `}`)}
		err := client.DecodeWords(s)
		if err != nil || (s.Progress == nil) != (want < 0) || s.Progress != nil && *s.Progress != want || s.State != "" {
			t.Errorf("%s: got %v, %v, want %v", text, s.Progress, err, want)
		}
	}
}
