package httpapi

import (
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
)

// formRest is how many bytes of a form may stand around its file.
const formRest = 1 << 20

// A FormFile is a file that a form brings, read as it comes: it is never held in memory whole. The error of a Read is io.EOF, once the form has been
// read to its end too, or a *Problem.
type FormFile struct {
	Name        string // as the client gives it, which may be anything; "" if it does not
	ContentType string // likewise

	field string
	limit int64
	n     int64
	form  *multipart.Reader
	part  *multipart.Part
	body  *body
	err   error // of the latest Read
}

// FormFile finds the file of a field in a multipart/form-data request, for endpoints of the user's own. It may have limit bytes, and all else in the form
// a megabyte. Fields in front of it are skipped. An error is a *Problem: 400 if there is no such file, 413 if more has been announced, 408 if it takes
// longer than Options.Patience allows.
func (h *Handler) FormFile(w http.ResponseWriter, r *http.Request, field string, limit int64) (*FormFile, error) {
	_, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || params["boundary"] == "" {
		return nil, invalid("Content-Type: a multipart form needs a boundary")
	}
	if r.ContentLength > limit+formRest {
		return nil, bodyTooLarge(limit)
	}
	b := h.newCall(w, r).body(limit + formRest)
	f := &FormFile{field: field, limit: limit, form: multipart.NewReader(b, params["boundary"]), body: b}
	for {
		f.part, err = f.form.NextPart()
		switch {
		case err == io.EOF:
			return nil, invalid(fmt.Sprintf("the form has no field %q", field))
		case err != nil:
			return nil, f.damaged()
		case f.part.FormName() == field:
			f.Name, f.ContentType = f.part.FileName(), f.part.Header.Get("Content-Type")
			return f, nil
		}
	}
}

// Read implements io.Reader.
func (f *FormFile) Read(p []byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	n, err := f.part.Read(p)
	f.n += int64(n)
	switch {
	case f.n > f.limit:
		n, err = 0, bodyTooLarge(f.limit)
	case err == io.EOF:
		err = f.finish()
	case err != nil:
		err = f.damaged()
	}
	f.err = err
	return n, err
}

// finish reads the form from the end of the file to its own, and sees to it that no second file is lost.
func (f *FormFile) finish() error {
	for {
		part, err := f.form.NextPart()
		switch {
		case err == io.EOF:
			if _, err := io.Copy(io.Discard, f.body); err != nil {
				return f.damaged()
			}
			return io.EOF
		case err != nil:
			return f.damaged()
		case part.FormName() == f.field:
			return invalid(fmt.Sprintf("the form has several fields %q; send one at a time", f.field))
		}
	}
}

// damaged returns what kept the form from being read.
func (f *FormFile) damaged() error {
	if p := f.body.problem(); p != nil {
		return p
	}
	return invalid("the form is damaged, or ends too early")
}
