package pgstore

import (
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/pollackq/pollack/internal/record"
	"github.com/pollackq/pollack/storage"
)

// queueSame has what was guessed compared: the versions of queues, and the clock.
func (t *txn) queueSame(b *pgx.Batch) {
	if !t.guessedNow {
		return
	}
	var qids []int32
	var versions []int64
	for _, q := range t.queues {
		if q.guessed && !q.changed() {
			qids, versions = append(qids, q.qid), append(versions, q.version)
		}
	}
	if len(qids) == 0 {
		return // putQueues compares the rest
	}
	t.s.sql.queue(b, t.s.sql.same, len(qids), qids, versions, stamp(t.now), len(qids)+1).QueryRow(func(row pgx.Row) error {
		var now time.Time
		err := row.Scan(nil, &now)
		if err == nil {
			t.s.clock.read(now)
		}
		return err
	})
}

// expected returns the status that a remembered record is to have, as the database has it; nil for others.
func (r *rec) expected() []byte {
	if !r.guessed {
		return nil
	}
	return record.AppendStatus(nil, &r.was.job.Status)
}

func guessedAny(recs []*rec) bool {
	return slices.ContainsFunc(recs, func(r *rec) bool { return r.guessed })
}

func queueRemove(b *pgx.Batch, sql *statements, recs []*rec) {
	ids := make(pgtype.FlatArray[pgtype.UUID], len(recs))
	for i, r := range recs {
		ids[i] = uuid(r.id)
	}
	if !guessedAny(recs) {
		sql.queue(b, sql.remove, len(recs), ids)
		return
	}
	expected := make(pgtype.FlatArray[[]byte], len(recs))
	for i, r := range recs {
		expected[i] = r.expected()
	}
	sql.queue(b, sql.removeSame, len(recs), ids, expected, len(recs)).QueryRow(func(row pgx.Row) error { return row.Scan(nil) })
}

func queueUpdate(b *pgx.Batch, sql *statements, recs []*rec) {
	n := len(recs)
	ids, states, dues := make(pgtype.FlatArray[pgtype.UUID], n), make(pgtype.FlatArray[int16], n), make(pgtype.FlatArray[pgtype.Timestamptz], n)
	statuses, results, changed := make(pgtype.FlatArray[[]byte], n), make(pgtype.FlatArray[[]byte], n), make(pgtype.FlatArray[int16], n)
	var buf []byte
	for i, r := range recs {
		j := r.now.job
		ids[i], states[i], dues[i] = uuid(r.id), int16(j.State), stamp(j.Due)
		from := len(buf)
		buf = record.AppendStatus(buf, &j.Status)
		statuses[i] = buf[from:len(buf):len(buf)]
		if r.setResult() {
			changed[i] |= 1
			results[i] = r.now.result.bytes
		}
		if r.dropPayload() {
			changed[i] |= 2
		}
	}
	if !guessedAny(recs) {
		sql.queue(b, sql.update, n, ids, states, dues, statuses, results, changed)
		return
	}
	expected := make(pgtype.FlatArray[[]byte], n)
	for i, r := range recs {
		expected[i] = r.expected()
	}
	sql.queue(b, sql.updateSame, n, ids, states, dues, statuses, results, changed, expected, n).QueryRow(func(row pgx.Row) error { return row.Scan(nil) })
}

func queueInsert(b *pgx.Batch, sql *statements, recs []*rec) {
	n := len(recs)
	ids, qids, backs, positions := make(pgtype.FlatArray[pgtype.UUID], n), make(pgtype.FlatArray[int32], n), make(pgtype.FlatArray[int64], n), make(pgtype.FlatArray[int64], n)
	accounts, keys := make(pgtype.FlatArray[string], n), make(pgtype.FlatArray[*string], n)
	states, priorities, dues := make(pgtype.FlatArray[int16], n), make(pgtype.FlatArray[int16], n), make(pgtype.FlatArray[pgtype.Timestamptz], n)
	specs, statuses, payloads, results := make(pgtype.FlatArray[[]byte], n), make(pgtype.FlatArray[[]byte], n), make(pgtype.FlatArray[[]byte], n), make(pgtype.FlatArray[[]byte], n)
	var buf []byte
	for i, r := range recs {
		j := r.now.job
		ids[i], qids[i], positions[i] = uuid(r.id), r.queue.qid, int64(j.Position)
		if r.gets {
			backs[i] = int64(r.queue.adds - r.at)
		}
		accounts[i], states[i], priorities[i], dues[i] = j.Account, int16(j.State), j.Priority, stamp(j.Due)
		if j.Key != "" {
			keys[i] = &j.Key
		}
		from := len(buf)
		buf = record.AppendSpec(buf, j.Spec)
		specs[i] = buf[from:len(buf):len(buf)]
		from = len(buf)
		buf = record.AppendStatus(buf, &j.Status)
		statuses[i] = buf[from:len(buf):len(buf)]
		payloads[i], results[i] = r.now.payload.bytes, r.now.result.bytes
	}
	sql.queue(b, sql.insert, n, ids, qids, backs, positions, accounts, keys, states, priorities, dues, specs, statuses, payloads, results)
}

// queueKeys takes the keys of jobs until the user's transaction ends, so that whoever wants one of them waits for it in no transaction.
func queueKeys(b *pgx.Batch, sql *statements, recs []*rec) {
	var keys []storage.Key
	for _, r := range recs {
		if k := r.now.job.KeyOf(); k.Name != "" {
			keys = append(keys, k)
		}
	}
	if len(keys) > 0 {
		b.Queue(sql.takeKeys, keyColumns(keys)...)
	}
}
