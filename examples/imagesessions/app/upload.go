package app

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/pollackq/pollack/httpapi"
)

const (
	fileField   = "file"  // of a multipart form
	defaultName = "image" // of an image that has none
	sniffed     = 512     // bytes that http.DetectContentType looks at

	around   = 1 << 20          // bytes of a form that are not the image
	patience = 30 * time.Second // for a client to send its image, and a second more for each
	rate     = 16 << 10         // bytes
)

var errTooLarge = &httpapi.Problem{
	Status: http.StatusRequestEntityTooLarge, Code: "too_large", Detail: fmt.Sprintf("the image is too large: at most %d bytes are taken", MaxImage),
}

func invalid(format string, args ...any) *httpapi.Problem {
	return &httpapi.Problem{Status: http.StatusBadRequest, Code: "invalid_request", Detail: fmt.Sprintf(format, args...)}
}

// An upload is an image on its way in. It is read as it comes, and never held in memory whole. The error of a Read is io.EOF or an *httpapi.Problem.
type upload struct {
	name, mimeType string

	wire *wire
	form *multipart.Reader // nil if the image is the body
	part *multipart.Part
	err  error // of the latest read

	head *bufio.Reader // what is read through
}

// openUpload reads a request up to where its image begins. An error is an *httpapi.Problem.
func openUpload(w http.ResponseWriter, r *http.Request) (*upload, error) {
	declared, params, err := mediaType(r.Header.Values("Content-Type"))
	if err != nil {
		return nil, err
	}
	u := &upload{wire: newWire(w, r)}
	most, vague := int64(MaxImage), "application/x-www-form-urlencoded" // which curl gives to what has no type
	if strings.HasPrefix(declared, "multipart/form-data") {
		if err := u.enterForm(params["boundary"]); err != nil {
			return nil, err
		}
		if declared, _, err = mediaType(u.part.Header["Content-Type"]); err != nil {
			return nil, err
		}
		most, vague = MaxImage+around, "application/octet-stream" // and in a form
		u.name = u.part.FileName()
	}
	if r.ContentLength > most {
		return nil, errTooLarge
	}
	if err := u.setName(r.URL.RawQuery); err != nil {
		return nil, err
	}
	u.head = bufio.NewReaderSize((*uploadSource)(u), sniffed)
	head, err := u.head.Peek(sniffed)
	switch {
	case err != nil && err != io.EOF:
		return nil, err
	case len(head) == 0:
		return nil, invalid("the image is empty")
	}
	if u.mimeType = declared; declared == "" || strings.HasPrefix(declared, vague) {
		u.mimeType = http.DetectContentType(head)
	}
	return u, nil
}

// Read implements io.Reader.
func (u *upload) Read(p []byte) (int, error) { return u.head.Read(p) }

// mediaType returns a Content-Type as it was declared, in normal form, "" if it was not, and its parameters.
func mediaType(lines []string) (declared string, params map[string]string, err error) {
	if len(lines) == 0 || len(lines) == 1 && lines[0] == "" {
		return "", nil, nil
	}
	kind, params, err := mime.ParseMediaType(lines[0])
	if len(lines) > 1 || err != nil || strings.Count(kind, "/") != 1 {
		return "", nil, invalid("Content-Type: want one media type, such as image/jpeg")
	}
	return mime.FormatMediaType(kind, params), params, nil
}

// setName has the name be what the query says, if it does, or else what the form has said: the last part of a path.
func (u *upload) setName(query string) error {
	values, err := url.ParseQuery(query)
	names := values["filename"]
	switch {
	case err != nil:
		return invalid("the query cannot be read")
	case len(names) > 1:
		return invalid("filename: is given %d times", len(names))
	case len(names) == 1:
		u.name = names[0]
	}
	u.name = strings.TrimRight(u.name, `/\`)
	u.name = u.name[strings.LastIndexAny(u.name, `/\`)+1:]
	if strings.Trim(u.name, ".") == "" {
		u.name = defaultName
	}
	return nil
}

// enterForm reads a form up to the image.
func (u *upload) enterForm(boundary string) error {
	if boundary == "" {
		return invalid("Content-Type: a multipart form needs a boundary")
	}
	u.form = multipart.NewReader(u.wire, boundary)
	for {
		part, err := u.form.NextPart()
		if err == io.EOF {
			return invalid("the form has no field %q", fileField)
		}
		if err != nil {
			return unreadable(err)
		}
		if part.FormName() == fileField {
			u.part = part
			return nil
		}
	}
}

// leaveForm reads a form from the end of the image to its own, and sees to it that no second image is lost.
func (u *upload) leaveForm() error {
	for {
		part, err := u.form.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			return unreadable(err)
		}
		if part.FormName() == fileField {
			return invalid("the form has several fields %q: add one image at a time", fileField)
		}
	}
	if _, err := io.Copy(io.Discard, u.wire); err != nil {
		return unreadable(err)
	}
	return io.EOF
}

// uploadSource reads the image from the wire.
type uploadSource upload

// Read implements io.Reader.
func (u *uploadSource) Read(p []byte) (n int, err error) {
	if u.err != nil {
		return 0, u.err
	}
	if u.part == nil {
		n, err = u.wire.Read(p)
	} else if n, err = u.part.Read(p); err == io.EOF {
		err = (*upload)(u).leaveForm()
	}
	if err != nil && err != io.EOF {
		err = unreadable(err)
	}
	u.err = err
	return n, err
}

// A wire is the body of a request, bounded in size and time: in time by what has come so far, so that a large image has more of it and one that only
// trickles does not stay.
type wire struct {
	body  io.Reader
	ctl   *http.ResponseController
	start time.Time
	n     int64
}

func newWire(w http.ResponseWriter, r *http.Request) *wire {
	return &wire{body: http.MaxBytesReader(w, r.Body, MaxImage+around), ctl: http.NewResponseController(w), start: time.Now()}
}

// Read implements io.Reader.
func (b *wire) Read(p []byte) (int, error) {
	b.ctl.SetReadDeadline(b.start.Add(patience + time.Duration(b.n/rate)*time.Second)) // where that is not supported the server's timeouts hold
	n, err := b.body.Read(p)
	b.n += int64(n)
	if err == io.EOF {
		b.ctl.SetReadDeadline(time.Time{}) // one that passed later would end the request's context
	}
	return n, err
}

// unreadable returns the problem of an upload that could not be read.
func unreadable(err error) error {
	var problem *httpapi.Problem
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &problem):
		return problem
	case errors.As(err, &tooLarge):
		return errTooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &httpapi.Problem{Status: http.StatusRequestTimeout, Code: "request_timeout", Detail: "the image took too long"}
	}
	return invalid("the body could not be read to its end")
}
