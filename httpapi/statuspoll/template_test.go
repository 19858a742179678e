package statuspoll_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/pollackq/pollack/httpapi/statuspoll"
)

func TestTemplatesThatAreSound(t *testing.T) {
	for _, s := range []string{
		"https://your-api.com/orders/{order_id}/status", "https://your-domain.com/api/check-status/{order_id}", "https://api.example.com/v1/jobs/{order_id}",
		"https://a.example:8443/{order_id}", "https://a.example/o-{order_id}.json?key=1&x=%7B", "https://[2606:4700::1111]/{order_id}", "HTTPS://a.example/{order_id}",
		"https://127.0.0.1/{order_id}",
	} {
		tmpl, err := statuspoll.ParseTemplate(s, false)
		if err != nil {
			t.Errorf("%s: got %v, want nil", s, err)
			continue
		}
		if got, want := tmpl.URL("o-1"), strings.Replace(s, "{order_id}", "o-1", 1); got != want || tmpl.String() != s {
			t.Errorf("%s: got %s, want %s", s, got, want)
		}
	}
	if _, err := statuspoll.ParseTemplate("http://a.example/{order_id}", true); err != nil {
		t.Errorf("HTTP where it is allowed: got %v, want nil", err)
	}
}

func TestTemplatesThatAreNot(t *testing.T) {
	for s, word := range map[string]string{
		"":                                                         "{order_id}",
		"https://a.example/orders":                                 "{order_id}",
		"https://a.example/{order_id}/`":                           "escaped",
		"https://a.example/^/{order_id}":                           "escaped",
		"https://a.example/{Order_ID}":                             "{order_id}",
		"https://a.example/%7Border_id%7D":                         "{order_id}",
		"https://a.example/:order_id":                              "{order_id}",
		"http://a.example/{order_id}":                              "https",
		"ftp://a.example/{order_id}":                               "https",
		"//a.example/{order_id}":                                   "https",
		"a.example/{order_id}":                                     "https",
		"/orders/{order_id}":                                       "https",
		"{order_id}":                                               "https",
		"https:///{order_id}":                                      "host",
		"https:/a.example/{order_id}":                              "host",
		"https://{order_id}.a.example/x":                           "path",
		"https://a.example:{order_id}/x":                           "path",
		"https://{order_id}/x":                                     "path",
		"https://{order_id}@a.example/x":                           "path",
		"https://a.example/x?id={order_id}":                        "path",
		"https://a.example?id=/{order_id}":                         "path",
		"https://a.example/x#{order_id}":                           "path",
		"https://a.example/#/{order_id}":                           "path",
		"https://a.example/{order_id}#x":                           "fragment",
		"https://me:pw@a.example/{order_id}":                       "user",
		"https://a.example/{order_id}/{order_id}":                  "once",
		"https://a.example/{order_id}?x={order_id}":                "once",
		"https://a.example/{user}/{order_id}":                      "braces",
		"https://a.example/{{order_id}}":                           "braces",
		"https://a.example/ {order_id}":                            "encoded",
		"https://a.example/\n{order_id}":                           "encoded",
		"https://a.example/%zz/{order_id}":                         "parsed",
		"https://a.example:99999/{order_id}":                       "port",
		"https://a.example/{order_id}" + strings.Repeat("x", 2048): "2048",
	} {
		if tmpl, err := statuspoll.ParseTemplate(s, false); err == nil || tmpl != nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%.80q: got %v, %v, want an error about %q", s, tmpl, err, word)
		}
	}
}

var oddIDs = []string{
	"o-1", ".", "..", "...", "/", "a/b", "../../admin", "a%2Fb", "%", "%2e%2e", "a b", "a+b", "a?b=c#d", "a;b,c", "ü", "日本", "{order_id}", "a\\b", "a:b@c", "\x00", "\xff\xfe", "", "~", "'\"<>",
}

func TestAnIDIsOneSegment(t *testing.T) {
	tmpl, err := statuspoll.ParseTemplate("https://a.example/orders/{order_id}/status?k=1", false)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range oddIDs {
		wantSegment(t, tmpl, id)
	}
}

// wantSegment fails the test unless the URL's path is that of the template with the id as one segment, to net/url and to a server.
func wantSegment(t *testing.T, tmpl *statuspoll.Template, id string) {
	t.Helper()
	u, err := url.Parse(tmpl.URL(id))
	if err != nil {
		t.Fatalf("%q: %v", id, err)
	}
	want, err := url.Parse(tmpl.URL("id"))
	if err != nil {
		t.Fatal(err)
	}
	got, model := strings.Split(u.EscapedPath(), "/"), strings.Split(want.EscapedPath(), "/")
	if len(got) != len(model) || u.Host != want.Host || u.Scheme != want.Scheme || u.RawQuery != want.RawQuery || u.Fragment != "" || u.User != nil {
		t.Fatalf("%q: got %s, want the id in place of that in %s", id, u, want)
	}
	mark, _ := url.Parse(tmpl.URL("!"))
	for i, segment := range strings.Split(mark.EscapedPath(), "/") {
		before, after, found := strings.Cut(segment, "%21")
		if !found {
			before, after, found = strings.Cut(segment, "!")
		}
		if model[i] == segment || !found {
			continue
		}
		plain, err := url.PathUnescape(got[i])
		b, _ := url.PathUnescape(before)
		a, _ := url.PathUnescape(after)
		if err != nil || plain != b+id+a || got[i] == "." || got[i] == ".." {
			t.Errorf("%q: got segment %q of %s", id, got[i], u)
		}
	}
}

func TestAServerGetsTheIDBack(t *testing.T) {
	tmpl, _ := statuspoll.ParseTemplate("http://a.example/orders/{order_id}/status", true)
	got := ""
	mux := http.NewServeMux()
	mux.HandleFunc("GET /orders/{order_id}/status", func(w http.ResponseWriter, r *http.Request) { got = r.PathValue("order_id") })
	for _, id := range oddIDs {
		if id == "" || id == "\xff\xfe" || id == "\x00" || id == "/" {
			continue // no order has it; and a lone slash is taken for a trailing one by http.ServeMux
		}
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest("GET", tmpl.URL(id), nil))
		if w.Code != 200 || got != id {
			t.Errorf("%q: got %d, %q", id, w.Code, got)
		}
	}
}
