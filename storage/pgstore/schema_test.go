package pgstore

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/pgstore/internal/pgtest"
)

// made returns a schema that Migrate has made.
func made(t *testing.T, pool *pgxpool.Pool) string {
	t.Helper()
	schema := pgtest.Schema(t)
	if err := Migrate(t.Context(), pool, &Options{Schema: schema}); err != nil {
		t.Fatal(err)
	}
	return schema
}

// open is what New does with the schema before anything else.
func open(t *testing.T, pool *pgxpool.Pool, o Options) error {
	t.Helper()
	return pool.AcquireFunc(t.Context(), func(c *pgxpool.Conn) error { return openSchema(t.Context(), c.Conn(), o) })
}

func TestASchemaIsMadeWhereThereIsNone(t *testing.T) {
	pool := pgtest.Pool(t)
	o := Options{Schema: pgtest.Schema(t), NoMigrate: true}
	if err := open(t, pool, o); err == nil || !strings.Contains(err.Error(), o.Schema) || !strings.Contains(err.Error(), "run Migrate") {
		t.Errorf("with NoMigrate: got %v, want an error that says to run Migrate", err)
	}
	if got := things(t, pool, o.Schema); got != "" {
		t.Errorf("NoMigrate made %s", got)
	}
	o.NoMigrate = false
	for range 2 {
		if err := open(t, pool, o); err != nil {
			t.Errorf("without NoMigrate: %v", err)
		}
	}
	const want = "[schema] chunk chunk_pkey clock() count count_queue job job_due job_key job_pkey job_queue job_ready jobs migration migration_pkey " +
		"queue queue_account_name_key queue_pkey queue_qid_seq ulid() want()"
	if got := things(t, pool, o.Schema); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	o.NoMigrate = true
	if err := open(t, pool, o); err != nil {
		t.Errorf("with NoMigrate, when it is made: %v", err)
	}
}

func TestASchemaOfAnotherVersion(t *testing.T) {
	pool := pgtest.Pool(t)
	schema := made(t, pool)
	later := planned(t, []int{1, 3}, "CREATE TABLE {schema}.two ();", "CREATE TABLE {schema}.three ();")
	if err := migrateTo(t, pool, schema, later[:2]); err != nil {
		t.Fatal(err)
	}
	for _, no := range []bool{false, true} {
		if err := open(t, pool, Options{Schema: schema, NoMigrate: no}); err != nil {
			t.Errorf("version 2, which code of version 1 can work with, NoMigrate %v: %v", no, err)
		}
	}
	if err := migrateTo(t, pool, schema, later); err != nil {
		t.Fatal(err)
	}
	for _, no := range []bool{false, true} {
		err := open(t, pool, Options{Schema: schema, NoMigrate: no})
		if err == nil || !strings.Contains(err.Error(), "version 3") || !strings.Contains(err.Error(), "has 1") {
			t.Errorf("version 3, which code of version 1 cannot work with, NoMigrate %v: got %v, want an error that names both", no, err)
		}
	}
	if err := Migrate(t.Context(), pool, &Options{Schema: schema}); err == nil || !strings.Contains(err.Error(), "version 3") {
		t.Errorf("Migrate: got %v, want an error that names both versions", err)
	}
	if err := migrateTo(t, pool, schema, later); err != nil {
		t.Errorf("code of version 3: %v", err)
	}

	must(t, pool, "DELETE FROM "+schema+".migration")
	if err := open(t, pool, Options{Schema: schema}); err == nil || !strings.Contains(err.Error(), "without rows") {
		t.Errorf("without versions: got %v", err)
	}
}

func TestAnOldSchemaIsNotForNoMigrate(t *testing.T) {
	pool, schema := pgtest.Pool(t), pgtest.Schema(t)
	must(t, pool, "CREATE SCHEMA "+schema)
	must(t, pool, "CREATE TABLE "+schema+".migration (version int, oldest int, applied timestamptz)")
	must(t, pool, "INSERT INTO "+schema+".migration VALUES (0, 0, now())") // there is none as old as yet
	err := open(t, pool, Options{Schema: schema, NoMigrate: true})
	if err == nil || !strings.Contains(err.Error(), "run Migrate") {
		t.Errorf("got %v, want an error that says to run Migrate", err)
	}
}

// role makes a role that may do nothing with the database, and returns connections as it.
func role(t *testing.T, pool *pgxpool.Pool) (name string, as *pgxpool.Pool) {
	t.Helper()
	name = pgtest.Schema(t)
	must(t, pool, "CREATE ROLE "+name)
	must(t, pool, "REVOKE ALL ON SCHEMA public FROM public")
	database := quoted(one[string](t, pool, "SELECT current_database()"))
	must(t, pool, "REVOKE ALL ON DATABASE "+database+" FROM public")
	config, err := pgxpool.ParseConfig(pgtest.DSN(t))
	if err != nil {
		t.Fatal(err)
	}
	// Connecting as the role would take what the server asks of it.
	config.AfterConnect = func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.Exec(ctx, "SET SESSION AUTHORIZATION "+name)
		return err
	}
	if as, err = pgxpool.NewWithConfig(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		as.Close()
		for _, statement := range []string{"DROP OWNED BY " + name + " CASCADE", "DROP ROLE " + name} {
			if _, err := pool.Exec(context.Background(), statement); err != nil {
				t.Error(err)
			}
		}
		if _, err := pool.Exec(context.Background(), "GRANT ALL ON DATABASE "+database+" TO public"); err != nil {
			t.Error(err)
		}
	})
	return name, as
}

func TestAnUpToDateSchemaNeedsNoRightToCreate(t *testing.T) {
	pool := pgtest.Pool(t)
	schema := made(t, pool)
	name, as := role(t, pool)
	if err := open(t, as, Options{Schema: schema}); err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("without any right: got %v", err)
	}
	must(t, pool, "GRANT USAGE ON SCHEMA "+schema+" TO "+name)
	must(t, pool, "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA "+schema+" TO "+name)
	must(t, pool, "GRANT USAGE ON ALL SEQUENCES IN SCHEMA "+schema+" TO "+name)
	if _, err := as.Exec(t.Context(), "CREATE TABLE "+schema+".no ()"); err == nil {
		t.Fatal("the role may create tables")
	}
	if err := open(t, as, Options{Schema: schema}); err != nil {
		t.Errorf("New: %v", err)
	}
	if err := Migrate(t.Context(), as, &Options{Schema: schema}); err != nil {
		t.Errorf("Migrate: %v", err)
	}
	store, err := New(t.Context(), as, &Options{Schema: schema, NoMigrate: true})
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	defer store.Close()
	job := &storage.Job{Spec: &storage.Spec{ID: storage.NewID(time.Now()), Queue: storage.QueueName{Name: "q"}, Key: "k"}, Status: storage.Status{State: storage.Pending}}
	for _, fn := range []func(storage.Tx) error{
		func(tx storage.Tx) error { return tx.PutQueue(&storage.Queue{QueueName: job.Queue}) },
		func(tx storage.Tx) error { _, err := tx.AddJob(job, nil); return err },
		func(tx storage.Tx) error { return tx.PutChunk(job.ID, 0, []byte("chunk")) },
		func(tx storage.Tx) error { return tx.DeleteBlob(job.ID) },
		func(tx storage.Tx) error {
			jobs, err := tx.Ready(job.Queue, 1)
			if err == nil && len(jobs) != 1 {
				t.Errorf("got %d jobs that are ready, want 1", len(jobs))
			}
			for _, j := range jobs {
				err = errors.Join(err, tx.SetResult(j, []byte("result")), tx.SetJob(j.With(storage.Status{State: storage.Succeeded})))
			}
			return err
		},
		func(tx storage.Tx) error {
			j, err := tx.Job(job.ID)
			if err == nil {
				err = tx.DeleteJob(j)
			}
			return err
		},
		func(tx storage.Tx) error { return tx.DeleteQueue(job.Queue) },
	} {
		if err := store.Update(t.Context(), storage.Reads{}, fn); err != nil {
			t.Error(err)
		}
	}
	// And people.
	for _, statement := range []string{
		"SELECT {schema}.clock()", "SELECT {schema}.want(1, 1)", "SELECT {schema}.ulid(gen_random_uuid())", "SELECT * FROM {schema}.jobs",
	} {
		if _, err := as.Exec(t.Context(), strings.ReplaceAll(statement, "{schema}", schema)); err != nil {
			t.Errorf("%s: %v", statement, err)
		}
	}
	if err := Migrate(t.Context(), as, &Options{Schema: pgtest.Schema(t)}); err == nil || !strings.Contains(err.Error(), "migration 0001_begin") || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("Migrate of a schema that is not there: got %v", err)
	}
}

func TestASchemaThatWasMadeForUsNeedsNoRightOnTheDatabase(t *testing.T) {
	pool, schema := pgtest.Pool(t), pgtest.Schema(t)
	name, as := role(t, pool)
	must(t, pool, "CREATE SCHEMA "+schema+" AUTHORIZATION "+name)
	if err := Migrate(t.Context(), as, &Options{Schema: schema}); err != nil {
		t.Error(err)
	}
}

func TestTwoSchemasInOneDatabaseAreIndependent(t *testing.T) {
	pool := pgtest.Pool(t)
	a, b := made(t, pool), made(t, pool)
	must(t, pool, "INSERT INTO "+a+".queue (account, name, settings) VALUES ('', 'q', '')")
	if n := one[int](t, pool, "SELECT count(*) FROM "+b+".queue"); n != 0 {
		t.Errorf("a queue of the one is in the other")
	}
	later := planned(t, []int{2}, "CREATE TABLE {schema}.two ();")
	if err := migrateTo(t, pool, a, later); err != nil {
		t.Fatal(err)
	}
	if n := one[int](t, pool, "SELECT max(version) FROM "+b+".migration"); n != 1 {
		t.Errorf("got version %d of the other, want 1", n)
	}
	must(t, pool, "DROP SCHEMA "+a+" CASCADE")
	if err := open(t, pool, Options{Schema: b, NoMigrate: true}); err != nil {
		t.Errorf("the other, after the one was dropped: %v", err)
	}
	// No function or view of the one has looked into the other.
	must(t, pool, "INSERT INTO "+b+".queue (account, name, settings) VALUES ('a', 'q', '')")
	must(t, pool, "INSERT INTO "+b+".job (id, qid, account, state, priority, position, spec, status) SELECT gen_random_uuid(), qid, '', 4, 0, 0, '', '' FROM "+b+".queue")
	if got := one[string](t, pool, "SELECT queue_account || queue || state FROM "+b+".jobs"); got != "aqpending" {
		t.Errorf("got %s, want aqpending", got)
	}
}

func TestTheDatabaseWritesIDsAsUsersKnowThem(t *testing.T) {
	pool := pgtest.Pool(t)
	schema := made(t, pool)
	ids := []storage.ID{{}, {15: 1}, {0: 0xff}}
	for i := range ids[0] {
		ids[0][i] = 0xff
	}
	for range 200 {
		var id storage.ID
		rand.Read(id[:])
		ids = append(ids, id)
	}
	var uuids [][16]byte
	for _, id := range ids {
		uuids = append(uuids, id)
	}
	written := one[[]string](t, pool, "SELECT array_agg("+schema+".ulid(id) ORDER BY n) FROM unnest($1::uuid[]) WITH ORDINALITY AS u(id, n)", uuids)
	if len(written) != len(ids) {
		t.Fatalf("got %d, want %d", len(written), len(ids))
	}
	for i, id := range ids {
		if written[i] != id.String() {
			t.Errorf("%x: got %s, want %s", id[:], written[i], id)
		}
	}
}

func TestTheViewSaysEveryStateByItsName(t *testing.T) {
	pool := pgtest.Pool(t)
	schema := made(t, pool)
	for s := 1; s < storage.States; s++ {
		id := storage.ID{0: byte(s)}
		must(t, pool, "INSERT INTO "+schema+".job (id, qid, account, state, priority, position, spec, status) VALUES ($1, 1, '', $2, 0, 5, '', '')", [16]byte(id), s)
		query := "FROM " + schema + ".jobs WHERE id = '" + id.String() + "'"
		if got := one[string](t, pool, "SELECT state "+query); got != storage.State(s).String() {
			t.Errorf("state %d: got %s, want %v", s, got, storage.State(s))
		}
		comment := one[string](t, pool, "SELECT col_description($1::regclass, 5)", schema+".job")
		if want := string(rune('0'+s)) + " " + storage.State(s).String(); !strings.Contains(comment, want) {
			t.Errorf("the comment of the column lacks %q: %s", want, comment)
		}
	}
}

func TestWantFailsWithACodeOfItsOwn(t *testing.T) {
	pool := pgtest.Pool(t)
	schema := made(t, pool)
	for _, c := range []struct {
		args string
		ok   bool
	}{{"1, 1", true}, {"1, 2", false}, {"NULL, 2", false}, {"-9223372036854775808, 9223372036854775807", false}} {
		_, err := pool.Exec(t.Context(), "SELECT "+schema+".want("+c.args+")")
		if (err == nil) != c.ok || !c.ok && !strings.Contains(err.Error(), "SQLSTATE PK001") {
			t.Errorf("want(%s): got %v", c.args, err)
		}
	}
}

func TestTheClockRunsWithinAStatement(t *testing.T) {
	pool := pgtest.Pool(t)
	schema := made(t, pool)
	if !one[bool](t, pool, "SELECT "+schema+".clock() > now()") {
		t.Error("the clock stands while a transaction lasts")
	}
}

func TestServersThatAreNotForUs(t *testing.T) {
	for _, c := range []struct {
		version  string
		number   int
		encoding string
		says     string
	}{
		{"12.22", 120022, "UTF8", "has PostgreSQL 12.22: it has to be 13 or later"},
		{"16.1", 160001, "SQL_ASCII", `"db" has the encoding SQL_ASCII: it has to be UTF8 (CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0)`},
		{"16.1", 160001, "LATIN1", "LATIN1"},
		{"13.0", 130000, "UTF8", ""},
	} {
		err := suits("db", c.version, c.number, c.encoding)
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("PostgreSQL %s, %s: got %v, want %q", c.version, c.encoding, err, c.says)
		}
	}
}

func TestADatabaseOfAnotherEncodingIsRefused(t *testing.T) {
	pool := pgtest.Pool(t)
	name := pgtest.Schema(t)
	must(t, pool, "CREATE DATABASE "+name+" ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
	t.Cleanup(func() {
		if _, err := pool.Exec(context.Background(), "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Error(err)
		}
	})
	other := pgtest.Connect(t, pgtest.DSN(t)+" dbname="+name)
	for _, err := range []error{Migrate(t.Context(), other, nil), open(t, other, Options{Schema: "pollack"})} {
		if err == nil || !strings.Contains(err.Error(), "encoding SQL_ASCII") {
			t.Errorf("got %v, want an error that names the encoding", err)
		}
	}
	if got := things(t, other, "pollack"); got != "" {
		t.Errorf("it made %s", got)
	}
}
