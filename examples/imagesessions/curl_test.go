package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pollackq/pollack/internal/proc"
)

// What the document of the system shows, line by line.
const (
	curlPoll = `curl -H "Authorization: Bearer aptr_xxxx" \
  "https://api.apertur.ca/v1/sessions/sess_01HX.../poll?timeout=30"`
	curlDownload = `curl -H "Authorization: Bearer aptr_xxxx" \
  -o photo.jpg \
  "https://api.apertur.ca/v1/images/img_01HX.../download"`
	curlAck = `curl -X POST -H "Authorization: Bearer aptr_xxxx" \
  "https://api.apertur.ca/v1/images/img_01HX.../ack"`
)

// The document's own lines work as they stand, but for host, port and ids.
func TestCurl(t *testing.T) {
	for _, program := range []string{"curl", "sh"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed", program)
		}
	}
	p := proc.Start(t, "-token", "aptr_xxxx")
	c := &caller{t, p.URL, "aptr_xxxx"}
	session, image := c.open(), ""
	folder := t.TempDir()
	run := func(line string) []byte {
		t.Helper()
		line = strings.NewReplacer("https://api.apertur.ca", p.URL, "sess_01HX...", session, "img_01HX...", image).Replace(line)
		cmd := exec.CommandContext(t.Context(), "sh", "-c", line)
		cmd.Dir = folder
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v\n%s", line, err, stderr.String())
		}
		return out
	}
	photo := picture(7)
	if err := os.WriteFile(filepath.Join(folder, "original.gif"), photo, 0o600); err != nil {
		t.Fatal(err)
	}
	const images = `curl -H "Authorization: Bearer aptr_xxxx" "https://api.apertur.ca/v1/sessions/sess_01HX.../images?filename=photo.gif"`
	for i, line := range []string{images + " --data-binary @original.gif", images + " -F file=@original.gif"} {
		run(line)
		got := run(curlPoll)
		var polled struct {
			ID       string `json:"image_id"`
			Index    int    `json:"image_index"`
			Filename string `json:"filename"`
			MIMEType string `json:"mime_type"`
			Size     int    `json:"size_bytes"`
		}
		c.read(got, &polled)
		if polled.Index != i || polled.Filename != "photo.gif" || polled.MIMEType != "image/gif" || polled.Size != len(photo) {
			t.Errorf("the poll: got %s", got)
		}
		image = polled.ID
		if out := run(curlDownload); len(out) > 0 {
			t.Errorf("the download: got %q", out)
		}
		if saved, err := os.ReadFile(filepath.Join(folder, "photo.jpg")); err != nil || !bytes.Equal(saved, photo) {
			t.Errorf("the download saved %d bytes, %v; want %d", len(saved), err, len(photo))
		}
		if out := run(curlAck); len(out) > 0 {
			t.Errorf("the ack: got %q", out)
		}
		c.want(410, "GET", "/v1/images/"+image+"/download", nil)
	}
	c.want(204, "POST", "/v1/sessions/"+session+"/close", nil)
	if out := run(curlPoll); !bytes.Contains(out, []byte(`"status":410`)) {
		t.Errorf("the poll of a session that is done: got %s", out)
	}
}
