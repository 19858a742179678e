package pgstore_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/pgstore"
	"github.com/pollackq/pollack/storage/pgstore/internal/pgtest"
)

// TestAKeyInAnOpenTransactionKeepsNobodyElseWaiting: of what others enqueue meanwhile only what has the same key waits.
func TestAKeyInAnOpenTransactionKeepsNobodyElseWaiting(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	pool := pgtest.Pool(t)
	store, err := pgstore.New(ctx, pool, &pgstore.Options{LockTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	b, err := jobqueue.New(store, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Shutdown(context.Background())
	q := b.Queue("mail")
	if _, err := q.Enqueue(ctx, jobqueue.NewJob{}); err != nil {
		t.Fatal(err)
	}
	tx, err := pool.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	first, err := b.EnqueueTx(ctx, store.Tx(tx), "mail", jobqueue.NewJob{Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	var same sync.WaitGroup
	for range 5 {
		same.Go(func() {
			j, err := q.Enqueue(ctx, jobqueue.NewJob{Key: "k"})
			if err != nil || j.ID != first.ID || !j.Replayed {
				t.Errorf("the same key: got %+v, %v, want a replay of %v", j, err, first.ID)
			}
		})
	}
	for i := range 300 { // in the groups of those that wait, too: a lock that they waited for would stop these for a minute
		short, cancel := context.WithTimeout(ctx, 30*time.Second)
		_, err := q.Enqueue(short, jobqueue.NewJob{})
		cancel()
		if err != nil {
			t.Fatalf("enqueue %d: %v", i, err)
		}
	}
	if err := tx.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	same.Wait()
}

// TestAKeyThatAnOpenTransactionHasTakenIsBusy: whoever wants it waits for LockTimeout, and gets it when that transaction is rolled back.
func TestAKeyThatAnOpenTransactionHasTakenIsBusy(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	pool := pgtest.Pool(t)
	store, err := pgstore.New(ctx, pool, &pgstore.Options{LockTimeout: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	b, err := jobqueue.New(store, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Shutdown(context.Background())
	for _, level := range []pgx.TxIsoLevel{pgx.ReadCommitted, pgx.RepeatableRead, pgx.Serializable} {
		tx, err := pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: level})
		if err != nil {
			t.Fatal(err)
		}
		var n int
		if err := tx.QueryRow(ctx, "SELECT count(*) FROM pollack.job").Scan(&n); err != nil { // its snapshot is taken: it will see no new queue
			t.Fatal(err)
		}
		name := "mail of " + string(level)
		if _, err := b.EnqueueTx(ctx, store.Tx(tx), name, jobqueue.NewJob{Key: "k"}); err != nil {
			t.Fatalf("%s: %v", level, err)
		}
		if _, err := b.Queue(name).Enqueue(ctx, jobqueue.NewJob{Key: "k"}); !errors.Is(err, jobqueue.ErrBusy) {
			t.Errorf("%s: the same key: got %v, want %v", level, err, jobqueue.ErrBusy)
		}
		if err := tx.Rollback(ctx); err != nil {
			t.Fatal(err)
		}
		if j, err := b.Queue(name).Enqueue(ctx, jobqueue.NewJob{Key: "k"}); err != nil || j.Replayed {
			t.Errorf("%s: after the rollback: got %+v, %v", level, j, err)
		}
	}
}
