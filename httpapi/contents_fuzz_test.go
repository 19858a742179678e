package httpapi_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/internal/choices"
	"github.com/pollackq/pollack/jobqueue"
)

// FuzzDownload looks for a Range or a condition on which a payload is answered with other bytes than those it names, or without the headers that
// keep a browser from running them (I2; threat: Stored XSS on download).
func FuzzDownload(f *testing.F) {
	payload := []byte("0123456789abcdefghij")
	for _, s := range []string{
		"", "bytes=0-0", "bytes=5-", "bytes=-3", "bytes=0-99999999999999999999", "bytes=19-19", "bytes=20-", "bytes=3-1", "bytes=0-0,5-6", "bytes=0-19,0-19,0-19", "bytes=", "bytes=-0",
		"bytes= 1 - 2 ", "items=0-1", "bytes=-9223372036854775809", "bytes=+1-2", "bytes=0x1-2",
	} {
		f.Add(s, "", "", "name.txt", "text/plain", payload)
	}
	f.Add("bytes=1-2", "If-Range", `"p-ID"`, "../x", "text/html", payload)
	f.Add("bytes=1-2", "If-Range", `W/"p-ID"`, "é\"", "text/html; charset=utf-8", payload)
	f.Add("", "If-None-Match", `"a", "p-ID"`, "", "x", payload)
	f.Add("", "If-Match", `*`, "n", "image/svg+xml", []byte{})
	f.Add("", "If-Modified-Since", "Fri, 31 Dec 9999 23:59:59 GMT", "n", "a/b;c", payload)
	f.Fuzz(func(t *testing.T, ranges, condition, value, name, kind string, payload []byte) {
		h, b := newHandler(t, httpapi.Options{})
		j, err := b.Queue("q").Enqueue(t.Context(), jobqueue.NewJob{Payload: payload, Name: name, ContentType: kind})
		if err != nil {
			return // refused
		}
		r := httptest.NewRequest("GET", "/v1/jobs/"+j.ID.String()+"/payload", nil)
		if ranges != "" {
			r.Header.Set("Range", ranges)
		}
		if strings.HasPrefix(condition, "If-") {
			r.Header.Set(condition, strings.ReplaceAll(value, "ID", j.ID.String()))
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		wantSound(t, w)
		header, got := w.Header(), w.Body.Bytes()
		if w.Code < 300 {
			disposition, _, _ := mime.ParseMediaType(header.Get("Content-Disposition"))
			if disposition != "attachment" || header.Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(header.Get("Content-Security-Policy"), "sandbox") {
				t.Fatalf("got the headers %v", header)
			}
		}
		switch w.Code {
		case 200:
			if !bytes.Equal(got, payload) {
				t.Fatalf("got %q, want %q", got, payload)
			}
		case 206:
			wantRange(t, header, got, payload)
		case 304, 412, 416:
			if ranges == "" && !strings.HasPrefix(condition, "If-") {
				t.Fatalf("got %d without a reason", w.Code)
			}
		default:
			t.Fatalf("got %d %s", w.Code, got)
		}
	})
}

// wantRange demands that a part, or several, say rightly where they are from.
func wantRange(t *testing.T, header http.Header, got, whole []byte) {
	t.Helper()
	kind, params, _ := mime.ParseMediaType(header.Get("Content-Type"))
	if kind != "multipart/byteranges" {
		var from, to, size int
		if last := fmt.Sprintf("bytes %d-%d/%d", len(whole), len(whole)-1, len(whole)); len(got) == 0 && header.Get("Content-Range") == last {
			return // what net/http makes of the last 0 bytes, "bytes=-0"
		}
		if n, err := fmt.Sscanf(header.Get("Content-Range"), "bytes %d-%d/%d", &from, &to, &size); n != 3 || err != nil || size != len(whole) || from < 0 || to >= size || from > to ||
			!bytes.Equal(got, whole[from:to+1]) {
			t.Fatalf("got %q as %q", got, header.Get("Content-Range"))
		}
		return
	}
	for parts := multipart.NewReader(bytes.NewReader(got), params["boundary"]); ; {
		p, err := parts.NextRawPart()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(p)
		if err != nil {
			t.Fatal(err)
		}
		wantRange(t, http.Header{"Content-Range": p.Header["Content-Range"]}, text, whole)
	}
}

// FuzzForm looks for a form of which a file is taken that net/http does not find in it, or not as it is, or that is longer than it may be (threat:
// Memory blow-up).
func FuzzForm(f *testing.F) {
	const file = "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\nContent-Type: text/plain\r\n\r\n"
	for _, body := range []string{
		file + "0123456789\r\n--B--\r\n", file + "\r\n--B--", file + "x", "--B\r\nContent-Disposition: form-data; name=\"other\"\r\n\r\nx\r\n" + file + "y\r\n--B--\r\n",
		file + "x\r\n" + file + "y\r\n--B--\r\n", "--B\nContent-Disposition: form-data; name=file; filename=\"../../x\"\n\nx\n--B--\n", "--B\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nv\r\n--B--\r\n",
		"preamble\r\n" + file + "--B\r\n\r\n--B--\r\nafter", "--B--", "", file + strings.Repeat("x", 40) + "\r\n--B--\r\n",
		"--B\r\nContent-Disposition: form-data; name=\"file\"; filename*=UTF-8''%e2%82%ac\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=41\r\n--B--\r\n",
	} {
		f.Add("multipart/form-data; boundary=B", body)
	}
	f.Add("multipart/mixed; boundary=B", file+"x\r\n--B--\r\n")
	f.Add("multipart/form-data; boundary=\"\"", file)
	const limit = 32
	f.Fuzz(func(t *testing.T, kind, body string) {
		h, _ := newHandler(t, httpapi.Options{})
		request := func() *http.Request {
			r := httptest.NewRequest("POST", "/", strings.NewReader(body))
			r.Header.Set("Content-Type", kind)
			return r
		}
		var p *httpapi.Problem
		file, err := h.FormFile(httptest.NewRecorder(), request(), "file", limit)
		var text []byte
		if err == nil {
			text, err = io.ReadAll(file)
		}
		if len(text) > limit {
			t.Fatalf("got %d bytes", len(text))
		}
		if err != nil {
			if !errors.As(err, &p) || p.Status >= 500 || p.Status < 400 || p.Detail == "" {
				t.Fatalf("got %v", err)
			}
			return
		}
		_, params, _ := mime.ParseMediaType(kind)
		form, err := multipart.NewReader(strings.NewReader(body), params["boundary"]).ReadForm(1 << 20)
		if err != nil {
			t.Fatalf("got %q, and ReadForm says %v", text, err)
		}
		defer form.RemoveAll()
		all := slices.Clone(form.Value["file"])
		for _, v := range form.File["file"] {
			opened, err := v.Open()
			if err != nil {
				t.Fatal(err)
			}
			p, err := io.ReadAll(opened)
			if opened.Close(); err != nil {
				t.Fatal(err)
			}
			all = append(all, string(p))
		}
		if len(all) != 1 || all[0] != string(text) {
			t.Fatalf("got %q, and ReadForm %q", text, all)
		}
		if strings.ContainsAny(file.Name, "/") {
			t.Fatalf("got the name %q", file.Name)
		}
	})
}

// FuzzSigned looks for parameters that a Signer takes though it has not returned them for that very thing and time, or that it refuses though it
// has (threat: forged, expired and replayed upload URLs).
func FuzzSigned(f *testing.F) {
	signer, err := httpapi.NewSigner([]byte("a key of sixteen"))
	if err != nil {
		f.Fatal(err)
	}
	far := time.Unix(1<<40, 0)
	good := signer.Sign("GET /a", far).Encode()
	for _, s := range []string{good, strings.ToUpper(good), good + "&expires=1", good + "&x=y", strings.Replace(good, "=", "=0", 1), strings.Replace(good, "signature", "Signature", 1), "", "expires=1", "%zz"} {
		f.Add("GET /a", "GET /a", int64(1<<40), s)
		f.Add("GET /a", "GET /b", int64(1), s)
	}
	f.Add("1\nGET /a", "GET /a", int64(1<<40), good)
	f.Fuzz(func(t *testing.T, what, other string, until int64, query string) {
		at := time.Unix(until, 0)
		q := signer.Sign(what, at)
		want := "" // the code of the refusal
		if at.Unix() <= time.Now().Unix() {
			want = "url_expired"
		}
		if got := codeOf(signer.Check(what, q)); got != want {
			t.Fatalf("what was signed until %v: got %q, want %q", at, got, want)
		}
		if other != what {
			if got := codeOf(signer.Check(other, q)); got != "bad_signature" {
				t.Fatalf("%q, signed as %q: got %q", other, what, got)
			}
		}
		values, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		got := codeOf(signer.Check(what, values))
		expires, err := strconv.ParseInt(values.Get("expires"), 10, 64)
		canonical := err == nil && slices.Equal(values["expires"], []string{strconv.FormatInt(expires, 10)})
		if genuine := canonical && slices.Equal(values["signature"], signer.Sign(what, time.Unix(expires, 0))["signature"]); genuine != (got != "bad_signature") {
			t.Fatalf("%q for %q: got %q, genuine: %v", query, what, got, genuine)
		}
	})
}

func codeOf(err error) string {
	var p *httpapi.Problem
	if errors.As(err, &p) {
		return p.Code
	}
	return ""
}

// FuzzUploadURL looks for a request that writes an upload and is not the one that was signed: another method, another name in the path, a time
// that was not given, or a body that is not as it was prepared (threats: forged upload URLs, Path traversal).
func FuzzUploadURL(f *testing.F) {
	const good = "/v1/uploads/KEY?SIGNED"
	for _, s := range []string{
		good, "/v1/uploads/KEY/?SIGNED", "/v1/uploads/x/KEY?SIGNED", "/v1/uploads/ID/b.txt?SIGNED", "/v1/uploads/ID/a%2etxt?SIGNED", "/v1/uploads/KEY?SIGNED&upload=ID", "/v1/uploads/KEY?upload=ID",
		"/v1/uploads/KEY?upload=ID&expires=EXPIRES&signature=SIGNATURE", "/v1/uploads/KEY?upload=ID&expires=9EXPIRES&signature=SIGNATURE", "/v1//uploads/KEY?SIGNED", "/v1/uploads/../uploads/KEY?SIGNED",
	} {
		f.Add("PUT", s, "text/plain", "abc")
	}
	f.Add("POST", good, "text/plain", "abc")
	f.Add("PUT", good, "text/html", "abc")
	f.Add("PUT", good, "", "abcd")
	f.Add("PUT", good, "TEXT/PLAIN ;", "ab")
	f.Fuzz(func(t *testing.T, method, target, kind, body string) {
		h, b := newHandler(t, httpapi.Options{})
		u, err := b.Queue("uploads").Prepare(t.Context(), jobqueue.NewUpload{Name: "a.txt", ContentType: "text/plain", Size: 3})
		if err != nil {
			t.Fatal(err)
		}
		_, signed, _ := strings.Cut(h.UploadURL(u, "/"), "?")
		want, err := url.ParseQuery(signed)
		if err != nil {
			t.Fatal(err)
		}
		target = strings.NewReplacer("KEY", u.ID.String()+"/a.txt", "ID", u.ID.String(), "SIGNED", signed, "EXPIRES", want.Get("expires"), "SIGNATURE", want.Get("signature")).Replace(target)
		at, err := url.ParseRequestURI(target)
		if err != nil {
			return
		}
		r := httptest.NewRequest("GET", "/", strings.NewReader(body))
		r.Method, r.URL = method, at
		if kind != "" {
			r.Header.Set("Content-Type", kind)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		wantSound(t, w)
		after, err := b.Upload(t.Context(), u.ID)
		if err != nil {
			t.Fatal(err)
		}
		q := at.Query()
		same := func(name string) bool { return slices.Equal(q[name], want[name]) }
		media, _, _ := mime.ParseMediaType(kind)
		genuine := method == "PUT" && at.Path == "/v1/uploads/"+u.ID.String()+"/a.txt" && same("upload") && same("expires") && same("signature") && body != "" && len(body) == 3 &&
			(kind == "" || media == "text/plain")
		if after.Written != (w.Code == http.StatusNoContent) || after.Written && !genuine {
			t.Fatalf("%s %s, %q: got %d %s, written: %v, genuine: %v", method, target, body, w.Code, w.Body, after.Written, genuine)
		}
	})
}

// FuzzJobJSON looks for a job that is not written as encoding/json writes it.
func FuzzJobJSON(f *testing.F) {
	for seed := range uint64(8) {
		r := rand.NewChaCha8([32]byte{byte(seed)})
		p := make([]byte, 100+200*seed)
		r.Read(p)
		f.Add(p, "a<&>\u2028é\xff", `{"a" : "<&>"}`)
	}
	f.Fuzz(func(t *testing.T, in []byte, text, result string) {
		j := randomJob(choices.Rand(in))
		j.Name, j.ProgressMessage = text, text
		if j.Result != nil {
			j.Result.Data = []byte(result)
		}
		want, failed := json.Marshal(j)
		got, err := httpapi.AppendJob([]byte("before"), j, "")
		if (err != nil) != (failed != nil) || err == nil && string(got) != "before"+string(want) {
			t.Fatalf("got %s, %v\nwant %s, %v", got, err, want, failed)
		}
	})
}
