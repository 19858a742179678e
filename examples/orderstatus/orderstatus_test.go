package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pollackq/pollack/examples/orderstatus/contract"
	rules "github.com/pollackq/pollack/internal/contract"
	"github.com/pollackq/pollack/internal/proc"
)

func TestMain(m *testing.M) { proc.Main(m, main) }

func TestContract(t *testing.T) { rules.RunAll(t, contract.Run) }

// soon is within what work that a killed process held must run again, once the next one listens.
const soon = 5 * time.Second

// do makes a request with the header that the processes of these tests are started with.
func do(t *testing.T, method, url, body string) (status int, answer map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Api-Key", "secret")
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, answer
}

func order(t *testing.T, p *proc.Process, id, want string, seconds float64) {
	t.Helper()
	body := fmt.Sprintf(`{"order_id":%q,"inputs":{"want":%q,"seconds":%v}}`, id, want, seconds)
	if status, answer := do(t, "POST", p.URL+"/webhook", body); status != 202 {
		t.Fatalf("got %d %v, want 202", status, answer)
	}
}

// await asks for an order until its answer is as wanted, and returns it.
func await(t *testing.T, p *proc.Process, id string, wanted func(answer map[string]any) bool) map[string]any {
	t.Helper()
	for begun := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		status, answer := do(t, "GET", p.URL+"/orders/"+id+"/status", "")
		if status == 200 && wanted(answer) {
			return answer
		}
		if status != 200 || time.Since(begun) > proc.Limit {
			t.Fatalf("%s: got %d %v\n%s", id, status, answer, p.Stderr())
		}
	}
}

func completed(answer map[string]any) bool { return answer["status"] == "completed" }

// percent returns the progress of an answer, -1 if it does not say.
func percent(answer map[string]any) int {
	text, _ := answer["progress"].(string)
	n, err := strconv.Atoi(strings.TrimSuffix(text, "%"))
	if err != nil {
		return -1
	}
	return n
}

func TestWorkGoesOnAfterAKill(t *testing.T) {
	args := []string{"-db", filepath.Join(t.TempDir(), "orders.db"), "-header", "X-Api-Key: secret"}
	p := proc.Start(t, args...)
	order(t, p, "never", "never", 0)
	order(t, p, "done", "xlsx", 0)
	order(t, p, "long", "text", 12)
	done := await(t, p, "done", completed)
	before := percent(await(t, p, "long", func(a map[string]any) bool { return percent(a) >= 10 }))
	for i := range 20 {
		order(t, p, fmt.Sprint("last-", i), "csv", 0.1)
	}
	p.Kill()

	p = proc.Start(t, args...)
	first := percent(await(t, p, "long", func(map[string]any) bool { return true }))
	if first < before {
		t.Errorf("progress was %d %%, and after the kill %d %%", before, first)
	}
	await(t, p, "long", func(a map[string]any) bool { return completed(a) || percent(a) > first })
	if took := time.Since(p.Ready); took > soon {
		t.Errorf("work went on %v after the start, want it within %v", took, soon)
	}
	for i := range 20 {
		await(t, p, fmt.Sprint("last-", i), completed)
	}
	if again := await(t, p, "done", completed); again["file_base64"] != done["file_base64"] {
		t.Error("a result has changed")
	}
	await(t, p, "never", func(a map[string]any) bool { return a["status"] == "processing" })
	p.Kill()

	p = proc.Start(t, args...)
	await(t, p, "long", completed)
	p.Stop(syscall.SIGTERM)
}

func TestAnUploadGoesOnAfterAKill(t *testing.T) {
	puts := make(chan int, 100)
	hang := make(chan struct{})
	var prepares atomic.Int32
	var platform *httptest.Server
	platform = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		switch {
		case err != nil:
		case r.Method == http.MethodPost && r.Header.Get("X-Api-Key") == "secret":
			fmt.Fprintf(w, `{"object_key":"key-%d","put_url":"%s/put","expires_at":"2999-01-01T00:00:00Z"}`, prepares.Add(1), platform.URL)
		default:
			puts <- int(n)
			<-hang
		}
	}))
	defer platform.Close()
	args := []string{"-db", filepath.Join(t.TempDir(), "orders.db"), "-header", "X-Api-Key: secret", "-prepare-url", platform.URL + "/prepare"}
	p := proc.Start(t, args...)
	order(t, p, "o-1", "video", 0)
	size := <-puts // a worker has the order now
	p.Kill()

	p = proc.Start(t, args...)
	close(hang)
	if again := <-puts; again != size {
		t.Errorf("got a video of %d bytes, then of %d", size, again)
	}
	if took := time.Since(p.Ready); took > soon {
		t.Errorf("the upload was made again %v after the start, want it within %v", took, soon)
	}
	got := await(t, p, "o-1", completed)
	want := []any{map[string]any{"object_key": "key-1", "filename": "final-video.avi", "mime_type": "video/x-msvideo"}}
	if fmt.Sprint(got["files"]) != fmt.Sprint(want) || prepares.Load() != 1 {
		t.Errorf("got %v after %d prepares, want %v after one", got, prepares.Load(), want)
	}
	p.Stop(syscall.SIGTERM)
}

func TestASignalEndsItThoughAnUploadHangs(t *testing.T) {
	began := make(chan struct{}, 100)
	end := make(chan struct{})
	platform := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		began <- struct{}{}
		<-end
	}))
	defer platform.Close()
	defer close(end)
	p := proc.Start(t, "-token", "secret", "-header", "X-Api-Key: secret", "-prepare-url", platform.URL)
	order(t, p, "o-1", "video", 0)
	<-began
	p.Stop(syscall.SIGTERM) // whose limit is less than an upload may take
}

func TestFlagsThatCannotBeMeant(t *testing.T) {
	good := []string{"-addr", "127.0.0.1:0", "-header", "X-Api-Key: secret"}
	for _, c := range []struct {
		args []string
		says string
	}{
		{good[:2], "want a -header or a -token"},
		{[]string{"-header", "X-Api-Key"}, "Name: value"},
		{[]string{"-header", "X-Api-Key:"}, "Name: value"},
		{[]string{"-header", ": secret"}, "Name: value"},
		{[]string{"-token", ""}, "-token"},
		{append(good, "-prepare-url", "ftp://platform.example/prepare"), "-prepare-url"},
		{append(good, "-prepare-url", "/prepare"), "-prepare-url"},
		{append(good, "-prepare-url", "https://user@platform.example/"), "-prepare-url"},
		{append(good, "-public-url", "http://seller.example"), "-public-url"},
		{append(good, "-public-url", "seller.example"), "-public-url"},
		{append(good, "-unknown"), "-unknown"},
		{append(good, "argument"), "argument"},
	} {
		status, stderr := proc.Run(t, c.args...)
		if status != 2 || !strings.Contains(stderr, c.says) || strings.Contains(stderr, "goroutine") {
			t.Errorf("%q: got status %d, %s; want 2 and %q", c.args, status, stderr, c.says)
		}
	}
}
