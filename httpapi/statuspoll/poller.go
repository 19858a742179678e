package statuspoll

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"github.com/pollackq/pollack/jobqueue"
)

// The codes of orders that failed, as Job.Failure has them.
const (
	CodeStartFailed = "start_failed" // the webhook did not take the order
	CodeOrderFailed = "order_failed" // the status endpoint said so
	CodeTimedOut    = "timed_out"    // there was no final answer before the cut-off
)

// An Order is what is to be done.
type Order struct {
	ID     string          // one's own; it names the order for good, and is at most jobqueue.MaxName bytes of UTF-8 without control characters
	ETA    string          // how long it may take: one of PollerOptions.ETAs
	Inputs json.RawMessage // for the webhook; nil for {}
}

// PollerOptions say how to poll. StatusURL and WebhookURL are required; the zero value of everything else means its default.
type PollerOptions struct {
	StatusURL  string      // a Template: "https://automation.example/orders/{order_id}/status"
	WebhookURL string      // where orders are POSTed to, as {"order_id", "inputs"}
	Header     http.Header // sent with both, such as credentials
	AllowHTTP  bool        // URLs without TLS

	FirstCheck  time.Duration            // from the start of an order to its first check: 5 min
	Interval    time.Duration            // from one check to the next: 15 min
	AnswerLimit time.Duration            // for an answer with its body: 8 s
	RetryPause  time.Duration            // before the one retry of a check that got no answer; the pauses between tries of the webhook begin with it: 1 s
	StartFor    time.Duration            // how long after Start the webhook is tried: 5 min
	ETAs        map[string]time.Duration // from the start of an order to its cut-off: under_2_min 10 min, under_1_hr 90 min, within_24_hr 24 h
	Rules       *Rules                   // for answers: Reading

	Queue  string   // the house queue that the orders are jobs of: "orders"
	Outbox []string // house queues that get a job when an order has ended, see ReadEvent

	// ObjectKey reports whether a file of a completed answer was prepared for that order and has been uploaded. An error says that it was not, and the
	// body is broken; but one that matches an error of jobqueue about the store, or of a context, says nothing, and the check is made again soon. nil:
	// there are no uploads, so every object_key is broken.
	ObjectKey func(ctx context.Context, orderID string, f File) error
	// Accepted, if set, is called before an order completes, for instance to keep its uploads. It may be called again for the same order. Its errors
	// mean what those of ObjectKey mean.
	Accepted func(ctx context.Context, orderID string, a *Answer) error

	Client  *http.Client  // nil: one that dials any address, since the URLs are the operator's. Its redirects are not followed
	Workers int           // how many requests at once: 8. A worker may have to hold an answer of Rules.MaxBody bytes in memory twice
	Lease   time.Duration // of the workers: see jobqueue.ConsumeOptions
	Logger  *slog.Logger  // nil discards
}

// A Poller hands orders out and polls for their results. It is safe for concurrent use.
type Poller struct{}

// NewPoller returns a Poller on a broker that is not narrowed to an account, and whose MaxResult is at least Rules.MaxBody.
func NewPoller(b *jobqueue.Broker, o *PollerOptions) (*Poller, error) { return nil, errNotYet }

// Start stores an order, which Run then hands to the webhook. An order whose id is known already is Replayed if it is the same, else ErrKeyReused. An
// id, ETA or inputs that cannot be are ErrInvalid. Other errors are those of jobqueue.Queue.Enqueue.
func (p *Poller) Start(ctx context.Context, o Order) (*jobqueue.Job, error) { return nil, errNotYet }

// Run polls until ctx ends (it returns nil) or the broker shuts down; its errors are those of jobqueue.Queue.Consume.
func (p *Poller) Run(ctx context.Context) error { return errNotYet }

// The states of an order.
const (
	OrderProcessing = "processing"
	OrderCompleted  = "completed"
	OrderFailed     = "failed"
	OrderTimedOut   = "timed_out"
)

// An OrderStatus is what is known of an order.
type OrderStatus struct {
	ID       string           `json:"order_id"`
	State    string           `json:"status"`
	Progress *float64         `json:"progress,omitempty"` // what the endpoint said last, from 0 to 1
	Result   *jobqueue.Result `json:"-"`                  // of a completed order: the answer as it came. Large ones are read with Broker.Result(Job.ID)

	Code         string `json:"code,omitempty"`          // of a failed order: CodeStartFailed, CodeOrderFailed, CodeTimedOut, "canceled"
	ErrorMessage string `json:"error_message,omitempty"` // of a failed order, for people
	Problem      string `json:"problem,omitempty"`       // what was wrong with the latest answer, for the operator

	// While it is processing:
	Checks    int       `json:"checks,omitempty"`       // that have been made
	Started   time.Time `json:"started_at,omitzero"`    // t = 0; zero until the webhook has taken it
	NextCheck time.Time `json:"next_check_at,omitzero"` // zero if there is none before the cut-off
	CutOff    time.Time `json:"cut_off_at,omitzero"`

	Job *jobqueue.Job `json:"-"`
}

// Order returns what is known of an order. Errors: jobqueue.ErrNotFound; ErrGone when it is no longer kept.
func (p *Poller) Order(ctx context.Context, id string) (*OrderStatus, error) { return nil, errNotYet }
