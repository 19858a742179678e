package main

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pollackq/pollack/httpapi/client"
	"github.com/pollackq/pollack/internal/proc"
)

const token = "secret"

// send makes a request with the token and returns the answer with its body.
func send(t *testing.T, method, url, contentType string, body []byte) (*http.Response, []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), proc.Limit)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	p, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, p
}

type job struct {
	ID, Status, URL, Message string
	Input, Output            struct {
		Size int64
		SHA1 string
	}
}

func submit(t *testing.T, url, contentType string, body []byte) string {
	t.Helper()
	resp, p := send(t, "POST", url+"/1.0/compress", contentType, body)
	var j job
	if err := json.Unmarshal(p, &j); err != nil || resp.StatusCode != http.StatusAccepted || j.Status != "enqueued" {
		t.Fatalf("got %d %s, %v, want 202 and a job", resp.StatusCode, p, err)
	}
	return j.ID
}

func upload(t *testing.T, url, name string, content []byte) string {
	t.Helper()
	var b bytes.Buffer
	f := multipart.NewWriter(&b)
	part, err := f.CreateFormFile("file", name)
	if err != nil {
		t.Fatal(err)
	}
	part.Write(content)
	f.Close()
	return submit(t, url, f.FormDataContentType(), b.Bytes())
}

// completed follows a job to its end and returns it, once the bytes at its URL have proved to be those that it names.
func completed(t *testing.T, url, id string) (job, []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), proc.Limit)
	defer cancel()
	s, err := client.Await(ctx, url+"/1.0/jobs/"+id, &client.AwaitOptions{Token: token, First: 100 * time.Millisecond})
	if err != nil || s.State != client.Succeeded {
		t.Fatalf("job %s: got %+v, %v, want it completed", id, s, err)
	}
	var j job
	if err := json.Unmarshal(s.Body, &j); err != nil {
		t.Fatal(err)
	}
	path := j.URL[strings.Index(j.URL, "//")+2:]
	resp, p := send(t, "GET", url+path[strings.Index(path, "/"):], "", nil)
	sum := sha1.Sum(p)
	if resp.StatusCode != http.StatusOK || int64(len(p)) != j.Output.Size || hex.EncodeToString(sum[:]) != j.Output.SHA1 {
		t.Errorf("job %s: got %d and %d bytes of SHA-1 %x, want %+v", id, resp.StatusCode, len(p), sum, j.Output)
	}
	return j, s.Body
}

func TestKilledInTheMiddleOfTheWorkAllJobsCompleteOnce(t *testing.T) {
	small := []byte(strings.Repeat("fetched ", 1000))
	arrived := make(chan struct{}, 100)
	var open atomic.Bool
	files := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !open.Load() { // whoever asks is killed while it waits
			arrived <- struct{}{}
			<-r.Context().Done()
			return
		}
		w.Write(small)
	}))
	defer files.Close()
	args := []string{"-db", filepath.Join(t.TempDir(), "compressor.db"), "-token", token, "-allow-private-fetch", "-base-url", "https://compressor.example"}
	p := proc.Start(t, args...)
	want := make(map[string][]byte)
	done := upload(t, p.URL, "done.txt", small)
	_, final := completed(t, p.URL, done)
	for i := range 2 {
		id := submit(t, p.URL, "application/json", fmt.Appendf(nil, `{"url":"%s/%d.txt"}`, files.URL, i))
		want[id] = small
	}
	for i := range 4 {
		content := largeText(uint64(i))
		want[upload(t, p.URL, fmt.Sprint("large", i, ".txt"), content)] = content
	}
	<-arrived
	<-arrived
	begun := regexp.MustCompile(`msg=begun id=(\S+) delivery=1`)
	event(t, func() bool { return len(begun.FindAllString(p.Stderr(), -1)) >= 4 }) // done.txt, both fetches and a large one
	p.Kill()
	before := p.Stderr()
	open.Store(true)

	p = proc.Start(t, args...)
	for id, content := range want {
		j, _ := completed(t, p.URL, id)
		sum := sha1.Sum(content)
		if j.Input.SHA1 != hex.EncodeToString(sum[:]) || j.Output.Size >= j.Input.Size {
			t.Errorf("job %s: got %+v, want the input of SHA-1 %x made smaller", id, j, sum)
		}
	}
	if _, again := completed(t, p.URL, done); !bytes.Equal(again, final) {
		t.Errorf("got %s, want %s as before the end of the first process", again, final)
	}

	// An interrupted job has been begun a second time, soon, and none has been completed twice.
	again := regexp.MustCompile(`time=(\S+) .*msg=begun id=(\S+) delivery=2`)
	interrupted := again.FindAllStringSubmatch(p.Stderr(), -1)
	if len(interrupted) < 2 {
		t.Fatalf("got %d jobs begun again, want the two fetches at least\n%s", len(interrupted), p.Stderr())
	}
	for _, m := range interrupted {
		at, err := time.Parse(time.RFC3339, m[1])
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("job %s was begun again %v after the program listened", m[2], at.Sub(p.Ready))
	}
	first, err := time.Parse(time.RFC3339, interrupted[0][1])
	if soon := first.Sub(p.Ready); err != nil || soon > 5*time.Second {
		t.Errorf("the first interrupted job was begun again %v after the program listened, want at most 5s", soon)
	}
	for id := range want {
		if n := strings.Count(before+p.Stderr(), "msg=completed id="+id); n > 1 {
			t.Errorf("job %s was completed %d times", id, n)
		}
	}
	p.Stop(os.Interrupt)
}

// largeText returns 16 MiB that take a while to be gzipped.
func largeText(seed uint64) []byte {
	random := rand.New(rand.NewPCG(seed, 0))
	p := make([]byte, 16<<20)
	for i := range p {
		p[i] = "etaoin shrdlu cmfwyp"[random.Uint32()%20]
	}
	return p
}

// event waits for something that the program says.
func event(t *testing.T, happened func() bool) {
	t.Helper()
	for began := time.Now(); !happened(); time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > proc.Limit {
			t.Fatal("what was waited for did not happen")
		}
	}
}

func TestAStopGivesTheWorkBack(t *testing.T) {
	args := []string{"-db", filepath.Join(t.TempDir(), "compressor.db"), "-token", token}
	p := proc.Start(t, args...)
	id := upload(t, p.URL, "large.txt", largeText(1))
	event(t, func() bool { return strings.Contains(p.Stderr(), "msg=begun") })
	p.Stop(syscall.SIGTERM)
	p = proc.Start(t, args...)
	completed(t, p.URL, id)
	p.Stop(os.Interrupt)
}

func TestPrivateAddressesAreRefusedUnlessAllowed(t *testing.T) {
	var asked atomic.Int32
	files := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.Write([]byte("private"))
	}))
	defer files.Close()
	p := proc.Start(t, "-token", token)
	local := strings.Replace(files.URL, "127.0.0.1", "localhost", 1) // by name too
	for _, url := range []string{files.URL, local} {
		id := submit(t, p.URL, "application/json", []byte(`{"url":"`+url+`/x"}`))
		s, err := client.Await(t.Context(), p.URL+"/1.0/jobs/"+id, &client.AwaitOptions{Token: token, First: 10 * time.Millisecond})
		if err != nil || s.State != client.Failed || !strings.Contains(string(s.Body), "no public address") || asked.Load() > 0 {
			t.Errorf("%s: got %+v, %v after %d requests, want it refused without any", url, s, err, asked.Load())
		}
	}
}

func TestFlagsThatCannotBeMeantAreRefused(t *testing.T) {
	for want, args := range map[string][]string{
		"nobody could be let in":            {},
		"-user and -password belong":        {"-user", "ada"},
		"belong together":                   {"-token", "x", "-password", "lovelace"},
		"want TOKEN or ACCOUNT=TOKEN":       {"-token", ""},
		"was given already":                 {"-token", "x", "-token", "bob=x"},
		"unexpected argument":               {"-token", "x", "more"},
		"-base-url":                         {"-token", "x", "-base-url", "example.com"},
		"flag provided but not defined: -x": {"-x"},
	} {
		if status, text := proc.Run(t, append([]string{"-addr", "127.0.0.1:0"}, args...)...); status != 2 || !strings.Contains(text, want) {
			t.Errorf("%q: got status %d, %q, want 2 and %q", args, status, text, want)
		}
	}
}

func TestUserAndPasswordAreTheAccountOfPlainTokens(t *testing.T) {
	p := proc.Start(t, "-token", token, "-token", "bob=other", "-user", "ada", "-password", "lovelace")
	id := upload(t, p.URL, "a.txt", []byte("a"))
	for credentials, want := range map[string]int{"ada:lovelace": 200, "ada:x": 401, "bob:other": 401} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", p.URL+"/1.0/jobs/"+id, nil)
		if err != nil {
			t.Fatal(err)
		}
		user, password, _ := strings.Cut(credentials, ":")
		r.SetBasicAuth(user, password)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: got %d, want %d", credentials, resp.StatusCode, want)
		}
	}
}
