package pgtest

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pollackq/pollack/internal/leaks"
	"github.com/pollackq/pollack/internal/pgserver"
)

// limit is how long anything may take that takes no time. It is not what a test measures.
const limit = time.Minute

// Fast are settings for a server that need not survive the loss of power.
var Fast = map[string]string{"fsync": "off", "full_page_writes": "off"}

// shared is the server of this test process.
var shared struct {
	mu     sync.Mutex // guards what follows
	inMain bool
	temp   string // where folders of servers go: package leaks has one of its own for the tests, which the server's user may not enter
	dir    string // "" for a server that the environment names
	own    *pgserver.Server
	err    error // of its start
	tried  bool

	dsn  string
	free []string // databases that no test has
	dbs  map[testing.TB]string
}

// Main runs the tests of a package and ends the process. They may leave nothing behind (package leaks).
func Main(m *testing.M) { os.Exit(Run(m.Run)) }

// Run is Main without the end.
func Run(tests func() int) int {
	shared.inMain, shared.temp, shared.dbs = true, os.TempDir(), make(map[testing.TB]string)
	return leaks.Run(func() int {
		status := tests()
		if err := shutDown(); err != nil && status == 0 {
			os.Stderr.WriteString("pgtest: " + err.Error() + "\n")
			return 1
		}
		return status
	})
}

// DSN returns what connects to an empty database that is the test's alone. All calls in one test name the same. Its settings are such as somebody may
// have and code must not depend on: strings are ordered as people do, times are written in another zone, with the day first.
func DSN(t testing.TB) string {
	t.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	start(t)
	name, ok := shared.dbs[t]
	if !ok {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		var err error
		if name, err = take(ctx); err != nil {
			t.Fatalf("a database for the test: %v", err)
		}
		shared.dbs[t] = name
		t.Cleanup(func() { giveBack(t) })
	}
	return within(shared.dsn, name)
}

// Pool returns connections to the database of DSN. They are closed when the test ends.
func Pool(t testing.TB) *pgxpool.Pool {
	t.Helper()
	return Connect(t, DSN(t))
}

// Connect returns connections to any database, which are closed when the test ends: it has to have given them back by then.
func Connect(t testing.TB, dsn string) *pgxpool.Pool {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	pool, err := pgxpool.New(ctx, dsn)
	if err == nil {
		err = pool.Ping(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		closed := make(chan struct{})
		go func() { // ends with the last connection
			pool.Close()
			close(closed)
		}()
		select {
		case <-closed:
		case <-time.After(limit):
			t.Errorf("the test has not given %d connections back", pool.Stat().AcquiredConns())
		}
	})
	return pool
}

// Schema returns the name of a schema that nobody else has.
func Schema(t testing.TB) string { return "s_" + strings.ToLower(rand.Text()[:12]) }

// start starts the server or finds it. shared.mu is held.
func start(t testing.TB) {
	t.Helper()
	if !shared.inMain {
		t.Fatal("pgtest is for packages whose TestMain calls pgtest.Main or pgtest.Run")
	}
	if !shared.tried && !pgserver.Named() {
		shared.own, shared.dir, shared.err = startServer(Fast)
		if shared.err == nil {
			shared.dsn = shared.own.DSN()
		}
	}
	shared.tried = true
	if shared.err != nil {
		without(t, shared.err)
	}
}

// startServer starts a server in a folder of its own.
func startServer(settings map[string]string) (s *pgserver.Server, dir string, err error) {
	if dir, err = os.MkdirTemp(shared.temp, "pgtest-"); err != nil {
		return nil, "", err
	}
	if s, err = pgserver.Start(dir, settings); err != nil {
		return nil, "", errors.Join(err, os.RemoveAll(dir))
	}
	return s, dir, nil
}

// without ends a test that has no server.
func without(t testing.TB, err error) {
	t.Helper()
	if errors.Is(err, pgserver.ErrNone) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	t.Fatal(err)
}

// shutDown ends what start has started. The databases on a server that the environment names are dropped.
func shutDown() error {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.own != nil {
		return errors.Join(shared.own.Stop(), os.RemoveAll(shared.dir))
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	for _, name := range shared.free {
		if err := execute(ctx, shared.dsn, "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			return err
		}
	}
	return nil
}

// take returns a database: one that a test has given back, or a new one, which takes longer. shared.mu is held.
func take(ctx context.Context) (string, error) {
	if last := len(shared.free) - 1; last >= 0 {
		name := shared.free[last]
		shared.free = shared.free[:last]
		return name, nil
	}
	name := "pollack_test_" + strings.ToLower(rand.Text()[:12])
	create := "CREATE DATABASE " + name + " ENCODING 'UTF8' TEMPLATE template0"
	err := execute(ctx, shared.dsn, create+" LOCALE_PROVIDER icu ICU_LOCALE 'und'")
	if err != nil { // before PostgreSQL 15, or without ICU
		err = execute(ctx, shared.dsn, create)
	}
	if err == nil {
		err = configure(ctx, name)
	}
	return name, err
}

// configure gives a database the settings that DSN speaks of.
func configure(ctx context.Context, name string) error {
	return execute(ctx, shared.dsn,
		"ALTER DATABASE "+name+" RESET ALL",
		"ALTER DATABASE "+name+" SET timezone = 'Asia/Kathmandu'",
		"ALTER DATABASE "+name+" SET datestyle = 'SQL, DMY'")
}

// giveBack empties the database of a test for the next one. One that cannot be emptied is dropped.
func giveBack(t testing.TB) {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	name := shared.dbs[t]
	delete(shared.dbs, t)
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	err := clean(ctx, name)
	if err == nil {
		shared.free = append(shared.free, name)
		return
	}
	t.Logf("database %s: %v", name, err)
	if err := execute(ctx, shared.dsn, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)"); err != nil {
		t.Errorf("database %s: %v", name, err)
	}
}

// clean cuts off whoever is still connected to a database, and drops everything in it.
func clean(ctx context.Context, name string) error {
	if err := configure(ctx, name); err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, within(shared.dsn, name))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"); err != nil {
		return err
	}
	rows, err := conn.Query(ctx, `SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'`)
	if err != nil {
		return err
	}
	schemas, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, schema := range schemas {
		// Who has just been cut off may still hold locks for a moment: this waits for them.
		if _, err := conn.Exec(ctx, "DROP SCHEMA "+pgx.Identifier{schema}.Sanitize()+" CASCADE"); err != nil {
			return err
		}
	}
	_, err = conn.Exec(ctx, "CREATE SCHEMA public")
	return err
}

// execute runs statements one by one.
func execute(ctx context.Context, dsn string, statements ...string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for _, s := range statements {
		if _, err := conn.Exec(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// within is a dsn with another database; what comes last counts.
func within(dsn, database string) string { return dsn + " dbname=" + database }
