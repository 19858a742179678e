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
)

// A Store keeps jobs. It is safe for concurrent use. The package documentation lists its laws.
type Store interface {
	// View runs fn on one consistent snapshot. It returns fn's error. fn may run several times.
	View(ctx context.Context, r Reads, fn func(Reader) error) error

	// Update runs fn atomically. fn may run several times, also after it succeeded once: it begins by resetting its results,
	// touches nothing else and signals nobody. nil means durable; ErrOutcomeUnknown means that it may have happened; any
	// other error that it has not.
	Update(ctx context.Context, r Reads, fn func(Tx) error) error

	// Close waits for the transactions under way and frees what the store holds. Later calls return ErrClosed.
	Close() error
}

// Reads says what a function is going to read, so that a store across a network can fetch it in one trip with others'. It is a hint,
// never needed for correctness; memory and bbolt ignore it.
type Reads struct {
	Jobs  []ID
	Key   Key
	Queue QueueName // its record and counts
	Ready int       // so many of Queue
	Due   int       // so many that are due now
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
	// NextDue returns the earliest Due time of all jobs; the zero time if there is none.
	NextDue() (time.Time, error)
	// Jobs lists a queue's jobs of one state (0: of any) in the order of their ids, those after the given one, and where to go on from:
	// next is the zero ID when there are no more. It returns at most max jobs, and may return fewer, or none, with a next that is not
	// zero, so that a rare state in a long queue costs no unbounded scan.
	Jobs(q QueueName, state State, after ID, max int) (jobs []*Job, next ID, err error)
	// OldestPending returns when the oldest pending job of a queue was created, as far as the Ready order tells (the first of each
	// priority); the zero time if nothing is pending.
	OldestPending(q QueueName) (time.Time, error)
	// Queue returns the record of a queue.
	Queue(q QueueName) (*Queue, error)
	// Queues lists up to max queues of an account by name, those after the given name.
	Queues(account, after string, max int) ([]*Queue, error)
	// Counts returns how many jobs a queue has in each state, without a scan. A queue that does not exist has none.
	Counts(q QueueName) (Counts, error)
	// Chunk returns chunk n (from 0) of a blob.
	Chunk(blob ID, n uint32) ([]byte, error)
}

// A Tx reads and writes within a transaction. A method that returns an error other than ErrOutcomeUnknown has changed nothing, and the
// function may go on.
type Tx interface {
	Reader
	// AddJob adds a job with its payload: the record, its key, its position, its place in every order. It returns the job
	// as it was added, with its Position.
	AddJob(j *Job, payload []byte) (*Job, error)
	// SetJob replaces a job's Status and moves it to its places.
	SetJob(j *Job) error
	// SetResult replaces what Result returns; nil deletes it. Whether Status.HasResult is set is up to the caller.
	SetResult(j *Job, p []byte) error
	// DeletePayload deletes a job's payload; if there is none, nothing. Whether Status.NoPayload is set is up to the caller.
	DeletePayload(j *Job) error
	// DeleteJob deletes a job with its payload, result and places, but no blob.
	DeleteJob(j *Job) error
	// PutQueue creates a queue or replaces its settings, never its position counter.
	PutQueue(q *Queue) error
	// DeleteQueue deletes a queue that has no jobs, else ErrInUse.
	DeleteQueue(q QueueName) error
	// PutChunk writes chunk n of a blob. Chunks are written in order from 0, each of ChunkSize bytes but the last.
	PutChunk(blob ID, n uint32, p []byte) error
	// DeleteBlob deletes all chunks of a blob; if there are none, nothing.
	DeleteBlob(blob ID) error
}

// A UserTx is a Tx over a transaction that somebody else began and will commit, together with data of their own.
type UserTx interface {
	Tx
	// OnCommit has fn called after the transaction has committed, and not if it does not. A store that tells
	// all its processes by itself what was committed (see Notifier) need not call it.
	OnCommit(fn func())
}

// An Alarmer is a Store whose clock does not run with the process's, such as one that a test advances by hand. Where a store is
// none, waiting d by its clock is waiting d.
type Alarmer interface {
	// Alarm calls fn once, in a goroutine of its own, when the store's clock reaches t or has passed it; stop keeps it from being called if it has not
	// been yet.
	Alarm(t time.Time, fn func()) (stop func())
}

// A Notifier is a Store shared by several processes, which tells each what the others committed. What it tells is a hint: it may come
// late, twice, for nothing, or (where the connection was lost) not at all, so such a store also says Change{} from time to time.
type Notifier interface {
	// Notify has fn called with changes that other processes committed, until stop is called. fn does not block.
	Notify(fn func(Change)) (stop func())
}

// A Change is a hint that something happened in another process. The zero Change says that anything may have.
type Change struct {
	Queue QueueName // has more pending jobs, or was closed, or has become done
	Ready int       // how many jobs became pending there
	Job   ID        // has a new version
	Due   time.Time // the timeline has an entry that early
}

// A Checker is a Store that can check itself: all ours are.
type Checker interface {
	// Check reads everything and reports each record whose places in the orders or counts disagree with it, and each that is damaged,
	// joined with errors.Join; nil if there is none. It takes time in proportion to the size of the store.
	Check(ctx context.Context) error
}
