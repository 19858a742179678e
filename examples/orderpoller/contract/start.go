package contract

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pollackq/pollack/examples/orderpoller/app"
	"github.com/pollackq/pollack/internal/contract"
)

func init() {
	suite.Case("an order is POSTed to the webhook, then asked for until it is completed", "S2-01 S2-03 S2-04 S2-05 S4-40", func(t *testing.T, open contract.Opener) {
		m := newMarket(t, open, nil)
		m.onStatus(answers(processing, completed))
		m.order("o-1", "under_1_hr")
		m.until(19)
		m.get("o-1", "processing")
		m.until(30)
		m.get("o-1", "completed")
		var got []string
		for _, c := range m.asked() {
			got = append(got, c.method+" https://"+c.host+c.path+" "+c.body)
			if c.header.Get("X-Api-Key") != "seller" || c.header.Get("X-Shop") != "17" {
				t.Errorf("%s %s: got header %v, want the configured ones in it", c.method, c.path, c.header)
			}
		}
		ask := "GET https://seller.example/orders/o-1/status "
		wantEqual(t, "calls", got, []string{`POST https://seller.example/webhook {"order_id":"o-1","inputs":{"name":"Ada"}}`, ask, ask})
		wantEqual(t, "content type", m.asked()[0].header.Get("Content-Type"), "application/json")
	})

	suite.Case("any 2xx of the webhook is t = 0, whenever it comes", "D-S2-04 S4-30", func(t *testing.T, open contract.Opener) {
		m := newMarket(t, open, nil)
		m.onWebhook(func(w http.ResponseWriter, r *http.Request, n int) {
			status, took := 0, 0
			fmt.Sscanf(orderOf(r), "o-%d-%d", &status, &took)
			time.Sleep(time.Duration(took) * time.Second)
			w.WriteHeader(status)
		})
		for _, status := range []int{200, 201, 202, 204, 299} {
			for _, took := range []int{0, 3} {
				id := fmt.Sprintf("o-%d-%d", status, took)
				at := time.Since(m.began)
				m.order(id, "under_2_min")
				time.Sleep(5 * time.Second)
				next, err := time.Parse(time.RFC3339, m.get(id, "processing")["next_check_at"].(string))
				want := m.began.Add(at + time.Duration(took)*time.Second + 5*time.Minute)
				if err != nil || !next.Equal(want) {
					t.Errorf("%s: got next check at %v, %v, want %v", id, next, err, want)
				}
				time.Sleep(6 * time.Minute)
				wantEqual(t, id, m.checks(id), []float64{(at + time.Duration(took)*time.Second + 5*time.Minute).Minutes()})
			}
		}
	})

	suite.Case("a webhook that does not answer, or with 5xx, is tried again for the same order", "D-S2-04", func(t *testing.T, open contract.Opener) {
		m := newMarket(t, open, nil)
		m.onWebhook(func(w http.ResponseWriter, r *http.Request, n int) {
			switch n {
			case 0:
				drop(w)
			case 1:
				w.WriteHeader(503)
			case 2:
				<-r.Context().Done()
			}
		})
		m.order("o-1", "under_2_min")
		m.until(4)
		m.get("o-1", "processing")
		posts := m.times("POST", "o-1")
		if len(posts) != 4 {
			t.Fatalf("got %d tries at %v, want 4", len(posts), posts)
		}
		for _, c := range m.asked()[1:] {
			wantEqual(t, "try", c.body, m.asked()[0].body)
		}
		m.until(9)
		wantEqual(t, "checks", m.checks("o-1"), []float64{posts[3] + 5})
	})

	suite.Case("an order that the webhook has not taken within 5 minutes has failed", "D-S2-04 D-S4-33", func(t *testing.T, open contract.Opener) {
		m := newMarket(t, open, nil)
		m.onWebhook(func(w http.ResponseWriter, r *http.Request, n int) { w.WriteHeader(500) })
		m.order("o-1", "within_24_hr")
		m.until(4.9)
		m.get("o-1", "processing")
		m.until(5.1)
		v := m.get("o-1", "failed")
		if p, _ := v["problem"].(string); !strings.Contains(p, "500") {
			t.Errorf("got problem %v, want the status in it", v["problem"])
		}
		wantEqual(t, "data", m.wantEvent("o-1", "order.failed", -1), v)
		m.until(60)
		posts := m.times("POST", "o-1")
		if len(posts) < 5 || posts[len(posts)-1] > 5 || len(m.checks("o-1")) > 0 {
			t.Errorf("got tries at %v and checks at %v, want some tries for 5 minutes, and no check", posts, m.checks("o-1"))
		}
	})

	suite.Case("a webhook's 4xx, or a redirect, fails the order at once", "D-S2-04 D-S2/S4", func(t *testing.T, open contract.Opener) {
		m := newMarket(t, open, nil)
		m.onWebhook(func(w http.ResponseWriter, r *http.Request, n int) {
			status := 0
			fmt.Sscanf(orderOf(r), "o-%d", &status)
			w.Header().Set("Location", "https://seller.example/elsewhere")
			w.WriteHeader(status)
		})
		for _, status := range []int{400, 401, 404, 409, 429, 301, 307} {
			id := fmt.Sprintf("o-%d", status)
			m.order(id, "under_2_min")
			time.Sleep(time.Second)
			v := m.get(id, "failed")
			if p, _ := v["problem"].(string); !strings.Contains(p, fmt.Sprint(status)) || len(m.times("POST", id)) != 1 {
				t.Errorf("%s: got %v after %v, want one try", id, v, m.times("POST", id))
			}
			wantEqual(t, "result", v["result"], nil)
			m.wantEvent(id, "order.failed", -1)
		}
		if slices.ContainsFunc(m.asked(), func(c call) bool { return c.path != "/webhook" }) {
			t.Errorf("a redirect was followed: %v", m.asked())
		}
	})

	suite.Case("an order that comes twice is one order, and another one of its id is refused", "D-all S2-03", func(t *testing.T, open contract.Opener) {
		m := newMarket(t, open, nil)
		const one = `{"order_id":"o-1","eta_bucket":"under_2_min","inputs":{"a":1},"unknown":true}`
		first := m.customer.Do(t, "POST", "/orders", one).Want(t, 202)
		again := m.customer.Do(t, "POST", "/orders", one).Want(t, 202)
		wantEqual(t, "Location", again.Header.Get("Location"), first.Header.Get("Location"))
		wantEqual(t, "id", again.JSON(t)["order_id"], "o-1")
		m.until(6)
		m.customer.Do(t, "POST", "/orders", one).Want(t, 202)
		for _, other := range []string{
			`{"order_id":"o-1","eta_bucket":"under_2_min","inputs":{"a":2}}`, `{"order_id":"o-1","eta_bucket":"under_1_hr","inputs":{"a":1}}`,
		} {
			m.customer.Do(t, "POST", "/orders", other).Problem(t, 422, "idempotency_key_reused")
		}
		wantEqual(t, "tries of the webhook", m.times("POST", "o-1"), []float64{0})
		found := m.customer.Do(t, "GET", first.Header.Get("Location"), nil).Want(t, 200).JSON(t)
		wantEqual(t, "fields of an order", len(found), 7)
	})

	suite.Case("what is not as it must be is refused with a problem", "D-all", func(t *testing.T, open contract.Opener) {
		m := newMarket(t, open, nil)
		for _, c := range []struct {
			method, path, body string
			status             int
			code               string
		}{
			{"POST", "/orders", `{"order_id":"o-1"`, 400, "invalid_request"},
			{"POST", "/orders", `[]`, 400, "invalid_request"},
			{"POST", "/orders", `{"eta_bucket":"under_2_min"}`, 400, "invalid_request"},
			{"POST", "/orders", `{"order_id":17,"eta_bucket":"under_2_min"}`, 400, "invalid_request"},
			{"POST", "/orders", `{"order_id":"a\u0000","eta_bucket":"under_2_min"}`, 400, "invalid_request"},
			{"POST", "/orders", `{"order_id":"` + strings.Repeat("x", 101) + `","eta_bucket":"under_2_min"}`, 400, "invalid_request"},
			{"POST", "/orders", `{"order_id":"o-1","eta_bucket":"soon"}`, 400, "invalid_request"},
			{"POST", "/orders", `{"order_id":"o-1"}`, 400, "invalid_request"},
			{"POST", "/orders", `{"order_id":"o-1","eta_bucket":"under_2_min","inputs":"` + strings.Repeat("x", 5<<20) + `"}`, 413, "too_large"},
			{"GET", "/orders/o-1", "", 404, "not_found"},
			{"GET", "/orders/%00", "", 404, "not_found"},
			{"GET", "/nothing", "", 404, "not_found"},
			{"DELETE", "/orders/o-1", "", 405, "method_not_allowed"},
			{"GET", "/orders", "", 405, "method_not_allowed"},
			{"GET", "/prepare", "", 405, "method_not_allowed"},
		} {
			var body any
			if c.body != "" {
				body = c.body
			}
			a, err := m.customer.Try(t.Context(), c.method, c.path, body)
			if err != nil { // the server may answer, and close, before it has read all of a large body
				if c.status != 413 {
					t.Errorf("%s %s: %v", c.method, c.path, err)
				}
				continue
			}
			a.Problem(t, c.status, c.code)
			if c.status == 405 && a.Header.Get("Allow") == "" {
				t.Errorf("%s %s: got no Allow", c.method, c.path)
			}
		}
		a := m.customer.Do(t, "POST", "/orders", `{"order_id":"o-1","eta_bucket":"soon"}`)
		if detail, _ := a.JSON(t)["detail"].(string); !strings.Contains(detail, "eta_bucket") {
			t.Errorf("got detail %q, want the field in it", detail)
		}
		wantEqual(t, "calls of the seller", len(m.asked()), 0)
	})

	suite.Case("only those with credentials are let in", "S2-05 D-all", func(t *testing.T, open contract.Opener) {
		m := newMarket(t, open, nil)
		m.order("o-1", "under_2_min")
		const order = `{"order_id":"o-2","eta_bucket":"under_2_min"}`
		const file = `{"order_id":"o-1","filename":"a.txt","mime_type":"text/plain","size":1}`
		nobody, half, wrong := m.customer.With(), m.customer.With("X-Api-Key", "seller"), m.customer.With("Authorization", "Bearer x", "X-Api-Key", "s", "X-Shop", "17")
		for _, c := range []struct {
			client             *contract.Client
			method, path, body string
			status             int
		}{
			{nobody, "POST", "/orders", order, 401}, {nobody, "GET", "/orders/o-1", "", 401}, {nobody, "POST", "/prepare", file, 401},
			{wrong, "POST", "/orders", order, 401}, {wrong, "GET", "/orders/o-1", "", 401}, {wrong, "POST", "/prepare", file, 401},
			{m.maker, "POST", "/orders", order, 401}, {m.maker, "GET", "/orders/o-1", "", 401}, {m.maker, "POST", "/prepare", file, 200},
			{half, "POST", "/prepare", file, 401}, {m.customer, "POST", "/prepare", file, 200}, {nobody, "PUT", "/uploads", "x", 403},
		} {
			a := c.client.Do(t, c.method, c.path, io.Reader(strings.NewReader(c.body)))
			if a.Status != c.status || c.status == 401 && a.Header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s %s with %v: got %d %v, want %d", c.method, c.path, c.client.Header, a.Status, a.Header, c.status)
			}
		}
	})

	suite.Case("without credentials that could be asked for everybody is let in", "D-all", func(t *testing.T, open contract.Opener) {
		m := newMarket(t, open, func(c *app.Config) { c.Tokens, c.Header = nil, nil })
		m.customer, m.maker = m.customer.With(), m.customer.With()
		m.order("o-1", "under_2_min")
		m.get("o-1", "processing")
		m.prepare("o-1", "a.txt", "text/plain", 1)
	})
}
