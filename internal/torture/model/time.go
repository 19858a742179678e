package model

import (
	"time"

	"github.com/pollackq/pollack/jobqueue"
)

// due returns when time next does something to a job, 0 if never.
func (j *Job) due() Time {
	switch {
	case j.State == jobqueue.Scheduled:
		return earliest(j.RunAt, j.Deadline)
	case j.State == jobqueue.Pending:
		return j.Deadline
	case j.State == jobqueue.Running:
		return earliest(j.Expires, j.Deadline)
	}
	return j.Until
}

func earliest(a, b Time) Time {
	if b != 0 && b < a {
		return b
	}
	return a
}

// touch does to one job what the time until now has done, and returns the job as of now, nil if nothing is left of it. A deadline that has
// passed comes before all else. A job that ends so and is not kept is returned as it ended: whoever meets it in that moment learns how.
func (q *Queue) touch(j *Job) *Job {
	for {
		due := j.due()
		if due == 0 || due > q.Now {
			return j
		}
		switch {
		case j.State == jobqueue.Gone:
			q.drop(j)
			return nil
		case j.State.Ended():
			q.retire(j, due)
			if j = q.at(j.Position); j == nil {
				return nil
			}
		case j.Deadline != 0 && j.Deadline <= q.Now:
			j = q.end(j, jobqueue.Failed, jobqueue.CodeDeadline, "", false)
		case j.State == jobqueue.Running:
			j = q.edit(j)
			j.Lapses++
			j.Lease = Lapsed
			j = q.again(j, 0, true)
		default: // scheduled, and its time has come
			j = q.edit(j)
			j.State, j.Changed = jobqueue.Pending, true
		}
	}
}

// work does to all jobs what has become due.
func (q *Queue) work() {
	for _, j := range append([]*Job(nil), q.Jobs...) {
		q.touch(j)
	}
	if q.Closed && q.unfinished() == 0 && len(q.Jobs) == 0 && q.known <= q.Now {
		q.Forgotten = true
	}
}

// again puts a delivered job back, at once or at a time; it fails if it has no delivery left. It returns the job as it is then.
func (q *Queue) again(j *Job, at Time, counted bool) *Job {
	if counted && q.spent(j) {
		return q.end(j, jobqueue.Failed, jobqueue.CodeDeliveries, "", false)
	}
	j = q.edit(j)
	j.State, j.Expires, j.Changed = jobqueue.Pending, 0, true
	if at > q.Now {
		j.State, j.RunAt = jobqueue.Scheduled, at
	}
	return j
}

// spent reports whether a job has been delivered as often as it may be.
func (q *Queue) spent(j *Job) bool {
	most := j.MaxDeliveries
	if most == 0 {
		most = q.MaxDeliveries
	}
	return most > 0 && j.Deliveries >= most
}

// end ends a job, and returns it as it ended, whether or not it is kept. byHolder says that its holder did.
func (q *Queue) end(j *Job, as jobqueue.State, failure, result string, byHolder bool) *Job {
	j = q.edit(j)
	j.State, j.Failure, j.Result, j.Finished, j.Expires, j.Changed = as, failure, result, q.Now, 0, true
	j.Ended = 0
	if byHolder {
		j.Ended = as
	}
	if j.Lease == Held || j.Lease == Lapsed {
		j.Lease = Over
	}
	if q.Retention >= 0 {
		j.Until = q.Now + q.Retention
	} else {
		q.retire(j, q.Now)
	}
	q.quiet()
	return j
}

// retire turns an ended job into a tombstone, if the settings of that moment want one; where jobs are not kept only keys are remembered. over is
// when the retention was over.
func (q *Queue) retire(j *Job, over Time) {
	if q.Tombstone < 0 || q.Retention < 0 && j.Key == "" {
		q.drop(j)
		return
	}
	j = q.edit(j)
	j.State, j.Changed = jobqueue.Gone, true
	j.Until = over + q.Tombstone
}

// quiet keeps a closed queue that has just become done known for a tombstone's time, a minute at least.
func (q *Queue) quiet() {
	if q.Closed && q.unfinished() == 0 {
		q.known = max(q.known, q.Now+max(q.Tombstone, time.Minute))
	}
}
