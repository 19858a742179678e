package pgtest_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pollackq/pollack/storage/pgstore/internal/pgtest"
)

// long is how long a test waits for what takes no time.
const long = time.Minute

// within is the time that a test gives to one call.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), long)
	t.Cleanup(cancel)
	return ctx
}

func execute(t *testing.T, pool *pgxpool.Pool, statement string) {
	t.Helper()
	if _, err := pool.Exec(within(t), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func text(t *testing.T, pool *pgxpool.Pool, query string) (s string) {
	t.Helper()
	if err := pool.QueryRow(within(t), query).Scan(&s); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return s
}

func TestEachTestHasAnEmptyDatabaseOfItsOwn(t *testing.T) {
	outer := t
	others := text(t, pgtest.Pool(t), "SELECT current_database()")
	var first string
	for _, name := range []string{"first", "second"} {
		t.Run(name, func(t *testing.T) {
			pool := pgtest.Pool(t)
			database := text(t, pool, "SELECT current_database()")
			if database == others {
				t.Errorf("got the database of another test, %s", database)
			}
			if first == "" {
				first = database
			} else if database != first {
				t.Errorf("got a new database, %s, not that of the first test: it could not be emptied", database)
			}
			if again := text(t, pgtest.Connect(t, pgtest.DSN(t)), "SELECT current_database()"); again != database {
				t.Errorf("DSN leads to %s, Pool to %s", again, database)
			}
			if n := text(t, pool, "SELECT count(*)::text FROM pg_class WHERE relname = 'left_behind'"); n != "0" {
				t.Errorf("found %s tables of another test", n)
			}
			for setting, want := range map[string]string{"work_mem": "4MB", "timezone": "Asia/Kathmandu", "server_encoding": "UTF8"} {
				if got := text(t, pool, "SHOW "+setting); got != want {
					t.Errorf("%s: got %s, want %s", setting, got, want)
				}
			}
			// What the next test is not to see. The connection that is left holds a lock.
			execute(t, pool, "ALTER DATABASE "+database+" SET work_mem = '5MB'")
			for _, schema := range []string{"public", `"Of The Test"`} {
				execute(t, pool, "CREATE SCHEMA IF NOT EXISTS "+schema)
				execute(t, pool, "CREATE TABLE "+schema+".left_behind (n int)")
			}
			left, err := pgxpool.New(within(t), pgtest.DSN(t))
			if err != nil {
				t.Fatal(err)
			}
			tx, err := left.Begin(context.WithoutCancel(t.Context()))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tx.Exec(t.Context(), "LOCK public.left_behind"); err != nil {
				t.Fatal(err)
			}
			outer.Cleanup(func() { tx.Rollback(context.Background()); left.Close() })
		})
	}
}

func TestStringsAreOrderedAsPeopleDo(t *testing.T) {
	pool := pgtest.Pool(t)
	if text(t, pool, "SELECT (current_setting('server_version_num')::int < 150000)::text") == "true" {
		t.Skip("PostgreSQL has databases with such an order since 15")
	}
	if got := text(t, pool, "SELECT string_agg(s, '' ORDER BY s) FROM unnest(ARRAY['B', 'a', 'C']) s"); got != "aBC" {
		t.Errorf("got %s, want aBC", got)
	}
}

func TestASchemaIsNobodyElses(t *testing.T) {
	a, b := pgtest.Schema(t), pgtest.Schema(t)
	if a == b || strings.ToLower(a) != a || len(a) > 40 {
		t.Errorf("got %q and %q, want two names of lower case and at most 40 bytes", a, b)
	}
}
