package app

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/pollackq/pollack/httpapi/outbound"
	"github.com/pollackq/pollack/jobqueue"
)

const maxJSON = 64 << 10

// fetchTag marks a job whose payload is the URL of the file. The payload of all others is the file.
const fetchTag = "fetch"

// read reads a submit. The file of an upload is still to be read, by whoever enqueues the job: it is not held in memory. errNotJSON says that the body
// was to be JSON and is not.
func (a *App) read(w http.ResponseWriter, r *http.Request) (jobqueue.NewJob, error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil && r.Header.Get("Content-Type") != "" {
		return jobqueue.NewJob{}, errKind
	}
	switch kind {
	case "multipart/form-data":
		f, err := a.api.FormFile(w, r, "file", maxInput)
		if err != nil {
			return jobqueue.NewJob{}, err
		}
		return jobqueue.NewJob{Name: fileName(f.Name), Body: f}, nil
	case "", "application/json", "application/x-www-form-urlencoded": // the last is what curl -d says of any body
		return a.readFetch(w, r)
	}
	return jobqueue.NewJob{}, errKind
}

// readFetch reads {"url": "..."}. Other members are ignored.
func (a *App) readFetch(w http.ResponseWriter, r *http.Request) (jobqueue.NewJob, error) {
	text, err := io.ReadAll(a.api.Body(w, r, maxJSON))
	if err != nil {
		return jobqueue.NewJob{}, err
	}
	var request struct {
		URL *string `json:"url"`
	}
	switch {
	case !utf8.Valid(text) || !json.Valid(text):
		return jobqueue.NewJob{}, errNotJSON
	case json.Unmarshal(text, &request) != nil || request.URL == nil:
		return jobqueue.NewJob{}, invalid(`url: is missing; send {"url": "https://..."}`)
	}
	u, err := outbound.CheckURL(*request.URL, true)
	if err != nil {
		return jobqueue.NewJob{}, invalid("url: " + outbound.Problem(err))
	}
	return jobqueue.NewJob{Name: fileName(u.Path), Payload: []byte(u.String()), Tags: map[string]string{fetchTag: "true"}}, nil
}

// newID returns a random UUID of version 4 (RFC 9562). It is all that somebody needs to know to fetch an output.
func newID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// isID reports whether s may be one of newID's.
func isID(s string) bool {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' || s != strings.ToLower(s) {
		return false
	}
	b, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	return err == nil && len(b) == 16 // else there are hyphens elsewhere, too
}
