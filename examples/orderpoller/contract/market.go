package contract

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pollackq/pollack/examples/orderpoller/app"
	"github.com/pollackq/pollack/httpapi/callback"
	"github.com/pollackq/pollack/internal/contract"
	"github.com/pollackq/pollack/internal/pipenet"
	"github.com/pollackq/pollack/storage"
)

// A market is the app with a seller, whose answers are up to the case, and somebody who is told of orders that end.
type market struct {
	t     *testing.T
	began time.Time
	net   *pipenet.Network
	store storage.Store
	stop  func() // of the app

	customer *contract.Client // with a token
	maker    *contract.Client // the seller's automation, with the headers

	mu      sync.Mutex      // guards what follows
	webhook answer          // nil: 202
	status  answer          // nil: processing
	hook    func(n int) int // the receiver's status; nil: 204
	calls   []call
	events  []event
}

// An answer answers the n-th call, from 0, for an order.
type answer func(w http.ResponseWriter, r *http.Request, n int)

// A call is a request that the seller got.
type call struct {
	at     time.Duration // since the market began
	method string
	host   string
	path   string // escaped
	order  string
	header http.Header
	body   string
}

// An event is a notification whose signature was good.
type event struct {
	at   time.Duration // since the market began
	id   string        // webhook-id
	kind string
	data map[string]any
	size int
}

const (
	processing = `{"status":"processing"}`
	completed  = `{"status":"completed","output_type":"text","result_text":"done"}`
	failed     = `{"status":"failed","error_message":"Unable to process the provided input"}`
	secret     = callback.Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8G")
)

// newMarket opens a store and a market on it, with the settings that change changes; nil for none.
func newMarket(t *testing.T, open contract.Opener, change func(*app.Config)) *market {
	t.Helper()
	m := &market{t: t, began: time.Now(), net: new(pipenet.Network), store: open(t)}
	m.customer = contract.NewClient(m.net, "https://market.example", "Authorization", "Bearer buyer")
	m.maker = m.customer.With("X-Api-Key", "seller", "X-Shop", "17")
	t.Cleanup(func() { time.Sleep(time.Hour) }) // net/http lets connections linger that it closes early
	contract.Listen(t, m.net, "seller.example", http.HandlerFunc(m.sell))
	contract.Listen(t, m.net, "hooks.example", http.HandlerFunc(m.hear))
	m.open(change)
	return m
}

// open starts the app on the market's store.
func (m *market) open(change func(*app.Config)) {
	m.t.Helper()
	c := app.Config{
		StatusURL: "https://seller.example/orders/{order_id}/status", WebhookURL: "https://seller.example/webhook",
		Header:    http.Header{"X-Api-Key": {"seller"}, "X-Shop": {"17"}},
		NotifyURL: "https://hooks.example/orders", NotifySecret: secret,
		Tokens: []string{"buyer"}, BaseURL: "https://market.example", SigningKey: []byte("0123456789abcdef"), Client: m.net.Client(),
	}
	if change != nil {
		change(&c)
	}
	a, err := app.New(m.store, c)
	if err != nil {
		m.t.Fatal(err)
	}
	m.stop = contract.Serve(m.t, m.net, "market.example", a)
}

// sell is the seller.
func (m *market) sell(w http.ResponseWriter, r *http.Request) {
	at := time.Since(m.began)
	body, _ := io.ReadAll(r.Body)
	path := r.URL.EscapedPath()
	order := ""
	if r.Method == http.MethodPost {
		var b struct {
			OrderID string `json:"order_id"`
		}
		json.Unmarshal(body, &b)
		order = b.OrderID
	} else if parts := strings.Split(path, "/"); len(parts) > 2 {
		order = strings.ReplaceAll(parts[2], "%2E", ".")
	}
	m.mu.Lock()
	n := 0
	for _, c := range m.calls {
		if c.method == r.Method && c.order == order {
			n++
		}
	}
	m.calls = append(m.calls, call{at, r.Method, r.Host, path, order, r.Header, string(body)})
	do := m.status
	if r.Method == http.MethodPost {
		do = m.webhook
	}
	m.mu.Unlock()
	switch {
	case do != nil:
		do(w, r.WithContext(context.WithValue(r.Context(), orderKey{}, order)), n)
	case r.Method == http.MethodPost:
		w.WriteHeader(http.StatusAccepted)
	default:
		io.WriteString(w, processing)
	}
}

// hear is the receiver of notifications.
func (m *market) hear(w http.ResponseWriter, r *http.Request) {
	at := time.Since(m.began)
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = (&callback.Verifier{Secrets: []callback.Secret{secret}}).Verify(r.Header, body)
	}
	var e struct {
		Type      string         `json:"type"`
		Timestamp time.Time      `json:"timestamp"`
		Data      map[string]any `json:"data"`
	}
	if err == nil {
		err = json.Unmarshal(body, &e)
	}
	if err != nil || r.Method != http.MethodPost || e.Timestamp.Before(m.began) || e.Timestamp.After(time.Now()) {
		m.t.Errorf("got notification %s %s, %v", r.Method, body, err)
	}
	m.mu.Lock()
	n, hook := len(m.events), m.hook
	m.events = append(m.events, event{at, r.Header.Get("webhook-id"), e.Type, e.Data, len(body)})
	m.mu.Unlock()
	status := http.StatusNoContent
	if hook != nil {
		status = hook(n)
	}
	w.WriteHeader(status)
}

// orderKey is where the context of a request of the seller's has the order's id.
type orderKey struct{}

// orderOf returns the order that a request is about.
func orderOf(r *http.Request) string { return r.Context().Value(orderKey{}).(string) }

// onWebhook, onStatus and onEvent say how the seller, and the receiver, answer from now on.
func (m *market) onWebhook(do answer) { m.set(func() { m.webhook = do }) }
func (m *market) onStatus(do answer)  { m.set(func() { m.status = do }) }

func (m *market) onEvent(do func(n int) int) { m.set(func() { m.hook = do }) }

func (m *market) set(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
}

// asked returns all calls of the seller.
func (m *market) asked() []call {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.calls)
}

// answers returns an answer with these bodies in turn, the last one again and again.
func answers(bodies ...string) answer {
	return func(w http.ResponseWriter, r *http.Request, n int) { io.WriteString(w, bodies[min(n, len(bodies)-1)]) }
}

// order orders.
func (m *market) order(id, eta string) {
	m.t.Helper()
	m.customer.Do(m.t, "POST", "/orders", map[string]any{"order_id": id, "eta_bucket": eta, "inputs": map[string]any{"name": "Ada"}}).Want(m.t, 202)
}

// get returns the order as customers see it, which is in that state.
func (m *market) get(id, state string) map[string]any {
	m.t.Helper()
	v := m.customer.Do(m.t, "GET", "/orders/"+id, nil).Want(m.t, 200).JSON(m.t)
	if v["state"] != state || v["order_id"] != id {
		m.t.Errorf("got order %.500s, want %s %s", fmt.Sprint(v), id, state)
	}
	return v
}

// wantProblem fails the test unless the order is processing, has no result, and a problem about that.
func (m *market) wantProblem(id, about string) {
	m.t.Helper()
	v := m.get(id, "processing")
	if p, _ := v["problem"].(string); v["result"] != nil || !strings.Contains(p, about) || p == "" {
		m.t.Errorf("%s: got result %.100s and problem %v, want a problem about %q", id, fmt.Sprint(v["result"]), v["problem"], about)
	}
}

// until lets time pass until so many minutes after the market began.
func (m *market) until(minutes float64) {
	time.Sleep(time.Duration(minutes*float64(time.Minute)) - time.Since(m.began))
}

// checks returns when an order's status was asked, in minutes.
func (m *market) checks(id string) []float64 { return m.times(http.MethodGet, id) }

func (m *market) times(method, id string) (out []float64) {
	for _, c := range m.asked() {
		if c.method == method && c.order == id {
			out = append(out, c.at.Minutes())
		}
	}
	return out
}

// told returns the events of an order.
func (m *market) told(id string) []event {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(m.events), func(e event) bool { return e.data["order_id"] != id })
}

// wantEvent fails the test unless there was one event of the order, of that kind and at that minute (negative: any).
func (m *market) wantEvent(id, kind string, minute float64) map[string]any {
	m.t.Helper()
	got := m.told(id)
	if len(got) != 1 || got[0].kind != kind || got[0].id == "" || minute >= 0 && got[0].at.Minutes() != minute {
		m.t.Fatalf("got events %.500s of %s, want one %s after %v minutes", fmt.Sprint(got), id, kind, minute)
	}
	return got[0].data
}

// wantEqual fails the test unless two values are the same.
func wantEqual(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: got %.300s, want %.300s", what, fmt.Sprint(got), fmt.Sprint(want))
	}
}

// seconds returns minutes that are so many seconds.
func seconds(s float64) float64 { return (time.Duration(s * float64(time.Second))).Minutes() }

// drop closes the connection of a request without an answer.
func drop(w http.ResponseWriter) {
	if conn, _, err := w.(http.Hijacker).Hijack(); err == nil {
		conn.Close()
	}
}
