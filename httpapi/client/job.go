package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// A State says where a job stands in its life.
type State string

// The states of a job.
const (
	Scheduled State = "scheduled" // waits for its time
	Pending   State = "pending"   // waits for a consumer
	Running   State = "running"   // leased to a consumer
	Succeeded State = "succeeded" // ended well
	Failed    State = "failed"    // ended badly
	Canceled  State = "canceled"  // ended by whoever submitted it
)

// Ended says whether it is one of Succeeded, Failed and Canceled.
func (s State) Ended() bool { return s == Succeeded || s == Failed || s == Canceled }

// A Job is what the server knows of a job at one moment.
type Job struct {
	ID              string            `json:"id"`
	Queue           string            `json:"queue"`
	Account         string            `json:"account"`
	State           State             `json:"state"`
	Priority        int               `json:"priority"`
	Position        uint64            `json:"position"` // place in the queue, from 0
	Name            string            `json:"name"`
	ContentType     string            `json:"content_type"` // of the payload
	Size            int64             `json:"size"`         // of the payload, in bytes
	Tags            map[string]string `json:"tags"`
	Deliveries      int               `json:"deliveries"` // how often it has been delivered
	Lapses          int               `json:"lapses"`     // how many of these ran out of time
	Progress        *float64          `json:"progress"`   // 0 to 1, nil until told
	ProgressMessage string            `json:"progress_message"`
	Result          json.RawMessage   `json:"result"` // JSON results up to 64 KiB, else nil: see Client.Result
	Failure         *Failure          `json:"failure"`
	Created         time.Time         `json:"created_at"`
	RunAt           time.Time         `json:"run_at"`      // when it may first run, or run again; zero if it never had to wait
	Started         time.Time         `json:"started_at"`  // the latest delivery; zero if none
	Finished        time.Time         `json:"finished_at"` // zero until it has ended
	Expires         time.Time         `json:"expires_at"`  // when it will be forgotten; zero until it has ended
	Version         uint64            `json:"version"`     // grows with each change

	Replayed   bool          `json:"-"` // set by Submit if the key named this job already: nothing was added
	URL        string        `json:"-"` // where the status can be read
	RetryAfter time.Duration `json:"-"` // how long the server wants to be left alone before the status is read again, 0 if it did not say
	ETag       string        `json:"-"` // of the status, "" if it had none
}

// A Failure says why a job failed.
type Failure struct {
	Code    string `json:"code"`    // for programs, such as "deadline_exceeded"
	Message string `json:"message"` // for people
}

// tidy fills in what every answer with a job leaves open.
func (j *Job) tidy(base string) {
	if string(j.Result) == "null" {
		j.Result = nil
	}
	j.URL = base + jobPath(j.ID)
}

// told takes over what the header of an answer says of the job.
func (j *Job) told(a *answer, base string) {
	j.tidy(base)
	j.ETag, j.RetryAfter = a.header.Get("ETag"), retryAfter(a.header)
	j.Replayed = strings.EqualFold(a.header.Get("Idempotent-Replayed"), "true")
	if at := a.header.Get("Location"); at != "" {
		if from, err := url.Parse(base + "/"); err == nil {
			if to, err := from.Parse(at); err == nil {
				j.URL = to.String()
			}
		}
	}
}

// Job reads where a job stands.
func (c *Client) Job(ctx context.Context, id string) (*Job, error) {
	return c.status(ctx, id, "", 0)
}

// Changed waits until the job is no longer as last says, for as long as the context lives, and returns it. It returns at once if it is
// not so any more. last comes from any call that returns a job. Failures that may pass are waited out; see WaitOptions.
func (c *Client) Changed(ctx context.Context, last *Job, o *WaitOptions) (*Job, error) {
	tag := last.ETag
	return c.waitFor(ctx, last.ID, o, func() (*Job, bool, error) {
		wait := o.poll()
		if tag == "" {
			wait = 0 // a status without one ends the wait only when the job has ended
		}
		j, err := c.status(ctx, last.ID, tag, wait)
		if err != nil {
			return nil, false, err
		}
		if j.ETag != "" {
			tag = j.ETag
		}
		return j, j.Version != last.Version && j.ID != "", nil
	})
}

// Wait waits until the job has ended, for as long as the context lives, and returns it as it is then: that it Failed or was Canceled is no
// error of Wait. Failures that may pass are waited out; see WaitOptions.
func (c *Client) Wait(ctx context.Context, id string, o *WaitOptions) (*Job, error) {
	return c.waitFor(ctx, id, o, func() (*Job, bool, error) {
		j, err := c.status(ctx, id, "", o.poll())
		return j, err == nil && j.State.Ended(), err
	})
}

// WaitOptions say how to wait. The zero value of each field, and a nil *WaitOptions, mean the defaults.
type WaitOptions struct {
	// Poll is how long the server is asked to wait at a time, 30 seconds by default. A change is known at once, however long it is.
	Poll time.Duration
	// Failures is how many failures in a row are waited out, beyond the repetitions of each call: 10 by default, negative for none.
	Failures int
}

func (o *WaitOptions) poll() time.Duration {
	if o == nil || o.Poll <= 0 {
		return 30 * time.Second
	}
	return o.Poll
}

func (o *WaitOptions) failures() int {
	if o == nil || o.Failures == 0 {
		return 10
	}
	return o.Failures
}

// waitFor looks until look is done or its error is final. A look waits in the server; one that comes back at once without being done is
// followed by a pause, so that a server which does not wait is not overrun.
func (c *Client) waitFor(ctx context.Context, id string, o *WaitOptions, look func() (*Job, bool, error)) (*Job, error) {
	b := backoff{first: time.Second, most: c.opts.MaxPause}
	for {
		begun := time.Now()
		j, done, err := look()
		var asked time.Duration
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil:
			if !temporary(err) || b.failures >= o.failures() {
				return nil, err
			}
			c.opts.Logger.WarnContext(ctx, "waiting for a job goes on", "id", id, "error", err)
			asked = askedFor(err)
		case done:
			return j, nil
		case time.Since(begun) >= min(time.Second, o.poll()/2):
			b.reset()
			continue
		default:
			b.reset()
			asked = j.RetryAfter
		}
		if err := pause(ctx, b.next(asked)); err != nil {
			return nil, err
		}
	}
}

// status reads a job. With wait the server holds the answer back until the job has ended or, with a tag, has changed. If it has not
// changed, the Job has nothing but what the header says.
func (c *Client) status(ctx context.Context, id, tag string, wait time.Duration) (*Job, error) {
	l := call{method: http.MethodGet, path: jobPath(id), header: http.Header{}, query: url.Values{}, wait: wait}
	if tag != "" {
		l.header.Set("If-None-Match", tag)
	}
	if wait > 0 {
		l.query.Set("wait", wholeSeconds(wait))
	}
	j := new(Job)
	a, err := c.ask(ctx, l, j)
	if err != nil {
		return nil, err
	}
	j.told(a, c.base)
	return j, nil
}
