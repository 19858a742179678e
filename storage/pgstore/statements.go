package pgstore

import (
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/pollackq/pollack/storage"
)

// jobColumns are what a rec is made of. The first two parameters say whether values come along; small results do in any case.
const jobColumns = "id, qid, position, spec, status, CASE WHEN $1::bool THEN payload END, " +
	"CASE WHEN $2::bool OR octet_length(result) <= 1024 THEN result END, result IS NULL"

const queueColumns = "q.qid, q.account, q.name, q.version, q.next, q.settings"

// statements are the texts that are prepared on each connection.
type statements struct {
	settings     string // of each transaction, where connections are a pooler's
	clock        string
	queues       string
	queuesOfJobs string
	queuePage    string
	counts       string // of the queue whose qid is appended
	keys         string
	keysFree     string // and those that are not free, without an id
	takeKeys     string
	jobs         string
	jobsSkip     string // what others have locked is left out
	jobsLock     string // what others have locked is waited for
	there        string
	ready        string
	readySkip    string
	values       string
	page         string
	due          string
	nextDue      string
	oldest       string
	chunk        string

	remove       string
	removeSame   string // what is remembered is compared
	update       string
	updateSame   string // likewise
	same         string
	lockQueues   string
	shutQueues   string // those that somebody has locked
	putQueues    string
	insertQueues string
	insert       string
	addCounts    string
	alone        map[string]string    // the statement on arrays of one element, by the text of that on any
	counted      map[string][2]string // addCounts, of one queue and of any number, joined to another statement, by the text of that
	foldCounts   string
	notify       string

	newQid        string
	tryAdvisory   string
	shareAdvisory string
	lockQueue     string
	hasQueue      string
	anyJob        string
	dropQueue     string
	dropCounts    string
	chunkAt       string
	putChunk      string
	deleteBlob    string
}

// keyLock is the advisory lock of a key k. Others may have the same number: then somebody waits for nothing.
const keyLock = "hashtextextended(concat_ws(chr(31), '{s}', k.owner, k.name, k.account, k.key), 0)"

// newStatements writes the texts for a schema.
func newStatements(schema string) statements {
	var names, sums, args []string
	for st := storage.Staged; st < storage.State(storage.States); st++ {
		names = append(names, st.String())
		sums = append(sums, "coalesce(sum("+st.String()+"), 0)::bigint")
		args = append(args, "$"+strconv.Itoa(len(args)+2)+"::bigint[]")
	}
	q := func(text string) string { return strings.ReplaceAll(text, "{s}", schema) }
	s := statements{
		clock: q("SELECT {s}.clock()"),
		queues: q("SELECT {s}.clock(), " + queueColumns + " FROM (SELECT) AS one LEFT JOIN (" +
			"SELECT q.* FROM unnest($1::text[], $2::text[]) AS n(account, name) JOIN {s}.queue q ON q.account = n.account AND q.name = n.name" +
			" UNION ALL SELECT q.* FROM {s}.queue q WHERE q.qid = ANY($3::integer[])) AS q ON true"),
		same: q("SELECT {s}.want((SELECT count(*) FROM unnest($1::integer[], $2::bigint[]) AS u(qid, version)" +
			" JOIN {s}.queue q ON q.qid = u.qid AND q.version = u.version)" +
			" + (abs(extract(epoch FROM {s}.clock() - $3::timestamptz)) < 0.25)::integer, $4::bigint), {s}.clock()"),
		queuesOfJobs: q("SELECT {s}.clock(), " + queueColumns + " FROM {s}.queue q WHERE q.qid = ANY(ARRAY(SELECT DISTINCT qid FROM {s}.job WHERE id = ANY($1::uuid[])))"),
		queuePage: q("SELECT " + queueColumns + " FROM {s}.queue q WHERE (q.account, q.name) > ($1::text, $2::text)" +
			" ORDER BY q.account, q.name LIMIT $3::bigint"),
		counts: q("SELECT " + strings.Join(sums, ", ") + " FROM {s}.count WHERE qid = "),
		keys: q("SELECT k.n, j.id FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) WITH ORDINALITY AS k(owner, name, account, key, n)" +
			" JOIN {s}.queue q ON q.account = k.owner AND q.name = k.name" +
			" JOIN {s}.job j ON j.qid = q.qid AND j.account = k.account AND j.key = k.key"),
		// Whose key an open transaction of a user's has taken is in no row yet: it is known by an advisory lock.
		keysFree: q("SELECT k.n, j.id FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) WITH ORDINALITY AS k(owner, name, account, key, n)" +
			" LEFT JOIN LATERAL (SELECT j.id FROM {s}.queue q JOIN {s}.job j ON j.qid = q.qid AND j.account = k.account AND j.key = k.key" +
			" WHERE q.account = k.owner AND q.name = k.name) AS j ON true" +
			" WHERE j.id IS NOT NULL OR NOT (pg_try_advisory_lock_shared(" + keyLock + ") AND pg_advisory_unlock_shared(" + keyLock + "))"),
		takeKeys: q("SELECT pg_advisory_xact_lock(" + keyLock + ") FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS k(owner, name, account, key)"),
		jobs:     q("SELECT " + jobColumns + " FROM {s}.job WHERE id = ANY($3::uuid[])"),
		there:    q("SELECT id FROM {s}.job WHERE id = ANY($1::uuid[])"),
		ready: q("SELECT " + jobColumns + " FROM {s}.job WHERE qid = (SELECT qid FROM {s}.queue WHERE account = $3::text AND name = $4::text)" +
			" AND state = 4 ORDER BY priority DESC, position LIMIT $5::bigint"),
		values:  q("SELECT payload, result FROM {s}.job WHERE id = $1"),
		page:    q("SELECT id, state FROM {s}.job WHERE qid = $1 AND id > $2 ORDER BY id LIMIT $3::bigint"),
		due:     q("SELECT " + jobColumns + " FROM {s}.job WHERE due <= $3 ORDER BY due, id LIMIT $4::bigint"),
		nextDue: q("SELECT id, spec, status FROM {s}.job WHERE due IS NOT NULL ORDER BY due, id LIMIT $1::bigint"),
		// From one priority to the next: however many jobs are pending, each priority costs one look.
		oldest: q("WITH RECURSIVE first AS (" +
			"(SELECT id, priority FROM {s}.job WHERE qid = $1 AND state = 4 AND id <> ALL($2::uuid[]) ORDER BY priority DESC, position LIMIT 1)" +
			" UNION ALL SELECT n.id, n.priority FROM first, LATERAL (SELECT id, priority FROM {s}.job" +
			" WHERE qid = $1 AND state = 4 AND id <> ALL($2::uuid[]) AND priority < first.priority ORDER BY priority DESC, position LIMIT 1) AS n)" +
			" SELECT j.id, j.spec, j.status FROM first JOIN {s}.job j USING (id)"),
		chunk: q("SELECT bytes FROM {s}.chunk WHERE blob = $1 AND n = $2::bigint"),

		remove: q("DELETE FROM {s}.job WHERE id = ANY($1::uuid[])"),
		removeSame: q("WITH done AS (DELETE FROM {s}.job j USING unnest($1::uuid[], $2::bytea[]) AS u(id, status)" +
			" WHERE j.id = u.id AND (u.status IS NULL OR j.status = u.status) RETURNING 1) SELECT {s}.want(count(*), $3::bigint) FROM done"),
		update: q("UPDATE {s}.job j SET state = u.state, due = u.due, status = u.status," +
			" result = CASE WHEN u.changed & 1 <> 0 THEN u.result ELSE j.result END," +
			" payload = CASE WHEN u.changed & 2 <> 0 THEN NULL ELSE j.payload END" +
			" FROM unnest($1::uuid[], $2::smallint[], $3::timestamptz[], $4::bytea[], $5::bytea[], $6::smallint[])" +
			" AS u(id, state, due, status, result, changed) WHERE j.id = u.id"),
		updateSame: q("WITH done AS (UPDATE {s}.job j SET state = u.state, due = u.due, status = u.status," +
			" result = CASE WHEN u.changed & 1 <> 0 THEN u.result ELSE j.result END," +
			" payload = CASE WHEN u.changed & 2 <> 0 THEN NULL ELSE j.payload END" +
			" FROM unnest($1::uuid[], $2::smallint[], $3::timestamptz[], $4::bytea[], $5::bytea[], $6::smallint[], $7::bytea[])" +
			" AS u(id, state, due, status, result, changed, expected)" +
			" WHERE j.id = u.id AND (u.expected IS NULL OR j.status = u.expected) RETURNING 1) SELECT {s}.want(count(*), $8::bigint) FROM done"),
		lockQueues: q("SELECT FROM {s}.queue WHERE qid = ANY($1::integer[]) ORDER BY qid FOR NO KEY UPDATE"),
		shutQueues: q("WITH free AS (SELECT qid FROM {s}.queue WHERE qid = ANY($1::integer[]) FOR NO KEY UPDATE SKIP LOCKED)" +
			" SELECT qid FROM {s}.queue WHERE qid = ANY($1::integer[]) AND qid NOT IN (SELECT qid FROM free)"),
		putQueues: q("WITH done AS (UPDATE {s}.queue q SET next = q.next + u.adds, version = q.version + u.newer," +
			" settings = CASE WHEN u.newer > 0 THEN u.settings ELSE q.settings END" +
			" FROM unnest($1::integer[], $2::bigint[], $3::bigint[], $4::smallint[], $5::bytea[]) AS u(qid, version, adds, newer, settings)" +
			" WHERE q.qid = u.qid AND q.version = u.version RETURNING q.qid, q.next)" +
			" SELECT {s}.want((SELECT count(*) FROM done) + coalesce(abs(extract(epoch FROM {s}.clock() - $7::timestamptz)) < 0.25, true)::integer, $6::bigint), array_agg(qid), array_agg(next), {s}.clock() FROM done"),
		insertQueues: q("INSERT INTO {s}.queue (qid, account, name, next, settings) OVERRIDING SYSTEM VALUE" +
			" SELECT * FROM unnest($1::integer[], $2::text[], $3::text[], $4::bigint[], $5::bytea[])"),
		insert: q("INSERT INTO {s}.job (id, qid, position, account, key, state, priority, due, spec, status, payload, result)" +
			" SELECT u.id, u.qid, CASE WHEN u.back > 0 THEN q.next - u.back ELSE u.position END, u.account, u.key, u.state, u.priority, u.due, u.spec, u.status, u.payload, u.result" +
			" FROM unnest($1::uuid[], $2::integer[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::smallint[], $8::smallint[]," +
			" $9::timestamptz[], $10::bytea[], $11::bytea[], $12::bytea[], $13::bytea[])" +
			" AS u(id, qid, back, position, account, key, state, priority, due, spec, status, payload, result) LEFT JOIN {s}.queue q ON q.qid = u.qid"),
		addCounts: q("INSERT INTO {s}.count (qid, " + strings.Join(names, ", ") + ") SELECT * FROM unnest($1::integer[], " + strings.Join(args, ", ") + ") AS u"),
		// Whose rows others are folding stay as they are.
		foldCounts: q("WITH gone AS (DELETE FROM {s}.count WHERE ctid = ANY(ARRAY(SELECT ctid FROM {s}.count WHERE qid = $1 FOR UPDATE SKIP LOCKED)) RETURNING *)" +
			" INSERT INTO {s}.count (qid, " + strings.Join(names, ", ") + ") SELECT qid, " + strings.Join(sums, ", ") + " FROM gone GROUP BY qid"),
		notify: q("SELECT pg_notify($1::text, $2::text)"),

		newQid:        q("SELECT nextval(pg_get_serial_sequence('{s}.queue', 'qid'))::integer"),
		tryAdvisory:   q("SELECT pg_try_advisory_xact_lock(hashtext('{s}.queue'), $1::integer)"),
		shareAdvisory: q("SELECT pg_advisory_xact_lock_shared(hashtext('{s}.queue'), $1::integer)"),
		lockQueue:     q("SELECT version FROM {s}.queue WHERE qid = $1 FOR UPDATE"),
		hasQueue:      q("SELECT {s}.want(count(*), 1) FROM {s}.queue WHERE qid = $1"),
		anyJob:        q("SELECT true FROM {s}.job WHERE qid = $1 LIMIT 1"),
		dropQueue:     q("DELETE FROM {s}.queue WHERE qid = $1"),
		dropCounts:    q("DELETE FROM {s}.count WHERE qid = $1"),
		chunkAt:       q("SELECT true FROM {s}.chunk WHERE blob = $1 AND n = $2::bigint"),
		putChunk:      q("INSERT INTO {s}.chunk (blob, n, bytes) VALUES ($1, $2::bigint, $3) ON CONFLICT (blob, n) DO UPDATE SET bytes = excluded.bytes"),
		deleteBlob:    q("DELETE FROM {s}.chunk WHERE blob = $1"),
	}
	s.jobsSkip = s.jobs + " FOR UPDATE SKIP LOCKED"
	s.jobsLock = s.jobs + " ORDER BY id FOR UPDATE"
	s.readySkip = s.ready + " FOR UPDATE SKIP LOCKED"
	s.alone, s.counted = make(map[string]string), make(map[string][2]string)
	counts := [2]string{single(s.addCounts), s.addCounts}
	s.alone[counts[1]] = counts[0]
	for _, text := range []string{s.same, s.putQueues, s.remove, s.removeSame, s.update, s.updateSame, s.insert} {
		s.alone[text] = single(text)
	}
	for _, text := range []string{s.remove, s.removeSame, s.update, s.updateSame, s.insert} {
		for _, text := range []string{text, s.alone[text]} {
			s.counted[text] = [2]string{joined(counts[0], text), joined(counts[1], text)}
		}
	}
	return s
}

var (
	arrays = regexp.MustCompile(`unnest\(([^()]*)\)`)
	among  = regexp.MustCompile(`= ANY\((\$\d+::\w+)\[\]\)`)
)

// single returns a statement on arrays as one on their only elements: a plan that is a third of the work.
func single(text string) string {
	text = arrays.ReplaceAllStringFunc(text, func(s string) string {
		return "(VALUES (" + strings.ReplaceAll(arrays.FindStringSubmatch(s)[1], "[]", "") + "))"
	})
	return among.ReplaceAllString(text, "= $1")
}

// queue queues a statement on arrays of n elements.
func (s *statements) queue(b *pgx.Batch, text string, n int, args ...any) *pgx.QueuedQuery {
	if n == 1 {
		text = s.alone[text]
		for i, a := range args {
			if v := reflect.ValueOf(a); v.Kind() == reflect.Slice {
				args[i] = v.Index(0).Interface()
			}
		}
	}
	return b.Queue(text, args...)
}

var parameter = regexp.MustCompile(`\$(\d+)`)

// joined returns one statement that does what two do. The parameters of the first come after those of the second.
func joined(first, second string) string {
	most := 0
	for _, m := range parameter.FindAllStringSubmatch(second, -1) {
		n, _ := strconv.Atoi(m[1])
		most = max(most, n)
	}
	first = parameter.ReplaceAllStringFunc(first, func(p string) string {
		n, _ := strconv.Atoi(p[1:])
		return "$" + strconv.Itoa(n+most)
	})
	if rest, ok := strings.CutPrefix(second, "WITH "); ok {
		return "WITH counted AS (" + first + "), " + rest
	}
	return "WITH counted AS (" + first + ") " + second
}
