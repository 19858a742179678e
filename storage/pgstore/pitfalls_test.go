package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/memstore"
	"github.com/pollackq/pollack/storage/pgstore"
	"github.com/pollackq/pollack/storage/pgstore/internal/pgtest"
	"github.com/pollackq/pollack/storage/storagetest"
)

// odd are settings of a database that must make no difference.
var odd = []string{
	"default_transaction_isolation = 'serializable'", "default_transaction_read_only = on", "default_transaction_deferrable = on",
	"search_path = evil, pg_catalog",
	"standard_conforming_strings = off", "bytea_output = 'escape'", "client_encoding = 'LATIN1'", "array_nulls = off", "extra_float_digits = -10",
	"datestyle = 'German, DMY'", "timezone = 'Asia/Kathmandu'", "intervalstyle = 'sql_standard'",
	"enable_indexscan = off", "enable_nestloop = off", "statement_timeout = '200ms'", "lock_timeout = '1ms'", "idle_in_transaction_session_timeout = '200ms'",
}

// evil shadows what the statements use of PostgreSQL's own.
const evil = `CREATE SCHEMA evil;
	CREATE FUNCTION evil.no() RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''evil''; END';
	CREATE FUNCTION evil.same(uuid, uuid) RETURNS boolean LANGUAGE sql AS 'SELECT evil.no()';
	CREATE FUNCTION evil.same(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT evil.no()';
	CREATE FUNCTION evil.same(integer, integer) RETURNS boolean LANGUAGE sql AS 'SELECT evil.no()';
	CREATE OPERATOR evil.= (FUNCTION = evil.same, LEFTARG = uuid, RIGHTARG = uuid);
	CREATE OPERATOR evil.= (FUNCTION = evil.same, LEFTARG = text, RIGHTARG = text);
	CREATE OPERATOR evil.= (FUNCTION = evil.same, LEFTARG = integer, RIGHTARG = integer);
	CREATE FUNCTION evil.hashtext(text) RETURNS integer LANGUAGE sql AS 'SELECT evil.no()::integer';
	CREATE FUNCTION evil.octet_length(bytea) RETURNS integer LANGUAGE sql AS 'SELECT evil.no()::integer';
	CREATE FUNCTION evil.pg_notify(text, text) RETURNS void LANGUAGE sql AS 'SELECT evil.no()';
	CREATE FUNCTION evil.unnest(uuid[]) RETURNS SETOF uuid LANGUAGE sql AS 'SELECT null::uuid WHERE evil.no()';
	CREATE DOMAIN evil.uuid AS text; CREATE DOMAIN evil.bytea AS text; CREATE DOMAIN evil.timestamptz AS text;`

// Whatever has been set for a server, database or role, and however the user's pool sends its statements: a store does the same.
func TestSettingsOfTheDatabaseMakeNoDifference(t *testing.T) {
	for _, mode := range execModes {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			dsn := pgtest.DSN(t)
			pool := pgtest.Connect(t, dsn+" default_query_exec_mode="+mode) // has a connection from before the settings, for the schema
			sql(t, dsn, evil)
			database := pgx.Identifier{answer[string](t, dsn, "SELECT current_database()::text")}.Sanitize()
			conn, err := pgx.Connect(within(t), dsn)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close(context.Background())
			for _, setting := range odd {
				if _, err := conn.Exec(within(t), "ALTER DATABASE "+database+" SET "+setting); err != nil {
					t.Fatal(err)
				}
			}
			for seed := range uint64(2) {
				s, err := pgstore.New(within(t), pool, &pgstore.Options{Schema: pgtest.Schema(t)})
				if err != nil {
					t.Fatal(err)
				}
				storagetest.Compare(t, memstore.New(nil), s, seed, 60)
				if err := s.Check(within(t)); err != nil {
					t.Error(err)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
			n := nodeOf(t, pool, nil)
			j := job(mail, "Zoë, 鍵, \\ and ' too")
			j.Due = time.Date(2027, 3, 4, 5, 6, 7, 89000, time.UTC)
			if err := n.add(within(t), j); err != nil {
				t.Fatal(err)
			}
			var next, now time.Time
			if err := n.View(within(t), storage.Reads{}, func(r storage.Reader) error {
				now = r.Now()
				next, err = r.NextDue()
				if got, err := r.JobByKey(j.KeyOf()); err != nil || got.ID != j.ID {
					t.Errorf("by its key: got %v, %v", got, err)
				}
				return err
			}); err != nil || !next.Equal(j.Due) {
				t.Errorf("got %v, %v, want %v", next, err, j.Due)
			}
			if off := time.Since(now); off > time.Minute || off < -time.Minute {
				t.Errorf("its clock says %v, off by %v", now, off)
			}
			var of string
			if _, err := conn.Exec(within(t), "SET search_path = pg_catalog"); err != nil {
				t.Fatal(err)
			}
			if err := conn.QueryRow(within(t), "SELECT extract(epoch from due)::text FROM pollack.job WHERE due IS NOT NULL").Scan(&of); err != nil || of != "1804136767.000089" {
				t.Errorf("in the table: got %s, %v", of, err)
			}
		})
	}
}

// Behind a pooler that gives a connection to another client after each transaction.
func TestBehindAPooler(t *testing.T) {
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		if program = "/usr/sbin/pgbouncer"; !exists(program) {
			t.Skip("there is no pgbouncer")
		}
	}
	t.Parallel()
	dsn := pgtest.DSN(t)
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "pooler-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	port := freePort(t)
	ini := fmt.Sprintf("[databases]\n* = host=%s port=%d user=%s\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %d\nunix_socket_dir =\nauth_type = any\n"+
		"pool_mode = transaction\ndefault_pool_size = 6\nmax_client_conn = 100\nignore_startup_parameters = extra_float_digits\n", config.Host, config.Port, config.User, port)
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "ini"), []byte(ini), 0o644), os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	args := []string{"-q", filepath.Join(dir, "ini")}
	if os.Geteuid() == 0 {
		args = append([]string{"-u", "postgres"}, args...)
	}
	cmd := exec.Command(program, args...)
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	through := fmt.Sprintf("host=127.0.0.1 port=%d user=%s dbname=%s sslmode=disable", port, config.User, config.Database)
	for end := time.Now().Add(long); ; time.Sleep(time.Millisecond) {
		conn, err := pgx.Connect(within(t), through+" default_query_exec_mode=exec")
		if err == nil {
			conn.Close(context.Background())
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%v\n%s", err, said.String())
		}
	}
	for _, mode := range []string{"exec", "cache_describe"} {
		pool := pgtest.Connect(t, through+" default_query_exec_mode="+mode)
		for seed := range uint64(3) {
			s, err := pgstore.New(within(t), pool, &pgstore.Options{Schema: pgtest.Schema(t), NoListen: true})
			if err != nil {
				t.Fatal(err)
			}
			storagetest.Compare(t, memstore.New(nil), s, seed, 60)
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		n := nodeOf(t, pool, &pgstore.Options{NoListen: true, LockTimeout: shortLock})
		id := n.mustAdd(mail, "")
		if err := n.touch(within(t), id); err != nil { // it is known how to send that now
			t.Fatal(err)
		}
		release := hold(t, dsn, "LOCK TABLE pollack.job")
		busy(t, "a change of a locked table", func() error { return n.touch(within(t), id) })
		release()
		// What is set for us must not stay on connections that others get.
		for range 20 {
			var got string
			if err := pool.QueryRow(within(t), "SELECT current_setting('enable_seqscan') || current_setting('search_path')").Scan(&got); err != nil {
				t.Fatal(err)
			}
			if got != `on"$user", public` {
				t.Fatalf("%s: somebody else's connection has %s", mode, got)
			}
		}
		n.Close()
	}
	// A pooler of before 1.21 knows nothing of prepared statements.
	pool := pgtest.Connect(t, through+" default_query_exec_mode=exec")
	config2 := pool.Config()
	config2.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheStatement
	prepared, err := pgxpool.NewWithConfig(t.Context(), config2)
	if err != nil {
		t.Fatal(err)
	}
	defer prepared.Close()
	s, err := pgstore.New(within(t), prepared, &pgstore.Options{Schema: pgtest.Schema(t), NoListen: true})
	for i := 0; err == nil && i < 20; i++ {
		err = s.Update(within(t), storage.Reads{}, func(tx storage.Tx) error { return tx.PutQueue(&storage.Queue{QueueName: mail}) })
	}
	if s != nil {
		defer s.Close()
	}
	if err != nil && !strings.Contains(err.Error(), "default_query_exec_mode") {
		t.Errorf("got %v, want an error that says what to set", err)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func TestAHookThatSetsARole(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	newNode(t, dsn, nil).Close()
	name := pgtest.Schema(t)
	sql(t, dsn, "CREATE ROLE "+name)
	t.Cleanup(func() { sql(t, dsn, "DROP OWNED BY "+name+" CASCADE"); sql(t, dsn, "DROP ROLE "+name) })
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	config.AfterConnect = func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.Exec(ctx, "SET ROLE "+name)
		return err
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	if _, err := pgstore.New(within(t), pool, nil); err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("without rights: got %v", err)
	}
	sql(t, dsn, "GRANT USAGE ON SCHEMA pollack TO "+name)
	sql(t, dsn, "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA pollack TO "+name)
	n := nodeOf(t, pool, nil)
	if err := n.add(within(t), job(mail, "")); err != nil {
		t.Error(err)
	}
	sql(t, dsn, "REVOKE INSERT ON pollack.job FROM "+name)
	if err := n.add(within(t), job(mail, "")); err == nil || !strings.Contains(err.Error(), "permission denied for table job") {
		t.Errorf("without the right to insert: got %v", err)
	}
}

func TestASchemaThatIsDropped(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	n := newNode(t, dsn, nil)
	id := n.mustAdd(mail, "")
	sql(t, dsn, "DROP SCHEMA pollack CASCADE")
	for what, err := range map[string]error{
		"an update": n.touch(within(t), id),
		"a view":    n.View(within(t), storage.Reads{Jobs: []storage.ID{id}}, func(storage.Reader) error { return nil }),
		"a check":   n.Check(within(t)),
	} {
		if err == nil || !strings.Contains(err.Error(), "pollack") || !strings.Contains(err.Error(), "does not exist") {
			t.Errorf("%s: got %v, want an error that names what is missing", what, err)
		}
	}
	again := newNode(t, dsn, nil) // makes it again
	if err := again.add(within(t), job(mail, "")); err != nil {
		t.Error(err)
	}
	if err := n.add(within(t), job(mail, "")); err != nil {
		t.Errorf("the node that has seen it go: %v", err)
	}
}

func TestDamagedRows(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	n := newNode(t, dsn, nil)
	bad := storage.QueueName{Name: "bad"}
	n.queue(bad)
	inBad := n.mustAdd(bad, "")
	pgid := func(id storage.ID) pgtype.UUID { return pgtype.UUID{Bytes: id, Valid: true} }
	add := func(key string, due time.Time) storage.ID {
		j := job(mail, key)
		j.Due = due
		if err := n.add(within(t), j); err != nil {
			t.Fatal(err)
		}
		return j.ID
	}
	past := time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
	spec, status := add("spec", past), add("status", past)
	good := add("good", past.Add(time.Minute))
	sql(t, dsn, "UPDATE pollack.job SET spec = substr(spec, 1, 10) WHERE id = $1", pgid(spec))
	sql(t, dsn, "UPDATE pollack.job SET status = substr(status, 1, 3) WHERE id = $1", pgid(status))

	for _, id := range []storage.ID{spec, status} {
		err := n.Update(within(t), storage.Reads{Jobs: []storage.ID{id, good}}, func(tx storage.Tx) error {
			if _, err := tx.Job(id); !errors.Is(err, storage.ErrCorrupt) {
				t.Errorf("got %v, want ErrCorrupt", err)
			}
			if err := tx.DeleteJob(&storage.Job{Spec: &storage.Spec{ID: id}}); !errors.Is(err, storage.ErrCorrupt) {
				t.Errorf("its deletion: got %v, want ErrCorrupt", err)
			}
			if _, err := tx.AddJob(&storage.Job{Spec: &storage.Spec{ID: id, Queue: mail}, Status: storage.Status{State: storage.Pending, Version: 1}}, nil); !errors.Is(err, storage.ErrExists) {
				t.Errorf("another of its id: got %v, want ErrExists", err)
			}
			j, err := tx.Job(good)
			if err != nil {
				return err
			}
			s := j.Status
			s.Version++
			return tx.SetJob(j.With(s))
		})
		if err != nil {
			t.Errorf("the transaction is spoiled: %v", err)
		}
	}
	for _, key := range []string{"spec", "status"} {
		k := storage.Key{Queue: mail, Name: key}
		if err := n.View(within(t), storage.Reads{Keys: []storage.Key{k}}, func(r storage.Reader) error { _, err := r.JobByKey(k); return err }); !errors.Is(err, storage.ErrCorrupt) {
			t.Errorf("by its key: got %v, want ErrCorrupt", err)
		}
		if err := n.add(within(t), job(mail, key)); !errors.Is(err, storage.ErrExists) {
			t.Errorf("another of its key: got %v, want ErrExists", err)
		}
	}
	orders := func(r storage.Reader) error {
		ready, err := r.Ready(mail, 1)
		if err != nil || len(ready) != 1 || ready[0].ID != good {
			t.Errorf("Ready: got %v, %v", ready, err)
		}
		due, err := r.Due(time.Now(), 1)
		if err != nil || len(due) != 1 || due[0].ID != good {
			t.Errorf("Due: got %v, %v", due, err)
		}
		if next, err := r.NextDue(); err != nil || !next.Equal(past.Add(time.Minute)) {
			t.Errorf("NextDue: got %v, %v", next, err)
		}
		if oldest, err := r.OldestPending(mail); err != nil || oldest.IsZero() {
			t.Errorf("OldestPending: got %v, %v", oldest, err)
		}
		if jobs, _, err := r.Jobs(mail, 0, storage.ID{}, 10); err != nil || len(jobs) != 1 || jobs[0].ID != good {
			t.Errorf("Jobs: got %v, %v", jobs, err)
		}
		if c, err := r.Counts(mail); err != nil || c[storage.Pending] != 3 {
			t.Errorf("Counts: got %v, %v, want all three", c, err)
		}
		return nil
	}
	if err := n.View(within(t), storage.Reads{Queues: []storage.QueueName{mail}, Ready: 1}, orders); err != nil {
		t.Error(err)
	}
	if err := n.Update(within(t), storage.Reads{Queues: []storage.QueueName{mail}, Ready: 1}, func(tx storage.Tx) error { return orders(tx) }); err != nil {
		t.Error(err)
	}
	if err := n.Update(within(t), storage.Reads{}, func(tx storage.Tx) error { return tx.DeleteQueue(mail) }); !errors.Is(err, storage.ErrInUse) {
		t.Errorf("DeleteQueue: got %v, want ErrInUse", err)
	}

	// The record of a queue.
	sql(t, dsn, "UPDATE pollack.queue SET settings = 'x' WHERE name = 'bad'")
	errs := n.together(
		func() error {
			return n.Update(within(t), storage.Reads{Queues: []storage.QueueName{bad}}, func(tx storage.Tx) error { _, err := tx.Queue(bad); return err })
		},
		func() error { return n.add(within(t), job(bad, "")) },
		func() error { return n.add(within(t), job(mail, "")) },
		func() error { return n.touch(within(t), good) },
		func() error {
			return n.Update(within(t), storage.Reads{Queues: []storage.QueueName{bad}}, func(tx storage.Tx) error {
				return or(nil, tx.PutQueue(&storage.Queue{QueueName: bad}))
			})
		},
	)
	if !errors.Is(errs[0], storage.ErrCorrupt) || !errors.Is(errs[1], storage.ErrCorrupt) || errs[2] != nil || errs[3] != nil || !errors.Is(errs[4], storage.ErrCorrupt) {
		t.Errorf("around a damaged queue: got %v, want ErrCorrupt for the first two and the last", errs)
	}
	if err := n.View(within(t), storage.Reads{Queues: []storage.QueueName{bad, mail}}, func(r storage.Reader) error {
		if _, err := r.Queue(mail); err != nil {
			t.Errorf("the other queue: %v", err)
		}
		if list, err := r.Queues(storage.QueueName{}, 10); err != nil || len(list) != 1 || list[0].QueueName != mail {
			t.Errorf("Queues: got %v, %v", list, err)
		}
		_, err := r.Queue(bad)
		return err
	}); !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("a view of it: got %v, want ErrCorrupt", err)
	}
	if got := n.version(inBad); got != 1 {
		t.Errorf("a job of it: got version %d, want 1", got)
	}

	err := n.Check(within(t))
	for _, want := range []string{spec.String(), status.String(), `"bad"`} {
		if err == nil || !errors.Is(err, storage.ErrCorrupt) || !strings.Contains(err.Error(), want) {
			t.Errorf("Check says %v, want it to name %s", err, want)
		}
	}
	if err != nil && strings.Contains(err.Error(), good.String()) {
		t.Errorf("Check names a sound job: %v", err)
	}
}
