package pgstore

import (
	"bytes"

	"github.com/pollackq/pollack/storage"
)

// A rec is what the transaction knows of one id.
type rec struct {
	id  storage.ID
	was contents // as the database has it
	now contents
	bad error // the record is damaged

	queue  *queue // of the job, if there is or was one
	gets   bool   // a position, in the next flush:
	at     uint64 // which of those that its queue gives
	locked bool
	// guessed says that was is remembered, and not locked: its status is compared when it is written.
	guessed bool
	// assumed and keyAssumed say that id and key were taken to be free without asking the database, which will say so if they are not.
	assumed    bool
	keyAssumed bool

	dirty  bool   // stands in txn.dirty
	listed *queue // in whose ready.list it stands
	fresh  *queue // in whose ready.fresh it stands
}

// An added job gets the at-th of the positions that its queue gives in the next flush, even if it is deleted again.
type added struct {
	spec  *storage.Spec
	queue *queue
	at    uint64
}

// contents is what transactions change of a record.
type contents struct {
	job     *storage.Job // nil: there is none
	payload value
	result  value
}

// A value is a payload or result.
type value struct {
	known bool   // otherwise it is as the database has it
	bytes []byte // nil: none
}

// A queue is what the transaction knows of one queue.
type queue struct {
	name    storage.QueueName
	qid     int32
	was     *storage.Queue // as the database has it; nil: there is none
	now     *storage.Queue
	bad     error  // the record is damaged, and neither was nor now
	version int64  // of the record was
	next    uint64 // as the database has it
	adds    uint64 // positions given in this transaction since
	entered bool   // jobs without a position were added
	made    bool   // just now, where the snapshot of the user's transaction may not show it
	guessed bool   // was, version and next are remembered: the version is compared in the end

	counted bool           // base is known
	base    storage.Counts // as the database has it
	diff    storage.Counts // what this transaction changed of it
	ready   ready
}

// ready is what the transaction knows of a queue's Ready order.
type ready struct {
	read  bool   // list is there
	whole bool   // nothing that is not locked by others comes after list
	list  []*rec // as the database has it, from the first on
	head  int    // those of list before it are no longer pending

	fresh     []*rec // became pending in this transaction
	freshHead int    // those of fresh before it are no longer pending
	unsorted  bool   // fresh is
}

// An undo is one entry of a call's log: what becomes of a record, or something rare.
type undo struct {
	rec  *rec
	was  contents
	rare func()
}

// clone returns a copy for the caller to keep.
func (v value) clone() ([]byte, error) {
	if v.bytes == nil {
		return nil, storage.ErrNotFound
	}
	return append([]byte{}, v.bytes...), nil
}

// keep returns a value of given bytes, of which none are a value, too.
func keep(p []byte) value {
	v := bytes.Clone(p)
	if v == nil {
		v = []byte{}
	}
	return value{known: true, bytes: v}
}
