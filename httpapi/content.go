package httpapi

import (
	"mime"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/pollackq/pollack/jobqueue"
)

// Payload answers the bytes that the job of the path value "id" was enqueued with, as what they were said to be. Range, HEAD and conditional requests
// work. It is 410 when they are no longer kept: after the job has succeeded. However slowly a client reads, nothing in the store waits for it.
func (h *Handler) Payload(w http.ResponseWriter, r *http.Request) {
	h.handle(w, r, func(c *call) error {
		j, err := c.job(ActionRead)
		if err != nil {
			return err
		}
		p, err := c.broker.Payload(r.Context(), j.ID)
		if err != nil {
			return err
		}
		defer p.Close()
		c.serve(p, `"p-`+j.ID.String()+`"`, j.Name, j.Created)
		return nil
	})
}

// Result answers the bytes that the job of the path value "id" was completed with, as Payload does. It is 404 if there are none (yet).
func (h *Handler) Result(w http.ResponseWriter, r *http.Request) {
	h.handle(w, r, func(c *call) error {
		j, err := c.job(ActionRead)
		if err != nil {
			return err
		}
		p, err := c.broker.Result(r.Context(), j.ID)
		if err != nil {
			return err
		}
		defer p.Close()
		c.serve(p, `"r-`+j.ID.String()+`"`, "", j.Finished) // a job that has a result never gets another
		return nil
	})
}

// serve answers content that somebody else chose: a browser is to save it, whatever it is, and to run nothing of it.
func (c *call) serve(p *jobqueue.Content, tag, name string, modified time.Time) {
	header := c.w.Header()
	header.Set("ETag", tag)
	header.Set("Cache-Control", "private, no-cache")
	header.Set("Content-Type", safeType(p.ContentType()))
	header.Set("Content-Disposition", disposition(name))
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	http.ServeContent(&contentWriter{ResponseWriter: c.w, c: c, start: time.Now()}, c.r, "", modified, p)
}

// safeType returns the type if it is one that can stand in a header.
func safeType(contentType string) string {
	if _, _, err := mime.ParseMediaType(contentType); err != nil {
		return "application/octet-stream"
	}
	return contentType
}

// disposition has a browser save what it gets, under a name that is no path (RFC 6266).
func disposition(name string) string {
	name = strings.Map(func(r rune) rune {
		switch {
		case r == '/' || r == '\\':
			return '_'
		case !unicode.IsPrint(r): // nor what turns the writing around, so that an extension looks like another
			return -1
		}
		return r
	}, name)
	if name == "" || strings.Trim(name, ".") == "" {
		return "attachment"
	}
	if d := mime.FormatMediaType("attachment", map[string]string{"filename": name}); d != "" {
		return d
	}
	return "attachment"
}

// A contentWriter gives the client time as long as it reads, and answers the refusals of http.ServeContent as problems.
type contentWriter struct {
	http.ResponseWriter
	c       *call
	start   time.Time
	n       int64
	refused bool
}

func (w *contentWriter) WriteHeader(status int) {
	if status < 400 {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	w.refused = true
	header := w.Header()
	for _, k := range []string{
		"ETag", "Last-Modified", "Accept-Ranges", "Content-Disposition", "Content-Security-Policy", "Content-Encoding", "Cache-Control",
	} {
		header.Del(k)
	}
	p := errInternal
	switch status {
	case http.StatusRequestedRangeNotSatisfiable:
		p = errRange
	case http.StatusPreconditionFailed:
		p = errPrecondition
	}
	w.c.h.refuse(w.ResponseWriter, w.c.r, p)
}

func (w *contentWriter) Write(p []byte) (int, error) {
	if w.refused {
		return len(p), nil // the text of http.Error
	}
	w.c.ctl.SetWriteDeadline(w.c.until(w.start, w.n)) // where that is not supported the server's WriteTimeout holds
	n, err := w.ResponseWriter.Write(p)
	w.n += int64(n)
	return n, err
}
