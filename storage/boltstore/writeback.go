package boltstore

import (
	"bytes"

	"go.etcd.io/bbolt"

	"github.com/pollackq/pollack/internal/record"
	"github.com/pollackq/pollack/storage"
)

// limits bound an overlay and its journal: how long an open after a crash takes, and how much memory the store. The zero value is no bound.
type limits struct {
	jobs    int
	bytes   int
	records int
	journal int // bytes

	// quantum is how many jobs are written back at least once an overlay is over the others: for few callers it costs less to write many
	// jobs now and then than a few with each commit.
	quantum int
	// most, if it is not 0, is how many jobs are written back at most with one batch, beyond as many as that took into the overlay.
	most int
}

var defaultLimits = limits{jobs: 4096, bytes: 8 << 20, records: 256, journal: 8 << 20, quantum: 256}

// scarce are limits where room is scarce: as few pages as can be are written at a time.
func (l limits) scarce() limits {
	l.quantum, l.most = 1, 16
	return l
}

// within returns limits for a file of bounded size: what is in the journal stands in the file a second time once it is written back.
func (l limits) within(maxSize int) limits {
	if maxSize <= 0 {
		return l
	}
	return limits{
		jobs: min(l.jobs, maxSize>>12), bytes: min(l.bytes, maxSize>>3), records: l.records, journal: min(l.journal, maxSize>>4),
		quantum: min(l.quantum, max(1, maxSize>>16)),
	}
}

func (l limits) none() bool { return l == limits{} }

func (o *overlay) over(l limits) bool {
	return !l.none() && (o.ids.len > l.jobs || o.bytes > l.bytes || len(o.journal) > l.records || o.journaled > l.journal)
}

// writeBack keeps the overlay within its limits: it writes the jobs that entered it first to the trees, and deletes the oldest records of
// the journal, which nobody needs then. Most jobs are gone by that time and are never written. What is written back by a batch is
// about as much as it added.
func (t *txn) writeBack(l limits) error {
	o := t.overlay
	for n := 0; len(o.journal) > 0 && (o.over(l) || 0 < n && n < l.quantum); {
		if l.most > 0 && n >= l.most+len(t.entered) {
			return nil
		}
		oldest := o.journal[0]
		for _, id := range oldest.entered {
			// Whoever left the overlay and entered it again belongs to a later record.
			if j := o.get(id); j != nil && j.since == oldest.commit {
				if err := t.writeJob(j); err != nil {
					return err
				}
				t.ops = append(append(t.ops, opStored), id[:]...)
			}
			n++
		}
		if err := t.dropJournal(); err != nil {
			return err
		}
		n++
	}
	if o.over(l) {
		return t.writeAll() // this batch alone is too much
	}
	return nil
}

// writeAll empties the overlay and the journal.
func (t *txn) writeAll() error {
	o := t.overlay
	for o.ids.len > 0 {
		if err := t.writeJob(o.ids.chunks[0].items[0].job); err != nil {
			return err
		}
	}
	for len(o.journal) > 0 {
		if err := t.dropJournal(); err != nil {
			return err
		}
	}
	t.ops, t.entered = t.ops[:1], nil
	return nil
}

// writeJob moves a job from the overlay to the trees.
func (t *txn) writeJob(j *job) error {
	t.overlay.replace(j, nil)
	delete(t.trees, j.ID)
	if j.gone {
		return t.deleteJob(j)
	}
	id := t.keep(j.ID[:])
	if j.stored {
		t.grows(inStatus)
	}
	if err := t.bucket(inStatus).Put(id, t.arena.took(appendStatus(t.arena.next(record.StatusLen), id, j.queue, &j.Status))); err != nil {
		return err
	}
	data := t.bucket(inData)
	if !j.stored {
		key := t.dataKey(j, kindSpec)
		if err := data.Put(key, t.arena.took(appendSpec(t.arena.next(record.SpecLen(j.Spec)+len(j.payload)), key, j.Spec, j.payload))); err != nil {
			return err
		}
	}
	if j.dropped {
		if err := t.dropPayload(j); err != nil {
			return err
		}
	}
	if j.result != nil {
		if j.stored {
			t.grows(inData)
		}
		key := t.dataKey(j, kindResult)
		if err := data.Put(key, t.arena.took(appendInline(t.arena.next(len(j.result)+2+sumLen), key, j.result))); err != nil {
			return err
		}
	}
	return t.eachPlace(j, func(in int, key []byte) error {
		rec := t.arena.next(1 + idLen + sumLen)
		if in == inKeys {
			if next, _ := t.cursor(inKeys).Seek(key); bytes.HasPrefix(next, key[:numberLen]) {
				t.grows(inKeys)
			}
			rec = appendKeyTarget(rec, key, j.ID)
		} else {
			rec = appendPlace(rec, key)
		}
		return t.bucket(in).Put(key, t.arena.took(rec))
	})
}

// grows has the full pages of a bucket be split in halves by this transaction, which writes in the middle of them. Where little is left
// for the second half, as is right for what is only appended to, the first is soon full again, and small pages pile up.
func (t *txn) grows(in int) { t.bucket(in).FillPercent = bbolt.DefaultFillPercent }

// deleteJob deletes from the trees what they have of a job that is gone, whether or not it is still whole.
func (t *txn) deleteJob(gone *job) error {
	drops := len(t.drops)
	var keys [][]byte
	if err := each(t.bucket(inData), appendDataKey(t.key[:0], gone.queue, gone.ID, 0)[:dataLen-1], func(k, v []byte) error {
		keys = append(keys, t.keep(k))
		if k[dataLen-1] != kindSpec {
			_ = t.dropLarge(k, v) // of a record that is damaged nobody knows what it points to
		}
		return nil
	}); err != nil {
		return err
	}
	for _, key := range keys {
		if err := t.bucket(inData).Delete(key); err != nil {
			return err
		}
	}
	for _, number := range t.drops[drops:] {
		if err := t.dropValue(number); err != nil {
			return err
		}
	}
	t.drops = t.drops[:drops]
	return t.bucket(inStatus).Delete(gone.ID[:])
}

// dropPayload takes the payload out of the record in which it stands with a job's spec. A record that is damaged stays as it is.
func (t *txn) dropPayload(j *job) error {
	key := t.dataKey(j, kindSpec)
	payload, spec, err := splitSpec(key, t.get(inData, key))
	if payload == nil || err != nil {
		return nil
	}
	return t.bucket(inData).Put(key, t.arena.took(withoutPayload(t.arena.next(len(spec)+2+sumLen), key, spec)))
}

// eachPlace calls fn for the places that a job has in the orders of the trees unless it is in the overlay. The keys stay as they are until
// the commit.
func (t *txn) eachPlace(j *job, fn func(in int, key []byte) error) error {
	if j.isReady() {
		if err := fn(inReady, t.arena.took(appendReadyKey(t.arena.next(readyLen), j.queue, j.Spec))); err != nil {
			return err
		}
	}
	if j.isDue() {
		if err := fn(inDue, t.arena.took(appendDueKey(t.arena.next(dueLen), j.Due, j.ID))); err != nil {
			return err
		}
	}
	if j.hasKey() {
		return fn(inKeys, t.arena.took(appendKeyKey(t.arena.next(numberLen+1+len(j.Account)+len(j.Key)), j.queue, j.KeyOf())))
	}
	return nil
}

// dataKey returns the key of a record of a job, which stays as it is until the commit.
func (t *txn) dataKey(j *job, kind byte) []byte {
	return t.arena.took(appendDataKey(t.arena.next(dataLen), j.queue, j.ID, kind))
}

func appendKeyTarget(b, key []byte, id storage.ID) []byte {
	from := len(b)
	return seal(append(append(b, version), id[:]...), from, key)
}
