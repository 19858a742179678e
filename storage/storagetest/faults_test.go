package storagetest_test

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/pollackq/pollack/storage"
)

// Each of these is a Tx with one method that is wrong.

type lasting struct {
	storage.Tx
	s *broken
}

func (t lasting) SetResult(j *storage.Job, p []byte) error {
	t.s.kept["result"] = j.ID
	return t.Tx.SetResult(j, p)
}

type watching struct {
	storage.Tx
	added *[]storage.QueueName
}

func (t watching) AddJob(j *storage.Job, p []byte) (*storage.Job, error) {
	*t.added = append(*t.added, j.Queue)
	return t.Tx.AddJob(j, p)
}

// stale reads each job as it was one read ago.
type stale struct {
	storage.Tx
	s *broken
}

func (t stale) Job(id storage.ID) (*storage.Job, error) {
	j, err := t.Tx.Job(id)
	before, _ := t.s.kept[id.String()].(*storage.Job)
	t.s.kept[id.String()] = j
	if err == nil && before != nil {
		return before, nil
	}
	return j, err
}

type byPosition struct{ storage.Tx }

func (t byPosition) Ready(q storage.QueueName, max int) ([]*storage.Job, error) {
	jobs, err := t.Tx.Ready(q, 1<<20)
	slices.SortFunc(jobs, func(a, b *storage.Job) int { return cmp.Compare(a.Position, b.Position) })
	if max < 1 {
		return nil, err
	}
	return jobs[:min(len(jobs), max)], err
}

type readyRunning struct{ storage.Tx }

func (t readyRunning) Ready(q storage.QueueName, max int) ([]*storage.Job, error) {
	jobs, err := t.Tx.Ready(q, max)
	if more, _, _ := t.Jobs(q, storage.Running, storage.ID{}, 1); len(jobs) < max {
		jobs = append(jobs, more...)
	}
	return jobs, err
}

type dueWithout struct{ storage.Tx }

func (t dueWithout) Due(until time.Time, max int) ([]*storage.Job, error) {
	jobs, err := t.Tx.Due(until, max)
	return slices.DeleteFunc(jobs, func(j *storage.Job) bool { return j.State == storage.Running }), err
}

type dueLate struct{ storage.Tx }

func (t dueLate) Due(until time.Time, max int) ([]*storage.Job, error) {
	return t.Tx.Due(until.Add(-time.Microsecond), max)
}

type nextDueStuck struct {
	storage.Tx
	s *broken
}

func (t nextDueStuck) NextDue() (time.Time, error) {
	at, err := t.Tx.NextDue()
	if before, ok := t.s.kept["next"].(time.Time); ok && before.Before(at) {
		return before, nil
	}
	if !at.IsZero() {
		t.s.kept["next"] = at
	}
	return at, err
}

type countless struct{ storage.Tx }

func (t countless) Counts(q storage.QueueName) (storage.Counts, error) {
	c, err := t.Tx.Counts(q)
	c[storage.Gone] = 0
	return c, err
}

type keysStay struct {
	storage.Tx
	s *broken
}

func (t keysStay) AddJob(j *storage.Job, p []byte) (*storage.Job, error) {
	name := j.Queue.Account + "|" + j.Queue.Name + "|" + j.Account + "|" + j.Key
	if t.s.kept[name] != nil {
		return nil, storage.ErrExists
	}
	return t.Tx.AddJob(j, p)
}

func (t keysStay) DeleteJob(j *storage.Job) error {
	err := t.Tx.DeleteJob(j)
	if err == nil && j.Key != "" {
		t.s.kept[j.Queue.Account+"|"+j.Queue.Name+"|"+j.Account+"|"+j.Key] = true
	}
	return err
}

type keysAlike struct{ storage.Tx }

func (t keysAlike) JobByKey(k storage.Key) (*storage.Job, error) {
	j, err := t.Tx.JobByKey(k)
	for _, a := range []string{"", "a", "ab", "acme"} {
		if k.Name != "" && errors.Is(err, storage.ErrNotFound) {
			k.Account = a
			j, err = t.Tx.JobByKey(k)
		}
	}
	return j, err
}

type sharing struct {
	storage.Tx
	s *broken
}

func (t sharing) Payload(j *storage.Job) ([]byte, error) {
	name := "payload of " + j.ID.String()
	p, err := t.Tx.Payload(j)
	if shared, ok := t.s.kept[name].([]byte); ok && len(shared) == len(p) {
		return shared, err
	}
	t.s.kept[name] = p
	return p, err
}

type keeping struct {
	storage.Tx
	s *broken
}

func (t keeping) AddJob(j *storage.Job, p []byte) (*storage.Job, error) {
	added, err := t.Tx.AddJob(j, p)
	if err == nil {
		t.s.kept["payload of "+j.ID.String()] = p
	}
	return added, err
}

func (t keeping) Payload(j *storage.Job) ([]byte, error) {
	p, err := t.Tx.Payload(j)
	if kept, ok := t.s.kept["payload of "+j.ID.String()].([]byte); ok && err == nil {
		return slices.Clone(kept), nil
	}
	return p, err
}

type inPlace struct{ storage.Tx }

func (t inPlace) SetJob(j *storage.Job) error {
	old, err := t.Tx.Job(j.ID)
	if err == nil {
		if err = t.Tx.SetJob(j); err == nil {
			old.Version = j.Version + 1000
		}
	}
	return err
}

type noProgress struct{ storage.Tx }

func (t noProgress) SetJob(j *storage.Job) error {
	s := j.Status
	s.Progress = nil
	return t.Tx.SetJob(j.With(s))
}

type coarse struct{ storage.Tx }

func (t coarse) SetJob(j *storage.Job) error {
	s := j.Status
	s.Due = s.Due.Truncate(time.Millisecond)
	return t.Tx.SetJob(j.With(s))
}

type skipping struct{ storage.Tx }

func (t skipping) Jobs(q storage.QueueName, state storage.State, after storage.ID, max int) ([]*storage.Job, storage.ID, error) {
	jobs, next, err := t.Tx.Jobs(q, state, after, max)
	if after != (storage.ID{}) && len(jobs) > 0 {
		jobs = jobs[1:]
	}
	return jobs, next, err
}

type firstOnly struct{ storage.Tx }

func (t firstOnly) OldestPending(q storage.QueueName) (time.Time, error) {
	jobs, err := t.Ready(q, 1)
	if len(jobs) == 0 {
		return time.Time{}, err
	}
	return jobs[0].Created, err
}

type leftover struct{ storage.Tx }

func (t leftover) DeleteBlob(blob storage.ID) error {
	p, err := t.Chunk(blob, 0)
	if e := t.Tx.DeleteBlob(blob); e != nil || err != nil {
		return e
	}
	return t.Tx.PutChunk(blob, 0, p)
}

type ruthless struct{ storage.Tx }

func (t ruthless) DeleteQueue(q storage.QueueName) error {
	jobs, _, err := t.Jobs(q, storage.Gone, storage.ID{}, 1000)
	if err != nil {
		return err
	}
	for _, j := range jobs {
		if err := t.DeleteJob(j); err != nil {
			return err
		}
	}
	return t.Tx.DeleteQueue(q)
}

type counting struct {
	storage.Tx
	s *broken
}

func (t counting) DeleteQueue(q storage.QueueName) error {
	n, err := t.Tx.NextPosition(q)
	if err != nil {
		return err
	}
	if err = t.Tx.DeleteQueue(q); err == nil {
		t.s.kept[q.Account+"|"+q.Name] = n
	}
	return err
}

func (t counting) PutQueue(q *storage.Queue) error {
	_, err := t.Tx.Queue(q.QueueName)
	if e := t.Tx.PutQueue(q); e != nil || err == nil {
		return e
	}
	n, _ := t.s.kept[q.Account+"|"+q.Name].(uint64)
	for range n {
		j := &storage.Job{Spec: &storage.Spec{ID: storage.NewID(time.Now()), Queue: q.QueueName}, Status: storage.Status{State: storage.Pending}}
		j, err := t.Tx.AddJob(j, nil)
		if err != nil {
			return err
		}
		if err := t.Tx.DeleteJob(j); err != nil {
			return err
		}
	}
	return nil
}

type emptyIsNone struct{ storage.Tx }

func (t emptyIsNone) Payload(j *storage.Job) ([]byte, error) {
	p, err := t.Tx.Payload(j)
	if err == nil && len(p) == 0 {
		return nil, storage.ErrNotFound
	}
	return p, err
}

type restless struct{ storage.Tx }

func (t restless) Now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

type local struct{ storage.Tx }

func (t local) Now() time.Time { return t.Tx.Now().In(time.FixedZone("", 3600)) }
