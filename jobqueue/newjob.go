package jobqueue

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"io"
	"slices"
	"time"

	"github.com/pollackq/pollack/storage"
)

// A NewJob is a job to be enqueued. All fields may be left zero.
type NewJob struct {
	Payload     []byte    // what the consumer gets
	Body        io.Reader // the payload instead, of any size up to Options.MaxPayload; large ones are never held in memory whole
	ContentType string    // of the payload; at most MaxName bytes
	Name        string    // for people: a file name, a title; at most MaxName bytes
	Tags        map[string]string

	// Key, at most MaxName bytes, names the job for its submitter: within the queue and account it stands for one job as long as that or
	// its tombstone exists. Enqueuing again with the same Key and the same request (queue, payload, content type, name, tags, priority,
	// delay or time, and deadline) adds nothing and returns that job with Replayed set; with another request it is ErrKeyReused.
	// AnyRequest turns the comparison off.
	Key        string
	AnyRequest bool

	Priority int           // higher comes first; from -MaxPriority to MaxPriority
	Delay    time.Duration // not to run before that has passed
	RunAt    time.Time     // not to run before; instead of Delay
	Deadline time.Time     // fails with CodeDeadline unless it has ended by then

	Account string   // whom the job belongs to. Only a house queue can have jobs for others than its own account
	Outbox  []string // house queues that get a job when this one ends, in the same transaction; see the package documentation
	Once    bool     // refuse Redrive
	Limits           // otherwise than the queue's
}

// A draft is a NewJob that has been checked, with its payload at hand: in memory, or staged.
type draft struct {
	NewJob
	id        ID
	account   string
	payload   []byte
	blob      ID // zero unless staged
	size      int64
	digest    [32]byte // of the payload, if there is a Key
	madeQueue bool     // for the blob
	known     bool     // the key named a job before the transaction: the payload was only digested
	admitted  bool
	record    *storage.Spec // made before the transaction, which only adds when and where
	added     *storage.Job  // by the latest run of the transaction
	found     *storage.Job  // by the key, in the latest run
}

// check demands that all is within bounds.
func (j *NewJob) check() error {
	for _, f := range [...]struct{ name, value string }{{"name", j.Name}, {"content_type", j.ContentType}, {"key", j.Key}} {
		if err := checkString(f.name, f.value, MaxName); err != nil {
			return err
		}
	}
	if err := checkTags(j.Tags); err != nil {
		return err
	}
	if j.Priority < -MaxPriority || j.Priority > MaxPriority {
		return invalid("priority", "%d is not from %d to %d", j.Priority, -MaxPriority, MaxPriority)
	}
	if j.Delay < 0 || j.Delay > yearLimit {
		return invalid("delay", "%v is not from 0 to 100 years", j.Delay)
	}
	if j.Delay > 0 && !j.RunAt.IsZero() {
		return invalid("delay", "there is a time to run at, too")
	}
	if j.Payload != nil && j.Body != nil {
		return invalid("payload", "there is a Body, too")
	}
	if len(j.Outbox) > MaxOutbox {
		return invalid("outbox", "there are %d, at most %d are allowed", len(j.Outbox), MaxOutbox)
	}
	for i, name := range j.Outbox {
		if name == "" {
			return invalid("outbox", "a queue needs a name")
		}
		if err := checkString("outbox", name, MaxName); err != nil {
			return err
		}
		if slices.Contains(j.Outbox[:i], name) {
			return invalid("outbox", "%q stands in it twice", name)
		}
	}
	for _, f := range []struct {
		name string
		at   time.Time
	}{{"run_at", j.RunAt}, {"deadline", j.Deadline}} {
		if year := f.at.UTC().Year(); !f.at.IsZero() && (year < 1971 || year > 9999) {
			return invalid(f.name, "%v is not from 1971 to 9999", f.at)
		}
	}
	return checkLimits(j.Limits)
}

// requestHash is the same for the same request; see Key. Each part stands behind its length, so that no two requests look alike.
func (d *draft) requestHash(q QueueName) [32]byte {
	h := sha256.New()
	put(h, q.Account, q.Name, string(d.digest[:]), d.ContentType, d.Name)
	names := make([]string, 0, len(d.Tags))
	for name := range d.Tags {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		put(h, name, d.Tags[name])
	}
	for _, n := range []int64{int64(d.Priority), int64(d.Delay), micros(d.RunAt), micros(d.Deadline)} {
		var p [8]byte
		binary.BigEndian.PutUint64(p[:], uint64(n))
		h.Write(p[:])
	}
	return [32]byte(h.Sum(nil))
}

func put(h hash.Hash, parts ...string) {
	for _, s := range parts {
		var p [8]byte
		binary.BigEndian.PutUint64(p[:], uint64(len(s)))
		h.Write(p[:])
		io.WriteString(h, s)
	}
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// stored returns the time as a store takes it: UTC, microseconds.
func stored(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Microsecond)
}

// spec returns what never changes of the job, but for when it is created.
func (d *draft) spec(q QueueName) *storage.Spec {
	s := &storage.Spec{
		ID: d.id, Queue: q, Account: d.account, Key: d.Key, Priority: int16(d.Priority),
		Name: d.Name, ContentType: d.ContentType, Size: d.size, Blob: d.blob, Limits: d.Limits, Once: d.Once,
	}
	if len(d.Tags) > 0 {
		s.Tags = d.Tags
	}
	if len(d.Outbox) > 0 {
		s.Outbox = d.Outbox
	}
	if d.Key != "" {
		s.RequestHash = d.requestHash(q)
	}
	return s
}

// runAt returns when the job may first run: the zero time if at once.
func (d *draft) runAt(now time.Time) time.Time {
	at := stored(d.RunAt)
	if d.Delay > 0 {
		at = now.Add(d.Delay).Truncate(time.Microsecond)
	}
	return at
}
