package boltstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/boltstore"
	"github.com/pollackq/pollack/storage/memstore"
	"github.com/pollackq/pollack/storage/storagetest"
)

// contents lists all that a store holds.
func contents(s storage.Store) (string, error) {
	var b strings.Builder
	err := s.View(context.Background(), storage.Reads{}, func(r storage.Reader) error {
		b.Reset()
		queues, err := r.Queues(storage.QueueName{}, 1000)
		if err != nil {
			return err
		}
		for _, q := range queues {
			counts, err := r.Counts(q.QueueName)
			next, err2 := r.NextPosition(q.QueueName)
			ready, err3 := r.Ready(q.QueueName, 10_000)
			oldest, err4 := r.OldestPending(q.QueueName)
			jobs, _, err5 := r.Jobs(q.QueueName, 0, storage.ID{}, 10_000)
			if err := errors.Join(err, err2, err3, err4, err5); err != nil {
				return err
			}
			fmt.Fprintf(&b, "queue %+v: %v, next %d, oldest %v\n", *q, counts, next, oldest)
			for _, j := range ready {
				fmt.Fprintf(&b, "ready %v\n", j.ID)
			}
			for _, j := range jobs {
				payload, err := r.Payload(j)
				result, err2 := r.Result(j)
				fmt.Fprintf(&b, "job %+v %+v, payload %d %x %v, result %d %x %v\n", *j.Spec, flat(j.Status),
					len(payload), crc32.ChecksumIEEE(payload), err, len(result), crc32.ChecksumIEEE(result), err2)
				if j.Key != "" {
					if k, err := r.JobByKey(j.KeyOf()); err != nil || k.ID != j.ID {
						fmt.Fprintf(&b, "its key names %v, %v\n", k, err)
					}
				}
			}
		}
		due, err := r.Due(time.Unix(1<<40, 0), 10_000)
		for _, j := range due {
			fmt.Fprintf(&b, "due %v %v\n", j.Due, j.ID)
		}
		return err
	})
	return b.String(), err
}

// flat returns a status whose progress is printed as a number.
func flat(s storage.Status) string {
	p := 0.0
	if s.Progress != nil {
		p, s.Progress = *s.Progress, nil
	}
	return fmt.Sprintf("%+v progress %v", s, p)
}

// A crashing store is one of which a copy, as a crash would leave it, is opened after each commit, and compared with it.
type crashing struct {
	*boltstore.Store
	t     testing.TB
	path  string
	o     *boltstore.Options
	every int
	n     int
}

func (c *crashing) Update(ctx context.Context, r storage.Reads, fn func(storage.Tx) error) error {
	err := c.Store.Update(ctx, r, fn)
	if c.n++; c.n%c.every == 0 {
		c.crash()
	}
	return err
}

func (c *crashing) crash() {
	c.t.Helper()
	file, err := os.ReadFile(c.path)
	if err != nil {
		c.t.Fatal(err)
	}
	left := filepath.Join(c.t.TempDir(), "left")
	if err := os.WriteFile(left, file, 0o600); err != nil {
		c.t.Fatal(err)
	}
	s, err := boltstore.Open(left, c.o)
	if err != nil {
		c.t.Fatal(err)
	}
	defer s.Close()
	want, err := contents(c.Store)
	got, err2 := contents(s)
	if err := errors.Join(err, err2, s.Check(c.t.Context())); err != nil {
		c.t.Fatal(err)
	}
	if got != want {
		c.t.Fatalf("after a crash:\n%s\nwant\n%s", got, want)
	}
	// What was replayed can be gone on with.
	if err := s.Update(c.t.Context(), storage.Reads{}, func(tx storage.Tx) error {
		due, err := tx.Due(time.Unix(1<<40, 0), 3)
		for _, j := range due {
			err = errors.Join(err, tx.DeleteJob(j))
		}
		return err
	}); err != nil {
		c.t.Fatal(err)
	}
	if err := s.Check(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
}

func TestACrashAtAnyCommitLosesNothing(t *testing.T) {
	for seed := range uint64(4) {
		o := &boltstore.Options{}
		if seed%2 == 0 {
			o = boltstore.TinyOverlay(o)
		}
		path := filepath.Join(t.TempDir(), "jobs.db")
		c := &crashing{Store: reopen(t, path, o), t: t, path: path, o: o, every: 9}
		storagetest.Compare(t, memstore.New(nil), c, 1000+seed, 200)
	}
}

func TestADamagedJournalIsRefused(t *testing.T) {
	for _, c := range []struct {
		name    string
		payload int
		jobs    byte
	}{{"small record", 10, 1}, {"large record", 900, 20}} {
		t.Run(c.name, func(t *testing.T) {
			s, path := open(t, nil)
			update(t, s, func(tx storage.Tx) error {
				for i := range c.jobs {
					if _, err := tx.AddJob(newJob(id(i+1)), bytes.Repeat([]byte("x"), c.payload)); err != nil {
						return err
					}
				}
				return nil
			})
			file, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			left := filepath.Join(t.TempDir(), "left")
			if err := os.WriteFile(left, file, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := boltstore.Verify(left); err != nil {
				t.Errorf("Verify before: %v", err)
			}
			raw(t, left, func(top *bbolt.Bucket) error {
				b := top.Bucket([]byte("journal"))
				k, _ := b.Cursor().First()
				return flip(t, b, bytes.Clone(k))
			})
			before, _ := os.ReadFile(left)
			s, err = boltstore.Open(left, nil)
			if !errors.Is(err, boltstore.ErrDamaged) || !errors.Is(err, storage.ErrCorrupt) || !strings.Contains(err.Error(), "journal") {
				t.Errorf("Open: got %v, want %v of the journal", err, boltstore.ErrDamaged)
			}
			if err == nil {
				s.Close()
			}
			if err := boltstore.Verify(left); !errors.Is(err, boltstore.ErrDamaged) {
				t.Errorf("Verify: got %v, want %v", err, boltstore.ErrDamaged)
			}
			if after, _ := os.ReadFile(left); !bytes.Equal(before, after) {
				t.Error("the file was changed")
			}
		})
	}
}

func TestAJobWhoseRecordsAreDamagedLosesWhatTheJournalSaysAndIsReported(t *testing.T) {
	s, path := open(t, nil)
	update(t, s, func(tx storage.Tx) error { return errors.Join(add(id(1))(tx), add(id(2))(tx)) })
	s.Close()
	s = reopen(t, path, nil)
	for i := range byte(2) {
		update(t, s, func(tx storage.Tx) error {
			j, err := tx.Job(id(i + 1))
			if err != nil {
				return err
			}
			st := j.Status
			st.State = storage.Running
			return tx.SetJob(j.With(st))
		})
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(t.TempDir(), "left")
	if err := os.WriteFile(left, file, 0o600); err != nil {
		t.Fatal(err)
	}
	raw(t, left, func(top *bbolt.Bucket) error { return flip(t, top.Bucket([]byte("data")), dataKey(id(1), specRecord)) })
	s = reopen(t, left, nil)
	view(t, s, func(r storage.Reader) error {
		if _, err := r.Job(id(1)); !errors.Is(err, storage.ErrCorrupt) {
			t.Errorf("Job: got %v, want %v", err, storage.ErrCorrupt)
		}
		j, err := r.Job(id(2))
		if err == nil && j.State != storage.Running {
			t.Errorf("the job next to it is %v, want running", j.State)
		}
		return err
	})
	if err := s.Check(t.Context()); !errors.Is(err, storage.ErrCorrupt) || !strings.Contains(err.Error(), "lost") {
		t.Errorf("Check: got %v, want a lost change", err)
	}
	if err := s.Discard(t.Context(), id(1)); err != nil {
		t.Fatal(err)
	}
	check(t, s)
}

func TestAFileOfTheFirstFormatIsUpgraded(t *testing.T) {
	s, path := open(t, nil)
	update(t, s, add(id(1)))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	first := func(top *bbolt.Bucket) error {
		return errors.Join(top.DeleteBucket([]byte("journal")), top.Put([]byte("format"), sealed("format", 1, 1)))
	}
	raw(t, path, first)
	if err := boltstore.Verify(path); err != nil {
		t.Error(err)
	}
	s = reopen(t, path, nil)
	update(t, s, add(id(2)))
	if !exists(t, s, id(1)) || !exists(t, s, id(2)) {
		t.Error("a job is not there")
	}
	check(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	raw(t, path, func(top *bbolt.Bucket) error {
		if got := top.Get([]byte("format")); got[1] != 2 {
			t.Errorf("format is %d, want 2", got[1])
		}
		return nil
	})
}

func TestAFailedCallLeavesTheJobsThatAreWrittenBackAlone(t *testing.T) {
	s, _ := open(t, boltstore.TinyOverlay(nil))
	for i := range byte(100) {
		update(t, s, add(id(2*i)))
		err := s.Update(t.Context(), storage.Reads{}, func(tx storage.Tx) error {
			j, err := tx.Job(id(2 * (i / 2))) // in the trees
			if err != nil {
				return err
			}
			st := j.Status
			st.State, st.Due = storage.Running, time.Unix(int64(i), 0)
			return errors.Join(tx.SetResult(j, []byte("r")), tx.SetJob(j.With(st)), tx.DeletePayload(j), tx.DeleteJob(j), add(id(2*i+1))(tx), errFn)
		})
		if err == nil || err.Error() != errFn.Error() {
			t.Fatalf("got %v, want %v", err, errFn)
		}
		check(t, s)
	}
	if next, counts := positions(t, s); next != 100 || counts[storage.Pending] != 100 || counts.Total() != 100 {
		t.Errorf("got next position %d and %v, want 100 pending", next, counts)
	}
}

// Users' transactions, committed and rolled back, stand between the batches; views read all the while.
func TestUsersTransactionsAndViewsAmongBatches(t *testing.T) {
	db, err := bbolt.Open(filepath.Join(t.TempDir(), "users.db"), 0o600, &bbolt.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	s, err := boltstore.Wrap(db, boltstore.TinyOverlay(nil))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	update(t, s, func(tx storage.Tx) error { return tx.PutQueue(&storage.Queue{QueueName: queueA}) })
	const each = 60
	var added, deleted atomic.Int64
	// step adds a job, or has one run, or deletes one.
	step := func(r *rand.Rand, ids func() storage.ID) func(tx storage.Tx) (int, error) {
		return func(tx storage.Tx) (int, error) {
			jobs, err := tx.Ready(queueA, 5)
			if err != nil {
				return 0, err
			}
			switch n := r.IntN(4); {
			case n < 2 || len(jobs) == 0:
				_, err := tx.AddJob(newJob(ids()), bytes.Repeat([]byte("p"), r.IntN(2000)))
				return 1, err
			case n == 2:
				j := jobs[r.IntN(len(jobs))]
				st := j.Status
				st.State, st.Due = storage.Running, tx.Now().Add(time.Minute)
				return 0, tx.SetJob(j.With(st))
			default:
				return -1, tx.DeleteJob(jobs[r.IntN(len(jobs))])
			}
		}
	}
	count := func(n int) {
		added.Add(int64(max(n, 0)))
		deleted.Add(int64(max(-n, 0)))
	}
	var wg sync.WaitGroup
	for w := range byte(4) {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 0))
			n := byte(0)
			fn := step(r, func() storage.ID { n++; return storage.ID{w + 1, n} })
			for range each {
				did := 0
				update(t, s, func(tx storage.Tx) (err error) { did, err = fn(tx); return err })
				count(did)
			}
		})
	}
	wg.Go(func() {
		r := rand.New(rand.NewPCG(99, 0))
		n := byte(0)
		fn := step(r, func() storage.ID { n++; return storage.ID{99, n} })
		for i := range each {
			did := 0
			err := db.Update(func(btx *bbolt.Tx) error {
				for range 1 + r.IntN(3) {
					if err := s.Tx(btx).Update(t.Context(), storage.Reads{}, func(tx storage.Tx) error {
						n, err := fn(tx)
						did += n
						return err
					}); err != nil {
						return err
					}
				}
				if i%2 == 0 {
					return errFn
				}
				return nil
			})
			if i%2 == 0 {
				if err != errFn {
					t.Errorf("got %v, want %v", err, errFn)
				}
				continue
			}
			if err != nil {
				t.Error(err)
			}
			count(did)
		}
	})
	stop := make(chan struct{})
	var views sync.WaitGroup
	for range 2 {
		views.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				view(t, s, func(r storage.Reader) error { return agrees(t, r) })
			}
		})
	}
	wg.Wait()
	close(stop)
	views.Wait()
	_, counts := positions(t, s)
	if got, want := counts.Total(), added.Load()-deleted.Load(); got != want {
		t.Errorf("there are %d jobs, want %d", got, want)
	}
	check(t, s)
}

// agrees compares the orders and counts of a snapshot with each other.
func agrees(t *testing.T, r storage.Reader) error {
	jobs, _, err := r.Jobs(queueA, 0, storage.ID{}, 10_000)
	counts, err2 := r.Counts(queueA)
	ready, err3 := r.Ready(queueA, 10_000)
	due, err4 := r.Due(r.Now().Add(time.Hour), 10_000)
	if err := errors.Join(err, err2, err3, err4); err != nil {
		return err
	}
	var is storage.Counts
	for _, j := range jobs {
		is[j.State]++
		if _, err := r.Payload(j); err != nil {
			t.Errorf("payload of %v: %v", j.ID, err)
		}
	}
	if is != counts || int64(len(ready)) != counts[storage.Pending] || int64(len(due)) != counts[storage.Running] {
		t.Errorf("jobs are %v, counts %v, %d ready, %d due", is, counts, len(ready), len(due))
	}
	for i := 1; i < len(ready); i++ {
		if ready[i].Position <= ready[i-1].Position {
			t.Errorf("position %d follows %d", ready[i].Position, ready[i-1].Position)
		}
	}
	return nil
}

// The payload of a job in the trees that is deleted is gone for everybody at once, after a crash too, and from its record when the job
// is written back.
func TestADeletedPayloadLeavesTheTrees(t *testing.T) {
	secret := []byte("what nobody is to find any more")
	s, path := open(t, nil)
	update(t, s, func(tx storage.Tx) error {
		_, err := tx.AddJob(newJob(id(1)), secret)
		return err
	})
	if err := s.Close(); err != nil { // which writes the job back
		t.Fatal(err)
	}
	stands := func() (is bool) {
		raw(t, path, func(top *bbolt.Bucket) error {
			rec := top.Bucket([]byte("data")).Get(dataKey(id(1), 0))
			is = bytes.Contains(rec, secret)
			return nil
		})
		return is
	}
	if !stands() {
		t.Fatal("the payload is not where this test looks for it")
	}
	s = reopen(t, path, nil)
	update(t, s, func(tx storage.Tx) error {
		j, err := tx.Job(id(1))
		if err != nil {
			return err
		}
		if err := tx.DeletePayload(j); err != nil {
			return err
		}
		if p, err := tx.Payload(j); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("in the transaction: got %q, %v, want %v", p, err, storage.ErrNotFound)
		}
		return tx.DeletePayload(j) // again: nothing
	})
	gone := func(s storage.Store, when string) {
		t.Helper()
		view(t, s, func(r storage.Reader) error {
			j, err := r.Job(id(1))
			if err != nil {
				return err
			}
			if p, err := r.Payload(j); !errors.Is(err, storage.ErrNotFound) {
				t.Errorf("%s: got %q, %v, want %v", when, p, err, storage.ErrNotFound)
			}
			return nil
		})
	}
	gone(s, "after the transaction")
	image, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(t.TempDir(), "left")
	if err := os.WriteFile(left, image, 0o600); err != nil {
		t.Fatal(err)
	}
	crashed := reopen(t, left, nil)
	gone(crashed, "after a crash")
	check(t, crashed)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if stands() {
		t.Error("the payload still stands in the record of a job that was written back")
	}
	s = reopen(t, path, nil)
	gone(s, "opened again")
	check(t, s)
}
