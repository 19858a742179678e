package contract

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/internal/contract"
)

const (
	maxImage = 64 << 20
	gif      = "GIF89a and more"
	png      = "\x89PNG\x0D\x0A\x1A\x0A and more"
	jpeg     = "\xff\xd8\xff\xe0 and more"
	formType = "multipart/form-data; boundary=BOUNDARY"
)

// field is one field of a form.
func field(header, content string) string {
	return "--BOUNDARY\r\nContent-Disposition: form-data; " + header + "\r\n\r\n" + content + "\r\n"
}

const formEnd = "--BOUNDARY--\r\n"

// wantAdded fails the test unless what was added last is delivered so.
func (w *world) wantAdded(session string, a *contract.Answer, index int, name, mimeType, content string) {
	w.t.Helper()
	if got := a.Want(w.t, http.StatusCreated).JSON(w.t); got["image_index"] != float64(index) || len(got) != 2 {
		w.t.Errorf("got %s, want index %d", a.Body, index)
	}
	id := text(w.t, a, "image_id")
	polled := w.poll(session, "?timeout=0")
	wantImage(w.t, polled, id)
	if got := polled.JSON(w.t); got["filename"] != name || got["mime_type"] != mimeType || got["size_bytes"] != float64(len(content)) {
		w.t.Errorf("got %s, want %s, %s, %d bytes", polled.Body, name, mimeType, len(content))
	}
	if d := w.download(id).Want(w.t, 200); string(d.Body) != content || d.Header.Get("Content-Type") != mimeType {
		w.t.Errorf("downloaded %q, %s; want %q, %s", d.Body, d.Header.Get("Content-Type"), content, mimeType)
	}
	w.ack(id).Want(w.t, 204)
}

// wantNothing fails the test unless the session is as if nothing had been added.
func (w *world) wantNothing(session string) {
	w.t.Helper()
	w.poll(session, "?timeout=0").Want(w.t, 204)
	a := w.alice.Do(w.t, "POST", "/v1/sessions/"+session+"/images", gif)
	w.wantAdded(session, a, 0, "image", "image/gif", gif)
}

func init() {
	suite.Case("an image is the body, or a field of a form", "I-add I-type I-name", func(t *testing.T, open contract.Opener) {
		w := newWorld(t, open)
		session, index := w.open(), 0
		big := gif + strings.Repeat("0123456789abcdef", 40_000)
		for _, c := range []struct{ query, contentType, body, name, mimeType, content string }{
			{"?filename=photo.jpg", "image/jpeg", jpeg, "photo.jpg", "image/jpeg", jpeg},
			{"", "image/jpeg", gif, "image", "image/jpeg", gif}, // what is said counts
			{"", "Image/PNG", png, "image", "image/png", png},
			{"", "", gif, "image", "image/gif", gif},
			{"", "application/x-www-form-urlencoded", png, "image", "image/png", png},
			{"?filename=", "", "x", "image", "text/plain; charset=utf-8", "x"},
			{"?filename=big", "", big, "big", "image/gif", big},
			{"?filename=" + url.QueryEscape(`a/b/../photo 1.jpg`), "", jpeg, "photo 1.jpg", "image/jpeg", jpeg},
			{"?filename=" + url.QueryEscape(`C:\photos\föto.jpg`), "", jpeg, "föto.jpg", "image/jpeg", jpeg},
			{"?filename=..", "", jpeg, "image", "image/jpeg", jpeg},
			{"?filename=a%2F", "", jpeg, "a", "image/jpeg", jpeg},
			{"", formType, field(`name="file"; filename="photo.jpg"`+"\r\nContent-Type: image/webp", jpeg) + formEnd, "photo.jpg", "image/webp", jpeg},
			{"", formType, field(`name="file"; filename="photo.jpg"`+"\r\nContent-Type: application/octet-stream", jpeg) + formEnd, "photo.jpg", "image/jpeg", jpeg},
			{"", formType, field(`name="a"`, "1") + field(`name="file"`, gif) + field(`name="b"`, "2") + formEnd, "image", "image/gif", gif},
			{"", formType, field(`name="file"; filename="../../etc/passwd"`, big) + formEnd, "passwd", "image/gif", big},
			{"?filename=other.gif", formType, field(`name="file"; filename="photo.jpg"`, gif) + formEnd, "other.gif", "image/gif", gif},
		} {
			var header []string
			if c.contentType != "" {
				header = []string{"Content-Type", c.contentType}
			}
			a := w.alice.Do(t, "POST", "/v1/sessions/"+session+"/images"+c.query, c.body, header...)
			w.wantAdded(session, a, index, c.name, c.mimeType, c.content)
			index++
		}
		refused := w.open()
		for _, c := range []struct{ query, contentType, body string }{
			{"?filename=a&filename=b", "", gif}, {"?filename=%zz", "", gif}, {"?filename=%FF", "", gif}, {"?filename=a%0Ab", "", gif},
			{"?filename=" + strings.Repeat("x", 300), "", gif}, {"", "nonsense", gif}, {"", "image/", gif}, {"", "image/x; charset", gif},
			{"", "image/" + strings.Repeat("x", 300), gif}, {"", "multipart/form-data", gif}, {"", formType, gif}, {"", formType, ""}, {"", formType, formEnd},
			{"", formType, field(`name="other"`, gif) + formEnd}, {"", formType, field(`name="file"`, gif)}, {"", formType, field(`name="file"`, big)},
			{"", formType, field(`name="file"`, gif) + field(`name="file"`, png) + formEnd}, {"", formType, field(`name="file"`, gif) + "--BOUNDARY\r\nCont"},
		} {
			a := w.alice.Do(t, "POST", "/v1/sessions/"+refused+"/images"+c.query, c.body, "Content-Type", c.contentType)
			a.Problem(t, 400, "invalid_request")
		}
		w.wantNothing(refused)
	})

	suite.Case("an empty image is none", "I-bounds", func(t *testing.T, open contract.Opener) {
		w := newWorld(t, open)
		session := w.open()
		images := "/v1/sessions/" + session + "/images"
		w.alice.Do(t, "POST", images, nil).Problem(t, 400, "invalid_request")
		w.alice.Do(t, "POST", images, io.MultiReader()).Problem(t, 400, "invalid_request")
		w.alice.Do(t, "POST", images, nil, "Content-Type", "image/jpeg").Problem(t, 400, "invalid_request")
		w.alice.Do(t, "POST", images, field(`name="file"; filename="x"`, "")+formEnd, "Content-Type", formType).Problem(t, 400, "invalid_request")
		w.wantNothing(session)
	})

	suite.Case("an image may have 64 MiB and not a byte more", "I-bounds D-all", func(t *testing.T, open contract.Opener) {
		w := newWorld(t, open)
		full, over := w.open(), w.open()
		image := func(size int64) io.Reader { return io.LimitReader(zeros{}, size) }
		a := w.alice.Do(t, "POST", "/v1/sessions/"+full+"/images", image(maxImage), "Content-Type", "image/x")
		id := text(t, a.Want(t, 201), "image_id")
		if got := len(w.download(id).Want(t, 200).Body); got != maxImage {
			t.Errorf("downloaded %d bytes, want %d", got, maxImage)
		}
		images := "/v1/sessions/" + over + "/images"
		w.alice.Do(t, "POST", images, image(maxImage+1)).Problem(t, 413, "too_large") // chunked: it is found out at the end
		for _, name := range []string{"file", "other"} {                              // nor may all that stands beside it in a form be as large
			begin := "--BOUNDARY\r\nContent-Disposition: form-data; name=" + name + "\r\n\r\n"
			form := io.MultiReader(strings.NewReader(begin), image(maxImage+2<<20), strings.NewReader("\r\n"+field(`name="file"`, gif)+formEnd))
			w.alice.Do(t, "POST", images, form, "Content-Type", formType).Problem(t, 413, "too_large")
		}
		c := w.dial()
		defer c.Close()
		fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer aptr_alice\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", images, maxImage+1)
		if got := status(t, c); got != 413 { // it is known beforehand
			t.Errorf("announced: got %d, want 413", got)
		}
		w.wantNothing(over)
	})

	suite.Case("an image that is cut is not added", "I-bounds", func(t *testing.T, open contract.Opener) {
		w := newWorld(t, open)
		session := w.open()
		for _, form := range []bool{false, true} {
			for _, size := range []int{1, 100, 100_000, 700_000, 2_000_000} {
				for _, chunked := range []bool{false, true} {
					w.cut(session, size, form, chunked)
				}
			}
		}
		time.Sleep(time.Minute)
		w.wantNothing(session)
	})

	suite.Case("an image may come slowly but not stall", "I-bounds", func(t *testing.T, open contract.Opener) {
		w := newWorld(t, open)
		session := w.open()
		c := w.dial()
		defer c.Close()
		fmt.Fprintf(c, "POST /v1/sessions/%s/images HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer aptr_alice\r\nContent-Length: 1000\r\n\r\nGIF89a", session)
		began := time.Now()
		if got := status(t, c); got != 408 || time.Since(began) > time.Minute {
			t.Errorf("stalled: got %d after %v, want 408 within a minute", got, time.Since(began))
		}
		slow := &slowly{r: strings.NewReader(gif + strings.Repeat("x", 4<<20))}
		began = time.Now()
		a := w.alice.Do(t, "POST", "/v1/sessions/"+session+"/images", slow).Want(t, 201)
		if got := a.JSON(t)["image_index"]; got != 0.0 || time.Since(began) < 2*time.Minute {
			t.Errorf("got index %v after %v", got, time.Since(began))
		}
	})

	suite.Case("a closed session takes no more", "I-close", func(t *testing.T, open contract.Opener) {
		w := newWorld(t, open)
		session := w.open()
		image := w.add(session)
		w.close(session)
		w.close(session)
		add := func() *contract.Answer { return w.alice.Do(t, "POST", "/v1/sessions/"+session+"/images", "late") }
		add().Problem(t, 409, "queue_closed")
		wantImage(t, w.poll(session, "?timeout=0"), image)
		w.ack(image).Want(t, 204)
		add().Problem(t, 409, "queue_closed") // done, too
		w.close(session)
		w.poll(session, "?timeout=0").Want(t, 410)

		// One that is closed while the image comes takes it no more either.
		session = w.open()
		body, more := io.Pipe()
		answer := make(chan *contract.Answer, 1)
		go func() {
			a, err := w.alice.Try(t.Context(), "POST", "/v1/sessions/"+session+"/images", body)
			if err != nil {
				t.Error(err)
			}
			answer <- a
		}()
		more.Write([]byte("begun"))
		synctest.Wait()
		w.close(session)
		w.poll(session, "?timeout=0").Want(t, 410)
		more.Close()
		(<-answer).Problem(t, 409, "queue_closed")
	})
}

// dial connects to the server.
func (w *world) dial() net.Conn {
	w.t.Helper()
	c, err := w.net.Dial(w.t.Context(), host+":80")
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// status reads an answer that is a refusal.
func status(t *testing.T, c net.Conn) int {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// cut sends so much of an image of twice the size, and then no more.
func (w *world) cut(session string, size int, form, chunked bool) {
	w.t.Helper()
	var head, body strings.Builder
	fmt.Fprintf(&head, "POST /v1/sessions/%s/images HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer aptr_alice\r\n", session)
	if form {
		fmt.Fprintf(&head, "Content-Type: %s\r\n", formType)
		body.WriteString("--BOUNDARY\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n")
	}
	body.WriteString(strings.Repeat("x", size))
	if chunked {
		fmt.Fprintf(&head, "Transfer-Encoding: chunked\r\n\r\n%x\r\n%s", body.Len()+size, body.String())
	} else {
		fmt.Fprintf(&head, "Content-Length: %d\r\n\r\n%s", body.Len()+size, body.String())
	}
	c := w.dial()
	io.WriteString(c, head.String())
	c.Close()
	synctest.Wait()
}

// zeros has no end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// slowly reads 256 KiB in ten seconds.
type slowly struct {
	r    io.Reader
	left int
}

func (s *slowly) Read(p []byte) (int, error) {
	if s.left == 0 {
		time.Sleep(10 * time.Second)
		s.left = 256 << 10
	}
	n, err := s.r.Read(p[:min(len(p), s.left)])
	s.left -= n
	return n, err
}
