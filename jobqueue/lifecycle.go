package jobqueue

import (
	"errors"
	"strconv"
	"time"

	"github.com/pollackq/pollack/storage"
)

// This file is the state machine: what can happen to a job, each as one function on a step, which leaves the job's record, its queue and
// its outbox right, and notes what is to be told. The table in the package documentation is the same in words.

// deliver returns a pending, or just enqueued, job as one leased to a consumer for a window.
func (s *step) deliver(j *storage.Job, window time.Duration, t Token) *storage.Job {
	j = j.With(j.Status)
	st := &j.Status
	st.State, st.Lease, st.Token = Running, storage.Held, t
	st.Deliveries++
	st.Version++
	st.Started = s.now
	st.LeaseExpires = s.now.Add(window).Truncate(time.Microsecond)
	st.Due = earliest(st.LeaseExpires, st.Deadline)
	return j
}

// advance does to a job what the time until now has done, whether or not the timeline has come to it, and returns it as of now;
// storage.ErrNotFound if its record is no more.
func (s *step) advance(j *storage.Job) (*storage.Job, error) {
	for !j.Due.IsZero() && !j.Due.After(s.now) {
		var err error
		switch {
		case j.State == storage.Staged:
			return nil, orNotFound(s.dropUpload(j))
		case j.State == Gone:
			return nil, orNotFound(s.forget(j))
		case j.State == storage.Entering:
			j, err = s.position(j)
		case j.State.Ended():
			if err = s.retire(j); err == nil {
				j, err = s.tx.Job(j.ID)
			}
		case !j.Deadline.IsZero() && !j.Deadline.After(s.now):
			j, err = s.end(j, Failed, beside{failure: Failure{CodeDeadline, "the job's deadline passed"}}, false)
		case j.State == Running:
			j, err = s.lapse(j)
		default: // Scheduled: its time has come
			j, err = s.pend(j)
		}
		if err != nil {
			return nil, err
		}
	}
	return j, nil
}

func orNotFound(err error) error {
	if err != nil {
		return err
	}
	return storage.ErrNotFound
}

// pend makes a job wait for a consumer.
func (s *step) pend(j *storage.Job) (*storage.Job, error) {
	st := j.Status
	st.Version++
	st.State, st.LeaseExpires, st.Due = Pending, time.Time{}, st.Deadline
	j = j.With(st)
	s.readied(j.Queue)
	s.note(changed, j)
	return j, s.set(j)
}

// lapse takes a job back from a consumer whose time has run out.
func (s *step) lapse(j *storage.Job) (*storage.Job, error) {
	st := j.Status
	st.Lapses++
	st.Lease = storage.Lapsed
	j = j.With(st)
	s.note(lapsed, j)
	return s.again(j, time.Time{}, true)
}

// again puts a job that was delivered back, to run at a time or at once; it fails if it has no delivery left.
func (s *step) again(j *storage.Job, at time.Time, counted bool) (*storage.Job, error) {
	q, err := s.queueOf(j.Spec)
	if err != nil {
		return nil, err
	}
	if counted && spent(j, s.limitsFor(j.Spec, q)) {
		return s.exhaust(j)
	}
	if !at.After(s.now) {
		return s.pend(j)
	}
	st := j.Status
	st.Version++
	st.State, st.LeaseExpires, st.RunAt, st.Due = Scheduled, time.Time{}, at, earliest(at, st.Deadline)
	j = j.With(st)
	s.note(changed, j)
	return j, s.set(j)
}

// spent reports whether a job has been delivered as often as it may be.
func spent(j *storage.Job, limits Limits) bool {
	return limits.MaxDeliveries > 0 && int(j.Deliveries) >= limits.MaxDeliveries
}

// exhaust ends a job that has no delivery left.
func (s *step) exhaust(j *storage.Job) (*storage.Job, error) {
	text := "delivered " + strconv.Itoa(int(j.Deliveries)) + " times without being acknowledged"
	return s.end(j, Failed, beside{failure: Failure{CodeDeliveries, text}}, false)
}

// end ends a job. settled says that its holder did.
func (s *step) end(j *storage.Job, state State, b beside, settled bool) (*storage.Job, error) {
	j = j.With(j.Status)
	st := &j.Status
	st.State, st.Finished, st.LeaseExpires = state, s.now, time.Time{}
	st.Ends++
	st.Version++
	switch {
	case settled:
		st.Lease = storage.Settled
	case st.Lease == storage.Held:
		st.Lease = storage.Revoked
	}
	if j.HasResult && b.message == "" { // what was told of its progress stays
		old, err := readBeside(s.tx, j)
		if err != nil && !errors.Is(err, storage.ErrCorrupt) {
			return nil, err
		}
		b.message = old.message
	}
	st.HasResult = b.hasResult || b.message != "" || b.failure != (Failure{})
	st.NoPayload = st.NoPayload || state == Succeeded
	q, err := s.queueOf(j.Spec)
	if err != nil {
		return nil, err
	}
	limits := s.limitsFor(j.Spec, q)
	st.Owed += uint32(len(j.Outbox))
	st.Due = time.Time{}
	if limits.Retention > 0 {
		st.Due = s.now.Add(limits.Retention).Truncate(time.Microsecond)
	}
	s.events = append(s.events, event{ended, j, b})
	if err := s.tellOutbox(j, b); err != nil {
		return nil, err
	}
	if err := s.told(j); err != nil {
		return nil, err
	}
	if limits.Retention < 0 && st.Owed == 0 {
		err = s.remove(j, limits) // whoever waits still gets the job as it ended
	} else {
		err = s.keep(j, b)
	}
	if err != nil {
		return nil, err
	}
	return j, s.quieted(q, limits)
}

// keep writes a job that has ended, with what is beside its status, and without the payload if it succeeded.
func (s *step) keep(j *storage.Job, b beside) error {
	if j.HasResult {
		if err := s.tx.SetResult(j, b.encode()); err != nil {
			return err
		}
	}
	if j.State == Succeeded {
		if err := s.dropPayload(j); err != nil {
			return err
		}
	}
	return s.set(j)
}

// retire turns a job whose retention is over into a tombstone, unless jobs in its outbox have not ended: the last of them will have it
// retired.
func (s *step) retire(j *storage.Job) error {
	if j.Owed > 0 {
		st := j.Status
		st.Due = time.Time{}
		return s.set(j.With(st))
	}
	q, err := s.queueOf(j.Spec)
	if err != nil {
		return err
	}
	if err := s.remove(j, s.limitsFor(j.Spec, q)); err != nil {
		return err
	}
	s.note(removed, j) // for whoever waits for a version that will never come
	return s.forgetQueue(q)
}

// remove deletes a job's record, payload and result. A tombstone stays if the limits want one, and the job was retained or has a key.
func (s *step) remove(j *storage.Job, limits Limits) error {
	if err := s.deleteBlobs(j); err != nil {
		return err
	}
	if err := s.tx.DeleteJob(j); err != nil {
		return err
	}
	if limits.Tombstone < 0 || limits.Retention < 0 && j.Key == "" {
		return nil
	}
	spec := storage.Spec{
		ID: j.ID, Queue: j.Queue, Account: j.Account, Key: j.Key, RequestHash: j.RequestHash,
		Priority: j.Priority, Position: j.Position, Created: j.Created,
	}
	from := s.now
	if !j.Due.IsZero() {
		from = j.Due // when the retention was over, however long ago that is
	}
	return s.tombstone(&spec, storage.Status{Version: j.Version + 1, Finished: j.Finished}, from, limits.Tombstone)
}

// tombstone adds a record that only remembers a name, for a time from a time.
func (s *step) tombstone(spec *storage.Spec, st storage.Status, from time.Time, keep time.Duration) error {
	st.State, st.NoPayload = Gone, true
	st.Due = from.Add(max(keep, 0)).Truncate(time.Microsecond)
	s.dueAt(st.Due)
	_, err := s.tx.AddJob(&storage.Job{Spec: spec, Status: st}, nil)
	return err
}

// forget deletes a record that is nothing more than that (a tombstone whose time has come, an upload), and its queue if that was the
// last of a closed one.
func (s *step) forget(j *storage.Job) error {
	if err := s.tx.DeleteJob(j); err != nil {
		return err
	}
	q, err := s.queueOf(j.Spec)
	if err != nil {
		return err
	}
	return s.forgetQueue(q)
}

// doneAtLeast is how long a queue that is done stays known, whatever its limits say, so that those who consume it learn that it is.
const doneAtLeast = time.Minute

// quieted is called when a job of the queue has ended, or the queue was closed. A closed queue with nothing unfinished is done: its
// receivers are told, and a tombstone of its own sees to it that it is forgotten in time even if no job leaves one.
func (s *step) quieted(q *storage.Queue, limits Limits) error {
	if q.Closed.IsZero() {
		return nil
	}
	counts, err := s.tx.Counts(q.QueueName)
	if err != nil || counts.Unfinished() > 0 {
		return err
	}
	s.wake = append(s.wake, q.QueueName)
	spec := storage.Spec{ID: storage.NewID(s.now), Queue: q.QueueName, Account: q.Account, Created: s.now}
	return s.tombstone(&spec, storage.Status{Version: 1, Finished: s.now}, s.now, max(limits.Tombstone, doneAtLeast))
}

// forgetQueue deletes a closed queue that has no records left.
func (s *step) forgetQueue(q *storage.Queue) error {
	if q.Closed.IsZero() {
		return nil
	}
	counts, err := s.tx.Counts(q.QueueName)
	if err != nil || counts.Total() > 0 {
		return err
	}
	if err := s.tx.DeleteQueue(q.QueueName); err != nil && !errors.Is(err, storage.ErrInUse) {
		return err
	}
	s.wake = append(s.wake, q.QueueName)
	return nil
}

// position gives a job its place in the queue that was enqueued in somebody's own transaction without one.
func (s *step) position(j *storage.Job) (*storage.Job, error) {
	var payload []byte
	if j.Blob == (ID{}) {
		var err error
		if payload, err = s.tx.Payload(j); err != nil {
			return nil, err
		}
	}
	if err := s.tx.DeleteJob(j); err != nil {
		return nil, err
	}
	if err := s.ensureQueue(j.Queue, false); err != nil { // there may be none any more, or not yet: the job is not to be lost for that
		return nil, err
	}
	spec := *j.Spec // AddJob writes the position into it
	return s.add(&storage.Job{Spec: &spec, Status: s.fresh(j.RunAt, j.Deadline)}, payload)
}

// fresh returns the status of a job that begins to wait, for its time if it has one.
func (s *step) fresh(runAt, deadline time.Time) storage.Status {
	st := storage.Status{State: Pending, Version: 1, RunAt: runAt, Deadline: deadline, Due: deadline}
	if runAt.After(s.now) {
		st.State, st.Due = Scheduled, earliest(runAt, deadline)
	}
	return st
}

// add adds a job and notes what is to be told of it.
func (s *step) add(j *storage.Job, payload []byte) (*storage.Job, error) {
	j, err := s.tx.AddJob(j, payload)
	if err != nil {
		return nil, err
	}
	s.dueAt(j.Due)
	if j.State != storage.Staged {
		s.note(enqueued, j)
	}
	if j.State == Pending {
		s.readied(j.Queue)
	}
	return j, nil
}

// dropPayload deletes what a job was enqueued with.
func (s *step) dropPayload(j *storage.Job) error {
	if j.Blob != (ID{}) {
		return s.tx.DeleteBlob(j.Blob)
	}
	return s.tx.DeletePayload(j)
}

// deleteBlobs deletes the chunks of a job's payload and result.
func (s *step) deleteBlobs(j *storage.Job) error {
	for _, blob := range []ID{j.Blob, j.ResultBlob} {
		if blob != (ID{}) {
			if err := s.tx.DeleteBlob(blob); err != nil {
				return err
			}
		}
	}
	return nil
}

// dropUpload deletes what was written for a job or result that never came to be. Its chunks have its own id while they are being written,
// those of an upload the id under which they were.
func (s *step) dropUpload(j *storage.Job) error {
	if err := s.tx.DeleteBlob(j.ID); err != nil {
		return err
	}
	if err := s.deleteBlobs(j); err != nil {
		return err
	}
	return s.forget(j)
}

// earliest returns the earlier of two times, of which the second may be none.
func earliest(a, b time.Time) time.Time {
	if !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
