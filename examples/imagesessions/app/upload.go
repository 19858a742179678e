package app

import (
	"bufio"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/pollackq/pollack/httpapi"
)

const (
	fileField   = "file"  // of a multipart form
	defaultName = "image" // of an image that has none
	sniffed     = 512     // bytes that http.DetectContentType looks at
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
	*bufio.Reader
}

// openUpload reads a request up to where its image begins. An error is an *httpapi.Problem.
func (a *App) openUpload(w http.ResponseWriter, r *http.Request) (*upload, error) {
	declared, err := mediaType(r.Header.Values("Content-Type"))
	if err != nil {
		return nil, err
	}
	u := new(upload)
	var body io.Reader
	vague := "application/x-www-form-urlencoded" // which curl gives to what has no type
	if strings.HasPrefix(declared, "multipart/form-data") {
		f, err := a.api.FormFile(w, r, fileField, MaxImage)
		if err != nil {
			return nil, err
		}
		if declared, err = mediaType([]string{f.ContentType}); err != nil {
			return nil, err
		}
		body, vague = f, "application/octet-stream" // and in a form
		u.name = f.Name
	} else {
		if r.ContentLength > MaxImage {
			return nil, errTooLarge
		}
		body = a.api.Body(w, r, MaxImage)
	}
	if err := u.setName(r.URL.RawQuery); err != nil {
		return nil, err
	}
	u.Reader = bufio.NewReaderSize(body, sniffed)
	head, err := u.Peek(sniffed)
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

// mediaType returns a Content-Type as it was declared, in normal form, "" if it was not.
func mediaType(lines []string) (declared string, err error) {
	if len(lines) == 0 || len(lines) == 1 && lines[0] == "" {
		return "", nil
	}
	kind, params, err := mime.ParseMediaType(lines[0])
	if len(lines) > 1 || err != nil || strings.Count(kind, "/") != 1 {
		return "", invalid("Content-Type: want one media type, such as image/jpeg")
	}
	return mime.FormatMediaType(kind, params), nil
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
