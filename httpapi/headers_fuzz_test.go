package httpapi_test

import (
	"encoding/base64"
	"errors"
	"math/big"
	"mime"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pollackq/pollack/httpapi"
)

// FuzzPollParameters looks for a query and a preference that a poll reads otherwise than by the rule, written down here a second time: digits
// are seconds, however many, cut to the longest wait; what is not understood is a 400 in the query, and nothing in the preference (RFC 7240).
func FuzzPollParameters(f *testing.F) {
	for _, q := range []string{
		"", "timeout=0", "timeout=99999999999999999999999", "timeout=1&timeout=1", "timeout=-1", "timeout=+1", "timeout=1e3", "timeout=%31", "timeout=", "timeout=1;max=2",
		"max=0", "max=1000", "max=1001", "max=-0", "max=+5", "max=0x5", "max=99999999999999999999", "lease=0", "lease=1", "lease=9223372037", "lease=18446744073709551616",
		"payload=none", "payload=", "payload=all", "%zz", "timeout=٣",
	} {
		f.Add(q, "")
		f.Add(q, "wait=7")
	}
	for _, p := range []string{`wait="9"`, "respond-async, wait=100", "WAIT = 5 ; x", "wait", "wait=1, wait=2", "wait=-1", "wait=\"", ";wait=1", "wait=18446744073709551617"} {
		f.Add("", p)
	}
	f.Fuzz(func(t *testing.T, query, prefer string) {
		if strings.ContainsFunc(prefer, func(r rune) bool { return r != '\t' && r < ' ' || r > '~' }) {
			return // net/http takes no control characters; what else counts as a space is not the matter here
		}
		const most = 30 * time.Second
		r := httptest.NewRequest("GET", "/", nil)
		r.URL.RawQuery = query
		if prefer != "" {
			r.Header.Set("Prefer", prefer)
		}
		got := httpapi.ReadPoll(r, most)
		var p *httpapi.Problem
		if got.Err != nil && (!errors.As(got.Err, &p) || p.Status != 400 || p.Detail == "") {
			t.Fatalf("got %v", got.Err)
		}
		values, err := url.ParseQuery(query)
		sound := err == nil
		want := httpapi.PollRead{Wait: most, Max: 1, Payload: true}
		for name, v := range values {
			switch name {
			case "timeout", "lease":
				n, ok := wholeNumber(v[0])
				if sound = sound && ok && len(v) == 1; !ok {
					continue
				}
				if name == "timeout" {
					want.Wait = time.Duration(min(n, 30)) * time.Second
				} else {
					sound = sound && n > 0
					want.Lease = time.Duration(n) * time.Second
				}
			case "max":
				n, ok := new(big.Int).SetString(v[0], 10)
				sound = sound && len(v) == 1 && ok && !strings.Contains(v[0], "_") && n.Cmp(big.NewInt(1)) >= 0 && n.Cmp(big.NewInt(httpapi.MaxPollJobs)) <= 0
				if sound {
					want.Max = int(n.Int64())
				}
			case "payload":
				sound = sound && len(v) == 1 && v[0] == "none"
				want.Payload = false
			}
		}
		if m := preference.FindStringSubmatch(prefer); m != nil && !values.Has("timeout") {
			if n, ok := wholeNumber(m[1]); ok {
				want.Wait = time.Duration(min(n, 30)) * time.Second
			}
		}
		if (got.Err == nil) != sound || sound && got != want {
			t.Fatalf("%q, Prefer %q: got %+v, want %+v, sound: %v", query, prefer, got, want, sound)
		}
	})
}

// preference finds the first wait in a Prefer header that is not behind a semicolon, whatever its value.
var preference = regexp.MustCompile(`(?is)^(?:[^,]*,)*?\s*wait\s*(?:=\s*"*([^",;]*?)"*\s*)?(?:[,;].*)?$`)

// wholeNumber reads digits; all that are large are 1<<32.
func wholeNumber(s string) (int64, bool) {
	if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' }) {
		return 0, false
	}
	n, _ := new(big.Int).SetString(s, 10) // digits
	if n.Cmp(big.NewInt(1<<32)) > 0 {
		return 1 << 32, true
	}
	return n.Int64(), true
}

// FuzzIdempotencyKey looks for an Idempotency-Key that is read otherwise than RFC 8941 has strings, or that does not come back from being
// quoted: two keys that are taken for one, or one for two, would be a lost job or a double one (I4, promise 6).
func FuzzIdempotencyKey(f *testing.F) {
	for _, s := range []string{"k", `"k"`, `"a\"b"`, `"a\\"`, `"a\b"`, `"`, `""`, "", `"a"b"`, `"a\`, `"a\"`, ` k`, "\xff", `k"`, `"k" `} {
		f.Add(s)
	}
	quoted := regexp.MustCompile(`(?s)^"((?:[^"\\]|\\["\\])*)"$`)
	f.Fuzz(func(t *testing.T, s string) {
		r := httptest.NewRequest("POST", "/", nil)
		r.Header["Idempotency-Key"] = []string{s}
		got, err := httpapi.ReadKey(r)
		want, sound := s, s != ""
		if strings.HasPrefix(s, `"`) {
			m := quoted.FindStringSubmatch(s)
			if sound = m != nil && m[1] != ""; sound {
				want = regexp.MustCompile(`(?s)\\(.)`).ReplaceAllString(m[1], "$1")
			}
		}
		if !utf8.ValidString(s) { // the pattern is of characters; jobqueue refuses such a key
			return
		}
		if (err == nil) != sound || sound && got != want {
			t.Fatalf("%q: got %q, %v, want %q, sound: %v", s, got, err, want, sound)
		}
		if s == "" {
			return
		}
		r.Header["Idempotency-Key"] = []string{`"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`}
		if got, err := httpapi.ReadKey(r); err != nil || got != s {
			t.Fatalf("%q, quoted: got %q, %v", s, got, err)
		}
	})
}

// FuzzCredentials looks for an Authorization header that lets somebody in who does not know the secret, or in for another account (threat: Auth
// bypass/timing).
func FuzzCredentials(f *testing.F) {
	basic := func(s string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(s)) }
	for _, s := range []string{
		"Bearer alice-token", "bearer  alice-token", "Bearer alice-token ", "Bearer\talice-token", "Bearer", "", "alice-token", "Bearer alice-token, Bearer bob-token",
		basic("alice:secret:1"), basic("alice:"), basic(":"), basic("alice\x00secret:1"), basic("alice"), "basic " + basic("x"), "Basic !", "Key k-1", "key k-1",
	} {
		f.Add(s, "")
	}
	f.Add("Bearer alice-token", "Bearer bob-token")
	bearer := httpapi.BearerTokens(map[string]string{"alice-token": "alice", "bob-token": "bob", "": "nobody"})
	logins := httpapi.BasicAuth("r", map[httpapi.Login]string{{User: "alice", Password: "secret:1"}: "alice", {User: "bob"}: "bob", {}: "nobody"})
	header := httpapi.HeaderAuth("carol", http.Header{"Authorization": {"Key k-1"}})
	f.Fuzz(func(t *testing.T, one, two string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["Authorization"] = []string{one}
		if two != "" {
			r.Header.Add("Authorization", two)
		}
		scheme, rest, _ := strings.Cut(one, " ")
		rest = strings.TrimLeft(rest, " ")
		want := map[string]string{}
		if two == "" {
			switch strings.ToLower(scheme) {
			case "bearer":
				want["bearer"] = map[string]string{"alice-token": "alice", "bob-token": "bob"}[rest]
			case "basic":
				p, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(one, scheme+" "))
				if err == nil {
					want["basic"] = map[string]string{"alice:secret:1": "alice", "bob:": "bob"}[string(p)]
				}
			case "key":
				if one == "Key k-1" {
					want["header"] = "carol"
				}
			}
		}
		for name, authenticate := range map[string]httpapi.Authenticator{"bearer": bearer, "basic": logins, "header": header} {
			account, err := authenticate(r)
			if account != want[name] || (err == nil) != (want[name] != "") {
				t.Fatalf("%s: %q, %q: got %q, %v, want %q", name, one, two, account, err, want[name])
			}
			var p *httpapi.Problem
			if err != nil && (!errors.As(err, &p) || p.Status != 401) {
				t.Fatalf("%s: %q: got %v, want a 401", name, one, err)
			}
		}
	})
}

// FuzzNames looks for a name that leaves its place: in a header that has a browser save a file (threat: Stored XSS on download), and as the part of
// a path and of an object key (threat: Path traversal).
func FuzzNames(f *testing.F) {
	for _, s := range []string{
		"report.pdf", "../../etc/passwd", `..\..\boot.ini`, "a\r\nSet-Cookie: x", `"; filename="b.html`, "é.txt", "\u202etxt.exe", strings.Repeat("é", 150) + ".tar.gz", "...", ". .", "",
		"\x00", "a/", "/", "x." + strings.Repeat("y", 300), "\xff\xfe", "CON", "a;b=c", "%2e%2e%2f", strings.Repeat(" ", 300) + "a", "a\u0085b",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d := httpapi.Disposition(s)
		if strings.ContainsFunc(d, func(r rune) bool { return r < ' ' || r >= 0x7f }) {
			t.Fatalf("%q: got a header with control characters: %q", s, d)
		}
		kind, params, err := mime.ParseMediaType(d)
		if err != nil || kind != "attachment" {
			t.Fatalf("%q: got %q: %q, %v", s, d, kind, err)
		}
		if name, named := params["filename"]; len(params) > 1 || named && (name == "" || strings.Trim(name, ".") == "" || strings.ContainsAny(name, `/\`)) {
			t.Fatalf("%q: got the parameters %q", s, params)
		}
		if kind := httpapi.SafeType(s); kind != s && kind != "application/octet-stream" {
			t.Fatalf("%q: got type %q", s, kind)
		} else if _, _, err := mime.ParseMediaType(kind); err != nil {
			t.Fatalf("%q: got type %q: %v", s, kind, err)
		}
		name := httpapi.SafeName(s)
		switch {
		case name == "" || len(name) > 200 || !utf8.ValidString(name):
			t.Fatalf("%q: got %q", s, name)
		case strings.ContainsAny(name, `/\`) || strings.Trim(name, ". ") == "":
			t.Fatalf("%q: got %q, which is no name in a folder", s, name)
		case strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
			t.Fatalf("%q: got %q, which has what cannot be printed", s, name)
		case httpapi.SafeName(name) != name:
			t.Fatalf("%q: got %q, and out of that %q", s, name, httpapi.SafeName(name))
		}
		// The URL that the name stands in has it as one segment, and back.
		u, err := url.Parse((&url.URL{Path: "/v1/uploads/ID/" + name}).EscapedPath())
		if err != nil || u.Path != "/v1/uploads/ID/"+name || strings.Count(u.EscapedPath(), "/") != 4 {
			t.Fatalf("%q: got the path %v, %v", name, u, err)
		}
	})
}
