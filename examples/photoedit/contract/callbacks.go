package contract

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pollackq/pollack/examples/photoedit/app"
	"github.com/pollackq/pollack/httpapi/callback"
	"github.com/pollackq/pollack/internal/contract"
)

var withCallback = object{"callback_url": "https://receiver.example/done?x=1"}

// hexOf is what the document tells receivers to compute.
func hexOf(secret string, body []byte) string {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write(body)
	return "sha256=" + hex.EncodeToString(h.Sum(nil))
}

// wantSigned checks both signatures of a callback, with the standard library alone.
func wantSigned(t *testing.T, secret string, c call) {
	t.Helper()
	wantEqual(t, "X-Phota-Signature", c.header.Get("X-Phota-Signature"), hexOf(secret, c.body))
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	h := hmac.New(sha256.New, key)
	h.Write([]byte(c.header.Get("webhook-id") + "." + c.header.Get("webhook-timestamp") + "." + string(c.body)))
	wantEqual(t, "webhook-signature", c.header.Get("webhook-signature"), "v1,"+base64.StdEncoding.EncodeToString(h.Sum(nil)))
}

func init() {
	suite.Case("a callback has what a poll answers, for good ends and bad ones", "S5-30 S5-04 S5-23 S5-33", func(t *testing.T, open contract.Opener) {
		s := newStudio(t, open, func(c *app.Config) { c.Accounts[0].Balance = 1000 })
		for _, op := range operations {
			ids := []string{s.submit(op, withCallback)}
			if op != "generate" {
				ids = append(ids, s.submit(op, object{"callback_url": "https://receiver.example/done", "image_url": "https://pictures.example/text"}))
				ids = append(ids, s.submit(op, object{"callback_url": "https://receiver.example/done", "image_url": "https://pictures.example/never.png"}))
			}
			time.Sleep(11 * time.Minute)
			got := make(map[string]bool)
			for _, c := range s.called() {
				got[string(c.body)] = true
				wantEqual(t, "content type", c.header.Get("Content-Type"), "application/json")
				wantEqual(t, "path", c.path, "/done")
			}
			wantEqual(t, op+" callbacks", len(s.calls), len(ids))
			for _, id := range ids {
				if want := s.alice.Do(t, "GET", "/jobs/"+id, nil).Want(t, 200); !got[string(want.Body)] {
					t.Errorf("%s: got callbacks %v, want %s among them", op, got, want.Body)
				}
			}
			s.calls = nil
		}
	})

	suite.Case("a callback comes once a poll, and the balance, know the end", "S5-30 S5-33 S5-21", func(t *testing.T, open contract.Opener) {
		s := newStudio(t, open, nil)
		s.receive = func(w http.ResponseWriter, n int) {
			s.mu.Lock()
			body := string(s.calls[n].body)
			s.mu.Unlock()
			id := strings.Split(body, `"`)[3]
			a, err := s.alice.Try(t.Context(), "GET", "/jobs/"+id, nil)
			if err != nil || string(a.Body) != body {
				t.Errorf("got %v, %v from the poll, want %s", a, err, body)
			}
			if a, err = s.alice.Try(t.Context(), "GET", "/balance", nil); err != nil || string(a.Body) != `{"balance":90}` {
				t.Errorf("got %v, %v, want a balance of 90", a, err)
			}
		}
		s.submit("generate", withCallback)
		wantEqual(t, "callbacks", len(s.called()), 1)
	})

	suite.Case("without callback_url nobody is called", "S5-03 S5-30", func(t *testing.T, open contract.Opener) {
		s := newStudio(t, open, nil)
		s.submit("generate", nil)
		s.inline(s.alice.Do(t, "POST", "/generate", request("generate", nil)))
		time.Sleep(2 * time.Hour)
		wantEqual(t, "callbacks", len(s.called()), 0)
	})

	suite.Case("a callback is tried 5 times, with growing pauses, as the same one", "S5-31 D-S5-31 S5-32 S5-21 S5-33", func(t *testing.T, open contract.Opener) {
		s := newStudio(t, open, nil)
		status := 500
		s.receive = func(w http.ResponseWriter, n int) {
			w.Header().Set("Location", "https://receiver.example/elsewhere")
			w.WriteHeader(status)
		}
		for _, status = range []int{500, 404, 301, 307} {
			id := s.submit("generate", withCallback)
			time.Sleep(12 * time.Hour)
			calls := s.called()
			if len(calls) != 5 {
				t.Fatalf("%d: got %d callbacks, want 5", status, len(calls))
			}
			for i, pause := range []time.Duration{5 * time.Second, time.Minute, 8 * time.Minute, 50 * time.Minute} {
				got := calls[i+1].at.Sub(calls[i].at)
				if got < pause*8/10 || got > pause*12/10 {
					t.Errorf("%d: got pause %d of %v, want %v, give or take 20 %%", status, i+1, got, pause)
				}
			}
			for _, c := range calls {
				wantSigned(t, string(aliceKey), c)
				wantEqual(t, "webhook-id", c.header.Get("webhook-id"), calls[0].header.Get("webhook-id"))
				wantEqual(t, "body", string(c.body), string(calls[0].body))
				wantEqual(t, "path", c.path, "/done")
			}
			s.poll(id, "succeeded")
			s.calls = nil
		}
		s.balance(s.alice, 100-4*finalCost)
	})

	suite.Case("any 2xx is success, and 410 the end", "D-S5-31 S5-31", func(t *testing.T, open contract.Opener) {
		s := newStudio(t, open, nil)
		status := 0
		s.receive = func(w http.ResponseWriter, n int) { w.WriteHeader(status) }
		for _, status = range []int{200, 201, 202, 204, 299, 410} {
			id := s.submit("generate", withCallback)
			time.Sleep(2 * time.Hour)
			wantEqual(t, "callbacks", len(s.called()), 1)
			s.poll(id, "succeeded")
			s.calls = nil
		}
	})

	suite.Case("a callback that is interrupted by a restart goes on as the same one", "S5-31 D-S5-31 S5-32", func(t *testing.T, open contract.Opener) {
		s := newStudio(t, open, nil)
		s.receive = func(w http.ResponseWriter, n int) {
			if n < 2 {
				w.WriteHeader(503)
			}
		}
		s.submit("generate", withCallback)
		time.Sleep(10 * time.Second)
		s.restart()
		time.Sleep(2 * time.Hour)
		calls := s.called()
		if len(calls) != 3 {
			t.Fatalf("got %d callbacks, want 3", len(calls))
		}
		for _, c := range calls {
			wantSigned(t, string(aliceKey), c)
			wantEqual(t, "webhook-id", c.header.Get("webhook-id"), calls[0].header.Get("webhook-id"))
		}
		if pause := calls[2].at.Sub(calls[1].at); pause < 48*time.Second || pause > 72*time.Second {
			t.Errorf("got a pause of %v, want about a minute", pause)
		}
	})

	suite.Case("a receiver that has them wait does not keep the job from being gone in time", "S5-24 S5-31", func(t *testing.T, open contract.Opener) {
		s := newStudio(t, open, nil)
		s.receive = func(w http.ResponseWriter, n int) {
			w.Header().Set("Retry-After", "86000")
			w.WriteHeader(503)
		}
		id := s.submit("generate", withCallback)
		url := s.downloadURL(s.poll(id, "succeeded")["result"])
		time.Sleep(day + time.Second)
		s.alice.Do(t, "GET", "/jobs/"+id, nil).Problem(t, 410, "job_gone")
		s.nobody.Do(t, "GET", url, nil).Problem(t, 410, "url_expired")
		time.Sleep(5 * day)
		wantEqual(t, "callbacks", len(s.called()), 5)
		s.alice.Do(t, "GET", "/jobs/"+id, nil).Problem(t, 410, "job_gone")
	})

	suite.Case("the signatures are those of known vectors", "S5-32 D-S5-32", func(t *testing.T, open contract.Opener) {
		// The first is of RFC 4231, test case 2.
		wantEqual(t, "vector", hexOf("Jefe", []byte("what do ya want for nothing?")), "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
		s := newStudio(t, open, nil)
		s.submit("generate", withCallback)
		c := s.called()[0]
		wantSigned(t, string(aliceKey), c)
		signature := c.header.Get("X-Phota-Signature")
		if len(signature) != 7+64 || strings.ToLower(signature) != signature {
			t.Errorf("got signature %s, want sha256= and 64 hexadecimal digits in lower case", signature)
		}
		for i := range c.body {
			c.body[i] ^= 1
			if callback.VerifyHex(aliceKey, signature, c.body) == nil {
				t.Errorf("a change of byte %d is not noticed", i)
			}
			c.body[i] ^= 1
		}
		if err := callback.VerifyHex(aliceKey, signature, c.body); err != nil {
			t.Error(err)
		}
		if err := (&callback.Verifier{Secrets: []callback.Secret{aliceKey}}).Verify(c.header, c.body); err != nil {
			t.Error(err)
		}
	})

	suite.Case("every account has a secret of its own, which signs its callbacks and stays", "S5-33 D-S5-33 S5-32", func(t *testing.T, open contract.Opener) {
		s := newStudio(t, open, nil)
		secretOf := func(c *contract.Client) string {
			v := c.Do(t, "GET", "/webhook-secret", nil).Want(t, 200).JSON(t)
			text, _ := v["secret"].(string)
			if len(v) != 1 || !strings.HasPrefix(text, "whsec_") {
				t.Fatalf("got %v, want a secret", v)
			}
			return text
		}
		bobs := secretOf(s.bob)
		wantEqual(t, "alice's secret", secretOf(s.alice), string(aliceKey))
		if bobs == secretOf(s.poor) || bobs == string(aliceKey) {
			t.Error("two accounts have the same secret")
		}
		s.restart()
		wantEqual(t, "bob's secret", secretOf(s.bob), bobs)
		s.handle(s.bob.Do(t, "POST", "/generate", async("generate", withCallback)))
		wantSigned(t, bobs, s.called()[0])
	})

	suite.Case("a callback is no job that can be polled for", "S5-26 S5-30", func(t *testing.T, open contract.Opener) {
		s := newStudio(t, open, nil)
		s.submit("generate", withCallback)
		id := s.called()[0].header.Get("webhook-id")
		for _, after := range []time.Duration{0, day + time.Minute} {
			time.Sleep(after)
			s.alice.Do(t, "GET", "/jobs/"+id, nil).Problem(t, 404, "not_found")
		}
	})

	suite.Case("a callback_url that is not public is not called", "S5-31 S5-33", func(t *testing.T, open contract.Opener) {
		s := newStudio(t, open, nil)
		s.stop()
		s.config.CallbackClient = nil
		s.start()
		id := s.submit("generate", object{"callback_url": "https://127.0.0.1/done"})
		time.Sleep(2 * time.Hour)
		s.poll(id, "succeeded")
		s.balance(s.alice, 100-finalCost)
	})
}
