package contract

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pollackq/pollack/examples/orderpoller/app"
	"github.com/pollackq/pollack/internal/contract"
	"github.com/pollackq/pollack/storage/memstore"
)

func init() {
	suite.Case("an order that never ends is asked for 1, 6 or 96 times, and times out", "S2-02 S4-30 S4-33 S4-34 D-S4-33", func(t *testing.T, open contract.Opener) {
		for _, c := range []struct {
			eta     string
			checks  int
			timeout float64
		}{{"under_2_min", 1, 10}, {"under_1_hr", 6, 90}, {"within_24_hr", 96, 24 * 60}} {
			m := newMarket(t, open, nil)
			m.order(c.eta, c.eta)
			m.until(c.timeout - 0.01)
			m.get(c.eta, "processing")
			if len(m.told(c.eta)) > 0 {
				t.Errorf("%s: got %v before the time was over", c.eta, m.told(c.eta))
			}
			m.until(c.timeout + 0.01)
			v := m.get(c.eta, "timed_out")
			wantEqual(t, c.eta+" data", m.wantEvent(c.eta, "order.timed_out", c.timeout), v)
			wantEqual(t, c.eta+" result", v["result"], nil)
			wantEqual(t, c.eta+" next check", v["next_check_at"], nil)
			wantEqual(t, c.eta+" checks", v["checks"], float64(c.checks))
			m.until(c.timeout + 24*60)
			var want []float64
			for i := range c.checks {
				want = append(want, float64(5+15*i))
			}
			wantEqual(t, c.eta, m.checks(c.eta), want)
			m.wantEvent(c.eta, "order.timed_out", c.timeout)
		}
	})

	suite.Case("each bucket's time can be set, and others added", "S4-33", func(t *testing.T, open contract.Opener) {
		m := newMarket(t, open, func(c *app.Config) {
			c.ETAs = map[string]time.Duration{"under_2_min": 7 * time.Minute, "soon": time.Minute}
			c.FirstCheck, c.Interval = 30*time.Second, time.Minute
		})
		for eta, timeout := range map[string]float64{"under_2_min": 7, "soon": 1, "under_1_hr": 90} {
			m.order(eta, eta)
			defer func() { m.wantEvent(eta, "order.timed_out", timeout) }()
		}
		m.until(91)
		wantEqual(t, "checks", m.checks("soon"), []float64{0.5})
		wantEqual(t, "checks", m.checks("under_2_min"), []float64{0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5})
	})

	suite.Case("it is said when the next check is, and what progress there is", "S4-30 S4-11 S4-40", func(t *testing.T, open contract.Opener) {
		m := newMarket(t, open, nil)
		m.onStatus(answers(`{"status":"processing","progress":"45%"}`, `{"status":"processing"}`, completed))
		m.order("o-1", "under_1_hr")
		for _, c := range []struct {
			minute, next float64
			checks       int
			progress     any
		}{{1, 5, 0, nil}, {6, 20, 1, 0.45}, {21, 35, 2, 0.45}} {
			m.until(c.minute)
			v := m.get("o-1", "processing")
			next, err := time.Parse(time.RFC3339, fmt.Sprint(v["next_check_at"]))
			if err != nil || next.Sub(m.began).Minutes() != c.next || v["checks"] != float64(c.checks) || v["progress"] != c.progress || v["problem"] != nil || v["result"] != nil {
				t.Errorf("after %v minutes: got %v, want %+v", c.minute, v, c)
			}
		}
		m.until(36)
		v := m.get("o-1", "completed")
		wantEqual(t, "the whole", v, map[string]any{
			"order_id": "o-1", "state": "completed", "checks": 3.0, "progress": nil, "problem": nil, "next_check_at": nil,
			"result": map[string]any{"status": "completed", "output_type": "text", "result_text": "done"},
		})
	})

	suite.Case("completed and failed are final, and told at once", "S4-40 S4-16 S2-03", func(t *testing.T, open contract.Opener) {
		m := newMarket(t, open, nil)
		m.onStatus(func(w http.ResponseWriter, r *http.Request, n int) {
			final := completed
			if strings.Contains(orderOf(r), "bad") {
				final = failed
			}
			answers(processing, final, processing)(w, r, n)
		})
		m.order("good", "under_1_hr")
		m.order("bad", "under_1_hr")
		m.until(120)
		for id, state := range map[string]string{"good": "completed", "bad": "failed"} {
			wantEqual(t, id, m.checks(id), []float64{5, 20})
			wantEqual(t, id+" data", m.wantEvent(id, "order."+state, 20), m.get(id, state))
		}
		wantEqual(t, "result", m.get("bad", "failed")["result"], any(map[string]any{"status": "failed", "error_message": "Unable to process the provided input"}))
	})

	suite.Case("an order that is done too late is lost", "S4-34", func(t *testing.T, open contract.Opener) {
		m := newMarket(t, open, nil)
		m.onStatus(func(w http.ResponseWriter, r *http.Request, n int) {
			if time.Since(m.began) >= 6*time.Minute {
				io.WriteString(w, completed)
				return
			}
			io.WriteString(w, processing)
		})
		m.order("o-1", "under_2_min")
		m.until(11)
		m.get("o-1", "timed_out")
		wantEqual(t, "checks", m.checks("o-1"), []float64{5})
	})

	suite.Case("an answer after the order's time is ignored", "S4-40 S4-33", func(t *testing.T, open contract.Opener) {
		m := newMarket(t, open, func(c *app.Config) { c.ETAs = map[string]time.Duration{"soon": 5*time.Minute + 4*time.Second} })
		m.onStatus(func(w http.ResponseWriter, r *http.Request, n int) {
			time.Sleep(5 * time.Second)
			io.WriteString(w, completed)
		})
		m.order("o-1", "soon")
		m.until(6)
		m.get("o-1", "timed_out")
		m.wantEvent("o-1", "order.timed_out", seconds(304))
	})

	suite.Case("an answer has 8 seconds, with all of its body", "S4-31", func(t *testing.T, open contract.Opener) {
		m := newMarket(t, open, nil)
		m.onStatus(func(w http.ResponseWriter, r *http.Request, n int) {
			switch {
			case strings.Contains(orderOf(r), "slow"):
				time.Sleep(7900 * time.Millisecond)
				io.WriteString(w, completed)
			case strings.Contains(orderOf(r), "late"):
				time.Sleep(8100 * time.Millisecond)
				io.WriteString(w, completed)
			default: // drips
				for _, c := range completed {
					time.Sleep(time.Second)
					io.WriteString(w, string(c))
					w.(http.Flusher).Flush()
				}
			}
		})
		for _, id := range []string{"slow", "late", "drip"} {
			m.order(id, "under_1_hr")
		}
		m.until(6)
		m.get("slow", "completed")
		m.wantEvent("slow", "order.completed", seconds(307.9))
		for _, id := range []string{"late", "drip"} {
			m.wantProblem(id, "no answer in time")
			wantEqual(t, id, m.checks(id), []float64{5, seconds(309)}) // 8 s, a pause of 1 s, once more
		}
	})

	suite.Case("a network failure is retried once, after a second, then comes the next interval", "S4-32 D-S2/S4", func(t *testing.T, open contract.Opener) {
		m := newMarket(t, open, nil)
		m.onStatus(func(w http.ResponseWriter, r *http.Request, n int) {
			once := strings.Contains(orderOf(r), "once")
			switch {
			case once && n == 1, n == 2:
				io.WriteString(w, completed)
			default:
				drop(w)
			}
		})
		m.order("once", "under_1_hr")
		m.order("twice", "under_1_hr")
		m.until(6)
		m.get("once", "completed")
		wantEqual(t, "once", m.checks("once"), []float64{5, seconds(301)})
		m.wantProblem("twice", "answer")
		wantEqual(t, "checks that count", m.get("twice", "processing")["checks"], 1.0)
		m.until(21)
		m.get("twice", "completed")
		wantEqual(t, "twice", m.checks("twice"), []float64{5, seconds(301), 20})
	})

	suite.Case("an answer that is no 200 is a problem, not an answer, and is not retried", "D-S2/S4 S4-32", func(t *testing.T, open contract.Opener) {
		m := newMarket(t, open, nil)
		statuses := []int{201, 204, 301, 302, 307, 308, 400, 401, 404, 429, 500, 503}
		m.onStatus(func(w http.ResponseWriter, r *http.Request, n int) {
			status := 0
			fmt.Sscanf(orderOf(r), "o-%d", &status)
			if n > 0 {
				status = 200
			}
			w.Header().Set("Location", "https://seller.example/orders/done/status")
			w.WriteHeader(status)
			if status != 204 {
				io.WriteString(w, completed)
			}
		})
		for _, status := range statuses {
			m.order(fmt.Sprintf("o-%d", status), "under_1_hr")
		}
		m.until(19)
		for _, status := range statuses {
			m.wantProblem(fmt.Sprintf("o-%d", status), fmt.Sprint(status))
		}
		m.until(21)
		for _, status := range statuses {
			id := fmt.Sprintf("o-%d", status)
			m.get(id, "completed")
			wantEqual(t, id, m.checks(id), []float64{5, 20})
			m.wantEvent(id, "order.completed", 20)
		}
		wantEqual(t, "redirects followed", len(m.checks("done")), 0)
	})

	suite.Case("the status URL is made of a template, with the id as one segment of its path", "S2-06 S4-01", func(t *testing.T, open contract.Opener) {
		for template, want := range map[string]string{
			"https://seller.example/orders/{order_id}/status":      "/orders/%s/status",
			"https://seller.example/api/check-status/{order_id}":   "/api/check-status/%s",
			"https://seller.example/v1/jobs/{order_id}?format=all": "/v1/jobs/%s",
		} {
			m := newMarket(t, open, func(c *app.Config) { c.StatusURL = template })
			ids := map[string]string{"o-1": "o-1", "a/b c?d#é%": "a%2Fb%20c%3Fd%23%C3%A9%25", "..": "%2E%2E"}
			for id := range ids {
				m.order(id, "under_2_min")
			}
			m.until(6)
			asked := make(map[string]bool)
			for _, c := range m.asked() {
				asked[c.path] = true
			}
			for id, segment := range ids {
				if path := fmt.Sprintf(want, segment); !asked[path] {
					t.Errorf("%s: got paths %v, want %s for %s", template, asked, path, id)
				}
			}
			wantEqual(t, "paths", len(asked), 4)
		}
	})

	suite.Case("a template that breaks a rule is refused at the start", "S2-06", func(t *testing.T, open contract.Opener) {
		for template, rule := range map[string]string{
			"http://seller.example/orders/{order_id}":            "https",
			"https://seller.example/orders":                      "{order_id}",
			"https://seller.example/orders?id={order_id}":        "path",
			"https://{order_id}.example/orders":                  "path",
			"https://seller.example/{order_id}/{order_id}":       "once",
			"https://me:secret@seller.example/orders/{order_id}": "user",
			"/orders/{order_id}":                                 "https",
		} {
			store := memstore.New(nil)
			a, err := app.New(store, app.Config{StatusURL: template, WebhookURL: "https://seller.example/webhook"})
			if err == nil || a != nil || !strings.Contains(err.Error(), rule) {
				t.Errorf("%s: got %v, want an error about %s", template, err, rule)
			}
			store.Close()
		}
	})
}
