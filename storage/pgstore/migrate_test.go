package pgstore

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/pgstore/internal/pgtest"
)

// planned are migrations of texts, each with the oldest code that can work with it. They stand for later ones of ours.
func planned(t *testing.T, oldest []int, texts ...string) []migration {
	t.Helper()
	all, err := embedded()
	if err != nil {
		t.Fatal(err)
	}
	all = all[:1:1]
	for i, text := range texts {
		all = append(all, migration{version: i + 2, oldest: oldest[i], name: "000" + string(rune('2'+i)) + "_planned", sql: text})
	}
	return all
}

// migrateTo applies migrations to a schema.
func migrateTo(t *testing.T, pool *pgxpool.Pool, schema string, all []migration) error {
	t.Helper()
	return pool.AcquireFunc(t.Context(), func(c *pgxpool.Conn) error { return migrate(t.Context(), c.Conn(), schema, all) })
}

// must runs a statement.
func must(t *testing.T, pool *pgxpool.Pool, statement string, args ...any) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), statement, args...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// one returns the one value that a query has.
func one[T any](t *testing.T, pool *pgxpool.Pool, query string, args ...any) (value T) {
	t.Helper()
	if err := pool.QueryRow(t.Context(), query, args...).Scan(&value); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return value
}

// things are all that is in a schema.
func things(t *testing.T, pool *pgxpool.Pool, schema string) string {
	t.Helper()
	return one[string](t, pool, `SELECT coalesce(string_agg(what, ' ' ORDER BY what), '') FROM (
		SELECT relname::text AS what FROM pg_class WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1) UNION ALL
		SELECT proname || '()' FROM pg_proc WHERE pronamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1) UNION ALL
		SELECT '[schema]' FROM pg_namespace WHERE nspname = $1) AS t`, schema)
}

func TestAnyNumberOfProcessesMigrateAtOnce(t *testing.T) {
	pool := pgtest.Pool(t)
	// Whoever has waited for the lock has to see what was done meanwhile, and not to give up, whatever the database's defaults are.
	database := pgx.Identifier{one[string](t, pool, "SELECT current_database()")}.Sanitize()
	for _, setting := range []string{
		"default_transaction_isolation = 'serializable'", "search_path = 'nowhere'", "lock_timeout = '1ms'", "default_transaction_read_only = on",
	} {
		must(t, pool, "ALTER DATABASE "+database+" SET "+setting)
	}
	const nodes = 10
	var pools []*pgxpool.Pool
	for range nodes {
		pools = append(pools, pgtest.Connect(t, pgtest.DSN(t)))
	}
	for range 5 {
		options := &Options{Schema: pgtest.Schema(t)}
		errs := make(chan error, nodes)
		var all sync.WaitGroup
		for _, p := range pools {
			all.Go(func() { errs <- Migrate(t.Context(), p, options) })
		}
		all.Wait()
		for range nodes {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		if n := one[int](t, pool, "SELECT count(*) FROM "+quoted(options.Schema)+".migration"); n != 1 {
			t.Errorf("got %d migrations, want 1", n)
		}
	}
}

func TestLimitsThatAreMeantForQueriesDoNotEndAMigration(t *testing.T) {
	pool, schema := pgtest.Pool(t), pgtest.Schema(t)
	database := quoted(one[string](t, pool, "SELECT current_database()"))
	limits := []string{"statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"}
	check := ""
	for _, limit := range limits {
		must(t, pool, "ALTER DATABASE "+database+" SET "+limit+" = '1h'")
		check += "SELECT 1 / (current_setting('" + limit + "') = '0')::integer;"
	}
	limited := pgtest.Connect(t, pgtest.DSN(t))
	if got := one[string](t, limited, "SHOW statement_timeout"); got != "1h" {
		t.Fatalf("got a limit of %s", got)
	}
	if err := migrateTo(t, limited, schema, planned(t, []int{1}, check)); err != nil {
		t.Error(err)
	}
}

func TestAnyNumberOfNodesOpenAnEmptyDatabaseAtOnce(t *testing.T) {
	const nodes = 10
	options := &Options{Schema: pgtest.Schema(t)}
	stores, errs := make([]*Store, nodes), make([]error, nodes)
	var all sync.WaitGroup
	for i := range nodes {
		pool := pgtest.Pool(t)
		all.Go(func() { stores[i], errs[i] = New(t.Context(), pool, options) })
	}
	all.Wait()
	for i, s := range stores {
		if errs[i] != nil {
			t.Error(errs[i])
			continue
		}
		err := s.Update(t.Context(), storage.Reads{}, func(tx storage.Tx) error {
			return tx.PutQueue(&storage.Queue{QueueName: storage.QueueName{Name: "q" + string(rune('0'+i))}})
		})
		if err != nil {
			t.Errorf("node %d: %v", i, err)
		}
	}
	for i, s := range stores {
		if errs[i] != nil {
			continue
		}
		err := s.View(t.Context(), storage.Reads{}, func(r storage.Reader) error {
			queues, err := r.Queues(storage.QueueName{}, 2*nodes)
			if err == nil && len(queues) != nodes {
				t.Errorf("node %d sees %d queues, want %d", i, len(queues), nodes)
			}
			return err
		})
		if err != nil {
			t.Errorf("node %d: %v", i, err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("node %d: %v", i, err)
		}
	}
}

func TestAMigrationThatFailsLeavesNothing(t *testing.T) {
	pool := pgtest.Pool(t)
	t.Run("the first", func(t *testing.T) {
		schema := pgtest.Schema(t)
		all := planned(t, nil)
		all[0].sql += "SELECT 1 / 0;"
		err := migrateTo(t, pool, schema, all)
		if err == nil || !strings.Contains(err.Error(), "migration 0001_begin") || !strings.Contains(err.Error(), "division by zero") {
			t.Errorf("got %v, want an error that says which migration, and why", err)
		}
		if got := things(t, pool, schema); got != "" {
			t.Errorf("it left %s", got)
		}
	})
	t.Run("a later one", func(t *testing.T) {
		schema := pgtest.Schema(t)
		const good, bad, last = "CREATE TABLE {schema}.two ();", "CREATE TABLE {schema}.three (); CREATE TABLE {schema}.two ();", "CREATE TABLE {schema}.four ();"
		if err := migrateTo(t, pool, schema, planned(t, []int{1}, good)); err != nil {
			t.Fatal(err)
		}
		before := things(t, pool, schema)
		err := migrateTo(t, pool, schema, planned(t, []int{1, 1, 1}, good, bad, last))
		if err == nil || !strings.Contains(err.Error(), "migration 0003_planned") {
			t.Errorf("got %v, want an error that names migration 0003_planned", err)
		}
		if after := things(t, pool, schema); after != before {
			t.Errorf("it left %s, where there was %s", after, before)
		}
		if n := one[int](t, pool, "SELECT max(version) FROM "+schema+".migration"); n != 2 {
			t.Errorf("got version %d, want 2", n)
		}
		if err := migrateTo(t, pool, schema, planned(t, []int{1, 1, 1}, good, "CREATE TABLE {schema}.three ();", last)); err != nil {
			t.Errorf("another try: %v", err)
		}
		if n := one[int](t, pool, "SELECT max(version) FROM "+schema+".migration"); n != 4 {
			t.Errorf("got version %d, want 4", n)
		}
	})
}

func TestWhatElseIsInASchemaStaysAsItIs(t *testing.T) {
	pool, schema := pgtest.Pool(t), pgtest.Schema(t)
	must(t, pool, "CREATE SCHEMA "+schema)
	must(t, pool, "CREATE TABLE "+schema+".orders AS SELECT 7 AS n")
	if err := Migrate(t.Context(), pool, &Options{Schema: schema}); err != nil {
		t.Fatal(err)
	}
	if n := one[int](t, pool, "SELECT n FROM "+schema+".orders"); n != 7 {
		t.Errorf("got %d, want 7", n)
	}
	// Where that has a name of ours, nothing comes beside it.
	schema = pgtest.Schema(t)
	must(t, pool, "CREATE SCHEMA "+schema)
	must(t, pool, "CREATE TABLE "+schema+".job AS SELECT 7 AS n")
	if err := Migrate(t.Context(), pool, &Options{Schema: schema}); err == nil || !strings.Contains(err.Error(), `"job" already exists`) {
		t.Errorf("got %v, want an error that names the table", err)
	}
	if got := things(t, pool, schema); got != "[schema] job" {
		t.Errorf("got %s, want the table job alone", got)
	}
}

func TestAMigrationMeansPostgreSQLsOwnNames(t *testing.T) {
	pool := pgtest.Pool(t)
	must(t, pool, "CREATE DOMAIN public.uuid AS text")
	must(t, pool, "ALTER DATABASE "+quoted(one[string](t, pool, "SELECT current_database()"))+" SET search_path = public, pg_catalog")
	schema := pgtest.Schema(t)
	if err := Migrate(t.Context(), pgtest.Connect(t, pgtest.DSN(t)), &Options{Schema: schema}); err != nil {
		t.Fatal(err)
	}
	if got := one[string](t, pool, "SELECT data_type FROM information_schema.columns WHERE table_schema = $1 AND table_name = 'job' AND column_name = 'id' AND domain_name IS NULL", schema); got != "uuid" {
		t.Errorf("got an id of type %s", got)
	}
}

func TestMigrateEndsWithItsContext(t *testing.T) {
	pool, schema := pgtest.Pool(t), pgtest.Schema(t)
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.Background())
	if _, err := tx.Exec(t.Context(), "SELECT pg_advisory_xact_lock($1)", lockKey(schema)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- Migrate(ctx, pool, &Options{Schema: schema}) }()
	for one[int](t, pool, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())") == 0 {
		select {
		case err := <-ended:
			t.Fatalf("it did not wait for the lock: %v", err)
		default:
		}
	}
	cancel()
	if err := <-ended; err != context.Canceled {
		t.Errorf("got %v, want the context's error as it is", err)
	}
}

func TestTheFilesOfMigrationsAreChecked(t *testing.T) {
	const good = "-- oldest: 1\nSELECT 1;"
	for name, files := range map[string]map[string]string{
		"none":                    {},
		"a gap":                   {"0001_a.sql": good, "0003_c.sql": good},
		"two of one version":      {"0001_a.sql": good, "0001_b.sql": good},
		"no number":               {"begin.sql": good},
		"no oldest":               {"0001_a.sql": "SELECT 1;"},
		"an oldest later than it": {"0001_a.sql": "-- oldest: 2\n"},
		"an oldest before all":    {"0001_a.sql": "-- oldest: 0\n"},
		"an oldest of no number":  {"0001_a.sql": "-- oldest: one\n"},
	} {
		fsys := fstest.MapFS{}
		for file, text := range files {
			fsys["migrations/"+file] = &fstest.MapFile{Data: []byte(text)}
		}
		if all, err := readMigrations(fsys); err == nil {
			t.Errorf("%s: got %v", name, all)
		}
	}
	all, err := readMigrations(fstest.MapFS{"migrations/0001_a.sql": {Data: []byte(good)}, "migrations/0002_b.sql": {Data: []byte("-- oldest: 2\n")}})
	if err != nil || len(all) != 2 || all[1].version != 2 || all[1].oldest != 2 || all[1].name != "0002_b" {
		t.Errorf("got %+v, %v", all, err)
	}
}

func TestMigrateSaysWhatOptionsAreWrong(t *testing.T) {
	if err := Migrate(t.Context(), nil, &Options{Schema: `x"; DROP SCHEMA public`}); err == nil || errors.Is(err, pgx.ErrNoRows) {
		t.Errorf("got %v, want an error about the name", err)
	}
}
