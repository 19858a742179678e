package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/pollackq/pollack/jobqueue"
)

// A text is the body of an answer as it is put together.
type text struct{ b []byte }

// texts saves those that have been written.
var texts = sync.Pool{New: func() any { return new(text) }}

func newText() *text { return texts.Get().(*text) }

// free makes the text another answer's.
func (t *text) free() {
	const most = 128 << 10 // a payload and its base64; what is larger is rare
	if cap(t.b) > most {
		t.b = nil
	}
	t.b = t.b[:0]
	texts.Put(t)
}

// answer writes v as JSON. An error means that nothing has been written.
func (c *call) answer(status int, v any) error {
	t := newText()
	defer t.free()
	var err error
	if t.b, err = appendJSON(t.b, v); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	c.answerText(status, t.b)
	return nil
}

// answerText writes JSON. Its error says that the client has not got it; that there is none, after a flush, is as much as can be known of the contrary.
func (c *call) answerText(status int, p []byte) error {
	c.ctl.SetWriteDeadline(c.until(time.Now(), int64(len(p)))) // where that is not supported the server's WriteTimeout holds
	return writeBody(c.w, status, "application/json", p)
}

// flush tells whether the connection took the answer.
func (c *call) flush() error {
	if err := c.ctl.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

// answerJob writes a job.
func (c *call) answerJob(status int, j *jobqueue.Job) error {
	t := newText()
	defer t.free()
	var err error
	if t.b, err = c.appendJob(t.b, j); err == nil {
		c.answerText(status, t.b)
	}
	return err
}

func writeBody(w http.ResponseWriter, status int, contentType string, p []byte) error {
	header := w.Header()
	cache := header.Get("Cache-Control")
	if cache == "" {
		cache = "no-store"
	}
	setAll(header, "Content-Type", contentType, "X-Content-Type-Options", "nosniff", "Cache-Control", cache, "Content-Length", strconv.Itoa(len(p)))
	w.WriteHeader(status)
	_, err := w.Write(p)
	return err
}

// setAll sets header fields, given as names in their canonical form and values. It is Header.Set for several, whose values take one allocation.
func setAll(header http.Header, pairs ...string) {
	values := make([]string, len(pairs)/2)
	for i := range values {
		values[i] = pairs[2*i+1]
		header[pairs[2*i]] = values[i : i+1 : i+1]
	}
}

// location returns the URL of a job's status.
func (c *call) location(j *jobqueue.Job) string {
	if c.h.opts.JobURL != nil {
		return c.h.opts.JobURL(c.r, j)
	}
	return c.h.opts.BaseURL + c.h.opts.Prefix + "/v1/jobs/" + c.h.opts.IDPrefix + j.ID.String()
}
