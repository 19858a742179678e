package pgstore

import (
	"context"
	"maps"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pollackq/pollack/storage"
)

// maxLook bounds how many queues, and jobs, a look asks for. What is more takes its turn.
const maxLook = 1000

// maxWake bounds how many jobs of a queue a look counts, and so how many receivers it wakes.
const maxWake = 256

// forgetQueues is after how many rounds in which nobody waited for it a queue's state is forgotten.
const forgetQueues = 100

// looks are what a node has to look for yet, and what it found when it last looked. They belong to the goroutine that works.
type looks struct {
	receivers []receivers // the rest of this round
	jobs      []storage.ID
	ends      []storage.QueueName
	round     int
	queues    map[storage.QueueName]queueState
	seen      map[storage.ID][32]byte // digests of this round and the last
	seenNow   map[storage.ID][32]byte // of this round
	due       time.Time               // the earliest
}

type receivers struct {
	queue storage.QueueName
	n     int
}

// A queueState tells one record of a queue from another.
type queueState struct {
	qid     int32
	version int64
	round   int // in which somebody last waited for it
}

// begin makes a round of what is awaited, once the last one is over.
func (k *looks) begin(l storage.Listener) {
	if len(k.receivers)+len(k.jobs) > 0 {
		return
	}
	a := l.Awaits()
	for q, n := range a.Receivers {
		k.receivers = append(k.receivers, receivers{q, n})
	}
	k.jobs, k.ends = a.Jobs, a.Ends
	k.round++
	if k.queues == nil {
		k.queues = make(map[storage.QueueName]queueState)
	}
	maps.DeleteFunc(k.queues, func(_ storage.QueueName, q queueState) bool { return k.round-q.round > forgetQueues })
	k.seen, k.seenNow = k.seenNow, make(map[storage.ID][32]byte, len(k.jobs))
}

// page takes what the next look asks for.
func (k *looks) page() (queues []receivers, jobs []storage.ID) {
	queues, k.receivers = cut(k.receivers)
	jobs, k.jobs = cut(k.jobs)
	return queues, jobs
}

func cut[T any](list []T) (page, rest []T) {
	n := min(len(list), maxLook)
	return list[:n], list[n:]
}

// lookSQL is a look: for each queue its record and how many jobs wait, for each job a digest of its status, the earliest time at which there is
// something to do, and, for those who cannot hear, whether somebody listens. It also sends what there is to say, so that an idle node needs no
// other statement.
const lookSQL = `SELECT 1, a.i, q.qid, q.version,
	(SELECT count(*) FROM (SELECT FROM {s}.job j WHERE j.qid = q.qid AND j.state = 4 ORDER BY j.priority DESC, j.position LIMIT a.n) p),
	NULL::uuid, NULL::bytea, NULL::timestamptz, NULL::timestamptz, NULL::bool
FROM unnest($1::text[], $2::text[], $3::bigint[]) WITH ORDINALITY AS a(account, name, n, i)
	JOIN {s}.queue q ON q.account = a.account AND q.name = a.name
UNION ALL SELECT 2, 0, 0, 0, 0, j.id, sha256(j.status), NULL, NULL, NULL FROM {s}.job j WHERE j.id = ANY($4::uuid[])
UNION ALL SELECT 3, 0, 0, 0, 0, NULL, NULL, (SELECT due FROM {s}.job WHERE due IS NOT NULL ORDER BY due, id LIMIT 1), {s}.clock(),
	CASE WHEN $7::bool THEN EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 AND objid = 0
		AND classid = (hashtext($5::text)::bigint & 4294967295)::oid
		AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) END
UNION ALL SELECT 4, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL FROM unnest($6::text[]) AS m(t), pg_notify($5::text, m.t)`

// A found is a row of a look.
type found struct {
	kind       int
	i, version int64
	qid        int32
	ready      int64
	id         *[16]byte
	digest     []byte
	due, now   *time.Time
	crowd      *bool
}

// look looks for what this process awaits, and tells it what it finds.
func (h *hub) look(ctx context.Context) {
	h.mu.Lock()
	l, deaf := h.listener, h.deaf && !h.hearing
	h.mu.Unlock()
	messages := h.takeSay()
	var queues []receivers
	var jobs []storage.ID
	switch {
	case l != nil:
		h.looks.begin(l)
		queues, jobs = h.looks.page()
	case len(messages) == 0 && !deaf:
		return
	}
	rows, err := h.ask(ctx, queues, jobs, messages, deaf)
	if err != nil {
		h.unsaid()
		return // the store's callers learn it; when the database is back the next look finds what was missed
	}
	if l == nil {
		return
	}
	for _, ch := range h.looks.changes(queues, jobs, rows) {
		l.Changed(ch)
	}
	for _, q := range h.looks.ends {
		l.Changed(storage.Change{Queue: q, Ended: true})
	}
}

// ask makes a look's query.
func (h *hub) ask(ctx context.Context, queues []receivers, jobs []storage.ID, messages []string, deaf bool) (all []found, err error) {
	accounts, names, limits := make([]string, len(queues)), make([]string, len(queues)), make([]int64, len(queues))
	for i, q := range queues {
		accounts[i], names[i], limits[i] = q.queue.Account, q.queue.Name, int64(min(q.n, maxWake))
	}
	ctx, cancel := patient(ctx)
	defer cancel()
	h.s.trips.Add(1)
	rows, err := h.s.pool.Query(ctx, h.sql, accounts, names, limits, uuids(jobs), h.channel, messages, deaf)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (f found, err error) {
		err = row.Scan(&f.kind, &f.i, &f.qid, &f.version, &f.ready, &f.id, &f.digest, &f.due, &f.now, &f.crowd)
		if err == nil && f.crowd != nil {
			h.setCrowd(*f.crowd)
		}
		return f, err
	})
}

func (h *hub) setCrowd(crowd bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.crowd = crowd
	h.settleLocked(time.Now())
}

// changes returns what is new in what a look has found.
func (k *looks) changes(queues []receivers, jobs []storage.ID, rows []found) (changes []storage.Change) {
	records := make(map[int64]*found, len(queues))
	for i := range rows {
		switch r := &rows[i]; r.kind {
		case 1:
			records[r.i] = r
		case 2:
			k.seenNow[storage.ID(*r.id)] = [32]byte(r.digest)
		case 3:
			if r.due != nil && !r.due.Equal(k.due) {
				k.due = *r.due
				changes = append(changes, storage.Change{Due: r.due.UTC(), Now: r.now.UTC()})
			}
		}
	}
	for i, q := range queues {
		state, ready := queueState{round: k.round}, 0
		if r := records[int64(i)+1]; r != nil {
			state.qid, state.version, ready = r.qid, r.version, int(r.ready)
		}
		was, known := k.queues[q.queue]
		k.queues[q.queue] = state
		switch {
		case known && was.qid != 0 && (was.qid != state.qid || was.version != state.version):
			changes = append(changes, storage.Change{Queue: q.queue})
		case !known, was.qid != state.qid: // it may have been closed before it was looked at, and after its receivers came
			ready = max(ready, 1)
			fallthrough
		case ready > 0:
			changes = append(changes, storage.Change{Queue: q.queue, Ready: ready})
		}
	}
	for _, id := range jobs {
		digest := k.seenNow[id] // zero if there is no job
		k.seenNow[id] = digest
		if was, known := k.seen[id]; !known || was != digest {
			changes = append(changes, storage.Change{Job: id})
		}
	}
	return changes
}
