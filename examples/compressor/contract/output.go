package contract

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pollackq/pollack/examples/compressor/app"
	"github.com/pollackq/pollack/internal/contract"
)

func init() {
	suite.Case("text is gzipped", "S3-06 OWN-1", func(t *testing.T, open contract.Opener) {
		w := begin(t, open)
		id := w.accepted(w.upload("dull.txt", text))
		body, output := w.completed(id)
		wantMembers(t, body, "id", "input", "output", "status", "url")
		describes(t, body["input"], "dull.txt", "document", "txt", "text/plain", text)
		describes(t, body["output"], "dull.txt.gz", "archive", "gz", "application/gzip", output)
		z, err := gzip.NewReader(bytes.NewReader(output))
		if err != nil {
			t.Fatal(err)
		}
		if back, err := io.ReadAll(z); err != nil || !bytes.Equal(back, text) || len(output) > len(text)/10 {
			t.Errorf("got %d bytes, %v from %d, want the %d bytes of the input, from many fewer", len(back), err, len(output), len(text))
		}
	})
	suite.Case("the URL names the job, the output, and until when it is kept", "S3-06", func(t *testing.T, open contract.Opener) {
		w := begin(t, open)
		time.Sleep(17 * time.Minute)
		id := w.accepted(w.upload("dull boy.txt", text))
		body, _ := w.completed(id)
		form := regexp.MustCompile(`^https://compressor\.example/([0-9]+)/` + id + `/dull%20boy\.txt\.gz$`)
		m := form.FindStringSubmatch(textOf(body, "url"))
		if m == nil {
			t.Fatalf("got url %v, want it to match %v", body["url"], form)
		}
		n, err := strconv.ParseInt(m[1], 10, 64)
		if left := time.Until(time.Unix(n, 0)); err != nil || n%300 != 0 || left > 24*time.Hour || left < 24*time.Hour-6*time.Minute {
			t.Errorf("got %s, %v from now, want a multiple of 300 that is a day from now or less than 5 minutes before that", m[1], left)
		}
	})
	suite.Case("a photo is encoded anew, smaller, and keeps what it says of itself", "S3-06 OWN-1", func(t *testing.T, open contract.Opener) {
		w := begin(t, open)
		in := withExif(photo(t, 300, 200))
		body, output := w.completed(w.accepted(w.upload("p.JPEG", in)))
		describes(t, body["input"], "p.JPEG", "image", "jpg", "image/jpeg", in)
		describes(t, body["output"], "p.JPEG", "image", "jpg", "image/jpeg", output)
		c, err := jpeg.DecodeConfig(bytes.NewReader(output))
		if err != nil || c.Width != 300 || c.Height != 200 || len(output) >= len(in) {
			t.Errorf("got %dx%d in %d bytes, %v, want 300x200 in fewer than %d", c.Width, c.Height, len(output), err, len(in))
		}
		if !bytes.Contains(output, []byte("Exif\x00\x00turned")) {
			t.Errorf("how the photo is to be turned is lost")
		}
	})
	suite.Case("a picture is encoded anew with the same pixels", "S3-06 OWN-1", func(t *testing.T, open contract.Opener) {
		w := begin(t, open)
		m := picture(200, 100)
		var in bytes.Buffer
		if err := (&png.Encoder{CompressionLevel: png.NoCompression}).Encode(&in, m); err != nil {
			t.Fatal(err)
		}
		body, output := w.completed(w.accepted(w.upload("p.png", in.Bytes())))
		describes(t, body["output"], "p.png", "image", "png", "image/png", output)
		back, err := png.Decode(bytes.NewReader(output))
		if err != nil || len(output) >= in.Len() {
			t.Fatalf("got %v in %d bytes, want fewer than %d", err, len(output), in.Len())
		}
		for y := range 100 {
			for x := range 200 {
				if got, want := color.NRGBAModel.Convert(back.At(x, y)), color.NRGBAModel.Convert(m.At(x, y)); got != want {
					t.Fatalf("at %d, %d: got %v, want %v", x, y, got, want)
				}
			}
		}
	})
	suite.Long("what cannot be compressed is gzipped all the same, up to the limit", "OWN-1 OWN-5", func(t *testing.T, open contract.Opener) {
		w := begin(t, open)
		noise := make([]byte, 64<<20)
		rand.NewChaCha8([32]byte{}).Read(noise)
		body, output := w.completed(w.accepted(w.upload("noise.bin", noise)))
		describes(t, body["output"], "noise.bin.gz", "archive", "gz", "application/gzip", output)
		if len(output) <= len(noise) {
			t.Errorf("got %d bytes from %d random ones", len(output), len(noise))
		}
	})
	suite.Case("an image that would grow is its own output", "OWN-1 S3-06", func(t *testing.T, open contract.Opener) {
		w := begin(t, open)
		small := photo(t, 300, 200)
		body, _ := w.completed(w.accepted(w.upload("a.jpg", small)))
		_, twice := w.completed(w.accepted(w.upload("a.jpg", w.Do(t, "GET", textOf(body, "url"), nil).Body)))
		body, thrice := w.completed(w.accepted(w.upload("a.jpg", twice)))
		if len(thrice) > len(twice) {
			t.Errorf("got %d bytes from %d: %v", len(thrice), len(twice), body)
		}
	})
	suite.Case("an animation keeps all its frames", "OWN-1", func(t *testing.T, open contract.Opener) {
		w := begin(t, open)
		var in bytes.Buffer
		if err := (&png.Encoder{CompressionLevel: png.NoCompression}).Encode(&in, picture(200, 100)); err != nil {
			t.Fatal(err)
		}
		const head = 33 // signature and IHDR
		animation := bytes.Join([][]byte{in.Bytes()[:head], chunk("acTL", make([]byte, 8)), in.Bytes()[head:]}, nil)
		if _, output := w.completed(w.accepted(w.upload("p.png", animation))); !bytes.Equal(output, animation) {
			t.Errorf("got %d bytes, want the %d of the input", len(output), len(animation))
		}
	})
	suite.Case("files are known by their bytes, or else by their names", "S3-06", func(t *testing.T, open contract.Opener) {
		w := begin(t, open, func(c *app.Config) { c.Workers = 1 })
		for _, f := range []struct{ name, content, class, format, mime string }{
			{"x", "GIF89a", "image", "gif", "image/gif"}, {"x.txt", "%PDF-1.4", "document", "pdf", "application/pdf"}, {"x.CSV", "a,b", "document", "csv", "text/csv"},
			{"x.json", "{}", "document", "json", "application/json"}, {"x.svg", "<svg/>", "image", "svg", "image/svg+xml"}, {"x.mp3", "ID3", "audio", "mp3", "audio/mpeg"},
			{"x.tgz", "\x1f\x8b\x08", "archive", "gz", "application/gzip"}, {"x.mov", "\x00\x00\x00\x14ftypqt  \x00\x00", "video", "mov", "video/quicktime"},
			{"x.docx", "PK\x03\x04", "document", "docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"},
			{"x.zip", "PK\x03\x04", "archive", "zip", "application/zip"}, {"x.what", "\x00\x01\x02", "other", "bin", "application/octet-stream"},
			{"x.webm", "\x1a\x45\xdf\xa3", "video", "webm", "video/webm"},
		} {
			body, _ := w.completed(w.accepted(w.upload(f.name, []byte(f.content))))
			describes(t, body["input"], f.name, f.class, f.format, f.mime, []byte(f.content))
		}
	})
	suite.Case("whoever has the URL may fetch it, and only the whole URL is one", "OWN-2", func(t *testing.T, open contract.Opener) {
		w := begin(t, open)
		id := w.accepted(w.upload("dull.txt", text))
		body, output := w.completed(id)
		url := textOf(body, "url")
		nobody := w.With()
		a := nobody.Do(t, "GET", url, nil, "Range", "bytes=2-9").Want(t, http.StatusPartialContent)
		if !bytes.Equal(a.Body, output[2:10]) {
			t.Errorf("got range %x, want %x", a.Body, output[2:10])
		}
		a = nobody.Do(t, "HEAD", url, nil).Want(t, http.StatusOK)
		if got, want := a.Header.Get("Content-Length"), fmt.Sprint(len(output)); got != want || a.Header.Get("Content-Type") != "application/gzip" {
			t.Errorf("HEAD: got length %s, type %s, want %s, application/gzip", got, a.Header.Get("Content-Type"), want)
		}
		parts := strings.Split(url, "/")
		for _, p := range [][]string{{"1765712100", id, parts[5]}, {parts[3], "38a8bb5e-7b50-4a22-a0a6-b9602fccb225", parts[5]}, {parts[3], id, "other.gz"}} {
			nobody.Do(t, "GET", "/"+strings.Join(p, "/"), nil).Problem(t, http.StatusNotFound, "not_found")
		}
	})
}

// photo returns a JPEG of high quality.
func photo(t *testing.T, width, height int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, picture(width, height), &jpeg.Options{Quality: 100}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func picture(width, height int) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, width, height))
	for i := range m.Pix {
		m.Pix[i] = byte(i/7) | 0x80
	}
	return m
}

// withExif returns a JPEG with an Exif segment behind its first marker.
func withExif(p []byte) []byte {
	segment := append([]byte{0xff, 0xe1, 0, 2 + 12}, "Exif\x00\x00turned"...)
	return bytes.Join([][]byte{p[:2], segment, p[2:]}, nil)
}

// chunk returns one of a PNG.
func chunk(name string, data []byte) []byte {
	p := binary.BigEndian.AppendUint32(nil, uint32(len(data)))
	p = append(append(p, name...), data...)
	return binary.BigEndian.AppendUint32(p, crc32.ChecksumIEEE(p[4:]))
}
