package boltstore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/boltstore"
)

// A filling is a kind of load that fills a store.
type filling struct {
	mib     int // MaxSize
	payload int // bytes
	many    int // so many queues, and as many priorities
	keys    bool
	fails   bool // jobs fail with a short text, which leaves them their payload, instead of being acked
	lone    bool // one caller, else 32 at a time
}

func (f filling) String() string {
	return fmt.Sprintf("%d MiB, %d B, %d queues, keys %t, fails %t, lone %t", f.mib, f.payload, f.many, f.keys, f.fails, f.lone)
}

// What a full store has accepted can be delivered and ended, all of it, with ended jobs kept for the default retention; and once they are
// deleted as much is accepted as before (I14). BOLTSTORE_ALL_SIZES makes it try all sizes with all loads, which takes minutes.
func TestWhatAFullStoreHasAcceptedCanBeEnded(t *testing.T) {
	fillings := []filling{
		{mib: 1, payload: 0, many: 10, keys: true, fails: true}, {mib: 1, payload: 100, many: 10}, {mib: 1, payload: 1000, many: 1, fails: true, lone: true},
		{mib: 1, payload: 5000, many: 10, keys: true, fails: true}, {mib: 4, payload: 100, many: 1, fails: true}, {mib: 4, payload: 1000, many: 10, keys: true},
		{mib: 6, payload: 100, many: 10},
	}
	if os.Getenv("BOLTSTORE_ALL_SIZES") != "" {
		fillings = nil
		for _, mib := range []int{1, 4, 6, 16, 64} {
			for _, payload := range []int{0, 100, 1000, 5000} {
				for _, many := range []int{1, 10} {
					fillings = append(fillings, filling{mib: mib, payload: payload, many: many},
						filling{mib: mib, payload: payload, many: many, fails: true, keys: true})
				}
			}
		}
	}
	for _, f := range fillings {
		t.Run(f.String(), func(t *testing.T) {
			s := reopen(t, filepath.Join(t.TempDir(), "jobs.db"), &boltstore.Options{MaxSize: int64(f.mib) << 20})
			f.test(t, s)
		})
	}
	t.Run("in a user's file", func(t *testing.T) {
		db, err := bbolt.Open(filepath.Join(t.TempDir(), "users.db"), 0o600, &bbolt.Options{MaxSize: 4 << 20})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		db.AllocSize = 64 << 10
		s, err := boltstore.Wrap(db, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		filling{mib: 4, payload: 100, many: 10, keys: true}.test(t, s)
	})
}

func (f filling) test(t *testing.T, s *boltstore.Store) {
	b, err := jobqueue.New(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Shutdown(context.Background())
	accepted := f.fill(t, b)
	if least := f.mib << 20 / (3*f.payload + 1600); accepted < least {
		t.Errorf("%d jobs fit, want %d at least", accepted, least)
	}
	if ended, refused := f.end(t, b); ended != accepted || refused > 0 {
		t.Fatalf("%d of %d jobs ended, %d calls were refused", ended, accepted, refused)
	}
	check(t, s)
	removeAll(t, s)
	again := f.fill(t, b)
	if again < accepted*8/10-20 {
		t.Errorf("after deleting all, %d jobs fit, %d before", again, accepted)
	}
	check(t, s)
	t.Logf("%d jobs, then %d", accepted, again)
}

func (f filling) queue(b *jobqueue.Broker, i int) *jobqueue.Queue {
	return b.Queue(fmt.Sprint("queue ", i%f.many))
}

// each calls fn in many goroutines until it returns false in each.
func (f filling) each(fn func(n int) bool) {
	workers := 32
	if f.lone {
		workers = 1
	}
	var n atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for fn(int(n.Add(1))) {
			}
		})
	}
	wg.Wait()
}

// fill enqueues until nothing more fits, and returns how many jobs did.
func (f filling) fill(t *testing.T, b *jobqueue.Broker) int {
	var fit atomic.Int64
	add := func(n, many int) bool {
		jobs := make([]jobqueue.NewJob, many)
		for i := range jobs {
			jobs[i] = jobqueue.NewJob{Payload: make([]byte, f.payload), Priority: (n + i) % f.many}
			if f.keys {
				jobs[i].Key = fmt.Sprintf("order %d of %d", i, n*7919%100_003)
			}
		}
		_, err := f.queue(b, n).EnqueueMany(t.Context(), jobs)
		if err == nil {
			fit.Add(int64(many))
		} else if !errors.Is(err, jobqueue.ErrStoreFull) {
			t.Errorf("EnqueueMany: got %v, want %v", err, jobqueue.ErrStoreFull)
		}
		return err == nil
	}
	f.each(func(n int) bool { return add(n, 20) })
	for n := 50_000; add(n, 1); n++ { // what is left between
	}
	return int(fit.Load())
}

// end receives and ends all jobs, and returns how many there were, and how many calls were refused.
func (f filling) end(t *testing.T, b *jobqueue.Broker) (ended, refused int) {
	var done, full atomic.Int64
	for i := range f.many {
		f.each(func(int) bool {
			d, err := f.queue(b, i).Receive(t.Context(), &jobqueue.ReceiveOptions{Wait: -1})
			switch {
			case errors.Is(err, jobqueue.ErrEmpty):
				return false
			case err != nil:
			case f.fails:
				err = d.Fail(t.Context(), "broken", "the other end did not answer in time")
			default:
				err = d.Ack(t.Context())
			}
			if err == nil {
				done.Add(1)
				return true
			}
			if !errors.Is(err, jobqueue.ErrStoreFull) {
				t.Errorf("got %v, want %v", err, jobqueue.ErrStoreFull)
			}
			return full.Add(1) < 20
		})
	}
	return int(done.Load()), int(full.Load())
}

// removeAll deletes all jobs, as retention does.
func removeAll(t *testing.T, s *boltstore.Store) {
	t.Helper()
	for gone := false; !gone; {
		update(t, s, func(tx storage.Tx) error {
			gone = true
			queues, err := tx.Queues(storage.QueueName{}, 100)
			if err != nil {
				return err
			}
			for _, q := range queues {
				jobs, _, err := tx.Jobs(q.QueueName, 0, storage.ID{}, 20)
				if err != nil {
					return err
				}
				for _, j := range jobs {
					gone = false
					if err := tx.DeleteJob(j); err != nil {
						return err
					}
				}
				if !gone {
					break
				}
			}
			return nil
		})
	}
}

// When the retention of what fills a store is over it makes room by itself (I14).
func TestRetentionMakesRoomInAFullStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := filling{mib: 4, payload: 100, many: 10, keys: true}
		s := reopen(t, filepath.Join(t.TempDir(), "jobs.db"), &boltstore.Options{MaxSize: int64(f.mib) << 20})
		b, err := jobqueue.New(s, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Shutdown(context.Background())
		first := f.fill(t, b)
		if ended, _ := f.end(t, b); ended != first {
			t.Fatalf("%d of %d jobs ended", ended, first)
		}
		time.Sleep(jobqueue.DefaultRetention + time.Hour)
		synctest.Wait()
		if next, counts := totals(t, s); counts[storage.Gone] != int64(first) {
			t.Errorf("got %v, next due %v; want %d tombstones", counts, next, first)
		}
		time.Sleep(jobqueue.DefaultTombstone)
		synctest.Wait()
		if next, counts := totals(t, s); counts.Total() != 0 {
			t.Errorf("got %v, next due %v; want nothing", counts, next)
		}
		if again := f.fill(t, b); again < first*9/10 {
			t.Errorf("%d jobs fit, %d before", again, first)
		}
		check(t, s)
	})
}

func totals(t *testing.T, s *boltstore.Store) (next time.Time, sum storage.Counts) {
	t.Helper()
	view(t, s, func(r storage.Reader) (err error) {
		queues, err := r.Queues(storage.QueueName{}, 1000)
		for _, q := range queues {
			counts, err := r.Counts(q.QueueName)
			if err != nil {
				return err
			}
			for i, n := range counts {
				sum[i] += n
			}
		}
		if err == nil {
			next, err = r.NextDue()
		}
		return err
	})
	return next, sum
}

// The room for the ends of jobs is counted in a store that was opened again, too.
func TestAFullStoreIsStillFullWhenItIsOpenedAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "jobs.db")
	f := filling{mib: 4, payload: 100, many: 10}
	o := &boltstore.Options{MaxSize: int64(f.mib) << 20}
	fill := func() int {
		s := reopen(t, path, o)
		defer s.Close()
		b, err := jobqueue.New(s, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Shutdown(context.Background())
		return f.fill(t, b)
	}
	first := fill()
	if more := fill(); more > first/20 {
		t.Errorf("%d jobs fit, and then %d more", first, more)
	}
	s := reopen(t, path, o)
	b, err := jobqueue.New(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Shutdown(context.Background())
	if _, refused := f.end(t, b); refused > 0 {
		t.Errorf("%d calls were refused", refused)
	}
}
