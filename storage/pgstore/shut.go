package pgstore

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pollackq/pollack/storage"
)

// shut knows the queues whose rows somebody has locked for longer than Options.LockTimeout. Whoever wants to change one of them is not let into
// a transaction that it would make wait, with all others in it.
type shut struct {
	mu     sync.Mutex
	queues map[storage.QueueName]int32 // by their numbers; replaced, never changed
}

// still returns the queues that are shut still.
func (s *shut) still(ctx context.Context, store *Store, conn *pgxpool.Conn) map[storage.QueueName]int32 {
	s.mu.Lock()
	queues := s.queues
	s.mu.Unlock()
	if len(queues) == 0 {
		return nil
	}
	locked, err := store.lockedOf(ctx, conn, queues)
	if err != nil {
		return queues // the transaction that is about to begin will say so
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queues = locked
	return locked
}

// findShut looks which of the queues that a transaction has changed are locked, and reports whether there are any.
func (s *Store) findShut(t *txn) bool {
	queues := make(map[storage.QueueName]int32)
	for _, q := range t.changedQueues() {
		if q.was != nil {
			queues[q.name] = q.qid
		}
	}
	if len(queues) == 0 {
		return false
	}
	ctx, cancel := patient(s.life)
	defer cancel()
	var locked map[storage.QueueName]int32
	err := s.pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) (err error) {
		locked, err = s.lockedOf(ctx, conn, queues)
		return err
	})
	if err != nil || len(locked) == 0 {
		return false
	}
	s.shut.mu.Lock()
	defer s.shut.mu.Unlock()
	maps.Copy(locked, s.shut.queues)
	s.shut.queues = locked
	return true
}

// lockedOf returns those of queues whose rows are locked.
func (s *Store) lockedOf(ctx context.Context, conn *pgxpool.Conn, queues map[storage.QueueName]int32) (map[storage.QueueName]int32, error) {
	s.trips.Add(1)
	rows, err := conn.Query(ctx, s.sql.shutQueues, slices.Collect(maps.Values(queues)))
	if err != nil {
		return nil, err
	}
	qids, err := pgx.CollectRows(rows, pgx.RowTo[int32])
	if err != nil {
		return nil, err
	}
	locked := maps.Clone(queues)
	maps.DeleteFunc(locked, func(_ storage.QueueName, qid int32) bool { return !slices.Contains(qids, qid) })
	return locked, nil
}
