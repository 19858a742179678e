package contract

import (
	"bytes"
	"strconv"
	"strings"
	"testing"

	"github.com/pollackq/pollack/internal/contract"
)

func init() {
	suite.Case("a download has the bytes, and acknowledges nothing", "S1-30 S1-31 D-S1-31", func(t *testing.T, open contract.Opener) {
		w := newWorld(t, open)
		session := w.open()
		for _, size := range []int{1, 245_000, 3<<20 + 1} { // some kept with the job, some apart from it
			image := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
			add := w.alice.Do(t, "POST", "/v1/sessions/"+session+"/images", image, "Content-Type", "image/png").Want(t, 201)
			id := text(t, add, "image_id")
			w.download(id).Want(t, 200) // before it is delivered
			polled := w.poll(session, "?timeout=0")
			wantImage(t, polled, id)
			if got := polled.JSON(t)["size_bytes"]; got != float64(size) {
				t.Errorf("got size_bytes %v, want %d", got, size)
			}
			for range 3 {
				a := w.download(id).Want(t, 200)
				if !bytes.Equal(a.Body, image) || a.Header.Get("Content-Type") != "image/png" || a.Header.Get("Content-Length") != strconv.Itoa(size) {
					t.Errorf("got %d bytes, %v; want %d", len(a.Body), a.Header, size)
				}
			}
			a := w.alice.Do(t, "HEAD", "/v1/images/"+id+"/download", nil).Want(t, 200)
			if len(a.Body) > 0 || a.Header.Get("Content-Length") != strconv.Itoa(size) || a.Header.Get("Content-Type") != "image/png" {
				t.Errorf("HEAD: got %v", a.Header)
			}
			if size > 1000 {
				a := w.download(id, "Range", "bytes=900-903").Want(t, 206)
				if !bytes.Equal(a.Body, image[900:904]) || a.Header.Get("Content-Range") != "bytes 900-903/"+strconv.Itoa(size) {
					t.Errorf("Range: got %q, %v", a.Body, a.Header)
				}
			}
			w.download(id, "Range", "bytes="+strconv.Itoa(size)+"-").Problem(t, 416, "range_not_satisfiable")
			w.ack(id).Want(t, 204) // so none of that has
			w.download(id).Problem(t, 410, "payload_gone")
			w.alice.Do(t, "HEAD", "/v1/images/"+id+"/download", nil).Want(t, 410)
		}
	})

	suite.Case("an image's id is enough, and its own", "S1-05", func(t *testing.T, open contract.Opener) {
		w := newWorld(t, open)
		seen := make(map[string]bool)
		for range 3 {
			session := w.open()
			if id, ok := strings.CutPrefix(session, "sess_"); !ok || len(id) != 26 || seen[session] {
				t.Errorf("got session id %q", session)
			}
			seen[session] = true
			for i := range 2 {
				id := w.addBytes(session, []byte(session))
				if ulid, ok := strings.CutPrefix(id, "img_"); !ok || len(ulid) != 26 || seen[id] {
					t.Errorf("got image id %q", id)
				}
				seen[id] = true
				a := w.poll(session, "?timeout=0")
				wantImage(t, a, id)
				if got := a.JSON(t)["image_index"]; got != float64(i) {
					t.Errorf("got index %v, want %d: each session counts its own", got, i)
				}
				if got := w.download(id).Want(t, 200).Body; string(got) != session {
					t.Errorf("downloaded %q, want %q", got, session)
				}
				w.ack(id).Want(t, 204)
			}
		}
	})
}
