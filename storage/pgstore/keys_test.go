package pgstore_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/pgstore"
	"github.com/pollackq/pollack/storage/pgstore/internal/pgtest"
)

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
