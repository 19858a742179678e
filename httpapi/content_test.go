package httpapi_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/pollackq/pollack/jobqueue"
)

func TestAPayloadIsDownloaded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		for _, size := range []int{0, 1, 1000, 100_000, 1_000_000} { // inline, in one value, in chunks
			payload := make([]byte, size)
			for i := range payload {
				payload[i] = byte(rand.Uint32())
			}
			path := "/v1/jobs/" + w.enqueue("images", jobqueue.NewJob{Payload: payload, ContentType: "image/jpeg", Name: "photo.jpg"}).ID.String()
			a := w.do("GET", path+"/payload", "").want(200).wantHeader("Content-Type", "image/jpeg").wantHeader("Content-Length", fmt.Sprint(size))
			if a.body != string(payload) {
				t.Errorf("%d bytes: got others", size)
			}
			a.wantHeader("Content-Disposition", "attachment; filename=photo.jpg").wantHeader("X-Content-Type-Options", "nosniff")
			a.wantHeader("Content-Security-Policy", "default-src 'none'; sandbox").wantHeader("Cache-Control", "private, no-cache")
			tag := a.header.Get("ETag")
			if a := w.do("HEAD", path+"/payload", "").want(200).wantHeader("Content-Length", fmt.Sprint(size)).wantHeader("ETag", tag); a.body != "" {
				t.Errorf("HEAD has a body")
			}
			w.do("GET", path+"/payload", "", "If-None-Match: "+tag).want(304)
			for _, condition := range []string{`If-Match: "x"`, "If-Unmodified-Since: Fri, 31 Dec 1999 00:00:00 GMT"} {
				a := w.do("GET", path+"/payload", "", condition).wantProblem(412, "precondition_failed").wantHeader("Cache-Control", "no-store")
				for _, name := range []string{"ETag", "Last-Modified", "Accept-Ranges", "Content-Disposition", "Content-Security-Policy"} {
					a.wantHeader(name, "")
				}
			}
			w.do("GET", path+"/payload", "", "If-Match: "+tag).want(200)
			if a := w.do("HEAD", path+"/payload", "", `If-Match: "x"`).want(412); a.body != "" || a.header.Get("ETag") != "" {
				t.Errorf("HEAD: got %v %s", a.header, a.body)
			}
			if size == 0 {
				continue // there is no range of nothing
			}
			w.do("GET", path+"/payload", "", "Range: bytes=2000000-").wantProblem(416, "range_not_satisfiable").wantHeader("Content-Range", fmt.Sprintf("bytes */%d", size)).
				wantHeader("Content-Disposition", "").wantHeader("ETag", "")
			if size < 1000 {
				continue
			}
			if a := w.do("GET", path+"/payload", "", "Range: bytes=10-19").want(206); a.body != string(payload[10:20]) {
				t.Errorf("Range: got other bytes")
			}
			if a := w.do("GET", path+"/payload", "", "Range: bytes=-7", "If-Range: "+tag).want(206); a.body != string(payload[size-7:]) {
				t.Errorf("Range from the end: got other bytes")
			}
			d := w.receive("images")
			for d.ID.String() != path[len("/v1/jobs/"):] {
				d = w.receive("images")
			}
			w.do("GET", path+"/payload", "").want(200)
			if err := d.Ack(t.Context()); err != nil {
				t.Fatal(err)
			}
			w.do("GET", path+"/payload", "").wantProblem(410, "payload_gone")
		}
	})
}

func TestAResultIsRefusedByItsConditions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		path := "/v1/jobs/" + w.enqueue("mail", jobqueue.NewJob{}).ID.String()
		if err := w.receive("mail").Complete(t.Context(), jobqueue.NewResult{Data: []byte("done"), ContentType: "text/plain"}); err != nil {
			t.Fatal(err)
		}
		for _, condition := range []string{`If-Match: "x"`, "If-Unmodified-Since: Fri, 31 Dec 1999 00:00:00 GMT"} {
			w.do("GET", path+"/result", "", condition).wantProblem(412, "precondition_failed").wantHeader("ETag", "").wantHeader("Last-Modified", "")
		}
		w.do("GET", path+"/result", "", "If-Unmodified-Since: Sat, 01 Jan 2000 00:00:00 GMT").want(200)
	})
}

func TestADownloadHasABrowserSaveItAndRunNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		for _, c := range []struct{ name, kind, wantName, wantKind string }{
			{"../../etc/passwd", "text/html", ".._.._etc_passwd", "text/html"},
			{`a"b\c;d.txt`, "text/plain", `a"b_c;d.txt`, "text/plain"},
			{"bücher €.pdf", "application/pdf", "bücher €.pdf", "application/pdf"},
			{"", "no type", "", "application/octet-stream"},
			{"..", "", "", "application/octet-stream"},
		} {
			id := w.enqueue("images", jobqueue.NewJob{Payload: []byte("<script>"), ContentType: c.kind, Name: c.name}).ID
			a := w.do("GET", "/v1/jobs/"+id.String()+"/payload", "").want(200).wantHeader("Content-Type", c.wantKind)
			disposition, parameters, err := mime.ParseMediaType(a.header.Get("Content-Disposition"))
			if disposition != "attachment" || parameters["filename"] != c.wantName || err != nil {
				t.Errorf("%q: got %q", c.name, a.header.Get("Content-Disposition"))
			}
		}
	})
}

// pattern is a payload that nobody holds.
type pattern struct{ n, size int64 }

func (p *pattern) Read(b []byte) (int, error) {
	if p.n >= p.size {
		return 0, io.EOF
	}
	n := int(min(int64(len(b)), p.size-p.n))
	for i := range n {
		b[i] = byte((p.n + int64(i)) % 251)
	}
	p.n += int64(n)
	return n, nil
}

// heap returns how much memory is in use.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A payload of 64 MiB goes in and out. The store of the test holds it in memory, so what the way costs is what is in use beside that.
func TestALargePayloadIsNeverHeldWhole(t *testing.T) {
	if testing.Short() {
		t.Skip("64 MiB")
	}
	const size, spare = 64 << 20, 8 << 20
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		empty := heap()
		var worst atomic.Int64 // the transport reads once more while the answer comes
		look := func(n, stored int64) {
			if n%(16<<20) < 64<<10 {
				worst.Store(max(worst.Load(), heap()-empty-stored))
			}
		}
		body := &pattern{size: size}
		req, _ := http.NewRequestWithContext(context.Background(), "POST", "http://test/v1/queues/big/jobs", readFunc(func(p []byte) (int, error) {
			n, err := body.Read(p[:min(len(p), 32<<10)])
			look(body.n, body.n)
			return n, err
		}))
		req.ContentLength = size
		req.Header.Set("Authorization", "Bearer alice-token")
		resp, err := w.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 202 {
			t.Fatalf("got %s, want 202", resp.Status)
		}
		t.Logf("in: %d KiB beside the payload", worst.Load()>>10)

		path := "/v1/jobs/" + strings.TrimPrefix(resp.Header.Get("Location"), "/v1/jobs/") + "/payload"
		req, _ = http.NewRequest("GET", "http://test"+path, nil)
		req.Header.Set("Authorization", "Bearer alice-token")
		if resp, err = w.client.Do(req); err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		want := &pattern{size: size}
		got, expected := make([]byte, 32<<10), make([]byte, 32<<10)
		for {
			n, err := io.ReadFull(resp.Body, got)
			io.ReadFull(want, expected[:n])
			if !bytes.Equal(got[:n], expected[:n]) {
				t.Fatalf("before byte %d: got other bytes", want.n)
			}
			if err != nil {
				break
			}
			look(want.n, size)
		}
		if want.n != size {
			t.Errorf("got %d bytes, want %d", want.n, size)
		}
		t.Logf("in and out: %d KiB beside the payload", worst.Load()>>10)
		if worst.Load() > spare {
			t.Errorf("%d bytes were in use beside the payload, want less than %d", worst.Load(), spare)
		}
		w.do("GET", path, "", "Range: bytes=-1").want(206)
	})
}

type readFunc func(p []byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }
