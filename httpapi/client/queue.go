package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Settings are what a queue says otherwise than the server's defaults. In each limit 0 means the default and a negative value none.
type Settings struct {
	Lease         time.Duration // how long a consumer may hold a job
	MaxDeliveries int           // how often a job is delivered before it fails
	Retention     time.Duration // how long an ended job is kept
	Tombstone     time.Duration // how long its name is remembered after that
	Backlog       int           // how many jobs may wait
	Tags          map[string]string
	Status        string // a free word
}

// Counts are jobs per state.
type Counts struct {
	Scheduled int `json:"scheduled"`
	Pending   int `json:"pending"`
	Running   int `json:"running"`
	Succeeded int `json:"succeeded"`
	Failed    int `json:"failed"`
	Canceled  int `json:"canceled"`
}

// A Queue is what the server knows of a queue at one moment. Its Settings are those that hold, defaults included.
type Queue struct {
	Name string
	Settings
	Closed  bool
	Counts  Counts
	Oldest  time.Duration // how long the oldest pending job has waited, 0 if there is none
	Next    uint64        // the position of the next job
	Created bool          // set by Configure if there was no such queue before
}

// wireQueue is a queue as the wire has it.
type wireQueue struct {
	Name          string            `json:"name"`
	Lease         *float64          `json:"lease_seconds"`
	MaxDeliveries *int              `json:"max_deliveries"`
	Retention     *float64          `json:"retention_seconds"`
	Tombstone     *float64          `json:"tombstone_seconds"`
	Backlog       *int              `json:"backlog"`
	Tags          map[string]string `json:"tags"`
	Status        string            `json:"status"`
	Closed        bool              `json:"closed"`
	Counts        Counts            `json:"counts"`
	Oldest        float64           `json:"oldest_age_seconds"`
	Next          uint64            `json:"next_position"`
}

func (w *wireQueue) queue() *Queue {
	return &Queue{
		Name: w.Name, Closed: w.Closed, Counts: w.Counts, Oldest: ofSeconds(&w.Oldest), Next: w.Next,
		Settings: Settings{
			Lease: ofSeconds(w.Lease), MaxDeliveries: ofNumber(w.MaxDeliveries), Retention: ofSeconds(w.Retention), Tombstone: ofSeconds(w.Tombstone),
			Backlog: ofNumber(w.Backlog), Tags: w.Tags, Status: w.Status,
		},
	}
}

func ofSeconds(n *float64) time.Duration {
	if n == nil {
		return 0
	}
	return time.Duration(*n * float64(time.Second))
}

func ofNumber(n *int) int {
	if n == nil {
		return 0
	}
	return *n
}

// Configure creates a queue, or replaces the settings of one that is there.
func (c *Client) Configure(ctx context.Context, queue string, s Settings) (*Queue, error) {
	l := call{method: http.MethodPut, path: queuePath(queue)}
	fields := map[string]any{}
	for k, v := range map[string]time.Duration{"lease_seconds": s.Lease, "retention_seconds": s.Retention, "tombstone_seconds": s.Tombstone} {
		switch {
		case v < 0:
			fields[k] = -1
		case v > 0:
			fields[k] = v.Seconds()
		}
	}
	for k, v := range map[string]int{"max_deliveries": s.MaxDeliveries, "backlog": s.Backlog} {
		if v != 0 {
			fields[k] = v
		}
	}
	if len(s.Tags) > 0 {
		fields["tags"] = s.Tags
	}
	if s.Status != "" {
		fields["status"] = s.Status
	}
	if err := l.send(fields); err != nil {
		return nil, err
	}
	var w wireQueue
	a, err := c.ask(ctx, l, &w)
	if err != nil {
		return nil, err
	}
	q := w.queue()
	q.Created = a.status == http.StatusCreated
	return q, nil
}

// Queue reads a queue's settings and counts.
func (c *Client) Queue(ctx context.Context, queue string) (*Queue, error) {
	var w wireQueue
	if _, err := c.ask(ctx, call{method: http.MethodGet, path: queuePath(queue)}, &w); err != nil {
		return nil, err
	}
	return w.queue(), nil
}

// Queues iterates over all queues of the account, by name. It ends with the first error.
func (c *Client) Queues(ctx context.Context) iter.Seq2[*Queue, error] {
	return func(yield func(*Queue, error) bool) {
		after := ""
		for {
			var page struct {
				Queues []*wireQueue `json:"queues"`
				Next   *string      `json:"next"`
			}
			l := call{method: http.MethodGet, path: "/v1/queues", query: url.Values{}}
			if after != "" {
				l.query.Set("after", after)
			}
			if _, err := c.ask(ctx, l, &page); err != nil {
				yield(nil, err)
				return
			}
			for _, w := range page.Queues {
				if !yield(w.queue(), nil) {
					return
				}
			}
			if page.Next == nil || *page.Next == "" || *page.Next == after {
				return
			}
			after = *page.Next
		}
	}
}

// Jobs iterates over the jobs of a queue in one state, or in all states if that is "", by id: oldest first. Pages are fetched as they are needed;
// jobs that come or change meanwhile may be missed. It ends with the first error.
func (c *Client) Jobs(ctx context.Context, queue string, state State) iter.Seq2[*Job, error] {
	return func(yield func(*Job, error) bool) {
		after := ""
		for {
			var page struct {
				Jobs []*Job  `json:"jobs"`
				Next *string `json:"next"`
			}
			l := call{method: http.MethodGet, path: queuePath(queue) + "/jobs", query: url.Values{"limit": {strconv.Itoa(100)}}}
			if state != "" {
				l.query.Set("state", string(state))
			}
			if after != "" {
				l.query.Set("after", after)
			}
			if _, err := c.ask(ctx, l, &page); err != nil {
				yield(nil, err)
				return
			}
			for _, j := range page.Jobs {
				j.tidy(c.base)
				if !yield(j, nil) {
					return
				}
			}
			if page.Next == nil || *page.Next == "" || *page.Next == after {
				return
			}
			after = *page.Next
		}
	}
}

// Close closes a queue for good: nothing more goes in, and once nothing unfinished is left polls are told ErrDone. Closing it again is no error.
func (c *Client) Close(ctx context.Context, queue string) error {
	_, err := c.ask(ctx, call{method: http.MethodPost, path: queuePath(queue) + "/close"}, nil)
	return err
}

// Purge cancels the jobs of a queue that wait, and returns how many there were.
func (c *Client) Purge(ctx context.Context, queue string) (int, error) {
	var out struct{ Purged int }
	_, err := c.ask(ctx, call{method: http.MethodPost, path: queuePath(queue) + "/purge"}, &out)
	return out.Purged, err
}

// Delete forgets a queue that is closed and done; any other is ErrWrongState.
func (c *Client) Delete(ctx context.Context, queue string) error {
	_, err := c.ask(ctx, call{method: http.MethodDelete, path: queuePath(queue), once: true}, nil)
	return err
}
