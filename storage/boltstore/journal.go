package boltstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/pollackq/pollack/internal/record"
	"github.com/pollackq/pollack/storage"
)

// A record of the journal says what the calls of one batch did to the jobs in the overlay, as steps in their order. Each is an op and
// the id of a job, and what belongs to the op.
const (
	opAdd    byte = iota + 1 // a new job: queue, flags, payload, spec, status
	opChange                 // flags, and the parts they name
	opDelete                 // the job is gone
	opStored                 // the job was written to the trees, or deleted there, and left the overlay
	opGone                   // the job is gone but for the trees: queue
)

// Flags of opAdd and opChange.
const (
	flagValued    byte = 1 << iota // the trees may have records of its payload or result
	flagStatus                     // a status follows
	flagNoPayload                  // the overlay has no payload (any more)
	flagResult                     // a result follows
	flagNoResult                   // the overlay has no result (any more)
	flagDropped                    // the payload in the trees is deleted
)

// A change is what a call did to a job. A job that is not there is nil.
type change struct{ was, now *job }

func (c change) append(b []byte) []byte {
	was, now := c.was, c.now
	switch {
	case now == nil:
		return append(append(b, opDelete), was.ID[:]...)
	case now.gone:
		return binary.AppendUvarint(append(append(b, opGone), now.ID[:]...), now.queue)
	case was == nil || was.gone:
		b = append(append(b, opAdd), now.ID[:]...)
		b = binary.AppendUvarint(b, now.queue)
		if now.payload == nil {
			b = append(b, flagValued) // it is a large one
		} else {
			b = append(b, 0)
			b = append(binary.AppendUvarint(b, uint64(len(now.payload))), now.payload...)
		}
		from := len(b)
		b = record.AppendSpec(append(b, 0, 0, 0, 0), now.Spec)
		binary.BigEndian.PutUint32(b[from:], uint32(len(b)-from-4))
		return record.AppendStatus(b, &now.Status)
	}
	b = append(append(b, opChange), now.ID[:]...)
	flags := len(b)
	b = append(b, 0)
	if now.valued {
		b[flags] |= flagValued
	}
	if now.payload == nil {
		b[flags] |= flagNoPayload
	}
	if now.dropped {
		b[flags] |= flagDropped
	}
	if now.Job != was.Job {
		b[flags] |= flagStatus
		b = record.AppendStatus(b, &now.Status)
	}
	switch {
	case now.result == nil:
		b[flags] |= flagNoResult
	case was.result == nil || !bytes.Equal(was.result, now.result):
		b[flags] |= flagResult
		b = append(binary.AppendUvarint(b, uint64(len(now.result))), now.result...)
	}
	return b
}

// largeRecord is the key of a journal's record that has a bucket of its own.
var largeRecord = []byte{0}

// journalRecord returns the record that a cursor of the journal is at.
func (r *reader) journalRecord(key, value []byte) []byte {
	if value != nil {
		return value
	}
	return r.bucket(inJournal).Bucket(key).Get(largeRecord)
}

// replay makes the overlay of a commit out of its journal.
func (r *reader) replay() (*overlay, error) {
	r.overlay = new(overlay) // the jobs are read from the trees
	o := r.overlay.edit()
	if r.top.Bucket(bucketNames[inJournal]) == nil {
		return o, nil // format 1
	}
	lost := make(map[storage.ID]bool)
	c := r.bucket(inJournal).Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		rec := r.journalRecord(k, v)
		body, err := unseal(k, rec)
		if err == nil && len(k) != numberLen {
			err = record.ErrMalformed
		}
		if err == nil {
			d := record.NewLentDecoder(body)
			t := batchTrace{commit: binary.BigEndian.Uint64(k), bytes: len(rec)}
			for d.Len() > 0 && err == nil {
				err = r.replayOp(&d, o, &t, lost)
			}
			err = errors.Join(err, d.End())
			o.addTrace(t)
		}
		if err != nil {
			return nil, &storage.CorruptError{Record: "journal", Err: fmt.Errorf("record %x: %w", k, err)}
		}
	}
	for id := range lost {
		o.lost = append(o.lost, id)
	}
	return o, nil
}

// unended counts the jobs that have not ended, as far as the counters can be read: who needs more than an estimate finds the damage.
func (r *reader) unended() (n int64) {
	defer func() { _ = recover() }()
	c := r.bucket(inCounters).Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		if _, counts, err := decodeCounters(k, v); err == nil {
			n += counts.Unfinished()
		}
	}
	return n
}

// replayOp reads one op and does to the overlay what it says. An op on a job whose records in the trees are damaged is passed over, and
// the job noted as lost: it is not served, and Check reports it.
func (r *reader) replayOp(d *record.Decoder, o *overlay, t *batchTrace, lost map[storage.ID]bool) error {
	op, id := d.Byte(), d.ID()
	was := o.get(id)
	var now *job
	switch op {
	case opAdd:
		now = added(d, id)
	case opGone:
		now = goneJob(id, d.Uvarint())
	case opChange:
		from := was
		if from == nil {
			var err error
			if from, err = r.job(id); errors.Is(err, storage.ErrNotFound) || errors.Is(err, storage.ErrCorrupt) {
				changed(d, &job{Job: new(storage.Job)})
				lost[id] = true
				return nil
			} else if err != nil {
				return err
			}
		}
		now = changed(d, from)
	case opDelete, opStored:
	default:
		return fmt.Errorf("op %d is not known", op)
	}
	delete(lost, id)
	if err := d.Err(); err != nil {
		return err
	}
	switch {
	case now == nil:
	case was == nil:
		now.since = t.commit
		t.entered = append(t.entered, id)
	default:
		now.since = was.since
	}
	o.replace(was, now)
	return nil
}

// added reads what belongs to opAdd.
func added(d *record.Decoder, id storage.ID) *job {
	j := &job{queue: d.Uvarint(), valued: d.Byte()&flagValued != 0}
	if !j.valued {
		j.payload = []byte(d.Text())
	}
	var n int
	if size := d.Take(4); size != "" {
		n = int(binary.BigEndian.Uint32([]byte(size)))
	}
	spec := record.NewDecoder(strings.Clone(d.Take(n))) // all strings share this one
	j.Job = &storage.Job{Spec: spec.Spec(id)}
	d.Status(&j.Status)
	if spec.End() != nil {
		d.Fail()
	}
	return j
}

// changed reads what belongs to opChange, and returns the job that was made of another.
func changed(d *record.Decoder, from *job) *job {
	j := *from
	flags := d.Byte()
	j.valued = j.valued || flags&flagValued != 0
	j.dropped = flags&flagDropped != 0
	if flags&flagNoPayload != 0 {
		j.payload = nil
	}
	if flags&flagStatus != 0 {
		var s storage.Status
		d.Status(&s)
		j.Job = j.With(s)
	}
	if flags&flagNoResult != 0 {
		j.result = nil
	}
	if flags&flagResult != 0 {
		j.result = []byte(d.Text())
	}
	return &j
}

// addTrace notes a record that was appended to the journal.
func (o *overlay) addTrace(t batchTrace) {
	o.journal = append(o.journal, t)
	o.journaled += t.bytes
}

// appendJournal appends what the calls of this transaction did.
func (t *txn) appendJournal() error {
	if len(t.ops) == 1 {
		return nil // nothing but the version
	}
	key := appendNumber(nil, t.number)
	t.ops = seal(t.ops, 0, key)
	b, in := t.bucket(inJournal), key
	if len(t.ops) > inlineMax {
		// Alone in a bucket, or it would be rewritten with each of its neighbours.
		var err error
		if b, err = b.CreateBucket(key); err != nil {
			return err
		}
		in = largeRecord
	}
	t.overlay.addTrace(batchTrace{t.number, t.entered, len(t.ops)})
	return b.Put(in, t.ops)
}

// dropJournal deletes the oldest record.
func (t *txn) dropJournal() error {
	o := t.overlay
	b, key := t.bucket(inJournal), appendNumber(nil, o.journal[0].commit)
	o.journaled -= o.journal[0].bytes
	o.journal = o.journal[1:]
	if b.Bucket(key) != nil {
		return b.DeleteBucket(key)
	}
	return b.Delete(key)
}
