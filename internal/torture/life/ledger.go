package life

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/pollackq/pollack/jobqueue"
)

// A Ledger is what callers asked for and were told.
type Ledger struct {
	ops  map[int]*op
	jobs map[string]*job // by name
	byID map[jobqueue.ID]*track
	last int
	line int
	bad  []string // what the ledger itself shows to be wrong

	receives int // begun, and never answered
}

// An op is one operation.
type op struct {
	n       int
	kind    string
	args    []string
	begun   int // the line
	ended   int // the line, 0 while it is not answered
	ok      bool
	unknown bool
	token   string // of the deliveries of a receive
}

// may reports whether the operation may have taken effect.
func (o *op) may() bool { return o.ok || o.unknown || o.ended == 0 }

// A job is one that was to be enqueued.
type job struct {
	enqueue *op
	index   int
	id      jobqueue.ID // zero until told
}

// most is how often the job may be delivered; 0 is as often as need be.
func (j *job) most() int { return j.enqueue.number(7) }

// A track is what happened to a job, whose enqueue may not have been answered yet.
type track struct {
	job        *job // nil until then
	deliveries []delivery
	ops        []*op // ends, releases and so on, in the order in which they began
}

// A delivery is one that a caller was told of.
type delivery struct {
	op             *op
	token          string
	count          int
	leased, lapses int64 // microseconds
}

// Read reads a ledger, or several of one file one after the other. The last line of a life that was killed may be torn: such lines are left out.
func Read(r io.Reader) (*Ledger, error) {
	l := &Ledger{ops: make(map[int]*op), jobs: make(map[string]*job), byID: make(map[jobqueue.ID]*track), last: -1}
	_, err := l.ReadFrom(r)
	return l, err
}

// ReadFrom goes on reading, with the ledger of a further life of the same file.
func (l *Ledger) ReadFrom(r io.Reader) (int64, error) {
	in := bufio.NewReader(r)
	read := int64(0)
	for {
		line, err := in.ReadString('\n')
		read += int64(len(line))
		if err == io.EOF {
			return read, nil // what has no newline is torn
		}
		if err != nil {
			return read, err
		}
		l.line++
		if err := l.add(strings.Fields(line)); err != nil {
			return read, fmt.Errorf("ledger, line %d, %q: %w", l.line, line, err)
		}
	}
}

// Last returns the highest number of an operation, -1 if there is none.
func (l *Ledger) Last() int { return l.last }

func (l *Ledger) add(f []string) error {
	if len(f) < 3 {
		return fmt.Errorf("it has %d fields", len(f))
	}
	n, err := strconv.Atoi(f[1])
	if err != nil {
		return err
	}
	if f[0] == "b" {
		if l.ops[n] != nil {
			return fmt.Errorf("operation %d is begun twice", n)
		}
		o := &op{n: n, kind: f[2], args: f[3:], begun: l.line}
		l.ops[n] = o
		l.last = max(l.last, n)
		return l.begin(o)
	}
	o := l.ops[n]
	if o == nil || o.ended != 0 {
		return fmt.Errorf("operation %d is not under way", n)
	}
	o.ended, o.ok, o.unknown = l.line, f[2] == "ok", f[2] == "unknown"
	return l.end(o, f[3:])
}

func (l *Ledger) begin(o *op) error {
	switch o.kind {
	case "enqueue":
		if len(o.args) != 8 {
			return fmt.Errorf("an enqueue has 8 arguments")
		}
		for i := range o.number(1) {
			l.jobs[name(o.n, i)] = &job{enqueue: o, index: i}
		}
	case "receive":
		l.receives++
	default:
		if o.kind == "acknext" {
			l.receives++
		}
		id, err := jobqueue.ParseID(o.args[0])
		if err != nil {
			return err
		}
		t := l.track(id)
		t.ops = append(t.ops, o)
	}
	return nil
}

func (l *Ledger) track(id jobqueue.ID) *track {
	t := l.byID[id]
	if t == nil {
		t = new(track)
		l.byID[id] = t
	}
	return t
}

func (l *Ledger) end(o *op, told []string) error {
	if o.kind == "enqueue" {
		if !o.ok {
			return nil
		}
		if len(told) != o.number(1) {
			return fmt.Errorf("it tells of %d jobs", len(told))
		}
		for i, s := range told {
			id, err := jobqueue.ParseID(s)
			if err != nil {
				return err
			}
			j := l.jobs[name(o.n, i)]
			j.id = id
			l.track(id).job = j
		}
		return nil
	}
	if (o.kind == "receive" || o.kind == "acknext") && !o.unknown {
		l.receives--
		if o.ok && len(told) > 0 {
			if err := l.deliver(o, told); err != nil {
				return err
			}
		}
	}
	if o.ok && o.settles() {
		l.checkToken(o)
	}
	return nil
}

// number returns an argument as a number.
func (o *op) number(i int) int {
	n, _ := strconv.Atoi(o.args[i])
	return n
}

// settles reports whether the operation acts under a token.
func (o *op) settles() bool {
	switch o.kind {
	case "ack", "acknext", "complete", "fail", "release", "extend", "progress":
		return true
	}
	return false
}

// ends reports whether the operation ends a job.
func (o *op) ends() bool {
	switch o.kind {
	case "ack", "acknext", "complete", "fail", "cancel":
		return true
	}
	return false
}

// deliver notes a delivery, and that it was allowed.
func (l *Ledger) deliver(o *op, told []string) error {
	id, err := jobqueue.ParseID(told[0])
	if err != nil {
		return err
	}
	if len(told) != 5 {
		return fmt.Errorf("a delivery has 5 fields")
	}
	o.token = told[1]
	d := delivery{op: o, token: told[1]}
	d.count, _ = strconv.Atoi(told[2])
	d.leased, _ = strconv.ParseInt(told[3], 10, 64)
	d.lapses, _ = strconv.ParseInt(told[4], 10, 64)
	t := l.track(id)
	again := t.did("redrive")
	for _, x := range t.ops {
		if x.ok && x.ends() && x.ended < o.begun && !again {
			l.wrong("job %v, which had ended by operation %d (%s), was delivered by operation %d (I3)", id, x.n, x.kind, o.n)
		}
	}
	// Several nodes may tell of deliveries in another order than they made them.
	at, _ := slices.BinarySearchFunc(t.deliveries, d.leased+1, func(d delivery, leased int64) int { return cmp.Compare(d.leased, leased) })
	t.deliveries = slices.Insert(t.deliveries, at, d)
	for i := max(at-1, 0); i <= at && i+1 < len(t.deliveries); i++ {
		if before, after := t.deliveries[i], t.deliveries[i+1]; after.leased < before.lapses && !t.changed(before.op) {
			l.wrong("job %v was leased by operation %d while the lease of operation %d had %d us to go (I5)", id, after.op.n, before.op.n, before.lapses-after.leased)
		}
	}
	if t.job != nil && t.job.most() > 0 && d.count > t.job.most() && !again {
		l.wrong("job %v was delivered %d times, at most %d are allowed", id, d.count, t.job.most())
	}
	return nil
}

// checkToken looks whether an operation that took effect had the latest token.
func (l *Ledger) checkToken(o *op) {
	id, _ := jobqueue.ParseID(o.args[0])
	t := l.track(id)
	mine := -1
	for i, d := range t.deliveries {
		if d.token == o.args[1] {
			mine = i
		}
	}
	for _, d := range t.deliveries[mine+1:] {
		if mine >= 0 && d.op.ended < o.begun && d.op.begun > t.deliveries[mine].op.ended {
			l.wrong("operation %d (%s) took effect on job %v with a token that operation %d had superseded (I6)", o.n, o.kind, id, d.op.n)
		}
	}
}

func (l *Ledger) wrong(format string, args ...any) {
	l.bad = append(l.bad, fmt.Sprintf(format, args...))
}

// did reports whether an operation of a kind may have taken effect on the job.
func (t *track) did(kind string) bool {
	for _, o := range t.ops {
		if o.kind == kind && o.may() {
			return true
		}
	}
	return false
}

// changed reports whether anything that can end or move a lease may have happened to the job since a delivery began.
func (t *track) changed(since *op) bool {
	for _, o := range t.ops {
		if o.kind != "progress" && o.may() && (o.ended == 0 || o.unknown || o.ended > since.begun) {
			return true
		}
	}
	return false
}
