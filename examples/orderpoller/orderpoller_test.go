package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pollackq/pollack/examples/orderpoller/contract"
	"github.com/pollackq/pollack/httpapi/callback"
	suites "github.com/pollackq/pollack/internal/contract"
	"github.com/pollackq/pollack/internal/proc"
)

func TestMain(m *testing.M) { proc.Main(m, main) }

func TestContract(t *testing.T) { suites.RunAll(t, contract.Run) }

const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8G"

func TestFlagsThatCannotBeMeantAreRefused(t *testing.T) {
	for _, c := range []struct {
		words string // of what is said
		args  []string
	}{
		{"-status-url {order_id}", []string{"-status-url", "https://seller.example/status"}},
		{"-status-url https", []string{"-status-url", "http://seller.example/{order_id}"}},
		{"-status-url path", []string{"-status-url", "https://seller.example/status?id={order_id}"}},
		{"-status-url path", []string{"-status-url", "https://{order_id}.example/status"}},
		{"-status-url once", []string{"-status-url", "https://seller.example/{order_id}/{order_id}"}},
		{"-status-url", []string{"-status-url", ""}},
		{"-webhook-url https", []string{"-webhook-url", "http://seller.example/webhook"}},
		{"-webhook-url empty", []string{"-webhook-url", ""}},
		{"-notify-url https", []string{"-notify-url", "http://market.example/hook", "-notify-secret", secret}},
		{"-notify-url -notify-secret", []string{"-notify-url", "https://market.example/hook"}},
		{"-notify-secret base64", []string{"-notify-url", "https://market.example/hook", "-notify-secret", "whsec_?"}},
		{"-notify-secret -notify-url", []string{"-notify-secret", secret}},
		{"-base-url", []string{"-base-url", "market.example"}},
		{"-first-check above zero", []string{"-first-check", "0s"}},
		{"-interval above zero", []string{"-interval", "-1m"}},
		{"-answer-limit above zero", []string{"-answer-limit", "0s"}},
		{"-eta BUCKET=TIME", []string{"-eta", "under_2_min"}},
		{"-eta BUCKET=TIME", []string{"-eta", "under_2_min=0s"}},
		{"-header Name: value", []string{"-header", "X-Api-Key"}},
		{"-token empty", []string{"-token", ""}},
		{"unexpected argument", []string{"run"}},
		{"-nothing", []string{"-nothing"}},
	} {
		args := append([]string{"-addr", "127.0.0.1:0", "-status-url", "https://seller.example/{order_id}", "-webhook-url", "https://seller.example/webhook"}, c.args...)
		status, said := proc.Run(t, args...)
		for word := range strings.FieldsSeq(c.words) {
			if status != 2 || !strings.Contains(said, word) {
				t.Errorf("%q: got exit status %d and %q, want 2 and %q in it", c.args, status, said, c.words)
			}
		}
		if strings.Contains(said, secret) {
			t.Errorf("%q: the secret is told: %q", c.args, said)
		}
	}
}

// Hooks is the receiver of notifications.
type hooks struct {
	t       *testing.T
	server  *httptest.Server
	refuse  string        // the order whose first notification is refused
	arrived chan struct{} // has room for one

	mu    sync.Mutex // guards what follows
	heard map[string]*heard
	taken int // orders
}

// Heard is what has been told of an order.
type heard struct {
	times int
	ids   map[string]bool // the webhook-ids
	kind  string          // "" until a notification has been taken
}

func newHooks(t *testing.T) *hooks {
	h := &hooks{t: t, arrived: make(chan struct{}, 1), heard: make(map[string]*heard)}
	h.server = httptest.NewServer(h)
	t.Cleanup(h.server.Close)
	return h
}

func (h *hooks) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := (&callback.Verifier{Secrets: []callback.Secret{secret}}).Request(w, r, 1<<20)
	var e struct {
		Type string
		Data struct {
			OrderID string `json:"order_id"`
		}
	}
	if err == nil {
		err = json.Unmarshal(body, &e)
	}
	if err != nil {
		h.t.Errorf("got a bad notification: %v", err)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	id := e.Data.OrderID
	o := h.heard[id]
	if o == nil {
		o = &heard{ids: make(map[string]bool)}
		h.heard[id] = o
	}
	o.times++
	o.ids[r.Header.Get("webhook-id")] = true
	if id == h.refuse && o.times == 1 {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	switch o.kind {
	case "":
		h.taken++
	case e.Type:
	default:
		h.t.Errorf("%s was told as %s and as %s", id, o.kind, e.Type)
	}
	o.kind = e.Type
	select {
	case h.arrived <- struct{}{}:
	default:
	}
}

// of returns how often, with how many ids and as what an order has been told.
func (h *hooks) of(id string) (times, ids int, kind string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if o := h.heard[id]; o != nil {
		return o.times, len(o.ids), o.kind
	}
	return 0, 0, ""
}

// wait waits until notifications of so many orders have been taken.
func (h *hooks) wait(n int) {
	h.t.Helper()
	limit := time.After(2 * proc.Limit)
	for {
		h.mu.Lock()
		got := h.taken
		h.mu.Unlock()
		if got >= n {
			return
		}
		select {
		case <-h.arrived:
		case <-limit:
			h.t.Fatalf("got notifications of %d orders, want of %d", got, n)
		}
	}
}

// request makes a request of the marketplace, as a customer.
func request(t *testing.T, method, url, body string) (int, map[string]any) {
	t.Helper()
	r, err := http.NewRequest(method, url, bytes.NewBufferString(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer buyer")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	p, err := io.ReadAll(resp.Body)
	var v map[string]any
	if err == nil {
		err = json.Unmarshal(p, &v)
	}
	if err != nil {
		t.Fatalf("%s %s: %v: %s", method, url, err, p)
	}
	return resp.StatusCode, v
}

// order orders, in a bucket of half an hour.
func order(t *testing.T, base, id, inputs string) {
	t.Helper()
	if status, v := request(t, "POST", base+"/orders", fmt.Sprintf(`{"order_id":%q,"eta_bucket":"test","inputs":%s}`, id, inputs)); status != 202 {
		t.Fatalf("got %d %v, want 202", status, v)
	}
}

// flags are those of a marketplace whose checks are a moment apart.
func flags(db, seller, hook string, more ...string) []string {
	return append([]string{
		"-db", db, "-allow-http", "-webhook-url", seller + "/webhook", "-status-url", seller + "/orders/{order_id}/status",
		"-notify-url", hook, "-notify-secret", secret, "-token", "buyer", "-header", "X-Api-Key: seller",
		"-first-check", "200ms", "-interval", "200ms", "-eta", "test=30m",
	}, more...)
}

// The process is killed three times while it hands out and polls two hundred orders.
func TestAKilledProcessLosesNoOrder(t *testing.T) {
	const orders, kills = 200, 3
	var mu sync.Mutex
	posts, gets, killed := make(map[string]int), 0, 0
	busy := make(chan struct{}, 1)
	seller := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.Method == http.MethodPost {
			var b struct {
				OrderID string `json:"order_id"`
			}
			json.NewDecoder(r.Body).Decode(&b)
			posts[b.OrderID]++
			return
		}
		gets++
		if gets%50 == 0 {
			select {
			case busy <- struct{}{}:
			default:
			}
		}
		var n int
		fmt.Sscanf(r.URL.Path, "/orders/o-%d/status", &n)
		switch {
		case gets%3 != 0 || n >= orders/2 && killed < kills: // half of them are there all the time
			io.WriteString(w, `{"status":"processing"}`)
		case n%2 == 0:
			io.WriteString(w, `{"status":"completed","output_type":"text","result_text":"done"}`)
		default:
			io.WriteString(w, `{"status":"failed","error_message":"no"}`)
		}
	}))
	defer seller.Close()
	h := newHooks(t)
	args := flags(filepath.Join(t.TempDir(), "orders.db"), seller.URL, h.server.URL)
	p := proc.Start(t, args...)
	for i := range orders {
		order(t, p.URL, fmt.Sprintf("o-%d", i), `{}`)
	}
	for range kills {
		select {
		case <-busy:
		case <-time.After(proc.Limit):
			t.Fatal("nothing is polled")
		}
		p.Kill()
		p = proc.Start(t, args...)
		mu.Lock()
		killed++
		mu.Unlock()
	}
	h.wait(orders)
	for i := range orders {
		id, want := fmt.Sprintf("o-%d", i), "completed"
		if i%2 == 1 {
			want = "failed"
		}
		_, v := request(t, "GET", p.URL+"/orders/"+id, "")
		if times, ids, kind := h.of(id); v["state"] != want || kind != "order."+want || ids != 1 || times > 1+kills {
			t.Errorf("%s: got %v, told as %s %d times with %d ids, want %s with one id", id, v, kind, times, ids, want)
		}
		mu.Lock()
		if n := posts[id]; n < 1 || n > 1+kills {
			t.Errorf("%s: was handed out %d times", id, n)
		}
		mu.Unlock()
	}
	p.Stop(syscall.SIGTERM)
}

func TestAnInterruptedCheckIsMadeAgainSoon(t *testing.T) {
	asked := make(chan time.Time, 100)
	hang := make(chan struct{})
	seller := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			asked <- time.Now()
			select {
			case <-hang:
			case <-r.Context().Done():
			}
			io.WriteString(w, `{"status":"completed","output_type":"text","result_text":"done"}`)
		}
	}))
	defer seller.Close()
	h := newHooks(t)
	args := flags(filepath.Join(t.TempDir(), "orders.db"), seller.URL, h.server.URL)
	p := proc.Start(t, args...)
	order(t, p.URL, "o-1", `{}`)
	await(t, asked)
	p.Kill()
	close(hang)
	p = proc.Start(t, args...)
	if again := await(t, asked).Sub(p.Ready); again > 5*time.Second {
		t.Errorf("the check was made again after %v, want at most 5 s", again)
	}
	h.wait(1)
}

func await[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(proc.Limit):
		t.Fatal("it does not come")
		panic("unreachable")
	}
}

// What can go wrong silently is said.
func TestOpenDoorsAreSaid(t *testing.T) {
	p := proc.Start(t, "-status-url", "https://seller.example/{order_id}", "-webhook-url", "https://seller.example/webhook")
	p.Stop(syscall.SIGTERM)
	for _, want := range []string{"everybody may order", "everybody may prepare"} {
		if said := p.Stderr(); !strings.Contains(said, want) {
			t.Errorf("got %q, want %q in it", said, want)
		}
	}
}
