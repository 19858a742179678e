package app

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pollackq/pollack/httpapi/outbound"
	"github.com/pollackq/pollack/jobqueue"
)

const (
	maxJSON  = 64 << 10
	maxForm  = maxInput + 1<<20 // the file, and all that stands around it
	patience = 30 * time.Second // that a client has for its body, and a second more for each
	rate     = 16 << 10         // bytes of it
)

// fetchTag marks a job whose payload is the URL of the file. The payload of all others is the file.
const fetchTag = "fetch"

// read reads a submit. The file of an upload is still to be read, by whoever enqueues the job: it is not held in memory. errNotJSON says that the body
// was to be JSON and is not.
func read(w http.ResponseWriter, r *http.Request) (jobqueue.NewJob, error) {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil && r.Header.Get("Content-Type") != "" {
		return jobqueue.NewJob{}, errKind
	}
	switch kind {
	case "multipart/form-data":
		return readForm(w, r, params["boundary"])
	case "", "application/json", "application/x-www-form-urlencoded": // the last is what curl -d says of any body
		return readFetch(w, r)
	}
	return jobqueue.NewJob{}, errKind
}

func readForm(w http.ResponseWriter, r *http.Request, boundary string) (jobqueue.NewJob, error) {
	if boundary == "" {
		return jobqueue.NewJob{}, errDamaged
	}
	b, err := bodyOf(w, r, maxForm)
	if err != nil {
		return jobqueue.NewJob{}, err
	}
	for form := multipart.NewReader(b, boundary); ; {
		part, err := form.NextPart()
		switch {
		case errors.Is(err, io.EOF) && b.ended():
			return jobqueue.NewJob{}, errNoFile
		case err != nil:
			return jobqueue.NewJob{}, b.problem(errDamaged)
		case part.FormName() == "file":
			return jobqueue.NewJob{Name: fileName(part.FileName()), Body: &partReader{part, b}}, nil
		}
	}
}

// readFetch reads {"url": "..."}. Other members are ignored.
func readFetch(w http.ResponseWriter, r *http.Request) (jobqueue.NewJob, error) {
	b, err := bodyOf(w, r, maxJSON)
	if err != nil {
		return jobqueue.NewJob{}, err
	}
	text, err := io.ReadAll(b)
	if err != nil {
		return jobqueue.NewJob{}, b.problem(errCut)
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

// A body is a request's body within bounds of size and time. It remembers what ended it.
type body struct {
	r     io.Reader
	ctl   *http.ResponseController
	start time.Time
	n     int64
	err   error
}

func bodyOf(w http.ResponseWriter, r *http.Request, limit int64) (*body, error) {
	if r.ContentLength > limit {
		return nil, errTooLarge
	}
	return &body{r: http.MaxBytesReader(w, r.Body, limit), ctl: http.NewResponseController(w), start: time.Now()}, nil
}

func (b *body) Read(p []byte) (int, error) {
	b.ctl.SetReadDeadline(b.start.Add(patience + time.Duration(b.n/rate)*time.Second)) // where that is not supported the server's timeout holds
	n, err := b.r.Read(p)
	b.n += int64(n)
	if err != nil {
		b.err = err
	}
	return n, err
}

func (b *body) ended() bool { return b.err == nil || errors.Is(b.err, io.EOF) }

// problem returns what went wrong with the body, or else what is wrong with what was in it.
func (b *body) problem(otherwise error) error {
	var large *http.MaxBytesError
	switch {
	case b.ended():
		return otherwise
	case errors.As(b.err, &large):
		return errTooLarge
	case errors.Is(b.err, os.ErrDeadlineExceeded):
		return errSlow
	}
	return errCut
}

// A partReader reads a part of a form. Its errors are what the client is to be told; what ends too early is none that could be taken for an end.
type partReader struct {
	part *multipart.Part
	body *body
}

func (p *partReader) Read(buf []byte) (int, error) {
	n, err := p.part.Read(buf)
	if err != nil && err != io.EOF {
		err = p.body.problem(errDamaged)
	}
	return n, err
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
	_, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	return err == nil
}
