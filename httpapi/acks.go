package httpapi

import (
	"fmt"
	"net/http"

	"github.com/pollackq/pollack/jobqueue"
)

type ackBody struct {
	ID    string `json:"id"`
	Token string `json:"lease_token"`
}

// ackAnswer is what came of one of many acks: an outcome or an error.
type ackAnswer struct {
	ID      string   `json:"id"`
	Outcome string   `json:"outcome,omitempty"`
	Error   *Problem `json:"error,omitempty"`
}

func (a *ackAnswer) refused(err error) {
	a.Error = problemOf(err)
	a.Error.Title = http.StatusText(a.Error.Status)
}

// AckMany acks up to jobqueue.MaxBatch jobs in one transaction: {"acks": [{"id", "lease_token"}]}. It answers 200 with {"results": [{"id", "outcome"}
// or {"id", "error"}]} in the same order, each by itself: an error is the problem that a single ack would get.
func (h *Handler) AckMany(w http.ResponseWriter, r *http.Request) {
	h.handle(w, r, func(c *call) error {
		var b struct {
			Acks []ackBody `json:"acks"`
		}
		if err := c.decode(&b); err != nil {
			return err
		}
		if len(b.Acks) == 0 || len(b.Acks) > jobqueue.MaxBatch {
			return invalid(fmt.Sprintf("acks: there are %d, from 1 to %d are allowed", len(b.Acks), jobqueue.MaxBatch))
		}
		answers := make([]ackAnswer, len(b.Acks))
		var acks []jobqueue.Ack
		var of []int // whose answers[i] the acks are
		for i, one := range b.Acks {
			answers[i].ID = one.ID
			ack, err := c.readAck(one)
			if err != nil {
				answers[i].refused(err)
				continue
			}
			acks, of = append(acks, ack), append(of, i)
		}
		if len(acks) > 0 {
			results, err := c.broker.AckMany(r.Context(), acks)
			if err != nil {
				return err
			}
			for n, result := range results {
				if result.Err != nil {
					answers[of[n]].refused(result.Err)
				} else {
					answers[of[n]].Outcome = outcomeOf(result.Outcome).Outcome
				}
			}
		}
		return c.answer(http.StatusOK, struct {
			Results []ackAnswer `json:"results"`
		}{answers})
	})
}

func (c *call) readAck(b ackBody) (jobqueue.Ack, error) {
	id, err := c.h.id(b.ID)
	if err != nil {
		return jobqueue.Ack{}, err
	}
	if c.h.opts.Authorize != nil { // the queue is needed
		j, err := c.broker.Job(c.r.Context(), id)
		if err == nil {
			err = c.allow(ActionSettle, j.Queue.Name)
		}
		if err != nil {
			return jobqueue.Ack{}, err
		}
	}
	t, err := c.h.token(b.Token)
	return jobqueue.Ack{ID: id, Token: t}, err
}
