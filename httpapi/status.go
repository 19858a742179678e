package httpapi

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/pollackq/pollack/jobqueue"
)

// Status answers where the job of the path value "id" stands, with its version as ETag and Retry-After until it has ended; 304 if If-None-Match names
// that version. With ?wait=N (or "Prefer: wait=N") it waits up to so many seconds: for the next version, if If-None-Match names the present one (304
// if none came), without If-None-Match for the end of the job.
func (h *Handler) Status(w http.ResponseWriter, r *http.Request) {
	h.handle(w, r, func(c *call) error {
		j, err := c.job(ActionRead)
		if err != nil {
			return err
		}
		q := c.query()
		wait, _ := c.wait(q, "wait")
		if q.err != nil {
			return q.err
		}
		asked := len(r.Header.Values("If-None-Match")) > 0
		if wait > 0 && (!asked || c.knows(j)) {
			if j, err = c.waitFor(j, asked, wait); err != nil {
				return err
			}
		}
		w.Header().Set("ETag", versionTag(j))
		w.Header().Set("Cache-Control", "private, no-cache")
		if !j.State.Ended() {
			h.retryAfter(w)
		}
		if c.knows(j) {
			w.WriteHeader(http.StatusNotModified)
			return nil
		}
		return c.answerJob(http.StatusOK, j)
	})
}

// waitFor returns the job after its next change or its end, or as it is when the time is up.
func (c *call) waitFor(j *jobqueue.Job, change bool, d time.Duration) (*jobqueue.Job, error) {
	var next *jobqueue.Job
	var err error
	if change {
		next, err = c.park(d, func(ctx context.Context) (*jobqueue.Job, error) { return c.broker.Wait(ctx, j.ID, j.Version) })
	} else if !j.State.Ended() {
		next, err = c.waitEnd(j.ID, d)
	}
	if err != nil || next != nil {
		return next, err
	}
	return c.broker.Job(c.r.Context(), j.ID)
}

// waitEnd returns the job when it has ended, nil if it has not in that time.
func (c *call) waitEnd(id jobqueue.ID, d time.Duration) (*jobqueue.Job, error) {
	return c.park(d, func(ctx context.Context) (*jobqueue.Job, error) { return c.broker.WaitEnd(ctx, id) })
}

func versionTag(j *jobqueue.Job) string { return `"` + strconv.FormatUint(j.Version, 10) + `"` }

// knows reports whether If-None-Match names the job's version.
func (c *call) knows(j *jobqueue.Job) bool {
	tag := versionTag(j)
	for _, line := range c.r.Header.Values("If-None-Match") {
		for item := range strings.SplitSeq(line, ",") {
			item = strings.TrimSpace(item)
			if item == "*" || strings.TrimPrefix(item, "W/") == tag {
				return true
			}
		}
	}
	return false
}
