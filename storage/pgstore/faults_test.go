package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/pgstore"
	"github.com/pollackq/pollack/storage/pgstore/internal/pgtest"
)

// long is how long anything may take that takes no time. It is not what a test measures.
const long = time.Minute

func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), long)
	t.Cleanup(cancel)
	return ctx
}

var mail = storage.QueueName{Name: "mail"}

// A node is a store in the schema pollack of a database, and what the tests of this package do with it.
type node struct {
	*pgstore.Store
	t testing.TB
}

// newNode opens a store, with the queue mail, which is closed with the test.
func newNode(t testing.TB, dsn string, o *pgstore.Options) node {
	t.Helper()
	return nodeOf(t, pgtest.Connect(t, dsn), o)
}

func nodeOf(t testing.TB, pool *pgxpool.Pool, o *pgstore.Options) node {
	t.Helper()
	s, err := pgstore.New(within(t), pool, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	n := node{s, t}
	n.queue(mail)
	return n
}

// queue makes a queue if it is not there.
func (n node) queue(q storage.QueueName) {
	n.t.Helper()
	err := n.Update(within(n.t), storage.Reads{Queues: []storage.QueueName{q}}, func(tx storage.Tx) error {
		if _, err := tx.Queue(q); !errors.Is(err, storage.ErrNotFound) {
			return err
		}
		return tx.PutQueue(&storage.Queue{QueueName: q})
	})
	if err != nil {
		n.t.Fatalf("a new queue: %v", err)
	}
}

// job returns a pending job that is nowhere yet.
func job(q storage.QueueName, key string) *storage.Job {
	now := time.Now().UTC().Truncate(time.Microsecond)
	return &storage.Job{
		Spec:   &storage.Spec{ID: storage.NewID(now), Queue: q, Account: q.Account, Key: key, Created: now},
		Status: storage.Status{State: storage.Pending, Version: 1},
	}
}

// add enqueues a job.
func (n node) add(ctx context.Context, j *storage.Job) error {
	return n.Update(ctx, storage.Reads{Queues: []storage.QueueName{j.Queue}}, func(tx storage.Tx) error {
		_, err := tx.AddJob(&storage.Job{Spec: new(*j.Spec), Status: j.Status}, []byte("to whom it may concern"))
		return err
	})
}

func (n node) mustAdd(q storage.QueueName, key string) storage.ID {
	n.t.Helper()
	j := job(q, key)
	if err := n.add(within(n.t), j); err != nil {
		n.t.Fatalf("a new job: %v", err)
	}
	return j.ID
}

// touch gives a job a new version.
func (n node) touch(ctx context.Context, id storage.ID) error {
	return n.Update(ctx, storage.Reads{Jobs: []storage.ID{id}}, func(tx storage.Tx) error {
		j, err := tx.Job(id)
		if err != nil {
			return err
		}
		s := j.Status
		s.Version++
		return tx.SetJob(j.With(s))
	})
}

// version returns the version of a job, 0 if it is not there.
func (n node) version(id storage.ID) (version uint64) {
	n.t.Helper()
	err := n.View(within(n.t), storage.Reads{Jobs: []storage.ID{id}}, func(r storage.Reader) error {
		version = 0
		j, err := r.Job(id)
		if err == nil {
			version = j.Version
		} else if errors.Is(err, storage.ErrNotFound) {
			err = nil
		}
		return err
	})
	if err != nil {
		n.t.Fatalf("job %v: %v", id, err)
	}
	return version
}

// together calls each function so that all of them share one transaction, and returns their errors.
func (n node) together(fns ...func() error) []error {
	n.t.Helper()
	inside, free := make(chan struct{}), make(chan struct{})
	var once sync.Once
	first := make(chan error, 1)
	go func() {
		first <- n.Update(within(n.t), storage.Reads{}, func(storage.Tx) error {
			once.Do(func() { close(inside) })
			<-free
			return nil
		})
	}()
	<-inside // the lane is busy now: who calls waits
	errs := make([]error, len(fns))
	var all sync.WaitGroup
	for i, fn := range fns {
		all.Go(func() { errs[i] = fn() })
	}
	for end := time.Now().Add(long); n.Waiting() < len(fns); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			n.t.Error("not all of them call Update")
			break
		}
	}
	close(free)
	all.Wait()
	if err := <-first; err != nil {
		n.t.Errorf("the one before: %v", err)
	}
	return errs
}

// sql runs a statement on a connection that is nobody else's.
func sql(t testing.TB, dsn, statement string, args ...any) {
	t.Helper()
	conn, err := pgx.Connect(within(t), dsn)
	if err == nil {
		defer conn.Close(context.Background())
		_, err = conn.Exec(within(t), statement, args...)
	}
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// answer returns the one value that a query has.
func answer[T any](t testing.TB, dsn, query string, args ...any) (value T) {
	t.Helper()
	conn, err := pgx.Connect(within(t), dsn)
	if err == nil {
		defer conn.Close(context.Background())
		err = conn.QueryRow(within(t), query, args...).Scan(&value)
	}
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return value
}

func TestACommitWhoseConnectionIsLost(t *testing.T) {
	for _, c := range []struct {
		when    string
		cut     func(p *pgtest.Proxy) <-chan struct{}
		happens bool
	}{
		{"on the way to the server", func(p *pgtest.Proxy) <-chan struct{} { return p.CutAtRequest("the-key") }, false},
		{"on the way back", func(p *pgtest.Proxy) <-chan struct{} { return p.CutAtAnswer("COMMIT") }, true},
	} {
		for _, mode := range execModes {
			t.Run(c.when+", "+mode, func(t *testing.T) {
				t.Parallel()
				p := pgtest.NewProxy(t, pgtest.DSN(t))
				n := newNode(t, p.DSN()+" default_query_exec_mode="+mode, nil)
				old := n.mustAdd(mail, "")
				n.mustAdd(mail, "some-key") // all statements are prepared now
				j := job(mail, "the-key")
				var cut <-chan struct{}
				var runs, writes int
				errs := n.together(
					func() error { return n.add(within(t), j) },
					func() error { // reads only
						return n.Update(within(t), storage.Reads{Jobs: []storage.ID{old}}, func(tx storage.Tx) error {
							runs++
							if cut == nil {
								cut = c.cut(p)
							}
							_, err := tx.Job(old)
							return err
						})
					},
					func() error { // fails
						return n.Update(within(t), storage.Reads{Jobs: []storage.ID{old}}, func(tx storage.Tx) error {
							writes++
							if _, err := tx.AddJob(job(mail, ""), nil); err != nil {
								return err
							}
							return errPlanned
						})
					},
				)
				<-cut
				if !errors.Is(errs[0], storage.ErrOutcomeUnknown) {
					t.Errorf("who wrote got %v, want ErrOutcomeUnknown", errs[0])
				}
				if errs[1] != nil || runs < 2 {
					t.Errorf("who only read got %v after %d runs, want nil and another run", errs[1], runs)
				}
				if !errors.Is(errs[2], errPlanned) || writes < 2 {
					t.Errorf("who failed got %v after %d runs, want its own error and another run", errs[2], writes)
				}
				if there := n.version(j.ID) > 0; there != c.happens {
					t.Errorf("the job is there: %v, want %v", there, c.happens)
				}
				if err := n.Check(within(t)); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// execModes are pgx's ways to send a statement.
var execModes = []string{"cache_statement", "cache_describe", "describe_exec", "exec", "simple_protocol"}

// What a node remembers it changes in one trip, without a word about a transaction.
func TestAChangeInOneTripWhoseConnectionIsLost(t *testing.T) {
	for _, mode := range execModes {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			p := pgtest.NewProxy(t, pgtest.DSN(t))
			n := newNode(t, p.DSN()+" default_query_exec_mode="+mode, nil)
			for range 3 {
				n.mustAdd(mail, "")
			}
			j := job(mail, "the-key")
			cut := p.CutAtAnswer("INSERT 0 1")
			if err := n.add(within(t), j); !errors.Is(err, storage.ErrOutcomeUnknown) {
				t.Errorf("lost on the way back: got %v, want ErrOutcomeUnknown", err)
			}
			<-cut
			if n.version(j.ID) != 1 {
				t.Error("lost on the way back: it has not happened")
			}
			n.mustAdd(mail, "")
			j = job(mail, "another-key")
			cut = p.CutAtRequest("another-key")
			if err := n.add(within(t), j); !errors.Is(err, storage.ErrOutcomeUnknown) {
				t.Errorf("lost on the way to the server: got %v, want ErrOutcomeUnknown", err)
			}
			<-cut
			if n.version(j.ID) != 0 {
				t.Error("lost on the way to the server: it has happened")
			}
			n.mustAdd(mail, "")
			if got := n.counts(mail)[storage.Pending]; got != 6 {
				t.Errorf("got %d jobs, want 6", got)
			}
		})
	}
}

var errPlanned = errors.New("planned")

func TestWhatCertainlyDidNotHappenIsRunAgain(t *testing.T) {
	t.Parallel()
	p := pgtest.NewProxy(t, pgtest.DSN(t))
	n := newNode(t, p.DSN(), nil)
	old := n.mustAdd(mail, "")
	for name, drop := range map[string]func(){
		"before the function reads": p.Drop,
		"connections are refused for a while": func() {
			p.Cut()
			time.AfterFunc(50*time.Millisecond, p.Heal)
		},
	} {
		runs := 0
		err := n.Update(within(t), storage.Reads{}, func(tx storage.Tx) error {
			if runs++; runs == 1 {
				drop()
			}
			j, err := tx.Job(old)
			if err != nil {
				return err
			}
			s := j.Status
			s.Version++
			return tx.SetJob(j.With(s))
		})
		if err != nil || runs != 2 {
			t.Errorf("%s: got %v after %d runs, want nil after 2", name, err, runs)
		}
		if err := n.View(within(t), storage.Reads{}, func(r storage.Reader) error {
			if runs++; runs == 3 {
				drop()
			}
			_, err := r.Job(old)
			return err
		}); err != nil {
			t.Errorf("%s: a view got %v", name, err)
		}
	}
	if got := n.version(old); got != 3 {
		t.Errorf("the job has version %d, want 3", got)
	}
	if n.Stats().Reruns < 4 {
		t.Errorf("got %d reruns, want 4", n.Stats().Reruns)
	}
}

// A ledger is what callers were told.
type ledger struct {
	mu             sync.Mutex
	happened, may  []storage.ID // nil; ErrOutcomeUnknown
	not            []storage.ID // another error
	last           error
	tried, success atomic.Int64
}

// load has callers enqueue until stop is called, which returns what they were told. A caller waits a second at most.
func (n node) load(callers int) (l *ledger, stop func()) {
	l = &ledger{}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for ctx.Err() == nil {
				j := job(mail, "")
				short, end := context.WithTimeout(context.Background(), time.Second)
				err := n.add(short, j)
				end()
				l.tried.Add(1)
				if errors.Is(err, storage.ErrClosed) {
					return
				}
				l.mu.Lock()
				switch {
				case err == nil:
					l.happened = append(l.happened, j.ID)
					l.success.Add(1)
				case errors.Is(err, storage.ErrOutcomeUnknown):
					l.may = append(l.may, j.ID)
				default:
					l.not, l.last = append(l.not, j.ID), err
					if !errors.Is(err, storage.ErrBusy) && !errors.Is(err, context.DeadlineExceeded) {
						n.t.Errorf("a caller was told %v", err)
					}
				}
				l.mu.Unlock()
			}
		})
	}
	return l, func() { cancel(); all.Wait() }
}

// await returns when more of the load has succeeded.
func (l *ledger) await(t testing.TB, more int64) {
	t.Helper()
	for was, end := l.success.Load(), time.Now().Add(long); l.success.Load() < was+more; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			l.mu.Lock()
			defer l.mu.Unlock()
			t.Fatalf("the node does not come back: %d enqueued, last error %v", l.success.Load(), l.last)
		}
	}
}

// audit compares what callers were told with what is there.
func (l *ledger) audit(t testing.TB, n node) {
	t.Helper()
	count := func(ids []storage.ID) (there int) {
		for len(ids) > 0 {
			some := ids[:min(len(ids), 500)]
			ids = ids[len(some):]
			n := n.found(some)
			there += n
		}
		return there
	}
	if got := count(l.happened); got != len(l.happened) {
		t.Errorf("of %d jobs that were acknowledged %d are there", len(l.happened), got)
	}
	if got := count(l.not); got != 0 {
		t.Errorf("of %d jobs that were said not to be there %d are", len(l.not), got)
	}
	t.Logf("%d acknowledged, %d refused (last: %v), %d of %d unknown are there", len(l.happened), len(l.not), l.last, count(l.may), len(l.may))
	if err := n.Check(within(t)); err != nil {
		t.Error(err)
	}
}

// found returns how many of the jobs are there.
func (n node) found(ids []storage.ID) (there int) {
	n.t.Helper()
	err := n.View(within(n.t), storage.Reads{Jobs: ids}, func(r storage.Reader) error {
		there = 0
		for _, id := range ids {
			if _, err := r.Job(id); err == nil {
				there++
			} else if !errors.Is(err, storage.ErrNotFound) {
				return err
			}
		}
		return nil
	})
	if err != nil {
		n.t.Error(err)
	}
	return there
}

func TestNothingAcknowledgedIsLostWhenConnectionsAre(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	p := pgtest.NewProxy(t, dsn)
	n := newNode(t, p.DSN(), nil)
	l, stop := n.load(32)
	random := rand.New(rand.NewPCG(1, 2))
	for range 30 {
		l.await(t, 1+random.Int64N(100))
		switch random.IntN(4) {
		case 0:
			p.Drop()
		case 1:
			p.Cut()
			p.Heal()
		case 2:
			p.CutAtAnswer("COMMIT")
		case 3:
			sql(t, dsn, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
		}
	}
	stop()
	l.audit(t, n)
}

func TestNothingAcknowledgedIsLostWhenTheServerIsRestarted(t *testing.T) {
	t.Parallel()
	s := pgtest.Server(t, nil)
	n := newNode(t, s.DSN(), nil)
	l, stop := n.load(32)
	for i, end := range []func() error{func() error { s.Kill(); return nil }, s.Stop, func() error { s.Kill(); return nil }} {
		l.await(t, 200)
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if err := s.Restart(); err != nil {
			t.Fatalf("restart %d: %v", i, err)
		}
	}
	l.await(t, 200)
	stop()
	l.audit(t, n)
}

func TestAStandbyThatTakesOver(t *testing.T) {
	t.Parallel()
	s := pgtest.Server(t, pgtest.Fast)
	n := newNode(t, s.DSN(), nil)
	id := n.mustAdd(mail, "")
	data := answer[string](t, s.DSN(), "SHOW data_directory")
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(data, "standby.signal"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := s.Restart(); err != nil { // takes connections, and no writes
		t.Fatal(err)
	}
	if !answer[bool](t, s.DSN(), "SELECT pg_is_in_recovery()") {
		t.Fatal("the server is no standby")
	}
	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := n.touch(short, id); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a change on a standby: got %v, want to wait", err)
	}
	if got := n.version(id); got != 1 {
		t.Errorf("a view on a standby: got version %d, want 1", got)
	}
	changed := make(chan error, 1)
	go func() { changed <- n.touch(within(t), id) }()
	sql(t, s.DSN(), "SELECT pg_promote(wait => false)")
	if err := <-changed; err != nil {
		t.Errorf("a change that waited for the standby to take over: %v", err)
	}
	if err := n.touch(within(t), id); err != nil {
		t.Errorf("when it has: %v", err)
	}
}

func TestAServerWithoutConnectionsLeft(t *testing.T) {
	t.Parallel()
	s := pgtest.Server(t, map[string]string{"max_connections": "12", "superuser_reserved_connections": "0", "fsync": "off", "max_wal_senders": "0"})
	n := newNode(t, s.DSN(), nil)
	id := n.mustAdd(mail, "")
	pool := pgtest.Connect(t, s.DSN())
	sql(t, s.DSN(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()")
	var others []*pgx.Conn
	for {
		conn, err := pgx.Connect(within(t), s.DSN())
		if err != nil {
			break
		}
		others = append(others, conn)
	}
	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := n.touch(short, id); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want to wait", err)
	}
	if _, err := pgstore.New(within(t), pool, nil); err == nil {
		t.Error("got a store without a connection")
	}
	changed := make(chan error, 1)
	go func() { changed <- n.touch(within(t), id) }()
	for _, conn := range others {
		conn.Close(context.Background())
	}
	if err := <-changed; err != nil {
		t.Errorf("when there are some: %v", err)
	}
}

// That a disk is full is told to who brings something, and to nobody else. PostgreSQL keeps no reserve: to change a row takes room for the new one,
// so an ack too may find none in the end.
func TestAFullDisk(t *testing.T) {
	t.Parallel()
	s := pgtest.Server(t, pgtest.Fast)
	data := answer[string](t, s.DSN(), "SHOW data_directory")
	disk := smallDisk(t, filepath.Dir(data), 16<<20)
	sql(t, s.DSN(), fmt.Sprintf("CREATE TABLESPACE small LOCATION '%s'", disk))
	sql(t, s.DSN(), "ALTER DATABASE "+answer[string](t, s.DSN(), "SELECT quote_ident(current_database())")+" SET default_tablespace = small")
	sql(t, s.DSN(), "CREATE TABLE ballast AS SELECT repeat('x', 1000) FROM generate_series(1, 1000)")
	n := newNode(t, s.DSN(), nil)
	var ids []storage.ID
	big := make([]byte, 100<<10)
	rand.NewChaCha8([32]byte{}).Read(big)
	enqueue := func(size int) error {
		j := job(mail, "")
		err := n.Update(within(t), storage.Reads{Queues: []storage.QueueName{mail}}, func(tx storage.Tx) error {
			_, err := tx.AddJob(&storage.Job{Spec: new(*j.Spec), Status: j.Status}, big[:size])
			return err
		})
		if err == nil {
			ids = append(ids, j.ID)
		}
		return err
	}
	var err error
	for err == nil {
		err = enqueue(len(big))
	}
	if !errors.Is(err, storage.ErrFull) {
		t.Fatalf("after %d jobs: got %v, want ErrFull", len(ids), err)
	}
	// Those who share a transaction with one that does not fit.
	errs := n.together(func() error { return enqueue(len(big)) }, func() error { return n.touch(within(t), ids[0]) }, func() error {
		return n.Update(within(t), storage.Reads{}, func(tx storage.Tx) error { _, err := tx.Job(ids[0]); return err })
	})
	if !errors.Is(errs[0], storage.ErrFull) || errs[1] != nil || errs[2] != nil {
		t.Errorf("one that does not fit, an ack and a look got %v, want ErrFull for the first", errs)
	}
	if n.version(ids[0]) != 2 {
		t.Error("the ack has not happened")
	}
	if err := n.Check(within(t)); err != nil {
		t.Error(err)
	}
	// Deletions take room too, for the counts, as soon as the pages that are there are full. Then somebody has to make some; nobody has to start anything again.
	remove := func(id storage.ID) error {
		return n.Update(within(t), storage.Reads{Jobs: []storage.ID{id}}, func(tx storage.Tx) error {
			j, err := tx.Job(id)
			if err == nil {
				err = tx.DeleteJob(j)
			}
			return err
		})
	}
	for i, id := range ids {
		err := remove(id)
		if errors.Is(err, storage.ErrFull) {
			sql(t, s.DSN(), "DROP TABLE IF EXISTS ballast")
			err = remove(id)
		}
		if err != nil {
			t.Fatalf("deletion %d on a full disk: %v", i, err)
		}
	}
	sql(t, s.DSN(), "VACUUM pollack.job")
	if err := enqueue(len(big)); err != nil {
		t.Errorf("when there is room: %v", err)
	}
}
