package pgstore

import (
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/pollackq/pollack/internal/record"
	"github.com/pollackq/pollack/storage"
)

// unflushed reports whether the database does not know all that was written.
func (t *txn) unflushed() bool {
	if len(t.dirty) > 0 {
		return true
	}
	for _, q := range t.queues {
		if q.changed() {
			return true
		}
	}
	return false
}

// changed reports whether the queue's row is to be written.
func (q *queue) changed() bool { return q.now != q.was || q.adds > 0 || q.entered }

// flush writes what was changed, in one trip. Jobs that were read are locked, so their rows are there; queues are not, and have their
// versions compared. They come late, in the order of their numbers, since who adds to the same queue waits for them. If last is not nil it
// is asked to add what ends the transaction.
func (t *txn) flush(last func(*pgx.Batch)) error {
	if t.err != nil {
		return t.err
	}
	b := &pgx.Batch{}
	t.note()
	gone, set, add := t.sorted()
	sql := &t.s.sql
	t.queueSame(b)
	if len(gone) > 0 {
		queueRemove(b, sql, gone)
	}
	if len(set) > 0 {
		queueUpdate(b, sql, set)
	}
	if t.mode == users {
		queueKeys(b, sql, add)
	}
	queues := t.changedQueues()
	made, err := t.queueQueues(b, queues)
	if err != nil {
		return t.fail(err)
	}
	if len(add) > 0 {
		queueInsert(b, sql, add)
	}
	t.queueCounts(b)
	if last != nil {
		last(b)
	}
	if b.Len() == 0 {
		return nil
	}
	if err := t.send(b); err != nil {
		return err
	}
	t.flushd = true
	t.settle(made)
	return nil
}

// sorted returns the ids of jobs to be deleted, the records of those to be changed and of those to be added.
func (t *txn) sorted() (gone, set, add []*rec) {
	for _, r := range t.dirty {
		was, now := r.was.job, r.now.job
		switch same := was != nil && now != nil && was.Spec == now.Spec; {
		case same && (was != now || r.setResult() || r.dropPayload()):
			set = append(set, r)
		case same:
		default:
			if was != nil {
				gone = append(gone, r)
			}
			if now != nil {
				add = append(add, r)
			}
		}
	}
	// Everybody takes the locks on jobs in the same order. Those of new jobs' keys are locks, too.
	byID := func(a, b *rec) int { return a.id.Compare(b.id) }
	slices.SortFunc(gone, byID)
	slices.SortFunc(set, byID)
	slices.SortFunc(add, byID)
	return gone, set, add
}

func (r *rec) setResult() bool {
	was, now := r.was.result, r.now.result
	return now.known && !(was.known && (was.bytes == nil) == (now.bytes == nil) && sameBytes(was.bytes, now.bytes))
}

func (r *rec) dropPayload() bool {
	return r.now.payload.known && r.now.payload.bytes == nil && !(r.was.payload.known && r.was.payload.bytes == nil)
}

// sameBytes reports whether both are the same memory.
func sameBytes(a, b []byte) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// changedQueues returns the queues to be written, in the order in which everybody locks them.
func (t *txn) changedQueues() []*queue {
	var queues []*queue
	for _, q := range t.queues {
		if q.changed() {
			queues = append(queues, q)
		}
	}
	slices.SortFunc(queues, func(a, b *queue) int { return int(a.qid) - int(b.qid) })
	return queues
}

// queueQueues writes the queues: new ones, settings, position counters. It returns where the position counters will stand afterwards, once
// the batch has been answered.
func (t *txn) queueQueues(b *pgx.Batch, queues []*queue) (map[int32]int64, error) {
	sql := &t.s.sql
	var qids, newQids []int32
	var versions, adds, nexts []int64
	var newer []int16
	var settings, newSettings [][]byte
	var accounts, names []string
	for _, q := range queues {
		if q.was == nil && q.now != nil {
			newQids, accounts, names = append(newQids, q.qid), append(accounts, q.name.Account), append(names, q.name.Name)
			nexts, newSettings = append(nexts, int64(q.adds)), append(newSettings, record.AppendQueue(nil, q.now))
			continue
		}
		if t.mode == users && q.now == q.was && q.adds == 0 {
			b.Queue(sql.shareAdvisory, q.qid) // its row would stay locked for as long as the user likes
			if !q.made {
				b.Queue(sql.hasQueue, q.qid)
			}
			continue
		}
		qids, versions, adds = append(qids, q.qid), append(versions, q.version), append(adds, int64(q.adds))
		var n int16
		var p []byte
		if q.now != q.was {
			n, p = 1, record.AppendQueue(nil, q.now)
		}
		newer, settings = append(newer, n), append(settings, p)
	}
	if len(newQids) > 0 {
		b.Queue(sql.insertQueues, newQids, accounts, names, nexts, newSettings)
	}
	if len(qids) == 0 {
		return nil, nil
	}
	if len(qids) > 1 {
		b.Queue(sql.lockQueues, qids)
	}
	after := make(map[int32]int64, len(qids))
	guess := pgtype.Timestamptz{}
	if t.guessedNow {
		guess = stamp(t.now)
	}
	sql.queue(b, sql.putQueues, len(qids), qids, versions, adds, newer, settings, len(qids)+1, guess).QueryRow(func(row pgx.Row) error {
		var ids []int32
		var nexts []int64
		var now time.Time
		if err := row.Scan(nil, &ids, &nexts, &now); err != nil {
			return err
		}
		t.s.clock.read(now)
		for i, id := range ids {
			after[id] = nexts[i]
		}
		return nil
	})
	return after, nil
}

// queueCounts adds what has changed of the counts, and now and then makes one row of a queue's many.
func (t *txn) queueCounts(b *pgx.Batch) {
	var qids []int32
	cols := make([][]int64, storage.States-1)
	var fold []int32
	for _, q := range t.queues {
		if q.diff == (storage.Counts{}) || q.qid == 0 {
			continue
		}
		qids = append(qids, q.qid)
		for i := range cols {
			cols[i] = append(cols[i], q.diff[i+1])
		}
		if t.mode != users && t.s.counts.wrote(q.qid) {
			fold = append(fold, q.qid)
		}
	}
	if len(qids) == 0 {
		return
	}
	args := make([]any, 0, len(cols)+1)
	args = append(args, qids)
	for _, c := range cols {
		args = append(args, c)
	}
	own := &pgx.Batch{}
	counts := t.s.sql.queue(own, t.s.sql.addCounts, len(qids), args...)
	if n := slices.IndexFunc(b.QueuedQueries, func(q *pgx.QueuedQuery) bool { return t.s.sql.counted[q.SQL][0] != "" }); n >= 0 {
		q := b.QueuedQueries[n] // one statement less
		q.SQL, q.Arguments = t.s.sql.counted[q.SQL][min(len(qids), 2)-1], append(q.Arguments, counts.Arguments...)
	} else {
		b.QueuedQueries = append(b.QueuedQueries, counts)
	}
	for _, qid := range fold {
		b.Queue(t.s.sql.foldCounts, qid)
	}
}

// settle takes what was flushed for what the database has.
func (t *txn) settle(after map[int32]int64) {
	for _, a := range t.added {
		if next, ok := after[a.queue.qid]; ok {
			if p := uint64(next) - a.queue.adds + a.at; a.spec.Position != p {
				a.spec.Position = p // others were quicker
			}
		}
	}
	t.s.memory.note(t)
	for _, r := range t.dirty {
		r.guessed = false
		r.was, r.dirty, r.assumed, r.keyAssumed, r.gets = r.now, false, false, false, false
		r.listed, r.fresh = nil, nil
	}
	for _, q := range t.queues {
		if q.now != q.was {
			if q.was != nil {
				q.version++
			} else {
				q.version = 1
			}
			q.was = q.now
		}
		if next, ok := after[q.qid]; ok {
			q.next = uint64(next)
		} else {
			q.next += q.adds
		}
		q.adds, q.entered = 0, false
		if q.counted {
			for i, n := range q.diff {
				q.base[i] += n
			}
		}
		q.diff = storage.Counts{}
		for _, r := range q.ready.list {
			r.listed = nil
		}
		q.ready = ready{}
	}
	t.dirty, t.added, t.size = nil, nil, 0
}

// note adds what is about to be flushed to what other nodes are told.
func (t *txn) note() {
	c := &t.told
	for _, r := range t.dirty {
		was, now := r.was.job, r.now.job
		if was == now {
			continue
		}
		c.job(r.id)
		if now == nil {
			if was.State != storage.Gone {
				t.noteEnd(r)
			}
			continue
		}
		if now.State == storage.Pending && (was == nil || was.State != storage.Pending) {
			c.readied(now.Queue)
		}
		if now.State.Ended() && (was == nil || !was.State.Ended()) {
			t.noteEnd(r)
		}
		if !now.Due.IsZero() && (was == nil || !was.Due.Equal(now.Due)) {
			c.dueAt(now.Due)
		}
	}
	for _, q := range t.queues {
		if q.now != q.was && q.was != nil && (q.now == nil || !q.now.Closed.IsZero()) {
			c.queue(q.name)
		}
	}
}

// noteEnd notes that a job has come to its end, which those want to know who wait for a closed queue to be done.
func (t *txn) noteEnd(r *rec) {
	if q := r.queue; q != nil && q.now != nil && !q.now.Closed.IsZero() {
		t.told.endedIn(q.name)
	}
}

// newQid takes a number for a queue.
func (t *txn) newQid() (qid int32, err error) {
	_, err = t.one([]any{&qid}, t.s.sql.newQid)
	return qid, err
}

// dropQueue deletes a queue, whose row it locks first against all who would add a job. Transactions of users hold another lock.
func (t *txn) dropQueue(q *queue) error {
	var free, used bool
	if _, err := t.one([]any{&free}, t.s.sql.tryAdvisory, q.qid); err != nil {
		return err
	}
	if !free {
		return storage.ErrInUse
	}
	var version int64
	found, err := t.one([]any{&version}, t.s.sql.lockQueue, q.qid)
	if err != nil {
		return err
	}
	if !found || version != q.version {
		return t.fail(errStale)
	}
	if found, err = t.one([]any{&used}, t.s.sql.anyJob, q.qid); err != nil {
		return err
	}
	if found {
		return storage.ErrInUse
	}
	b := &pgx.Batch{}
	b.Queue(t.s.sql.dropCounts, q.qid)
	b.Queue(t.s.sql.dropQueue, q.qid)
	if err := t.send(b); err != nil {
		return err
	}
	t.flushd = true
	t.told.queue(q.name)
	return nil
}

func (t *txn) writeChunk(blob storage.ID, n uint32, p []byte) error {
	var there bool
	if n > 0 {
		found, err := t.one([]any{&there}, t.s.sql.chunkAt, uuid(blob), int64(n)-1)
		if err != nil {
			return err
		}
		if !found {
			return storage.ErrNotFound
		}
	}
	b := &pgx.Batch{}
	b.Queue(t.s.sql.putChunk, uuid(blob), int64(n), append([]byte{}, p...))
	t.flushd = true
	return t.send(b)
}

func (t *txn) deleteBlob(blob storage.ID) error {
	b := &pgx.Batch{}
	b.Queue(t.s.sql.deleteBlob, uuid(blob))
	t.flushd = true
	return t.send(b)
}
