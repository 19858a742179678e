package pgstore_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/pgstore"
	"github.com/pollackq/pollack/storage/pgstore/internal/pgtest"
)

// A shop is a user of the queue in whose database it is.
type shop struct {
	*testing.T
	ctx   context.Context
	pool  *pgxpool.Pool
	store *pgstore.Store
	b     *jobqueue.Broker
	q     *jobqueue.Queue // "pack", of which there is nothing yet
	level pgx.TxIsoLevel
}

// inShop runs a test in each isolation level that a user may have chosen.
func inShop(t *testing.T, run func(s *shop)) {
	t.Parallel()
	for _, level := range []pgx.TxIsoLevel{pgx.ReadCommitted, pgx.RepeatableRead, pgx.Serializable} {
		t.Run(string(level), func(t *testing.T) {
			s := &shop{T: t, ctx: within(t), pool: pgtest.Pool(t), level: level}
			var err error
			if s.store, err = pgstore.New(s.ctx, s.pool, &pgstore.Options{Schema: pgtest.Schema(t), Fallback: 100 * time.Millisecond}); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := s.store.Check(s.ctx); err != nil {
					t.Error(err)
				}
				s.store.Close()
			})
			if s.b, err = jobqueue.New(s.store, nil); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { s.b.Shutdown(s.ctx) })
			s.q = s.b.Queue("pack")
			s.exec(s.pool, "CREATE TABLE orders (id bigint)")
			run(s)
		})
	}
}

// An execer is a pool or a transaction.
type execer interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

func (s *shop) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// begin begins a transaction of the user's, which has read something and is rolled back in the end if it is still open.
func (s *shop) begin() pgx.Tx {
	s.Helper()
	tx, err := s.pool.BeginTx(s.ctx, pgx.TxOptions{IsoLevel: s.level})
	s.must(err)
	s.Cleanup(func() { _ = tx.Rollback(context.Background()) })
	s.orders(tx)
	return tx
}

func (s *shop) exec(x execer, sql string) {
	s.Helper()
	_, err := x.Exec(s.ctx, sql)
	s.must(err)
}

func (s *shop) order(tx pgx.Tx) { s.Helper(); s.exec(tx, "INSERT INTO orders VALUES (17)") }

func (s *shop) orders(x execer) (n int) {
	s.Helper()
	s.must(x.QueryRow(s.ctx, "SELECT count(*) FROM orders").Scan(&n))
	return n
}

// add enqueues a job in a transaction of the user's.
func (s *shop) add(tx pgx.Tx, j jobqueue.NewJob) *jobqueue.Job {
	s.Helper()
	added, err := s.b.EnqueueTx(s.ctx, s.store.Tx(tx), "pack", j)
	s.must(err)
	return added
}

// next receives, and acks, a job, which must be the one wanted, and returns it as it was delivered.
func (s *shop) next(want jobqueue.ID) *jobqueue.Delivery {
	s.Helper()
	d, err := s.q.Receive(s.ctx, nil)
	s.must(err)
	if d.ID != want {
		s.Errorf("received %v, want %v", d.ID, want)
	}
	s.must(d.Ack(s.ctx))
	return d
}

func wantError(t testing.TB, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func TestTheRowAndTheJobCommitTogether(t *testing.T) {
	inShop(t, func(s *shop) {
		tx := s.begin()
		s.order(tx)
		j := s.add(tx, jobqueue.NewJob{Payload: []byte("17")})
		if n := s.orders(s.pool); n != 0 {
			s.Errorf("%d orders are seen before the commit", n)
		}
		_, err := s.b.Job(s.ctx, j.ID)
		wantError(s, "the job before the commit", err, jobqueue.ErrNotFound)
		_, err = s.q.TryReceive(s.ctx, nil)
		wantError(s, "a receive before the commit", err, jobqueue.ErrEmpty)
		s.must(tx.Commit(s.ctx))
		if _, err := s.b.Job(s.ctx, j.ID); err != nil {
			s.Errorf("the job after the commit: %v", err)
		}
		d := s.next(j.ID)
		if p, _ := d.Inline(); string(p) != "17" || s.orders(s.pool) != 1 {
			s.Errorf("got payload %q and %d orders", p, s.orders(s.pool))
		}
	})
}

func TestARollbackLeavesNothing(t *testing.T) {
	inShop(t, func(s *shop) {
		tx := s.begin()
		s.order(tx)
		for range 3 {
			s.add(tx, jobqueue.NewJob{Outbox: []string{"told"}})
		}
		keyed := s.add(tx, jobqueue.NewJob{Key: "k"})
		s.must(tx.Rollback(s.ctx))
		if n := s.orders(s.pool); n != 0 {
			s.Errorf("%d orders", n)
		}
		// The queue has been made, outside of the user's transaction.
		info, err := s.q.Info(s.ctx)
		s.must(err)
		if info.Counts.Total() != 0 || info.Next != 0 {
			s.Errorf("got %+v, want nothing", info)
		}
		j, err := s.q.Enqueue(s.ctx, jobqueue.NewJob{Key: "k"})
		s.must(err)
		if j.Replayed || j.ID == keyed.ID || j.Position != 0 {
			s.Errorf("got %+v, want a new job at position 0", j)
		}
		s.next(j.ID)
	})
}

func TestPositionsAreThoseOfTheCommits(t *testing.T) {
	inShop(t, func(s *shop) {
		first, second := s.begin(), s.begin()
		late := s.add(first, jobqueue.NewJob{})
		early := s.add(second, jobqueue.NewJob{})
		s.must(second.Commit(s.ctx))
		if d := s.next(early.ID); d.Position != 0 {
			s.Errorf("got position %d, want 0", d.Position)
		}
		between, err := s.q.Enqueue(s.ctx, jobqueue.NewJob{})
		s.must(err)
		s.must(first.Commit(s.ctx))
		s.next(between.ID)
		if d := s.next(late.ID); d.Position != 2 || between.Position != 1 {
			s.Errorf("got positions %d and %d, want 1 and 2", between.Position, d.Position)
		}
	})
}

func TestALongTransactionOfAUserStallsNobody(t *testing.T) {
	inShop(t, func(s *shop) {
		_, err := s.q.Enqueue(s.ctx, jobqueue.NewJob{})
		s.must(err)
		tx := s.begin()
		held := s.add(tx, jobqueue.NewJob{Key: "held", Outbox: []string{"told"}})
		// What would wait for the transaction would wait for ever.
		for range 3 {
			_, err := s.q.Enqueue(s.ctx, jobqueue.NewJob{Key: "k", AnyRequest: true, Outbox: []string{"told"}})
			s.must(err)
			_, err = s.q.EnqueueMany(s.ctx, make([]jobqueue.NewJob, 3))
			s.must(err)
			d, err := s.q.Receive(s.ctx, nil)
			s.must(err)
			s.must(d.Extend(s.ctx, time.Minute))
			s.must(d.Ack(s.ctx))
			other := s.begin()
			s.add(other, jobqueue.NewJob{})
			s.must(other.Commit(s.ctx))
			_, _, err = s.q.Configure(s.ctx, jobqueue.Settings{Backlog: 100})
			s.must(err)
			_, _, err = s.q.Jobs(s.ctx, jobqueue.ListOptions{})
			s.must(err)
		}
		for {
			d, err := s.q.ReceiveMany(s.ctx, 100, &jobqueue.ReceiveOptions{Wait: time.Second})
			if errors.Is(err, jobqueue.ErrEmpty) {
				break
			}
			s.must(err)
			for _, d := range d {
				s.must(d.Ack(s.ctx))
			}
		}
		s.must(tx.Commit(s.ctx))
		s.next(held.ID)
	})
}

func TestAKeyIsAsGoodInAUsersTransaction(t *testing.T) {
	inShop(t, func(s *shop) {
		there, err := s.q.Enqueue(s.ctx, jobqueue.NewJob{Key: "there"})
		s.must(err)
		tx := s.begin()
		if j := s.add(tx, jobqueue.NewJob{Key: "there"}); j.ID != there.ID || !j.Replayed {
			s.Errorf("got %+v, want a replay of %v", j, there.ID)
		}
		first := s.add(tx, jobqueue.NewJob{Key: "new"})
		if j := s.add(tx, jobqueue.NewJob{Key: "new"}); j.ID != first.ID || !j.Replayed || first.Replayed {
			s.Errorf("got %+v, want a replay of %v", j, first.ID)
		}
		_, err = s.b.EnqueueTx(s.ctx, s.store.Tx(tx), "pack", jobqueue.NewJob{Key: "there", Name: "other"})
		wantError(s, "another request", err, jobqueue.ErrKeyReused)
		_, err = s.b.EnqueueTx(s.ctx, s.store.Tx(tx), "pack", jobqueue.NewJob{Key: "new", Name: "other"})
		wantError(s, "another request", err, jobqueue.ErrKeyReused)
		err = s.store.Tx(tx).Update(s.ctx, storage.Reads{}, func(t storage.Tx) error {
			spec := storage.Spec{ID: there.ID, Queue: there.Queue}
			if _, err := t.AddJob(&storage.Job{Spec: &spec, Status: storage.Status{State: storage.Gone}}, nil); err != nil {
				return err
			}
			return errors.New("the id is free") // as it is taken to be at first
		})
		wantError(s, "an id in use", err, storage.ErrExists)
		s.must(tx.Commit(s.ctx))
		s.next(there.ID)
		s.next(first.ID)
		if j, err := s.q.Enqueue(s.ctx, jobqueue.NewJob{Key: "new"}); err != nil || j.ID != first.ID || !j.Replayed {
			s.Errorf("got %+v, %v, want a replay of %v", j, err, first.ID)
		}
	})
}

// Who enqueues by a key that is in a user's open transaction cannot be answered before that has ended. Nobody else waits.
func TestAKeyInAnOpenTransactionHoldsUpNobodyElse(t *testing.T) {
	inShop(t, func(s *shop) {
		_, err := s.q.Enqueue(s.ctx, jobqueue.NewJob{})
		s.must(err)
		tx := s.begin()
		held := s.add(tx, jobqueue.NewJob{Key: "k"})
		same := make(chan error)
		var got *jobqueue.Job
		go func() {
			for {
				j, err := s.q.Enqueue(s.ctx, jobqueue.NewJob{Key: "k"})
				if !errors.Is(err, jobqueue.ErrBusy) { // as it may be said to be after a while
					got = j
					same <- err
					return
				}
			}
		}()
		for range 20 {
			_, err := s.q.Enqueue(s.ctx, jobqueue.NewJob{})
			s.must(err)
		}
		select {
		case err := <-same:
			s.Errorf("the same key: got %+v, %v before the transaction ended", got, err)
			return
		default:
		}
		s.must(tx.Commit(s.ctx))
		if err := <-same; err != nil || got.ID != held.ID || !got.Replayed {
			s.Errorf("the same key: got %+v, %v, want a replay of %v", got, err, held.ID)
		}
	})
}

func TestAUsersTransactionOutlivesWhatIsRefused(t *testing.T) {
	inShop(t, func(s *shop) {
		_, _, err := s.b.Queue("small").Configure(s.ctx, jobqueue.Settings{Backlog: 1})
		s.must(err)
		_, _, err = s.b.Queue("closed").Configure(s.ctx, jobqueue.Settings{})
		s.must(err)
		s.must(s.b.Queue("closed").Close(s.ctx))
		tx := s.begin()
		s.order(tx)
		for _, c := range []struct {
			queue string
			job   jobqueue.NewJob
			want  error
		}{
			{"small", jobqueue.NewJob{}, nil},
			{"small", jobqueue.NewJob{}, jobqueue.ErrBacklogFull},
			{"small", jobqueue.NewJob{Key: "k"}, jobqueue.ErrBacklogFull},
			{"closed", jobqueue.NewJob{}, jobqueue.ErrQueueClosed},
			{"pack", jobqueue.NewJob{Deadline: time.Now().Add(-time.Hour)}, jobqueue.ErrInvalid},
			{"pack", jobqueue.NewJob{Payload: make([]byte, storage.MaxValue+1)}, jobqueue.ErrTooLarge},
			{"pack", jobqueue.NewJob{Payload: []byte(strings.Repeat("x", storage.MaxValue))}, nil},
		} {
			_, err := s.b.EnqueueTx(s.ctx, s.store.Tx(tx), c.queue, c.job)
			wantError(s, "EnqueueTx into "+c.queue, err, c.want)
			s.orders(tx)
		}
		err = s.store.Tx(tx).Update(s.ctx, storage.Reads{}, func(t storage.Tx) error {
			return t.PutChunk(storage.ID{1}, 0, make([]byte, storage.ChunkSize+1))
		})
		wantError(s, "PutChunk", err, storage.ErrTooLarge)
		func() {
			defer func() {
				if p := recover(); p != "stop" {
					s.Errorf("recovered %v", p)
				}
			}()
			s.store.Tx(tx).Update(s.ctx, storage.Reads{}, func(t storage.Tx) error {
				_ = t.PutChunk(storage.ID{1}, 0, nil)
				panic("stop")
			})
		}()
		s.must(tx.Commit(s.ctx))
		if s.orders(s.pool) != 1 {
			s.Error("the order is not there")
		}
		d, err := s.q.Receive(s.ctx, nil)
		s.must(err)
		p, err := d.Payload(s.ctx)
		if err != nil || len(p) != storage.MaxValue {
			s.Errorf("got %d bytes, %v", len(p), err)
		}
		err = s.store.View(s.ctx, storage.Reads{}, func(r storage.Reader) error { _, err := r.Chunk(storage.ID{1}, 0); return err })
		wantError(s, "the chunk that was given up", err, storage.ErrNotFound)
	})
}

func TestAQueueIsNotDeletedWhileAJobEntersIt(t *testing.T) {
	inShop(t, func(s *shop) {
		for _, commit := range []bool{false, true} {
			tx := s.begin()
			j := s.add(tx, jobqueue.NewJob{})
			s.must(s.q.Close(s.ctx))
			err := s.q.Delete(s.ctx)
			wantError(s, "Delete while the transaction is open", err, jobqueue.ErrWrongState)
			if !commit {
				s.must(tx.Rollback(s.ctx))
				s.must(s.q.Delete(s.ctx))
				continue
			}
			s.must(tx.Commit(s.ctx))
			s.next(j.ID)
			s.must(s.q.Delete(s.ctx))
		}
		_, err := s.q.Info(s.ctx)
		wantError(s, "Info", err, jobqueue.ErrNotFound)
	})
}
