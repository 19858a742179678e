package statuspoll

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/pollackq/pollack/jobqueue"
)

// The states of an order.
const (
	OrderProcessing = "processing"
	OrderCompleted  = "completed"
	OrderFailed     = "failed"
	OrderTimedOut   = "timed_out"
)

// The codes of orders that failed, as Job.Failure has them.
const (
	CodeStartFailed = "start_failed" // the webhook did not take the order
	CodeOrderFailed = "order_failed" // the status endpoint said so
	CodeTimedOut    = "timed_out"    // there was no final answer before the cut-off
	CodeUnreadable  = "unreadable"   // somebody else wrote into the progress of its job, so that nothing is known of it any more
	CodeCanceled    = "canceled"     // not a Failure's: the job was canceled
)

// An OrderStatus is what is known of an order.
type OrderStatus struct {
	ID       string           `json:"order_id"`
	State    string           `json:"status"`
	Progress *float64         `json:"progress,omitempty"` // what the endpoint said last, from 0 to 1
	Result   *jobqueue.Result `json:"-"`                  // of a completed order: the answer as it came. Large ones are read with Broker.Result(Job.ID)

	Code         string `json:"code,omitempty"`          // of an order that failed or timed out
	ErrorMessage string `json:"error_message,omitempty"` // of the same, for people
	Problem      string `json:"problem,omitempty"`       // what was wrong with the latest answer, for the operator

	Checks    int       `json:"checks"`                 // that have been made
	Started   time.Time `json:"started_at,omitzero"`    // t = 0; zero if the webhook has not taken it
	NextCheck time.Time `json:"next_check_at,omitzero"` // zero if there is none before the cut-off, or it has ended
	CutOff    time.Time `json:"cut_off_at,omitzero"`

	Job *jobqueue.Job `json:"-"`
}

// Order returns what is known of an order. Errors: jobqueue.ErrNotFound; ErrGone when it is no longer kept.
func (p *Poller) Order(ctx context.Context, id string) (*OrderStatus, error) {
	j, err := jobOf(ctx, p.broker, p.queue.Name(), id)
	if err != nil {
		return nil, err
	}
	return statusOf(j), nil
}

// jobOf returns the job of an order. An id that no order can have is one that there is not.
func jobOf(ctx context.Context, b *jobqueue.Broker, queue jobqueue.QueueName, id string) (*jobqueue.Job, error) {
	j, err := b.JobByKey(ctx, queue, id)
	if errors.Is(err, jobqueue.ErrInvalid) {
		err = jobqueue.ErrNotFound
	}
	return j, err
}

func statusOf(j *jobqueue.Job) *OrderStatus {
	m, _ := readMemory(j)
	s := &OrderStatus{
		ID: j.Key, State: OrderProcessing, Progress: j.Progress, Result: j.Result, Job: j,
		Problem: m.Problem, Checks: m.Checks, Started: m.Started, CutOff: m.CutOff,
	}
	switch j.State {
	case jobqueue.Succeeded:
		s.State, s.Progress, s.Problem = OrderCompleted, nil, ""
	case jobqueue.Canceled:
		s.State, s.Code, s.ErrorMessage = OrderFailed, CodeCanceled, "The order was canceled."
	case jobqueue.Failed:
		s.State, s.Code, s.ErrorMessage = OrderFailed, j.Failure.Code, j.Failure.Message
		if s.Code == CodeTimedOut {
			s.State = OrderTimedOut
		}
	default:
		s.NextCheck = m.Next
	}
	if s.State == OrderCompleted || s.Code == CodeOrderFailed {
		s.Checks++ // the last one, of which nothing had to be remembered
	}
	return s
}

// A memory is what has to be known of an order from one request to the next. It is the progress message of its job, as JSON, and stays when the job has
// ended.
type memory struct {
	Started time.Time `json:"started,omitzero"` // t = 0; zero until the webhook has taken the order
	CutOff  time.Time `json:"cut_off,omitzero"`
	Next    time.Time `json:"next,omitzero"` // the next check; zero if there is none before the cut-off
	Checks  int       `json:"checks,omitempty"`
	Tries   int       `json:"tries,omitempty"` // the latest delivery in which the webhook is known not to have taken the order
	Problem string    `json:"problem,omitempty"`
}

func readMemory(j *jobqueue.Job) (m memory, err error) {
	if j.ProgressMessage != "" {
		err = json.Unmarshal([]byte(j.ProgressMessage), &m)
	}
	return m, err
}
