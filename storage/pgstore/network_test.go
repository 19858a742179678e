package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/pgstore"
	"github.com/pollackq/pollack/storage/pgstore/internal/pgtest"
)

// bounded fails the test if a thing takes longer than it may: several times as long as it does on a machine with nothing else to do.
func bounded(t *testing.T, what string, bound time.Duration, do func()) {
	t.Helper()
	begin := time.Now()
	do()
	if took := time.Since(begin); took > bound {
		t.Errorf("%s took %v, want at most %v", what, took, bound)
	}
}

func TestANetworkThatSwallowsEverything(t *testing.T) {
	t.Parallel()
	p := pgtest.NewProxy(t, pgtest.DSN(t))
	n := newNode(t, p.DSN(), nil)
	id := n.mustAdd(mail, "")
	p.Stall()
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(50+i)*time.Millisecond)
			defer cancel()
			bounded(t, "a call", 3*time.Second, func() {
				err := n.touch(ctx, id)
				if i%2 == 0 {
					err = n.View(ctx, storage.Reads{Jobs: []storage.ID{id}}, func(storage.Reader) error { return nil })
				}
				if err != context.DeadlineExceeded { // as it is
					t.Errorf("got %v, want the context's error", err)
				}
			})
		})
	}
	all.Wait()
	changed := make(chan error, 1)
	go func() { changed <- n.touch(within(t), id) }()
	p.Heal()
	bounded(t, "to come back", 20*time.Second, func() {
		if err := <-changed; err != nil {
			t.Errorf("a call that had time: %v", err)
		}
	})
	if got := n.version(id); got != 2 {
		t.Errorf("got version %d, want 2: what was given up has not happened", got)
	}
}

// The outcome of a commit is awaited, but not for ever.
func TestACommitInANetworkThatSwallowsEverything(t *testing.T) {
	t.Parallel()
	p := pgtest.NewProxy(t, pgtest.DSN(t))
	n := newNode(t, p.DSN(), nil)
	id := n.mustAdd(mail, "")
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	bounded(t, "a commit", 25*time.Second, func() {
		err := n.Update(ctx, storage.Reads{Jobs: []storage.ID{id}}, func(tx storage.Tx) error {
			j, err := tx.Job(id)
			if err != nil {
				return err
			}
			p.Stall()
			s := j.Status
			s.Version++
			return tx.SetJob(j.With(s))
		})
		if !errors.Is(err, storage.ErrOutcomeUnknown) {
			t.Errorf("got %v, want ErrOutcomeUnknown", err)
		}
	})
	p.Heal()
	if got := n.version(id); got != 1 && got != 2 {
		t.Errorf("got version %d", got)
	}
}

// Connections that a router has forgotten say nothing any more. All of a pool may be such.
func TestConnectionsThatTheNetworkHasForgotten(t *testing.T) {
	t.Parallel()
	p := pgtest.NewProxy(t, pgtest.DSN(t))
	old := pgtest.NewProxy(t, pgtest.DSN(t))
	config, err := pgxpool.ParseConfig(old.DSN())
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	via := old
	config.ConnConfig.DialFunc = func(ctx context.Context, network, _ string) (net.Conn, error) {
		mu.Lock()
		defer mu.Unlock()
		config, err := pgx.ParseConfig(via.DSN())
		if err != nil {
			return nil, err
		}
		_, address := pgconn.NetworkAddress(config.Host, config.Port)
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	n := nodeOf(t, pool, nil)
	id := n.mustAdd(mail, "")
	errs := n.together(func() error { return n.touch(within(t), id) })
	if n.version(id); errs[0] != nil {
		t.Fatal(errs)
	}
	mu.Lock()
	via = p
	mu.Unlock()
	old.Stall()
	t.Cleanup(old.Heal)
	bounded(t, "to come back", 25*time.Second, func() {
		if err := n.touch(within(t), id); err != nil {
			t.Error(err)
		}
		n.version(id)
	})
}

func TestCloseWhileTheDatabaseIsOutOfReach(t *testing.T) {
	t.Parallel()
	p := pgtest.NewProxy(t, pgtest.DSN(t))
	n := newNode(t, p.DSN(), nil)
	id := n.mustAdd(mail, "")
	p.Stall()
	const callers = 1500 // more than two groups
	errs := make(chan error, callers)
	for range callers {
		go func() { errs <- n.touch(context.Background(), id) }()
	}
	for n.Waiting() < callers/2 {
		time.Sleep(time.Millisecond)
	}
	bounded(t, "Close", 45*time.Second, func() { n.Close() })
	for range callers {
		if err := <-errs; !errors.Is(err, storage.ErrBusy) && !errors.Is(err, storage.ErrClosed) {
			t.Errorf("got %v, want ErrBusy or ErrClosed", err)
		}
	}
	p.Heal()
}

func TestContextsThatEndWhileTheirCallsWait(t *testing.T) {
	t.Parallel()
	n := newNode(t, pgtest.DSN(t), nil)
	id := n.mustAdd(mail, "")
	inside, free := make(chan struct{}), make(chan struct{})
	first := make(chan error, 1)
	go func() {
		first <- n.Update(within(t), storage.Reads{}, func(storage.Tx) error { close(inside); <-free; return nil })
	}()
	<-inside
	ctx, cancel := context.WithCancel(t.Context())
	const callers = 10_000
	errs := make(chan error, callers)
	for range callers {
		go func() { errs <- n.touch(ctx, id) }()
	}
	for n.Waiting() < callers {
		time.Sleep(time.Millisecond)
	}
	cancel()
	for range callers {
		if err := <-errs; err != context.Canceled {
			t.Fatalf("got %v, want the context's error as it is", err)
		}
	}
	close(free)
	if err := <-first; err != nil {
		t.Error(err)
	}
	if got := n.version(id); got != 1 {
		t.Errorf("got version %d, want 1: none of them has run", got)
	}
	if err := n.touch(ctx, id); err != context.Canceled {
		t.Errorf("a context that is over: got %v", err)
	}
}

func TestAPanicIsItsCallersAlone(t *testing.T) {
	t.Parallel()
	n := newNode(t, pgtest.DSN(t), nil)
	a, b := n.mustAdd(mail, ""), n.mustAdd(mail, "")
	errs := n.together(
		func() error { return n.touch(within(t), a) },
		func() (err error) {
			defer func() { err = fmt.Errorf("%v", recover()) }()
			return n.Update(within(t), storage.Reads{Jobs: []storage.ID{b}}, func(tx storage.Tx) error {
				j, err := tx.Job(b)
				if err == nil {
					err = tx.DeleteJob(j)
				}
				panic(fmt.Sprintf("planned, after %v", err))
			})
		},
	)
	if errs[0] != nil || errs[1] == nil || errs[1].Error() != "planned, after <nil>" {
		t.Errorf("got %v", errs)
	}
	if n.version(a) != 2 || n.version(b) != 1 {
		t.Errorf("got versions %d and %d, want 2 and 1", n.version(a), n.version(b))
	}
}

// It is forbidden, but easily done: a test's FailNow is one.
func TestAFunctionThatEndsItsGoroutine(t *testing.T) {
	t.Parallel()
	n := newNode(t, pgtest.DSN(t), nil)
	id := n.mustAdd(mail, "")
	exit := func(due int) func() error {
		return func() error {
			return n.Update(within(t), storage.Reads{Due: due}, func(storage.Tx) error { runtime.Goexit(); return nil })
		}
	}
	for range 10 { // more often than there are connections
		errs := n.together(func() error { return n.touch(within(t), id) }, exit(0), exit(1), func() error { return n.touch(within(t), id) })
		if errs[0] != nil || errs[1] == nil || errs[2] == nil || errs[3] != nil {
			t.Fatalf("got %v, want errors of the second and third", errs)
		}
		if err := n.View(within(t), storage.Reads{}, func(storage.Reader) error { runtime.Goexit(); return nil }); err == nil {
			t.Fatal("a view that did not return got nil")
		}
	}
	if got := n.version(id); got != 21 {
		t.Errorf("got version %d, want 21", got)
	}
}

func TestCloseWhileManyCall(t *testing.T) {
	t.Parallel()
	n := newNode(t, pgtest.DSN(t), nil)
	l, stop := n.load(64)
	l.await(t, 200)
	closed := make(chan struct{})
	go func() { // those who are not yet told stop to call
		n.Close()
		close(closed)
	}()
	<-closed
	errs := make(chan error, 1)
	go func() { errs <- n.touch(context.Background(), storage.ID{1}) }()
	if err := <-errs; err != storage.ErrClosed {
		t.Errorf("an update after Close: got %v", err)
	}
	if err := n.View(t.Context(), storage.Reads{}, func(storage.Reader) error { return nil }); err != storage.ErrClosed {
		t.Errorf("a view after Close: got %v", err)
	}
	if err := n.Close(); err != nil {
		t.Errorf("a second Close: got %v", err)
	}
	stop()
	l.audit(t, newNode(t, pgtest.DSN(t), nil))
}

func TestNewSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	good := pgtest.Pool(t)
	closed := pgtest.Pool(t)
	closed.Close()
	over, cancel := context.WithCancel(t.Context())
	cancel()
	pool := func(dsn string) *pgxpool.Pool {
		p, err := pgxpool.New(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Close)
		return p
	}
	for _, c := range []struct {
		what string
		ctx  context.Context
		pool *pgxpool.Pool
		says string
	}{
		{"no pool", t.Context(), nil, "no pool"},
		{"a pool that is closed", t.Context(), closed, "closed pool"},
		{"a context that is over", over, good, "context canceled"},
		{"no such database", t.Context(), pool(pgtest.DSN(t) + " dbname=nowhere"), `database "nowhere" does not exist`},
		{"nobody listens", t.Context(), pool("postgres://127.0.0.1:1/x"), "connect"},
	} {
		s, err := pgstore.New(c.ctx, c.pool, nil)
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want an error that says %q", c.what, err, c.says)
		}
	}
	if got := good.Stat().AcquiredConns(); got != 0 {
		t.Errorf("%d connections were not given back", got)
	}
}

// As large as a group may get: what is to be written is held once, as the caller gave it and as it is sent.
func TestAGroupOfLargePayloads(t *testing.T) {
	t.Parallel()
	n := newNode(t, pgtest.DSN(t), nil)
	const callers = 64
	payload := make([]byte, storage.MaxValue)
	var fns []func() error
	for range callers {
		j := job(mail, "")
		fns = append(fns, func() error {
			return n.Update(within(t), storage.Reads{Queues: []storage.QueueName{mail}}, func(tx storage.Tx) error {
				_, err := tx.AddJob(&storage.Job{Spec: new(*j.Spec), Status: j.Status}, payload)
				return err
			})
		})
	}
	before := n.Stats().Groups
	for i, err := range n.together(fns...) {
		if err != nil {
			t.Errorf("caller %d: %v", i, err)
		}
	}
	if got := n.Stats().Groups - before; got < 3 {
		t.Errorf("64 MiB came in %d transactions, want at least 3: one holds some 32 MiB", got)
	}
}
