package contract

import (
	"bytes"
	"encoding/binary"
	"image/png"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/examples/compressor/app"
	"github.com/pollackq/pollack/internal/contract"
)

func init() {
	suite.Case("a file that is no good fails its job, with 200 and the failed body", "S3-08 OWN-3 OWN-5", func(t *testing.T, open contract.Opener) {
		w := begin(t, open)
		whole := photo(t, 300, 200)
		var picturePNG bytes.Buffer
		if err := png.Encode(&picturePNG, picture(20, 10)); err != nil {
			t.Fatal(err)
		}
		const ihdr = 16 // where the width stands
		huge := bytes.Clone(picturePNG.Bytes())
		binary.BigEndian.PutUint32(huge[ihdr:], 20_000)
		binary.BigEndian.PutUint32(huge[ihdr+4:], 20_000)
		copy(huge[8:], chunk("IHDR", huge[ihdr:ihdr+13]))
		for _, c := range []struct {
			name    string
			content []byte
			want    string
		}{
			{"a.jpg", whole[:len(whole)/2], "damaged"}, {"a.jpg", []byte("no photo"), "damaged"}, {"a.png", picturePNG.Bytes()[:30], "damaged"}, {"a.png", []byte("x"), "damaged"},
			{"a.png", huge, "20000 x 20000 pixels"}, {"a.txt", nil, "empty"},
		} {
			id := w.accepted(w.upload(c.name, c.content))
			began := time.Now()
			if got := w.failed(w.ended(id)); !strings.Contains(got, c.want) {
				t.Errorf("%s of %d bytes: got message %q, want %q in it", c.name, len(c.content), got, c.want)
			}
			if took := time.Since(began); took > time.Second {
				t.Errorf("%s of %d bytes: it took %v, want no second try", c.name, len(c.content), took)
			}
		}
	})
	suite.Case("a fetch that cannot succeed fails at once", "OWN-3 OWN-4 S3-08", func(t *testing.T, open contract.Opener) {
		w := begin(t, open)
		s := sourceAt(w, "files.example")
		fails := func(want string, answer func(http.ResponseWriter)) {
			t.Helper()
			id := w.accepted(w.fetch("https://files.example/a.txt"))
			s <- answer
			synctest.Wait()
			if got := w.failed(w.status(id)); !strings.Contains(got, want) {
				t.Errorf("got message %q, want %q in it", got, want)
			}
		}
		fails("404", statusOf(http.StatusNotFound))
		fails("403", statusOf(http.StatusForbidden))
		fails("302", func(w http.ResponseWriter) {
			w.Header().Set("Location", "http://files.example/b.txt")
			w.WriteHeader(http.StatusFound)
		})
		fails("67108864", func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "67108865")
			w.WriteHeader(http.StatusOK)
		})
	})
	suite.Case("a fetch that the network fails is tried a few times", "OWN-3", func(t *testing.T, open contract.Opener) {
		w := begin(t, open)
		s := sourceAt(w, "files.example")
		began := time.Now()
		if got := w.failed(w.ended(w.accepted(w.fetch("https://nowhere.example/a.txt")))); !strings.Contains(got, "could not be fetched") {
			t.Errorf("got message %q", got)
		}
		if took := time.Since(began); took < 5*time.Second || took > 10*time.Second {
			t.Errorf("the file of a server that is not there was given up after %v, want two pauses of 5s in all", took)
		}
		good := w.accepted(w.fetch("https://files.example/a.txt"))
		for range 2 {
			s <- statusOf(http.StatusBadGateway)
		}
		s <- bytesOf(text)
		w.completed(good)
		again := w.accepted(w.fetch("https://files.example/a.txt"))
		for range 3 {
			s <- statusOf(http.StatusBadGateway)
		}
		if got := w.failed(w.ended(again)); !strings.Contains(got, "502") {
			t.Errorf("got message %q, want the last status in it", got)
		}
	})
	suite.Case("addresses that are not public are not fetched from", "OWN-4", func(t *testing.T, open contract.Opener) {
		w := begin(t, open, func(c *app.Config) { c.Client = nil })
		for _, url := range []string{
			"http://127.0.0.1:1/x", "http://169.254.169.254/latest/meta-data", "http://[::1]/", "http://10.0.0.1/", "http://[::ffff:127.0.0.1]:80/", "https://192.168.1.1:8443/",
		} {
			id := w.accepted(w.fetch(url))
			synctest.Wait()
			if got := w.failed(w.status(id)); !strings.Contains(got, "no public address") {
				t.Errorf("%s: got message %q", url, got)
			}
		}
	})
}
