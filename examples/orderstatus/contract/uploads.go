package contract

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pollackq/pollack/internal/contract"
)

// video orders one and returns its answer once it should be there.
func (s *seller) video(after time.Duration) (location string) {
	s.t.Helper()
	at := s.order("o-1", object{"want": "video"})
	s.until(after)
	return at
}

// sent wants the order to be completed with the object key of the n-th prepare.
func (s *seller) sent(location string, n int) {
	s.t.Helper()
	v := s.want(location, "completed", "output_type", "files")
	want := []any{object{"object_key": fmt.Sprintf("orders/%d", n), "filename": "final-video.avi", "mime_type": "video/x-msvideo"}}
	if fmt.Sprint(v["files"]) != fmt.Sprint(want) || v["output_type"] != "video" {
		s.t.Errorf("got %v, want files %v", v, want)
	}
}

func init() {
	suite.Case("a video is prepared, PUT, and named by its object_key", "S4-14 S4-21 S4-17 S4-50 S2-09 D-S4-14", func(t *testing.T, open contract.Opener) {
		s := newSeller(t, open, nil)
		at := s.order("o-1", object{"want": "video", "seconds": 10, "size": 5_000_000})
		s.until(9 * time.Second)
		if n := len(s.called("POST")); n > 0 {
			t.Errorf("the platform was called %d times before there was a video", n)
		}
		s.until(11 * time.Second)
		s.sent(at, 0)
		prepares, puts := s.called("POST"), s.called("PUT")
		if len(prepares) != 1 || len(puts) != 1 {
			t.Fatalf("got %d prepares and %d uploads, want one of each", len(prepares), len(puts))
		}
		var body object
		if err := json.Unmarshal(prepares[0].body, &body); err != nil {
			t.Fatal(err)
		}
		want := object{"order_id": "o-1", "filename": "final-video.avi", "mime_type": "video/x-msvideo", "size": float64(len(puts[0].body))}
		if h := prepares[0].header; fmt.Sprint(body) != fmt.Sprint(want) || prepares[0].path != "/prepare" || h.Get("X-Api-Key") != "secret" || h.Get("X-Shop") != "17" {
			t.Errorf("got prepare %s of %v with %v, want %v", prepares[0].path, body, h, want)
		}
		if h := puts[0].header; puts[0].path != "/put/0" || h.Get("Content-Type") != "video/x-msvideo" || h.Get("X-Api-Key") != "" {
			t.Errorf("got upload to %s with %v", puts[0].path, h)
		}
		if n := len(puts[0].body); n < 5_000_000 || n > 5_000_001 {
			t.Errorf("got %d bytes, want 5,000,000", n)
		}
		wantVideo(t, puts[0].body)
	})

	suite.Case("an upload that fails is repeated at the same put_url", "S2-09 D-S4-14", func(t *testing.T, open contract.Opener) {
		s := newSeller(t, open, nil)
		s.put = func(w http.ResponseWriter, r *http.Request, n int) {
			switch n {
			case 0:
				w.WriteHeader(503)
			case 1:
				conn, _, _ := w.(http.Hijacker).Hijack()
				conn.Close()
			case 2:
				<-r.Context().Done()
			case 3:
				w.Header().Set("Retry-After", "30")
				w.WriteHeader(429)
			default:
				w.WriteHeader(200)
			}
		}
		at := s.video(500 * time.Millisecond)
		if v := s.processing(at); v != "99%" {
			t.Errorf("got progress %q of a video that has yet to be sent, want 99%%", v)
		}
		s.until(5 * time.Minute)
		s.sent(at, 0)
		got := make([]time.Duration, 0)
		for _, c := range s.called("PUT") {
			if c.path != "/put/0" {
				t.Errorf("got upload to %s", c.path)
			}
			got = append(got, c.at.Round(time.Second))
		}
		want := []time.Duration{0, time.Second, 3 * time.Second, 67 * time.Second, 97 * time.Second} // pauses of 1, 2, 4 s, and of 30 as asked for; a minute without an answer
		if !slices.Equal(got, want) || len(s.called("POST")) != 1 {
			t.Errorf("got uploads after %v and %d prepares, want %v and one", got, len(s.called("POST")), want)
		}
	})

	suite.Case("another upload is prepared when the put_url is good no more", "S2-09 S4-14 D-S4-14", func(t *testing.T, open contract.Opener) {
		s := newSeller(t, open, nil)
		statuses := []int{403, 404, 409, 410}
		s.put = func(w http.ResponseWriter, r *http.Request, n int) {
			if n%2 == 0 {
				w.WriteHeader(statuses[n/2])
			}
		}
		for i, status := range statuses {
			at := s.order(fmt.Sprint("o-", i), object{"want": "video"})
			time.Sleep(time.Minute)
			s.sent(at, 2*i+1)
			if n := len(s.called("PUT")); n != 2*i+2 {
				t.Errorf("%d: got %d uploads, want 2", status, n-2*i)
			}
		}
	})

	suite.Case("a put_url that has expired meanwhile is not used", "S2-09 S4-14 D-S4-14", func(t *testing.T, open contract.Opener) {
		s := newSeller(t, open, nil)
		s.prepare = func(w http.ResponseWriter, r *http.Request, n int) { prepared(w, n, 2*time.Second) }
		s.put = func(w http.ResponseWriter, r *http.Request, n int) {
			if n < 2 {
				w.WriteHeader(500)
			}
		}
		at := s.video(time.Minute)
		s.sent(at, 1)
		var paths []string
		for _, c := range s.called("PUT") {
			paths = append(paths, c.path)
		}
		if !slices.Equal(paths, []string{"/put/0", "/put/0", "/put/1"}) {
			t.Errorf("got uploads to %v", paths)
		}
	})

	suite.Case("a platform that refuses to prepare fails the order, with what it said", "S2-12 S4-16 D-S4-14", func(t *testing.T, open contract.Opener) {
		s := newSeller(t, open, nil)
		answers := []struct {
			status     int
			body, says string
		}{
			{400, "secret details", "400 Bad Request"},
			{401, "", "401 Unauthorized"},
			{404, "", "404 Not Found"},
			{409, "", "409 Conflict"},
			{302, "", "302 Found"},
			{200, "no JSON", "no JSON object"},
			{200, `{}`, "object_key"},
			{200, `{"object_key":"k"}`, "put_url"},
			{200, `{"object_key":"k","put_url":"http://platform.example/put/0"}`, "put_url"},
			{200, `{"object_key":"k","put_url":"file:///etc/passwd"}`, "put_url"},
			{200, `{"object_key":"","put_url":"https://platform.example/put/0"}`, "object_key"},
			{200, `{"object_key":"` + strings.Repeat("k", 100_000) + `","put_url":"https://platform.example/put/0"}`, "65536"},
		}
		s.prepare = func(w http.ResponseWriter, r *http.Request, n int) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(answers[n].status)
			io.WriteString(w, answers[n].body)
		}
		for i, a := range answers {
			at := s.order(fmt.Sprint("o-", i), object{"want": "video"})
			time.Sleep(500 * time.Millisecond)
			s.failed(at, "The platform did not take the video", "prepare", a.says)
		}
		if n := len(s.called("POST")); n != len(answers) || len(s.called("PUT")) > 0 {
			t.Errorf("got %d prepares and %d uploads", n, len(s.called("PUT")))
		}
	})

	suite.Case("a platform that refuses the file fails the order", "S2-12 S4-16 D-S4-14", func(t *testing.T, open contract.Opener) {
		s := newSeller(t, open, nil)
		s.put = func(w http.ResponseWriter, r *http.Request, n int) { w.WriteHeader(413) }
		s.failed(s.video(time.Second), "The platform did not take the video", "put_url", "413")
	})

	suite.Case("a platform that cannot be reached is tried for an hour", "S2-12 S4-16 D-S4-14", func(t *testing.T, open contract.Opener) {
		s := newSeller(t, open, nil)
		s.prepare = func(w http.ResponseWriter, r *http.Request, n int) { w.WriteHeader(500 + n%5) }
		at := s.video(59 * time.Minute)
		s.processing(at)
		s.until(62 * time.Minute)
		s.failed(at, "The platform did not take the video", "prepare")
		if n := len(s.called("POST")); n < 50 || n > 80 {
			t.Errorf("got %d calls", n)
		}
	})

	suite.Case("an upload that a process left behind is made by the next", "S2-09 S2-12 D-S4-14", func(t *testing.T, open contract.Opener) {
		s := newSeller(t, open, nil)
		s.put = func(w http.ResponseWriter, r *http.Request, n int) {
			if n == 0 {
				<-r.Context().Done()
			}
		}
		at := s.video(10 * time.Second)
		s.stop()
		s.until(20 * time.Second)
		s.open(nil)
		s.until(21 * time.Second)
		s.sent(at, 0)
		if n := len(s.called("POST")); n != 1 {
			t.Errorf("got %d prepares, want the one of before to be used", n)
		}
	})
}
