package storagetest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pollackq/pollack/storage"
)

// An outcome is what one call returned, in a form in which two can be compared with reflect.DeepEqual.
type outcome struct {
	Err   string
	Value any
}

// An ending is what became of a transaction.
type ending struct {
	Err      string
	Panicked bool
	Ops      []outcome
}

// play runs a step on a store.
func (s step) play(store storage.Store, h *history) (e ending) {
	ctx := context.Background()
	if s.kind == cancelled {
		var cancel func()
		ctx, cancel = context.WithCancel(ctx)
		cancel()
	}
	var ops []outcome
	var err error
	p := recovered(func() {
		if s.kind == viewing {
			err = store.View(ctx, storage.Reads{}, func(r storage.Reader) error {
				ops = ops[:0]
				p := player{r: r, h: h}
				for _, o := range s.ops {
					ops = append(ops, p.read(o))
				}
				return nil
			})
			return
		}
		err = store.Update(ctx, storage.Reads{}, func(tx storage.Tx) error {
			ops = ops[:0]
			p := player{r: tx, tx: tx, h: h, known: make(map[storage.ID]*storage.Job)}
			for _, o := range s.ops {
				ops = append(ops, p.play(o))
			}
			switch s.kind {
			case fails:
				return errPlanned
			case panics:
				panic(errPlanned)
			}
			return nil
		})
	})
	e.Ops = ops
	if e.Panicked = p != nil; e.Panicked && s.kind != panics {
		panic(p)
	}
	if e.Err = nameOf(err); err != nil && s.kind == cancelled && err != context.Canceled {
		e.Err = fmt.Sprintf("%v, not the context's error itself", err)
	}
	return e
}

// nameOf returns the sentinel that an error is, which is what stores agree on.
func nameOf(err error) string {
	if err == nil {
		return ""
	}
	for _, s := range []error{
		storage.ErrNotFound, storage.ErrExists, storage.ErrInUse, storage.ErrTooLarge, storage.ErrOutcomeUnknown, storage.ErrFailed, storage.ErrFull,
		storage.ErrCorrupt, storage.ErrBusy, storage.ErrClosed, errPlanned, context.Canceled,
	} {
		if errors.Is(err, s) {
			return s.Error()
		}
	}
	return "an unexpected error: " + err.Error()
}

// A player runs the operations of one transaction.
type player struct {
	r     storage.Reader
	tx    storage.Tx // nil in a View
	h     *history
	known map[storage.ID]*storage.Job // as this transaction saw them first, and has not deleted them since
}

// read runs an operation that only reads.
func (p *player) read(o op) outcome {
	switch o.kind {
	case "Job", "JobByKey":
		j, err := p.find(o)
		return jobOutcome(j, err)
	case "Payload", "Result":
		j, err := p.find(o)
		if err != nil {
			return outcome{Err: nameOf(err)}
		}
		read := p.r.Payload
		if o.kind == "Result" {
			read = p.r.Result
		}
		return bytesOutcome(read(j))
	case "Ready":
		return jobsOutcome(p.r.Ready(o.queue, o.max))
	case "Due":
		return jobsOutcome(p.r.Due(o.due, o.max))
	case "NextDue":
		t, err := p.r.NextDue()
		return outcome{nameOf(err), t}
	case "Jobs":
		if o.max < 1 {
			jobs, _, err := p.r.Jobs(o.queue, 0, o.id, o.max)
			return jobsOutcome(jobs, err)
		}
		var after storage.ID
		if o.how > 3 {
			after = o.id
		}
		return jobsOutcome(listJobsAfter(p.r, o.queue, storage.State(o.state%storage.States), after, o.max))
	case "OldestPending":
		t, err := p.r.OldestPending(o.queue)
		return outcome{nameOf(err), t}
	case "Queue":
		q, err := p.r.Queue(o.queue)
		if err != nil {
			return outcome{Err: nameOf(err)}
		}
		return outcome{"", q}
	case "NextPosition":
		n, err := p.r.NextPosition(o.queue)
		return outcome{nameOf(err), n}
	case "Queues":
		after := storage.QueueName{}
		if o.how > 3 {
			after = storage.QueueName{Account: o.account, Name: o.queue.Name}
		}
		queues, err := p.r.Queues(after, o.max)
		if len(queues) == 0 {
			queues = nil
		}
		return outcome{nameOf(err), queues}
	case "Counts":
		c, err := p.r.Counts(o.queue)
		return outcome{nameOf(err), c}
	case "Chunk":
		return bytesOutcome(p.r.Chunk(o.blob, uint32(o.n%4)))
	case "everything":
		if o.how > 1 { // it is dear
			return outcome{}
		}
		if _, err := readAll(p.r, p.h.blobs); err != nil {
			return outcome{Err: err.Error()}
		}
		return outcome{}
	}
	panic("no such operation: " + string(o.kind))
}

// play runs any operation.
func (p *player) play(o op) outcome {
	switch o.kind {
	case "AddJob":
		payload := o.bytes()
		j, err := p.tx.AddJob(p.newJob(o), payload)
		poison(payload)
		if err == nil {
			p.known[j.ID] = j
		}
		return jobOutcome(j, err)
	case "PutQueue":
		q := &storage.Queue{QueueName: o.queue, Backlog: o.n, Created: o.due, Limits: storage.Limits{Lease: time.Duration(o.n) * time.Second}}
		if o.how > 3 {
			q.Tags, q.Status, q.Closed = map[string]string{o.key: o.account}, o.key, at(int64(o.n))
		}
		return outcome{Err: nameOf(p.tx.PutQueue(q))}
	case "DeleteQueue":
		return outcome{Err: nameOf(p.tx.DeleteQueue(o.queue))}
	case "PutChunk":
		chunk := o.bytes()
		err := p.tx.PutChunk(o.blob, uint32(o.n%4), chunk)
		poison(chunk)
		return outcome{Err: nameOf(err)}
	case "DeleteBlob":
		return outcome{Err: nameOf(p.tx.DeleteBlob(o.blob))}
	case "SetJob", "SetResult", "DeleteResult", "DeletePayload", "DeleteJob":
		j, err := p.find(o)
		if err != nil {
			return outcome{Err: nameOf(err)}
		}
		switch o.kind {
		case "SetJob":
			err = p.tx.SetJob(j.With(o.status(j)))
		case "SetResult":
			result := o.bytes()
			err = p.tx.SetResult(j, result)
			poison(result)
		case "DeleteResult":
			err = p.tx.DeleteResult(j)
		case "DeletePayload":
			err = p.tx.DeletePayload(j)
		case "DeleteJob":
			if err = p.tx.DeleteJob(j); err == nil {
				delete(p.known, j.ID)
			}
		}
		return outcome{nameOf(err), j.ID}
	}
	return p.read(o)
}

// find looks for a job in the way that the operation says.
func (p *player) find(o op) (j *storage.Job, err error) {
	if o.how == 0 && o.kind != "Job" {
		if j := p.known[o.id]; j != nil {
			return j, nil // perhaps out of date: a store does not mind
		}
	}
	var jobs []*storage.Job
	switch o.how {
	case 1:
		j, err = p.r.JobByKey(storage.Key{Queue: o.queue, Account: o.account, Name: o.key})
	case 2, 3:
		jobs, err = p.r.Ready(o.queue, 1)
	case 4:
		jobs, err = p.r.Due(o.due, 1)
	default:
		j, err = p.r.Job(o.id)
	}
	if err == nil && j == nil {
		if err = storage.ErrNotFound; len(jobs) > 0 {
			j, err = jobs[0], nil
		}
	}
	if err == nil && p.known != nil && p.known[j.ID] == nil {
		p.known[j.ID] = j
	}
	return j, err
}

// newJob makes the job that an operation adds.
func (p *player) newJob(o op) *storage.Job {
	j := &storage.Job{Spec: &storage.Spec{
		ID: o.id, Queue: o.queue, Account: o.account, Key: o.key, Priority: o.priority, Created: at(int64(o.n)), Size: int64(o.size),
	}}
	j.Status = o.status(j)
	j.State = storage.State(1 + o.state%int(storage.Gone))
	if o.state > 100 {
		j.State = storage.Pending
	}
	if !j.State.Positioned() {
		j.Position = uint64(o.n) << 20
	}
	if o.how > 5 {
		j.Name, j.ContentType, j.Outbox = o.key, o.account, []string{o.key, o.account}
		j.Tags = map[string]string{o.account: o.key, "n": fmt.Sprint(o.n)}
		j.Blob, j.Origin, j.RequestHash, j.Once = o.blob, o.blob, [32]byte{byte(o.n)}, true
		j.Limits = storage.Limits{Lease: -1, MaxDeliveries: o.n, Retention: time.Duration(o.n), Tombstone: time.Hour}
	}
	return j
}

// status makes the Status that an operation sets.
func (o op) status(j *storage.Job) storage.Status {
	s := j.Status
	s.Version++
	s.Due = o.due
	s.Lapses = uint32(o.n)
	if o.how > 4 {
		progress := float64(o.n) / 256
		s.Progress, s.Token, s.Lease = &progress, storage.Token{byte(o.n), 15: 1}, storage.LeaseState(o.n%6)
		s.RunAt, s.LeaseExpires, s.Deadline, s.Started, s.Finished = o.due, at(int64(o.n)), o.due, at(0), o.due
		s.Deliveries, s.Ends, s.Owed, s.HasResult, s.NoPayload, s.ResultSize, s.ResultBlob = uint32(o.n), 1, 2, o.n%2 == 0, o.n%3 == 0, int64(o.n), o.blob
	}
	// What may become of a job: law 13.
	switch s.State {
	case storage.Staged, storage.Entering, storage.Gone:
	default:
		s.State = storage.Scheduled + storage.State(o.state)%(storage.Gone-storage.Scheduled+1)
		if o.state%3 == 0 {
			s.State = storage.Pending
		}
	}
	return s
}

func jobOutcome(j *storage.Job, err error) outcome {
	if err != nil {
		return outcome{Err: nameOf(err)}
	}
	return outcome{"", []*storage.Job{j}}
}

func jobsOutcome(jobs []*storage.Job, err error) outcome {
	if len(jobs) == 0 {
		jobs = nil
	}
	return outcome{nameOf(err), jobs}
}

func bytesOutcome(p []byte, err error) outcome {
	s := string(p)
	poison(p)
	return outcome{nameOf(err), s}
}
