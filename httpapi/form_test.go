package httpapi_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/jobqueue"
)

func TestAFileOfAForm(t *testing.T) {
	h, _ := newHandler(t, httpapi.Options{})
	routes := h.Routes(map[string]http.HandlerFunc{
		"POST /": h.Func(func(w http.ResponseWriter, r *http.Request, _ *jobqueue.Broker) error {
			f, err := h.FormFile(w, r, "file", 10)
			if err != nil {
				return err
			}
			p, err := io.ReadAll(f)
			if err != nil {
				return err
			}
			return h.WriteJSON(w, r, http.StatusOK, []string{f.Name, f.ContentType, string(p)})
		}),
	})
	const file = "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\nContent-Type: text/plain\r\n\r\n"
	const other = "--B\r\nContent-Disposition: form-data; name=\"other\"\r\n\r\nsomething\r\n"
	for _, c := range []struct {
		what, contentType, body string
		status                  int
		answer                  string
	}{
		{"a file", "multipart/form-data; boundary=B", file + "0123456789\r\n--B--\r\n", 200, `["a.txt","text/plain","0123456789"]`},
		{"among other fields", "multipart/form-data; boundary=B", other + file + "x\r\n" + other + "--B--\r\n", 200, `["a.txt","text/plain","x"]`},
		{"an empty file", "multipart/form-data; boundary=B", file + "\r\n--B--\r\n", 200, `["a.txt","text/plain",""]`},
		{"one byte too many", "multipart/form-data; boundary=B", file + "0123456789x\r\n--B--\r\n", 413, "too_large"},
		{"a form that is too large", "multipart/form-data; boundary=B", strings.Repeat(other, 20000) + file + "x\r\n--B--\r\n", 413, "too_large"},
		{"no boundary", "multipart/form-data", file + "x\r\n--B--\r\n", 400, "boundary"},
		{"no form", "text/plain", "x", 400, "boundary"},
		{"no file", "multipart/form-data; boundary=B", other + "--B--\r\n", 400, "no field"},
		{"two files", "multipart/form-data; boundary=B", file + "x\r\n" + file + "y\r\n--B--\r\n", 400, "several"},
		{"a file without its end", "multipart/form-data; boundary=B", file + "x", 400, "ends too early"},
		{"a form without its end", "multipart/form-data; boundary=B", file + "x\r\n" + other, 400, "ends too early"},
		{"nothing", "multipart/form-data; boundary=B", "", 400, "ends too early"},
	} {
		r := httptest.NewRequest("POST", "/", strings.NewReader(c.body))
		r.Header.Set("Content-Type", c.contentType)
		w := httptest.NewRecorder()
		routes.ServeHTTP(w, r)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.answer) {
			t.Errorf("%s: got %d %s, want %d with %s", c.what, w.Code, w.Body, c.status, c.answer)
		}
	}
	r := httptest.NewRequest("POST", "/", io.MultiReader(strings.NewReader(file+"x"), &cut{}))
	r.Header.Set("Content-Type", "multipart/form-data; boundary=B")
	w := httptest.NewRecorder()
	routes.ServeHTTP(w, r)
	if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "read to its end") {
		t.Errorf("a body that is cut off: got %d %s", w.Code, w.Body)
	}
}
