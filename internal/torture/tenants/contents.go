package tenants

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"

	"github.com/pollackq/pollack/storage"
)

// A Digest stands for all that a store holds for some accounts.
type Digest [sha256.Size]byte

// Contents returns the digest of all that a store holds of the accounts that are asked for: their queues with what is derived from the jobs in them,
// and their jobs with payloads and results, also those in queues of others.
func Contents(s storage.Store, of func(account string) bool) (Digest, error) {
	h := sha256.New()
	err := s.View(context.Background(), storage.Reads{}, func(r storage.Reader) error {
		h.Reset()
		var after storage.QueueName
		for {
			queues, err := r.Queues(after, 100)
			if err != nil {
				return err
			}
			for _, q := range queues {
				after = q.QueueName
				if err := addQueue(h, r, q, of); err != nil {
					return fmt.Errorf("queue %v: %w", q.QueueName, err)
				}
			}
			if len(queues) < 100 {
				return nil
			}
		}
	})
	return Digest(h.Sum(nil)), err
}

// addQueue adds a queue of one of the accounts, or of another queue only their jobs.
func addQueue(h hash.Hash, r storage.Reader, q *storage.Queue, of func(string) bool) error {
	theirs := of(q.Account)
	if theirs {
		next, err := r.NextPosition(q.QueueName)
		if err != nil {
			return err
		}
		counts, err := r.Counts(q.QueueName)
		if err != nil {
			return err
		}
		oldest, err := r.OldestPending(q.QueueName)
		if err != nil {
			return err
		}
		ready, err := r.Ready(q.QueueName, 10_000)
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "queue %+v %d %v %d\n", *q, next, counts, oldest.UnixMicro())
		for _, j := range ready {
			h.Write(j.ID[:])
		}
	}
	var after storage.ID
	for {
		jobs, next, err := r.Jobs(q.QueueName, 0, after, 1000)
		if err != nil {
			return err
		}
		for _, j := range jobs {
			if theirs || of(j.Account) {
				if err := addJob(h, r, j); err != nil {
					return fmt.Errorf("job %v: %w", j.ID, err)
				}
			}
		}
		if next == (storage.ID{}) {
			return nil
		}
		after = next
	}
}

func addJob(h hash.Hash, r storage.Reader, j *storage.Job) error {
	s := j.Status
	progress := -1.0
	if s.Progress != nil {
		progress = *s.Progress
	}
	s.Progress = nil
	fmt.Fprintf(h, "job %x %+v %+v %v\n", j.ID, *j.Spec, s, progress)
	for _, read := range []func(*storage.Job) ([]byte, error){r.Payload, r.Result} {
		p, err := read(j)
		if err != nil && !errors.Is(err, storage.ErrNotFound) {
			return err
		}
		fmt.Fprintf(h, "%v %d\n", err == nil, len(p))
		h.Write(p)
	}
	for _, blob := range []storage.ID{j.Blob, j.ResultBlob} {
		if blob == (storage.ID{}) {
			continue
		}
		for n := uint32(0); ; n++ {
			p, err := r.Chunk(blob, n)
			if errors.Is(err, storage.ErrNotFound) {
				break
			}
			if err != nil {
				return err
			}
			fmt.Fprintf(h, "chunk %d %d\n", n, len(p))
			h.Write(p)
		}
	}
	return nil
}
