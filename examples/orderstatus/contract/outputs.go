package contract

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/pollackq/pollack/examples/orderstatus/app"
	"github.com/pollackq/pollack/internal/contract"
)

const awkward = `o "1" <b>&amp; (2)\, ü` // an order id that has to be escaped everywhere

// output orders an output and returns its answer, which has these fields.
func (s *seller) output(want string, fields ...string) object {
	s.t.Helper()
	at := s.order(awkward+want, object{"want": want})
	time.Sleep(time.Second)
	v := s.want(at, "completed", append(fields, "output_type")...)
	if v["output_type"] != want {
		s.t.Errorf("got output_type %v, want %s", v["output_type"], want)
	}
	return v
}

// file is output of a file as base64.
func (s *seller) file(want, name, mimeType string) []byte {
	s.t.Helper()
	v := s.output(want, "file_base64", "filename", "mime_type")
	p, err := base64.StdEncoding.DecodeString(v["file_base64"].(string))
	if err != nil || v["filename"] != name || v["mime_type"] != mimeType {
		s.t.Errorf("got file %v of type %v, %v, want %s of type %s", v["filename"], v["mime_type"], err, name, mimeType)
	}
	return p
}

func init() {
	suite.Case("texts are results of themselves", "S4-12 S4-17 S2-13 D-S4-12", func(t *testing.T, open contract.Opener) {
		s := newSeller(t, open, nil)
		for want, sound := range map[string]func(text string) bool{
			"text": func(text string) bool { return strings.Contains(text, awkward) },
			"html": func(text string) bool {
				return strings.HasPrefix(text, "<!DOCTYPE html>") && !strings.Contains(text, "<b>&amp; (")
			},
			"json": func(text string) bool { return json.Valid([]byte(text)) },
			"csv": func(text string) bool {
				rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
				return err == nil && len(rows) == 2 && len(rows[1]) == 2 && rows[1][0] == awkward+"csv"
			},
		} {
			if text := s.output(want, "result_text")["result_text"].(string); !sound(text) {
				t.Errorf("got %s result %q", want, text)
			}
		}
	})

	suite.Case("a file is a real one, as base64 with its name and type", "S4-13 S4-17 S4-20 S4-50 D-S4-12", func(t *testing.T, open contract.Opener) {
		s := newSeller(t, open, nil)
		p := s.file("file", "report.pdf", "application/pdf")
		var xref int
		if i := bytes.LastIndex(p, []byte("startxref\n")); i >= 0 {
			for _, c := range p[i+len("startxref\n"):] {
				if c < '0' || c > '9' {
					break
				}
				xref = 10*xref + int(c-'0')
			}
		}
		if !bytes.HasPrefix(p, []byte("%PDF-1.")) || !bytes.HasSuffix(p, []byte("%%EOF\n")) || !bytes.HasPrefix(p[xref:], []byte("xref\n")) {
			t.Errorf("got %q, which is no PDF", p)
		}
	})

	suite.Case("a workbook can be opened", "S4-17 S4-20 S4-50 D-S4-12", func(t *testing.T, open contract.Opener) {
		s := newSeller(t, open, nil)
		p := s.file("xlsx", "result.xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet")
		z, err := zip.NewReader(bytes.NewReader(p), int64(len(p)))
		if err != nil {
			t.Fatal(err)
		}
		parts := make(map[string]string)
		for _, f := range z.File {
			r, err := f.Open()
			if err != nil {
				t.Fatal(err)
			}
			content, err := io.ReadAll(r)
			if err == nil {
				err = xml.Unmarshal(content, new(struct{ XMLName xml.Name }))
			}
			if err != nil {
				t.Errorf("%s: %v", f.Name, err)
			}
			parts[f.Name] = string(content)
		}
		for _, name := range []string{"[Content_Types].xml", "_rels/.rels", "xl/workbook.xml", "xl/_rels/workbook.xml.rels", "xl/worksheets/sheet1.xml"} {
			if parts[name] == "" {
				t.Errorf("there is no %s", name)
			}
		}
		var sheet struct {
			Cells []string `xml:"sheetData>row>c>is>t"`
		}
		if err := xml.Unmarshal([]byte(parts["xl/worksheets/sheet1.xml"]), &sheet); err != nil || len(sheet.Cells) != 4 || sheet.Cells[2] != awkward+"xlsx" {
			t.Errorf("got cells %q, %v", sheet.Cells, err)
		}
	})

	suite.Case("a video goes as base64 where nothing can be prepared", "S4-17 S4-20 S4-50 D-S4-12", func(t *testing.T, open contract.Opener) {
		s := newSeller(t, open, func(c *app.Config) { c.PrepareURL = "" })
		wantVideo(t, s.file("video", "final-video.avi", "video/x-msvideo"))
		if calls := s.called("POST"); len(calls) > 0 {
			t.Errorf("got %d calls of the platform", len(calls))
		}
	})

	suite.Case("a URL is HTTPS, and the result is there for whoever has it", "S4-15 S4-17 S4-19 S2-08 D-S4-12", func(t *testing.T, open contract.Opener) {
		s := newSeller(t, open, nil)
		url := s.output("url", "result_url")["result_url"].(string)
		if !strings.HasPrefix(url, "https://seller.example/") {
			t.Errorf("got %q", url)
		}
		a := s.nobody.Do(t, "GET", url, nil).Want(t, 200)
		if !strings.HasPrefix(a.Header.Get("Content-Type"), "text/html") || !strings.Contains(string(a.Body), "Result") || strings.Contains(string(a.Body), "<b>&amp; (") {
			t.Errorf("got %v %s", a.Header, a.Body)
		}
		s.nobody.Do(t, "GET", strings.Replace(url, "/results/", "/results/x", 1), nil).Problem(t, 403, "bad_signature")
		s.nobody.Do(t, "GET", url[:strings.Index(url, "?")], nil).Problem(t, 403, "bad_signature")
		s.until(7*24*time.Hour - time.Minute)
		s.nobody.Do(t, "GET", url, nil).Want(t, 200)
		s.until(7*24*time.Hour + time.Minute)
		s.nobody.Do(t, "GET", url, nil).Problem(t, 410, "url_expired")
	})
}

// wantVideo demands a RIFF file of the kind AVI, whose chunks are whole.
func wantVideo(t *testing.T, p []byte) {
	t.Helper()
	if len(p) < 12 || string(p[:4]) != "RIFF" || string(p[8:12]) != "AVI " || int(binary.LittleEndian.Uint32(p[4:])) != len(p)-8 {
		t.Errorf("got %d bytes that are no AVI: %.20q", len(p), p)
		return
	}
	names := ""
	for rest := p[12:]; len(rest) > 0; {
		if len(rest) < 8 || len(rest) < 8+int(binary.LittleEndian.Uint32(rest[4:])) {
			t.Errorf("a chunk is cut off: %.20q", rest)
			return
		}
		names += string(rest[:4])
		rest = rest[8+int(binary.LittleEndian.Uint32(rest[4:])):]
	}
	if !strings.HasPrefix(names, "LISTLISTidx1") {
		t.Errorf("got chunks %q", names)
	}
}
