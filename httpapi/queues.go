package httpapi

import (
	"encoding/json"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/pollackq/pollack/jobqueue"
)

// listStates are the states that lists can be narrowed to, and counts are given of.
var listStates = map[string]jobqueue.State{
	"scheduled": jobqueue.Scheduled, "pending": jobqueue.Pending, "running": jobqueue.Running,
	"succeeded": jobqueue.Succeeded, "failed": jobqueue.Failed, "canceled": jobqueue.Canceled,
}

// queueJSON is a queue as clients see it, with the settings that hold; -1 is none.
type queueJSON struct {
	Name             string            `json:"name"`
	LeaseSeconds     float64           `json:"lease_seconds"`
	MaxDeliveries    int               `json:"max_deliveries"`
	RetentionSeconds float64           `json:"retention_seconds"`
	TombstoneSeconds float64           `json:"tombstone_seconds"`
	Backlog          int               `json:"backlog"`
	Tags             map[string]string `json:"tags"`
	Status           *string           `json:"status"`
	Closed           bool              `json:"closed"`
	Counts           map[string]int64  `json:"counts"`
	OldestAgeSeconds *float64          `json:"oldest_age_seconds"`
	NextPosition     uint64            `json:"next_position"`
}

func queueOf(q *jobqueue.QueueInfo) queueJSON {
	e := q.Effective
	out := queueJSON{
		Name: q.Name.Name, LeaseSeconds: e.Lease.Seconds(), MaxDeliveries: orNone(e.MaxDeliveries), RetentionSeconds: secondsOrNone(e.Retention),
		TombstoneSeconds: secondsOrNone(e.Tombstone), Backlog: orNone(e.Backlog), Tags: q.Tags, Closed: !q.Closed.IsZero(), NextPosition: q.Next,
		Counts: make(map[string]int64, len(listStates)),
	}
	if out.Tags == nil {
		out.Tags = map[string]string{}
	}
	if q.Status != "" {
		out.Status = &q.Status
	}
	for name, s := range listStates {
		out.Counts[name] = q.Counts[s]
	}
	if q.Counts[jobqueue.Pending] > 0 {
		age := math.Round(q.Oldest.Seconds()*1000) / 1000
		out.OldestAgeSeconds = &age
	}
	return out
}

func orNone(n int) int {
	if n <= 0 {
		return -1
	}
	return n
}

func secondsOrNone(d time.Duration) float64 {
	if d <= 0 {
		return -1
	}
	return d.Seconds()
}

// settingsJSON is what a PUT reads: what a GET gave has the same effect again.
type settingsJSON struct {
	LeaseSeconds     float64           `json:"lease_seconds"`
	MaxDeliveries    int               `json:"max_deliveries"`
	RetentionSeconds float64           `json:"retention_seconds"`
	TombstoneSeconds float64           `json:"tombstone_seconds"`
	Backlog          int               `json:"backlog"`
	Tags             map[string]string `json:"tags"`
	Status           *string           `json:"status"`
}

func (s *settingsJSON) settings() (jobqueue.Settings, error) {
	out := jobqueue.Settings{Backlog: s.Backlog, Tags: s.Tags}
	out.MaxDeliveries = s.MaxDeliveries
	if s.Status != nil {
		out.Status = *s.Status
	}
	for _, f := range []struct {
		name string
		from float64
		to   *time.Duration
	}{
		{"lease_seconds", s.LeaseSeconds, &out.Lease},
		{"retention_seconds", s.RetentionSeconds, &out.Retention},
		{"tombstone_seconds", s.TombstoneSeconds, &out.Tombstone},
	} {
		var ok bool
		if *f.to, ok = seconds(f.from); !ok {
			return out, invalid(f.name + ": is out of bounds")
		}
	}
	return out, nil
}

// Queues lists the caller's queues by name: ?after one, up to ?limit (100, at most 1,000). "next" is what to give as after for more, null at the end.
func (h *Handler) Queues(w http.ResponseWriter, r *http.Request) {
	h.handle(w, r, func(c *call) error {
		if err := c.allow(ActionInspect, ""); err != nil {
			return err
		}
		q := c.query()
		after, limit := q.text("after"), q.count("limit", 1, jobqueue.MaxBatch, 100)
		if q.err != nil {
			return q.err
		}
		infos, err := c.broker.Queues(r.Context(), after, limit)
		if err != nil {
			return err
		}
		out := struct {
			Queues []queueJSON `json:"queues"`
			Next   *string     `json:"next"`
		}{Queues: make([]queueJSON, len(infos))}
		for i, info := range infos {
			out.Queues[i] = queueOf(info)
		}
		if len(infos) == limit {
			out.Next = &out.Queues[limit-1].Name
		}
		return c.answer(http.StatusOK, out)
	})
}

// Queue answers the settings and counts of the queue of the path value "queue".
func (h *Handler) Queue(w http.ResponseWriter, r *http.Request) {
	h.handle(w, r, func(c *call) error {
		q, err := c.queue(ActionInspect)
		if err != nil {
			return err
		}
		info, err := q.Info(r.Context())
		if err != nil {
			return err
		}
		return c.answer(http.StatusOK, queueOf(info))
	})
}

// PutQueue creates the queue of the path value "queue" (201), or replaces all its settings (200), and answers it. In the settings 0 or nothing is the
// server's default, and a negative number none.
func (h *Handler) PutQueue(w http.ResponseWriter, r *http.Request) {
	h.handle(w, r, func(c *call) error {
		q, err := c.queue(ActionManage)
		if err != nil {
			return err
		}
		var b settingsJSON
		if err := c.decode(&b); err != nil {
			return err
		}
		s, err := b.settings()
		if err != nil {
			return err
		}
		info, created, err := q.Configure(r.Context(), s)
		if err != nil {
			return err
		}
		status := http.StatusOK
		if created {
			status = http.StatusCreated
		}
		return c.answer(status, queueOf(info))
	})
}

// DeleteQueue forgets the queue of the path value "queue", which must be closed and done, and answers 204.
func (h *Handler) DeleteQueue(w http.ResponseWriter, r *http.Request) {
	h.toQueue(w, r, func(c *call, q *jobqueue.Queue) error { return q.Delete(r.Context()) })
}

// CloseQueue closes the queue of the path value "queue" for good, and answers 204. It may be repeated.
func (h *Handler) CloseQueue(w http.ResponseWriter, r *http.Request) {
	h.toQueue(w, r, func(c *call, q *jobqueue.Queue) error { return q.Close(r.Context()) })
}

// toQueue does something to a queue and answers 204.
func (h *Handler) toQueue(w http.ResponseWriter, r *http.Request, do func(c *call, q *jobqueue.Queue) error) {
	h.handle(w, r, func(c *call) error {
		q, err := c.queue(ActionManage)
		if err == nil {
			err = do(c, q)
		}
		if err == nil {
			w.WriteHeader(http.StatusNoContent)
		}
		return err
	})
}

// Purge cancels all jobs that wait in the queue of the path value "queue", and answers how many: {"purged": 3}.
func (h *Handler) Purge(w http.ResponseWriter, r *http.Request) {
	h.handle(w, r, func(c *call) error {
		q, err := c.queue(ActionManage)
		if err != nil {
			return err
		}
		n, err := q.Purge(r.Context())
		if err != nil {
			return err
		}
		return c.answer(http.StatusOK, struct {
			Purged int `json:"purged"`
		}{n})
	})
}

// QueueJobs lists the jobs of the queue of the path value "queue" by id, which is the order of their making: those in ?state, ?after an id, up to
// ?limit (100, at most 1,000). "next" is what to give as after for more, null at the end; there may be more even if fewer than limit, or none, are
// there.
func (h *Handler) QueueJobs(w http.ResponseWriter, r *http.Request) {
	h.handle(w, r, func(c *call) error {
		q, err := c.queue(ActionInspect)
		if err != nil {
			return err
		}
		o, err := c.listOptions()
		if err != nil {
			return err
		}
		jobs, next, err := q.Jobs(r.Context(), o)
		if err != nil {
			return err
		}
		out := struct {
			Jobs []json.RawMessage `json:"jobs"`
			Next *string           `json:"next"`
		}{Jobs: make([]json.RawMessage, len(jobs))}
		for i, j := range jobs {
			if out.Jobs[i], err = c.appendJob(nil, j); err != nil {
				return err
			}
		}
		if next != (jobqueue.ID{}) {
			s := h.opts.IDPrefix + next.String()
			out.Next = &s
		}
		return c.answer(http.StatusOK, out)
	})
}

func (c *call) listOptions() (jobqueue.ListOptions, error) {
	q := c.query()
	o := jobqueue.ListOptions{Limit: q.count("limit", 1, jobqueue.MaxBatch, 100)}
	if s, ok := q.one("state"); ok {
		if o.State, ok = listStates[s]; !ok {
			q.fail("state: %q is not one of %s", s, strings.Join(slices.Sorted(maps.Keys(listStates)), ", "))
		}
	}
	if s, ok := q.one("after"); ok {
		var err error
		if o.After, err = c.h.id(s); err != nil {
			q.fail("after: %q is not an id", s)
		}
	}
	return o, q.err
}
