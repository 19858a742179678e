package jobqueue

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/pollackq/pollack/storage"
)

// A Queue is a handle to a queue, whether or not that exists yet. It is cheap and safe for concurrent use.
type Queue struct {
	b    *Broker
	name QueueName
}

// Counts are the number of jobs per state: counts[jobqueue.Pending].
type Counts = storage.Counts

// Settings are what the owner of a queue may set.
type Settings struct {
	Limits                    // for its jobs, otherwise than the broker's
	Backlog int               // how many jobs may wait, scheduled or pending; 0 as the broker says, negative: no limit
	Tags    map[string]string // bounds as for a job's
	Status  string            // a word of the owner's, at most MaxName bytes
}

// A QueueInfo is what is known of a queue at one moment.
type QueueInfo struct {
	Name      QueueName
	Settings           // as they were set
	Effective Settings // with what was not set taken from the broker
	Created   time.Time
	Closed    time.Time // zero while it takes jobs
	Counts    Counts
	Oldest    time.Duration // since the oldest of the pending jobs that are first of their priority was created; 0 if nothing is pending
	Next      uint64        // the position that the next job will get
}

// Done reports whether the queue is closed and all its jobs have ended.
func (i *QueueInfo) Done() bool { return !i.Closed.IsZero() && i.Counts.Unfinished() == 0 }

// Name returns the queue's account and name.
func (q *Queue) Name() QueueName { return q.name }

// Configure creates the queue with these settings, or replaces those it has. It reports whether it created it. A closed queue stays closed.
func (q *Queue) Configure(ctx context.Context, set Settings) (info *QueueInfo, created bool, err error) {
	if err := checkQueueName(q.name); err != nil {
		return nil, false, err
	}
	if err := checkLimits(set.Limits); err != nil {
		return nil, false, err
	}
	if err := checkTags(set.Tags); err != nil {
		return nil, false, err
	}
	if err := checkString("status", set.Status, MaxName); err != nil {
		return nil, false, err
	}
	err = q.b.update(ctx, storage.Reads{Queues: []QueueName{q.name}}, func(s *step) error {
		old, err := s.tx.Queue(q.name)
		created = errors.Is(err, storage.ErrNotFound)
		if err != nil && !created {
			return err
		}
		rec := &storage.Queue{QueueName: q.name, Limits: set.Limits, Backlog: set.Backlog, Status: set.Status, Created: s.now}
		if len(set.Tags) > 0 {
			rec.Tags = maps.Clone(set.Tags)
		}
		if !created {
			rec.Created, rec.Closed = old.Created, old.Closed
		}
		if err := s.tx.PutQueue(rec); err != nil {
			return err
		}
		info, err = q.b.infoOf(s.tx, rec)
		return err
	})
	if err != nil {
		return nil, false, err
	}
	return info, created, nil
}

// Info returns what is known of the queue; ErrNotFound if it does not exist.
func (q *Queue) Info(ctx context.Context) (*QueueInfo, error) {
	if err := checkQueueName(q.name); err != nil {
		return nil, err
	}
	var info *QueueInfo
	err := q.b.view(ctx, storage.Reads{Queues: []QueueName{q.name}}, func(r storage.Reader) error {
		rec, err := r.Queue(q.name)
		if err == nil {
			info, err = q.b.infoOf(r, rec)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return info, nil
}

// Queues lists up to max queues of the broker's account (of the house, if it is not narrowed to one) by name, those after the given name.
func (b *Broker) Queues(ctx context.Context, after string, max int) ([]*QueueInfo, error) {
	if max < 1 || max > MaxBatch {
		return nil, invalid("limit", "%d is not from 1 to %d", max, MaxBatch)
	}
	if err := checkString("account", b.account, MaxName); err != nil {
		return nil, err
	}
	if err := checkString("after", after, MaxName); err != nil {
		return nil, err
	}
	var out []*QueueInfo
	err := b.view(ctx, storage.Reads{}, func(r storage.Reader) error {
		out = nil
		recs, err := r.Queues(QueueName{Account: b.account, Name: after}, max)
		if err != nil {
			return err
		}
		for _, rec := range recs {
			if rec.Account != b.account {
				break
			}
			info, err := b.infoOf(r, rec)
			if err != nil {
				return err
			}
			out = append(out, info)
		}
		return nil
	})
	return out, err
}

func (c *core) infoOf(r storage.Reader, rec *storage.Queue) (*QueueInfo, error) {
	info := &QueueInfo{
		Name:     rec.QueueName,
		Settings: Settings{Limits: rec.Limits, Backlog: rec.Backlog, Tags: rec.Tags, Status: rec.Status},
		Created:  rec.Created, Closed: rec.Closed,
	}
	info.Effective = info.Settings
	info.Effective.Limits = c.limitsFor(&storage.Spec{}, rec)
	info.Effective.Backlog = first(rec.Backlog, c.opts.Backlog)
	var err error
	if info.Counts, err = r.Counts(rec.QueueName); err != nil {
		return nil, err
	}
	if info.Next, err = r.NextPosition(rec.QueueName); err != nil {
		return nil, err
	}
	oldest, err := r.OldestPending(rec.QueueName)
	if err == nil && !oldest.IsZero() {
		info.Oldest = max(r.Now().Sub(oldest), 0)
	}
	return info, err
}

// ListOptions say what to list.
type ListOptions struct {
	State State // 0 for any but tombstones
	After ID    // begin after that one: what Jobs returned as next
	Limit int   // at most so many, up to MaxBatch; 0 for 100
}

// Jobs lists jobs of the queue in the order of their ids. next is where to go on, the zero ID at the end; there may be more to come even if
// fewer than Limit, or none, were returned.
func (q *Queue) Jobs(ctx context.Context, o ListOptions) (jobs []*Job, next ID, err error) {
	if err := checkQueueName(q.name); err != nil {
		return nil, ID{}, err
	}
	if o.Limit == 0 {
		o.Limit = 100
	}
	if o.Limit < 1 || o.Limit > MaxBatch {
		return nil, ID{}, invalid("limit", "%d is not from 1 to %d", o.Limit, MaxBatch)
	}
	if o.State == storage.Staged || int(o.State) >= storage.States {
		return nil, ID{}, invalid("state", "%v is not a state of a job", o.State)
	}
	err = q.b.view(ctx, storage.Reads{Queues: []QueueName{q.name}}, func(r storage.Reader) error {
		jobs = nil
		if _, err := r.Queue(q.name); err != nil {
			return err
		}
		recs, n, err := r.Jobs(q.name, o.State, o.After, o.Limit)
		if err != nil {
			return err
		}
		next = n
		for _, j := range recs {
			if j.State == storage.Staged || j.State == Gone && o.State != Gone || !q.b.sees(j.Account) {
				continue
			}
			kept, err := readBeside(r, j)
			if err != nil && !errors.Is(err, storage.ErrCorrupt) {
				return err
			}
			jobs = append(jobs, jobOf(j, kept))
		}
		return nil
	})
	return jobs, next, err
}

// Close closes the queue for good: nothing more goes in (ErrQueueClosed), and once all its jobs have ended every receive is ErrDone,
// those that wait included. Such a queue is forgotten a tombstone's time later (a minute at least), with its last tombstone. Closing
// again does nothing; a queue that does not exist is ErrNotFound.
func (q *Queue) Close(ctx context.Context) error {
	if err := checkQueueName(q.name); err != nil {
		return err
	}
	return q.b.update(ctx, storage.Reads{Queues: []QueueName{q.name}}, func(s *step) error {
		rec, err := s.tx.Queue(q.name)
		if err != nil || !rec.Closed.IsZero() {
			return err
		}
		closed := *rec
		closed.Closed = s.now
		if err := s.tx.PutQueue(&closed); err != nil {
			return err
		}
		s.wake = append(s.wake, q.name)
		return s.quieted(&closed, s.limitsFor(&storage.Spec{}, &closed))
	})
}

// purgeBatch is how many jobs are canceled or deleted in one transaction.
const purgeBatch = 200

// Purge cancels all jobs that wait, scheduled or pending, and returns how many it canceled, also together with an error. Jobs that are
// running go on.
func (q *Queue) Purge(ctx context.Context) (int, error) {
	if _, err := q.Info(ctx); err != nil {
		return 0, err
	}
	purged := 0
	for _, state := range []State{storage.Entering, Scheduled, Pending} {
		err := q.eachBatch(ctx, state, func(s *step, ids []ID) (int, error) {
			n := 0
			for _, id := range ids {
				j, err := s.tx.Job(id)
				if err == nil {
					j, err = s.advance(j)
				}
				if errors.Is(err, storage.ErrNotFound) || err == nil && j.State != Scheduled && j.State != Pending {
					continue
				}
				if err == nil {
					_, err = s.end(j, Canceled, beside{}, false)
				}
				if err != nil {
					return 0, err
				}
				n++
			}
			return n, nil
		}, &purged)
		if err != nil {
			return purged, err
		}
	}
	return purged, nil
}

// eachBatch calls fn, each time in a transaction, with the ids of all jobs of a state (0: of any), and adds up what it returns.
func (q *Queue) eachBatch(ctx context.Context, state State, fn func(*step, []ID) (int, error), sum *int) error {
	return q.pages(ctx, state, func(jobs []*storage.Job) error {
		ids := make([]ID, len(jobs))
		for i, j := range jobs {
			ids[i] = j.ID
		}
		n := 0
		err := q.b.update(ctx, storage.Reads{Jobs: ids, Ends: true}, func(s *step) (err error) {
			n, err = fn(s, ids)
			return err
		})
		if err == nil {
			*sum += n
		}
		return err
	})
}

// pages calls fn, outside of transactions, with all jobs of a state (0: of any), up to purgeBatch at a time.
func (q *Queue) pages(ctx context.Context, state State, fn func([]*storage.Job) error) error {
	var after, next ID
	for {
		var jobs []*storage.Job
		err := q.b.view(ctx, storage.Reads{Queues: []QueueName{q.name}}, func(r storage.Reader) (err error) {
			jobs, next, err = r.Jobs(q.name, state, after, purgeBatch)
			return err
		})
		if err == nil && len(jobs) > 0 {
			err = fn(jobs)
		}
		if after = next; err != nil || after == (ID{}) {
			return err
		}
	}
}

// Delete forgets a closed queue that is done, at once, with all its ended jobs, their results and the keys that named them. Any other
// queue is ErrWrongState.
func (q *Queue) Delete(ctx context.Context) error {
	info, err := q.Info(ctx)
	if err != nil {
		return err
	}
	errUndone := fmt.Errorf("%w: only a closed queue whose jobs have all ended can be deleted", ErrWrongState)
	if !info.Done() {
		return errUndone
	}
	deletable := func(j *storage.Job) error {
		switch {
		case j.Owed > 0:
			return fmt.Errorf("%w: jobs in the outbox of job %v have not ended", ErrWrongState, j.ID)
		case !j.State.Ended() && j.State != Gone && j.State != storage.Staged:
			return errUndone // an outbox has put it there since, or it is of a new queue of that name
		}
		return nil
	}
	err = q.pages(ctx, 0, func(jobs []*storage.Job) error { // all of it before anything is deleted
		for _, j := range jobs {
			if err := deletable(j); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	var sum int
	err = q.eachBatch(ctx, 0, func(s *step, ids []ID) (int, error) {
		for _, id := range ids {
			j, err := s.tx.Job(id)
			if errors.Is(err, storage.ErrNotFound) {
				continue
			}
			if err == nil {
				err = deletable(j)
			}
			if err == nil && j.State == storage.Staged {
				err = s.dropUpload(j)
			} else if err == nil {
				if err = s.deleteBlobs(j); err == nil {
					err = s.tx.DeleteJob(j)
					s.note(removed, j)
				}
			}
			if err != nil {
				return 0, err
			}
		}
		return len(ids), nil
	}, &sum)
	if err != nil {
		return err
	}
	return q.b.update(ctx, storage.Reads{Queues: []QueueName{q.name}}, func(s *step) error {
		rec, err := s.tx.Queue(q.name)
		if errors.Is(err, storage.ErrNotFound) {
			return nil // it went with its last record
		}
		if err == nil && rec.Closed.IsZero() {
			err = errUndone
		}
		if err == nil {
			err = s.tx.DeleteQueue(q.name)
		}
		if errors.Is(err, storage.ErrInUse) {
			err = errUndone
		}
		s.wake = append(s.wake, q.name)
		return err
	})
}

// Idle waits until nothing unfinished is in the queue: no job entering, scheduled, pending or running. A queue that does not exist is
// idle. It is meant for tests, and for draining before maintenance.
func (q *Queue) Idle(ctx context.Context) error {
	if err := checkQueueName(q.name); err != nil {
		return err
	}
	_, err := q.b.idle.Wait(ctx, q.name, struct{}{}, func() (bool, error) {
		var counts Counts
		err := q.b.view(ctx, storage.Reads{Queues: []QueueName{q.name}}, func(r storage.Reader) (err error) {
			counts, err = r.Counts(q.name)
			return err
		})
		return counts.Unfinished() == 0, err
	})
	return err
}
