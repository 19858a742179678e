package boltstore

import (
	"encoding/binary"
	"hash/maphash"
	"sync"

	"github.com/pollackq/pollack/internal/record"
	"github.com/pollackq/pollack/storage"
)

// A job is what is known of a job at one moment. It does not change: a job that changes gets a new one.
type job struct {
	*storage.Job
	queue   uint64 // its number
	since   uint64 // the commit that took it into the overlay; 0 if it is only in the trees
	stored  bool   // its status and spec are in the trees; the status there is an old one if the job is in the overlay
	valued  bool   // records of its payload or result may be in the trees
	dropped bool   // the payload that stands with its spec in the trees has been deleted; it goes when the job is written back
	gone    bool   // it has been deleted, but is in the trees until that is written back; in the overlay it stands by its id alone
	payload []byte // nil if it is in the trees, or deleted
	result  []byte // the same
}

// size is roughly what a job takes in memory.
func (j *job) size() int {
	const structs = 512
	return structs + record.SpecLen(j.Spec) + len(j.payload) + len(j.result)
}

// treeRoom is roughly what it is still going to take in the trees. What its end takes is in there once it has ended; before that the room
// counts it with all jobs that have not ended.
func (j *job) treeRoom() int {
	n := len(j.result)
	if !j.stored {
		n += record.SpecLen(j.Spec) + len(j.payload)
	}
	if j.State.Ended() {
		n += endRoom
	}
	return n
}

func (j *job) inOverlay() bool { return j != nil && j.since != 0 }

// An overlay holds the jobs whose latest state is in the journal, and not in the trees. It stands for one commit; the transaction
// that follows works on a copy, which shares with it what it does not change.
//
// A job in the overlay has its places in the orders here, and none in those of the trees.
type overlay struct {
	ids   index // id
	ready index // queue, priority, position
	due   index // time, id
	keys  index // hash of the key, id

	bytes     int          // the size of its jobs
	room      int          // what they are going to take in the trees
	unended   int64        // jobs of the whole store that have not ended
	journal   []batchTrace // the records of the journal, the oldest first
	journaled int          // their bytes
	lost      []storage.ID // jobs whose latest change could not be replayed, since their records in the trees are damaged
}

// A batchTrace is what the overlay remembers of a record of the journal.
type batchTrace struct {
	commit  uint64
	entered []storage.ID // the jobs that it took into the overlay
	bytes   int
}

// edit returns a copy that may be changed.
func (o *overlay) edit() *overlay {
	c := *o
	c.ids.edit()
	c.ready.edit()
	c.due.edit()
	c.keys.edit()
	return &c
}

func idSpot(id *storage.ID) spot {
	return spot{binary.BigEndian.Uint64(id[:8]), binary.BigEndian.Uint64(id[8:])}
}

func readySpot(j *job) spot { return spot{j.queue, priorityNumber(j.Priority), j.Position} }

func dueSpot(j *job) spot {
	id := idSpot(&j.ID)
	return spot{timeNumber(j.Due), id[0], id[1]}
}

var keySeed = maphash.MakeSeed()

func keySpot(j *job) spot {
	id := idSpot(&j.ID)
	return spot{maphash.Comparable(keySeed, j.KeyOf()), id[0], id[1]}
}

// What is gone has no state, due time or key.
func (j *job) isReady() bool { return j != nil && j.State == storage.Pending }
func (j *job) isDue() bool   { return j != nil && !j.Due.IsZero() }
func (j *job) hasKey() bool  { return j != nil && j.Key != "" }

// goneJob stands for a job that has been deleted and is in the trees still.
func goneJob(id storage.ID, queue uint64) *job {
	return &job{Job: &storage.Job{Spec: &storage.Spec{ID: id}}, queue: queue, stored: true, valued: true, gone: true}
}

func (o *overlay) get(id storage.ID) *job { return o.ids.get(idSpot(&id)) }

func (o *overlay) byKey(k storage.Key) *job {
	hash := maphash.Comparable(keySeed, k)
	for w := o.keys.from(spot{hash}); w.item() != nil && w.item().at[0] == hash; w.step() {
		if j := w.item().job; j.KeyOf() == k {
			return j
		}
	}
	return nil
}

// replace has now take the place of was, a job of the same id; either may be nil, for none.
func (o *overlay) replace(was, now *job) {
	if was == nil && now == nil {
		return
	}
	if was != nil {
		o.bytes -= was.size()
		o.room -= was.treeRoom()
	}
	if now != nil {
		o.bytes += now.size()
		o.room += now.treeRoom()
		o.ids.set(idSpot(&now.ID), now)
	} else {
		o.ids.remove(idSpot(&was.ID))
	}
	move(&o.ready, was, now, (*job).isReady, readySpot)
	move(&o.due, was, now, (*job).isDue, dueSpot)
	move(&o.keys, was, now, (*job).hasKey, keySpot)
}

func move(x *index, was, now *job, has func(*job) bool, at func(*job) spot) {
	switch hadPlace, hasPlace := has(was), has(now); {
	case hadPlace && hasPlace:
		from, to := at(was), at(now)
		if from != to {
			x.remove(from)
		}
		x.set(to, now)
	case hadPlace:
		x.remove(at(was))
	case hasPlace:
		x.set(at(now), now)
	}
}

// overlays are those of the last commits, by number. A reader takes the one that belongs to the trees it sees, so that both are of one
// commit. No two transactions have one number, so that of one that did not happen is never taken.
type overlays struct {
	bounded bool // the file may get full: what has not ended is counted

	mu   sync.Mutex // guards the rest
	last [4]struct {
		commit uint64
		*overlay
	}
	next   int
	number uint64 // the last given
}

// of returns the overlay of a commit, nil if it is not known (any more).
func (o *overlays) of(commit uint64) *overlay {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, l := range o.last {
		if l.commit == commit {
			return l.overlay
		}
	}
	return nil
}

func (o *overlays) put(commit uint64, l *overlay) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.last[o.next].commit, o.last[o.next].overlay = commit, l
	o.next = (o.next + 1) % len(o.last)
}

// numberAfter returns the number for a transaction that follows on a commit.
func (o *overlays) numberAfter(commit uint64) uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.number = max(o.number, commit) + 1
	return o.number
}
