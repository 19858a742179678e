package storage

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"time"
)

// A QueueName names a queue: every account has its own names. The queues of the empty account are the house's.
type QueueName struct {
	Account string
	Name    string
}

// A Key is what a submitter calls a job: it is unique within a queue for the account the job belongs to, for as long as the job exists.
type Key struct {
	Queue   QueueName
	Account string // the job's, which in a house queue may be any
	Name    string // "" is no key
}

// A Token names one delivery of a job: 128 random bits. The zero Token is none.
type Token [16]byte

// A State says where a job stands in its life.
type State uint8

// The states of a job. What moves a job from one to the other is package jobqueue's business; a store needs to know only that Pending
// jobs are Ready, and that AddJob gives no position to Staged, Entering and Gone ones.
const (
	Staged    State = iota + 1 // not a job: the owner of a blob that is being written, or an upload that is to become a result
	Entering                   // enqueued in a user's own transaction on a shared store; the timeline will give it its position
	Scheduled                  // waits for its time
	Pending                    // waits for a consumer
	Running                    // leased to a consumer
	Succeeded                  // ended well
	Failed                     // ended badly
	Canceled                   // ended by whoever submitted it
	Gone                       // a tombstone: the job is no more, only its name is remembered
)

// Positioned reports whether AddJob gives a job of that state a position.
func (s State) Positioned() bool { return s != Staged && s != Entering && s != Gone }

// States is the number of states, for arrays indexed by State.
const States = int(Gone) + 1

// A LeaseState says what became of the latest delivery.
type LeaseState uint8

// The states of a lease.
const (
	NoLease  LeaseState = iota // never delivered
	Held                       // the job is running under it
	Lapsed                     // its time ran out
	Released                   // given back
	Settled                    // the job was ended by its holder
	Revoked                    // the job was ended, while running, by somebody else
)

// A Job is what never changes (Spec) and what does (Status).
type Job struct {
	*Spec
	Status
}

// A Spec is the part of a job that is written once. The identity of the pointer says so: a changed job shares its Spec with the job it
// was read as.
type Spec struct {
	ID          ID
	Queue       QueueName
	Account     string // whom the job belongs to
	Key         string // what the submitter calls it, "" if nothing
	RequestHash [32]byte
	Priority    int16             // higher comes first
	Position    uint64            // place in the queue, given by AddJob
	Created     time.Time         // when it was enqueued
	Name        string            // for people
	ContentType string            // of the payload
	Tags        map[string]string // nil if none
	Size        int64             // of the payload, in bytes; -1 if that is yet to be written, and of any size (an upload)
	Blob        ID                // the payload's chunks, if it is not kept with the job
	Outbox      []string          // house queues to be told of its end
	Origin      ID                // the job this one tells of, if it came out of an outbox
	Limits
	Once bool // never to run a second time: redrive is refused
}

// Limits are settings that a job may carry itself, or have from its queue. In each 0 means "as the next wider level says" and a
// negative value "none".
type Limits struct {
	Lease         time.Duration // how long a delivery may take
	MaxDeliveries int           // after so many the job fails
	Retention     time.Duration // how long an ended job is kept
	Tombstone     time.Duration // how long its name is remembered after that
}

// A Status is the part of a job that changes. It is kept small: results and texts are beside it (see Reader.Result).
type Status struct {
	State        State
	Lease        LeaseState
	Version      uint64    // grows with each change
	Due          time.Time // when time next does something to the job
	Token        Token     // of the latest delivery
	Deliveries   uint32
	Lapses       uint32
	Ends         uint32    // how often it has ended: more than once after a redrive
	Owed         uint32    // jobs in outboxes that tell of its end and have not ended themselves
	RunAt        time.Time // when it may first run, or run again
	LeaseExpires time.Time // while running
	Deadline     time.Time // when it fails unless it has ended
	Started      time.Time // the latest delivery
	Finished     time.Time // the latest end
	Progress     *float64  // 0 to 1
	HasResult    bool      // there is something to be read by Reader.Result
	NoPayload    bool      // the payload has been deleted
	ResultSize   int64     // of the result itself, in bytes
	ResultBlob   ID        // the result's chunks, if it is not kept with the job
}

// KeyOf returns the job's key as JobByKey takes it; its Name is "" if the job has none.
func (s *Spec) KeyOf() Key { return Key{Queue: s.Queue, Account: s.Account, Name: s.Key} }

// With returns a copy of the job that has the given status and shares the Spec.
func (j *Job) With(s Status) *Job { return &Job{Spec: j.Spec, Status: s} }

// String returns the token as 32 hexadecimal digits.
func (t Token) String() string { return hex.EncodeToString(t[:]) }

// NewToken returns a random token.
func NewToken() Token {
	var t Token
	rand.Read(t[:]) // never fails
	return t
}

// ParseToken reads what String wrote.
func ParseToken(s string) (Token, error) {
	var t Token
	if len(s) != hex.EncodedLen(len(t)) {
		return Token{}, errors.New("a token has 32 hexadecimal digits")
	}
	if _, err := hex.Decode(t[:], []byte(s)); err != nil {
		return Token{}, errors.New("a token has 32 hexadecimal digits")
	}
	return t, nil
}

var stateNames = [States]string{
	Staged: "staged", Entering: "entering", Scheduled: "scheduled", Pending: "pending", Running: "running",
	Succeeded: "succeeded", Failed: "failed", Canceled: "canceled", Gone: "gone",
}

// String returns the state's name in lower case.
func (s State) String() string {
	if s == 0 || int(s) >= States {
		return "unknown"
	}
	return stateNames[s]
}

// Ended reports whether a job in that state has succeeded, failed or been canceled.
func (s State) Ended() bool { return s == Succeeded || s == Failed || s == Canceled }
