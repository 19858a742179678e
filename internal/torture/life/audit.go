package life

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage"
)

// Audit compares what a store holds with the ledger, and returns what of the promises is broken:
//
//   - The store's own check passes (I4).
//   - What an enqueue told is there, and all that is there was asked for and is whole; many enqueued at once are there all or not at all (I1, I2).
//   - What an ack, a completion, a failure or a cancel told stays so, and nothing has ended that nobody ended (I3).
//   - Each delivery that was told is counted, and a lease that was told and has not lapsed is held (I6).
//   - Positions and counts are right, and an outbox has one job for each end (I4).
//   - What the ledger shows by itself: no delivery after the end, no lease beside another, no effect of a superseded token (I3, I5, I6).
//
// The options are those that the load's broker had; whether ended jobs are kept is taken from them. Nothing is changed, but that what is due is
// done, as with every broker.
func (l *Ledger) Audit(ctx context.Context, s storage.Store, o *jobqueue.Options) []string {
	first := slices.Clone(l.bad)
	if c, ok := s.(storage.Checker); ok {
		if err := c.Check(ctx); err != nil {
			first = append(first, fmt.Sprintf("check: %v", err))
		}
	}
	b, err := jobqueue.New(s, o)
	if err != nil {
		return append(first, fmt.Sprintf("broker: %v", err))
	}
	defer b.Shutdown(context.WithoutCancel(ctx))
	const tries = 10
	for try := 1; ; try++ {
		a := &auditor{Ledger: l, ctx: ctx, b: b, kept: true, bad: slices.Clone(first)}
		if o != nil {
			a.kept, a.briefly = o.Retention == 0 || o.Retention > time.Hour, o.Retention > 0 && o.Retention <= time.Hour
		}
		a.load()
		a.lost()
		for _, j := range a.found {
			a.whole(j)
		}
		switch {
		case len(a.bad) == 0:
			return nil
		case ctx.Err() != nil:
			return nil // nobody waits for it
		case try == tries || !a.moved():
			return a.bad
		}
	}
}

// moved reports whether a job has changed since it was read, because it was due: what else was read does not fit it then.
func (a *auditor) moved() bool {
	for _, was := range a.found {
		now, err := a.b.Job(a.ctx, was.ID)
		if err != nil && !a.kept || err == nil && now.Version != was.Version {
			return true
		}
	}
	return false
}

// Drain receives all that a store delivers, and tells of what had ended. The jobs stay leased.
func (l *Ledger) Drain(ctx context.Context, b *jobqueue.Broker) (bad []string) {
	for i := range queues {
		for {
			d, err := b.Queue(fmt.Sprint("q", i)).TryReceive(ctx, nil)
			if err != nil {
				if !errors.Is(err, jobqueue.ErrEmpty) {
					bad = append(bad, fmt.Sprintf("receive: %v", err))
				}
				break
			}
			if t := l.byID[d.ID]; t != nil && !t.did("redrive") {
				for _, o := range t.ops {
					if o.ok && o.ends() {
						bad = append(bad, fmt.Sprintf("job %v, which had ended by operation %d (%s), is delivered (I3)", d.ID, o.n, o.kind))
					}
				}
			}
		}
	}
	return bad
}

type auditor struct {
	*Ledger
	ctx  context.Context
	b    *jobqueue.Broker
	kept bool // what has ended is there
	// briefly says that it may be there, or not any more.
	briefly bool
	found   map[string]*jobqueue.Job // by name
	told    map[string]int           // jobs in the outbox by key
	bad     []string
}

func (a *auditor) wrong(format string, args ...any) {
	a.bad = append(a.bad, fmt.Sprintf(format, args...))
}

// load reads all jobs.
func (a *auditor) load() {
	a.found, a.told = make(map[string]*jobqueue.Job), make(map[string]int)
	a.list(outbox, func(j *jobqueue.Job) { a.told[j.Key]++ })
	for i := range queues {
		positions := make(map[uint64]string)
		a.list(fmt.Sprint("q", i), func(j *jobqueue.Job) {
			if a.found[j.Name] != nil {
				a.wrong("job %s is there twice, as %v and %v", j.Name, a.found[j.Name].ID, j.ID)
			}
			a.found[j.Name] = j
			if j.State == storage.Entering { // it has no position yet
				return
			}
			if other := positions[j.Position]; other != "" {
				a.wrong("jobs %s and %s have position %d both", other, j.Name, j.Position)
			}
			positions[j.Position] = j.Name
		})
	}
}

// list reads a queue, and looks whether its counts are right.
func (a *auditor) list(queue string, each func(*jobqueue.Job)) {
	q := a.b.Queue(queue)
	var counts jobqueue.Counts
	o := jobqueue.ListOptions{Limit: jobqueue.MaxBatch}
	for {
		jobs, next, err := q.Jobs(a.ctx, o)
		if err != nil && !errors.Is(err, jobqueue.ErrNotFound) {
			a.wrong("list %s: %v", queue, err)
		}
		for _, j := range jobs {
			counts[j.State]++
			each(j)
		}
		if o.After = next; next == (jobqueue.ID{}) || err != nil {
			break
		}
	}
}

// lost looks for each job of the ledger.
func (a *auditor) lost() {
	for name, j := range a.jobs {
		o := j.enqueue
		switch got := a.found[name]; {
		case got != nil:
		case o.ok && (a.kept || !a.mayHaveEnded(j)):
			a.wrong("job %s (%v), enqueued by operation %d, is lost (I1)", name, j.id, o.n)
		case !o.ok && o.may() && a.kept && j.index == 0:
			for i := 1; i < o.number(1); i++ {
				if a.found[fmt.Sprintf("%d.%d", o.n, i)] != nil {
					a.wrong("operation %d enqueued a part of its jobs", o.n)
				}
			}
		}
	}
}

// whole compares a job with what the ledger says of it.
func (a *auditor) whole(got *jobqueue.Job) {
	j := a.jobs[got.Name]
	if j == nil || !j.enqueue.may() {
		a.wrong("job %s (%v) was not asked for, or refused (I2)", got.Name, got.ID)
		return
	}
	o := j.enqueue
	if j.id != (jobqueue.ID{}) && j.id != got.ID || got.Queue.Name != o.args[0] || got.Priority != o.number(3) || o.args[4] != "-" && got.Key != o.args[4] {
		a.wrong("job %s is %+v, enqueued as %v by operation %d (I2)", got.Name, *got, o.args, o.n)
	}
	if got.Size != int64(o.number(2)) {
		a.wrong("job %s has %d bytes, enqueued were %v (I2)", got.Name, got.Size, o.args)
	} else if !got.PayloadGone {
		c, err := a.b.Payload(a.ctx, got.ID)
		a.read("payload", got, c, err, Fill(o.n, j.index, o.number(2)))
	}
	t := a.track(got.ID)
	a.ends(j, t, got)
	a.leases(t, got)
	if o.number(5) > 0 && !t.did("redrive") {
		want := 0
		if got.State.Ended() {
			want = 1
		}
		if n := a.told[fmt.Sprintf("%v/1", got.ID)]; n != want {
			a.wrong("job %s is %v, and its outbox tells of it %d times (I4)", got.Name, got.State, n)
		}
	}
}

func (a *auditor) read(what string, j *jobqueue.Job, c *jobqueue.Content, err error, want []byte) {
	if err != nil {
		if !errors.Is(err, jobqueue.ErrPayloadGone) && a.ctx.Err() == nil {
			a.wrong("%s of job %s: %v", what, j.Name, err)
		}
		return
	}
	defer c.Close()
	p := make([]byte, c.Size()+1)
	n := 0
	for n < len(p) {
		m, err := c.Read(p[n:])
		n += m
		if err != nil {
			break
		}
	}
	if !bytes.Equal(p[:n], want) {
		a.wrong("%s of job %s: %d bytes, wrong; %d were written (I2)", what, j.Name, n, len(want))
	}
}

// mayHaveEnded reports whether anything may have ended the job.
func (a *auditor) mayHaveEnded(j *job) bool {
	for _, o := range a.track(j.id).ops {
		if o.ends() && o.may() {
			return true
		}
	}
	return j.most() > 0
}

// ends compares how a job ended with what was asked and told.
func (a *auditor) ends(j *job, t *track, got *jobqueue.Job) {
	var states []jobqueue.State // as it may have ended
	redriven := t.did("redrive")
	for _, o := range t.ops {
		if !o.ends() || !o.may() {
			continue
		}
		state := map[string]jobqueue.State{"fail": jobqueue.Failed, "cancel": jobqueue.Canceled}[o.kind]
		if state == 0 {
			state = jobqueue.Succeeded
		}
		states = append(states, state)
		if o.ok && got.State != state && !(redriven && state != jobqueue.Succeeded) {
			a.wrong("job %s is %v, operation %d told that its %s was done (I3)", got.Name, got.State, o.n, o.kind)
		}
		if o.ok && !a.kept && !a.briefly && !redriven && j.enqueue.number(5) == 0 { // a job with an outbox stays until that has been told
			a.wrong("job %s is there (%v), operation %d told that its %s was done, and nothing is kept (I3)", got.Name, got.State, o.n, o.kind)
		}
		if o.ok && o.kind == "complete" && got.State == jobqueue.Succeeded {
			c, err := a.b.Result(a.ctx, got.ID)
			a.read("result", got, c, err, Fill(o.n, 0, o.number(2)))
		}
	}
	exhausted := got.State == jobqueue.Failed && j.most() > 0 && got.Failure != nil && got.Failure.Code == jobqueue.CodeDeliveries
	if got.State.Ended() && !exhausted && !slices.Contains(states, got.State) {
		a.wrong("job %s is %v, and nobody ended it so", got.Name, got.State)
	}
}

// leases compares the deliveries counted, and the lease held, with those told.
func (a *auditor) leases(t *track, got *jobqueue.Job) {
	if t.did("redrive") {
		return
	}
	told := len(t.deliveries)
	if got.Deliveries < told || got.Deliveries > told+a.receives {
		a.wrong("job %s has %d deliveries, %d were told and %d not answered (I6)", got.Name, got.Deliveries, told, a.receives)
	}
	if told == 0 || got.Deliveries > told {
		return
	}
	d := t.deliveries[told-1]
	if time.Now().Add(time.Second).UnixMicro() < d.lapses && !t.changed(d.op) && (got.State != jobqueue.Running || got.LeaseExpires.UnixMicro() != d.lapses) {
		a.wrong("job %s is %v until %v, operation %d was told that it is leased until %d (I6)", got.Name, got.State, got.LeaseExpires, d.op.n, d.lapses)
	}
}
