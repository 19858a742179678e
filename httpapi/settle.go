package httpapi

import (
	"encoding/json"
	"net/http"

	"github.com/pollackq/pollack/jobqueue"
)

// settle serves what the holder of a job does with it. It reads the body into b, which has the token, once it is known that the job is there.
func settle[B any](h *Handler, w http.ResponseWriter, r *http.Request, tokenOf func(*B) string, do func(c *call, j *jobqueue.Job, t jobqueue.Token, b *B) error) {
	h.handle(w, r, func(c *call) error {
		j, err := c.job(ActionSettle)
		if err != nil {
			return err
		}
		b := new(B)
		if err := c.decode(b); err != nil {
			return err
		}
		t, err := c.token(tokenOf(b))
		if err != nil {
			return err
		}
		return do(c, j, t, b)
	})
}

type onlyToken struct {
	Token string `json:"lease_token"`
}

func (b *onlyToken) token() string { return b.Token }

// outcomeOf says what came of a call that ended a job.
func outcomeOf(o jobqueue.Outcome) string {
	if o.Repeated {
		return "already_acked"
	}
	return "acked"
}

// settled answers a call that ended a job.
func (c *call) settled(o jobqueue.Outcome, err error) error {
	if err != nil {
		return err
	}
	if c.h.opts.AckStatus == http.StatusNoContent {
		c.w.WriteHeader(http.StatusNoContent)
		return nil
	}
	t := newText()
	defer t.free()
	t.b = append(appendString(append(t.b, `{"outcome":`...), outcomeOf(o)), '}')
	c.answerText(c.h.opts.AckStatus, t.b)
	return nil
}

// changed answers a call that changed a job.
func (c *call) changed(j *jobqueue.Job, err error) error {
	if err != nil {
		return err
	}
	return c.answerJob(http.StatusOK, j)
}

// Ack ends the job of the path value "id" well. Like all endpoints of a job's holder it takes the lease token as "lease_token" in a JSON body or in
// the header Lease-Token; the body may be empty. It answers AckStatus; a repeated ack is told from the first by its outcome only.
func (h *Handler) Ack(w http.ResponseWriter, r *http.Request) { h.handle(w, r, (*call).ack) }

// ack does not look for the job where there is no need to: Broker.Ack finds out by itself whether it is there.
func (c *call) ack() error {
	id, err := c.h.id(c.r.PathValue("id"))
	if err != nil {
		return err
	}
	t, err := c.readToken()
	if err != nil || c.h.opts.Authorize != nil {
		if _, err := c.job(ActionSettle); err != nil { // that comes first
			return err
		}
	}
	if err != nil {
		return err
	}
	return c.settled(c.broker.Ack(c.r.Context(), id, t))
}

// readToken reads a body that has no more than the lease token, if it has that.
func (c *call) readToken() (jobqueue.Token, error) {
	t := newText()
	defer t.free()
	p, err := c.readObject(t)
	if err != nil {
		return jobqueue.Token{}, err
	}
	var b onlyToken
	if err := unmarshal(p, &b); err != nil {
		return jobqueue.Token{}, err
	}
	return c.token(b.Token)
}

type completeBody struct {
	onlyToken
	Result       json.RawMessage `json:"result"`
	ResultBase64 *string         `json:"result_base64"`
	ObjectKey    *string         `json:"object_key"`
	ContentType  string          `json:"content_type"`
}

// Complete ends the job of the path value "id" well, with a result: "result" (JSON) or "result_base64" and "content_type" of a JSON body, or the
// "object_key" of an upload there that has been written (404 if there is none of the caller's account), or else the body itself, which is streamed, with
// the token in the header. A body is JSON if it says so, if it has no type, or that of a form, which curl gives to what says nothing: results of that
// type go into the JSON, or as another type with the parameter "content_type".
func (h *Handler) Complete(w http.ResponseWriter, r *http.Request) {
	h.handle(w, r, func(c *call) error {
		j, err := c.job(ActionSettle)
		if err != nil {
			return err
		}
		kind, err := c.mediaType()
		if err != nil {
			return err
		}
		switch kind {
		case "application/json", "application/x-www-form-urlencoded", "":
		default:
			return c.completeRaw(j)
		}
		q := c.query()
		if _, ok := q.one("content_type"); ok {
			q.fail("content_type: belongs into the JSON body; a result that is the body itself needs another Content-Type")
		}
		if q.err != nil {
			return q.err
		}
		var b completeBody
		if err := c.decode(&b); err != nil {
			return err
		}
		t, err := c.token(b.Token)
		if err != nil {
			return err
		}
		if b.ObjectKey != nil {
			if b.Result != nil || b.ResultBase64 != nil {
				return invalid("object_key: there is a result, too")
			}
			return c.completeWith(j, t, *b.ObjectKey, b.ContentType)
		}
		if b.Result == nil && b.ResultBase64 == nil {
			return c.settled(c.broker.Ack(r.Context(), j.ID, t))
		}
		var n jobqueue.NewResult
		n.Data, n.ContentType, err = content("result", b.Result, b.ResultBase64, b.ContentType)
		if err != nil {
			return err
		}
		return c.settled(c.broker.Complete(r.Context(), j.ID, t, n))
	})
}

func (c *call) completeRaw(j *jobqueue.Job) error {
	t, err := c.token("")
	if err != nil {
		return err
	}
	q := c.query()
	kind := c.rawType(q)
	if q.err != nil {
		return q.err
	}
	if c.r.ContentLength > c.h.broker.MaxResult() {
		return bodyTooLarge(c.h.broker.MaxResult())
	}
	b := c.body(c.h.broker.MaxResult())
	o, err := c.broker.Complete(c.r.Context(), j.ID, t, jobqueue.NewResult{ContentType: kind, Body: b})
	if err != nil && b.problem() != nil {
		return b.problem()
	}
	return c.settled(o, err)
}

type failBody struct {
	onlyToken
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Fail ends the job of the path value "id" badly, for good, with "code" and "message". To have it tried again, Release it.
func (h *Handler) Fail(w http.ResponseWriter, r *http.Request) {
	settle(h, w, r, (*failBody).token, func(c *call, j *jobqueue.Job, t jobqueue.Token, b *failBody) error {
		return c.settled(c.broker.Fail(r.Context(), j.ID, t, jobqueue.Failure{Code: b.Code, Message: b.Message}))
	})
}

type releaseBody struct {
	onlyToken
	DelaySeconds float64 `json:"delay_seconds"`
	Uncounted    bool    `json:"uncounted"`
}

// Release gives the job of the path value "id" back, to be delivered again, after "delay_seconds" if that is there; "uncounted" takes the delivery
// off its count. It answers the job.
func (h *Handler) Release(w http.ResponseWriter, r *http.Request) {
	settle(h, w, r, (*releaseBody).token, func(c *call, j *jobqueue.Job, t jobqueue.Token, b *releaseBody) error {
		d, ok := seconds(b.DelaySeconds)
		if !ok {
			return invalid("delay_seconds: is out of bounds")
		}
		return c.changed(c.broker.Release(r.Context(), j.ID, t, &jobqueue.ReleaseOptions{Delay: d, Uncounted: b.Uncounted}))
	})
}

type extendBody struct {
	onlyToken
	LeaseSeconds float64 `json:"lease_seconds"`
}

// Extend has the lease of the job of the path value "id" end "lease_seconds" from now; its usual window from now without it. It answers the job, with
// lease_expires_at.
func (h *Handler) Extend(w http.ResponseWriter, r *http.Request) {
	settle(h, w, r, (*extendBody).token, func(c *call, j *jobqueue.Job, t jobqueue.Token, b *extendBody) error {
		d, ok := seconds(b.LeaseSeconds)
		if !ok || d < 0 {
			return invalid("lease_seconds: is out of bounds")
		}
		j, err := c.broker.Extend(r.Context(), j.ID, t, d)
		if err != nil {
			return err
		}
		if h.opts.ShapeJob != nil {
			return c.answerJob(http.StatusOK, j)
		}
		out := newText()
		defer out.free()
		if out.b, err = c.appendJob(out.b, j); err != nil {
			return err
		}
		out.b = append(out.b[:len(out.b)-1], `,"lease_expires_at":`...)
		if out.b, err = appendTime(out.b, j.LeaseExpires); err != nil {
			return err
		}
		out.b = append(out.b, '}')
		c.answerText(http.StatusOK, out.b)
		return nil
	})
}

type progressBody struct {
	onlyToken
	Progress *float64 `json:"progress"`
	Message  *string  `json:"message"`
}

// Progress tells those who watch the job of the path value "id" how far it is: "progress" from 0 to 1, which stays as it is where it is not given,
// and "message". It answers the job.
func (h *Handler) Progress(w http.ResponseWriter, r *http.Request) {
	settle(h, w, r, (*progressBody).token, func(c *call, j *jobqueue.Job, t jobqueue.Token, b *progressBody) error {
		var p jobqueue.Progress
		switch {
		case b.Progress != nil:
			p.Fraction = *b.Progress
		case b.Message != nil:
			p.MessageOnly = true
		default:
			return invalid("progress: is missing, and there is no message")
		}
		if b.Message != nil {
			p.Message = *b.Message
		}
		return c.changed(c.broker.Progress(r.Context(), j.ID, t, p))
	})
}

// Cancel ends the job of the path value "id" without it having been done, and answers it. It needs no lease: it is what a submitter does.
func (h *Handler) Cancel(w http.ResponseWriter, r *http.Request) {
	h.handle(w, r, func(c *call) error {
		j, err := c.job(ActionCancel)
		if err != nil {
			return err
		}
		return c.changed(c.broker.Cancel(r.Context(), j.ID))
	})
}

// Redrive makes the failed or canceled job of the path value "id" pending again, and answers it.
func (h *Handler) Redrive(w http.ResponseWriter, r *http.Request) {
	h.handle(w, r, func(c *call) error {
		j, err := c.job(ActionManage)
		if err != nil {
			return err
		}
		return c.changed(c.broker.Redrive(r.Context(), j.ID))
	})
}
