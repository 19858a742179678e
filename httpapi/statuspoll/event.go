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

// An Event says that an order has ended. Each order has one. As JSON it can be sent as it is.
type Event struct {
	Type         string          `json:"type"`
	Timestamp    time.Time       `json:"timestamp"` // when the order ended
	OrderID      string          `json:"order_id"`
	Code         string          `json:"code,omitempty"` // of a failed order, as in OrderStatus
	ErrorMessage string          `json:"error_message,omitempty"`
	Problem      string          `json:"problem,omitempty"`
	Result       json.RawMessage `json:"result,omitempty"` // of a completed order: the answer, if it is at most jobqueue.InlineLimit bytes

	Job *jobqueue.Job `json:"-"` // the order's; Broker.Result has its answer
}

// ReadEvent returns the event that a job of a queue in PollerOptions.Outbox stands for. The id of that job is the event's: it stays the same however
// often it is delivered. A job that is none is ErrInvalid.
func ReadEvent(ctx context.Context, b *jobqueue.Broker, d *jobqueue.Delivery) (*Event, error) {
	return nil, errNotYet
}
