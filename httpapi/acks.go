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
	ID      string
	Outcome string
	Error   *Problem
}

func (a *ackAnswer) refuse(err error) {
	a.Error = problemOf(err)
	a.Error.Title = http.StatusText(a.Error.Status)
}

// An ackList is the acks of a request, those that can be tried, and what came of each.
type ackList struct {
	answers []ackAnswer
	acks    []jobqueue.Ack // of the answers that are not errors
	refused bool           // one was, as it cannot be tried
}

// readAcks reads the acks of the body, up to most; nil if it has no such member. Each is looked at by itself.
func (c *call) readAcks(most int) (*ackList, error) {
	t := newText()
	defer t.free()
	p, err := c.readObject(t)
	if err != nil {
		return nil, err
	}
	var b struct {
		Acks []ackBody `json:"acks"`
	}
	if err := unmarshal(p, &b); err != nil || b.Acks == nil {
		return nil, err
	}
	if len(b.Acks) > most {
		return nil, wrongCount(len(b.Acks), most)
	}
	l := &ackList{answers: make([]ackAnswer, len(b.Acks)), acks: make([]jobqueue.Ack, 0, len(b.Acks))}
	for i, one := range b.Acks {
		l.answers[i].ID = one.ID
		ack, err := c.readAck(one)
		if err != nil {
			l.answers[i].refuse(err)
			l.refused = true
			continue
		}
		l.acks = append(l.acks, ack)
	}
	return l, nil
}

func wrongCount(n, most int) error {
	return invalid(fmt.Sprintf("acks: there are %d, from 1 to %d are allowed", n, most))
}

// take notes what came of the acks; nil if none was tried.
func (l *ackList) take(results []jobqueue.AckResult) {
	for i := range l.answers {
		if len(results) == 0 {
			return
		}
		if l.answers[i].Error != nil {
			continue
		}
		if err := results[0].Err; err != nil {
			l.answers[i].refuse(err)
		} else {
			l.answers[i].Outcome = outcomeOf(results[0].Outcome)
		}
		results = results[1:]
	}
}

// append appends what came of the acks as JSON.
func (l *ackList) append(b []byte) (_ []byte, err error) {
	b = append(b, '[')
	for i := range l.answers {
		if i > 0 {
			b = append(b, ',')
		}
		a := &l.answers[i]
		b = appendString(append(b, `{"id":`...), a.ID)
		if a.Error == nil {
			b = appendString(append(b, `,"outcome":`...), a.Outcome)
		} else if b, err = appendJSON(append(b, `,"error":`...), a.Error); err != nil {
			return b, err
		}
		b = append(b, '}')
	}
	return append(b, ']'), nil
}

// AckMany acks up to jobqueue.MaxBatch jobs in one transaction: {"acks": [{"id", "lease_token"}]}. It answers 200 with {"results": [{"id", "outcome"}
// or {"id", "error"}]} in the same order, each by itself: an error is the problem that a single ack would get.
func (h *Handler) AckMany(w http.ResponseWriter, r *http.Request) {
	h.handle(w, r, func(c *call) error {
		l, err := c.readAcks(jobqueue.MaxBatch)
		switch {
		case err != nil:
			return err
		case l == nil || len(l.answers) == 0:
			return wrongCount(0, jobqueue.MaxBatch)
		}
		results, err := c.onlyAck(l.acks, nil)
		if err != nil {
			return err
		}
		l.take(results)
		t := newText()
		defer t.free()
		if t.b, err = l.append(append(t.b, `{"results":`...)); err != nil {
			return err
		}
		t.b = append(t.b, '}')
		c.answerText(http.StatusOK, t.b)
		return nil
	})
}

// pollAcks reads the acks that come with a poll, nil if there is no list of them.
func (c *call) pollAcks() (*ackList, error) {
	l, err := c.readAcks(MaxPollJobs)
	c.inJSON = false // all else is in the query
	return l, err
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
