package boltstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/pollackq/pollack/storage"
)

// Check reads everything on one snapshot, and reports each damaged record and each place in the orders or counts that disagrees with
// the records. A damaged page becomes one error and ends the reading of its bucket. While Check runs, pages that others free are not
// reused: the file may grow.
func (s *Store) Check(ctx context.Context) error {
	return s.view(ctx, func(r *reader) error { return r.check(ctx) })
}

// A checker compares the records of a snapshot with the orders.
type checker struct {
	*reader
	ctx    context.Context
	errs   []error
	names  map[uint64]storage.QueueName
	counts map[uint64]*storage.Counts
	large  map[uint64]bool // the large values that records point to
	vague  bool            // there is a job whose state cannot be read
}

// maxErrors bounds a report: a file that is all wrong need not be listed whole.
const maxErrors = 1000

func (r *reader) check(ctx context.Context) error {
	c := &checker{reader: r, ctx: ctx, names: map[uint64]storage.QueueName{}, counts: map[uint64]*storage.Counts{},
		large: map[uint64]bool{}}
	for _, step := range []func() error{c.queues, c.data, c.statuses, c.overlaid, c.blobs, c.ready, c.due, c.keys, c.counters, c.larges} {
		if err := c.guarded(step); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			c.report(err)
		}
	}
	return errors.Join(c.errs...)
}

func (c *checker) guarded(step func() error) (err error) {
	defer c.guard(&err)
	return step()
}

func (c *checker) report(err error) {
	if len(c.errs) < maxErrors {
		c.errs = append(c.errs, err)
	}
}

// each calls fn for all records of a bucket, and reports those that nobody who looks for them would find. Jobs that were read are forgotten now
// and then: the store may be larger than memory.
func (c *checker) each(in int, fn func(k, v []byte)) error {
	return each(c.bucket(in), nil, func(k, v []byte) error {
		if len(c.trees) > 1000 {
			clear(c.trees)
		}
		if found, _ := c.cursor(in).Seek(k); !bytes.Equal(found, k) {
			c.report(&storage.CorruptError{Record: "page", Err: fmt.Errorf("no page leads to the key %x of %s", k, bucketNames[in])})
		}
		fn(k, v)
		return c.ctx.Err()
	})
}

func (c *checker) queues() error {
	return c.each(inQueues, func(k, v []byte) {
		name := queueName(k)
		number, err := queueNumber(k, v)
		if err == nil {
			_, err = decodeQueue(name, k, v)
		}
		if err != nil {
			c.report(&storage.CorruptError{Queue: name, Record: "queue", Err: err})
			return
		}
		if was, double := c.names[number]; double {
			c.report(fmt.Errorf("queues %q and %q have one number", was, name))
		}
		if number > c.meta.queues {
			c.report(fmt.Errorf("queue %q has a number that was never given", name))
		}
		c.names[number] = name
	})
}

// data checks that each spec, payload and result belongs to a job, and is whole.
func (c *checker) data() error {
	return c.each(inData, func(k, v []byte) {
		if len(k) != dataLen || int(k[dataLen-1]) >= len(kindNames) {
			c.report(fmt.Errorf("data has a strange key %x", k))
			return
		}
		number, id, kind := binary.BigEndian.Uint64(k), storage.ID(k[numberLen:numberLen+idLen]), k[dataLen-1]
		if c.get(inStatus, id[:]) == nil && c.overlay.get(id) == nil {
			c.report(corrupt(id, kindNames[kind], errors.New("there is no status for it")))
		}
		if kind == kindSpec {
			spec, err := decodeSpec(k, v, id)
			if err != nil {
				c.report(corrupt(id, "spec", err))
			} else if name, ok := c.names[number]; ok && name != spec.Queue {
				c.report(corrupt(id, "spec", fmt.Errorf("it is in queue %q", name)))
			}
			return
		}
		c.value(id, kindNames[kind], k, v)
	})
}

func (c *checker) value(id storage.ID, record string, k, v []byte) {
	number, err := largeOf(k, v)
	if number != 0 {
		if c.large[number] {
			c.report(corrupt(id, record, errors.New("another record points to the same value")))
		}
		c.large[number] = true
	}
	if err == nil {
		_, err = c.readValue(k, v)
	}
	if err != nil {
		c.report(corrupt(id, record, err))
	}
}

// statuses checks that each job has its places, and counts them.
func (c *checker) statuses() error {
	return c.each(inStatus, func(k, v []byte) {
		id := storage.ID(k)
		var status storage.Status
		number, err := decodeStatus(k, v, &status)
		if err != nil {
			c.report(corrupt(id, "status", err))
			c.vague = true
			return
		}
		if j := c.overlay.get(id); j != nil {
			if !j.stored {
				c.report(corrupt(id, "status", errors.New("the journal adds the job that it is of")))
			}
			return // it is an old one, and has no places
		}
		if c.counts[number] == nil {
			c.counts[number] = new(storage.Counts)
		}
		c.counts[number][status.State]++
		e, err := c.treeJob(id)
		if err != nil {
			if rec := c.get(inData, appendDataKey(c.key[:0], number, id, kindSpec)); rec == nil {
				c.report(err)
			}
			return // a damaged spec was reported with the data
		}
		if e.State == storage.Pending {
			c.expect(inReady, appendReadyKey(nil, number, e.Spec), id, "ready")
		}
		if !e.Due.IsZero() {
			c.expect(inDue, appendDueKey(nil, e.Due, id), id, "due")
		}
		if e.Key != "" {
			key := appendKeyKey(nil, number, e.KeyOf())
			if target, err := keyTarget(key, c.get(inKeys, key)); err != nil || target != id {
				c.report(corrupt(id, "key", errors.Join(errPlace, err)))
			}
		}
		c.position(e)
	})
}

func (c *checker) position(j *job) {
	if !j.State.Positioned() {
		return
	}
	if q, err := c.counted(j.Queue); err == nil && q.number == j.queue && j.Position >= q.next {
		c.report(corrupt(j.ID, "spec", fmt.Errorf("its position %d was never given", j.Position)))
	}
}

// overlaid counts the jobs in the overlay, and checks that what it expects in the trees is there.
func (c *checker) overlaid() error {
	for _, id := range c.overlay.lost {
		c.report(corrupt(id, "status", errors.New("its latest change is lost")))
	}
	for w := c.overlay.ids.from(spot{}); w.item() != nil; w.step() {
		j := w.item().job
		if j.stored && c.get(inStatus, j.ID[:]) == nil {
			c.report(corrupt(j.ID, "status", errMissing))
		}
		if key := appendDataKey(nil, j.queue, j.ID, kindSpec); j.stored != (c.get(inData, key) != nil) {
			c.report(corrupt(j.ID, "spec", errPlace))
		}
		if key := appendDataKey(nil, j.queue, j.ID, kindResult); j.result != nil && c.get(inData, key) != nil {
			c.report(corrupt(j.ID, "result", errPlace))
		}
		if j.gone {
			continue
		}
		if c.counts[j.queue] == nil {
			c.counts[j.queue] = new(storage.Counts)
		}
		c.counts[j.queue][j.State]++
		c.position(j)
	}
	return nil
}

func (c *checker) expect(in int, key []byte, id storage.ID, record string) {
	if c.get(in, key) == nil {
		c.report(corrupt(id, record, errMissing))
	}
}

func (c *checker) blobs() error {
	var last []byte
	return c.each(inBlobs, func(k, v []byte) {
		id := storage.ID(k[:idLen])
		n, want := binary.BigEndian.Uint32(k[idLen:]), uint32(0)
		if bytes.HasPrefix(last, id[:]) {
			want = binary.BigEndian.Uint32(last[idLen:]) + 1
		}
		if n != want {
			c.report(corrupt(id, "chunk", fmt.Errorf("chunk %d follows, not %d", n, want)))
		}
		last = append(last[:0], k...)
		c.value(id, "chunk", k, v)
	})
}

func (c *checker) ready() error {
	return c.each(inReady, func(k, v []byte) { c.place(k, v, "ready", isReady(k)) })
}

func (c *checker) due() error {
	return c.each(inDue, func(k, v []byte) { c.place(k, v, "due", isDue(dueTime(k))) })
}

// place checks that a place has its job. A damaged job was reported before.
func (c *checker) place(k, v []byte, record string, belongs func(*job) bool) {
	id := lastID(k)
	if _, err := unseal(k, v); err != nil {
		c.report(corrupt(id, record, err))
		return
	}
	if c.overlay.get(id) != nil {
		c.report(corrupt(id, record, errOverlaid))
		return
	}
	switch e, err := c.treeJob(id); {
	case errors.Is(err, storage.ErrNotFound):
		c.report(corrupt(id, record, errors.New("there is no job for it")))
	case err == nil && !belongs(e):
		c.report(corrupt(id, record, errPlace))
	}
}

func (c *checker) keys() error {
	return c.each(inKeys, func(k, v []byte) {
		id, err := keyTarget(k, v)
		if err != nil {
			c.report(&storage.CorruptError{Queue: c.names[binary.BigEndian.Uint64(k)], Record: "key", Err: err})
			return
		}
		if c.overlay.get(id) != nil {
			c.report(corrupt(id, "key", errOverlaid))
			return
		}
		switch e, err := c.treeJob(id); {
		case errors.Is(err, storage.ErrNotFound):
			c.report(corrupt(id, "key", errors.New("there is no job for it")))
		case err == nil && !bytes.Equal(k, appendKeyKey(nil, e.queue, e.KeyOf())):
			c.report(corrupt(id, "key", errPlace))
		}
	})
}

func (c *checker) counters() error {
	seen := map[uint64]bool{}
	err := c.each(inCounters, func(k, v []byte) {
		number := binary.BigEndian.Uint64(k)
		seen[number] = true
		name := c.names[number]
		_, counts, err := decodeCounters(k, v)
		if err != nil {
			c.report(&storage.CorruptError{Queue: name, Record: "counters", Err: err})
			return
		}
		var is storage.Counts
		if n := c.counts[number]; n != nil {
			is = *n
		}
		// A job whose status is damaged is still counted, but nobody can say where.
		if counts != is && (!c.vague || counts.Total() < is.Total()) {
			c.report(&storage.CorruptError{Queue: name, Record: "counters", Err: fmt.Errorf("counts are %v, but its jobs %v", counts, is)})
		}
	})
	for number, name := range c.names {
		if !seen[number] && err == nil {
			c.report(&storage.CorruptError{Queue: name, Record: "counters", Err: errMissing})
		}
	}
	for number := range c.counts {
		if !seen[number] && err == nil {
			c.report(fmt.Errorf("there are jobs of a queue of number %d, but no such queue", number))
		}
	}
	return err
}

func (c *checker) larges() error {
	return c.each(inLarge, func(k, v []byte) {
		if number := binary.BigEndian.Uint64(k); !c.large[number] {
			c.report(fmt.Errorf("nothing points to the large value %d", number))
		}
	})
}
