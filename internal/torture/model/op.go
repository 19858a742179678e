package model

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pollackq/pollack/jobqueue"
)

// A Kind is a method of a queue or broker.
type Kind string

// The kinds of calls.
const (
	Enqueue    Kind = "Enqueue"    // New: one job, or several in one transaction
	Receive    Kind = "Receive"    // up to Max jobs, with a lease of For if that is set
	AckReceive Kind = "AckReceive" // Acks, and then Receive, in one transaction
	AckMany    Kind = "AckMany"    // Acks, each by itself
	Ack        Kind = "Ack"
	Complete   Kind = "Complete" // with Text as the result
	Fail       Kind = "Fail"     // with Text as the code
	Release    Kind = "Release"  // to come back after For
	Extend     Kind = "Extend"   // by For, 0 for the usual lease
	Progress   Kind = "Progress" // to Fraction, with Text
	Cancel     Kind = "Cancel"
	Redrive    Kind = "Redrive"
	Status     Kind = "Status" // of a job
	ByKey      Kind = "ByKey"  // the status of the job with that key
	List       Kind = "List"   // the jobs in one state, or in all
	Info       Kind = "Info"
	Purge      Kind = "Purge"
	Close      Kind = "Close"
	Delete     Kind = "Delete"
	Configure  Kind = "Configure" // to Settings, which hold from then on, for the jobs that are there, too

	// Advance moves the clock by For, and Work does to all jobs what has become due. Between the two each call sees the jobs that it
	// changes as of now, and all that only reads may still see the others as they were.
	Advance Kind = "Advance"
	Work    Kind = "Work"
)

// An Op is one call.
type Op struct {
	Kind      Kind
	New       []NewJob
	ID        jobqueue.ID
	Token     jobqueue.Token
	Acks      []jobqueue.Ack
	Key       string
	State     jobqueue.State
	Max       int
	For       time.Duration
	Uncounted bool
	Fraction  float64
	Text      string
	Settings  Settings

	Wait   time.Duration  // how long a Receive may wait for a job. What it then does it does at one moment, as if it had not waited
	Hidden jobqueue.Token // stands for the token of a delivery that nobody was told of

	// Busy says that others were at work on the queue at the same time, and that its store is one that several processes share: there a
	// transaction passes over the pending jobs that others are busy with, instead of waiting for them (law 5 of package storage). Which these
	// are is taken from the answer.
	Busy bool
}

// A NewJob is a job to be enqueued. Its request number says what is asked for: it is the payload.
type NewJob struct {
	Request       int
	Key           string
	Priority      int
	Delay         time.Duration
	Deadline      Time // 0 for none
	MaxDeliveries int  // 0 for the queue's
	Once          bool
}

// Payload returns what the job carries.
func (n NewJob) Payload() string { return payload(n.Request) }

func payload(request int) string { return fmt.Sprintf("payload %d", request) }

// An Answer is what a call returned.
type Answer struct {
	Err        string // "" or the name of an error
	Jobs       []Told // of Enqueue and List, in order; of the calls that concern one job that one
	Replayed   []bool // of Enqueue: whether the key named that job already
	Repeated   bool   // of Ack, Complete and Fail
	Acks       []AckAnswer
	Deliveries []Delivery
	Info       ToldQueue // of Info
	N          int       // of Purge

	// Wire says that the answer came over HTTP, which tells less: not the key, deadline and lease of a job, and nothing of it after an ack.
	Wire bool
}

// An AckAnswer is what came of one of many acks.
type AckAnswer struct {
	Err      string
	Repeated bool
}

// A Delivery is a job that was handed out.
type Delivery struct {
	Told
	Token   jobqueue.Token
	Payload string
}

// Told is what an answer says of a job.
type Told struct {
	ID          jobqueue.ID
	State       jobqueue.State
	Position    uint64
	Priority    int
	Key         string
	Deliveries  int
	Lapses      int
	Progress    float64 // -1 if nothing was told of it
	Message     string  // of the progress
	Failure     string  // its code
	Result      string
	PayloadGone bool
	Created     Time
	RunAt       Time
	Deadline    Time
	Started     Time
	Expires     Time // the lease
	Finished    Time
	Kept        Time // until when an ended job is
	Version     uint64
}

// ToldQueue is what an answer says of the queue.
type ToldQueue struct {
	Counts [6]int // scheduled, pending, running, succeeded, failed, canceled
	Next   uint64
	Closed bool
	Oldest time.Duration
}

// Errors, as answers name them. A lost lease has its reason behind it.
const (
	NotFound     = "not found"
	Gone         = "gone"
	Empty        = "empty"
	Done         = "done"
	QueueClosed  = "queue closed"
	NotDelivered = "not delivered"
	WrongState   = "wrong state"
	KeyReused    = "key reused"
	BacklogFull  = "backlog full"
	Invalid      = "invalid"
	LeaseLost    = "lease lost: "
	Unknown      = "outcome unknown" // it may have happened
	Nothing      = "nothing happened: "
)

// Same reports whether two answers are the same.
func (a *Answer) Same(b *Answer) bool {
	return a.Err == b.Err && a.Repeated == b.Repeated && a.Info == b.Info && a.N == b.N && slices.Equal(a.Jobs, b.Jobs) &&
		slices.Equal(a.Replayed, b.Replayed) && slices.Equal(a.Acks, b.Acks) && slices.Equal(a.Deliveries, b.Deliveries)
}

// overWire forgets what HTTP does not tell.
func (a *Answer) overWire(op *Op) {
	a.Wire = true
	if op.Kind == Ack || op.Kind == Complete || op.Kind == Fail {
		a.Jobs = nil
	}
	for i := range a.Jobs {
		a.Jobs[i].overWire()
		a.Jobs[i].Expires = 0
	}
	for i := range a.Deliveries {
		a.Deliveries[i].overWire()
	}
}

func (t *Told) overWire() { t.Key, t.Deadline, t.PayloadGone = "", 0, false }

// String says what is called.
func (op Op) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s", op.Kind)
	for _, n := range op.New {
		fmt.Fprintf(&b, " %+v", n)
	}
	for _, a := range op.Acks {
		fmt.Fprintf(&b, " ack %v by %s", a.ID, tokenText(a.Token))
	}
	if op.ID != (jobqueue.ID{}) {
		fmt.Fprintf(&b, " job %v", op.ID)
	}
	if op.Token != (jobqueue.Token{}) {
		fmt.Fprintf(&b, " by %s", tokenText(op.Token))
	}
	for _, f := range []struct {
		name  string
		value any
		zero  bool
	}{{"key", op.Key, op.Key == ""}, {"state", op.State, op.State == 0}, {"max", op.Max, op.Max == 0}, {"for", op.For, op.For == 0},
		{"uncounted", true, !op.Uncounted}, {"fraction", op.Fraction, op.Fraction == 0}, {"settings", op.Settings, op.Settings == Settings{}}, {"text", op.Text, op.Text == ""}, {"wait", op.Wait, op.Wait <= 0}} {
		if !f.zero {
			fmt.Fprintf(&b, " %s %v", f.name, f.value)
		}
	}
	return b.String()
}

// String says what was answered.
func (a Answer) String() string {
	var b strings.Builder
	if a.Err != "" {
		fmt.Fprintf(&b, "error %q", a.Err)
	} else {
		b.WriteString("ok")
	}
	for i, r := range a.Acks {
		fmt.Fprintf(&b, "; ack %d: %q repeated %t", i, r.Err, r.Repeated)
	}
	if a.Repeated {
		b.WriteString("; repeated")
	}
	for i, j := range a.Jobs {
		if i < len(a.Replayed) && a.Replayed[i] {
			b.WriteString("; replayed")
		}
		fmt.Fprintf(&b, "; %v", j)
	}
	for _, d := range a.Deliveries {
		fmt.Fprintf(&b, "; token %s %q %v", tokenText(d.Token), d.Payload, d.Told)
	}
	if a.Info != (ToldQueue{}) {
		fmt.Fprintf(&b, "; %+v", a.Info)
	}
	if a.N != 0 {
		fmt.Fprintf(&b, "; %d", a.N)
	}
	return b.String()
}

// String says what is set.
func (t Told) String() string {
	s := fmt.Sprintf("{job %v %v position %d priority %d version %d deliveries %d lapses %d", t.ID, t.State, t.Position, t.Priority, t.Version, t.Deliveries, t.Lapses)
	for _, f := range []struct {
		name string
		at   Time
	}{{"created", t.Created}, {"run at", t.RunAt}, {"deadline", t.Deadline}, {"started", t.Started}, {"leased until", t.Expires}, {"finished", t.Finished}, {"kept until", t.Kept}} {
		if f.at != 0 {
			s += fmt.Sprintf(" %s %v", f.name, f.at)
		}
	}
	if t.Progress >= 0 {
		s += fmt.Sprintf(" progress %v", t.Progress)
	}
	for _, f := range []struct{ name, text string }{{"key", t.Key}, {"message", t.Message}, {"failure", t.Failure}, {"result", t.Result}} {
		if f.text != "" {
			s += fmt.Sprintf(" %s %q", f.name, f.text)
		}
	}
	if t.PayloadGone {
		s += " payload gone"
	}
	return s + "}"
}

func tokenText(t jobqueue.Token) string {
	if t == jobqueue.AnyToken {
		return "any token"
	}
	return t.String()[:8]
}
