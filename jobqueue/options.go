package jobqueue

import (
	"context"
	"log/slog"
	"time"
	"unicode/utf8"

	"github.com/pollackq/pollack/storage"
)

// Defaults and bounds.
const (
	DefaultLease     = 5 * time.Minute    // how long a consumer may hold a job
	MinLease         = time.Second        // the least a lease may be set to
	MaxLease         = 12 * time.Hour     // the most
	DefaultRetention = 24 * time.Hour     // how long an ended job is kept
	DefaultTombstone = 7 * 24 * time.Hour // how long its name is remembered after that
	DefaultPayload   = 64 << 20           // the largest payload, in bytes
	DefaultResult    = 16 << 20           // the largest result, in bytes

	// InlineLimit is the size, in bytes, up to which results come with a Job and payloads with a Delivery. Larger ones are read with
	// Broker.Result and Broker.Payload.
	InlineLimit = 64 << 10

	MaxName     = 255                        // bytes of the name of a queue, account, job, key or outbox, of a content type, status word or failure code
	MaxTags     = 64                         // tags of a job or queue
	MaxTagValue = 1 << 10                    // bytes of a tag's value; its name has at most MaxName
	MaxText     = 16 << 10                   // bytes of a failure's or progress message
	MaxBatch    = 1000                       // jobs of one EnqueueMany, ReceiveMany or AckMany
	MaxOutbox   = 8                          // queues in an Outbox
	MaxPriority = 1<<15 - 1                  // priorities go from -MaxPriority to MaxPriority
	stageAt     = 256 << 10                  // payloads and results larger than that are written as blobs, bytes
	stageTime   = time.Hour                  // how long what is being written is kept after its last part
	uploadTime  = time.Hour                  // how long an upload is kept unless it says otherwise
	forever     = 1 << 62                    // a duration that is never over
	yearLimit   = 100 * 365 * 24 * time.Hour // the furthest a time may be set ahead
)

// Options of a Broker. The zero value of each field, and a nil *Options, mean the defaults.
type Options struct {
	// Limits for all queues and jobs that do not say otherwise. In each 0 means the default and a negative value none.
	Lease         time.Duration // 5 minutes; from MinLease to MaxLease
	MaxDeliveries int           // no limit. At least 3 is wise: a delivery counts though its consumer may never have got it
	Retention     time.Duration // 24 hours from the end; none: a job is deleted when it ends
	Tombstone     time.Duration // 7 days after the retention; none: the names of jobs are forgotten with them
	Backlog       int           // no limit to the jobs that may wait in a queue
	MaxPayload    int64         // 64 MiB
	MaxResult     int64         // 16 MiB

	// ExplicitQueues demands that queues are created with Queue.Configure before they are used: unknown ones, those of an Outbox too, are
	// then ErrNotFound. Otherwise the first enqueue creates a queue.
	ExplicitQueues bool

	// Admit, if set, is asked once for every new job before it is stored, and not for replays. It must be idempotent for an id. An error
	// refuses the job: the enqueue returns an error that matches both it and ErrRefused. Enqueues of this process with the same Key take
	// turns at it, so that of many at once the first is admitted and the others are its replays. Forget, if set, undoes Admit when the
	// enqueue fails after all; not when the outcome is unknown, since the job may exist.
	Admit  func(ctx context.Context, j *Job) error
	Forget func(ctx context.Context, id ID)

	// Observer is told what happens; nil for nobody.
	Observer Observer
	// Logger gets what an operator must know; nil discards it.
	Logger *slog.Logger
}

func (o *Options) withDefaults() (Options, error) {
	var out Options
	if o != nil {
		out = *o
	}
	if out.Lease == 0 {
		out.Lease = DefaultLease
	}
	if err := checkLimits(Limits{Lease: out.Lease, MaxDeliveries: out.MaxDeliveries, Retention: out.Retention, Tombstone: out.Tombstone}); err != nil {
		return out, err
	}
	if out.Retention == 0 {
		out.Retention = DefaultRetention
	}
	if out.Tombstone == 0 {
		out.Tombstone = DefaultTombstone
	}
	if out.MaxPayload == 0 {
		out.MaxPayload = DefaultPayload
	}
	if out.MaxPayload < 0 {
		out.MaxPayload = forever
	}
	if out.MaxResult == 0 {
		out.MaxResult = DefaultResult
	}
	if out.MaxResult < 0 {
		out.MaxResult = forever
	}
	if out.Observer == nil {
		out.Observer = NopObserver{}
	}
	if out.Logger == nil {
		out.Logger = slog.New(slog.DiscardHandler)
	}
	return out, nil
}

// Limits are what a queue or job may say otherwise than the broker's Options; see there. In each 0 means "as the next wider level
// says" (job, queue, broker) and a negative value none; a lease cannot be none.
type Limits = storage.Limits

// first returns the first value that is set.
func first[T int | time.Duration](values ...T) T {
	for _, v := range values {
		if v != 0 {
			return v
		}
	}
	return 0
}

// limitsFor returns the limits that hold for a job of a queue; what is none is negative, except that MaxDeliveries may also be 0 for none.
func (c *core) limitsFor(j *storage.Spec, q *storage.Queue) Limits {
	return Limits{
		Lease:         first(j.Lease, q.Lease, c.opts.Lease),
		MaxDeliveries: first(j.MaxDeliveries, q.MaxDeliveries, c.opts.MaxDeliveries),
		Retention:     first(j.Retention, q.Retention, c.opts.Retention),
		Tombstone:     first(j.Tombstone, q.Tombstone, c.opts.Tombstone),
	}
}

func checkLease(d time.Duration) error {
	if d < MinLease || d > MaxLease {
		return invalid("lease", "%v is not from %v to %v", d, MinLease, MaxLease)
	}
	return nil
}

func checkLimits(l Limits) error {
	if l.Lease != 0 {
		if err := checkLease(l.Lease); err != nil {
			return err
		}
	}
	for _, d := range []struct {
		name string
		d    time.Duration
	}{{"retention", l.Retention}, {"tombstone", l.Tombstone}} {
		if d.d > yearLimit {
			return invalid(d.name, "%v is more than 100 years", d.d)
		}
		if d.d > 0 && d.d < time.Microsecond {
			return invalid(d.name, "%v is less than a microsecond", d.d)
		}
	}
	if l.MaxDeliveries > 1<<30 {
		return invalid("max_deliveries", "%d is too many", l.MaxDeliveries)
	}
	return nil
}

// checkString demands valid UTF-8 without control characters, of at most max bytes.
func checkString(field, s string, max int) error {
	if len(s) > max {
		return invalid(field, "has %d bytes, at most %d are allowed", len(s), max)
	}
	if !utf8.ValidString(s) {
		return invalid(field, "is not valid UTF-8")
	}
	for i := 0; i < len(s); i++ {
		if s[i] < 0x20 || s[i] == 0x7f {
			return invalid(field, "has a control character")
		}
	}
	return nil
}

// checkText is checkString for texts that may have several lines.
func checkText(field, s string) error {
	if len(s) > MaxText {
		return invalid(field, "has %d bytes, at most %d are allowed", len(s), MaxText)
	}
	if !utf8.ValidString(s) {
		return invalid(field, "is not valid UTF-8")
	}
	for i := 0; i < len(s); i++ {
		if s[i] == 0 {
			return invalid(field, "has a NUL character")
		}
	}
	return nil
}

func checkQueueName(n QueueName) error {
	if n.Name == "" {
		return invalid("queue", "a queue needs a name")
	}
	if err := checkString("queue", n.Name, MaxName); err != nil {
		return err
	}
	return checkString("account", n.Account, MaxName)
}

func checkTags(tags map[string]string) error {
	if len(tags) > MaxTags {
		return invalid("tags", "there are %d, at most %d are allowed", len(tags), MaxTags)
	}
	sum := 0
	for k, v := range tags {
		if k == "" {
			return invalid("tags", "a tag needs a name")
		}
		if err := checkString("tags", k, MaxName); err != nil {
			return err
		}
		if err := checkString("tags", v, MaxTagValue); err != nil {
			return err
		}
		sum += len(k) + len(v)
	}
	if sum > storage.MaxSpec/2 {
		return invalid("tags", "they have %d bytes together, at most %d are allowed", sum, storage.MaxSpec/2)
	}
	return nil
}
