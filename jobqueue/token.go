package jobqueue

import (
	"github.com/pollackq/pollack/storage"
)

// This file says what a token is good for.

// mayEnd says whether a token may end a job in the given state: the latest one, as long as the job has not been delivered again,
// released or ended.
func mayEnd(j *storage.Job, t Token, to State) (repeated bool, err error) {
	if err := latest(j, t); err != nil {
		return false, err
	}
	if j.State.Ended() {
		if j.Lease == storage.Settled && j.State == to {
			return true, nil
		}
		return false, &LeaseLostError{endReason(j)}
	}
	if j.Lease == storage.Released {
		return false, &LeaseLostError{LeaseReleased}
	}
	return false, nil
}

// holds says whether a token has an unlapsed lease.
func holds(j *storage.Job, t Token) error {
	if err := latest(j, t); err != nil {
		return err
	}
	switch {
	case j.State.Ended():
		return &LeaseLostError{endReason(j)}
	case j.Lease == storage.Released:
		return &LeaseLostError{LeaseReleased}
	case j.Lease != storage.Held:
		return &LeaseLostError{LeaseLapsed}
	}
	return nil
}

// settledBy reports whether a job's latest lease has that token and was ended by whoever held it.
func settledBy(j *storage.Job, t Token) bool {
	return j.Token == t && (j.Lease == storage.Settled || j.Lease == storage.Released)
}

// latest says whether a token is that of the latest delivery.
func latest(j *storage.Job, t Token) error {
	switch {
	case j.Token == (Token{}), t == AnyToken && j.Deliveries == 0 && !j.State.Ended():
		return notDelivered(j)
	case t != AnyToken && t != j.Token:
		if j.State.Ended() {
			return &LeaseLostError{endReason(j)}
		}
		return &LeaseLostError{Redelivered}
	}
	return nil
}

func notDelivered(j *storage.Job) error {
	if j.State.Ended() {
		return &LeaseLostError{endReason(j)}
	}
	return ErrNotDelivered
}

func endReason(j *storage.Job) Reason {
	switch {
	case j.State == Succeeded:
		return JobSucceeded
	case j.State == Canceled:
		return JobCanceled
	case !j.Deadline.IsZero() && j.Lease != storage.Settled && !j.Finished.Before(j.Deadline):
		return JobExpired
	}
	return JobFailed
}
