package jobqueue_test

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/boltstore"
	"github.com/pollackq/pollack/storage/memstore"
	"github.com/pollackq/pollack/storage/storagetest"
)

// faulty runs a test in virtual time on a broker whose store fails when it is told to.
func faulty(t *testing.T, test func(t *testing.T, b *jobqueue.Broker, fail func(storagetest.Fault))) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(nil)
		defer store.Close()
		f := storagetest.Faulty(store, nil)
		b, err := jobqueue.New(f, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Shutdown(t.Context())
		synctest.Wait()
		test(t, b, func(fault storagetest.Fault) {
			f.Set(func(c storagetest.Call) storagetest.Fault {
				if c.Update {
					return fault
				}
				return storagetest.Fault{}
			})
		})
	})
}

var unknown = storagetest.Fault{Kind: storagetest.After}

func TestAReleaseOfUnknownOutcomeWakesWhoWaits(t *testing.T) {
	faulty(t, func(t *testing.T, b *jobqueue.Broker, fail func(storagetest.Fault)) {
		q := b.Queue("q")
		if _, err := q.Enqueue(t.Context(), jobqueue.NewJob{}); err != nil {
			t.Fatal(err)
		}
		d, err := q.Receive(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		got := make(chan error, 1)
		go func() {
			_, err := q.Receive(t.Context(), &jobqueue.ReceiveOptions{Wait: time.Hour})
			got <- err
		}()
		synctest.Wait()
		fail(unknown)
		err = d.Release(t.Context(), nil)
		fail(storagetest.Fault{})
		if !errors.Is(err, jobqueue.ErrOutcomeUnknown) {
			t.Fatalf("Release: got %v, want %v", err, jobqueue.ErrOutcomeUnknown)
		}
		if err := <-got; err != nil && !errors.Is(err, jobqueue.ErrOutcomeUnknown) {
			t.Errorf("the one who waited: %v", err)
		}
	})
}

func TestADelayOfUnknownOutcomeEndsInTime(t *testing.T) {
	faulty(t, func(t *testing.T, b *jobqueue.Broker, fail func(storagetest.Fault)) {
		q := b.Queue("q")
		fail(unknown)
		_, err := q.Enqueue(t.Context(), jobqueue.NewJob{Key: "k", Delay: time.Minute})
		fail(storagetest.Fault{})
		if !errors.Is(err, jobqueue.ErrOutcomeUnknown) {
			t.Fatalf("Enqueue: got %v, want %v", err, jobqueue.ErrOutcomeUnknown)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if j, err := b.JobByKey(t.Context(), q.Name(), "k"); err != nil || j.State != jobqueue.Pending {
			t.Errorf("got %v, want a pending job", err)
		}
	})
}

func TestAFailedStoreEndsConsume(t *testing.T) {
	faulty(t, func(t *testing.T, b *jobqueue.Broker, fail func(storagetest.Fault)) {
		ended := make(chan error, 1)
		go func() {
			ended <- b.Queue("q").Consume(t.Context(), func(context.Context, *jobqueue.Delivery) error { return nil }, nil)
		}()
		synctest.Wait()
		fail(storagetest.Fault{Kind: storagetest.Before, Err: storage.ErrFailed})
		if _, err := b.Queue("another").Enqueue(t.Context(), jobqueue.NewJob{}); !errors.Is(err, jobqueue.ErrStoreFailed) {
			t.Fatalf("Enqueue: got %v, want %v", err, jobqueue.ErrStoreFailed)
		}
		if err := <-ended; !errors.Is(err, jobqueue.ErrStoreFailed) {
			t.Errorf("Consume: got %v, want %v", err, jobqueue.ErrStoreFailed)
		}
		fail(storagetest.Fault{})
	})
}

func TestAnOutboxKeyThatSomebodyTookKeepsNoJobFromEnding(t *testing.T) {
	bubble(t, nil, func(t *testing.T, b *jobqueue.Broker) {
		j, err := b.Queue("q").Enqueue(t.Context(), jobqueue.NewJob{Outbox: []string{"events"}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Queue("events").Enqueue(t.Context(), jobqueue.NewJob{Key: j.ID.String() + "/1"}); err != nil {
			t.Fatal(err)
		}
		d, err := b.Queue("q").Receive(t.Context(), nil)
		if err == nil {
			err = d.Ack(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		ds, err := b.Queue("events").ReceiveMany(t.Context(), 3, nil)
		if err != nil || len(ds) != 2 || ds[1].Name != "job.succeeded" {
			t.Errorf("got %d jobs, %v; want the other's and ours", len(ds), err)
		}
	})
}

func TestAJobThatCannotBeMovedLeavesNothingBehindAndStopsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, err := bbolt.Open(filepath.Join(t.TempDir(), "f"), 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		store, err := boltstore.Wrap(db, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		b, err := jobqueue.New(store, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Shutdown(t.Context())
		if _, err := b.Queue("q").Enqueue(t.Context(), jobqueue.NewJob{Outbox: []string{"events"}, Deadline: time.Now().Add(time.Minute)}); err != nil {
			t.Fatal(err)
		}
		d, err := b.Queue("q").Receive(t.Context(), nil)
		if err == nil {
			err = d.Progress(t.Context(), 0.5, strings.Repeat("half way ", 200)) // too long for the journal
		}
		if err == nil {
			err = db.Update(func(tx *bbolt.Tx) error { return damageText(tx, "half way") })
		}
		if err != nil {
			t.Fatal(err)
		}
		other, err := b.Queue("other").Enqueue(t.Context(), jobqueue.NewJob{Delay: 3 * time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(4 * time.Minute)
		synctest.Wait()
		if j, err := b.Job(t.Context(), other.ID); err != nil || j.State != jobqueue.Pending {
			t.Errorf("another queue's delayed job: %v, want it pending", err)
		}
		info, err := b.Queue("events").Info(t.Context())
		if err == nil && info.Counts.Total() > 1 {
			t.Errorf("the outbox has %d jobs of one end", info.Counts.Total())
		}
	})
}

// A torn store cannot read one job.
type torn struct {
	storage.Store
	id jobqueue.ID
}

func (s *torn) Update(ctx context.Context, r storage.Reads, fn func(storage.Tx) error) error {
	return s.Store.Update(ctx, r, func(tx storage.Tx) error { return fn(tornTx{tx, s.id}) })
}

type tornTx struct {
	storage.Tx
	id jobqueue.ID
}

func (t tornTx) Job(id jobqueue.ID) (*storage.Job, error) {
	if id == t.id {
		return nil, &storage.CorruptError{Record: "status", Job: id}
	}
	return t.Tx.Job(id)
}

func TestADamagedJobKeepsNoOtherFromBeingAcked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &torn{Store: memstore.New(nil)}
		b, err := jobqueue.New(store, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Shutdown(t.Context())
		q := b.Queue("q")
		if _, err := q.EnqueueMany(t.Context(), make([]jobqueue.NewJob, 3)); err != nil {
			t.Fatal(err)
		}
		ds, err := q.ReceiveMany(t.Context(), 3, nil)
		if err != nil || len(ds) != 3 {
			t.Fatal(len(ds), err)
		}
		store.id = ds[1].ID
		acks := []jobqueue.Ack{{ID: ds[0].ID, Token: ds[0].Token}, {ID: ds[1].ID, Token: ds[1].Token}, {ID: ds[2].ID, Token: ds[2].Token}}
		results, err := b.AckMany(t.Context(), acks)
		if err != nil || results[0].Err != nil || !errors.Is(results[1].Err, jobqueue.ErrCorrupt) || results[2].Err != nil {
			t.Errorf("got %v, %v; want the second alone to be corrupt", results, err)
		}
	})
}

// damageText flips a bit in the record that has a text.
func damageText(tx *bbolt.Tx, text string) error {
	data := tx.Bucket([]byte("pollack")).Bucket([]byte("data"))
	c := data.Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		if bytes.Contains(v, []byte(text)) {
			v = bytes.Clone(v)
			v[len(v)/2] ^= 4
			return data.Put(bytes.Clone(k), v)
		}
	}
	return errors.New("there is no such record")
}

func TestWhatIsHandedOutIsACopy(t *testing.T) {
	bubble(t, &jobqueue.Options{Retention: -1}, func(t *testing.T, b *jobqueue.Broker) {
		q := b.Queue("q")
		if _, err := q.Enqueue(t.Context(), jobqueue.NewJob{}); err != nil {
			t.Fatal(err)
		}
		d, err := q.Receive(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		j, err := b.Progress(t.Context(), d.ID, d.Token, jobqueue.Progress{Fraction: 0.5})
		if err != nil {
			t.Fatal(err)
		}
		*j.Progress = 42
		if j, err := b.Job(t.Context(), d.ID); err != nil || *j.Progress != 0.5 {
			t.Errorf("progress: got %v, %v; want 0.5", *j.Progress, err)
		}
		ended := make(chan *jobqueue.Job)
		go func() {
			j, _ := b.WaitEnd(t.Context(), d.ID)
			ended <- j
		}()
		synctest.Wait()
		buf := []byte("good")
		if err := d.Complete(t.Context(), jobqueue.NewResult{Data: buf}); err != nil {
			t.Fatal(err)
		}
		copy(buf, "evil")
		if j := <-ended; string(j.Result.Data) != "good" {
			t.Errorf("result: got %q, want what was given", j.Result.Data)
		}
	})
}
