package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pollackq/pollack/examples/photoedit/app"
	"github.com/pollackq/pollack/httpapi/callback"
	"github.com/pollackq/pollack/internal/proc"
)

const (
	secret  = callback.Secret("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
	balance = 1000
	final   = 3
)

// request makes a request of a process and returns the status and the JSON of the answer; 0 if there was none.
func request(t *testing.T, p *proc.Process, method, path string, body any) (int, map[string]any) {
	t.Helper()
	var text bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&text).Encode(body); err != nil {
			t.Fatal(err)
		}
	}
	r, err := http.NewRequestWithContext(t.Context(), method, p.URL+"/v1/phota"+path, &text)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer secret")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, nil
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil
	}
	v := make(map[string]any)
	if err := json.Unmarshal(answer, &v); err != nil {
		t.Fatalf("%s %s: got %s", method, path, answer)
	}
	return resp.StatusCode, v
}

// A receiver counts callbacks, and tells when there is one more.
type receiver struct {
	t    *testing.T
	more chan struct{}

	mu  sync.Mutex // guards ids
	ids map[string]map[string]bool
}

// ServeHTTP takes a callback.
func (c *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v := &callback.Verifier{Secrets: []callback.Secret{secret}}
	body, err := v.Request(w, r, 1<<20)
	if err != nil || callback.VerifyHex(secret, r.Header.Get("X-Phota-Signature"), body) != nil {
		c.t.Errorf("got a callback that is not signed well: %v", err)
	}
	var status struct {
		JobID  string `json:"job_id"`
		Status string
	}
	if err := json.Unmarshal(body, &status); err != nil || status.Status != "succeeded" {
		c.t.Errorf("got callback %s, want one of a job that succeeded", body)
	}
	c.mu.Lock()
	if c.ids[status.JobID] == nil {
		c.ids[status.JobID] = make(map[string]bool)
	}
	c.ids[status.JobID][r.Header.Get("webhook-id")] = true
	c.mu.Unlock()
	select {
	case c.more <- struct{}{}:
	default:
	}
}

func (c *receiver) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.ids)
}

// until waits for a condition, looking again whenever something may have happened, or after a moment.
func until(t *testing.T, what string, more <-chan struct{}, met func() bool) {
	t.Helper()
	limit := time.After(proc.Limit)
	for !met() {
		select {
		case <-more:
		case <-time.After(20 * time.Millisecond):
		case <-limit:
			t.Fatalf("after %v: %s", proc.Limit, what)
		}
	}
}

func accountsFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "accounts.json")
	text := fmt.Sprintf(`[{"token": "secret", "account": "alice", "balance": %d, "secret": %q}]`, balance, string(secret))
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestKilledInTheMiddleEveryJobIsDoneAndPaidForOnce kills the process while jobs are submitted, made, settled and told of, and starts it again.
func TestKilledInTheMiddleEveryJobIsDoneAndPaidForOnce(t *testing.T) {
	const jobs, kills = 60, 4
	r := &receiver{t: t, more: make(chan struct{}, 1), ids: make(map[string]map[string]bool)}
	server := httptest.NewServer(r)
	defer server.Close()
	db := filepath.Join(t.TempDir(), "photo.db")
	args := []string{"-db", db, "-accounts", accountsFile(t), "-floor-cost", "2", "-final-cost", fmt.Sprint(final), "-allow-private-callbacks"}
	p := proc.Start(t, args...)

	// Somebody submits, and repeats each submit until it is answered, by whichever process.
	var mu sync.Mutex // guards p
	current := func() *proc.Process {
		mu.Lock()
		defer mu.Unlock()
		return p
	}
	handles := make([]string, jobs)
	var submitters sync.WaitGroup
	submitted := make(chan struct{}, jobs)
	for n := range 4 {
		submitters.Go(func() {
			for i := n; i < jobs; i += 4 {
				body := map[string]any{
					"prompt": fmt.Sprintf("image %d: resize 400x400, blur, sharpen", i), "async": true, "response_mode": "urls",
					"client_request_id": fmt.Sprint("r", i), "callback_url": server.URL,
				}
				until(t, "a submit is not answered", nil, func() bool {
					status, v := request(t, current(), "POST", "/generate", body)
					if status == 0 || status == 503 {
						return false
					}
					handles[i], _ = v["job_id"].(string)
					if status != 202 || handles[i] == "" {
						t.Errorf("got %d %v, want a handle", status, v)
					}
					return true
				})
				submitted <- struct{}{}
			}
		})
	}
	for range kills {
		before := r.count()
		for range jobs / (kills + 1) {
			<-submitted
		}
		until(t, "no callback comes", r.more, func() bool { return r.count() > before })
		current().Kill()
		next := proc.Start(t, args...)
		mu.Lock()
		p = next
		mu.Unlock()
	}
	submitters.Wait()
	if t.Failed() {
		return
	}

	for i, id := range handles {
		until(t, "job "+id+" has not succeeded", r.more, func() bool {
			status, v := request(t, p, "GET", "/jobs/"+id, nil)
			if status != 200 || v["status"] == "failed" {
				t.Fatalf("got %d %v", status, v)
			}
			return v["status"] == "succeeded"
		})
		status, v := request(t, p, "POST", "/edit", map[string]any{"client_request_id": fmt.Sprint("r", i)})
		if status != 202 || v["job_id"] != id {
			t.Errorf("got %d %v for a repeat, want the handle of %s", status, v, id)
		}
	}
	until(t, "not all callbacks have come", r.more, func() bool { return r.count() == jobs })
	if _, v := request(t, p, "GET", "/balance", nil); v["balance"] != float64(balance-jobs*final) {
		t.Errorf("got %v, want %d less %d times %d", v, balance, jobs, final)
	}
	p.Stop(os.Interrupt)

	for _, id := range handles {
		if n := len(r.ids[id]); n != 1 {
			t.Errorf("job %s: got %d webhook-ids, want 1", id, n)
		}
	}
	if len(r.ids) != jobs {
		t.Errorf("got callbacks of %d jobs, want %d", len(r.ids), jobs)
	}
	ledger, err := app.OpenLedger(db + ".ledger")
	if err != nil {
		t.Fatal(err)
	}
	defer ledger.Close()
	if reserved, err := ledger.Reserved(""); err != nil || len(reserved) != 0 {
		t.Errorf("got reservations %v, %v, want none", reserved, err)
	}
}

// TestInterruptedWorkGoesOnSoon has an image fetched when the process is killed.
func TestInterruptedWorkGoesOnSoon(t *testing.T) {
	fetches := make(chan time.Time, 8)
	pictures := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fetches <- time.Now()
		<-r.Context().Done()
	}))
	defer pictures.Close()
	args := []string{"-db", filepath.Join(t.TempDir(), "photo.db"), "-accounts", accountsFile(t), "-allow-private-fetch"}
	p := proc.Start(t, args...)
	status, v := request(t, p, "POST", "/edit", map[string]any{"prompt": "blur", "image_url": pictures.URL, "async": true, "response_mode": "urls"})
	if status != 202 {
		t.Fatalf("got %d %v", status, v)
	}
	<-fetches
	p.Kill()
	p = proc.Start(t, args...)
	select {
	case at := <-fetches:
		if took := at.Sub(p.Ready); took > 5*time.Second {
			t.Errorf("it went on after %v, want 5 s at most", took)
		}
	case <-time.After(proc.Limit):
		t.Fatal("it does not go on")
	}
	p.Kill()
}

func TestDownloadURLsAndSecretsOutliveTheProcess(t *testing.T) {
	args := []string{"-db", filepath.Join(t.TempDir(), "photo.db"), "-token", "alice=secret", "-floor-cost", "0", "-final-cost", "0", "-base-url", "http://photo.test"}
	p := proc.Start(t, args...)
	_, image := request(t, p, "POST", "/generate", map[string]any{"prompt": "a rose", "response_mode": "urls"})
	_, before := request(t, p, "GET", "/webhook-secret", nil)
	urls, _ := image["download_urls"].([]any)
	if len(urls) != 1 {
		t.Fatalf("got %v, want a download URL", image)
	}
	p.Kill()
	p = proc.Start(t, args...)
	if _, after := request(t, p, "GET", "/webhook-secret", nil); after["secret"] == "" || after["secret"] != before["secret"] {
		t.Error("the secret is another one after a restart")
	}
	path, ok := strings.CutPrefix(urls[0].(string), "http://photo.test")
	resp, err := http.Get(p.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if !ok || resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "image/png" {
		t.Errorf("got %s from %s", resp.Status, urls[0])
	}
}

func TestFlagsThatAreWrongAreRefused(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for what, args := range map[string][]string{
		"nobody is let in":      {},
		"no such file":          {"-accounts", filepath.Join(dir, "nothing")},
		"no JSON":               {"-accounts", file("a", "token")},
		"more than a list":      {"-accounts", file("c", `[{"account": "a", "token": "t"}] []`)},
		"no name":               {"-accounts", file("d", `[{"token": "t"}]`)},
		"a token twice":         {"-accounts", file("f", `[{"account": "a", "token": "t"}, {"account": "b", "token": "t"}]`)},
		"another's token":       {"-accounts", file("g", `[{"account": "a", "token": "t"}]`), "-token", "b=t"},
		"no token":              {"-accounts", file("h", `[{"account": "a"}]`)},
		"a negative balance":    {"-accounts", file("i", `[{"account": "a", "token": "t", "balance": -1}]`)},
		"a secret that is none": {"-accounts", file("j", `[{"account": "a", "token": "t", "secret": "whsec_x"}]`)},
		"an empty list":         {"-accounts", file("k", `[]`)},
		"a negative cost":       {"-token", "t", "-floor-cost", "-1"},
		"a cost too high":       {"-token", "t", "-final-cost", "9000000000000000000"},
		"no retention":          {"-token", "t", "-retention", "0s"},
		"no tombstone":          {"-token", "t", "-tombstone", "-1h"},
		"an argument":           {"-token", "t", "x"},
		"an unknown flag":       {"-tokens", "t"},
	} {
		status, text := proc.Run(t, append([]string{"-addr", "127.0.0.1:0"}, args...)...)
		last := strings.TrimSpace(text[strings.LastIndex(strings.TrimSpace(text), "\n")+1:])
		if status != 2 || !strings.HasPrefix(last, "photoedit: ") || !strings.HasSuffix(last, "see -help") {
			t.Errorf("%s: got status %d and %q, want 2 and a line that says why", what, status, last)
		}
	}
}
