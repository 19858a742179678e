package jobqueue

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/pollackq/pollack/storage"
)

// stageChunks is how many chunks of a large value are written in one transaction.
const stageChunks = 16

// readPayload gets a draft's payload: into memory if it is small, else into the store, as a blob that nobody has adopted yet. What is
// already known to be a replay is only digested.
func (e *enqueue) readPayload(ctx context.Context, d *draft) error {
	b := e.q.b
	limit := b.opts.MaxPayload
	if e.inUserTx {
		limit = min(limit, storage.MaxValue)
	}
	body := d.Body
	if body == nil {
		if int64(len(d.Payload)) > limit {
			return tooLarge("payload", limit)
		}
		if len(d.Payload) <= stageAt || e.inUserTx {
			d.payload, d.size = d.Payload, int64(len(d.Payload))
			if d.Key != "" {
				d.digest = sha256.Sum256(d.payload)
			}
			return nil
		}
		body = bytes.NewReader(d.Payload)
	}
	v, err := b.readValue(ctx, e.q.name, body, limit, "payload", value{
		digested: d.Key != "", digestOnly: d.known, whole: e.inUserTx, wanted: func(s *step) error { return s.takes(e.q.name) },
	})
	d.payload, d.blob, d.size, d.digest, d.madeQueue = v.data, v.blob, v.size, v.digest, v.madeQueue
	return err
}

// A value is a payload or result that has been read.
type value struct {
	data []byte // if it is small
	blob ID     // if it is large: whoever uses it deletes the Staged job of that id
	// The queue was created for the blob: if nobody adopts the one, nobody misses the other.
	madeQueue bool
	size      int64
	digest    [32]byte // SHA-256, if it is wanted

	digested   bool              // the digest is wanted
	digestOnly bool              // keep nothing
	whole      bool              // keep it in memory whatever its size
	wanted     func(*step) error // asked in each transaction that keeps a part of it: an error ends the reading
	looks      []ID              // the jobs that wanted looks at
}

// readValue reads a value of at most limit bytes. One larger than stageAt goes into a blob, stageChunks chunks at a time, owned by a
// job in state Staged that the timeline deletes if nobody adopts it within stageTime of the last write. After an error nothing is
// kept.
func (c *core) readValue(ctx context.Context, q QueueName, r io.Reader, limit int64, what string, v value) (value, error) {
	if !v.digested {
		return c.keepValue(ctx, q, r, limit, what, v)
	}
	sum := sha256.New()
	v, err := c.keepValue(ctx, q, io.TeeReader(r, sum), limit, what, v)
	v.digest = [32]byte(sum.Sum(nil))
	return v, err
}

// keepValue is readValue without the digest.
func (c *core) keepValue(ctx context.Context, q QueueName, r io.Reader, limit int64, what string, v value) (value, error) {
	if limit < forever {
		r = io.LimitReader(r, limit+1)
	}
	first := int64(stageAt)
	if v.whole {
		first = limit
	}
	head, err := io.ReadAll(io.LimitReader(r, first+1))
	v.size = int64(len(head))
	if err == nil && v.size > limit {
		err = tooLarge(what, limit)
	}
	if err != nil {
		return value{}, fmt.Errorf("reading the %s: %w", what, err)
	}
	if v.size <= first {
		v.data = head
		return v, nil
	}
	if v.digestOnly {
		n, err := io.Copy(io.Discard, r)
		v.size += n
		if err == nil && v.size > limit {
			err = tooLarge(what, limit)
		}
		return v, err
	}
	err = c.stage(ctx, q, io.MultiReader(bytes.NewReader(head), r), limit, what, &v)
	if err != nil && v.blob != (ID{}) {
		c.unstage(ctx, v.blob, v.madeQueue)
		v.blob = ID{}
	}
	return v, err
}

// stage writes the chunks. After an error the blob may have been begun.
func (c *core) stage(ctx context.Context, q QueueName, r io.Reader, limit int64, what string, v *value) error {
	v.size = 0
	buf := make([]byte, stageChunks*storage.ChunkSize)
	for n := uint32(0); ; n += stageChunks {
		k, err := readFull(r, buf)
		last := err == io.EOF
		if err != nil && !last {
			return fmt.Errorf("reading the %s: %w", what, err)
		}
		if v.size += int64(k); v.size > limit {
			return tooLarge(what, limit)
		}
		reads := storage.Reads{Queues: []QueueName{q}, Jobs: v.looks}
		if n > 0 {
			reads.Jobs = append(slices.Clone(v.looks), v.blob)
		}
		err = c.update(ctx, reads, func(s *step) error {
			if n == 0 {
				_, err := s.tx.Queue(q)
				v.madeQueue = errors.Is(err, storage.ErrNotFound)
			}
			err := v.wanted(s)
			switch {
			case err != nil:
			case n == 0:
				v.blob, err = s.beginBlob(q)
			default:
				err = s.keepBlob(v.blob)
			}
			if err != nil {
				return err
			}
			for i := 0; i*storage.ChunkSize < k; i++ {
				p := buf[i*storage.ChunkSize : min((i+1)*storage.ChunkSize, k)]
				if err := s.tx.PutChunk(v.blob, n+uint32(i), p); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil || last {
			return err
		}
	}
}

// readFull reads until buf is full: the error is io.EOF if what there is ended before. Unlike io.ReadFull it leaves io.ErrUnexpectedEOF to the
// reader, which says with it that what it reads was cut off.
func readFull(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var k int
		k, err = r.Read(buf[n:])
		n += k
	}
	if n == len(buf) && err == io.EOF {
		err = nil // the next read says so again
	}
	return n, err
}

// takes demands that a queue takes something new. One that does not exist is created, unless queues have to be explicitly.
func (s *step) takes(name QueueName) error {
	q, err := s.tx.Queue(name)
	switch {
	case errors.Is(err, storage.ErrNotFound) && s.opts.ExplicitQueues:
		return fmt.Errorf("%w: queue %q", ErrNotFound, name.Name)
	case errors.Is(err, storage.ErrNotFound):
		return s.tx.PutQueue(&storage.Queue{QueueName: name, Created: s.now})
	case err == nil && !q.Closed.IsZero():
		return ErrQueueClosed
	}
	return err
}

// beginBlob adds the Staged job that owns a blob, and has its id; if the function runs again, another one. The queue is there.
func (s *step) beginBlob(q QueueName) (ID, error) {
	spec := storage.Spec{ID: storage.NewID(s.now), Queue: q, Account: q.Account, Created: s.now}
	_, err := s.add(&storage.Job{Spec: &spec, Status: storage.Status{State: storage.Staged, Version: 1, Due: s.now.Add(stageTime)}}, nil)
	return spec.ID, err
}

// keepBlob keeps a blob that is still being written from being taken for an abandoned one.
func (s *step) keepBlob(blob ID) error {
	j, err := s.tx.Job(blob)
	if err != nil {
		return err
	}
	st := j.Status
	st.Due = s.now.Add(stageTime)
	return s.set(j.With(st))
}

// adopt makes a staged blob somebody's: its Staged job is deleted, its chunks stay.
func (s *step) adopt(blob ID) error {
	if blob == (ID{}) {
		return nil
	}
	j, err := s.tx.Job(blob)
	if err != nil {
		return err
	}
	return s.tx.DeleteJob(j)
}

// unstage deletes a blob that nobody will adopt, and the queue that was made for it unless that has been used since. If that fails the timeline will
// delete the blob.
func (c *core) unstage(ctx context.Context, blob ID, madeQueue bool) {
	err := c.run(context.WithoutCancel(ctx), storage.Reads{Jobs: []ID{blob}, Ends: true}, func(s *step) error {
		j, err := s.tx.Job(blob)
		if err != nil || j.State != storage.Staged {
			return err
		}
		if err := s.dropUpload(j); err != nil || !madeQueue {
			return err
		}
		return s.forgetUnused(j.Queue)
	})
	if err != nil && !errors.Is(err, ErrNotFound) {
		c.log.Warn("an unfinished upload is left for the timeline to delete", "blob", blob, "error", err)
	}
}

// forgetUnused deletes a queue that nothing has ever gone into and that nobody has set anything of.
func (s *step) forgetUnused(name QueueName) error {
	q, err := s.tx.Queue(name)
	if err != nil || !q.Closed.IsZero() || q.Limits != (Limits{}) || q.Backlog != 0 || len(q.Tags) > 0 || q.Status != "" {
		return err
	}
	counts, err := s.tx.Counts(name)
	if err != nil || counts.Total() > 0 {
		return err
	}
	next, err := s.tx.NextPosition(name)
	if err != nil || next > 0 {
		return err
	}
	return s.tx.DeleteQueue(name)
}

func tooLarge(what string, limit int64) error {
	return fmt.Errorf("%w: the %s has more than %d bytes", ErrTooLarge, what, limit)
}
