package jobqueue

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/pollackq/pollack/longpoll"
	"github.com/pollackq/pollack/storage"
)

// Enqueue adds a job to the queue. When it returns nil the job is as durable as the store can make it. A consumer that is waiting gets
// it at once. Errors: ErrQueueClosed, ErrBacklogFull, ErrKeyReused, ErrRefused, ErrTooLarge, ErrInvalid, ErrStoreFull, ErrShutdown;
// ErrOutcomeUnknown says that the job may have been added: enqueue it again with the same Key to be sure.
func (q *Queue) Enqueue(ctx context.Context, j NewJob) (*Job, error) {
	e := enqueues.Get().(*enqueue)
	e.q = q
	e.drafts, e.out = e.oneDraft[:], e.oneOut[:]
	e.drafts[0].NewJob = j
	err := e.do(ctx)
	out := e.out[0]
	clear(e.given)
	*e = enqueue{given: e.given[:0], runs: e.runs}
	enqueues.Put(e)
	if err != nil {
		return nil, err
	}
	return out, nil
}

// enqueues saves what calls of Enqueue are done with.
var enqueues = sync.Pool{New: func() any {
	e := new(enqueue)
	e.runs = e.run
	return e
}}

// EnqueueMany adds up to MaxBatch jobs in one transaction: all or none. They get their positions in the order given.
func (q *Queue) EnqueueMany(ctx context.Context, jobs []NewJob) ([]*Job, error) {
	if len(jobs) == 0 || len(jobs) > MaxBatch {
		return nil, invalid("jobs", "there are %d, from 1 to %d are allowed", len(jobs), MaxBatch)
	}
	e := &enqueue{q: q, drafts: make([]draft, len(jobs)), out: make([]*Job, len(jobs))}
	e.runs = e.run
	for i := range jobs {
		e.drafts[i].NewJob = jobs[i]
	}
	if err := e.do(ctx); err != nil {
		return nil, err
	}
	return e.out, nil
}

// EnqueueTx adds a job inside a transaction of the user's own, made a storage.UserTx by the store's package: it is added if and when
// that commits. The Position and State of the job returned are not final before. The payload must fit into memory and
// storage.MaxValue. Admit is not asked: whatever it would check can be checked in the same transaction.
func (b *Broker) EnqueueTx(ctx context.Context, tx storage.UserTx, queue string, j NewJob) (*Job, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if b.ShuttingDown() {
		return nil, ErrShutdown
	}
	e := &enqueue{q: b.Queue(queue), inUserTx: true, deferred: tx.Deferred()}
	e.drafts, e.out = e.oneDraft[:], e.oneOut[:]
	e.drafts[0].NewJob = j
	if err := e.prepare(ctx); err != nil {
		return nil, err
	}
	s := &step{core: b.core}
	err := tx.Update(ctx, e.reads(), func(t storage.Tx) error {
		s.reset(t)
		return e.run(s)
	})
	if err != nil {
		return nil, fromStore(err)
	}
	tx.OnCommit(func() {
		b.tell(&s.effects)
		if !s.due.IsZero() { // the user's transaction may have lasted: what was due then may be overdue now
			b.timeline.look()
		}
	})
	e.fill()
	return e.out[0], nil
}

// enqueue is one call of Enqueue, EnqueueMany or EnqueueTx.
type enqueue struct {
	q        *Queue
	drafts   []draft
	inUserTx bool
	deferred bool

	hands []longpoll.Reservation[QueueName, *receiver] // receivers that are waiting

	// Results of run:
	out   []*Job
	given []*storage.Job // what each of hands is given, by index
	room  int64          // how many more jobs may wait in the queue

	turns []storage.Key // those taken

	runs     func(*step) error // run
	oneDraft [1]draft          // of a single job
	oneOut   [1]*Job
	names    [1]QueueName
}

func (e *enqueue) do(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if e.q.b.ShuttingDown() {
		return ErrShutdown
	}
	defer e.passTurns() // once all that Admit has taken for nothing has been given back
	err := e.ready(ctx)
	if err == nil {
		if err = e.commit(ctx); errors.Is(err, ErrOutcomeUnknown) {
			return err // they may have been added
		}
	}
	e.tidy(ctx, err)
	return err
}

// ready is prepare that leaves nothing behind when Admit, or a Body, panics.
func (e *enqueue) ready(ctx context.Context) error {
	returned := false
	defer func() {
		if !returned {
			e.tidy(ctx, ErrRefused)
		}
	}()
	err := e.prepare(ctx)
	returned = true
	return err
}

// owner returns whose a job, or upload, of the queue is, given what its submitter says.
func (q *Queue) owner(account string) (string, error) {
	switch {
	case account == "":
		return q.name.Account, nil
	case account != q.name.Account && q.name.Account != "":
		return "", invalid("account", "what is another account's must be put into a queue of the house")
	case q.b.scoped && account != q.b.account:
		return "", invalid("account", "this broker is narrowed to account %q", q.b.account)
	}
	return account, checkString("account", account, MaxName)
}

// prepare checks the jobs, reads their payloads and asks for admission.
func (e *enqueue) prepare(ctx context.Context) error {
	if err := checkQueueName(e.q.name); err != nil {
		return err
	}
	for i := range e.drafts {
		d := &e.drafts[i]
		var err error
		if d.account, err = e.q.owner(d.Account); err == nil {
			err = d.check()
		}
		if err != nil {
			return err
		}
		d.Tags, d.Outbox = maps.Clone(d.Tags), slices.Clone(d.Outbox)
	}
	for i := range e.drafts {
		d := &e.drafts[i]
		if d.Body != nil || len(d.Payload) > stageAt { // what is a replay need not be kept
			if err := e.look(ctx, d); err != nil {
				return err
			}
		}
		if err := e.readPayload(ctx, d); err != nil {
			return err
		}
		d.id = storage.NewID(time.Now())
		d.record = d.spec(e.q.name)
	}
	if e.inUserTx {
		return nil
	}
	return e.admit(ctx)
}

// look finds out whether the key of a draft names something already.
func (e *enqueue) look(ctx context.Context, d *draft) error {
	if d.Key == "" || d.known || e.inUserTx {
		return nil
	}
	key := e.keyOf(d)
	err := e.q.b.view(ctx, storage.Reads{Keys: []storage.Key{key}}, func(r storage.Reader) error {
		j, err := r.JobByKey(key)
		if err == nil {
			err = asOf(j, r)
		}
		return err
	})
	d.known = err == nil || errors.Is(err, ErrGone)
	if d.known || errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

func (e *enqueue) keyOf(d *draft) storage.Key {
	return storage.Key{Queue: e.q.name, Account: d.account, Name: d.Key}
}

func (e *enqueue) reads() storage.Reads {
	e.names[0] = e.q.name
	r := storage.Reads{Queues: e.names[:]}
	if len(e.hands) > 0 {
		r.Ready = 1
	}
	for i := range e.drafts {
		d := &e.drafts[i]
		if d.Key != "" {
			r.Keys = append(r.Keys, e.keyOf(d))
		}
		if d.blob != (ID{}) {
			r.Jobs = append(r.Jobs, d.blob)
		}
		for _, name := range d.Outbox {
			r.Queues = append(r.Queues, QueueName{Name: name})
		}
	}
	r.Ends = len(r.Jobs) > 0
	return r
}

// commit adds the jobs, and hands them to receivers that are waiting in the same transaction.
func (e *enqueue) commit(ctx context.Context) error {
	e.reserve()
	added := false
	defer func() { e.settleHands(added) }() // after a panic, too: a receiver that stays reserved waits for ever
	err := e.q.b.update(ctx, e.reads(), e.runs)
	if added = err == nil; added {
		e.fill()
	}
	return err
}

// settleHands gives the reserved receivers their jobs, and sends back those that get none.
func (e *enqueue) settleHands(added bool) {
	for i, h := range e.hands {
		if !added || i >= len(e.given) {
			h.Release()
			continue
		}
		j := e.given[i]
		h.Value.got = append(h.Value.got, e.q.b.delivery(j, beside{}, e.payloadOf(j.ID)))
		h.HandOver()
	}
}

// reserve takes receivers that are waiting, as many as there are jobs that could go to them. Where there are fewer, and the jobs
// differ in priority, they take their turn as usual.
func (e *enqueue) reserve() {
	fit := 0
	for i := range e.drafts {
		if d := &e.drafts[i]; d.Delay == 0 && d.RunAt.IsZero() {
			fit++
		}
	}
	for range fit {
		h, ok := e.q.b.lines.Reserve(e.q.name)
		if !ok {
			break
		}
		e.hands = append(e.hands, h)
	}
	if len(e.hands) < fit && slices.ContainsFunc(e.drafts, func(d draft) bool { return d.Priority != e.drafts[0].Priority }) {
		for _, h := range e.hands {
			h.Release()
		}
		e.hands = nil
	}
}

// run is the transaction.
func (e *enqueue) run(s *step) error {
	clear(e.out)
	e.given = e.given[:0]
	name := e.q.name
	q, err := s.tx.Queue(name)
	isNew := errors.Is(err, storage.ErrNotFound)
	if err != nil && !isNew {
		return err
	}
	if isNew {
		if s.opts.ExplicitQueues {
			return fmt.Errorf("%w: queue %q", ErrNotFound, name.Name)
		}
		q = &storage.Queue{QueueName: name, Created: s.now}
	}
	if e.room, err = s.room(q); err != nil {
		return err
	}
	hands := len(e.hands)
	if hands > 0 {
		if ahead, err := s.tx.Ready(name, 1); err != nil || len(ahead) > 0 {
			hands = 0 // whoever is ahead goes first
		}
	}
	for i := range e.drafts {
		d := &e.drafts[i]
		if e.out[i], err = e.replay(s, d); err != nil {
			return err
		}
		if e.out[i] != nil {
			continue
		}
		if d.known { // it was neither kept nor admitted
			return fmt.Errorf("%w: what the key named has just been forgotten", ErrBusy)
		}
		if !q.Closed.IsZero() {
			return ErrQueueClosed
		}
		if isNew {
			if err := s.tx.PutQueue(q); err != nil {
				return err
			}
			isNew = false
		}
		j, err := e.add(s, q, d, len(e.given) < hands)
		if err != nil {
			return err
		}
		d.added = j
	}
	return nil
}

// fill makes what the caller gets of the jobs that were added.
func (e *enqueue) fill() {
	for i := range e.drafts {
		d := &e.drafts[i]
		if e.out[i] == nil {
			e.out[i] = jobOf(d.added, beside{})
		} else {
			e.out[i].Position = d.found.Position // it may have been added in the same transaction, at the end of which it got the one that counts
		}
	}
}

// room returns how many more jobs the queue's backlog allows.
func (s *step) room(q *storage.Queue) (int64, error) {
	backlog := first(q.Backlog, s.opts.Backlog)
	if backlog <= 0 {
		return MaxBatch, nil
	}
	counts, err := s.tx.Counts(q.QueueName)
	return int64(backlog) - counts.Waiting(), err
}

// replay returns the job that the draft's key names, nil if none.
func (e *enqueue) replay(s *step, d *draft) (*Job, error) {
	if d.Key == "" {
		return nil, nil // no key, no job: not an error
	}
	j, err := s.tx.JobByKey(e.keyOf(d))
	if err == nil {
		found := j
		if j, err = s.advance(j); err == nil && j != found {
			j, err = s.tx.JobByKey(e.keyOf(d)) // if it has just ended it may not have been kept
		}
	}
	if errors.Is(err, storage.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if j.State == storage.Staged || !d.AnyRequest && j.RequestHash != d.record.RequestHash {
		return nil, ErrKeyReused
	}
	b, err := readBeside(s.tx, j)
	if err != nil {
		return nil, err
	}
	d.found = j
	out := jobOf(j, b)
	out.Replayed = true
	return out, nil
}

// add adds the job, delivered already if it is to be handed over.
func (e *enqueue) add(s *step, q *storage.Queue, d *draft, handed bool) (*storage.Job, error) {
	deadline := stored(d.Deadline)
	if !deadline.IsZero() && !deadline.After(s.now) {
		return nil, invalid("deadline", "%v has passed", d.Deadline)
	}
	for _, name := range d.Outbox {
		err := s.ensureQueue(QueueName{Name: name}, s.opts.ExplicitQueues)
		if errors.Is(err, storage.ErrNotFound) {
			err = fmt.Errorf("%w: outbox queue %q", ErrNotFound, name)
		}
		if err != nil {
			return nil, err
		}
	}
	d.record.Created = s.now
	j := &storage.Job{Spec: d.record, Status: s.fresh(d.runAt(s.now), deadline)}
	if e.deferred {
		j.State, j.Due = storage.Entering, s.now
	}
	handed = handed && j.State == Pending
	if !handed { // it waits
		if e.room--; e.room < 0 { // before anything is added: a store may have to run again what fails after that
			return nil, ErrBacklogFull
		}
	}
	if err := s.adopt(d.blob); err != nil {
		return nil, err
	}
	if !handed {
		return s.add(j, d.payload)
	}
	window := first(e.hands[len(e.given)].Value.window, s.limitsFor(j.Spec, q).Lease)
	j, err := s.add(s.deliver(j, window, storage.NewToken()), d.payload)
	if err != nil {
		return nil, err
	}
	s.note(delivered, j)
	e.given = append(e.given, j)
	return j, nil
}

// payloadOf returns the payload of one of the drafts, as a copy; nil if it is too large to come along.
func (e *enqueue) payloadOf(id ID) []byte {
	for i := range e.drafts {
		if d := &e.drafts[i]; d.id == id && d.blob == (ID{}) && len(d.payload) <= InlineLimit {
			return append([]byte{}, d.payload...)
		}
	}
	return nil
}

// tidy undoes what was prepared for jobs that were not added.
func (e *enqueue) tidy(ctx context.Context, err error) {
	for i := range e.drafts {
		d := &e.drafts[i]
		if err == nil && !e.out[i].Replayed {
			continue
		}
		if d.blob != (ID{}) {
			e.q.b.unstage(ctx, d.blob, d.madeQueue)
		}
		if d.admitted && e.q.b.opts.Forget != nil {
			e.q.b.opts.Forget(context.WithoutCancel(ctx), d.id)
		}
	}
}
