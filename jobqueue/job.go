package jobqueue

import (
	"time"

	"github.com/pollackq/pollack/storage"
)

// An ID names a job. It is a ULID: 26 characters that sort by the time of their making.
type ID = storage.ID

// A QueueName is an account and a name. The queues of the empty account are the house's.
type QueueName = storage.QueueName

// A State says where a job stands in its life; see the package documentation.
type State = storage.State

// The states of a job.
const (
	Scheduled = storage.Scheduled // waits for its time
	Pending   = storage.Pending   // waits for a consumer
	Running   = storage.Running   // leased to a consumer
	Succeeded = storage.Succeeded // ended well
	Failed    = storage.Failed    // ended badly: a dead letter, if it ran out of deliveries
	Canceled  = storage.Canceled  // ended by whoever submitted it
	Gone      = storage.Gone      // a tombstone
)

// A Token proves that one holds the lease of one delivery of a job: 128 random bits, as text 32 hexadecimal digits.
type Token = storage.Token

// AnyToken stands for the token of a job's latest delivery, for protocols that have no tokens. Whoever uses it may settle what
// somebody else holds.
var AnyToken = Token{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// ParseID reads the text form of an id.
func ParseID(s string) (ID, error) {
	var id ID
	if err := id.UnmarshalText([]byte(s)); err != nil || id == (ID{}) || id.String() != s {
		return ID{}, invalid("id", "an id is a ULID of 26 characters in upper case")
	}
	return id, nil
}

// ParseToken reads the text form of a token.
func ParseToken(s string) (Token, error) {
	t, err := storage.ParseToken(s)
	if err != nil {
		return Token{}, invalid("lease_token", "%v", err)
	}
	return t, nil
}

// A Job is what is known of a job at one moment. It is a copy: changing it changes nothing, and it does not change by itself. Only
// its maps and slices are shared with other copies, and are not to be changed.
type Job struct {
	ID              ID
	Queue           QueueName
	Account         string // whom it belongs to
	Key             string // what its submitter calls it, "" if nothing
	State           State
	Priority        int
	Position        uint64 // place in the queue, from 0
	Name            string
	ContentType     string // of the payload
	Size            int64  // of the payload, in bytes
	Tags            map[string]string
	Deliveries      int      // how often it has been delivered
	Lapses          int      // how many of these deliveries ran out of time
	Progress        *float64 // 0 to 1, nil until told
	ProgressMessage string
	Result          *Result // nil until it has succeeded with one
	Failure         *Failure
	PayloadGone     bool // the payload is no longer kept
	Created         time.Time
	RunAt           time.Time // when it may first run, or run again; zero if it never had to wait
	Deadline        time.Time // when it fails unless it has ended; zero if never
	Started         time.Time // the latest delivery; zero if none
	LeaseExpires    time.Time // while running
	Finished        time.Time // zero until it has ended
	Expires         time.Time // when its retention is over; zero until it has ended
	Version         uint64    // grows with each change
	Outbox          []string
	Replayed        bool // set by an enqueue whose key named this job already: nothing was added
}

// A Result is what a job that succeeded gives back.
type Result struct {
	ContentType string
	Data        []byte // nil if it is larger than InlineLimit: read it with Broker.Result
	Size        int64
}

// A Failure says why a job failed.
type Failure struct {
	Code    string // for programs, such as "deadline_exceeded"
	Message string // for people
}

// The codes of failures that the broker itself gives.
const (
	CodeDeadline   = "deadline_exceeded"    // the job's deadline passed
	CodeDeliveries = "deliveries_exhausted" // it was delivered as often as it may be, and not settled
)

// KnownAs returns the job's public state word: "pending" for all that are yet to be delivered and have no time to wait for.
func (j *Job) KnownAs() string {
	if j.State == storage.Entering {
		return Pending.String()
	}
	return j.State.String()
}

// jobOf makes the public copy of a record and of what is kept beside its Status.
func jobOf(j *storage.Job, b beside) *Job {
	out := new(Job)
	fillJob(out, j, b)
	return out
}

func fillJob(out *Job, j *storage.Job, b beside) {
	*out = Job{
		ID: j.ID, Queue: j.Queue, Account: j.Account, Key: j.Key, State: j.State,
		Priority: int(j.Priority), Position: j.Position, Name: j.Name, ContentType: j.ContentType, Size: j.Size, Tags: j.Tags,
		Deliveries: int(j.Deliveries), Lapses: int(j.Lapses), Progress: j.Progress, PayloadGone: j.NoPayload,
		Created: j.Created, RunAt: j.RunAt, Deadline: j.Deadline, Started: j.Started, LeaseExpires: j.LeaseExpires,
		Finished: j.Finished, Version: j.Version, Outbox: j.Outbox,
	}
	if p := j.Progress; p != nil { // the store's own stays the store's
		fraction := *p
		out.Progress = &fraction
	}
	if j.State.Ended() {
		out.Expires = j.Due
	}
	out.ProgressMessage = b.message
	if b.failure != (Failure{}) {
		f := b.failure
		out.Failure = &f
	}
	if j.State == Succeeded && b.hasResult {
		out.Result = &Result{ContentType: b.contentType, Size: j.ResultSize}
		if j.ResultBlob == (ID{}) && len(b.result) <= InlineLimit {
			out.Result.Data = b.result
		}
	}
}
