package httpapi

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/pollackq/pollack/jobqueue"
)

// The functions here append JSON to b: what encoding/json would write, without its detours, for what is sent most.

// appendJSON appends any value, in which the & of URLs stands as it is.
func appendJSON(b []byte, v any) ([]byte, error) {
	buf := bytes.NewBuffer(b)
	e := json.NewEncoder(buf)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return b, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// appendJob appends what stands for a job in an answer.
func (c *call) appendJob(b []byte, j *jobqueue.Job) ([]byte, error) {
	if c.h.opts.ShapeJob == nil {
		return appendJob(b, j, c.h.opts.IDPrefix)
	}
	v, err := c.h.opts.ShapeJob(c.r, j)
	if err != nil {
		return b, err
	}
	return appendValue(b, v)
}

// appendJobs appends a list of polled jobs.
func (c *call) appendJobs(b []byte, got []*jobqueue.Delivery, p *pollParameters) (_ []byte, err error) {
	b = append(b, '[')
	for i, d := range got {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = c.appendPolled(b, d, p); err != nil {
			return b, err
		}
	}
	return append(b, ']'), nil
}

// appendPolled appends a job with its lease and, if it is small and wanted, its payload: as it is if it is JSON, else in base64.
func (c *call) appendPolled(b []byte, d *jobqueue.Delivery, p *pollParameters) ([]byte, error) {
	if c.h.opts.ShapePolled != nil {
		v, err := c.h.opts.ShapePolled(c.r, d)
		if err != nil {
			return b, err
		}
		return appendValue(b, v)
	}
	begin := len(b)
	b, err := c.appendJob(b, d.Job)
	if err != nil {
		return b, err
	}
	if b[begin] != '{' {
		return b, errors.New("httpapi: ShapeJob must return a JSON object, so that a poll can add the lease to it")
	}
	if b = b[:len(b)-1]; len(b) > begin+1 {
		b = append(b, ',')
	}
	b = append(b, `"lease_token":"`...)
	b = hex.AppendEncode(b, d.Token[:])
	b = append(b, `","lease_expires_at":`...)
	if b, err = appendTime(b, d.LeaseExpires); err != nil {
		return b, err
	}
	b = append(b, `,"lease_expires_in":`...)
	b = strconv.AppendInt(b, window(d), 10)
	if payload, ok := d.Inline(); ok && p.payload {
		if jobqueue.InlineJSON(d.ContentType, payload) {
			b = append(b, `,"payload":`...)
			b = append(b, payload...)
		} else {
			b = append(b, `,"payload_base64":"`...)
			b = base64.StdEncoding.AppendEncode(b, payload)
			b = append(b, '"')
		}
	}
	return append(b, '}'), nil
}

// appendJob appends what jobqueue.Job.MarshalJSON returns, with a prefix before the id.
func appendJob(b []byte, j *jobqueue.Job, idPrefix string) (_ []byte, err error) {
	b = append(append(b, `{"id":"`...), idPrefix...)
	b = append(appendID(b, j.ID), '"')
	b = appendString(append(b, `,"queue":`...), j.Queue.Name)
	b = appendString(append(b, `,"account":`...), j.Account)
	b = appendString(append(b, `,"state":`...), j.KnownAs())
	b = strconv.AppendInt(append(b, `,"priority":`...), int64(j.Priority), 10)
	if b = append(b, `,"position":`...); j.KnownAs() == j.State.String() {
		b = strconv.AppendUint(b, j.Position, 10)
	} else { // it is on its way into the queue, and has none yet
		b = append(b, "null"...)
	}
	b = appendSet(append(b, `,"name":`...), j.Name)
	b = appendSet(append(b, `,"content_type":`...), j.ContentType)
	b = strconv.AppendInt(append(b, `,"size":`...), j.Size, 10)
	if b = append(b, `,"tags":`...); len(j.Tags) == 0 {
		b = append(b, "{}"...)
	} else if b, err = appendValue(b, j.Tags); err != nil {
		return b, err
	}
	b = strconv.AppendInt(append(b, `,"deliveries":`...), int64(j.Deliveries), 10)
	b = strconv.AppendInt(append(b, `,"lapses":`...), int64(j.Lapses), 10)
	if b = append(b, `,"progress":`...); j.Progress == nil {
		b = append(b, "null"...)
	} else if b, err = appendValue(b, *j.Progress); err != nil {
		return b, err
	}
	b = appendSet(append(b, `,"progress_message":`...), j.ProgressMessage)
	if b = append(b, `,"result":`...); j.Result == nil || !jobqueue.InlineJSON(j.Result.ContentType, j.Result.Data) {
		b = append(b, "null"...)
	} else if b, err = appendValue(b, json.RawMessage(j.Result.Data)); err != nil {
		return b, err
	}
	if b = append(b, `,"failure":`...); j.Failure == nil {
		b = append(b, "null"...)
	} else {
		b = appendString(append(b, `{"code":`...), j.Failure.Code)
		b = append(appendString(append(b, `,"message":`...), j.Failure.Message), '}')
	}
	for _, t := range [...]struct {
		name string
		at   time.Time
	}{
		{`,"created_at":`, j.Created}, {`,"run_at":`, j.RunAt}, {`,"started_at":`, j.Started}, {`,"finished_at":`, j.Finished}, {`,"expires_at":`, j.Expires},
	} {
		if b = append(b, t.name...); t.at == (time.Time{}) {
			b = append(b, "null"...)
		} else if b, err = appendTime(b, t.at); err != nil {
			return b, err
		}
	}
	b = strconv.AppendUint(append(b, `,"version":`...), j.Version, 10)
	return append(b, '}'), nil
}

// appendID appends the text of an id.
func appendID(b []byte, id jobqueue.ID) []byte {
	var p [26]byte
	id.MarshalTextTo(p[:]) // an error would say that this is not its length
	return append(b, p[:]...)
}

// appendSet appends a string, null for none.
func appendSet(b []byte, s string) []byte {
	if s == "" {
		return append(b, "null"...)
	}
	return appendString(b, s)
}

// appendString appends a string. One that needs escapes is left to encoding/json.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			b, _ = appendValue(b, s) // a string has no errors
			return b
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

func appendTime(b []byte, t time.Time) ([]byte, error) {
	b, err := t.AppendText(append(b, '"'))
	return append(b, '"'), err
}

// appendValue appends what json.Marshal returns.
func appendValue(b []byte, v any) ([]byte, error) {
	p, err := json.Marshal(v)
	return append(b, p...), err
}
