package contract

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/examples/photoedit/app"
	"github.com/pollackq/pollack/internal/contract"
)

const day = 24 * time.Hour

// oneWorker has a studio do one job at a time.
func oneWorker(c *app.Config) { c.Workers = 1 }

func init() {
	suite.Case("an asynchronous submit is answered at once with a handle", "S5-08 D-S5-08 S5-02 S5-04 S5-05", func(t *testing.T, open contract.Opener) {
		s := newStudio(t, open, oneWorker)
		s.block() // nothing can be done now
		for _, op := range operations {
			began := time.Now()
			a := s.alice.Do(t, "POST", "/"+op, async(op, object{"client_request_id": op, "callback_url": "https://receiver.example/"}))
			s.handle(a)
			if got := a.Header.Get("Retry-After"); got == "" {
				t.Errorf("%s: got no Retry-After", op)
			}
			wantEqual(t, op+" took", time.Since(began), 0)
		}
	})

	suite.Case("a job is pending, then running, then succeeded with a download URL", "S5-20 S5-22 S5-23 S5-24 D-S5-01", func(t *testing.T, open contract.Opener) {
		s := newStudio(t, open, oneWorker)
		first := s.block()
		for _, op := range operations {
			id := s.submit(op, nil)
			if v := s.poll(id, "pending"); len(v) != 2 {
				t.Errorf("got %v, want neither result nor error", v)
			}
		}
		if v := s.poll(first, "running"); len(v) != 2 {
			t.Errorf("got %v, want neither result nor error", v)
		}
		close(s.gate)
		if v := s.poll(first, "succeeded"); len(v) != 3 {
			t.Errorf("got %v, want a result and no error", v)
		}
		for _, op := range operations {
			id := s.submit(op, nil)
			v := s.poll(id, "succeeded")
			got := s.nobody.Do(t, "GET", s.downloadURL(v["result"]), nil).Want(t, 200).Body
			want := s.inline(s.bob.Do(t, "POST", "/"+op, request(op, nil)))
			if !bytes.Equal(got, want) {
				t.Errorf("%s: got another image than synchronously", op)
			}
		}
	})

	suite.Case("polls of a job that has not ended say when to poll again, others do not", "S5-20 S5-22", func(t *testing.T, open contract.Opener) {
		s := newStudio(t, open, oneWorker)
		running := s.block()
		pending := s.submit("generate", nil)
		for id, want := range map[string]bool{running: true, pending: true} {
			if got := s.alice.Do(t, "GET", "/jobs/"+id, nil).Header.Get("Retry-After") != ""; got != want {
				t.Errorf("got Retry-After: %v, want %v", got, want)
			}
		}
		close(s.gate)
		s.poll(pending, "succeeded")
		if got := s.alice.Do(t, "GET", "/jobs/"+pending, nil).Header.Get("Retry-After"); got != "" {
			t.Errorf("got Retry-After %s for a job that has ended", got)
		}
	})

	suite.Case("a failed job has an error with code and message, and no result", "S5-22 S5-20", func(t *testing.T, open contract.Opener) {
		s := newStudio(t, open, nil)
		for path, code := range map[string]string{"/text": "invalid_image", "/missing": "fetch_failed"} {
			v := s.poll(s.submit("edit", object{"image_url": "https://pictures.example" + path}), "failed")
			e, _ := v["error"].(object)
			if text, _ := e["message"].(string); len(v) != 3 || len(e) != 2 || e["code"] != code || text == "" {
				t.Errorf("%s: got %v, want an error with the code %s and a message", path, v, code)
			}
		}
	})

	suite.Case("a result lasts 24 hours from the end of the job, is 410 for 30 days, and then 404", "S5-24 D-S5-24 S5-60 S5-25 D-ALL-404 D-ALL-ERR",
		func(t *testing.T, open contract.Opener) {
			s := newStudio(t, open, nil)
			id := s.submit("edit", object{"image_url": "https://pictures.example/slow.png"})
			failed := s.submit("edit", object{"image_url": "https://pictures.example/text"})
			time.Sleep(10 * time.Second) // the job has just ended
			url := s.downloadURL(s.poll(id, "succeeded")["result"])

			time.Sleep(day - time.Second)
			wantEqual(t, "download URL", s.downloadURL(s.poll(id, "succeeded")["result"]), url)
			s.nobody.Do(t, "GET", url, nil).Want(t, 200)
			s.alice.Do(t, "GET", "/jobs/"+failed, nil).Problem(t, 410, "job_gone")

			time.Sleep(2 * time.Second)
			s.alice.Do(t, "GET", "/jobs/"+id, nil).Problem(t, 410, "job_gone")
			s.nobody.Do(t, "GET", url, nil).Problem(t, 410, "url_expired")
			s.bob.Do(t, "GET", "/jobs/"+id, nil).Problem(t, 404, "not_found")

			time.Sleep(30*day - 3*time.Second)
			s.alice.Do(t, "GET", "/jobs/"+id, nil).Problem(t, 410, "job_gone")
			time.Sleep(3 * time.Second)
			s.alice.Do(t, "GET", "/jobs/"+id, nil).Problem(t, 404, "not_found")
			s.nobody.Do(t, "GET", url, nil).Problem(t, 410, "url_expired")
		})

	suite.Case("a job is not there for other accounts, in any state", "S5-25 S5-26 S5-60 D-ALL-404 D-ALL-ERR", func(t *testing.T, open contract.Opener) {
		s := newStudio(t, open, oneWorker)
		running := s.block()
		pending := s.submit("generate", nil)
		unknown := s.bob.Do(t, "GET", "/jobs/01ARZ3NDEKTSV4RRFFQ69G5FAV", nil)
		unknown.Problem(t, 404, "not_found")
		same := func(id string) {
			a := s.bob.Do(t, "GET", "/jobs/"+id, nil)
			a.Problem(t, 404, "not_found")
			wantEqual(t, "body", string(a.Body), string(unknown.Body))
		}
		same(running)
		same(pending)
		same("x")
		close(s.gate)
		s.poll(pending, "succeeded")
		same(pending)
	})

	suite.Case("a download URL works without a token, and for nothing else", "S5-24 S5-22", func(t *testing.T, open contract.Opener) {
		s := newStudio(t, open, nil)
		url := s.downloadURL(s.poll(s.submit("generate", nil), "succeeded")["result"])
		other := s.submit("generate", object{"prompt": "a tulip"})
		s.poll(other, "succeeded")
		s.nobody.Do(t, "HEAD", url, nil).Want(t, 200)
		if got := s.nobody.Do(t, "GET", url, nil, "Range", "bytes=1-3").Want(t, 206); string(got.Body) != "PNG" {
			t.Errorf("got bytes %q, want PNG", got.Body)
		}
		last := url[len(url)-1]
		forged := []byte(url)
		forged[len(url)-1] = last ^ 1
		swapped := bytes.Replace([]byte(url), []byte("/files/"), []byte("/files/"+other+"?was="), 1)
		later := bytes.Replace([]byte(url), []byte("expires=9"), []byte("expires=99"), 1)
		bare, _, _ := bytes.Cut([]byte(url), []byte("?"))
		for what, u := range map[string][]byte{"forged": forged, "of another job": swapped, "later": later, "without signature": bare, "twice": []byte(url + "&expires=1")} {
			a := s.nobody.Do(t, "GET", string(u), nil)
			if a.Status != 403 {
				t.Errorf("%s: got %d, want 403", what, a.Status)
				continue
			}
			a.Problem(t, 403, "bad_signature")
		}
	})

	suite.Case("a job that is never polled for is done and settled", "S5-27 S5-50", func(t *testing.T, open contract.Opener) {
		s := newStudio(t, open, nil)
		for _, op := range operations {
			s.submit(op, nil)
		}
		time.Sleep(40 * day) // long after it has been forgotten
		s.balance(s.alice, 100-len(operations)*finalCost)
	})

	suite.Case("jobs, handles and download URLs survive a restart", "S5-21 S5-24 S5-40 S5-50", func(t *testing.T, open contract.Opener) {
		s := newStudio(t, open, oneWorker)
		s.config.FetchClient = s.net.Client()
		done := s.submit("generate", nil)
		url := s.downloadURL(s.poll(done, "succeeded")["result"])
		running := s.block()
		pending := s.submit("generate", object{"client_request_id": "p"})
		s.restart()
		s.nobody.Do(t, "GET", url, nil).Want(t, 200)
		wantEqual(t, "handle", s.handle(s.alice.Do(t, "POST", "/generate", object{"client_request_id": "p"})), pending)
		close(s.gate)
		synctest.Wait()
		for _, id := range []string{done, running, pending} {
			s.poll(id, "succeeded")
		}
		s.balance(s.alice, 100-3*finalCost)
	})
}
