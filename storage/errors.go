package storage

import (
	"errors"
	"fmt"
)

// Errors of a Store. They may be wrapped: compare with errors.Is. Other errors are possible; like all of these but ErrOutcomeUnknown
// they mean that nothing happened.
var (
	// ErrNotFound says that there is no such job, queue, payload, result or chunk.
	ErrNotFound = errors.New("not found")
	// ErrExists says that the id or the key of a job to be added is in use.
	ErrExists = errors.New("exists already")
	// ErrInUse says that a queue still has jobs (of any state) and cannot be deleted.
	ErrInUse = errors.New("in use")
	// ErrTooLarge says that a value exceeds MaxValue, or a chunk ChunkSize.
	ErrTooLarge = errors.New("value too large")
	// ErrOutcomeUnknown says that a transaction may or may not have happened: the commit failed half way. Whether it did is
	// known by looking later, on a local store after opening it again. It is never returned when the transaction certainly had no effect.
	ErrOutcomeUnknown = errors.New("outcome unknown")
	// ErrFailed says that the store refuses work since an earlier outcome is unknown, until it is opened again. The transaction
	// that gets it had no effect.
	ErrFailed = errors.New("store failed and must be opened again")
	// ErrFull says that there is no room for what was to be written. Making room (deleting) still works.
	ErrFull = errors.New("store is full")
	// ErrCorrupt says that a record is damaged. It stays where it is, for inspection; nothing else is affected.
	ErrCorrupt = errors.New("record is corrupt")
	// ErrBusy says that the transaction stood too long behind another's lock. Nothing happened; it may be tried again.
	ErrBusy = errors.New("store is busy")
	// ErrClosed says that the store has been closed. Transactions under way when Close was called end as if it had not been.
	ErrClosed = errors.New("store is closed")
)

// A CorruptError names a damaged record. It matches ErrCorrupt.
type CorruptError struct {
	Job    ID        // the zero ID if it is not a job's
	Queue  QueueName // as far as it is known
	Record string    // what is damaged: "spec", "status", "payload", "result", "chunk", "queue"
	Err    error     // how that shows, or nil
}

// Error names the record.
func (e *CorruptError) Error() string {
	s := e.Record + " is corrupt"
	if e.Job != (ID{}) {
		s = fmt.Sprintf("job %v: %s", e.Job, s)
	}
	if e.Queue.Name != "" {
		s = fmt.Sprintf("queue %q: %s", e.Queue.Name, s)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Is reports whether the target is ErrCorrupt.
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }

// Unwrap returns the cause.
func (e *CorruptError) Unwrap() error { return e.Err }
