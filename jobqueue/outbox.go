package jobqueue

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/pollackq/pollack/storage"
)

// tellOutbox adds a job to each of the house queues that are to be told of j's end. Its payload is j as a status read gives it, its
// key "<id>/<n>" with n counting j's ends, so that one end is told once.
func (s *step) tellOutbox(j *storage.Job, b beside) error {
	if len(j.Outbox) == 0 {
		return nil
	}
	payload, err := json.Marshal(jobOf(j, b))
	if err != nil {
		return err
	}
	for _, name := range j.Outbox {
		q := QueueName{Name: name}
		if err := s.ensureQueue(q, false); err != nil {
			return err
		}
		spec := storage.Spec{
			ID: storage.NewID(s.now), Queue: q, Account: j.Account, Key: fmt.Sprintf("%v/%d", j.ID, j.Ends), Created: s.now,
			Name: "job." + j.State.String(), ContentType: "application/json", Size: int64(len(payload)), Origin: j.ID,
		}
		_, err := s.add(&storage.Job{Spec: &spec, Status: s.fresh(time.Time{}, time.Time{})}, payload)
		if errors.Is(err, storage.ErrExists) { // somebody else's job has the key: it must not keep this one from ending
			unkeyed := spec
			unkeyed.Key = ""
			_, err = s.add(&storage.Job{Spec: &unkeyed, Status: s.fresh(time.Time{}, time.Time{})}, payload)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// told is called when a job has ended. If it came out of an outbox, the job that it told of is owed one less, and with the last one it
// may be retired.
func (s *step) told(j *storage.Job) error { return s.owe(j, -1) }

// owe changes how many unfinished jobs the origin of j, if it has one, is owed by.
func (s *step) owe(j *storage.Job, by int) error {
	if j.Origin == (ID{}) {
		return nil
	}
	o, err := s.tx.Job(j.Origin)
	if errors.Is(err, storage.ErrNotFound) || errors.Is(err, storage.ErrCorrupt) || err == nil && (o.State == Gone || int(o.Owed)+by < 0) {
		return nil
	}
	if err != nil {
		return err
	}
	st := o.Status
	st.Owed = uint32(int(st.Owed) + by)
	if st.Owed == 0 && st.State.Ended() && st.Due.IsZero() {
		st.Due = s.now
	}
	return s.set(o.With(st))
}

// ensureQueue creates a queue that does not exist, unless it must have been created explicitly.
func (s *step) ensureQueue(name QueueName, explicit bool) error {
	_, err := s.tx.Queue(name)
	if errors.Is(err, storage.ErrNotFound) && !explicit {
		err = s.tx.PutQueue(&storage.Queue{QueueName: name, Created: s.now})
	}
	return err
}
