package pgstore

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pollackq/pollack/storage"
)

// A mode says what a transaction may do.
type mode int

const (
	viewing mode = iota // one snapshot, no locks, nothing written
	shared              // a group of calls: it never waits for a lock, and writes nothing before all have been run
	alone               // one call: it waits for locks, and writes early where what it reads demands that
	users               // alone, inside a transaction of the user's
)

// A txn is what functions read and write. It holds the records that were read, with their locks, and what became of them: the database
// is told in the end, all at once (see flush).
type txn struct {
	s    *Store
	ctx  context.Context // of the transaction, not of one caller
	db   batcher
	mode mode
	// strict has AddJob look whether id and key are free instead of taking it for granted. A transaction in which that was wrong is run
	// again so.
	strict bool
	now    time.Time
	begin  string // what begins the transaction; empty once it has begun
	// guessedNow says that now was not read. See memory for what else may be guessed.
	guessedNow bool

	jobs   map[storage.ID]*rec
	keys   map[storage.Key]*rec // nil: no job has the key
	queues map[storage.QueueName]*queue
	qids   map[int32]*queue
	dirty  []*rec
	added  []added // given a position by what is not yet flushed, in order
	undo   []undo  // of the call that runs
	size   int     // of the values that are not yet flushed, in bytes
	wrote  bool    // the call that runs has written
	guess  bool    // and took for granted that an id or key is free, or used what was remembered
	used   []*rec  // of what is remembered
	flushd bool    // something has been flushed
	told   changes // of what has been flushed
	err    error   // why the transaction is lost

	held  map[storage.ID]bool         // jobs that others have locked
	taken map[storage.Key]bool        // by open transactions of users
	shut  map[storage.QueueName]int32 // queues that others have locked
}

// A batcher sends statements to the database: a connection, or a transaction of the user's.
type batcher interface {
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

func (s *Store) newTxn(ctx context.Context, db batcher, m mode) *txn {
	return &txn{s: s, ctx: ctx, db: db, mode: m,
		held: make(map[storage.ID]bool), taken: make(map[storage.Key]bool),
		jobs: make(map[storage.ID]*rec), keys: make(map[storage.Key]*rec),
		queues: make(map[storage.QueueName]*queue), qids: make(map[int32]*queue)}
}

// run runs one call's function, and undoes what it wrote unless it returns nil.
func (t *txn) run(fn func(*txn) error) (r result) {
	t.undo, t.used, t.wrote, t.guess = t.undo[:0], t.used[:0], false, t.guessedNow
	returned := false
	defer func() {
		if returned {
			return
		}
		p := recover()
		t.rollback()
		if t.singular() {
			r.put, r.held = errors.Is(t.err, errAlone), errors.Is(t.err, errHeld)
			t.err = nil
			return // it was not told what it wanted to know
		}
		if t.guess {
			r.put = true // it may have been told wrong
			return
		}
		r.panicked, r.panics = p, true
	}()
	r.err = fn(t)
	returned = true
	switch {
	case t.err != nil:
		if t.singular() {
			r.put, r.held = errors.Is(t.err, errAlone), errors.Is(t.err, errHeld)
			t.err = nil
		}
		t.rollback()
	case r.err != nil:
		r.put = t.guess
		t.rollback()
	case !t.verified():
		r.put = true
		t.rollback()
	default:
		r.wrote = t.wrote
	}
	return r
}

// singular reports whether what ended the call that runs concerns it alone.
func (t *txn) singular() bool { return errors.Is(t.err, errAlone) || errors.Is(t.err, errHeld) }

// verified reports whether all guesses that the call used will be compared when the transaction is written.
func (t *txn) verified() bool {
	if t.guess && !t.wrote {
		return false
	}
	for _, r := range t.used {
		if r.now.job == r.was.job {
			return false
		}
	}
	return true
}

// rollback undoes what the call that runs wrote. Where it is the only one the database does that.
func (t *txn) rollback() {
	if t.mode != shared {
		return
	}
	for i := len(t.undo) - 1; i >= 0; i-- {
		if u := t.undo[i]; u.rec != nil {
			t.place(u.rec, u.was)
		} else {
			u.rare()
		}
	}
	for _, q := range t.queues {
		q.ready.head, q.ready.freshHead = 0, 0
	}
}

// fail notes why the transaction is lost, and returns it.
func (t *txn) fail(err error) error {
	if t.err == nil {
		t.err = err
	}
	return err
}

// rare prepares for a read that only the database can answer: it has to know what was written.
func (t *txn) rare() error {
	switch {
	case t.err != nil:
		return t.err
	case t.mode == viewing || !t.unflushed():
		return nil
	case t.mode == shared:
		return t.fail(errAlone)
	}
	return t.flush(nil)
}

// place gives a record new contents, and its places and counts with them. All changes of jobs, and their undoing, are this.
func (t *txn) place(r *rec, now contents) {
	was := r.now.job
	r.now = now
	if !r.dirty {
		r.dirty = true
		t.dirty = append(t.dirty, r)
	}
	if was == now.job {
		return
	}
	if was != nil {
		r.queue.diff[was.State]--
		if was.Key != "" && now.job == nil {
			if t.keys[was.KeyOf()] = nil; r.keyAssumed {
				delete(t.keys, was.KeyOf())
			}
		}
	}
	if now.job != nil {
		if was == nil || was.Spec != now.job.Spec {
			r.queue = t.queues[now.job.Queue]
			if now.job.Key != "" {
				t.keys[now.job.KeyOf()] = r
			}
		}
		r.queue.diff[now.job.State]++
		if now.job.State == storage.Pending && r.fresh != r.queue {
			r.fresh = r.queue
			l := &r.queue.ready
			last := len(l.fresh) - 1
			l.unsorted = l.unsorted || last >= 0 && (!l.fresh[last].pending(r.queue) || before(r, l.fresh[last]))
			l.fresh = append(l.fresh, r)
		}
	}
}

// change logs a record and places it.
func (t *txn) change(r *rec, now contents) {
	t.wrote = true
	t.undo = append(t.undo, undo{rec: r, was: r.now})
	t.place(r, now)
}

func (t *txn) logRare(fn func()) {
	t.wrote = true
	t.undo = append(t.undo, undo{rare: fn})
}

// find returns the record of a job that is there.
func (t *txn) find(id storage.ID) (*rec, error) {
	if t.err != nil {
		return nil, t.err
	}
	r := t.jobs[id]
	if t.held[id] {
		return nil, t.fail(errHeld)
	}
	if r == nil || r.assumed && r.now.job == nil || t.mode != viewing && !r.locked {
		if err := t.fetch(request{ids: []storage.ID{id}}); err != nil {
			return nil, err
		}
		if r = t.jobs[id]; t.held[id] {
			return nil, t.fail(errHeld)
		}
	}
	if r.bad != nil {
		return nil, r.bad
	}
	if r.guessed {
		t.guess, t.used = true, append(t.used, r)
	}
	if r.now.job == nil {
		return nil, storage.ErrNotFound
	}
	return r, nil
}

// queue returns what there is of a queue, whose now is nil if it is not there.
func (t *txn) queue(name storage.QueueName) (*queue, error) {
	if t.err != nil {
		return nil, t.err
	}
	if q := t.queues[name]; q != nil {
		t.guess = t.guess || q.guessed
		return q, q.bad
	}
	if err := t.fetch(request{queues: []storage.QueueName{name}}); err != nil {
		return nil, err
	}
	q := t.queues[name]
	return q, q.bad
}

func (t *txn) Now() time.Time { return t.now }

func (t *txn) Job(id storage.ID) (*storage.Job, error) {
	r, err := t.find(id)
	if err != nil {
		return nil, err
	}
	return r.now.job, nil
}

func (t *txn) JobByKey(k storage.Key) (*storage.Job, error) {
	if t.err != nil {
		return nil, t.err
	}
	if k.Name == "" {
		return nil, storage.ErrNotFound
	}
	r, known := t.keys[k]
	if !known {
		if err := t.fetch(request{keys: []storage.Key{k}}); err != nil {
			return nil, err
		}
		r = t.keys[k]
	}
	if r == nil && t.taken[k] {
		return nil, t.fail(errHeld)
	}
	if r == nil {
		return nil, storage.ErrNotFound
	}
	if t.held[r.id] {
		return nil, t.fail(errHeld)
	}
	if r.bad != nil {
		return nil, r.bad
	}
	if r.guessed {
		t.guess, t.used = true, append(t.used, r)
	}
	return r.now.job, nil
}

func (t *txn) Payload(j *storage.Job) ([]byte, error) {
	r, err := t.find(j.ID)
	if err != nil {
		return nil, err
	}
	if !r.now.payload.known {
		if err := t.fetchValues(r); err != nil {
			return nil, err
		}
	}
	return r.now.payload.clone()
}

func (t *txn) Result(j *storage.Job) ([]byte, error) {
	r, err := t.find(j.ID)
	if err != nil {
		return nil, err
	}
	if !r.now.result.known {
		if err := t.fetchValues(r); err != nil {
			return nil, err
		}
	}
	return r.now.result.clone()
}

func (t *txn) Queue(name storage.QueueName) (*storage.Queue, error) {
	q, err := t.queue(name)
	if err != nil {
		return nil, err
	}
	if q.now == nil {
		return nil, storage.ErrNotFound
	}
	return q.now, nil
}

func (t *txn) NextPosition(name storage.QueueName) (uint64, error) {
	q, err := t.queue(name)
	if err != nil || q.now == nil {
		return 0, err
	}
	return q.next + q.adds, nil
}

func (t *txn) Counts(name storage.QueueName) (storage.Counts, error) {
	q, err := t.queue(name)
	if err != nil || q.now == nil {
		return storage.Counts{}, err
	}
	t.s.counts.asked(name)
	if !q.counted {
		if err := t.fetch(request{counts: []*queue{q}}); err != nil {
			return storage.Counts{}, err
		}
	}
	c := q.base
	for i, n := range q.diff {
		c[i] += n
	}
	return c, nil
}
