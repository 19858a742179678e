package pgstore_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/pgstore"
	"github.com/pollackq/pollack/storage/pgstore/internal/pgtest"
)

// Whoever waits for the row of a job finds what has taken its place meanwhile, such as the tombstone of a job that is not kept.
func TestWhatTakesAJobsPlaceIsFoundByThoseWhoWaitedForIt(t *testing.T) {
	ctx, pool, schema := t.Context(), pgtest.Pool(t), pgtest.Schema(t)
	var nodes []*pgstore.Store
	for range 2 {
		s, err := pgstore.New(ctx, pool, &pgstore.Options{Schema: schema})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		nodes = append(nodes, s)
	}
	q := storage.QueueName{Name: "q"}
	spec := &storage.Spec{ID: storage.NewID(time.Now()), Queue: q, Key: "k"}
	reads := storage.Reads{Jobs: []storage.ID{spec.ID}}
	alone := reads
	alone.Due = 1 // such a transaction is not shared, and waits for locks
	update := func(s *pgstore.Store, reads storage.Reads, fn func(storage.Tx) error) {
		t.Helper()
		if err := s.Update(ctx, reads, fn); err != nil {
			t.Error(err)
		}
	}
	update(nodes[0], reads, func(tx storage.Tx) error {
		if err := tx.PutQueue(&storage.Queue{QueueName: q}); err != nil {
			return err
		}
		_, err := tx.AddJob(&storage.Job{Spec: spec, Status: storage.Status{State: storage.Pending}}, nil)
		return err
	})
	waits := func() (n int) {
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		for n == 0 {
			err := pool.QueryRow(ctx, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'").Scan(&n)
			if err != nil {
				t.Error(err)
				return 0
			}
		}
		return n
	}
	done := make(chan struct{})
	update(nodes[0], reads, func(tx storage.Tx) error {
		j, err := tx.Job(spec.ID)
		if err != nil {
			return err
		}
		go func() {
			defer close(done)
			update(nodes[1], alone, func(tx storage.Tx) error {
				j, err := tx.Job(spec.ID)
				if err == nil && j.State != storage.Gone {
					t.Errorf("got a job that is %v, want its tombstone", j.State)
				}
				return err
			})
		}()
		waits()
		if err := tx.DeleteJob(j); err != nil {
			return err
		}
		again := *spec
		_, err = tx.AddJob(&storage.Job{Spec: &again, Status: storage.Status{State: storage.Gone}}, nil)
		return err
	})
	<-done
}

// pgx says of a connection that ends before a batch is answered that it was closed before the batch was sent, where it prepares nothing, as behind a
// pooler: its SafeToRetry is not to be believed then.
func TestALostAnswerToACommitIsUnknownInEveryModeOfPgx(t *testing.T) {
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		t.Run(mode.String(), func(t *testing.T) {
			ctx := t.Context()
			p := pgtest.NewProxy(t, pgtest.DSN(t))
			config, err := pgxpool.ParseConfig(p.DSN())
			if err != nil {
				t.Fatal(err)
			}
			config.ConnConfig.DefaultQueryExecMode = mode
			pool, err := pgxpool.NewWithConfig(ctx, config)
			if err != nil {
				t.Fatal(err)
			}
			defer pool.Close()
			s, err := pgstore.New(ctx, pool, &pgstore.Options{Schema: pgtest.Schema(t), NoListen: true})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			lost := p.CutAtAnswer("COMMIT")
			runs := 0
			err = s.Update(ctx, storage.Reads{}, func(tx storage.Tx) error {
				runs++
				return tx.PutQueue(&storage.Queue{QueueName: storage.QueueName{Name: "q"}})
			})
			<-lost
			if !errors.Is(err, storage.ErrOutcomeUnknown) || runs != 1 {
				t.Errorf("got %v after %d runs, want that the outcome is unknown after 1", err, runs)
			}
		})
	}
}

// Law 5: a queue that an Update adds a job to is as that Update read it.
func TestAQueueThatAnotherNodeChangesMeanwhileIsReadAgain(t *testing.T) {
	ctx, pool, schema := t.Context(), pgtest.Pool(t), pgtest.Schema(t)
	var nodes []*pgstore.Store
	for range 2 {
		s, err := pgstore.New(ctx, pool, &pgstore.Options{Schema: schema})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		nodes = append(nodes, s)
	}
	q := storage.QueueName{Name: "q"}
	put := func(closed time.Time) {
		t.Helper()
		err := nodes[1].Update(ctx, storage.Reads{Queues: []storage.QueueName{q}}, func(tx storage.Tx) error {
			return tx.PutQueue(&storage.Queue{QueueName: q, Closed: closed})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	put(time.Time{})
	var seen []bool
	errClosed := errors.New("closed")
	err := nodes[0].Update(ctx, storage.Reads{Queues: []storage.QueueName{q}}, func(tx storage.Tx) error {
		rec, err := tx.Queue(q)
		if err != nil {
			return err
		}
		seen = append(seen, !rec.Closed.IsZero())
		if !rec.Closed.IsZero() {
			return errClosed
		}
		put(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
		_, err = tx.AddJob(&storage.Job{Spec: &storage.Spec{ID: storage.NewID(time.Now()), Queue: q}, Status: storage.Status{State: storage.Pending}}, nil)
		return err
	})
	if err != errClosed || !slices.Equal(seen, []bool{false, true}) {
		t.Errorf("got %v, and the queue was seen closed in each run: %v; want it seen so in the second run", err, seen)
	}
}

// What a node remembers of a job that another has deleted is no reason to wait, or to fail.
func TestAJobThatIsRememberedAndGoneIsNotFound(t *testing.T) {
	ctx, pool, schema := t.Context(), pgtest.Pool(t), pgtest.Schema(t)
	var nodes []*pgstore.Store
	for range 2 {
		s, err := pgstore.New(ctx, pool, &pgstore.Options{Schema: schema})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		nodes = append(nodes, s)
	}
	q, id := storage.QueueName{Name: "q"}, storage.NewID(time.Now())
	reads := storage.Reads{Jobs: []storage.ID{id}}
	update := func(s *pgstore.Store, fn func(storage.Tx) error) {
		t.Helper()
		if err := s.Update(ctx, reads, fn); err != nil {
			t.Fatal(err)
		}
	}
	update(nodes[0], func(tx storage.Tx) error {
		if err := tx.PutQueue(&storage.Queue{QueueName: q}); err != nil {
			return err
		}
		_, err := tx.AddJob(&storage.Job{Spec: &storage.Spec{ID: id, Queue: q}, Status: storage.Status{State: storage.Pending}}, []byte("payload"))
		return err
	})
	update(nodes[0], func(tx storage.Tx) error {
		j, err := tx.Job(id)
		if err != nil {
			return err
		}
		return tx.SetJob(j.With(storage.Status{State: storage.Running}))
	})
	update(nodes[1], func(tx storage.Tx) error {
		j, err := tx.Job(id)
		if err != nil {
			return err
		}
		return tx.DeleteJob(j)
	})
	runs := 0
	err := nodes[0].Update(ctx, reads, func(tx storage.Tx) error {
		runs++
		j, err := tx.Job(id)
		if err != nil {
			return err
		}
		_, err = tx.Payload(j)
		return err
	})
	if !errors.Is(err, storage.ErrNotFound) || runs > 3 {
		t.Errorf("got %v after %d runs, want that there is no such job after 3 at most", err, runs)
	}
}

// What a node remembers of a job is not told to those who ask for it by its key, either, when another has changed it.
func TestAJobOfAKeyIsNotToldAsRemembered(t *testing.T) {
	ctx, pool, schema := t.Context(), pgtest.Pool(t), pgtest.Schema(t)
	var nodes []*pgstore.Store
	for range 2 {
		s, err := pgstore.New(ctx, pool, &pgstore.Options{Schema: schema})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		nodes = append(nodes, s)
	}
	q, id := storage.QueueName{Name: "q"}, storage.NewID(time.Now())
	key := storage.Key{Queue: q, Name: "k"}
	set := func(s *pgstore.Store, state storage.State) {
		t.Helper()
		err := s.Update(ctx, storage.Reads{Jobs: []storage.ID{id}}, func(tx storage.Tx) error {
			j, err := tx.Job(id)
			if err != nil {
				return err
			}
			return tx.SetJob(j.With(storage.Status{State: state}))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	err := nodes[0].Update(ctx, storage.Reads{}, func(tx storage.Tx) error {
		if err := tx.PutQueue(&storage.Queue{QueueName: q}); err != nil {
			return err
		}
		_, err := tx.AddJob(&storage.Job{Spec: &storage.Spec{ID: id, Queue: q, Key: key.Name}, Status: storage.Status{State: storage.Pending}}, nil)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	set(nodes[0], storage.Running)
	set(nodes[1], storage.Failed)
	var got storage.State
	err = nodes[0].Update(ctx, storage.Reads{Jobs: []storage.ID{id}, Keys: []storage.Key{key}}, func(tx storage.Tx) error {
		j, err := tx.JobByKey(key)
		if err == nil {
			got = j.State
		}
		return err
	})
	if err != nil || got != storage.Failed {
		t.Errorf("got a job that is %v, %v; want one that has failed", got, err)
	}
}
