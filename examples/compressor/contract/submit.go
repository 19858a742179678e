package contract

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/examples/compressor/app"
	"github.com/pollackq/pollack/internal/contract"
)

var text = []byte(strings.Repeat("All work and no play makes Jack a dull boy. ", 1000))

func init() {
	suite.Case("an uploaded file is acknowledged at once and then compressed", "S3-02 S3-03 S3-04", func(t *testing.T, open contract.Opener) {
		w := begin(t, open)
		began := time.Now()
		id := w.accepted(w.upload("dull.txt", text))
		if took := time.Since(began); took != 0 {
			t.Errorf("the acknowledgement took %v, want no time", took)
		}
		body, _ := w.completed(id)
		if body["id"] != id {
			t.Errorf("got id %v, want %s", body["id"], id)
		}
		if other := w.accepted(w.upload("dull.txt", text)); other == id {
			t.Errorf("two submits got one id %s", id)
		}
	})
	suite.Case("a URL is acknowledged before the file is fetched", "S3-02 S3-05", func(t *testing.T, open contract.Opener) {
		w := begin(t, open)
		s := sourceAt(w, "files.example")
		id := w.accepted(w.fetch("http://files.example:81/a/dull%20boy.txt?x=y"))
		synctest.Wait()
		if got := w.word(id); got != "processing" {
			t.Errorf("got %s while the file is fetched, want processing", got)
		}
		s <- bytesOf(text)
		body, _ := w.completed(id)
		describes(t, body["input"], "dull boy.txt", "document", "txt", "text/plain", text)
	})
	suite.Case("a submit that prefers to wait is answered with what a poll would get", "S3-02 S3-07", func(t *testing.T, open contract.Opener) {
		w := begin(t, open)
		a := w.upload("dull.txt", text, "Prefer", "wait=10").Want(t, http.StatusOK)
		id := textOf(a.JSON(t), "id")
		if polled := w.status(id); !bytes.Equal(polled.Body, a.Body) {
			t.Errorf("waited for: %s\npolled: %s", a.Body, polled.Body)
		}
		wantMembers(t, a.JSON(t), "id", "input", "output", "status", "url")
		if got := a.Header.Get("Location"); got != base+"/1.0/jobs/"+id {
			t.Errorf("got Location %q", got)
		}
		if got := a.Header.Get("Retry-After"); got != "" {
			t.Errorf("got Retry-After %q with a result", got)
		}
	})
	suite.Case("a submit that waited in vain is acknowledged", "S3-02", func(t *testing.T, open contract.Opener) {
		w := begin(t, open)
		sourceAt(w, "files.example")
		began := time.Now()
		w.accepted(w.fetch("http://files.example/", "Prefer", "wait=3"))
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("the answer took %v, want 3s", took)
		}
	})
	suite.Case("what is not JSON is answered with a failed job that can be polled", "S3-02 S3-08 S3-14 all", func(t *testing.T, open contract.Opener) {
		w := begin(t, open)
		const message = "Incoming request body does not contain a valid JSON data"
		for _, body := range []string{"", "{", `{"url":}`, "url=http://files.example/", "{\"url\":\"http://files.example/\xff\"}", `{"url":"http://files.example/"} x`} {
			a := w.Do(t, "POST", "/1.0/compress", body, "Content-Type", "application/json").Want(t, http.StatusBadRequest)
			id := textOf(a.JSON(t), "id")
			if !uuid.MatchString(id) {
				t.Errorf("%q: got id %q, want a UUID", body, id)
			}
			want := `{"success":false,"id":"` + id + `","status":"failed","message":"` + message + `"}`
			if got := string(a.Body); got != want || a.Header.Get("Content-Type") != "application/json" {
				t.Errorf("%q: got %s %s, want %s", body, a.Header.Get("Content-Type"), got, want)
			}
			if got := string(w.status(id).Body); got != want {
				t.Errorf("%q, polled: got %s, want %s", body, got, want)
			}
			w.Do(t, "GET", "/1.0/jobs/"+id, nil, "Authorization", bob).Problem(t, http.StatusNotFound, "not_found")
			time.Sleep(2 * time.Minute)
			if got := string(w.status(id).Body); got != want {
				t.Errorf("%q, polled later: got %s, want %s", body, got, want)
			}
		}
	})
	suite.Case("JSON is taken with members that are not known, and without its type", "all S3-02", func(t *testing.T, open contract.Opener) {
		w := begin(t, open)
		s := sourceAt(w, "files.example")
		for _, kind := range []string{"application/json; charset=utf-8", "application/x-www-form-urlencoded"} {
			id := w.accepted(w.Do(t, "POST", "/1.0/compress", `{"quality":{"x":[1]},"url":"http://files.example/a.txt"}`, "Content-Type", kind))
			s <- bytesOf(text)
			w.completed(id)
		}
	})
	suite.Case("a submit that cannot be meant is a problem that says why", "all", func(t *testing.T, open contract.Opener) {
		w := begin(t, open)
		for _, body := range []string{`{}`, `[]`, `7`, `null`, `{"url":null}`, `{"url":7}`, `{"url":""}`, `{"url":"files.example/x"}`, `{"url":"ftp://files.example/x"}`,
			`{"url":"http://ada:secret@files.example/"}`, `{"url":"http://files.example/#top"}`, `{"url":"http:///x"}`, `{"url":"http://files.example/` + strings.Repeat("x", 3000) + `"}`} {
			a := w.refused(body, "Content-Type", "application/json")
			a.Problem(t, http.StatusBadRequest, "invalid_request")
			if detail := textOf(a.JSON(t), "detail"); !strings.HasPrefix(detail, "url: ") {
				t.Errorf("%s: got detail %q", body, detail)
			}
		}
		for _, kind := range []string{"text/plain", "image/jpeg", "nonsense/", "multipart/mixed; boundary=x"} {
			w.refused("x", "Content-Type", kind).Problem(t, http.StatusUnsupportedMediaType, "unsupported_media_type")
		}
		good, kind := form(t, "file", "a.txt", text)
		other, otherKind := form(t, "fill", "a.txt", text)
		for _, c := range []struct{ body, kind string }{
			{string(other), otherKind}, {string(good), "multipart/form-data"}, {string(good), "multipart/form-data; boundary=other"},
			{string(good[:len(good)-100]), kind}, {"", kind}, {"x", kind},
		} {
			w.refused(c.body, "Content-Type", c.kind).Problem(t, http.StatusBadRequest, "invalid_request")
		}
	})
	suite.Case("a large upload that ends too early is no file", "all S3-02", func(t *testing.T, open contract.Opener) {
		w := begin(t, open)
		large, kind := form(t, "file", "a.bin", bytes.Repeat([]byte("0123456789abcdef"), 1<<17))
		w.Do(t, "POST", "/1.0/compress", large[:len(large)-100], "Content-Type", kind).Problem(t, http.StatusBadRequest, "invalid_request")
	})
	suite.Long("bodies over the limits are 413", "all OWN-5", func(t *testing.T, open contract.Opener) {
		w := begin(t, open)
		const most = 64 << 20
		_, kind := form(t, "file", "", nil)
		_, boundary, _ := strings.Cut(kind, "boundary=")
		head := "--" + boundary + "\r\nContent-Disposition: form-data; name=\"file\"; filename=\"zeros\"\r\n\r\n"
		tail := "\r\n--" + boundary + "--\r\n"
		send := func(size int64) (*contract.Answer, error) {
			body := io.MultiReader(strings.NewReader(head), io.LimitReader(zeros{}, size), strings.NewReader(tail))
			return w.Try(t.Context(), "POST", "/1.0/compress", body, "Content-Type", kind)
		}
		for _, size := range []int64{most + 1, most + 2<<20} {
			a, err := send(size)
			for range 20 { // as in refused, with a body that can be read once
				if err == nil {
					break
				}
				a, err = send(size)
			}
			if err != nil {
				t.Fatal(err)
			}
			a.Problem(t, http.StatusRequestEntityTooLarge, "too_large")
		}
		long, err := json.Marshal(map[string]string{"url": "http://files.example/", "x": strings.Repeat("x", 1<<20)})
		if err != nil {
			t.Fatal(err)
		}
		w.refused(long, "Content-Type", "application/json").Problem(t, http.StatusRequestEntityTooLarge, "too_large")
		a, err := send(most)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := w.completed(w.accepted(a))
		if got := body["input"].(map[string]any)["size"]; got != float64(most) {
			t.Errorf("got size %v, want %d: a file of the largest size is taken", got, most)
		}
	})
	suite.Case("a name is no path, and is found again in the URL", "S3-06 all", func(t *testing.T, open contract.Opener) {
		w := begin(t, open, func(c *app.Config) { c.Workers = 1 })
		for sent, want := range map[string]string{
			"../../etc/passwd": "passwd", `C:\x\dull boy.txt`: "dull boy.txt", "a?b#c%20d;é.txt": "a?b#c%20d;é.txt", "..": "input.txt", "": "input.txt",
			strings.Repeat("x", 400) + ".csv": strings.Repeat("x", 196) + ".csv",
		} {
			body, output := w.completed(w.accepted(w.upload(sent, text)))
			if got := body["input"].(map[string]any)["name"]; got != want {
				t.Errorf("%q: got name %q, want %q", sent, got, want)
			}
			describes(t, body["output"], want+".gz", "archive", "gz", "application/gzip", output)
		}
	})
}

// zeros reads as zeros without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
