package jobqueue

import (
	"errors"
	"fmt"

	"github.com/pollackq/pollack/storage"
)

// Errors that callers act on. They may be wrapped: compare with errors.Is. Errors of a context come back as they are. After any error but
// ErrOutcomeUnknown nothing has changed.
var (
	// ErrNotFound says that there is no such job, upload or queue, or that it belongs to another account, or that a job has no result.
	ErrNotFound = errors.New("not found")
	// ErrGone says that the job existed and its retention is over.
	ErrGone = errors.New("job is gone")
	// ErrPayloadGone says that the job's payload is no longer kept: it succeeded.
	ErrPayloadGone = errors.New("payload is gone")
	// ErrEmpty says that no job was there for a receive that would not wait, or not longer.
	ErrEmpty = errors.New("queue is empty")
	// ErrDone says that the queue is closed and all its jobs have ended: there will never be another one.
	ErrDone = errors.New("queue is done")
	// ErrQueueClosed says that the queue takes no more jobs.
	ErrQueueClosed = errors.New("queue is closed")
	// ErrLeaseLost says that the token is no longer good for what was asked. The error is a *LeaseLostError, which has the reason.
	ErrLeaseLost = errors.New("lease lost")
	// ErrNotDelivered says that the job has not been delivered yet, so there is nothing to settle.
	ErrNotDelivered = errors.New("job has not been delivered")
	// ErrWrongState says that what was asked is not possible in the state the job, upload or queue is in.
	ErrWrongState = errors.New("wrong state")
	// ErrKeyReused says that the key names a job that was enqueued by another request, or an upload.
	ErrKeyReused = errors.New("key was used for another request")
	// ErrBacklogFull says that as many jobs wait as the queue's backlog allows. Try again later.
	ErrBacklogFull = errors.New("backlog is full")
	// ErrRefused says that the admission hook refused the job; the hook's own error is wrapped beside it.
	ErrRefused = errors.New("refused")
	// ErrInvalid says that an argument is out of its bounds. The error is an *InvalidError, which says which and why.
	ErrInvalid = errors.New("invalid")
	// ErrTooLarge says that a payload or result is larger than the broker allows, or an upload larger than was announced.
	ErrTooLarge = errors.New("too large")
	// ErrShutdown says that the broker is shutting down and takes no new work.
	ErrShutdown = errors.New("broker is shutting down")
	// ErrOutcomeUnknown says that the change may or may not have happened. Ask again with the same key or token, or look.
	ErrOutcomeUnknown = errors.New("outcome unknown")
	// ErrStoreFailed says that the store refuses work: it failed earlier, or has been closed, and must be opened again.
	ErrStoreFailed = errors.New("store failed")
	// ErrStoreFull says that the store has no room for more. Acks still work, and make room.
	ErrStoreFull = errors.New("store is full")
	// ErrBusy says that the store could not get to it in time. Try again.
	ErrBusy = errors.New("store is busy")
	// ErrCorrupt says that a record of the store is damaged.
	ErrCorrupt = errors.New("record is corrupt")
)

// A Reason says why a lease is lost.
type Reason string

// The reasons of a LeaseLostError.
const (
	Redelivered   Reason = "redelivered" // the job has been delivered again since; the token is superseded
	LeaseLapsed   Reason = "lapsed"      // its time ran out; an ack would still do
	LeaseReleased Reason = "released"    // it was given back
	JobSucceeded  Reason = "succeeded"   // the job has ended so, by another call
	JobFailed     Reason = "failed"      // the job has ended so, by another call
	JobCanceled   Reason = "canceled"    // the job was canceled
	JobExpired    Reason = "expired"     // the job's deadline passed
	JobGone       Reason = "gone"        // the job has ended in another process, and is not kept
)

// A LeaseLostError says why a token is no longer good. It matches ErrLeaseLost.
type LeaseLostError struct{ Reason Reason }

func (e *LeaseLostError) Error() string        { return "lease lost: " + string(e.Reason) }
func (e *LeaseLostError) Is(target error) bool { return target == ErrLeaseLost }

// An InvalidError says which argument is out of its bounds. It matches ErrInvalid.
type InvalidError struct {
	Field   string // as in the JSON of httpapi: "priority", "tags", "queue"
	Problem string // what is wrong and what would be right
}

func (e *InvalidError) Error() string        { return "invalid " + e.Field + ": " + e.Problem }
func (e *InvalidError) Is(target error) bool { return target == ErrInvalid }

func invalid(field, format string, args ...any) error {
	return &InvalidError{Field: field, Problem: fmt.Sprintf(format, args...)}
}

// storeErrors are what the store's errors mean to a caller.
var storeErrors = []struct{ from, to error }{
	{storage.ErrNotFound, ErrNotFound},
	{storage.ErrOutcomeUnknown, ErrOutcomeUnknown},
	{storage.ErrFailed, ErrStoreFailed},
	{storage.ErrClosed, ErrStoreFailed},
	{storage.ErrFull, ErrStoreFull},
	{storage.ErrBusy, ErrBusy},
	{storage.ErrCorrupt, ErrCorrupt},
	{storage.ErrTooLarge, ErrTooLarge},
}

// fromStore translates an error of a store or of a transaction's function. It keeps the store's own text, but not its identity.
func fromStore(err error) error {
	for _, e := range storeErrors {
		if errors.Is(err, e.from) {
			if err == e.from {
				return e.to
			}
			return fmt.Errorf("%w (%v)", e.to, err)
		}
	}
	return err
}
