package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/pgstore"
	"github.com/pollackq/pollack/storage/pgstore/internal/pgtest"
)

// hold runs a statement in a transaction of somebody else's, which stays open until the returned function is called.
func hold(t testing.TB, dsn, statement string, args ...any) (release func()) {
	t.Helper()
	conn, err := pgx.Connect(within(t), dsn)
	if err != nil {
		t.Fatal(err)
	}
	release = sync.OnceFunc(func() { conn.Close(context.Background()) })
	t.Cleanup(release)
	tx, err := conn.Begin(within(t))
	if err == nil {
		_, err = tx.Exec(within(t), statement, args...)
	}
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	return release
}

const shortLock = 300 * time.Millisecond

// busy checks that a call is told ErrBusy after LockTimeout, and not much later.
func busy(t testing.TB, what string, call func() error) {
	t.Helper()
	begin := time.Now()
	err := call()
	if took := time.Since(begin); !errors.Is(err, storage.ErrBusy) || took < shortLock || took > 20*shortLock {
		t.Errorf("%s: got %v after %v, want ErrBusy after %v", what, err, took, shortLock)
	}
}

func TestALockedJobStopsOnlyThoseWhoNameIt(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	n := newNode(t, dsn, &pgstore.Options{LockTimeout: shortLock})
	locked, free := n.mustAdd(mail, "a-key"), n.mustAdd(mail, "")
	release := hold(t, dsn, "SELECT FROM pollack.job WHERE id = $1 FOR UPDATE", pgtype.UUID{Bytes: locked, Valid: true})
	key := storage.Key{Queue: mail, Name: "a-key"}
	before := n.Stats()
	var all sync.WaitGroup
	for i := range 20 { // all of them wait at the same time
		all.Go(func() {
			switch {
			case i%2 == 0:
				busy(t, "a change", func() error { return n.touch(within(t), locked) })
			default:
				busy(t, "a change by key", func() error {
					return n.Update(within(t), storage.Reads{Keys: []storage.Key{key}}, func(tx storage.Tx) error { _, err := tx.JobByKey(key); return err })
				})
			}
		})
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	changes, slowest := uint64(1), time.Duration(0)
	for waiting := true; waiting; changes++ {
		select {
		case <-done:
			waiting = false
		default:
		}
		begin := time.Now()
		if err := n.touch(within(t), free); err != nil {
			t.Fatalf("another job: %v", err)
		}
		slowest = max(slowest, time.Since(begin))
	}
	if got := n.version(free); got != changes {
		t.Errorf("got version %d of the other job, want %d", got, changes)
	}
	if slowest > 2*time.Second {
		t.Errorf("a change of another job took %v", slowest)
	}
	// Nobody has waited in the database, and no connection was given up for it.
	if got := n.Stats(); got.Alone != before.Alone || got.Reruns != before.Reruns {
		t.Errorf("got %d transactions of one call and %d reruns, want none", got.Alone-before.Alone, got.Reruns-before.Reruns)
	}
	if err := n.View(within(t), storage.Reads{Jobs: []storage.ID{locked}}, func(r storage.Reader) error { _, err := r.Job(locked); return err }); err != nil {
		t.Errorf("a view of the locked job: %v", err)
	}
	if got := n.ready(mail); len(got) != 1 || got[0] != free {
		t.Errorf("got %v to deliver, want the other job", got)
	}
	if err := n.add(within(t), job(mail, "a-key")); !errors.Is(err, storage.ErrExists) && !errors.Is(err, storage.ErrBusy) {
		t.Errorf("a job of the same key: got %v", err)
	}

	waits := make(chan error, 1)
	go func() { waits <- n.touch(within(t), locked) }()
	release()
	if err := <-waits; err != nil {
		t.Errorf("one that waited for the lock: %v", err)
	}
	short, cancel := context.WithTimeout(t.Context(), shortLock/3)
	defer cancel()
	hold(t, dsn, "SELECT FROM pollack.job WHERE id = $1 FOR UPDATE", pgtype.UUID{Bytes: locked, Valid: true})
	if err := n.touch(short, locked); err != context.DeadlineExceeded {
		t.Errorf("one whose context ended meanwhile: got %v", err)
	}
}

// ready returns what an update would deliver.
func (n node) ready(q storage.QueueName) (ids []storage.ID) {
	n.t.Helper()
	err := n.Update(within(n.t), storage.Reads{Queues: []storage.QueueName{q}, Ready: 10}, func(tx storage.Tx) error {
		ids = nil
		jobs, err := tx.Ready(q, 10)
		for _, j := range jobs {
			ids = append(ids, j.ID)
		}
		return err
	})
	if err != nil {
		n.t.Fatal(err)
	}
	return ids
}

func TestALockedQueueStopsOnlyThoseWhoAddToIt(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	n := newNode(t, dsn, &pgstore.Options{LockTimeout: shortLock})
	fax := storage.QueueName{Name: "fax"}
	n.queue(fax)
	old := n.mustAdd(fax, "")
	release := hold(t, dsn, "SELECT FROM pollack.queue WHERE name = 'fax' FOR UPDATE")
	errs := n.together(
		func() error { return n.add(within(t), job(fax, "")) },
		func() error { return n.add(within(t), job(mail, "")) },
		func() error { return n.touch(within(t), old) },
	)
	if !errors.Is(errs[0], storage.ErrBusy) || errs[1] != nil || errs[2] != nil {
		t.Errorf("who adds to a locked queue, to another, and changes a job got %v, want ErrBusy for the first", errs)
	}
	// It is known now: nobody is made to wait any more.
	stop := make(chan struct{})
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					busy(t, "another", func() error { return n.add(within(t), job(fax, "")) })
				}
			}
		})
	}
	begin := time.Now()
	const others = 100
	for range others {
		n.mustAdd(mail, "")
	}
	if took := time.Since(begin); took > others*shortLock/10 {
		t.Errorf("%d jobs for another queue took %v", others, took)
	}
	close(stop)
	all.Wait()
	release()
	for range 3 {
		n.mustAdd(fax, "")
	}
	if got := n.counts(fax)[storage.Pending]; got != 4 {
		t.Errorf("got %d jobs, want 4", got)
	}
	if err := n.Check(within(t)); err != nil {
		t.Error(err)
	}
}

func (n node) counts(q storage.QueueName) (c storage.Counts) {
	n.t.Helper()
	err := n.View(within(n.t), storage.Reads{Queues: []storage.QueueName{q}}, func(r storage.Reader) (err error) {
		c, err = r.Counts(q)
		return err
	})
	if err != nil {
		n.t.Fatal(err)
	}
	return c
}

func TestATableThatIsBeingAltered(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	n := newNode(t, dsn, &pgstore.Options{LockTimeout: shortLock})
	id := n.mustAdd(mail, "")
	release := hold(t, dsn, "ALTER TABLE pollack.job ADD COLUMN mine integer")
	busy(t, "a change", func() error { return n.touch(within(t), id) })
	busy(t, "a change alone", func() error {
		return n.Update(within(t), storage.Reads{Jobs: []storage.ID{id}, Due: 1}, func(tx storage.Tx) error { _, err := tx.Job(id); return err })
	})
	busy(t, "a view", func() error {
		return n.View(within(t), storage.Reads{Jobs: []storage.ID{id}}, func(r storage.Reader) error { _, err := r.Job(id); return err })
	})
	release()
	if err := n.touch(within(t), id); err != nil {
		t.Errorf("when it is over: %v", err)
	}
	// Statements that were prepared before a table was changed are prepared again.
	sql(t, dsn, "ALTER TABLE pollack.queue ALTER COLUMN version TYPE integer")
	if err := n.touch(within(t), id); err != nil {
		t.Errorf("after a change of the table: %v", err)
	}
	n.mustAdd(mail, "")
}

func TestADeadlockIsRunAgain(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t) + " options='-c deadlock_timeout=50ms'"
	n := newNode(t, dsn, nil)
	id := n.mustAdd(mail, "")
	conn, err := pgx.Connect(within(t), pgtest.DSN(t)+" options='-c deadlock_timeout=60s'") // it is the other's that is ended
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	tx, err := conn.Begin(within(t))
	if err == nil {
		_, err = tx.Exec(within(t), "SELECT FROM pollack.queue FOR UPDATE")
	}
	if err != nil {
		t.Fatal(err)
	}
	runs := 0
	crossed := make(chan error, 1)
	err = n.Update(within(t), storage.Reads{Jobs: []storage.ID{id}, Queues: []storage.QueueName{mail}}, func(tx2 storage.Tx) error {
		j, err := tx2.Job(id) // is locked by us now
		if err != nil {
			return err
		}
		if runs++; runs == 1 {
			go func() {
				_, err := tx.Exec(within(t), "SELECT FROM pollack.job WHERE id = $1 FOR UPDATE", pgtype.UUID{Bytes: id, Valid: true})
				crossed <- errors.Join(err, tx.Rollback(within(t)))
			}()
			for answer[int](t, pgtest.DSN(t), "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()") == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		if _, err := tx2.AddJob(job(mail, ""), nil); err != nil { // waits for the queue
			return err
		}
		s := j.Status
		s.Version++
		return tx2.SetJob(j.With(s))
	})
	if err != nil || runs < 2 {
		t.Errorf("got %v after %d runs, want nil after another run", err, runs)
	}
	if err := <-crossed; err != nil {
		t.Errorf("the other transaction: %v", err)
	}
	if got := n.version(id); got != 2 {
		t.Errorf("got version %d, want 2", got)
	}
}

// Whoever adds what another node has just added finds it: what was taken for granted is looked after.
func TestNodesThatAddTheSame(t *testing.T) {
	t.Parallel()
	const nodes, rounds = 4, 25
	var stores []node
	for range nodes {
		stores = append(stores, newNode(t, pgtest.DSN(t), nil))
	}
	for _, c := range []struct {
		what string
		add  func(n node, round int, j *storage.Job) error
	}{
		{"a key", func(n node, round int, j *storage.Job) error {
			k := storage.Key{Queue: mail, Name: fmt.Sprint("key ", round)}
			return n.Update(within(t), storage.Reads{Queues: []storage.QueueName{mail}, Keys: []storage.Key{k}}, func(tx storage.Tx) error {
				if _, err := tx.JobByKey(k); !errors.Is(err, storage.ErrNotFound) {
					return or(err, storage.ErrExists)
				}
				spec := *j.Spec
				spec.Key = k.Name
				_, err := tx.AddJob(&storage.Job{Spec: &spec, Status: j.Status}, nil)
				return err
			})
		}},
		{"a key that nobody has looked for", func(n node, round int, j *storage.Job) error {
			spec := *j.Spec
			spec.Key = fmt.Sprint("another ", round)
			return n.add(within(t), &storage.Job{Spec: &spec, Status: j.Status})
		}},
		{"an id", func(n node, round int, j *storage.Job) error {
			spec := *j.Spec
			spec.ID = storage.ID{1, 15: byte(round)}
			return n.add(within(t), &storage.Job{Spec: &spec, Status: j.Status})
		}},
		{"a queue", func(n node, round int, j *storage.Job) error {
			q := storage.QueueName{Name: fmt.Sprint("queue ", round)}
			return n.Update(within(t), storage.Reads{Queues: []storage.QueueName{q}}, func(tx storage.Tx) error {
				if _, err := tx.Queue(q); !errors.Is(err, storage.ErrNotFound) {
					return or(err, storage.ErrExists)
				}
				return tx.PutQueue(&storage.Queue{QueueName: q})
			})
		}},
	} {
		for round := range rounds {
			errs := make([]error, nodes)
			var all sync.WaitGroup
			for i, n := range stores {
				all.Go(func() { errs[i] = c.add(n, round, job(mail, "")) })
			}
			all.Wait()
			won := 0
			for _, err := range errs {
				if err == nil {
					won++
				} else if !errors.Is(err, storage.ErrExists) {
					t.Errorf("%s: got %v", c.what, err)
				}
			}
			if won != 1 {
				t.Errorf("%s: %d of %d added it", c.what, won, nodes)
			}
		}
	}
	if err := stores[0].Check(within(t)); err != nil {
		t.Error(err)
	}
}

func or(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

// A user's transaction that has added a job of some key holds up those who add the same key, and nobody else for longer than LockTimeout.
func TestAKeyInATransactionThatIsStillOpen(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	n := newNode(t, dsn, &pgstore.Options{LockTimeout: shortLock})
	pool := pgtest.Pool(t)
	tx, err := pool.Begin(within(t))
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.Background())
	j := job(mail, "the-key")
	j.State = storage.Entering
	err = n.Tx(tx).Update(within(t), storage.Reads{Queues: []storage.QueueName{mail}}, func(tx storage.Tx) error {
		_, err := tx.AddJob(j, nil)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	errs := n.together(
		func() error { return n.add(within(t), job(mail, "the-key")) },
		func() error { return n.add(within(t), job(mail, "another-key")) },
	)
	if !errors.Is(errs[0], storage.ErrBusy) || errs[1] != nil {
		t.Errorf("got %v, want ErrBusy for the first", errs)
	}
	if err := tx.Commit(within(t)); err != nil {
		t.Fatal(err)
	}
	if err := n.add(within(t), job(mail, "the-key")); !errors.Is(err, storage.ErrExists) {
		t.Errorf("when it has been committed: got %v, want ErrExists", err)
	}
}

// A node remembers the jobs that it has leased, and changes them without having read them again.
func TestALockedJobThatTheNodeRemembers(t *testing.T) {
	t.Parallel()
	dsn := pgtest.DSN(t)
	n := newNode(t, dsn, &pgstore.Options{LockTimeout: shortLock})
	lease := func(id storage.ID) storage.ID {
		err := n.Update(within(t), storage.Reads{Jobs: []storage.ID{id}}, func(tx storage.Tx) error {
			j, err := tx.Job(id)
			if err != nil {
				return err
			}
			s := j.Status
			s.State, s.Version, s.Due = storage.Running, s.Version+1, tx.Now().Add(time.Minute)
			return tx.SetJob(j.With(s))
		})
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	locked, free := lease(n.mustAdd(mail, "")), lease(n.mustAdd(mail, ""))
	release := hold(t, dsn, "SELECT FROM pollack.job WHERE id = $1 FOR UPDATE", pgtype.UUID{Bytes: locked, Valid: true})
	var fns []func() error
	for range 20 {
		fns = append(fns, func() error { return n.touch(within(t), locked) })
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, err := range n.together(fns...) {
			if !errors.Is(err, storage.ErrBusy) {
				t.Errorf("got %v, want ErrBusy", err)
			}
		}
	}()
	slowest := time.Duration(0)
	for waiting := true; waiting; {
		select {
		case <-done:
			waiting = false
		default:
		}
		begin := time.Now()
		if err := n.touch(within(t), free); err != nil {
			t.Fatalf("another job: %v", err)
		}
		slowest = max(slowest, time.Since(begin))
	}
	if slowest > 2*time.Second {
		t.Errorf("a change of another job took %v", slowest)
	}
	if got := n.Stats().Alone; got != 0 {
		t.Errorf("%d of them waited in the database", got)
	}
	release()
	if err := n.touch(within(t), locked); err != nil {
		t.Error(err)
	}
}
