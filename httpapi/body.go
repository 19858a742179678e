package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"time"
	"unicode/utf8"
)

// rate is the least that a client must manage once its patience is used up, in bytes per second.
const rate = 16 << 10

// until returns the time by which n bytes must have gone over the wire.
func (c *call) until(start time.Time, n int64) time.Time {
	return start.Add(c.h.opts.Patience + time.Duration(n/rate)*time.Second)
}

// A body reads the request's body within bounds of size and time. It remembers what went wrong, for whoever gets the error of something that read it.
type body struct {
	c     *call
	r     io.Reader
	paced bool
	start time.Time
	n     int64
	err   error

	deadline time.Time // that has been set
}

func (c *call) body(limit int64) *body {
	r := c.r.Body
	if r == nil { // as in a request that never was on a wire
		r = http.NoBody
	}
	return &body{c: c, r: http.MaxBytesReader(c.w, r, limit), paced: paced(c.r), start: time.Now()}
}

// paced reports whether the time that a body takes is ours to bound, as the server has no ReadTimeout.
func paced(r *http.Request) bool {
	srv := serverOf(r)
	return srv == nil || srv.ReadTimeout <= 0
}

// serverOf returns the server that a request has come to, nil if that is not known.
func serverOf(r *http.Request) *http.Server {
	srv, _ := r.Context().Value(http.ServerContextKey).(*http.Server)
	return srv
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if at := b.c.until(b.start, b.n); b.paced && at != b.deadline {
		b.deadline = at
		b.c.ctl.SetReadDeadline(at) // where that is not supported the server's own timeouts have to do
	}
	n, err := b.r.Read(p)
	b.n += int64(n)
	if err != nil {
		b.err = err
	}
	if err == io.EOF {
		b.c.ctl.SetReadDeadline(time.Time{}) // one that passed later would end the request's context
	}
	return n, err
}

// problem returns what a failure of reading is to the client, nil if there was none.
func (b *body) problem() error {
	var tooLarge *http.MaxBytesError
	switch {
	case b.err == nil || b.err == io.EOF:
		return nil
	case errors.As(b.err, &tooLarge):
		return bodyTooLarge(tooLarge.Limit)
	case errors.Is(b.err, os.ErrDeadlineExceeded):
		return errBodyTooSlow
	default:
		return errBodyCut
	}
}

// finish reads the rest of the body and throws it away: only after its end does net/http notice that a client has gone.
func (c *call) finish() error {
	if c.r.Body == nil || c.r.Body == http.NoBody {
		return nil
	}
	b := c.body(c.h.opts.MaxBody)
	io.Copy(io.Discard, b)
	return b.problem()
}

// decode reads a JSON object of at most MaxBody bytes of UTF-8 into v. Unknown fields are ignored. An empty body is an empty object.
func (c *call) decode(v any) error {
	t := newText()
	defer t.free()
	p, err := c.readObject(t)
	if err != nil {
		return err
	}
	return unmarshal(p, v)
}

// readObject reads a body into t and returns the JSON object in it, if it is one.
func (c *call) readObject(t *text) ([]byte, error) {
	c.inJSON = true
	if c.r.ContentLength > c.h.opts.MaxBody {
		return nil, bodyTooLarge(c.h.opts.MaxBody)
	}
	if c.r.Body == nil || c.r.Body == http.NoBody {
		return nil, nil
	}
	b := c.body(c.h.opts.MaxBody)
	buf := bytes.NewBuffer(t.b)
	_, err := buf.ReadFrom(b)
	t.b = buf.Bytes()
	if err != nil {
		return nil, b.problem()
	}
	p := bytes.Trim(t.b, " \t\r\n")
	switch {
	case len(p) == 0:
		return nil, nil
	case !utf8.Valid(p):
		return nil, invalid("the body is not valid UTF-8")
	case p[0] != '{':
		return nil, invalid("the body is not a JSON object")
	}
	return p, nil
}

// unmarshal decodes what readObject has returned.
func unmarshal(p []byte, v any) error {
	if len(p) == 0 {
		return nil
	}
	err := json.Unmarshal(p, v)
	var kind *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &kind) && kind.Field != "":
		return invalid(kind.Field + ": cannot be a " + kind.Value)
	default:
		return invalid("the body is not valid JSON: " + err.Error())
	}
}
