package jobqueue

import (
	"context"

	"github.com/pollackq/pollack/storage"
)

// Job returns what is known of a job now. ErrNotFound: there is none, or it is another account's. ErrGone: there was one.
func (b *Broker) Job(ctx context.Context, id ID) (*Job, error) {
	var out *Job
	err := b.view(ctx, storage.Reads{Jobs: []ID{id}, Results: true}, func(r storage.Reader) error {
		j, err := b.find(r, id)
		if err != nil {
			return err
		}
		kept, err := readBeside(r, j)
		out = jobOf(j, kept)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// JobByKey returns the job that a submitter knows by a key, of the broker's account if it is narrowed to one, else of the queue's.
// ErrGone: only its tombstone is left.
func (b *Broker) JobByKey(ctx context.Context, queue QueueName, key string) (*Job, error) {
	if err := checkQueueName(queue); err != nil {
		return nil, err
	}
	if err := checkString("key", key, MaxName); err != nil {
		return nil, err
	}
	account := queue.Account
	if b.scoped {
		account = b.account
	}
	var out *Job
	k := storage.Key{Queue: queue, Account: account, Name: key}
	err := b.view(ctx, storage.Reads{Keys: []storage.Key{k}, Results: true}, func(r storage.Reader) error {
		j, err := r.JobByKey(k)
		if err == nil && j.State == storage.Staged {
			err = ErrNotFound
		}
		if err == nil {
			err = asOf(j, r)
		}
		if err != nil {
			return err
		}
		kept, err := readBeside(r, j)
		out = jobOf(j, kept)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// sees reports whether the broker may know of a job of that account.
func (b *Broker) sees(account string) bool { return !b.scoped || b.account == account }

// find returns a job that the broker may know of and that is still there.
func (b *Broker) find(r storage.Reader, id ID) (*storage.Job, error) {
	j, err := r.Job(id)
	if err != nil {
		return nil, err
	}
	if !b.sees(j.Account) || j.State == storage.Staged {
		return nil, ErrNotFound
	}
	return j, asOf(j, r)
}

// asOf returns ErrGone for a job whose retention is over and ErrNotFound for a tombstone or upload whose time is, whether or not the
// timeline has come to it.
func asOf(j *storage.Job, r storage.Reader) error {
	over := !j.Due.IsZero() && !j.Due.After(r.Now())
	switch {
	case (j.State == Gone || j.State == storage.Staged) && over:
		return ErrNotFound
	case j.State == Gone, j.State.Ended() && over && j.Owed == 0:
		return ErrGone
	}
	return nil
}
