package jobqueue

import (
	"context"
	"fmt"
	"time"

	"github.com/pollackq/pollack/storage"
)

// Cancel ends a job that has not ended yet. Whoever holds it learns so: the context of a worker ends (in another process on a
// shared store soon after), others get ErrLeaseLost at their next call. A job that is canceled already is returned as it is; one that succeeded or failed is ErrWrongState.
func (b *Broker) Cancel(ctx context.Context, id ID) (*Job, error) {
	return b.change(ctx, id, func(s *step, j *storage.Job) (*storage.Job, error) {
		switch {
		case j.State == Canceled:
			return j, nil
		case j.State.Ended():
			return nil, wrongState("cancel", j)
		}
		return s.end(j, Canceled, beside{}, false)
	})
}

// Redrive makes a job that failed or was canceled pending again, as if it had just been enqueued, at its old position: deliveries,
// lapses, progress, failure and deadline are reset, and old tokens end. Any other job is ErrWrongState, and so is one enqueued with
// Once. Where the queue is closed it is ErrQueueClosed.
func (b *Broker) Redrive(ctx context.Context, id ID) (*Job, error) {
	return b.change(ctx, id, func(s *step, j *storage.Job) (*storage.Job, error) {
		if j.State != Failed && j.State != Canceled {
			return nil, wrongState("redrive", j)
		}
		if j.Once {
			return nil, fmt.Errorf("%w: the job was enqueued to run only once", ErrWrongState)
		}
		q, err := s.queueOf(j.Spec)
		if err != nil {
			return nil, err
		}
		if !q.Closed.IsZero() {
			return nil, ErrQueueClosed
		}
		if _, err := b.find(s.tx, j.ID); err != nil { // it has just ended, and is not kept
			return nil, err
		}
		if j.HasResult {
			if err := s.tx.DeleteResult(j); err != nil {
				return nil, err
			}
		}
		if err := s.owe(j, +1); err != nil {
			return nil, err
		}
		st := s.fresh(time.Time{}, time.Time{})
		st.Version, st.Ends, st.Owed = j.Version, j.Ends, j.Owed
		if st.Token = j.Token; st.Token != (Token{}) {
			st.Lease = storage.Released
		}
		return s.pend(j.With(st))
	})
}

func wrongState(what string, j *storage.Job) error {
	return &stateError{what: what, state: j.State}
}

type stateError struct {
	what  string
	state State
}

func (e *stateError) Error() string        { return "cannot " + e.what + " a job that is " + e.state.String() }
func (e *stateError) Is(target error) bool { return target == ErrWrongState }
