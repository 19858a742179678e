package boltstore

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"github.com/pollackq/pollack/internal/record"
	"github.com/pollackq/pollack/storage"
)

// A reader reads within one transaction of bbolt.
type reader struct {
	btx     *bbolt.Tx // nil after the end
	top     *bbolt.Bucket
	buckets [inAll]*bbolt.Bucket
	cursors [inAll]*bbolt.Cursor
	at      time.Time
	meta    meta
	queues  map[storage.QueueName]*queue
	last    *queue              // the one that was looked for last
	overlay *overlay            // of the commit that the trees are of; in an Update a copy that is changed
	trees   map[storage.ID]*job // what was read from the trees
	spoiled bool                // a write ended half way through bbolt's pages
	writing bool                // in a method that writes
	key     [dataLen + idLen]byte
}

// A queue is what a transaction knows of a queue: in an Update its counters are changed here and written once, before the commit.
type queue struct {
	counters
	name   storage.QueueName
	key    []byte
	rec    []byte         // the encoded record
	loaded bool           // counters have been read
	dirty  bool           // counters are to be written
	record *storage.Queue // decoded from rec, nil until asked for
	call   uint64         // the call that logged this queue last
	before int64          // jobs that had not ended when the counters were read
}

// counters are what a call may change of a queue, and what is put back when it fails.
type counters struct {
	number uint64 // 0 if there is no such queue
	next   uint64
	counts storage.Counts
}

func (r *reader) begin(btx *bbolt.Tx, at time.Time, known *overlays) (err error) {
	r.btx, r.at = btx, at
	r.top = btx.Bucket(topName)
	if r.top == nil {
		return fmt.Errorf("%w (the bucket %q is gone)", ErrForeign, topName)
	}
	if err := r.meta.decode(r.top.Get(metaKey)); err != nil {
		return corruptMeta(err)
	}
	if r.overlay = known.of(r.meta.commits); r.overlay != nil {
		return nil
	}
	// The first after open, or somebody else has written: a transaction of the user's own that was just committed.
	if r.overlay, err = r.replay(); err != nil {
		return fmt.Errorf("%w (%w)", ErrDamaged, err)
	}
	if known.bounded {
		r.overlay.unended = r.unended()
	}
	known.put(r.meta.commits, r.overlay)
	return nil
}

func corruptMeta(err error) error {
	return fmt.Errorf("%w (%w)", ErrDamaged, &storage.CorruptError{Record: "meta", Err: err})
}

// end makes every later use panic.
func (r *reader) end() { *r = reader{} }

// guard turns a fault in the mapped file, or a panic of bbolt over a damaged page, into an error.
func (r *reader) guard(err *error) {
	p := recover()
	if p == nil {
		return
	}
	if r.btx == nil {
		panic("boltstore: Reader or Tx used after its function has returned")
	}
	if r.writing {
		r.spoiled = true
	}
	*err = damagedPage(p)
}

func damagedPage(p any) error {
	cause, ok := p.(error)
	if !ok {
		cause = fmt.Errorf("%v", p)
	}
	return &storage.CorruptError{Record: "page", Err: cause}
}

// bucket opens one of our buckets, once in a transaction.
func (r *reader) bucket(i int) *bbolt.Bucket {
	b := r.buckets[i]
	if b == nil {
		b = r.top.Bucket(bucketNames[i])
		if b == nil {
			panic(errors.New("bucket " + string(bucketNames[i]) + " is missing"))
		}
		b.FillPercent = 0.95 // most keys grow with time
		r.buckets[i] = b
	}
	return b
}

// cursor returns a cursor that get and the orders share: it is good until the next use of either on that bucket. A new one for each
// step would be half of all allocations.
func (r *reader) cursor(i int) *bbolt.Cursor {
	c := r.cursors[i]
	if c == nil {
		c = r.bucket(i).Cursor()
		r.cursors[i] = c
	}
	return c
}

// get returns the value of a key, nil if there is none. It stays as it is until the commit.
func (r *reader) get(i int, key []byte) []byte {
	if k, v := r.cursor(i).Seek(key); bytes.Equal(k, key) {
		return v
	}
	return nil
}

func (r *reader) Now() time.Time {
	if r.btx == nil {
		panic("boltstore: Reader or Tx used after its function has returned")
	}
	return r.at
}

func (r *reader) Job(id storage.ID) (j *storage.Job, err error) {
	defer r.guard(&err)
	e, err := r.job(id)
	if err != nil {
		return nil, err
	}
	return e.Job, nil
}

func (r *reader) JobByKey(k storage.Key) (j *storage.Job, err error) {
	defer r.guard(&err)
	if k.Name == "" {
		return nil, storage.ErrNotFound
	}
	if e := r.overlay.byKey(k); e != nil {
		return e.Job, nil
	}
	q, err := r.queue(k.Queue)
	if err != nil {
		return nil, err
	}
	if q.number == 0 {
		return nil, storage.ErrNotFound
	}
	key := appendKeyKey(nil, q.number, k)
	rec := r.get(inKeys, key)
	if rec == nil {
		return nil, storage.ErrNotFound
	}
	id, err := keyTarget(key, rec)
	if err != nil {
		return nil, &storage.CorruptError{Queue: k.Queue, Record: "key", Err: err}
	}
	e, err := r.job(id)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, corrupt(id, "status", errMissing)
	}
	if err != nil {
		return nil, err
	}
	return e.Job, nil
}

// keyTarget decodes a record of inKeys.
func keyTarget(key, rec []byte) (storage.ID, error) {
	body, err := unseal(key, rec)
	if err != nil {
		return storage.ID{}, err
	}
	if len(body) != idLen {
		return storage.ID{}, record.ErrMalformed
	}
	return storage.ID(body), nil
}

func (r *reader) Payload(j *storage.Job) (p []byte, err error) {
	defer r.guard(&err)
	return r.value(j, kindPayload)
}

func (r *reader) Result(j *storage.Job) (p []byte, err error) {
	defer r.guard(&err)
	return r.value(j, kindResult)
}

func (r *reader) value(j *storage.Job, kind byte) ([]byte, error) {
	e, err := r.job(j.ID)
	if err != nil {
		return nil, err
	}
	switch {
	case kind == kindPayload && e.payload != nil:
		return bytes.Clone(e.payload), nil
	case kind == kindResult && e.result != nil:
		return bytes.Clone(e.result), nil
	case kind == kindPayload && e.dropped:
		return nil, storage.ErrNotFound
	case kind == kindPayload && e.stored:
		if p, err := r.smallPayload(e); p != nil || err != nil {
			return bytes.Clone(p), err
		}
	}
	if !e.valued {
		return nil, storage.ErrNotFound
	}
	key := appendDataKey(r.key[:0], e.queue, j.ID, kind)
	rec := r.get(inData, key)
	if rec == nil {
		return nil, storage.ErrNotFound
	}
	p, err := r.readValue(key, rec)
	if err != nil {
		return nil, &storage.CorruptError{Job: j.ID, Queue: e.Queue, Record: kindNames[kind], Err: err}
	}
	return p, nil
}

// smallPayload returns the payload that stands in the record of a job's Spec, nil if there is none.
func (r *reader) smallPayload(e *job) ([]byte, error) {
	key := appendDataKey(r.key[:0], e.queue, e.ID, kindSpec)
	p, _, err := splitSpec(key, r.get(inData, key))
	if err != nil {
		return nil, &storage.CorruptError{Job: e.ID, Queue: e.Queue, Record: "spec", Err: err}
	}
	return p, nil
}

func (r *reader) Chunk(blob storage.ID, n uint32) (p []byte, err error) {
	defer r.guard(&err)
	key := appendChunkKey(r.key[:0], blob, n)
	rec := r.get(inBlobs, key)
	if rec == nil {
		return nil, storage.ErrNotFound
	}
	p, err = r.readValue(key, rec)
	if err != nil {
		return nil, corrupt(blob, "chunk", err)
	}
	return p, nil
}

// job returns a job as it is now.
func (r *reader) job(id storage.ID) (*job, error) {
	switch j := r.overlay.get(id); {
	case j == nil:
		return r.treeJob(id)
	case j.gone:
		return nil, storage.ErrNotFound
	default:
		return j, nil
	}
}

// treeJob reads a job from the trees, once in a transaction.
func (r *reader) treeJob(id storage.ID) (*job, error) {
	if j := r.trees[id]; j != nil {
		return j, nil
	}
	rec := r.get(inStatus, id[:])
	if rec == nil {
		return nil, storage.ErrNotFound
	}
	all := new(struct { // one allocation
		job
		storage.Job
	})
	number, err := decodeStatus(id[:], rec, &all.Job.Status)
	if err != nil {
		return nil, corrupt(id, "status", err)
	}
	key := appendDataKey(r.key[:0], number, id, kindSpec)
	rec = r.get(inData, key)
	if rec == nil {
		return nil, corrupt(id, "spec", errMissing)
	}
	if all.Job.Spec, err = decodeSpec(key, rec, id); err != nil {
		return nil, corrupt(id, "spec", err)
	}
	all.job = job{queue: number, Job: &all.Job, stored: true, valued: true}
	if r.trees == nil {
		r.trees = make(map[storage.ID]*job)
	}
	r.trees[id] = &all.job
	return &all.job, nil
}

// queue finds a queue, once in a transaction; its number is 0 if there is none.
func (r *reader) queue(name storage.QueueName) (*queue, error) {
	if r.last != nil && r.last.name == name {
		return r.last, nil
	}
	if q := r.queues[name]; q != nil {
		r.last = q
		return q, nil
	}
	q := &queue{name: name, key: appendQueueKey(nil, name)}
	if rec := r.get(inQueues, q.key); rec != nil {
		number, err := queueNumber(q.key, rec)
		if err != nil {
			return nil, &storage.CorruptError{Queue: name, Record: "queue", Err: err}
		}
		q.number, q.rec = number, rec
	}
	if r.queues == nil {
		r.queues = make(map[storage.QueueName]*queue)
	}
	r.queues[name] = q
	return q, nil
}

// counted finds a queue and reads its counters.
func (r *reader) counted(name storage.QueueName) (*queue, error) {
	q, err := r.queue(name)
	if err != nil || q.loaded || q.number == 0 {
		return q, err
	}
	key := appendNumber(r.key[:0], q.number)
	rec := r.get(inCounters, key)
	if rec == nil {
		return nil, &storage.CorruptError{Queue: name, Record: "counters", Err: errMissing}
	}
	if q.next, q.counts, err = decodeCounters(key, rec); err != nil {
		return nil, &storage.CorruptError{Queue: name, Record: "counters", Err: err}
	}
	q.loaded, q.before = true, q.counts.Unfinished()
	return q, nil
}

func (r *reader) Queue(name storage.QueueName) (rec *storage.Queue, err error) {
	defer r.guard(&err)
	q, err := r.queue(name)
	if err != nil {
		return nil, err
	}
	if q.number == 0 {
		return nil, storage.ErrNotFound
	}
	if q.record == nil {
		if q.record, err = decodeQueue(name, q.key, q.rec); err != nil {
			return nil, &storage.CorruptError{Queue: name, Record: "queue", Err: err}
		}
	}
	return q.record, nil
}

func (r *reader) NextPosition(name storage.QueueName) (n uint64, err error) {
	defer r.guard(&err)
	q, err := r.counted(name)
	if err != nil {
		return 0, err
	}
	return q.next, nil
}

func (r *reader) Counts(name storage.QueueName) (c storage.Counts, err error) {
	defer r.guard(&err)
	q, err := r.counted(name)
	if err != nil {
		return storage.Counts{}, err
	}
	return q.counts, nil
}

func (r *reader) Queues(after storage.QueueName, max int) (queues []*storage.Queue, err error) {
	defer r.guard(&err)
	start := appendQueueKey(nil, after)
	c := r.bucket(inQueues).Cursor()
	for k, v := c.Seek(start); k != nil && len(queues) < max; k, v = c.Next() {
		if bytes.Equal(k, start) {
			continue
		}
		q, err := decodeQueue(queueName(k), k, v)
		if err != nil {
			continue // damaged: passed over, and reported by Check
		}
		queues = append(queues, q)
	}
	return queues, nil
}

func queueName(key []byte) storage.QueueName {
	account, name, _ := bytes.Cut(key, []byte{0})
	return storage.QueueName{Account: string(account), Name: string(name)}
}
