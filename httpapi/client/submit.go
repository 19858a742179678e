package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// A NewJob is a job to be submitted. All fields may be left zero.
type NewJob struct {
	Payload []byte // what the consumer gets
	// Body is the payload instead, streamed from where it stands to its end. If it is an io.Seeker, such as a file, its size is announced and the
	// submit can be repeated. Nothing is read of it after Submit has returned; a Read that does not return holds Submit up.
	Body        io.Reader
	ContentType string // of the payload, "application/octet-stream" by default
	Name        string // for people: a file name, a title
	Tags        map[string]string

	// Key names the job for its submitter: submitting again with the same Key and the same request adds nothing and returns that job with
	// Replayed set; with another request it is ErrKeyReused. Only a submit with a Key is repeated where the outcome is not known.
	Key string

	Priority int           // higher comes first
	Delay    time.Duration // not to run before that has passed; the wire has whole seconds, more are asked for rather than less
	Deadline time.Time     // fails unless it has ended by then

	// Wait is how long the server is asked to wait for the job to end; the Job returned tells whether it has.
	Wait time.Duration
}

// Submit puts a job into a queue and returns it.
func (c *Client) Submit(ctx context.Context, queue string, j NewJob) (*Job, error) {
	l, err := j.call(queue)
	if err != nil {
		return nil, err
	}
	out := new(Job)
	a, err := c.ask(ctx, l, out)
	if err != nil {
		return nil, err
	}
	out.told(a, c.base)
	return out, nil
}

func (j *NewJob) call(queue string) (call, error) {
	l := call{method: http.MethodPost, path: queuePath(queue) + "/jobs", header: http.Header{}, wait: j.Wait, once: j.Key == ""}
	if j.Key != "" {
		if strings.TrimSpace(j.Key) != j.Key {
			return l, errors.New("client: a Key neither begins nor ends with a space")
		}
		key := j.Key
		if key[0] == '"' { // the server would take the quotes for its own
			key = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(key) + `"`
		}
		l.header.Set("Idempotency-Key", key)
	}
	if j.Wait > 0 {
		l.header.Set("Prefer", "wait="+wholeSeconds(j.Wait))
	}
	l.query = j.values()
	err := l.raw(j.Payload, j.Body, j.ContentType)
	return l, err
}

// raw makes bytes, or what a reader has, the body of a call.
func (l *call) raw(data []byte, r io.Reader, kind string) error {
	if data != nil && r != nil {
		return errors.New("client: there are bytes and a Body, too")
	}
	if kind == "" {
		kind = "application/octet-stream"
	}
	if parsed, _, _ := mime.ParseMediaType(kind); parsed == "application/json" || parsed == "application/x-www-form-urlencoded" {
		l.query.Set("content_type", kind) // a body that calls itself so would be taken for an envelope
		kind = "application/octet-stream"
	}
	l.header.Set("Content-Type", kind)
	if r == nil {
		l.body = uploadBytes(data)
		return nil
	}
	var err error
	if l.body, err = uploadReader(r); err != nil {
		return fmt.Errorf("client: body: %w", err)
	}
	return nil
}

// values are what goes with a raw payload.
func (j *NewJob) values() url.Values {
	q := url.Values{}
	if j.Name != "" {
		q.Set("name", j.Name)
	}
	if j.Delay > 0 {
		q.Set("delay", wholeSeconds(j.Delay))
	}
	if j.Priority != 0 {
		q.Set("priority", strconv.Itoa(j.Priority))
	}
	if !j.Deadline.IsZero() {
		q.Set("deadline", j.Deadline.UTC().Format(time.RFC3339Nano))
	}
	for k, v := range j.Tags {
		q.Set("tag."+k, v)
	}
	return q
}
