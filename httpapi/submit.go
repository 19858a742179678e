package httpapi

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pollackq/pollack/jobqueue"
)

// Submit enqueues a job in the queue of the path value "queue": the envelope if the body is application/json, else the body itself is the payload and
// is streamed, described by the parameters of the URL, which are refused beside an envelope. It answers the job with 202, its URL in Location, and
// Retry-After; or 200 if the request prefers to wait ("Prefer: wait=N") and the job ends meanwhile. An Idempotency-Key that named a job already gets
// that one, with Idempotent-Replayed.
func (h *Handler) Submit(w http.ResponseWriter, r *http.Request) {
	h.handle(w, r, func(c *call) error {
		q, err := c.queue(ActionSubmit)
		if err != nil {
			return err
		}
		n, b, err := c.readSubmit()
		if err != nil {
			return err
		}
		j, err := c.enqueue(q, n)
		if err != nil {
			if b != nil && b.problem() != nil {
				return b.problem()
			}
			return err
		}
		return c.submitted(j)
	})
}

// SubmitFunc returns a handler that enqueues what read makes of a request, and answers as Submit does: for bodies in a form of the user's
// own. read gets the broker narrowed to the caller, and says which queue the job goes to: one of that broker's, or one of the house's, whose workers
// serve all accounts. The job belongs to the caller, whatever queue it is in, unless it has an Account. An Idempotency-Key is taken where it has no Key.
func (h *Handler) SubmitFunc(read func(r *http.Request, b *jobqueue.Broker) (q *jobqueue.Queue, j jobqueue.NewJob, err error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		h.handle(w, r, func(c *call) error {
			q, n, err := read(r, c.broker)
			if err != nil {
				return err
			}
			if err := c.allow(ActionSubmit, q.Name().Name); err != nil {
				return err
			}
			if n.Account == "" {
				n.Account = c.account
			}
			j, err := c.enqueue(q, n)
			if err != nil {
				return err
			}
			return c.submitted(j)
		})
	}
}

func (c *call) enqueue(q *jobqueue.Queue, n jobqueue.NewJob) (*jobqueue.Job, error) {
	if n.Key == "" {
		key, err := c.idempotencyKey()
		if err != nil {
			return nil, err
		}
		n.Key, c.keyInHeader = key, true
	}
	return q.Enqueue(c.r.Context(), n)
}

// submitted answers a job that has been enqueued, after waiting for its end if that is asked for.
func (c *call) submitted(j *jobqueue.Job) error {
	status := http.StatusAccepted
	if d, ok := preferredWait(c.r.Header); ok && d > 0 && j.State != jobqueue.Gone {
		ended, err := c.waitEnd(j.ID, min(d, c.h.opts.MaxWait))
		if err == nil {
			c.w.Header().Set("Preference-Applied", "wait="+strconv.Itoa(int(min(d, c.h.opts.MaxWait)/time.Second)))
		}
		if ended != nil { // whatever else became of the wait: the job is enqueued
			ended.Replayed = j.Replayed
			j, status = ended, http.StatusOK
		}
	}
	header := c.w.Header()
	header.Set("Location", c.location(j))
	if j.Replayed {
		header.Set("Idempotent-Replayed", "true")
	}
	if !j.State.Ended() && j.State != jobqueue.Gone {
		c.h.retryAfter(c.w)
	}
	return c.answerJob(status, j)
}

// envelope is a job submitted as JSON.
type envelope struct {
	Payload       json.RawMessage   `json:"payload"`
	PayloadBase64 *string           `json:"payload_base64"`
	ContentType   string            `json:"content_type"`
	Name          string            `json:"name"`
	DelaySeconds  float64           `json:"delay_seconds"`
	Priority      int               `json:"priority"`
	Deadline      *string           `json:"deadline"`
	Tags          map[string]string `json:"tags"`
}

// readSubmit reads the request into a job. The body is nil unless it is still to be read.
func (c *call) readSubmit() (jobqueue.NewJob, *body, error) {
	kind, err := c.mediaType()
	if err != nil {
		return jobqueue.NewJob{}, nil, err
	}
	if kind == "application/json" {
		n, err := c.readEnvelope()
		return n, nil, err
	}
	n, err := c.readParameters()
	if err != nil {
		return n, nil, err
	}
	if c.r.ContentLength > c.h.broker.MaxPayload() {
		return n, nil, bodyTooLarge(c.h.broker.MaxPayload())
	}
	b := c.body(c.h.broker.MaxPayload())
	n.Body = b
	return n, b, nil
}

// mediaType returns the media type of the request's body, "" if it does not say.
func (c *call) mediaType() (string, error) {
	lines := c.r.Header.Values("Content-Type")
	switch {
	case len(lines) == 0:
		return "", nil
	case len(lines) > 1:
		return "", invalid("Content-Type: is given several times")
	}
	kind, _, err := mime.ParseMediaType(lines[0])
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) {
		return "", invalid("Content-Type: is not a media type")
	}
	return kind, nil
}

func (c *call) readEnvelope() (jobqueue.NewJob, error) {
	if err := c.nothingBeside(); err != nil {
		return jobqueue.NewJob{}, err
	}
	var e envelope
	if err := c.decode(&e); err != nil {
		return jobqueue.NewJob{}, err
	}
	n := jobqueue.NewJob{ContentType: e.ContentType, Name: e.Name, Priority: e.Priority, Tags: e.Tags}
	if e.Deadline != nil && n.Deadline.UnmarshalText([]byte(*e.Deadline)) != nil {
		return n, invalid(fmt.Sprintf("deadline: %q is not a time of RFC 3339", *e.Deadline))
	}
	var err error
	n.Payload, n.ContentType, err = content("payload", e.Payload, e.PayloadBase64, e.ContentType)
	if err != nil {
		return n, err
	}
	var ok bool
	if n.Delay, ok = seconds(e.DelaySeconds); !ok {
		return n, invalid("delay_seconds: is out of bounds")
	}
	return n, nil
}

// inEnvelope is what the members of the envelope are called that stand for the parameters of a raw payload.
var inEnvelope = map[string]string{
	"name": "name", "delay": "delay_seconds", "priority": "priority", "deadline": "deadline", "content_type": "content_type",
}

// nothingBeside refuses parameters of a raw payload, which would be without effect beside an envelope.
func (c *call) nothingBeside() error {
	q := c.query()
	for _, name := range slices.Sorted(maps.Keys(q.values)) {
		member := inEnvelope[name]
		if strings.HasPrefix(name, "tag.") {
			member = "tags"
		}
		if member != "" {
			q.fail("%s: belongs into the JSON body, as %s", name, member)
		}
	}
	return q.err
}

// content returns the bytes and type of a value that is given as JSON or in base64.
func content(name string, asJSON json.RawMessage, inBase64 *string, contentType string) ([]byte, string, error) {
	switch {
	case asJSON != nil && inBase64 != nil:
		return nil, "", invalid(name + ": there is " + name + "_base64, too")
	case asJSON != nil && contentType == "":
		return asJSON, "application/json", nil
	case asJSON != nil && !isJSON(contentType):
		return nil, "", invalid("content_type: " + name + " is JSON; other content goes into " + name + "_base64")
	case asJSON != nil:
		return asJSON, contentType, nil
	case contentType == "":
		contentType = "application/octet-stream"
	}
	if inBase64 == nil {
		return []byte{}, contentType, nil
	}
	p, err := base64.StdEncoding.DecodeString(*inBase64)
	if err != nil {
		return nil, "", invalid(name + "_base64: is not standard base64")
	}
	return p, contentType, nil
}

func isJSON(contentType string) bool {
	kind, _, _ := strings.Cut(contentType, ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	return kind == "application/json" || strings.HasSuffix(kind, "+json")
}

// readParameters reads what stands beside a raw payload in the URL.
func (c *call) readParameters() (jobqueue.NewJob, error) {
	q := c.query()
	n := jobqueue.NewJob{ContentType: c.rawType(q), Name: q.text("name")}
	n.Delay, _ = q.wholeSeconds("delay")
	n.Priority = q.count("priority", -jobqueue.MaxPriority, jobqueue.MaxPriority, 0)
	if s, ok := q.one("deadline"); ok {
		var err error
		if n.Deadline, err = time.Parse(time.RFC3339, s); err != nil {
			q.fail("deadline: %q is not a time of RFC 3339", s)
		}
	}
	for name := range q.values {
		if tag, ok := strings.CutPrefix(name, "tag."); ok {
			if n.Tags == nil {
				n.Tags = make(map[string]string)
			}
			n.Tags[tag] = q.text(name)
		}
	}
	return n, q.err
}

// rawType returns the type of a raw body: what content_type says (which may be application/json, to stream a large JSON value) or else the header.
func (c *call) rawType(q *query) string {
	if s, ok := q.one("content_type"); ok {
		return s
	}
	if s := c.r.Header.Get("Content-Type"); s != "" {
		return s
	}
	return "application/octet-stream"
}
