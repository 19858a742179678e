package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pollackq/pollack/internal/proc"
)

// A front stands before a process that is killed and started again elsewhere. It counts requests, and may change answers.
type front struct {
	URL string

	mu     sync.Mutex // guards what follows
	target *url.URL   // where the process listens
	seen   map[string]int
	change func(path string, body []byte) []byte
	news   chan struct{} // has room for one
}

func newFront(t *testing.T) *front {
	f := &front{seen: make(map[string]int), news: make(chan struct{}, 1)}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			f.mu.Lock()
			defer f.mu.Unlock()
			r.SetURL(f.target)
		},
		ModifyResponse: f.answered,
		// Nobody listens, or the process has died: then so does the connection.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		Transport:    &http.Transport{DisableKeepAlives: true},
	}
	server := httptest.NewServer(proxy)
	server.Config.ErrorLog = nil
	t.Cleanup(server.Close)
	f.URL = server.URL
	return f
}

func (f *front) answered(r *http.Response) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := r.Request.Method + " " + r.Request.URL.Path
	f.seen[key]++
	if f.change != nil && r.StatusCode == http.StatusOK {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		r.Body.Close()
		body = f.change(r.Request.URL.Path, body)
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		r.Header.Set("Content-Length", strconv.Itoa(len(body)))
	}
	select {
	case f.news <- struct{}{}:
	default:
	}
	return nil
}

func (f *front) lead(t *testing.T, to string) {
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.target = u
}

func (f *front) setChange(change func(path string, body []byte) []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.change = change
}

// wait waits until so many requests of a kind have been answered; a negative number: so many more than now.
func (f *front) wait(t *testing.T, key string, n int) {
	t.Helper()
	limit := time.After(proc.Limit)
	for {
		f.mu.Lock()
		got := f.seen[key]
		f.mu.Unlock()
		if n < 0 {
			n = got - n
		}
		if got >= n {
			return
		}
		select {
		case <-f.news:
		case <-limit:
			t.Fatalf("got %d answers to %s, want %d", got, key, n)
		}
	}
}

// startSeller starts the other example, whose binary is at path, and returns its URL and what kills it.
func startSeller(t *testing.T, path string, args ...string) (url string, kill func()) {
	t.Helper()
	cmd := exec.Command(path, append([]string{"-addr", "127.0.0.1:0"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = sync.OnceFunc(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	t.Cleanup(kill)
	late := time.AfterFunc(proc.Limit, func() { cmd.Process.Signal(syscall.SIGQUIT) })
	defer late.Stop()
	line, _ := bufio.NewReader(out).ReadString('\n')
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if !ok {
		kill()
		t.Fatalf("the seller did not come to listen\n%s", &stderr)
	}
	return url, kill
}

// TestWithOrderstatus runs this marketplace against the seller of the other example, as processes that are killed in the middle: each order ends as it
// should, and is told of under one id.
func TestWithOrderstatus(t *testing.T) {
	dir := t.TempDir()
	binary := filepath.Join(dir, "orderstatus")
	if out, err := exec.Command("go", "build", "-o", binary, "github.com/pollackq/pollack/examples/orderstatus").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	h := newHooks(t)
	h.refuse = "text"
	market, seller := newFront(t), newFront(t)
	var forged atomic.Bool // a body has had a forged key
	key := regexp.MustCompile(`"object_key":"[^"]*"`)
	seller.setChange(func(path string, body []byte) []byte {
		if path == "/orders/forged/status" && key.Match(body) {
			body = key.ReplaceAll(body, []byte(`"object_key":"orders/forged/20241109-ab12cd-final-video.avi"`))
			forged.Store(true)
		}
		return body
	})

	var killSeller func()
	openSeller := func() {
		var at string
		at, killSeller = startSeller(t, binary, "-db", filepath.Join(dir, "seller.db"), "-header", "X-Api-Key: seller", "-prepare-url", market.URL+"/prepare")
		seller.lead(t, at)
	}
	args := flags(filepath.Join(dir, "market.db"), seller.URL, h.server.URL, "-base-url", market.URL, "-eta", "short=3s")
	var p *proc.Process
	openMarket := func() {
		p = proc.Start(t, args...)
		market.lead(t, p.URL)
	}
	openSeller()
	openMarket()

	types := []string{"text", "html", "json", "csv", "file", "url", "xlsx", "video"}
	for i, kind := range types {
		order(t, market.URL, kind, fmt.Sprintf(`{"want":%q,"seconds":%d}`, kind, i/2+1))
	}
	order(t, market.URL, "large", `{"want":"video","seconds":1,"size":6000000}`)
	order(t, market.URL, "forged", `{"want":"video"}`)
	order(t, market.URL, "failed", `{"want":"failed","seconds":1}`)
	if status, v := request(t, "POST", market.URL+"/orders", `{"order_id":"never","eta_bucket":"short","inputs":{"want":"never"}}`); status != 202 {
		t.Fatalf("got %d %v, want 202", status, v)
	}

	// Each side dies once while the other goes on, and both at once.
	seller.wait(t, "GET /orders/forged/status", 2) // which is asked for all the time
	p.Kill()
	openMarket()
	seller.wait(t, "GET /orders/forged/status", -1)
	killSeller()
	openSeller()
	seller.wait(t, "GET /orders/forged/status", -1)
	p.Kill()
	killSeller()
	openMarket()
	openSeller()

	const ended = 11 // all but forged
	h.wait(ended)
	want := map[string]string{"failed": "failed", "never": "timed_out", "large": "completed"}
	for _, kind := range types {
		want[kind] = "completed"
	}
	for id, state := range want {
		_, v := request(t, "GET", market.URL+"/orders/"+id, "")
		if times, ids, told := h.of(id); v["state"] != state || told != "order."+state || ids != 1 || id == h.refuse && times < 2 {
			t.Errorf("%s: got %.300s, told as %s %d times with %d ids, want %s with one id", id, fmt.Sprint(v), told, times, ids, state)
			continue
		}
		result, _ := v["result"].(map[string]any)
		kind := strings.Replace(id, "large", "video", 1)
		if state == "completed" && result["output_type"] != kind || state == "failed" && result["error_message"] == "" || state == "timed_out" && result != nil {
			t.Errorf("%s: got result %.300s", id, fmt.Sprint(result))
		}
	}

	// The forged key is a broken body as long as it is answered, and nothing of it has been delivered.
	var problem string
	for i := 0; problem == "" && i < 10; i++ {
		seller.wait(t, "GET /orders/forged/status", -2) // what came of the first is then written down
		_, v := request(t, "GET", market.URL+"/orders/forged", "")
		problem, _ = v["problem"].(string)
		if v["state"] != "processing" || v["result"] != nil {
			t.Errorf("got %v, want it processing", v)
		}
	}
	if times, _, _ := h.of("forged"); !strings.Contains(problem, "files[0].object_key") || !forged.Load() || times > 0 {
		t.Errorf("got problem %q of a forged key, told of %d times", problem, times)
	}
	seller.setChange(nil)
	h.wait(ended + 1)
	_, v := request(t, "GET", market.URL+"/orders/forged", "")
	if times, ids, _ := h.of("forged"); v["state"] != "completed" || ids != 1 {
		t.Errorf("got %v, told %d times with %d ids, want it completed once the key is right", v, times, ids)
	}
}
