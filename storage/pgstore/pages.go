package pgstore

import (
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/pollackq/pollack/storage"
)

// scan is how many jobs one call of Jobs looks at, unless more are wanted.
const scan = 1000

func (t *txn) Jobs(name storage.QueueName, state storage.State, after storage.ID, max int) (jobs []*storage.Job, next storage.ID, err error) {
	if err := t.rare(); err != nil {
		return nil, storage.ID{}, err
	}
	q, err := t.queue(name)
	if err != nil || q.now == nil || max < 1 {
		return nil, storage.ID{}, err
	}
	look := scan
	if max > look || state == 0 {
		look = max
	}
	var ids []storage.ID
	seen, last, full := 0, after, false
	b := &pgx.Batch{}
	b.Queue(t.s.sql.page, q.qid, uuid(after), look+1).Query(func(rows pgx.Rows) error {
		var id pgtype.UUID
		var s int16
		_, err := pgx.ForEachRow(rows, []any{&id, &s}, func() error {
			if full || seen == look || len(ids) == max {
				full = true
				return nil
			}
			if state == 0 || storage.State(s) == state {
				ids = append(ids, id.Bytes)
			}
			seen++
			last = id.Bytes
			return nil
		})
		return err
	})
	if err := t.send(b); err != nil {
		return nil, storage.ID{}, err
	}
	recs, err := t.list(ids)
	if err != nil {
		return nil, storage.ID{}, err
	}
	for _, r := range recs {
		jobs = append(jobs, r.now.job)
	}
	if full {
		next = last
	}
	return jobs, next, nil
}

// list returns the records of ids that are there and sound, without locks: for those who only look.
func (t *txn) list(ids []storage.ID) ([]*rec, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	byID := make(map[storage.ID]*rec, len(ids))
	var unknown []storage.ID
	for _, id := range ids {
		if r := t.jobs[id]; r != nil {
			byID[id] = r
		} else {
			unknown = append(unknown, id)
		}
	}
	if len(unknown) > 0 {
		view := &txn{s: t.s, ctx: t.ctx, db: t.db, mode: viewing, jobs: byID, keys: map[storage.Key]*rec{}, qids: t.qids}
		b := &pgx.Batch{}
		b.Queue(t.s.sql.jobs, false, false, uuids(unknown)).Query(func(rows pgx.Rows) error {
			_, err := view.keepJobs(rows, false, false)
			return err
		})
		if err := t.send(b); err != nil {
			return nil, err
		}
	}
	var recs []*rec
	for _, id := range ids {
		if r := byID[id]; r != nil && r.bad == nil && r.now.job != nil {
			recs = append(recs, r)
		}
	}
	return recs, nil
}

// Due takes what is due, and locks it. Where damaged records fill the page it asks for a longer one.
func (t *txn) Due(until time.Time, max int) ([]*storage.Job, error) {
	if err := t.rare(); err != nil || max < 1 {
		return nil, err
	}
	for n := max; ; n *= 2 {
		var list []*rec
		text := t.s.sql.due
		if t.mode != viewing {
			text += " FOR UPDATE SKIP LOCKED"
		}
		b := &pgx.Batch{}
		b.Queue(text, false, false, stamp(until), n).Query(func(rows pgx.Rows) (err error) {
			list, err = t.keepJobs(rows, false, false)
			return err
		})
		if err := t.send(b); err != nil {
			return nil, err
		}
		var jobs []*storage.Job
		var names []storage.QueueName
		for _, r := range list {
			if r.bad == nil && len(jobs) < max {
				jobs = append(jobs, r.now.job)
				if q := r.now.job.Queue; t.queues[q] == nil && !slices.Contains(names, q) {
					names = append(names, q)
				}
			}
		}
		if len(jobs) < max && len(list) == n {
			continue
		}
		if len(names) > 0 && t.mode != viewing {
			return jobs, t.fetch(request{queues: names})
		}
		return jobs, nil
	}
}

func (t *txn) NextDue() (time.Time, error) {
	if err := t.rare(); err != nil {
		return time.Time{}, err
	}
	for n := 1; ; n *= 4 {
		seen := 0
		var next time.Time
		b := &pgx.Batch{}
		b.Queue(t.s.sql.nextDue, n).Query(func(rows pgx.Rows) error {
			var id pgtype.UUID
			var spec, status []byte
			_, err := pgx.ForEachRow(rows, []any{&id, &spec, &status}, func() error {
				seen++
				if j, err := decodeJob(id.Bytes, 0, spec, status); err == nil && next.IsZero() {
					next = j.Due
				}
				return nil
			})
			return err
		})
		if err := t.send(b); err != nil || !next.IsZero() || seen < n {
			return next, err
		}
	}
}

func (t *txn) OldestPending(name storage.QueueName) (time.Time, error) {
	if err := t.rare(); err != nil {
		return time.Time{}, err
	}
	q, err := t.queue(name)
	if err != nil || q.now == nil {
		return time.Time{}, err
	}
	damaged := []pgtype.UUID{}
	for {
		var oldest time.Time
		found := len(damaged)
		b := &pgx.Batch{}
		b.Queue(t.s.sql.oldest, q.qid, damaged).Query(func(rows pgx.Rows) error {
			var id pgtype.UUID
			var spec, status []byte
			_, err := pgx.ForEachRow(rows, []any{&id, &spec, &status}, func() error {
				j, bad := decodeJob(id.Bytes, 0, spec, status)
				if bad != nil {
					damaged = append(damaged, id)
				} else if oldest.IsZero() || j.Created.Before(oldest) {
					oldest = j.Created
				}
				return nil
			})
			return err
		})
		if err := t.send(b); err != nil || len(damaged) == found {
			return oldest, err
		}
	}
}

func (t *txn) Queues(after storage.QueueName, max int) ([]*storage.Queue, error) {
	if err := t.rare(); err != nil || max < 1 {
		return nil, err
	}
	var names []storage.QueueName
	b := &pgx.Batch{}
	b.Queue(t.s.sql.queuePage, after.Account, after.Name, max).Query(func(rows pgx.Rows) error {
		var qid int32
		var n storage.QueueName
		var version int64
		var next uint64
		var settings []byte
		_, err := pgx.ForEachRow(rows, []any{&qid, &n.Account, &n.Name, &version, &next, &settings}, func() error {
			names = append(names, n)
			if t.queues[n] != nil {
				return nil
			}
			rec, bad := decodeQueue(n, settings)
			t.keepQueue(&queue{name: n, qid: qid, was: rec, now: rec, bad: bad, version: version, next: next})
			return nil
		})
		return err
	})
	if err := t.send(b); err != nil {
		return nil, err
	}
	var queues []*storage.Queue
	for _, n := range names {
		if q := t.queues[n]; q != nil && q.now != nil {
			queues = append(queues, q.now)
		}
	}
	return queues, nil
}

func (t *txn) Chunk(blob storage.ID, n uint32) ([]byte, error) {
	if err := t.rare(); err != nil {
		return nil, err
	}
	var p []byte
	found, err := t.one([]any{&p}, t.s.sql.chunk, uuid(blob), int64(n))
	if err == nil && !found {
		err = storage.ErrNotFound
	}
	return p, err
}
