package pgstore

import (
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/pollackq/pollack/internal/record"
	"github.com/pollackq/pollack/storage"
)

// A request says what is to be fetched in one trip.
type request struct {
	ids      []storage.ID
	keys     []storage.Key
	queues   []storage.QueueName
	qids     []int32                   // of queues, too
	ready    map[storage.QueueName]int // so many of the first
	counts   []*queue                  // of queues that are known
	countsOf []storage.QueueName       // of queues that are being fetched
	payloads bool                      // also of ids and ready
	results  bool                      // also of ids
	ends     bool                      // the jobs of ids are about to end
	clock    bool
}

// fetch asks the database for what is wanted and keeps it. What is there already stays as it is.
func (t *txn) fetch(r request) error {
	b := &pgx.Batch{}
	sql := &t.s.sql
	var held []storage.ID
	if len(r.ids) > 0 {
		text := sql.jobs
		switch t.mode {
		case shared:
			text = sql.jobsSkip
		case alone, users:
			text = sql.jobsLock
		}
		ids := uuids(r.ids)
		b.Queue(text, r.payloads, r.results, ids).Query(func(rows pgx.Rows) error {
			_, err := t.keepJobs(rows, r.payloads, r.results)
			return err
		})
		if t.mode != viewing {
			b.Queue(sql.queuesOfJobs, ids).Query(func(rows pgx.Rows) error { return t.keepQueues(rows, nil, false) })
		}
	}
	type match struct {
		n  int
		id storage.ID
	}
	var matches []match
	if len(r.keys) > 0 {
		text := sql.keysFree
		if t.mode == viewing || t.mode == users {
			text = sql.keys
		}
		b.Queue(text, keyColumns(r.keys)...).Query(func(rows pgx.Rows) error {
			var n int
			var id pgtype.UUID
			_, err := pgx.ForEachRow(rows, []any{&n, &id}, func() error {
				if !id.Valid {
					t.taken[r.keys[n-1]] = true
					return nil
				}
				matches = append(matches, match{n - 1, id.Bytes})
				return nil
			})
			return err
		})
	}
	lists := make(map[storage.QueueName][]*rec, len(r.ready))
	for name, n := range r.ready {
		text := sql.readySkip
		if t.mode == viewing {
			text = sql.ready
		}
		b.Queue(text, r.payloads, false, name.Account, name.Name, n).Query(func(rows pgx.Rows) error {
			list, err := t.keepJobs(rows, r.payloads, false)
			if err != nil {
				return err
			}
			lists[name] = list
			return nil
		})
	}
	for _, q := range r.counts {
		b.Queue(sql.counts+"$1", q.qid).QueryRow(func(row pgx.Row) error { return keepCounts(row, q) })
	}
	// The clock is read last: what was read before was written before.
	switch {
	case len(r.queues)+len(r.qids) > 0:
		accounts, names := make([]string, len(r.queues)), make([]string, len(r.queues))
		for i, n := range r.queues {
			accounts[i], names[i] = n.Account, n.Name
		}
		b.Queue(sql.queues, accounts, names, r.qids).Query(func(rows pgx.Rows) error { return t.keepQueues(rows, r.queues, r.clock) })
	case r.clock:
		b.Queue(sql.clock).QueryRow(func(row pgx.Row) error {
			var now time.Time
			if err := row.Scan(&now); err != nil {
				return err
			}
			t.now = t.s.clock.read(now)
			return nil
		})
	}
	for _, name := range r.countsOf {
		b.Queue(sql.counts+"(SELECT qid FROM "+t.s.schema+".queue WHERE account = $1 AND name = $2)", name.Account, name.Name).
			QueryRow(func(row pgx.Row) error { return keepCounts(row, t.queues[name]) })
	}
	if err := t.send(b); err != nil {
		return err
	}
	for name, list := range lists {
		q := t.queues[name]
		q.ready.read, q.ready.whole, q.ready.list = true, len(list) < r.ready[name], list
		for _, r := range list {
			r.listed = q
			if r.queue == nil && r.bad == nil {
				r.queue = q
			}
		}
	}
	for _, id := range r.ids {
		if k := t.jobs[id]; k == nil || t.mode != viewing && !k.locked || k.assumed && k.now.job == nil {
			held = append(held, id)
		}
	}
	if err := t.missing(held); err != nil {
		return err
	}
	// The jobs of keys are read, and locked, by their ids. One may have made room for another meanwhile.
	for _, k := range r.keys {
		if _, known := t.keys[k]; !known {
			t.keys[k] = nil
		}
	}
	var ids []storage.ID
	for _, m := range matches {
		if k := t.jobs[m.id]; k == nil || t.mode != viewing && !k.locked {
			ids = append(ids, m.id)
		}
	}
	if len(ids) > 0 {
		if err := t.fetch(request{ids: ids, results: r.results, ends: true}); err != nil {
			return err
		}
	}
	for _, m := range matches {
		key := r.keys[m.n]
		if k := t.jobs[m.id]; t.held[m.id] || k != nil && k.bad != nil {
			if k == nil {
				k = &rec{id: m.id}
			}
			t.keys[key] = k
		} else if t.keys[key] == nil && k != nil && k.was.job != nil && k.was.job.KeyOf() == key && k.now.job != nil && k.now.job.Spec == k.was.job.Spec {
			t.keys[key] = k
		}
	}
	return nil
}

// keyColumns returns keys as columns: account and name of the queue, account and name.
func keyColumns(keys []storage.Key) []any {
	n := len(keys)
	cols := [4]pgtype.FlatArray[string]{make([]string, n), make([]string, n), make([]string, n), make([]string, n)}
	for i, k := range keys {
		cols[0][i], cols[1][i], cols[2][i], cols[3][i] = k.Queue.Account, k.Queue.Name, k.Account, k.Name
	}
	return []any{cols[0], cols[1], cols[2], cols[3]}
}

// missing looks into why jobs did not come: those that are not there are known to be missing from now on. Those that others have locked are so
// for the rest of a transaction that does not wait.
func (t *txn) missing(ids []storage.ID) error {
	if len(ids) == 0 {
		return nil
	}
	if t.mode == shared {
		b := &pgx.Batch{}
		b.Queue(t.s.sql.there, uuids(ids)).Query(func(rows pgx.Rows) error {
			var id pgtype.UUID
			_, err := pgx.ForEachRow(rows, []any{&id}, func() error {
				t.held[id.Bytes] = true
				return nil
			})
			return err
		})
		if err := t.send(b); err != nil {
			return err
		}
	} else if t.mode != viewing {
		again, err := t.replaced(ids)
		if err != nil {
			return err
		}
		if len(again) > 0 {
			return t.fetch(request{ids: ids})
		}
	}
	for _, id := range ids {
		if t.held[id] {
			continue
		}
		if k := t.jobs[id]; k == nil {
			t.jobs[id] = &rec{id: id, locked: true}
		} else {
			k.locked, k.assumed = true, false
		}
	}
	return nil
}

// replaced returns those of ids whose rows came while the old ones were waited for: a job that is deleted and added again, as a tombstone is, has a
// new row, which the statement that waited does not see.
func (t *txn) replaced(ids []storage.ID) (again []storage.ID, err error) {
	b := &pgx.Batch{}
	b.Queue(t.s.sql.there, uuids(ids)).Query(func(rows pgx.Rows) error {
		var id pgtype.UUID
		_, err := pgx.ForEachRow(rows, []any{&id}, func() error {
			again = append(again, id.Bytes)
			return nil
		})
		return err
	})
	return again, t.send(b)
}

// send sends statements and takes in what they answer. An error is noted: the database has given the transaction up.
func (t *txn) send(b *pgx.Batch) error {
	if t.err != nil {
		return t.err
	}
	if t.begin != "" {
		begin := []*pgx.QueuedQuery{{SQL: t.begin}}
		if t.s.opts.NoListen {
			begin = append(begin, &pgx.QueuedQuery{SQL: t.s.sql.settings})
		}
		b.QueuedQueries = append(begin, b.QueuedQueries...)
		t.begin = ""
	}
	t.s.trips.Add(1)
	if err := t.db.SendBatch(t.ctx, b).Close(); err != nil {
		return t.fail(err)
	}
	return nil
}

// one runs a statement that returns one row.
func (t *txn) one(dst []any, text string, args ...any) (found bool, err error) {
	b := &pgx.Batch{}
	b.Queue(text, args...).QueryRow(func(row pgx.Row) error {
		err := row.Scan(dst...)
		if found = err == nil; errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	})
	err = t.send(b)
	return found, err
}

// keepQueues keeps the queues of rows, and that those of names which are not among them are not there. Each row has the clock, too.
func (t *txn) keepQueues(rows pgx.Rows, names []storage.QueueName, clock bool) error {
	var now time.Time
	var qid pgtype.Int4
	var account, name pgtype.Text
	var version, next pgtype.Int8
	var settings []byte
	_, err := pgx.ForEachRow(rows, []any{&now, &qid, &account, &name, &version, &next, &settings}, func() error {
		n := storage.QueueName{Account: account.String, Name: name.String}
		if !qid.Valid || t.queues[n] != nil && !t.queues[n].guessed {
			return nil
		}
		rec, bad := decodeQueue(n, settings)
		t.keepQueue(&queue{name: n, qid: qid.Int32, was: rec, now: rec, bad: bad, version: version.Int64, next: uint64(next.Int64)})
		return nil
	})
	if clock && err == nil {
		t.now = t.s.clock.read(now)
	}
	for _, n := range names {
		if err == nil && t.queues[n] == nil {
			t.queues[n] = &queue{name: n}
		}
	}
	return err
}

func decodeQueue(name storage.QueueName, settings []byte) (*storage.Queue, error) {
	rec, err := record.Queue(settings, name)
	if err != nil {
		return nil, &storage.CorruptError{Queue: name, Record: "queue", Err: err}
	}
	return rec, nil
}

func keepCounts(row pgx.Row, q *queue) error {
	var c storage.Counts
	dst := make([]any, 0, len(c))
	for i := range c[1:] {
		dst = append(dst, &c[i+1])
	}
	if err := row.Scan(dst...); err != nil {
		return err
	}
	if q != nil && !q.counted {
		q.counted, q.base = true, c
	}
	return nil
}

// keepJobs keeps the jobs of rows and returns them in their order.
func (t *txn) keepJobs(rows pgx.Rows, payloads, results bool) ([]*rec, error) {
	var list []*rec
	var id pgtype.UUID
	var qid int32
	var position int64
	var spec, status, payload, result []byte
	var none bool
	_, err := pgx.ForEachRow(rows, []any{&id, &qid, &position, &spec, &status, &payload, &result, &none}, func() error {
		r := t.jobs[id.Bytes]
		switch {
		case r == nil:
			r = &rec{id: id.Bytes}
			t.jobs[id.Bytes] = r
		case t.mode == viewing, r.locked && !(r.guessed && !r.dirty) && !(r.assumed && r.now.job == nil):
			list = append(list, r)
			return nil
		}
		r.locked, r.assumed, r.guessed = true, false, false // what is remembered gives way to what is read
		r.was = contents{}
		j, err := decodeJob(id.Bytes, position, spec, status)
		if err != nil {
			r.bad = err
			list = append(list, r)
			return nil
		}
		r.was.job = j
		if payloads {
			r.was.payload = value{known: true, bytes: payload}
		}
		if results || result != nil || none {
			r.was.result = value{known: true, bytes: result}
		}
		r.now = r.was
		if j.Key != "" {
			t.keys[j.KeyOf()] = r
		}
		if q := t.qids[qid]; q != nil {
			r.queue = q
		}
		list = append(list, r)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

func decodeJob(id storage.ID, position int64, spec, status []byte) (*storage.Job, error) {
	sp, err := record.Spec(spec, id)
	if err != nil {
		return nil, &storage.CorruptError{Job: id, Record: "spec", Err: err}
	}
	sp.Position = uint64(position)
	j := &storage.Job{Spec: sp}
	if err := record.Status(status, &j.Status); err != nil {
		return nil, &storage.CorruptError{Job: id, Queue: sp.Queue, Record: "status", Err: err}
	}
	return j, nil
}

// fetchReady asks for the first of a queue's Ready order, so many that max are among them which this transaction has not taken.
func (t *txn) fetchReady(q *queue, max int) error {
	if t.mode == alone || t.mode == users {
		if err := t.rare(); err != nil {
			return err
		}
	}
	n := max
	for _, r := range q.ready.list {
		n++ // as the database has it they come first
		r.listed = nil
	}
	q.ready.list, q.ready.head = nil, 0
	return t.fetch(request{ready: map[storage.QueueName]int{q.name: n}})
}

// fetchValues asks for a record's payload and result.
func (t *txn) fetchValues(r *rec) error {
	var payload, result []byte
	found, err := t.one([]any{&payload, &result}, t.s.sql.values, pgtype.UUID{Bytes: r.id, Valid: true})
	if err != nil {
		return err
	}
	if !found && r.guessed {
		return t.fail(errStale)
	}
	if !found {
		return t.fail(fmt.Errorf("job %v: its row is gone, though it is locked", r.id))
	}
	for _, c := range []*contents{&r.was, &r.now} {
		if !c.payload.known {
			c.payload = value{known: true, bytes: payload}
		}
		if !c.result.known {
			c.result = value{known: true, bytes: result}
		}
	}
	return nil
}

func uuid(id storage.ID) pgtype.UUID { return pgtype.UUID{Bytes: id, Valid: true} }

func uuids(ids []storage.ID) pgtype.FlatArray[pgtype.UUID] {
	u := make(pgtype.FlatArray[pgtype.UUID], len(ids))
	for i, id := range ids {
		u[i] = uuid(id)
	}
	return u
}

// stamp returns a time as the database takes it; the zero time is null.
func stamp(t time.Time) pgtype.Timestamptz { return pgtype.Timestamptz{Time: t, Valid: !t.IsZero()} }
