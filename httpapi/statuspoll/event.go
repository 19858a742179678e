package statuspoll

import (
	"context"
	"encoding/json"
	"time"

	"github.com/pollackq/pollack/jobqueue"
)

// The types of an Event.
const (
	EventCompleted = "order.completed"
	EventFailed    = "order.failed"
	EventTimedOut  = "order.timed_out"
)

// eventTypes are the types by the state of the order.
var eventTypes = map[string]string{OrderCompleted: EventCompleted, OrderFailed: EventFailed, OrderTimedOut: EventTimedOut}

// An Event says that an order has ended. Each order has one. As JSON it can be sent as it is.
type Event struct {
	Type         string          `json:"type"`
	Timestamp    time.Time       `json:"timestamp"` // when the order ended
	OrderID      string          `json:"order_id"`
	Code         string          `json:"code,omitempty"` // of an order that failed or timed out, as in OrderStatus, like the next two
	ErrorMessage string          `json:"error_message,omitempty"`
	Problem      string          `json:"problem,omitempty"`
	Result       json.RawMessage `json:"result,omitempty"` // of a completed order: the answer, if it is at most jobqueue.InlineLimit bytes

	Job *jobqueue.Job `json:"-"` // the order's; Broker.Result has its answer
}

// ReadEvent returns the event that a job of a queue in PollerOptions.Outbox stands for. The id of that job is the event's: it stays the same however
// often it is delivered. A job that stands for none is ErrInvalid.
func ReadEvent(ctx context.Context, b *jobqueue.Broker, d *jobqueue.Delivery) (*Event, error) {
	payload, err := d.Payload(ctx)
	if err != nil {
		return nil, err
	}
	var told struct {
		ID jobqueue.ID `json:"id"`
	}
	if json.Unmarshal(payload, &told) != nil || told.ID == (jobqueue.ID{}) {
		return nil, errNoEvent
	}
	j, err := b.Job(ctx, told.ID)
	if err != nil {
		return nil, err
	}
	if !j.State.Ended() {
		return nil, errNoEvent
	}
	s := statusOf(j)
	e := &Event{
		Type: eventTypes[s.State], Timestamp: j.Finished, OrderID: s.ID,
		Code: s.Code, ErrorMessage: s.ErrorMessage, Problem: s.Problem, Job: j,
	}
	if r := j.Result; r != nil && jobqueue.InlineJSON(r.ContentType, r.Data) {
		e.Result = r.Data
	}
	return e, nil
}

var errNoEvent = &jobqueue.InvalidError{Field: "payload", Problem: "is not that of an order that has ended"}
