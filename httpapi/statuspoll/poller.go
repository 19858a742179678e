package statuspoll

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/pollackq/pollack/httpapi/outbound"
	"github.com/pollackq/pollack/jobqueue"
)

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

	Client  *http.Client  // nil: one that dials any address, since the URLs are the operator's. Redirects are not followed
	Workers int           // how many requests at once: 64. At most four of them hold answers of more than a megabyte in memory, each up to three times over
	Lease   time.Duration // of the workers: see jobqueue.ConsumeOptions
	Logger  *slog.Logger  // nil discards
}

// etas are the buckets of how long an order may take, with the times after which it is given up.
var etas = map[string]time.Duration{"under_2_min": 10 * time.Minute, "under_1_hr": 90 * time.Minute, "within_24_hr": 24 * time.Hour}

const (
	defaultWorkers = 64
	repeatAfter    = 15 * time.Second // of a check or try whose outcome could not be written down
)

func (o *PollerOptions) withDefaults() (PollerOptions, error) {
	var d PollerOptions
	if o != nil {
		d = *o
	}
	for _, f := range []struct {
		name  string
		value *time.Duration
		or    time.Duration
	}{
		{"FirstCheck", &d.FirstCheck, 5 * time.Minute},
		{"Interval", &d.Interval, 15 * time.Minute},
		{"AnswerLimit", &d.AnswerLimit, 8 * time.Second},
		{"RetryPause", &d.RetryPause, time.Second},
		{"StartFor", &d.StartFor, 5 * time.Minute},
	} {
		if *f.value < 0 {
			return d, fmt.Errorf("%s %v is negative", f.name, *f.value)
		}
		*f.value = cmp.Or(*f.value, f.or)
	}
	if d.ETAs == nil {
		d.ETAs = etas
	}
	for name, t := range d.ETAs {
		if t <= 0 {
			return d, fmt.Errorf("ETA %q stands for %v, which is not positive", name, t)
		}
	}
	if d.Rules == nil {
		r := Reading()
		d.Rules = &r
	}
	d.Queue, d.Workers = cmp.Or(d.Queue, "orders"), cmp.Or(d.Workers, defaultWorkers)
	d.Header = d.Header.Clone()
	if d.Client == nil {
		d.Client = outbound.NewClient(&outbound.Options{AllowPrivate: true, AllowHTTP: d.AllowHTTP, Timeout: -1})
	}
	own := *d.Client
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	d.Client = &own
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
	return d, nil
}

// A Poller hands orders out and polls for their results. It is safe for concurrent use.
type Poller struct {
	broker *jobqueue.Broker
	opts   PollerOptions
	queue  *jobqueue.Queue
	status *Template
	large  chan struct{} // holds one for each large answer in memory
}

// NewPoller returns a Poller on a broker that is not narrowed to an account, and whose MaxResult is at least Rules.MaxBody.
func NewPoller(b *jobqueue.Broker, o *PollerOptions) (*Poller, error) {
	opts, err := o.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("statuspoll: %w", err)
	}
	p := &Poller{broker: b, opts: opts, queue: b.Queue(opts.Queue), large: make(chan struct{}, largeBodies)}
	if _, scoped := b.Account(); scoped {
		return nil, errors.New("statuspoll: the broker is narrowed to an account; orders are in a queue of the house")
	}
	if most := opts.Rules.MaxBody; b.MaxResult() < most {
		return nil, fmt.Errorf("statuspoll: the broker's MaxResult is %d, but an answer may have %d bytes", b.MaxResult(), most)
	}
	if p.status, err = ParseTemplate(opts.StatusURL, opts.AllowHTTP); err != nil {
		return nil, fmt.Errorf("statuspoll: %w", err)
	}
	if _, err = outbound.CheckURL(opts.WebhookURL, opts.AllowHTTP); err != nil {
		return nil, fmt.Errorf("statuspoll: webhook URL: %w", err)
	}
	return p, nil
}

// An Order is what is to be done.
type Order struct {
	ID     string          // one's own; it names the order for good, and is at most jobqueue.MaxName bytes of UTF-8 without control characters
	ETA    string          // how long it may take: one of PollerOptions.ETAs
	Inputs json.RawMessage // for the webhook; nil for {}
}

// etaTag is the tag of an order's job that has its ETA.
const etaTag = "eta"

// Start stores an order, which Run then hands to the webhook. An order whose id is known already is Replayed if it is the same, else ErrKeyReused. An
// id, ETA or inputs that cannot be are ErrInvalid. Other errors are those of jobqueue.Queue.Enqueue.
func (p *Poller) Start(ctx context.Context, o Order) (*jobqueue.Job, error) {
	if o.Inputs == nil {
		o.Inputs = json.RawMessage("{}")
	}
	_, known := p.opts.ETAs[o.ETA]
	switch {
	case o.ID == "":
		return nil, &jobqueue.InvalidError{Field: "order_id", Problem: "must be there"}
	case !known:
		return nil, &jobqueue.InvalidError{Field: "eta", Problem: fmt.Sprintf("%q is not one that is known", o.ETA)}
	case !json.Valid(o.Inputs) || !utf8.Valid(o.Inputs):
		return nil, &jobqueue.InvalidError{Field: "inputs", Problem: "must be JSON"}
	}
	payload, err := json.Marshal(struct {
		OrderID string          `json:"order_id"`
		Inputs  json.RawMessage `json:"inputs"`
	}{o.ID, o.Inputs})
	if err != nil {
		return nil, err
	}
	j, err := p.queue.Enqueue(ctx, jobqueue.NewJob{
		Key: o.ID, Payload: payload, ContentType: "application/json", Tags: map[string]string{etaTag: o.ETA},
		Outbox: p.opts.Outbox, Once: true,
		Limits: jobqueue.Limits{MaxDeliveries: -1}, // the cut-off is the limit
	})
	if bad := new(jobqueue.InvalidError); errors.As(err, &bad) && bad.Field == "key" {
		err = &jobqueue.InvalidError{Field: "order_id", Problem: bad.Problem}
	}
	return j, err
}

// Run polls until ctx ends (it returns nil) or the broker shuts down; its errors are those of jobqueue.Queue.Consume.
func (p *Poller) Run(ctx context.Context) error {
	return p.queue.Consume(ctx, p.handle, &jobqueue.ConsumeOptions{
		Workers: p.opts.Workers, Lease: p.opts.Lease,
		Backoff: func(int) time.Duration { return repeatAfter },
	})
}
