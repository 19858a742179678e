-- oldest: 1
--
-- The first layout. {schema} stands for the quoted name of the schema. What a table is for is said in its COMMENT, for people who look at the
-- database; comments like this one say why something is as it is.
--
-- Texts are COLLATE "C" because strings sort by bytes in this module, whatever the database's own collation is. There are no foreign keys: their
-- locks on the row of a busy queue would make the nodes wait for each other, and the code holds what they would hold.
--
-- All tables but chunk are small or change all the time, which the defaults of autovacuum are not made for:
--   * They wait for dead rows in proportion to the table. A queue has as many dead rows as deliveries, however few or many jobs wait in it, and it
--     is the dead ones at its head that each look for the next job steps over. So thresholds are numbers of rows.
--   * They pause between pages so as to spare the disk, and then do not keep up with a busy queue: a delay of 0.
-- How often autovacuum looks at all is the server's autovacuum_naptime, a minute unless set.

CREATE TABLE {schema}.queue (
	qid      integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	account  text COLLATE "C" NOT NULL,
	name     text COLLATE "C" NOT NULL,
	version  bigint NOT NULL DEFAULT 1,
	next     bigint NOT NULL DEFAULT 0,
	settings bytea NOT NULL,
	UNIQUE (account, name)
) WITH (
	-- Each group of enqueues changes next. Half of a page is for the row's next versions, which then need no new entries in the indexes, and whose room
	-- the next change frees by itself.
	fillfactor = 50,
	autovacuum_vacuum_scale_factor = 0,
	autovacuum_vacuum_threshold = 1000,
	autovacuum_vacuum_cost_delay = 0,
	vacuum_truncate = off
);
COMMENT ON TABLE {schema}.queue IS 'The queues. A job finds its queue by qid.';
COMMENT ON COLUMN {schema}.queue.version IS 'Grows with each change of the settings.';
COMMENT ON COLUMN {schema}.queue.next IS 'The position that the next job gets.';
COMMENT ON COLUMN {schema}.queue.settings IS 'The rest of the record, encoded.';

CREATE TABLE {schema}.job (
	id       uuid PRIMARY KEY,
	qid      integer NOT NULL,
	account  text COLLATE "C" NOT NULL,
	key      text COLLATE "C",
	state    smallint NOT NULL,
	priority smallint NOT NULL,
	position bigint NOT NULL,
	due      timestamptz,
	spec     bytea NOT NULL,
	status   bytea NOT NULL,
	payload  bytea,
	result   bytea
) WITH (
	-- The other half of a page is for the next versions of its jobs: each is delivered, and ends. Of a version that stays on its page only what has changed
	-- is written to the log, not the payload.
	fillfactor = 50,
	autovacuum_vacuum_scale_factor = 0,
	autovacuum_vacuum_threshold = 10000,
	autovacuum_vacuum_cost_delay = 0,
	autovacuum_analyze_scale_factor = 0,
	autovacuum_analyze_threshold = 50000,
	-- With many jobs waiting, the dead rows of an hour may lie on so few of the pages that vacuum leaves their index entries for later. It is these
	-- entries, all of them at the head of job_ready, that make the look for the next job slow.
	vacuum_index_cleanup = on,
	-- To give the end of a file back to the system, vacuum locks the whole table: all nodes would wait. The room is for the next jobs.
	vacuum_truncate = off,
	toast.vacuum_truncate = off
);
-- Payloads are often compressed already, or small; compressing them again costs more than it saves.
ALTER TABLE {schema}.job ALTER COLUMN payload SET STORAGE EXTERNAL, ALTER COLUMN result SET STORAGE EXTERNAL;
-- Nobody looks for jobs by these.
ALTER TABLE {schema}.job ALTER COLUMN spec SET STATISTICS 0, ALTER COLUMN status SET STATISTICS 0,
	ALTER COLUMN payload SET STATISTICS 0, ALTER COLUMN result SET STATISTICS 0;
CREATE INDEX job_queue ON {schema}.job (qid, id);
CREATE INDEX job_ready ON {schema}.job (qid, priority DESC, position) WHERE state = 4;
CREATE INDEX job_due ON {schema}.job (due, id) WHERE due IS NOT NULL;
CREATE UNIQUE INDEX job_key ON {schema}.job (qid, account, key) WHERE key IS NOT NULL;
COMMENT ON TABLE {schema}.job IS 'The jobs, and the tombstones of those that are gone. The view jobs shows them to people.';
COMMENT ON COLUMN {schema}.job.id IS 'A ULID: the function ulid writes it as the 26 characters that users know.';
COMMENT ON COLUMN {schema}.job.account IS 'Whom the job belongs to; in a queue of the house, the empty account, that may be anybody.';
COMMENT ON COLUMN {schema}.job.state IS
	'1 staged, 2 entering, 3 scheduled, 4 pending, 5 running, 6 succeeded, 7 failed, 8 canceled, 9 gone.';
COMMENT ON COLUMN {schema}.job.position IS 'The place in the queue; without meaning while staged or entering.';
COMMENT ON COLUMN {schema}.job.due IS 'When time next does something to the job: its delay, lease, deadline or retention ends.';
COMMENT ON COLUMN {schema}.job.spec IS 'What never changes, encoded.';
COMMENT ON COLUMN {schema}.job.status IS 'What changes, encoded.';
COMMENT ON COLUMN {schema}.job.payload IS 'Null if it was deleted, or is in chunk.';

CREATE TABLE {schema}.count (
	qid       integer NOT NULL,
	staged    bigint NOT NULL DEFAULT 0,
	entering  bigint NOT NULL DEFAULT 0,
	scheduled bigint NOT NULL DEFAULT 0,
	pending   bigint NOT NULL DEFAULT 0,
	running   bigint NOT NULL DEFAULT 0,
	succeeded bigint NOT NULL DEFAULT 0,
	failed    bigint NOT NULL DEFAULT 0,
	canceled  bigint NOT NULL DEFAULT 0,
	gone      bigint NOT NULL DEFAULT 0
) WITH (
	autovacuum_vacuum_scale_factor = 0,
	autovacuum_vacuum_threshold = 1000,
	autovacuum_vacuum_cost_delay = 0,
	vacuum_truncate = off
);
CREATE INDEX count_queue ON {schema}.count (qid);
COMMENT ON TABLE {schema}.count IS
	'How many jobs a queue has in each state: the sums of its rows. Each group of changes adds a row, so that the nodes need not wait for each other; now and then they are made one.';

CREATE TABLE {schema}.chunk (
	blob  uuid,
	n     integer,
	bytes bytea NOT NULL,
	PRIMARY KEY (blob, n)
) WITH (
	autovacuum_vacuum_scale_factor = 0,
	autovacuum_vacuum_threshold = 1000,
	autovacuum_vacuum_cost_delay = 0,
	vacuum_truncate = off,
	toast.autovacuum_vacuum_threshold = 30000, -- a chunk has some 30 rows there
	toast.vacuum_truncate = off
);
ALTER TABLE {schema}.chunk ALTER COLUMN bytes SET STORAGE EXTERNAL, ALTER COLUMN bytes SET STATISTICS 0;
COMMENT ON TABLE {schema}.chunk IS 'Payloads and results that are too large to be kept with their jobs, in pieces.';

CREATE FUNCTION {schema}.clock() RETURNS timestamptz LANGUAGE sql VOLATILE
	AS 'SELECT pg_catalog.clock_timestamp()';
COMMENT ON FUNCTION {schema}.clock() IS 'The clock of all nodes. Nothing here asks another; tests replace it.';

CREATE FUNCTION {schema}.want(got bigint, wanted bigint) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
	IF got IS DISTINCT FROM wanted THEN
		RAISE EXCEPTION USING ERRCODE = 'PK001', MESSAGE = pg_catalog.format('got %s, want %s', got, wanted);
	END IF;
END
$$;
COMMENT ON FUNCTION {schema}.want(bigint, bigint) IS
	'Fails, with SQLSTATE PK001, unless both are the same: so a transaction that is sent in one go ends where a statement did not find what it was to change.';

-- 26 digits of 5 bits are 130: the first two are always 0.
CREATE FUNCTION {schema}.ulid(id uuid) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
	SELECT string_agg(substr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', substring(bits FROM 5 * n + 1 FOR 5)::integer + 1, 1), '' ORDER BY n)
	FROM (SELECT B'00' || ('x' || replace(id::text, '-', ''))::bit(128) AS bits) AS whole, generate_series(0, 25) AS n
$$;
COMMENT ON FUNCTION {schema}.ulid(uuid) IS 'An id as users know it: 26 characters of Crockford''s base 32.';

CREATE VIEW {schema}.jobs AS
	SELECT
		{schema}.ulid(j.id) AS id,
		q.account AS queue_account,
		q.name AS queue,
		j.account,
		CASE j.state
			WHEN 1 THEN 'staged' WHEN 2 THEN 'entering' WHEN 3 THEN 'scheduled' WHEN 4 THEN 'pending' WHEN 5 THEN 'running'
			WHEN 6 THEN 'succeeded' WHEN 7 THEN 'failed' WHEN 8 THEN 'canceled' WHEN 9 THEN 'gone' ELSE 'unknown'
		END AS state,
		j.priority,
		CASE WHEN j.state NOT IN (1, 2) THEN j.position END AS position,
		j.key,
		j.due,
		j.payload IS NOT NULL AS has_payload,
		j.result IS NOT NULL AS has_result,
		j.id AS uuid
	FROM {schema}.job AS j LEFT JOIN {schema}.queue AS q USING (qid);
COMMENT ON VIEW {schema}.jobs IS 'The jobs for people to look at. Nothing of ours reads it, so it may change with any version.';
