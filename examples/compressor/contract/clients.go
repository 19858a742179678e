package contract

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/httpapi/client"
	"github.com/pollackq/pollack/internal/contract"
	"github.com/pollackq/pollack/internal/pipenet"
)

// follow has package client follow a status URL, as ada.
func follow(w *world, url string) (*client.Status, error) {
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Hour)
	defer cancel()
	c := w.net.Client()
	c.Transport.(*http.Transport).DisableKeepAlives = true
	return client.Await(ctx, url, &client.AwaitOptions{HTTPClient: c, Token: strings.TrimPrefix(ada, "Bearer ")})
}

// script serves answers in turn, the last one for ever, and tells when each was asked for.
func script(w *world, host string, answers ...func(http.ResponseWriter)) (asked func() []time.Time) {
	var times []time.Time // one client asks, one request at a time
	contract.Listen(w.t, w.net, host, http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		n := min(len(times), len(answers)-1)
		times = append(times, time.Now())
		answers[n](rw)
	}))
	return func() []time.Time { return times }
}

func says(word string, header ...string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		fmt.Fprintf(w, `{"id":"38a8bb5e-7b50-4a22-a0a6-b9602fccb225","status":%q}`, word)
	}
}

func init() {
	suite.Case("a client begins with a second or two, waits longer and longer, and stops at the end", "S3-10", func(t *testing.T, open contract.Opener) {
		w := begin(t, open)
		asked := script(w, "other.example", says("enqueued"), says("enqueued"), says("processing"), says("processing"), says("processing"), says("processing"), says("completed"))
		s, err := follow(w, "https://other.example/1.0/jobs/1")
		if err != nil || s.State != client.Succeeded {
			t.Fatalf("got %v, %v, want it completed", s, err)
		}
		time.Sleep(time.Hour)
		at := asked()
		if len(at) != 7 {
			t.Fatalf("got %d requests, want 7 and none after the end", len(at))
		}
		if first := at[1].Sub(at[0]); first < time.Second || first > 2*time.Second {
			t.Errorf("got a first pause of %v, want from 1s to 2s", first)
		}
		if last := at[6].Sub(at[5]); last < 4*time.Second {
			t.Errorf("got a sixth pause of %v, want one that has grown", last)
		}
	})
	suite.Case("a client takes words it does not know for unfinished", "S3-09", func(t *testing.T, open contract.Opener) {
		w := begin(t, open)
		asked := script(w, "other.example", says("received"), says("optimising"), says(""), says("failed"))
		if s, err := follow(w, "https://other.example/1.0/jobs/1"); err != nil || s.State != client.Failed || len(asked()) != 4 {
			t.Errorf("got %v, %v after %d requests, want it failed after 4", s, err, len(asked()))
		}
	})
	suite.Case("a client respects Retry-After, in seconds and as a date", "S3-11", func(t *testing.T, open contract.Opener) {
		w := begin(t, open)
		const wait = 40 * time.Second
		at := func(rw http.ResponseWriter) {
			says("processing", "Retry-After", time.Now().Add(wait).UTC().Format(http.TimeFormat))(rw)
		}
		asked := script(w, "other.example", says("processing", "Retry-After", "40"), at, says("completed"))
		if _, err := follow(w, "https://other.example/1.0/jobs/1"); err != nil {
			t.Fatal(err)
		}
		for i, form := range []string{"seconds", "a date"} {
			if got := asked()[i+1].Sub(asked()[i]); got < wait || got > wait+wait/10+time.Second {
				t.Errorf("as %s: got a pause of %v, want %v or a little more", form, got, wait)
			}
		}
	})
	suite.Case("a client outlives failures of the network and of the server", "S3-13", func(t *testing.T, open contract.Opener) {
		w := begin(t, open)
		cut := func(rw http.ResponseWriter) { panic(http.ErrAbortHandler) }
		asked := script(w, "other.example", cut, statusOf(http.StatusBadGateway), says("processing"), cut, statusOf(http.StatusTooManyRequests), says("completed"))
		if s, err := follow(w, "https://other.example/1.0/jobs/1"); err != nil || s.State != client.Succeeded || len(asked()) != 6 {
			t.Errorf("got %v, %v after %d requests, want it completed after 6", s, err, len(asked()))
		}
	})
	suite.Case("a client follows a job of this server to its result", "S3-10 S3-11 S3-04", func(t *testing.T, open contract.Opener) {
		w := begin(t, open)
		s := sourceAt(w, "files.example")
		a := w.fetch("https://files.example/a.txt")
		id := w.accepted(a)
		go func() {
			time.Sleep(10 * time.Second)
			s <- bytesOf(text)
		}()
		end, err := follow(w, a.Header.Get("Location"))
		if err != nil || end.Word != "completed" || !bytes.Equal(end.Body, w.status(id).Body) {
			t.Errorf("got %+v, %v, want it completed", end, err)
		}
		refused := w.Do(t, "POST", "/1.0/compress", "{", "Content-Type", "application/json").Want(t, http.StatusBadRequest)
		if end, err := follow(w, refused.Header.Get("Location")); err != nil || end.State != client.Failed {
			t.Errorf("got %+v, %v, want it failed", end, err)
		}
		if _, err := follow(w, base+"/1.0/jobs/38a8bb5e-7b50-4a22-a0a6-b9602fccb225"); !errors.Is(err, client.ErrNotFound) {
			t.Errorf("got %v for an unknown job, want ErrNotFound", err)
		}
	})
	suite.Case("a client needs nothing but its own requests, also when the server is away for a while", "S3-01 S3-13", func(t *testing.T, open contract.Opener) {
		store := open(t)
		w := beginOn(t, store, new(pipenet.Network))
		s := sourceAt(w, "files.example")
		id := w.accepted(w.fetch("https://files.example/a.txt"))
		done := make(chan string)
		go func() {
			end, err := follow(w, base+"/1.0/jobs/"+id)
			if err != nil {
				done <- err.Error()
				return
			}
			done <- end.Word
		}()
		synctest.Wait()
		w.stop()
		time.Sleep(time.Minute)
		beginOn(t, store, w.net)
		s <- bytesOf(text)
		if got := <-done; got != "completed" {
			t.Errorf("got %s, want completed", got)
		}
	})
}
