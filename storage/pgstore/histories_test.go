package pgstore_test

import (
	"context"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/memstore"
	"github.com/pollackq/pollack/storage/storagetest"
)

// POLLACK_HISTORIES says how many random histories there are, of 100 steps each.
func TestHistoriesAgreeWithMemory(t *testing.T) {
	t.Parallel()
	histories := uint64(48)
	if s := os.Getenv("POLLACK_HISTORIES"); s != "" {
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		histories = n
	}
	for seed := range histories {
		opens := []func(t testing.TB, seed uint64) storage.Store{
			func(t testing.TB, _ uint64) storage.Store { return open(t) },
			openAnnounced,
			func(t testing.TB, _ uint64) storage.Store { return openTwo(t) },
			func(t testing.TB, _ uint64) storage.Store { return storagetest.Faulty(open(t), twice) },
		}
		s := opens[seed%4](t, seed)
		storagetest.Compare(t, memstore.New(nil), s, seed, 100)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func FuzzHistory(f *testing.F) { storagetest.Fuzz(f, open) }

// An announcer is a store whose transactions say beforehand that they are going to read something of what there is or was, as those of package
// jobqueue do: what they then do with it is up to them.
type announcer struct {
	storage.Store
	r      *rand.Rand
	jobs   []storage.ID
	keys   []storage.Key
	queues []storage.QueueName
}

func openAnnounced(t testing.TB, seed uint64) storage.Store {
	return &announcer{Store: open(t), r: rand.New(rand.NewPCG(seed, 1))}
}

// Unwrap lets storage.As find the Checker.
func (s *announcer) Unwrap() storage.Store { return s.Store }

func (s *announcer) reads() storage.Reads {
	return storage.Reads{
		Jobs: some(s.r, s.jobs), Keys: some(s.r, s.keys), Queues: some(s.r, s.queues), Ready: s.r.IntN(4),
		Due: max(s.r.IntN(8)-6, 0), Payloads: s.r.IntN(2) > 0, Results: s.r.IntN(2) > 0, Ends: s.r.IntN(2) > 0,
	}
}

// some returns up to four of all, the latest rather than the first.
func some[T any](r *rand.Rand, all []T) (list []T) {
	for range r.IntN(5) {
		if len(all) > 0 {
			list = append(list, all[max(r.IntN(len(all)), r.IntN(len(all)))])
		}
	}
	return list
}

func (s *announcer) View(ctx context.Context, _ storage.Reads, fn func(storage.Reader) error) error {
	return s.Store.View(ctx, s.reads(), fn)
}

func (s *announcer) Update(ctx context.Context, _ storage.Reads, fn func(storage.Tx) error) error {
	return s.Store.Update(ctx, s.reads(), func(tx storage.Tx) error { return fn(&announcedTx{tx, s}) })
}

type announcedTx struct {
	storage.Tx
	s *announcer
}

func (t *announcedTx) AddJob(j *storage.Job, payload []byte) (*storage.Job, error) {
	t.s.jobs = append(t.s.jobs, j.ID)
	if j.Key != "" {
		t.s.keys = append(t.s.keys, j.KeyOf())
	}
	return t.Tx.AddJob(j, payload)
}

func (t *announcedTx) PutQueue(q *storage.Queue) error {
	t.s.queues = append(t.s.queues, q.QueueName)
	return t.Tx.PutQueue(q)
}
