package storage

import (
	"context"
	"time"
)

const (
	// MaxValue bounds a payload or result that is kept with its job, in bytes.
	MaxValue = 1 << 20
	// ChunkSize is the size of every chunk of a blob but the last, in bytes, and the bound of that.
	ChunkSize = 64 << 10
	// MaxKey bounds the strings of a Key together, in bytes.
	MaxKey = 1 << 10
	// MaxSpec bounds the strings of a Spec together (names, tags, key), in bytes.
	MaxSpec = 64 << 10
)

// A Store keeps jobs. It is safe for concurrent use. The package documentation lists its laws.
type Store interface {
	// View runs fn on one consistent snapshot. It returns fn's error. fn may run several times.
	View(ctx context.Context, r Reads, fn func(Reader) error) error

	// Update runs fn atomically. fn may run several times, also after it succeeded once: it begins by resetting its results,
	// touches nothing else and signals nobody. nil means durable; ErrOutcomeUnknown means that it may have happened; any
	// other error that it has not.
	Update(ctx context.Context, r Reads, fn func(Tx) error) error

	// Close waits for the transactions under way and frees what the store holds. Later calls return ErrClosed; a second Close does
	// nothing and returns nil.
	Close() error
}

// Reads says what a function is going to read, so that a store across a network can fetch it in one trip with others'. It is a hint,
// never needed for correctness; memory and bbolt ignore it.
type Reads struct {
	Jobs     []ID
	Keys     []Key
	Queues   []QueueName // their records and counts
	Ready    int         // so many of the first of Queues
	Due      int         // so many that are due now
	Payloads bool        // also of the jobs of Ready and Jobs
	Results  bool        // also of the jobs of Jobs
	Ends     bool        // the Jobs are about to end or change: also their queues, their Origin and the queues of their Outbox
}

// A Reader reads within a transaction. Every method that names a single record returns ErrNotFound where there is none, and
// ErrCorrupt where it is damaged.
type Reader interface {
	// Now is the store's clock, the same for the whole run of the function. It does not follow steps of the wall clock.
	Now() time.Time
	// Job returns the job of that id, tombstones and staged ones included.
	Job(id ID) (*Job, error)
	// JobByKey returns the job of that key. A key without a name is ErrNotFound.
	JobByKey(k Key) (*Job, error)
	// Payload returns the payload that AddJob was given.
	Payload(j *Job) ([]byte, error)
	// Result returns what SetResult was given last. It belongs to package jobqueue: a result, a failure, a message.
	Result(j *Job) ([]byte, error)
	// Ready returns up to max pending jobs of a queue, the next to deliver first. In an Update they are the caller's until it ends.
	// A queue that does not exist has none.
	Ready(q QueueName, max int) ([]*Job, error)
	// Due returns up to max jobs whose Due time is not after until, soonest first.
	Due(until time.Time, max int) ([]*Job, error)
	// NextDue returns the earliest Due time of all jobs; the zero time if there is none. On a shared store it may be that of a job which
	// Due leaves out: who gets nothing from Due waits a little before asking again.
	NextDue() (time.Time, error)
	// Jobs lists a queue's jobs of one state (0: of any) in the order of their ids, those after the given one, and where to go on from:
	// next is the zero ID when there are no more. It returns at most max jobs, and may return fewer, or none, with a next that is not
	// zero, so that a rare state in a long queue costs no unbounded scan. next is good for nothing but after.
	Jobs(q QueueName, state State, after ID, max int) (jobs []*Job, next ID, err error)
	// OldestPending returns the least Created of the first jobs of each priority in the Ready order of a queue; the zero time if nothing
	// is pending.
	OldestPending(q QueueName) (time.Time, error)
	// Queue returns the record of a queue.
	Queue(q QueueName) (*Queue, error)
	// NextPosition returns the position that the next job of a queue will get.
	NextPosition(q QueueName) (uint64, error)
	// Queues lists up to max queues by account, then name, those after the given one (which need not exist).
	Queues(after QueueName, max int) ([]*Queue, error)
	// Counts returns how many jobs a queue has in each state, without a scan. A queue that does not exist has none.
	Counts(q QueueName) (Counts, error)
	// Chunk returns chunk n (from 0) of a blob.
	Chunk(blob ID, n uint32) ([]byte, error)
}

// A Tx reads and writes within a transaction.
type Tx interface {
	Reader
	// AddJob adds a job with its payload: the record, its key, its position, its place in every order. It takes j over and
	// returns the job as it was added, with its Position.
	AddJob(j *Job, payload []byte) (*Job, error)
	// SetJob replaces a job's Status and moves it to its places.
	SetJob(j *Job) error
	// SetResult replaces what Result returns. Whether Status.HasResult is set is up to the caller, here and in DeleteResult.
	SetResult(j *Job, p []byte) error
	// DeleteResult deletes what Result returns.
	DeleteResult(j *Job) error
	// DeletePayload deletes a job's payload. Whether Status.NoPayload is set is up to the caller.
	DeletePayload(j *Job) error
	// DeleteJob deletes a job with its payload, result and places, but no blob.
	DeleteJob(j *Job) error
	// PutQueue creates a queue or replaces its record. Its position counter goes on.
	PutQueue(q *Queue) error
	// DeleteQueue deletes a queue that has no jobs, else ErrInUse.
	DeleteQueue(q QueueName) error
	// PutChunk writes chunk n of a blob. Chunks are written in order from 0, each of ChunkSize bytes but the last.
	PutChunk(blob ID, n uint32, p []byte) error
	// DeleteBlob deletes all chunks of a blob.
	DeleteBlob(blob ID) error
}

// A UserTx lets jobs commit together with data of the user's own: it runs transactions of ours inside one that the user began and will
// commit or roll back.
type UserTx interface {
	// Update runs fn inside the user's transaction, with the laws of Store.Update: an error of fn undoes what fn wrote and leaves the
	// rest. What it wrote happens when the user's transaction commits. After an error that a Tx does not survive (law 7) the user must
	// roll back.
	Update(ctx context.Context, r Reads, fn func(Tx) error) error
	// OnCommit has fn called after the user's transaction has committed, and not if it does not. A store that tells all its
	// processes, this one included, by itself what was committed so (see Notifier) need not call it.
	OnCommit(fn func())
	// Deferred reports whether jobs are to be added as Entering, without a position, because taking one would make others wait for the
	// user's transaction.
	Deferred() bool
}

// An Alarmer is a Store whose clock does not run with the process's, such as one that a test advances by hand. Where a store is
// none, waiting d by its clock is waiting d.
type Alarmer interface {
	// Alarm calls fn once, in a goroutine of its own, when the store's clock reaches t or has passed it; stop keeps it from being called
	// if it has not been yet.
	Alarm(t time.Time, fn func()) (stop func())
}

// A Notifier is a Store shared by several processes. It tells each of them what the others committed, and what users committed in a
// UserTx; and each says what it waits for, so that only those are told whom it concerns. All that is told is a hint: it may come late,
// twice, for nothing, or (where the connection was lost) not at all, so such a store also looks from time to time whether anything has happened to
// what [Listener].Awaits returns, and says so then. Its methods do not block.
type Notifier interface {
	// Notify has l told, until stop is called.
	Notify(l Listener) (stop func())
	// Waits says that a receiver of a queue has found nothing and is about to sleep. It stands in line already: a Change that comes from
	// now on wakes it.
	Waits(q QueueName)
	// Watches says that somebody has just read a job and waits for a change of it: also for one since that read.
	Watches(id ID)
	// Lag is how much later than at its time this process is to do what is due, unless it set that time itself: so not all processes do at
	// once what one of them can do. It is 0 for one of them, which may change.
	Lag() time.Duration
}

// A Listener is a process, as a Notifier sees it. Its methods do not block.
type Listener interface {
	// Changed takes a hint. Of jobs that became ready it says for how many it has woken receivers; the others are for other processes.
	Changed(c Change) (woken int)
	// Receivers returns how many receivers of a queue a Change would wake: those that sleep or look and are not about to be given a job.
	Receivers(q QueueName) int
	// Awaits returns all that the process waits for now. It takes time in proportion to that.
	Awaits() Awaited
}

// Awaited is what a process waits for.
type Awaited struct {
	Receivers map[QueueName]int // of jobs
	Ends      []QueueName       // of any job of these: what a look need not find out, it says Change{Queue: q, Ended: true} in any case
	Jobs      []ID              // a new version of them, or their end
}

// A Change is a hint of what happened in another process. The zero Change says that anything may have.
type Change struct {
	Queue QueueName // has more pending jobs (Ready), or jobs of it have ended (Ended); else it was closed or deleted, or may have been
	Ready int       // how many jobs became pending there
	Ended bool
	Job   ID        // has a new version, or has been deleted
	Due   time.Time // the timeline has an entry that early
	Now   time.Time // the store's time when that was found; zero if it is not known
}

// A Checker is a Store that can check itself: all ours are.
type Checker interface {
	// Check reads everything and reports each record whose places in the orders or counts disagree with it, and each that is damaged,
	// joined with errors.Join; nil if there is none. It takes time in proportion to the size of the store.
	Check(ctx context.Context) error
}

// As returns the store itself, or the first of those it wraps (by a method Unwrap() Store), that is a T: an [Alarmer], [Notifier],
// [Checker] or a backend's own type.
func As[T any](s Store) (T, bool) {
	for s != nil {
		if t, ok := s.(T); ok {
			return t, true
		}
		w, ok := s.(interface{ Unwrap() Store })
		if !ok {
			break
		}
		s = w.Unwrap()
	}
	var none T
	return none, false
}
