package model

import "github.com/pollackq/pollack/jobqueue"

// mayEnd says whether a token may end a job: the latest one, as long as the job has not been delivered again and has not ended, and the
// delivery was not given back. That the lease has lapsed does not matter. The call that ended the job may be repeated: then nothing happens.
func mayEnd(j *Job, t jobqueue.Token, as jobqueue.State) (repeated bool, err string) {
	if err := latest(j, t); err != "" {
		return false, err
	}
	switch {
	case j.State.Ended() && j.Ended == as:
		return true, ""
	case j.State.Ended():
		return false, ended(j)
	case j.Lease == Released:
		return false, LeaseLost + string(jobqueue.LeaseReleased)
	}
	return false, ""
}

// holds says whether a token has an unlapsed lease, which Extend, Progress and Release need.
func holds(j *Job, t jobqueue.Token) (err string) {
	if err := latest(j, t); err != "" {
		return err
	}
	switch {
	case j.State.Ended():
		return ended(j)
	case j.Lease == Released:
		return LeaseLost + string(jobqueue.LeaseReleased)
	case j.Lease == Lapsed:
		return LeaseLost + string(jobqueue.LeaseLapsed)
	}
	return ""
}

// latest says whether a token is that of the latest delivery. AnyToken stands for that token, if the job counts as delivered.
func latest(j *Job, t jobqueue.Token) (err string) {
	delivered := j.Lease != NoLease
	switch {
	case delivered && t == j.Token:
		return ""
	case delivered && t == jobqueue.AnyToken && (j.Deliveries > 0 || j.State.Ended()):
		return ""
	case j.State.Ended():
		return ended(j)
	case !delivered || t == jobqueue.AnyToken:
		return NotDelivered
	}
	return LeaseLost + string(jobqueue.Redelivered)
}

// ended says how a job ended, to whom thought to hold it.
func ended(j *Job) string {
	reason := jobqueue.JobFailed
	switch {
	case j.State == jobqueue.Succeeded:
		reason = jobqueue.JobSucceeded
	case j.State == jobqueue.Canceled:
		reason = jobqueue.JobCanceled
	case j.Failure == jobqueue.CodeDeadline && j.Ended == 0:
		reason = jobqueue.JobExpired
	}
	return LeaseLost + string(reason)
}
