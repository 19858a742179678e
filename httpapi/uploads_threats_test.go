package httpapi_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"mime"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"unicode"

	"github.com/pollackq/pollack/jobqueue"
)

// A signed URL with anything changed is good for nothing (threats: URL tricks, Auth bypass): every byte in turn, cut everywhere, and at random.
func TestNoChangedUploadURLIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		prepared := w.prepare(`{"filename":"a b.txt","size":4,"expires_seconds":3600}`)
		good := prepared.text("put_url")
		meant := must(url.Parse(good))
		r := rand.New(rand.NewPCG(1, 2))
		var changed []string
		for i := range good {
			for _, c := range []byte{good[i] ^ 1, good[i] ^ 0x20, '0', '%', '&', '/'} {
				changed = append(changed, good[:i]+string(rune(c&0x7f))+good[i+1:])
			}
			changed = append(changed, good[:i], good[:i]+good[i+1:], good[:i]+good[i:i+1]+good[i:], good[i:])
		}
		for range 3000 {
			p := []byte(good)
			for range 1 + r.IntN(4) {
				at := r.IntN(len(p))
				switch r.IntN(3) {
				case 0:
					p[at] = byte(' ' + r.IntN(95))
				case 1:
					p = append(p[:at], p[at+1:]...)
				case 2:
					p = append(p[:at], append([]byte{byte(' ' + r.IntN(95))}, p[at:]...)...)
				}
			}
			changed = append(changed, string(p))
		}
		tried := 0
		for _, bad := range changed {
			u, err := url.ParseRequestURI(bad)
			if err != nil || u.Host != "" || !strings.HasPrefix(bad, "/") {
				continue // net/http would not have it
			}
			if same, err := url.ParseQuery(u.RawQuery); err == nil && u.Path == meant.Path {
				q := meant.Query()
				if fmt.Sprint(same["upload"], same["expires"], same["signature"]) == fmt.Sprint(q["upload"], q["expires"], q["signature"]) {
					continue // another spelling of the same, or one more parameter
				}
			}
			tried++
			if got := serve(w.h, "PUT", strings.ReplaceAll(bad, " ", "+"), "evil"); got.Code < 400 || got.Code >= 500 {
				t.Fatalf("%s: got %d, good is %s", bad, got.Code, good)
			}
		}
		if u := w.upload(prepared); u.Written || tried < 3000 {
			t.Errorf("got %+v after %d changed URLs, want it as it was", u, tried)
		}
		w.put(good, "good").want(204)
	})
}

// Whatever a job is called, its name is either refused or comes back in Content-Disposition as one file name that is no path, in which nothing is
// hidden, and in no other header (threat: Stored XSS on download).
func TestNamesWithTricksComeBackSafely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		names := []string{
			"a.txt", "a\r\nSet-Cookie: x=1", "a\nb", "a\x00b", `a"b`, `a\"; filename=evil.exe; x="`, "a; filename=evil.exe", `"`, `\`, "'", "''",
			"%0d%0aX: y", "utf-8''evil", "UTF-8''%2e%2e%2f",
			"../../etc/passwd", `..\..\boot.ini`, "/etc/passwd", `C:\x`, "..", ".", "...", " ", "  a  ", "~", "-rf", "a/b/c", "／etc／passwd", "bücher.pdf",
			"日本語.txt", "€ 𝄞.mp3", "e\u0301.txt",
			"gpj.\u202eexe", "\u2066a\u2069", "\u200b", "\ufeffa", "a\u2028b", "a\u0085b", "\u009b31m", "a\u00a0b", "\x7f", "\x1b[31m",
			"<script>alert(1)</script>", "{{7*7}}", "${jndi:ldap://x}",
			"\xff\xfe", "a\xc0\xafb", strings.Repeat("n", 255), strings.Repeat("n", 256), strings.Repeat("é", 127), strings.Repeat("n", 10_000),
			"=?utf-8?q?x?=", "con", "a\tb", "a%b", "a*b", "filename*=x",
		}
		r := rand.New(rand.NewPCG(3, 4))
		odd := []rune("a.\"\\/;=*'%\r\n\x00\t\u202e\u200f\u2028é日𝄞 \u0085")
		for range 500 {
			name := make([]rune, 1+r.IntN(12))
			for i := range name {
				name[i] = odd[r.IntN(len(odd))]
			}
			names = append(names, string(name))
		}
		refused := 0
		for _, name := range names {
			body, err := json.Marshal(map[string]any{"payload": 1, "name": name})
			if err != nil {
				t.Fatal(err)
			}
			inJSON := w.do("POST", "/v1/queues/q/jobs", strings.ReplaceAll(string(body), `\ufffd`, "\xff"))
			inQuery := w.do("POST", "/v1/queues/q/jobs?name="+url.QueryEscape(name), "payload", "Content-Type: text/html")
			for _, a := range []*answer{inJSON, inQuery} {
				if a.status != 202 {
					a.wantProblem(400, "invalid_request")
					refused++
					continue
				}
				if got := a.text("name"); got != name {
					t.Errorf("%q: the job is called %q", name, got)
				}
				wantSafeName(t, name, w.do("GET", "/v1/jobs/"+a.text("id")+"/payload", "").want(200))
			}
		}
		if refused == 0 || refused == 2*len(names) {
			t.Errorf("got %d names refused of %d", refused, len(names))
		}
	})
}

func wantSafeName(t *testing.T, name string, a *answer) {
	t.Helper()
	line := a.header.Get("Content-Disposition")
	for i := range line {
		if line[i] < ' ' || line[i] > '~' {
			t.Errorf("%q: got %q, want what is printable ASCII", name, line)
			return
		}
	}
	kind, params, err := mime.ParseMediaType(line)
	file := params["filename"]
	if err != nil || kind != "attachment" || len(params) > 1 || len(params) == 1 && file == "" {
		t.Errorf("%q: got %q, want attachment and at most a filename", name, line)
	}
	hidden := func(r rune) bool { return !unicode.IsGraphic(r) }
	if strings.ContainsAny(file, `/\`) || strings.ContainsFunc(file, hidden) || file != "" && strings.Trim(file, ".") == "" {
		t.Errorf("%q: got the file name %q", name, file)
	}
	odd := strings.TrimFunc(name, func(r rune) bool { return r >= 'a' && r <= 'z' || r == '.' })
	if odd == "" && strings.Trim(name, ".") != "" && file != name {
		t.Errorf("%q: got the file name %q, though there is nothing wrong with it", name, file)
	}
	for header, values := range a.header {
		if v := strings.Join(values, "\n"); header != "Content-Disposition" && len(name) > 2 && strings.Contains(v, name) {
			t.Errorf("%q: is in %s: %q", name, header, v)
		}
	}
	if a.header.Get("X-Content-Type-Options") != "nosniff" || a.header.Get("Set-Cookie") != "" {
		t.Errorf("%q: got %v", name, a.header)
	}
}

// An upload that somebody else is still sending, or has sent, is not to be had by another account, whatever it calls it (threat: Cross-tenant access).
func TestAnUploadIsOfNoUseToAnotherAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		const bob = "Authorization: Bearer bob-token"
		key := w.sent(`{"filename":"f"}`, "secret")
		if _, err := w.broker.In("bob").Queue("q").Enqueue(t.Context(), jobqueue.NewJob{}); err != nil {
			t.Fatal(err)
		}
		d := w.do("GET", "/v1/queues/q/poll?timeout=0", "", bob).want(200)
		token := "Lease-Token: " + d.text("lease_token")
		id, _, _ := strings.Cut(key, "/")
		for _, path := range []string{"", "/payload", "/result"} {
			w.do("GET", "/v1/jobs/"+id+path, "", bob).wantProblem(404, "not_found")
			w.do("GET", "/v1/jobs/"+id+path, "").wantProblem(404, "not_found") // an upload is no job, not even to its own account
		}
		for _, verb := range []string{"ack", "complete", "fail", "release", "extend", "progress", "cancel", "redrive"} {
			w.do("POST", "/v1/jobs/"+id+"/"+verb, `{"progress":1}`, bob, token).wantProblem(404, "not_found")
		}
		w.do("POST", "/v1/jobs/"+d.text("id")+"/complete", completing(key), bob, token).wantProblem(404, "not_found")
		w.do("POST", "/v1/jobs/"+d.text("id")+"/complete", `{"result":1}`, bob, token).want(200)
		path, mine := w.held()
		w.do("POST", path+"/complete", completing(key), mine).want(200)
		if got := w.do("GET", path+"/result", "").want(200).body; got != "secret" {
			t.Errorf("got %q", got)
		}
	})
}
