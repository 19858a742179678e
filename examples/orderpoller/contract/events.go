package contract

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pollackq/pollack/examples/orderpoller/app"
	"github.com/pollackq/pollack/internal/contract"
)

func init() {
	suite.Case("a notification that is not taken is repeated, with the same id and the same words", "D-S4-33", func(t *testing.T, open contract.Opener) {
		m := newMarket(t, open, nil)
		m.onStatus(answers(completed))
		m.onEvent(func(n int) int { return []int{500, 302, 404, 200}[min(n, 3)] })
		m.order("o-1", "under_2_min")
		m.until(24 * 60)
		told := m.told("o-1")
		if len(told) != 4 {
			t.Fatalf("got %v, want four", told)
		}
		for _, e := range told[1:] {
			wantEqual(t, "id", e.id, told[0].id)
			wantEqual(t, "kind", e.kind, "order.completed")
			wantEqual(t, "data", e.data, told[0].data)
		}
	})

	suite.Case("a restart tells nobody twice, and forgets nobody", "D-S4-33 S4-40", func(t *testing.T, open contract.Opener) {
		m := newMarket(t, open, nil)
		m.onStatus(func(w http.ResponseWriter, r *http.Request, n int) {
			body := processing
			switch {
			case strings.Contains(orderOf(r), "good"):
				body = completed
			case strings.Contains(orderOf(r), "bad"):
				body = failed
			}
			answers(body)(w, r, n)
		})
		m.onEvent(func(n int) int { return map[bool]int{true: 500, false: 204}[time.Since(m.began) < 6*time.Minute] })
		for _, id := range []string{"good", "bad", "never"} {
			m.order(id, "under_2_min")
		}
		m.until(4)
		m.stop()
		m.until(4.5)
		m.open(nil)
		m.until(5.05)
		m.stop()
		m.until(7)
		m.open(nil)
		m.until(11)
		for id, kind := range map[string]string{"good": "order.completed", "bad": "order.failed", "never": "order.timed_out"} {
			told := m.told(id)
			if len(told) == 0 {
				t.Fatalf("nobody was told of %s", id)
			}
			for _, e := range told {
				if e.id != told[0].id || e.kind != kind {
					t.Errorf("%s: got %+v and %+v, want one %s with one id", id, told[0], e, kind)
				}
			}
			wantEqual(t, id+" checks", m.checks(id), []float64{5})
		}
		wantEqual(t, "times that never was told of", len(m.told("never")), 1)
	})

	suite.Case("checks go on after a restart as if nothing had been", "S4-30 S4-33", func(t *testing.T, open contract.Opener) {
		m := newMarket(t, open, nil)
		m.order("o-1", "under_1_hr")
		m.until(6)
		m.stop()
		m.until(37) // two checks were missed, of which one is made up
		m.open(nil)
		m.until(120)
		wantEqual(t, "checks", m.checks("o-1"), []float64{5, 37, 50, 65, 80})
		m.wantEvent("o-1", "order.timed_out", 90)
	})

	suite.Case("a result of up to 64 KiB is in the notification", "D-S4-33", func(t *testing.T, open contract.Opener) {
		m := newMarket(t, open, nil)
		frame := len(done("text", `,"result_text":""`))
		m.onStatus(func(w http.ResponseWriter, r *http.Request, n int) {
			size := 64<<10 - frame
			if strings.Contains(orderOf(r), "large") {
				size++
			}
			answers(done("text", `,"result_text":"`+strings.Repeat("x", size)+`"`))(w, r, n)
		})
		m.order("small", "under_2_min")
		m.order("large", "under_2_min")
		m.until(6)
		wantEqual(t, "data", m.wantEvent("small", "order.completed", 5), m.get("small", "completed"))
		want := m.get("large", "completed")
		delete(want, "result")
		wantEqual(t, "data", m.wantEvent("large", "order.completed", 5), want)
	})

	suite.Case("where nobody is to be told nobody is", "D-S4-33", func(t *testing.T, open contract.Opener) {
		m := newMarket(t, open, func(c *app.Config) { c.NotifyURL, c.NotifySecret = "", "" })
		m.onStatus(answers(completed))
		m.order("o-1", "under_2_min")
		m.until(6)
		m.get("o-1", "completed")
		m.stop()
		m.open(nil) // nor later
		m.until(60)
		wantEqual(t, "events", len(m.told("o-1")), 0)
	})
}
