package httpapi_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/jobqueue"
)

func TestBadPreparesAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &setup{broker: &jobqueue.Options{MaxPayload: 1000}, options: httpapi.Options{MaxBody: 2000}})
		for body, member := range map[string]string{
			`{"size":-1}`: "size", `{"size":1.5}`: "size", `{"size":"1"}`: "size", `{"size":1e30}`: "size",
			`{"expires_seconds":0}`: "expires_seconds", `{"expires_seconds":0.5}`: "expires_seconds", `{"expires_seconds":-1}`: "expires_seconds", `{"expires_seconds":604801}`: "expires_seconds",
			`{"expires_seconds":1e300}`: "expires_seconds", `{"filename":1}`: "filename", `{"content_type":"a\nb"}`: "content_type",
			`{"content_type":"` + strings.Repeat("x", 256) + `"}`: "content_type", `{`: "the body", "{\"filename\":\"\xff\"}": "the body",
		} {
			if got := w.do("POST", "/v1/uploads", body).wantProblem(400, "invalid_request").text("detail"); !strings.HasPrefix(got, member) {
				t.Errorf("%s: got %q, want it to begin with %s", body, got, member)
			}
		}
		w.do("POST", "/v1/uploads", `{"size":1001}`).wantProblem(413, "too_large")
		w.do("POST", "/v1/uploads", `{"filename":"`+strings.Repeat("x", 2000)+`"}`).wantProblem(413, "too_large")
		if _, err := w.queue("uploads").Info(t.Context()); !errors.Is(err, jobqueue.ErrNotFound) {
			t.Errorf("got %v, want nothing prepared", err)
		}
	})
}

func TestAFileNameIsMadeSafe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		long := strings.Repeat("é", 5000)
		for name, want := range map[string]string{
			"report.pdf": "report.pdf", "": "file", ".": "file", "..": "file", "...": "file", " . ": "file", "/": "file", `\`: "file", "a/": "file",
			"../../etc/passwd": "passwd", `C:\temp\cat.png`: "cat.png", "a/../b": "b", "/etc/": "file", "..%2f..%2fx": "..%2f..%2fx",
			"a\r\nSet-Cookie: x": "aSet-Cookie: x", "a\x00b": "ab", "\x7f\x1b[31m": "[31m", "gpj.\u202etxt": "gpj.txt", "\u200b": "file", "\ufeffa": "a", "\ufffd": "file",
			"a?b#c;d=e&f+g%20": "a?b#c;d=e&f+g%20", `say "cheese"`: `say "cheese"`, "  spaces  ": "spaces", "日本語.txt": "日本語.txt", "~": "~", "-rf": "-rf", "{id}": "{id}",
			long:                                    strings.Repeat("é", 100),
			long + ".tar.gz":                        strings.Repeat("é", 98) + ".gz",
			"a." + long:                             "a." + strings.Repeat("é", 99),
			strings.Repeat("x", 10_000) + ".png":    strings.Repeat("x", 196) + ".png",
			strings.Repeat("x", 196) + "    .png/":  "file",
			strings.Repeat("x", 195) + "       .gz": strings.Repeat("x", 195) + ".gz",
		} {
			a := w.prepare(object("filename", name))
			key := a.text("object_key")
			if _, got, _ := strings.Cut(key, "/"); got != want || len(key) > jobqueue.MaxName {
				t.Errorf("%.30q: got %q, want %q", name, got, want)
			}
			w.put(a.text("put_url"), "x").want(204)
			path, token := w.held()
			w.do("POST", path+"/complete", completing(key), token).want(200)
		}
	})
}
