package jobqueue_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/memstore"
)

// What only happens on a store that several processes share.

// A crowded store is one on which others are busy with all that is due, as often as it is asked for it.
type crowded struct {
	storage.Store
	busy  int // so many looks more
	looks int
}

func (s *crowded) Update(ctx context.Context, r storage.Reads, fn func(storage.Tx) error) error {
	return s.Store.Update(ctx, r, func(tx storage.Tx) error { return fn(&crowdedTx{tx, s}) })
}

type crowdedTx struct {
	storage.Tx
	s *crowded
}

func (t *crowdedTx) Due(until time.Time, max int) ([]*storage.Job, error) {
	jobs, err := t.Tx.Due(until, max)
	if len(jobs) > 0 {
		t.s.looks++
		if t.s.busy--; t.s.busy >= 0 {
			return nil, err
		}
	}
	return jobs, err
}

func TestWhatOthersAreBusyWithIsLookedForAgainSoonAndThenLessOften(t *testing.T) {
	for _, c := range []struct {
		busy int           // looks that come to nothing
		late time.Duration // when a look finds it, after its time
	}{
		{0, 0},
		{1, 20 * time.Millisecond},
		{3, 140 * time.Millisecond},
		{60, 55260 * time.Millisecond}, // 20+40+80+160+320+640 ms, then 54 s
	} {
		synctest.Test(t, func(t *testing.T) {
			store := &crowded{Store: memstore.New(nil)}
			b, err := jobqueue.New(store, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer b.Shutdown(t.Context())
			for range 2 { // the second time it begins anew
				store.busy, store.looks = c.busy, 0
				j, err := b.Queue("q").Enqueue(t.Context(), jobqueue.NewJob{Deadline: time.Now().Add(time.Minute)})
				if err != nil {
					t.Fatal(err)
				}
				if j, err = b.WaitEnd(t.Context(), j.ID); err != nil {
					t.Fatal(err)
				}
				if late := j.Finished.Sub(j.Deadline); late != c.late || store.looks != c.busy+1 {
					t.Errorf("%d looks in vain: got it after %v and %d looks, want %v and %d", c.busy, late, store.looks, c.late, c.busy+1)
				}
			}
		})
	}
}

// A forgetful store has entering jobs in a queue that is not there, as if it had been deleted while they were added.
type forgetful struct {
	storage.Store
	gone bool
}

func (s *forgetful) Update(ctx context.Context, r storage.Reads, fn func(storage.Tx) error) error {
	return s.Store.Update(ctx, r, func(tx storage.Tx) error { return fn(&forgetfulTx{tx, s}) })
}

type forgetfulTx struct {
	storage.Tx
	s *forgetful
}

func (t *forgetfulTx) Queue(q storage.QueueName) (*storage.Queue, error) {
	if t.s.gone {
		return nil, storage.ErrNotFound
	}
	return t.Tx.Queue(q)
}

func (t *forgetfulTx) PutQueue(q *storage.Queue) error {
	t.s.gone = false
	return t.Tx.PutQueue(q)
}

func (t *forgetfulTx) AddJob(j *storage.Job, payload []byte) (*storage.Job, error) {
	if t.s.gone {
		return nil, storage.ErrNotFound
	}
	return t.Tx.AddJob(j, payload)
}

// A deferring store's transactions of users take no positions.
type deferring struct{ storage.Store }

func (deferring) OnCommit(fn func()) { fn() }
func (deferring) Deferred() bool     { return true }

func TestAJobThatEntersAQueueWhichIsNotThereIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &forgetful{Store: memstore.New(nil)}
		b, err := jobqueue.New(store, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Shutdown(t.Context())
		synctest.Wait()
		err = store.Store.Update(t.Context(), storage.Reads{}, func(tx storage.Tx) error {
			return tx.PutQueue(&storage.Queue{QueueName: storage.QueueName{Name: "q"}})
		})
		if err != nil {
			t.Fatal(err)
		}
		store.gone = true
		j, err := b.EnqueueTx(t.Context(), deferring{store.Store}, "q", jobqueue.NewJob{Payload: []byte("p")})
		if err != nil {
			t.Fatal(err)
		}
		d, err := b.Queue("q").Receive(t.Context(), &jobqueue.ReceiveOptions{Wait: time.Minute})
		if err != nil || d.ID != j.ID {
			t.Fatalf("got %+v, %v, want job %v", d, err, j.ID)
		}
		if p, err := d.Payload(t.Context()); string(p) != "p" || err != nil {
			t.Errorf("payload: got %q, %v", p, err)
		}
	})
}

// A late store gives positions when a transaction ends: until then the function sees others (law 12).
type late struct{ storage.Store }

func (s late) Update(ctx context.Context, r storage.Reads, fn func(storage.Tx) error) error {
	var added []*storage.Job
	err := s.Store.Update(ctx, r, func(tx storage.Tx) error {
		added = nil
		return fn(lateTx{tx, &added})
	})
	for _, j := range added {
		j.Spec.Position -= 1000
	}
	return err
}

type lateTx struct {
	storage.Tx
	added *[]*storage.Job
}

func (t lateTx) AddJob(j *storage.Job, payload []byte) (*storage.Job, error) {
	j, err := t.Tx.AddJob(j, payload)
	if err == nil {
		j.Spec.Position += 1000
		*t.added = append(*t.added, j)
	}
	return j, err
}

func TestAReplayHasThePositionThatCounts(t *testing.T) {
	b, err := jobqueue.New(late{memstore.New(nil)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Shutdown(t.Context())
	jobs, err := b.Queue("q").EnqueueMany(t.Context(), []jobqueue.NewJob{{}, {Key: "k"}, {Key: "k"}})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []uint64{0, 1, 1} {
		if got := jobs[i].Position; got != want {
			t.Errorf("job %d has position %d, want %d", i, got, want)
		}
	}
}
