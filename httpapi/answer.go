package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/pollackq/pollack/jobqueue"
)

// answer writes v as JSON, in which the & of URLs stands as it is. An error means that nothing has been written.
func (c *call) answer(status int, v any) error {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	c.answerText(status, bytes.TrimSuffix(text.Bytes(), []byte("\n")))
	return nil
}

// answerText writes JSON. Its error says that the client has not got it.
func (c *call) answerText(status int, p []byte) error {
	c.w.Header().Set("Content-Type", "application/json")
	return c.write(status, p)
}

// answerJob writes a job.
func (c *call) answerJob(status int, j *jobqueue.Job) error {
	p, err := c.encode(j)
	if err == nil {
		c.answerText(status, p)
	}
	return err
}

// encode returns what stands for a job in an answer.
func (c *call) encode(j *jobqueue.Job) (json.RawMessage, error) {
	if c.h.opts.ShapeJob != nil {
		v, err := c.h.opts.ShapeJob(c.r, j)
		if err != nil {
			return nil, err
		}
		return json.Marshal(v)
	}
	p, err := j.MarshalJSON()
	if err != nil || c.h.opts.IDPrefix == "" {
		return p, err
	}
	id := j.ID.String()
	return bytes.Replace(p, []byte(`"id":"`+id), []byte(`"id":"`+c.h.opts.IDPrefix+id), 1), nil
}

// encodeWith is encode with more members, for a job that is an object.
func (c *call) encodeWith(j *jobqueue.Job, more any) ([]byte, error) {
	object, err := c.encode(j)
	if err != nil {
		return nil, err
	}
	members, err := json.Marshal(more)
	if err != nil {
		return nil, err
	}
	return withMembers(object, members)
}

// write writes an answer and tells whether the connection took it, as far as can be known.
func (c *call) write(status int, p []byte) error {
	c.ctl.SetWriteDeadline(c.until(time.Now(), int64(len(p)))) // where that is not supported the server's WriteTimeout holds
	if err := writeBody(c.w, status, p); err != nil {
		return err
	}
	if err := c.ctl.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

func writeBody(w http.ResponseWriter, status int, p []byte) error {
	header := w.Header()
	header.Set("X-Content-Type-Options", "nosniff")
	if header.Get("Cache-Control") == "" {
		header.Set("Cache-Control", "no-store")
	}
	header.Set("Content-Length", strconv.Itoa(len(p)))
	w.WriteHeader(status)
	_, err := w.Write(p)
	return err
}

// location returns the URL of a job's status.
func (c *call) location(j *jobqueue.Job) string {
	if c.h.opts.JobURL != nil {
		return c.h.opts.JobURL(c.r, j)
	}
	return c.h.opts.BaseURL + c.h.opts.Prefix + "/v1/jobs/" + c.h.opts.IDPrefix + j.ID.String()
}

// withMembers returns a JSON object with more members. Both are objects.
func withMembers(object, more []byte) ([]byte, error) {
	object, more = bytes.TrimSpace(object), bytes.TrimSpace(more)
	if len(object) < 2 || object[0] != '{' {
		return nil, errors.New("httpapi: ShapeJob must return a JSON object, so that a poll can add the lease to it")
	}
	if len(object) == 2 {
		return more, nil
	}
	out := make([]byte, 0, len(object)+len(more))
	out = append(out, object[:len(object)-1]...)
	out = append(out, ',')
	return append(out, more[1:]...), nil
}
