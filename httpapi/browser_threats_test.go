package httpapi_test

import (
	"bufio"
	"errors"
	"maps"
	"math/rand/v2"
	"mime"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"unicode"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/jobqueue"
)

const script = `<script>alert(1)</script>`

// Threat: Stored XSS on download. Whatever was said of the type of a payload or a result, a browser saves it and runs nothing of it.
func TestNothingThatIsDownloadedRunsInABrowser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		for _, kind := range []string{
			"text/html", "text/html; charset=utf-7", "image/svg+xml", "application/xhtml+xml", "text/xml", "application/javascript", "application/pdf", "multipart/x-mixed-replace; boundary=x",
			"", "text/html\"", "text", "text/html, text/plain",
		} {
			path := "/v1/jobs/" + w.enqueue("q", jobqueue.NewJob{Payload: []byte(script), ContentType: kind, Name: script + ".html"}).ID.String()
			downloads := []*answer{w.do("GET", path+"/payload", ""), w.do("GET", path+"/payload", "", "Range: bytes=0-3")}
			if err := w.receive("q").Complete(t.Context(), jobqueue.NewResult{Data: []byte(script), ContentType: kind}); err != nil {
				t.Fatalf("%q: %v", kind, err)
			}
			downloads = append(downloads, w.do("GET", path+"/result", ""), w.do("HEAD", path+"/result", ""))
			for _, a := range downloads {
				a.wantHeader("X-Content-Type-Options", "nosniff").wantHeader("Content-Security-Policy", "default-src 'none'; sandbox")
				if d, _, err := mime.ParseMediaType(a.header.Get("Content-Disposition")); a.status/100 != 2 || d != "attachment" || err != nil {
					t.Errorf("%q: got %d with Content-Disposition %q, want an attachment", kind, a.status, a.header.Get("Content-Disposition"))
				}
				if _, _, err := mime.ParseMediaType(a.header.Get("Content-Type")); err != nil || len(a.header.Values("Content-Type")) != 1 {
					t.Errorf("%q: got Content-Type %q", kind, a.header.Values("Content-Type"))
				}
			}
		}
	})
}

// Threat: Stored XSS. All other answers are JSON, say so, and have no tag in them, whatever is asked for and whatever jobs are called.
func TestNoAnswerHasATagInIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		const tag = "%3Cscript%3E"
		j := w.enqueue("q", jobqueue.NewJob{Name: script, Tags: map[string]string{"tag": script}})
		d := w.receive("q")
		if err := d.Progress(t.Context(), 0.5, script); err != nil {
			t.Fatal(err)
		}
		id := "/v1/jobs/" + j.ID.String()
		for _, request := range []struct{ method, path, body string }{
			{"GET", id, ""}, {"GET", "/v1/queues/q/jobs", ""}, {"POST", id + "/fail", `{"lease_token": "` + d.Token.String() + `", "code": "c", "message": "` + script + `"}`},
			{"GET", id, ""}, {"GET", "/v1/" + tag, ""}, {"GET", "/v1/jobs/" + tag, ""}, {"GET", "/v1/queues/" + tag, ""}, {"GET", "/v1/queues/q/poll?timeout=" + tag, ""},
			{"GET", "/v1/queues/q/jobs?state=" + tag, ""}, {"GET", "/v1/queues/q/jobs?after=" + tag, ""}, {"POST", "/v1/queues/q/poll?payload=" + tag, ""}, {"DELETE", "/v1/queues/q/poll", ""},
			{"POST", "/v1/queues/q/jobs", `{"` + script + `"`}, {"POST", "/v1/queues/q/jobs", `{"deadline": "` + script + `"}`}, {"POST", id + "/ack", `{"lease_token": "` + script + `"}`},
			{"POST", "/v1/uploads", `{"filename": "` + script + `"}`}, {"PUT", "/v1/uploads/" + tag + "/x?upload=" + tag, "x"},
		} {
			a := w.do(request.method, request.path, request.body).wantHeader("X-Content-Type-Options", "nosniff")
			kind := a.header.Get("Content-Type")
			if kind != "application/json" && kind != "application/problem+json" || strings.Contains(a.body, "<") {
				t.Errorf("%s %s: got %s %s", request.method, request.path, kind, a.body)
			}
		}
	})
}

// Threat: names with tricks in Content-Disposition. Whatever a job is called: one name, no path, no control characters, and none that make it look like
// another (bidirectional overrides).
func TestANameIsSavedAsNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		names := []string{
			"../../etc/passwd", `..\..\boot.ini`, "a\"; filename=\"b.exe", "a;filename*=utf-8''b.exe", "photo_\u202egnp.exe", "a\u2066b\u2069.txt", "a\u200b.exe", "x\u0085y\u2028z", "a%2f..%2fb", "con\u00adcealed",
			"bücher €.pdf", strings.Repeat("ü", 120), "\u202e", "...", " ", "a\tb",
		}
		rnd := rand.New(rand.NewPCG(1, 2))
		letters := []rune("ab./\\\";'%*=\t\u202e\u0085ü日\U0001f600 ")
		for range 300 {
			var name strings.Builder
			for range 1 + rnd.IntN(12) {
				name.WriteRune(letters[rnd.IntN(len(letters))])
			}
			names = append(names, name.String())
		}
		saved := 0
		for _, name := range names {
			j, err := w.queue("q").Enqueue(t.Context(), jobqueue.NewJob{Name: name})
			if errors.Is(err, jobqueue.ErrInvalid) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			got := w.do("GET", "/v1/jobs/"+j.ID.String()+"/payload", "").want(200).header.Values("Content-Disposition")
			if len(got) != 1 || strings.Count(got[0], "filename") > 1+strings.Count(name, "filename") {
				t.Errorf("%q: got %q, want one name", name, got)
				continue
			}
			kind, parameters, err := mime.ParseMediaType(got[0])
			as, named := parameters["filename"]
			if err != nil || kind != "attachment" || strings.ContainsAny(as, `/\`) || strings.ContainsFunc(as, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("%q: got %q, read as %q (%v)", name, got[0], as, err)
			}
			if named {
				saved++
			}
		}
		if saved < 100 {
			t.Errorf("only %d names were kept at all", saved)
		}
	})
}

// Threat: Path traversal. Handlers that no http.ServeMux cleans paths for see these as they are. None leads to anything but what it spells.
func TestNoPathLeadsElsewhere(t *testing.T) {
	h, b := newHandler(t, httpapi.Options{})
	j, err := b.Queue("q").Enqueue(t.Context(), jobqueue.NewJob{Payload: []byte("secret")})
	if err != nil {
		t.Fatal(err)
	}
	id := j.ID.String()
	for _, path := range []string{
		"/v1/jobs/../queues", "/v1/../v1/queues", "/../v1/queues", "//v1/queues", "/v1//queues", "/v1/./queues", "/v1/queues/", "/v1/queues/q/../q", "/v1/queues/..", "/v1/jobs/..", "/v1/jobs/../../etc/passwd",
		"/v1/jobs/%2e%2e/queues", "/v1/jobs/..%2fqueues", "/v1/jobs/%2e%2e%2f%2e%2e%2fetc%2fpasswd", "/v1/jobs/%2fetc%2fpasswd/payload", "/v1/jobs/..%5c..%5cx/payload", "/v1/jobs/x%00/payload",
		"/v1/jobs/" + id + "%2fpayload", "/v1/jobs/" + id + "%00/payload", "/v1/jobs/" + id + "/", "/v1/jobs/" + id + "/../" + id, "/v1/jobs/" + id + ";/payload", "/v1/jobs/" + id + "%20/payload",
		"/v1/jobs/.%2f" + id + "/payload", "/v1/jobs/x%2f..%2f" + id + "/payload", "/v1/uploads/../jobs/" + id, "/v1%2fqueues", "/v1/%71ueues/..", "/v1/queues/%2e%2e", "/v1/queues/q%2f..%2fq", "/v1/queues/%2e%2e%2fq",
	} {
		for _, method := range []string{"GET", "HEAD", "DELETE"} {
			r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(method + " " + path + " HTTP/1.1\r\nHost: x\r\n\r\n"))) // cleans nothing
			if err != nil {
				t.Fatal(err)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != 404 && w.Code != 405 || strings.Contains(w.Body.String(), "secret") {
				t.Errorf("%s %s: got %d %s", method, path, w.Code, w.Body)
			}
		}
	}
	for path, queue := range map[string]string{"%2e%2e": "..", "..%2f..%2fetc": "../../etc", "q%2f..%2fq": "q/../q"} { // a queue has exactly the name that is spelled
		if w := serve(h, "POST", "/v1/queues/"+path+"/jobs", "{}"); w.Code != 202 {
			t.Errorf("%s: got %d %s", path, w.Code, w.Body)
		}
		if info, err := b.Queue(queue).Info(t.Context()); err != nil || info.Next != 1 {
			t.Errorf("%s: got %+v, %v; want one job in %q", path, info, err, queue)
		}
	}
	if info, err := b.Queue("q").Info(t.Context()); err != nil || info.Next != 1 {
		t.Errorf("got %+v, %v; want q as it was", info, err)
	}
}

// Threat: CORS. The API lets no page of another origin read an answer.
func TestNoAnswerIsForOtherOrigins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		for _, e := range endpoints {
			for _, method := range []string{e.method, "OPTIONS"} {
				a := w.do(method, e.path+"?timeout=0", "", "Origin: https://evil.example", "Access-Control-Request-Method: "+e.method, "Access-Control-Request-Headers: authorization")
				for name := range a.header {
					if strings.HasPrefix(name, "Access-Control-") {
						t.Errorf("%s %s: got %s: %q", method, e.path, name, a.header[name])
					}
				}
				if method == "OPTIONS" && a.status < 400 {
					t.Errorf("OPTIONS %s: got %d, which a browser takes for a yes", e.path, a.status)
				}
			}
		}
	})
}

// Threat: CSRF. Where credentials are cookies a page of another origin can have requests sent with them. http.CrossOriginProtection stops those that
// change something, but for GET, which the documentation tells to leave out: a poll takes jobs.
func TestPagesOfOtherOriginsDoNothingBehindTheProtectionThatIsRecommended(t *testing.T) {
	b := newBroker(t)
	h, err := httpapi.New(b, &httpapi.Options{Authenticate: func(r *http.Request) (string, error) {
		if c, err := r.Cookie("session"); err != nil || c.Value != "alice-session" {
			return "", httpapi.Unauthorized("Cookie")
		}
		return "alice", nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	site := http.NewCrossOriginProtection().Handler(h.Routes(map[string]http.HandlerFunc{
		"POST /queues/{queue}/jobs": h.Submit, "POST /queues/{queue}/poll": h.Poll, "POST /queues/{queue}/purge": h.Purge, "GET /jobs/{id}": h.Status,
	}))
	if _, err := b.In("alice").Queue("q").Enqueue(t.Context(), jobqueue.NewJob{}); err != nil {
		t.Fatal(err)
	}
	send := func(method, path string, header http.Header) int {
		r := httptest.NewRequest(method, "https://api.example"+path, nil)
		maps.Copy(r.Header, header)
		r.Header.Set("Cookie", "session=alice-session")
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded") // as a form sends, unasked
		w := httptest.NewRecorder()
		site.ServeHTTP(w, r)
		return w.Code
	}
	for _, header := range []http.Header{
		{"Sec-Fetch-Site": {"cross-site"}, "Origin": {"https://evil.example"}}, {"Sec-Fetch-Site": {"same-site"}, "Origin": {"https://blog.api.example"}}, {"Origin": {"https://evil.example"}}, {"Origin": {"null"}},
	} {
		for _, request := range []string{"POST /queues/q/jobs", "POST /queues/q/poll", "POST /queues/q/purge", "GET /queues/q/poll", "GET /queues/q/purge"} {
			method, path, _ := strings.Cut(request, " ")
			if status := send(method, path, header); status != 403 && status != 405 {
				t.Errorf("%s with %v: got %d", request, header, status)
			}
		}
	}
	if info, err := b.In("alice").Queue("q").Info(t.Context()); err != nil || info.Next != 1 || info.Counts[jobqueue.Pending] != 1 {
		t.Errorf("got %+v, %v; want nothing done", info, err)
	}
	if status := send("POST", "/queues/q/poll", http.Header{"Sec-Fetch-Site": {"same-origin"}}); status != 200 {
		t.Errorf("the site's own page: got %d, want the job", status)
	}
	if status := send("POST", "/queues/q/jobs", nil); status != 202 {
		t.Errorf("a program: got %d", status)
	}
}
