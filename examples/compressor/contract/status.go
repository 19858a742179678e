package contract

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/examples/compressor/app"
	"github.com/pollackq/pollack/internal/contract"
	"github.com/pollackq/pollack/internal/pipenet"
)

func init() {
	suite.Case("a job is enqueued, then processing, then completed", "S3-01 S3-04 S3-05 S3-09 S3-11", func(t *testing.T, open contract.Opener) {
		w := begin(t, open, func(c *app.Config) { c.Workers = 1 })
		s := sourceAt(w, "files.example")
		first := w.accepted(w.fetch("https://files.example/1.txt"))
		synctest.Wait()
		second := w.accepted(w.fetch("https://files.example/2.txt"))
		synctest.Wait()
		want := func(id, word string) {
			t.Helper()
			began := time.Now()
			a := w.status(id)
			if got, want := string(a.Body), `{"id":"`+id+`","status":"`+word+`"}`; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			if n, err := strconv.Atoi(a.Header.Get("Retry-After")); err != nil || n < 1 {
				t.Errorf("%s: got Retry-After %q, want whole seconds", word, a.Header.Get("Retry-After"))
			}
			if took := time.Since(began); took != 0 {
				t.Errorf("%s: the answer took %v, want none to be held", word, took)
			}
		}
		want(first, "processing")
		want(second, "enqueued")
		time.Sleep(20 * time.Second)
		want(first, "processing")
		want(second, "enqueued")
		s <- bytesOf(text)
		synctest.Wait()
		want(second, "processing")
		s <- bytesOf(text)
		for _, id := range []string{first, second} {
			if a := w.ended(id); a.Header.Get("Retry-After") != "" {
				t.Errorf("got Retry-After %q on a completed job", a.Header.Get("Retry-After"))
			}
		}
	})
	suite.Case("a job that waits to be tried again is still processing", "S3-09 OWN-3", func(t *testing.T, open contract.Opener) {
		w := begin(t, open)
		s := sourceAt(w, "files.example")
		id := w.accepted(w.fetch("https://files.example/1.txt"))
		s <- statusOf(http.StatusServiceUnavailable)
		synctest.Wait()
		if got := w.word(id); got != "processing" {
			t.Errorf("got %s between two tries, want processing", got)
		}
		s <- bytesOf(text)
		w.completed(id)
	})
	suite.Case("a job that a shutdown interrupts goes on in the next process", "S3-09", func(t *testing.T, open contract.Opener) {
		n, store := new(pipenet.Network), open(t)
		w := beginOn(t, store, n)
		s := sourceAt(w, "files.example")
		id := w.accepted(w.fetch("https://files.example/1.txt"))
		synctest.Wait()
		w.stop()
		synctest.Wait() // the source has seen that its first caller has gone
		w = beginOn(t, store, n)
		if got := w.word(id); got != "processing" {
			t.Errorf("got %s after a restart, want processing", got)
		}
		s <- bytesOf(text)
		w.completed(id)
	})
	suite.Case("final answers repeat unchanged, and asking changes nothing", "S3-13 S3-09", func(t *testing.T, open contract.Opener) {
		w := begin(t, open)
		s := sourceAt(w, "files.example")
		waiting := w.accepted(w.fetch("https://files.example/1.txt"))
		good := w.accepted(w.upload("dull.txt", text))
		bad := w.accepted(w.upload("photo.jpg", []byte("no photo")))
		synctest.Wait()
		before := w.status(waiting)
		for range 20 {
			if a := w.status(waiting); !bytes.Equal(a.Body, before.Body) || a.Header.Get("ETag") != before.Header.Get("ETag") {
				t.Fatalf("got %s, version %s, want %s, version %s", a.Body, a.Header.Get("ETag"), before.Body, before.Header.Get("ETag"))
			}
		}
		s <- bytesOf(text)
		final := map[string][]byte{good: w.ended(good).Body, bad: w.ended(bad).Body, waiting: w.ended(waiting).Body}
		for range 3 {
			time.Sleep(7 * time.Hour)
			for id, body := range final {
				if got := w.status(id).Body; !bytes.Equal(got, body) {
					t.Errorf("got %s, want %s as before", got, body)
				}
			}
		}
	})
	suite.Case("the status is at its path and at no other", "S3-03 all", func(t *testing.T, open contract.Opener) {
		w := begin(t, open)
		id := w.accepted(w.upload("dull.txt", text))
		w.ended(id)
		for _, path := range []string{"/jobs/" + id, "/1.1/jobs/" + id, "/v1/jobs/" + id, "/1.0/jobs/", "/1.0/jobs/" + id + "/", "/1.0/job/" + id, "/"} {
			w.Do(t, "GET", path, nil).Problem(t, http.StatusNotFound, "not_found")
		}
		for method, path := range map[string]string{"DELETE": "/1.0/jobs/" + id, "GET": "/1.0/compress", "PUT": "/1.0/compress", "POST": "/1.0/jobs/" + id} {
			a := w.Do(t, method, path, nil)
			a.Problem(t, http.StatusMethodNotAllowed, "method_not_allowed")
			want := map[bool]string{true: "GET, HEAD", false: "POST"}[strings.HasPrefix(path, "/1.0/jobs/")]
			if got := a.Header.Get("Allow"); got != want {
				t.Errorf("%s %s: got Allow %q, want %q", method, path, got, want)
			}
		}
		if a := w.Do(t, "HEAD", "/1.0/jobs/"+id, nil).Want(t, http.StatusOK); len(a.Body) > 0 {
			t.Errorf("HEAD: got a body")
		}
	})
	suite.Case("unknown and foreign jobs are the same 404", "S3-14 all", func(t *testing.T, open contract.Opener) {
		w := begin(t, open)
		id := w.accepted(w.upload("dull.txt", text))
		var answers []string
		for _, path := range []string{id, "38a8bb5e-7b50-4a22-a0a6-b9602fccb225", "1", strings.Repeat("x", 300), strings.ToUpper(id) + "X"} {
			a := w.Do(t, "GET", "/1.0/jobs/"+path, nil, "Authorization", bob)
			a.Problem(t, http.StatusNotFound, "not_found")
			answers = append(answers, string(a.Body))
		}
		if len(slices.Compact(answers)) != 1 {
			t.Errorf("got different answers: %q", answers)
		}
		w.completed(id)
	})
	suite.Case("a job is kept for its retention, and its name for a week", "S3-14 OWN-2", func(t *testing.T, open contract.Opener) {
		w := begin(t, open, func(c *app.Config) { c.Retention = time.Hour })
		id := w.accepted(w.upload("dull.txt", text))
		body, _ := w.completed(id)
		url := textOf(body, "url")
		time.Sleep(time.Hour - time.Minute)
		w.status(id)
		w.With().Do(t, "GET", url, nil).Want(t, http.StatusOK)
		time.Sleep(2 * time.Minute)
		w.Do(t, "GET", "/1.0/jobs/"+id, nil).Problem(t, http.StatusGone, "job_gone")
		w.Do(t, "GET", "/1.0/jobs/"+id, nil, "Authorization", bob).Problem(t, http.StatusNotFound, "not_found")
		w.With().Do(t, "GET", url, nil).Problem(t, http.StatusGone, "job_gone")
		time.Sleep(8 * 24 * time.Hour)
		w.Do(t, "GET", "/1.0/jobs/"+id, nil).Problem(t, http.StatusNotFound, "not_found")
		w.With().Do(t, "GET", url, nil).Problem(t, http.StatusNotFound, "not_found")
	})
	suite.Case("both ways to say who one is are good for every endpoint", "S3-12", func(t *testing.T, open contract.Opener) {
		w := begin(t, open)
		const basic = "Basic YWRhOmxvdmVsYWNl" // ada:lovelace
		for _, submit := range []string{ada, basic} {
			for _, status := range []string{ada, basic} {
				w.Header.Set("Authorization", submit)
				id := w.accepted(w.upload("dull.txt", text))
				w.Header.Set("Authorization", status)
				w.completed(id)
			}
		}
	})
	suite.Case("missing and bad credentials are 401 with both challenges, at every endpoint", "S3-12 all", func(t *testing.T, open contract.Opener) {
		w := begin(t, open)
		id := w.accepted(w.upload("dull.txt", text))
		for _, credentials := range [][]string{
			nil, {"Bearer"}, {"Bearer "}, {"Bearer ada"}, {"Bearer ADA-TOKEN"}, {"ada-token"}, {"Basic ada:lovelace"}, {"Basic YWRhOmxvdmVsYWNlcw=="}, {"Basic Og=="},
			{"Basic YWRhLXRva2VuOg=="}, {ada, bob},
		} {
			c := w.With()
			c.Header["Authorization"] = credentials
			for _, a := range []*contract.Answer{
				c.Do(t, "POST", "/1.0/compress", nil), c.Do(t, "GET", "/1.0/jobs/"+id, nil),
				c.Do(t, "GET", "/1.0/jobs/38a8bb5e-7b50-4a22-a0a6-b9602fccb225", nil),
			} {
				a.Problem(t, http.StatusUnauthorized, "unauthorized")
				challenges := fmt.Sprint(a.Header.Values("WWW-Authenticate"))
				if !strings.Contains(challenges, "Basic realm=") || !strings.Contains(challenges, "Bearer") {
					t.Errorf("%q: got challenges %s, want Basic and Bearer", credentials, challenges)
				}
			}
		}
	})
}
