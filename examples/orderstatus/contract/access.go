package contract

import (
	"strings"
	"testing"
	"time"

	"github.com/pollackq/pollack/examples/orderstatus/app"
	"github.com/pollackq/pollack/internal/contract"
)

func init() {
	suite.Case("both endpoints demand the configured headers", "S2-05 S2-13 D-all", func(t *testing.T, open contract.Opener) {
		s := newSeller(t, open, nil)
		s.order("o-1", object{"want": "never"})
		for _, header := range [][]string{
			nil,
			{"X-Api-Key", "secret"},
			{"X-Shop", "17"},
			{"X-Api-Key", "Secret", "X-Shop", "17"},
			{"X-Api-Key", "secret ", "X-Shop", "18"},
			{"X-Api-Key", "", "X-Shop", "17"},
			{"X-Api-Key", "secret, secret", "X-Shop", "17"},
			{"Authorization", "Bearer secret"},
			{"Authorization", "Bearer"},
		} {
			c := s.platform.With(header...)
			for _, a := range []*contract.Answer{
				c.Do(t, "GET", "/orders/o-1/status", nil),
				c.Do(t, "GET", "/orders/o-2/status", nil),
				c.Do(t, "POST", "/webhook", object{"order_id": "o-3", "inputs": object{"want": "text"}}),
				c.Do(t, "POST", "/webhook", "no JSON"),
			} {
				a.Problem(t, 401, "unauthorized")
				if a.Header.Get("WWW-Authenticate") == "" || strings.Contains(strings.Join(a.Header.Values("WWW-Authenticate"), ""), "secret") {
					t.Errorf("got challenge %q", a.Header.Values("WWW-Authenticate"))
				}
			}
		}
		s.platform.Do(t, "GET", "/orders/o-3/status", nil).Problem(t, 404, "not_found")
	})

	suite.Case("a bearer token is another way in, and an account has its own orders", "S2-05 D-all", func(t *testing.T, open contract.Opener) {
		s := newSeller(t, open, nil)
		bearer, other := s.platform.With("Authorization", "Bearer bearer"), s.platform.With("Authorization", "Bearer other")
		at := s.order("o-1", object{"want": "text"})
		s.until(time.Second)
		bearer.Do(t, "GET", at, nil).Want(t, 200)
		bearer.Do(t, "POST", "/webhook", object{"order_id": "o-2", "inputs": object{"want": "never"}}).Want(t, 202)
		s.processing("/orders/o-2/status")

		theirs, none := other.Do(t, "GET", at, nil), other.Do(t, "GET", "/orders/o-9/status", nil)
		theirs.Problem(t, 404, "not_found")
		if string(theirs.Body) != string(none.Body) {
			t.Errorf("another account's order is answered %s, one that is not there %s", theirs.Body, none.Body)
		}
		a := other.Do(t, "POST", "/webhook", object{"order_id": "o-1", "inputs": object{"want": "failed"}}).Want(t, 202)
		if a.Header.Get("Idempotent-Replayed") != "" {
			t.Error("another account's order was taken for this one's")
		}
		s.until(2 * time.Second)
		s.want(at, "completed", "output_type", "result_text")
		if v := other.Do(t, "GET", at, nil).Want(t, 200).JSON(t); v["status"] != "failed" {
			t.Errorf("got %v, want the other account's own", v)
		}
	})

	suite.Case("either is enough to be configured, and one must be", "S2-05", func(t *testing.T, open contract.Opener) {
		s := newSeller(t, open, func(c *app.Config) { c.Tokens = nil })
		s.order("o-1", object{"want": "never"})
		s.stop()
		s.open(func(c *app.Config) { c.Header = nil })
		s.platform.Do(t, "GET", "/orders/o-1/status", nil).Problem(t, 401, "unauthorized")
		s.platform.With("Authorization", "Bearer bearer").Do(t, "GET", "/orders/o-1/status", nil).Want(t, 200)
		if _, err := app.New(s.store, app.Config{}); err == nil {
			t.Error("an app without credentials was made")
		}
	})

	suite.Case("other methods and paths are refused", "D-all S2-04", func(t *testing.T, open contract.Opener) {
		s := newSeller(t, open, nil)
		s.order("o-1", object{"want": "never"})
		for _, c := range []struct{ method, path, allow string }{
			{"GET", "/webhook", "POST"}, {"PUT", "/webhook", "POST"}, {"DELETE", "/webhook", "POST"},
			{"POST", "/orders/o-1/status", "GET, HEAD"}, {"DELETE", "/orders/o-1/status", "GET, HEAD"}, {"POST", "/results/o-1", "GET, HEAD"},
		} {
			a := s.platform.Do(t, c.method, c.path, nil)
			a.Problem(t, 405, "method_not_allowed")
			if got := a.Header.Get("Allow"); got != c.allow {
				t.Errorf("%s %s: got Allow %q, want %q", c.method, c.path, got, c.allow)
			}
		}
		for _, path := range []string{"/", "/orders", "/orders/o-1", "/orders/o-1/status/", "/orders//status", "/v1/jobs/x", "/webhook/x", "/prepare"} {
			if a := s.platform.Do(t, "GET", path, nil); a.Status != 404 && a.Status != 301 && a.Status != 307 && a.Status != 308 {
				t.Errorf("GET %s: got %d, want 404", path, a.Status)
			}
		}
	})
}
