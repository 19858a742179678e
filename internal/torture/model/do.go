package model

import (
	"slices"

	"github.com/pollackq/pollack/jobqueue"
)

// Do does a call, and returns the queue after it with the answer that it should have got. got is the answer that it did get: what the broker
// is free to choose is taken from there. A call that is refused has changed nothing.
func (q *Queue) Do(op *Op, got *Answer) (*Queue, Answer) {
	next := *q
	next.owned = false
	want := Answer{}
	keep := false // even if it is refused
	switch op.Kind {
	case Enqueue:
		next.enqueue(op, got, &want)
	case Receive:
		keep = true
		next.receive(op, got, &want)
	case AckReceive:
		keep = true
		next.acks(op, &want)
		if slices.ContainsFunc(want.Acks, func(a AckAnswer) bool { return a.Err != "" }) {
			want.Err = Empty
		} else {
			next.receive(op, got, &want)
		}
	case AckMany:
		next.acks(op, &want)
	case List:
		next.list(op, got, &want)
	case Info:
		next.info(&want)
	case Purge:
		next.purge(&want)
	case Close:
		next.close()
	case Delete:
		want.Err = WrongState
		if next.Closed && next.unfinished() == 0 {
			want.Err, next.Forgotten, next.Jobs = "", true, nil
		}
	case Configure:
		next.Settings = op.Settings
		next.info(&want)
	case Advance:
		next.Now += op.For
	case Work:
		next.work()
	default:
		next.one(op, got, &want)
	}
	if got.Wire {
		want.overWire(op)
	}
	if want.Err != "" && !keep {
		return q, Answer{Err: want.Err, Wire: got.Wire}
	}
	return &next, want
}

// version returns the version that was told of the i-th job.
func (a *Answer) version(i int) uint64 {
	if i < len(a.Jobs) {
		return a.Jobs[i].Version
	}
	return 0
}

// named has a job have the id that was told, if nobody has been told of it before.
func (q *Queue) named(j *Job, id jobqueue.ID) *Job {
	if j.ID == (jobqueue.ID{}) && id != (jobqueue.ID{}) && q.Find(id) == nil && q.at(j.Position) == j {
		j = q.edit(j)
		j.ID = id
	}
	return j
}

// enqueue adds jobs, all or none, at the next positions. A key that names a job already returns that job, whatever became of it.
func (q *Queue) enqueue(op *Op, got, want *Answer) {
	waiting := q.Count(jobqueue.Scheduled, jobqueue.Pending)
	for i, n := range op.New {
		var told Told
		if i < len(got.Jobs) {
			told = got.Jobs[i]
		}
		if j := q.byKey(n.Key); j != nil {
			q.touch(j)
			if j = q.byKey(n.Key); j != nil {
				if j.Request != n.Request || j.Priority != n.Priority || j.Delay != n.Delay || j.NewJob.Deadline != n.Deadline {
					want.Err = KeyReused
					return
				}
				j = q.named(j, told.ID)
				want.Jobs = append(want.Jobs, q.tell(j, told.Version))
				want.Replayed = append(want.Replayed, true)
				continue
			}
		}
		switch {
		case q.Closed:
			want.Err = QueueClosed
		case n.Deadline != 0 && n.Deadline <= q.Now:
			want.Err = Invalid
		}
		if want.Err != "" {
			return
		}
		j := &Job{ID: told.ID, Position: q.Next, NewJob: n, Created: q.Now, State: jobqueue.Pending, Deadline: n.Deadline, Progress: -1, Changed: true}
		if n.Delay > 0 {
			j.State, j.RunAt = jobqueue.Scheduled, q.Now+n.Delay
		}
		if first := q.First(); told.State == jobqueue.Running && j.State == jobqueue.Pending && (op.Busy || first == nil || first.Priority < j.Priority) {
			j.Handed = true // whoever waits gets it at once
			j.deliver(q.Now, told.Expires, jobqueue.Token{})
			if told.Expires == 0 {
				j.Expires = q.Now + q.Lease
			}
		} else if waiting++; q.Backlog > 0 && waiting > q.Backlog {
			want.Err = BacklogFull
			return
		}
		q.own()
		q.Jobs = append(q.Jobs, j)
		q.Next++
		want.Jobs = append(want.Jobs, q.tell(j, told.Version))
		want.Replayed = append(want.Replayed, false)
	}
}

func (q *Queue) byKey(key string) *Job {
	for _, j := range q.Jobs {
		if key != "" && j.Key == key {
			return j
		}
	}
	return nil
}

// deliver leases a job. Each delivery has a token of its own, and is counted before it is made.
func (j *Job) deliver(now, until Time, t jobqueue.Token) {
	j.State, j.Lease, j.Token, j.Started, j.Expires, j.Changed = jobqueue.Running, Held, t, now, until, true
	j.Deliveries++
}

// receive leases the first jobs, as many as there are up to Max.
func (q *Queue) receive(op *Op, got, want *Answer) {
	window := op.For
	if window == 0 {
		window = q.Lease
	}
	if len(got.Deliveries) == 1 {
		if j := q.at(got.Deliveries[0].Position); j != nil && j.Handed {
			d := got.Deliveries[0]
			j = q.edit(q.named(j, d.ID))
			j.Handed, j.Token, j.Expires = false, d.Token, j.Started+window
			want.Deliveries = append(want.Deliveries, Delivery{q.tell(j, d.Version), d.Token, payload(j.Request)})
			return
		}
	}
	for len(want.Deliveries) < op.Max {
		j := q.next(op, got, len(want.Deliveries))
		if j == nil {
			break
		}
		if j = q.touch(j); j == nil || j.State != jobqueue.Pending {
			continue // its deadline had passed
		}
		if q.spent(j) { // the limit has been lowered since
			q.end(j, jobqueue.Failed, jobqueue.CodeDeliveries, "", false)
			continue
		}
		d := Delivery{Token: op.Hidden}
		if i := len(want.Deliveries); i < len(got.Deliveries) {
			d = got.Deliveries[i]
			if q.tokenUsed(d.Token) {
				d.Token = jobqueue.Token{} // each has a fresh one
			}
		}
		j = q.edit(q.named(j, d.ID))
		j.deliver(q.Now, q.Now+window, d.Token)
		want.Deliveries = append(want.Deliveries, Delivery{q.tell(j, d.Version), d.Token, payload(j.Request)})
	}
	switch {
	case len(want.Deliveries) > 0:
	case q.Closed && q.unfinished() == 0 && !q.Forgotten:
		want.Err = Done
	default:
		want.Err = Empty
	}
}

// next returns the job that comes next in a receive: the first one, unless it may be passed over. Then it is the i-th that was told, if that is pending.
func (q *Queue) next(op *Op, got *Answer, i int) *Job {
	switch {
	case !op.Busy:
		return q.First()
	case i < len(got.Deliveries):
		if j := q.at(got.Deliveries[i].Position); j != nil && j.State == jobqueue.Pending {
			return j
		}
	}
	return nil
}

// tokenUsed reports whether a job has that token, or it is none.
func (q *Queue) tokenUsed(t jobqueue.Token) bool {
	return t == (jobqueue.Token{}) || slices.ContainsFunc(q.Jobs, func(j *Job) bool { return j.Token == t })
}

// acks acks each by itself, all at one moment.
func (q *Queue) acks(op *Op, want *Answer) {
	for _, a := range op.Acks {
		var r AckAnswer
		var j *Job
		if j, r.Err = q.load(a.ID); r.Err == "" {
			_, r.Repeated, r.Err = q.settle(j, a.Token, jobqueue.Succeeded, "", "")
		}
		want.Acks = append(want.Acks, r)
	}
}

// load returns a job as of now.
func (q *Queue) load(id jobqueue.ID) (*Job, string) {
	j, err := q.look(id)
	if err == "" {
		if j = q.touch(j); j == nil {
			err = NotFound
		}
	}
	return j, err
}

// look returns a job as it stands.
func (q *Queue) look(id jobqueue.ID) (*Job, string) { return q.asOf(q.Find(id)) }

// asOf says what a job is to those who ask for it: after its retention it is gone, and after its tombstone's time unknown.
func (q *Queue) asOf(j *Job) (*Job, string) {
	switch {
	case j == nil, j.State == jobqueue.Gone && j.Until <= q.Now:
		return nil, NotFound
	case j.State == jobqueue.Gone, j.State.Ended() && j.Until <= q.Now:
		return nil, Gone
	}
	return j, ""
}

// settle ends a job for the holder of a token.
func (q *Queue) settle(j *Job, t jobqueue.Token, as jobqueue.State, failure, result string) (*Job, bool, string) {
	repeated, err := mayEnd(j, t, as)
	switch {
	case err != "":
		return nil, false, err
	case repeated && result != "" && j.Result == "": // it was acked: the result could not be kept
		return nil, false, ended(j)
	case repeated:
		return j, true, ""
	}
	return q.end(j, as, failure, result, true), false, ""
}

// one does what concerns a single job.
func (q *Queue) one(op *Op, got, want *Answer) {
	var j *Job
	switch op.Kind {
	case Status:
		j, want.Err = q.look(op.ID)
	case ByKey:
		if j, want.Err = q.asOf(q.byKey(op.Key)); want.Err == "" && len(got.Jobs) == 1 {
			j = q.named(j, got.Jobs[0].ID)
		}
	default:
		if j, want.Err = q.load(op.ID); want.Err == "" {
			j, want.Err = q.change(op, j, want)
		}
	}
	if want.Err != "" {
		return
	}
	want.Jobs = []Told{q.tell(j, got.version(0))}
}

// change does one thing to a job, and returns it as it is then.
func (q *Queue) change(op *Op, j *Job, want *Answer) (_ *Job, err string) {
	switch op.Kind {
	case Ack:
		j, want.Repeated, err = q.settle(j, op.Token, jobqueue.Succeeded, "", "")
	case Complete:
		j, want.Repeated, err = q.settle(j, op.Token, jobqueue.Succeeded, "", op.Text)
	case Fail:
		j, want.Repeated, err = q.settle(j, op.Token, jobqueue.Failed, op.Text, "")
	case Release:
		if err = holds(j, op.Token); err == "" {
			j = q.edit(j)
			j.Lease = Released
			if op.Uncounted {
				j.Deliveries--
			}
			at := Time(0)
			if op.For > 0 {
				at = q.Now + op.For
			}
			j = q.again(j, at, !op.Uncounted)
		}
	case Extend:
		if err = holds(j, op.Token); err == "" {
			j = q.edit(j)
			j.Changed, j.Expires = true, q.Now+q.Lease
			if op.For > 0 {
				j.Expires = q.Now + op.For
			}
		}
	case Progress:
		if err = holds(j, op.Token); err == "" {
			j = q.edit(j)
			j.Changed, j.Progress, j.Message = true, op.Fraction, op.Text
		}
	case Cancel:
		switch {
		case j.State == jobqueue.Canceled:
		case j.State.Ended():
			err = WrongState
		default:
			j = q.end(j, jobqueue.Canceled, "", "", false)
		}
	case Redrive:
		switch {
		case j.State != jobqueue.Failed && j.State != jobqueue.Canceled, j.Once:
			err = WrongState
		case q.Closed:
			err = QueueClosed
		case q.at(j.Position) != j: // it has just ended and is not kept
			_, err = q.look(j.ID)
		default: // as if it had just been enqueued, at its old position
			j = q.edit(j)
			j.State, j.Changed, j.Ended, j.Handed = jobqueue.Pending, true, 0, false
			if j.Lease != NoLease {
				j.Lease = Released
			}
			j.Deliveries, j.Lapses, j.Progress, j.Message, j.Failure = 0, 0, -1, "", ""
			j.RunAt, j.Deadline, j.Started, j.Finished, j.Until = 0, 0, 0, 0, 0
		}
	}
	return j, err
}

// list lists jobs, in the order of their ids.
func (q *Queue) list(op *Op, got, want *Answer) {
	if q.Forgotten {
		want.Err = NotFound
		return
	}
	for _, t := range got.Jobs {
		if j := q.at(t.Position); j != nil {
			q.named(j, t.ID)
		}
	}
	for _, j := range q.Jobs {
		if j.State == jobqueue.Gone || op.State != 0 && j.State != op.State {
			continue
		}
		var version uint64
		for _, t := range got.Jobs {
			if t.Position == j.Position {
				version = t.Version
			}
		}
		want.Jobs = append(want.Jobs, q.tell(j, version))
	}
	slices.SortFunc(want.Jobs, func(a, b Told) int { return a.ID.Compare(b.ID) })
}

// info tells of the queue.
func (q *Queue) info(want *Answer) {
	if q.Forgotten {
		want.Err = NotFound
		return
	}
	for i, s := range []jobqueue.State{jobqueue.Scheduled, jobqueue.Pending, jobqueue.Running, jobqueue.Succeeded, jobqueue.Failed, jobqueue.Canceled} {
		want.Info.Counts[i] = q.Count(s)
	}
	want.Info.Next, want.Info.Closed = q.Next, q.Closed
	seen := make(map[int]bool) // priorities, of each of which the first counts
	for _, j := range q.Jobs {
		if j.State == jobqueue.Pending && !seen[j.Priority] {
			seen[j.Priority] = true
			want.Info.Oldest = max(want.Info.Oldest, q.Now-j.Created)
		}
	}
}

// purge cancels all jobs that wait.
func (q *Queue) purge(want *Answer) {
	if q.Forgotten {
		want.Err = NotFound
		return
	}
	for _, j := range append([]*Job(nil), q.Jobs...) {
		if j.State != jobqueue.Scheduled && j.State != jobqueue.Pending {
			continue
		}
		if j = q.touch(j); j != nil && (j.State == jobqueue.Scheduled || j.State == jobqueue.Pending) {
			q.end(j, jobqueue.Canceled, "", "", false)
			want.N++
		}
	}
}

// close closes the queue for good.
func (q *Queue) close() {
	if !q.Closed {
		q.Closed = true
		q.quiet()
	}
}
