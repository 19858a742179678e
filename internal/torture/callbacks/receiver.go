package callbacks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/pollackq/pollack/httpapi/callback"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage"
)

const secret callback.Secret = "a secret of both"

// An end is the nth of a job.
type end struct {
	job jobqueue.ID
	n   uint32
}

// A receiver is whoever the callbacks go to. Its own transport stands for the network.
type receiver struct {
	life *life

	mu    sync.Mutex // guards what follows
	rnd   *rand.Rand
	from  *mortal // the process that sends; nil: one that does not die, and is answered well
	count int64
	ids   map[end]map[string]bool // the webhook-ids of each end
}

func newReceiver(seed uint64) *receiver {
	return &receiver{rnd: rand.New(rand.NewPCG(seed, 2)), ids: make(map[end]map[string]bool)}
}

func (r *receiver) meets(m *mortal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.from = m
}

func (r *receiver) client() *http.Client { return &http.Client{Transport: r} }

func (r *receiver) total() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count
}

func (r *receiver) idsOf(e end) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.ids[e]))
}

// RoundTrip takes an attempt, unless the process that makes it is dead.
func (r *receiver) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	req.Body.Close()
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.from != nil && r.from.isDead() {
		return nil, errors.New("the process is dead")
	}
	r.count++
	if err := r.take(req.Header, body); err != nil {
		r.life.bad("an attempt: %v: %v %s", err, req.Header, body)
	}
	status := http.StatusNoContent
	if r.from != nil {
		status = one(r.rnd, 0, 204, 200, 204, 500, 503, 429, 302, 410)
	}
	if status == 0 {
		return nil, errors.New("the connection is lost")
	}
	h := http.Header{}
	if status == http.StatusTooManyRequests {
		h.Set("Retry-After", "1")
	}
	return &http.Response{StatusCode: status, Header: h, Body: http.NoBody, Request: req}, nil
}

// take demands that what is told is signed, and committed.
func (r *receiver) take(h http.Header, body []byte) error {
	if err := (&callback.Verifier{Secrets: []callback.Secret{secret}}).Verify(h, body); err != nil {
		return err
	}
	webhook := h.Get(callback.HeaderID)
	var job struct{ ID, State string }
	if err := json.Unmarshal(body, &job); err != nil {
		return err
	}
	id, err := jobqueue.ParseID(job.ID)
	if err != nil {
		return err
	}
	telling, err := jobqueue.ParseID(webhook)
	if err != nil {
		return fmt.Errorf("the webhook-id %q is not the job's of the outbox: %w", webhook, err)
	}
	var e end
	err = r.life.store.View(context.Background(), storage.Reads{}, func(tx storage.Reader) error {
		t, err := tx.Job(telling)
		if err != nil {
			return fmt.Errorf("the outbox has no such job: %w", err)
		}
		j, err := tx.Job(id)
		if err != nil {
			return fmt.Errorf("there is no such job: %w", err)
		}
		e = end{job: id}
		if _, err := fmt.Sscanf(strings.TrimPrefix(t.Key, job.ID), "/%d", &e.n); err != nil {
			return fmt.Errorf("the outbox's job has the key %q: %w", t.Key, err)
		}
		switch {
		case t.Origin != id || t.Name != "job."+job.State:
			return fmt.Errorf("the outbox's job tells of %v, %s", t.Origin, t.Name)
		case j.Ends < e.n:
			return fmt.Errorf("end %d is not committed: the job is %v and has ended %d times", e.n, j.State, j.Ends)
		case j.Ends == e.n && j.State.Ended() && j.State.String() != job.State:
			return fmt.Errorf("the job has ended as %v", j.State)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if r.ids[e] == nil {
		r.ids[e] = make(map[string]bool)
	}
	r.ids[e][webhook] = true
	return nil
}
