package boltstore_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/boltstore"
)

var queueA = storage.QueueName{Name: "a"}

// open opens a store in a file of the test's own, with a queue in it, and closes it when the test ends.
func open(t testing.TB, o *boltstore.Options) (*boltstore.Store, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "jobs.db")
	s := reopen(t, path, o)
	update(t, s, func(tx storage.Tx) error { return tx.PutQueue(&storage.Queue{QueueName: queueA}) })
	return s, path
}

func reopen(t testing.TB, path string, o *boltstore.Options) *boltstore.Store {
	t.Helper()
	s, err := boltstore.Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func update(t testing.TB, s storage.Store, fn func(storage.Tx) error) {
	t.Helper()
	if err := s.Update(t.Context(), storage.Reads{}, fn); err != nil {
		t.Fatalf("update: %v", err)
	}
}

func view(t testing.TB, s storage.Store, fn func(storage.Reader) error) {
	t.Helper()
	if err := s.View(t.Context(), storage.Reads{}, fn); err != nil {
		t.Fatalf("view: %v", err)
	}
}

func newJob(id storage.ID) *storage.Job {
	return &storage.Job{Spec: &storage.Spec{ID: id, Queue: queueA, Key: id.String()}, Status: storage.Status{State: storage.Pending}}
}

func check(t testing.TB, s *boltstore.Store) {
	t.Helper()
	if err := s.Check(t.Context()); err != nil {
		t.Errorf("check: %v", err)
	}
}

func TestReopenKeepsAll(t *testing.T) {
	s, path := open(t, nil)
	id := storage.NewID(time.Now())
	large := make([]byte, 300_000)
	for i := range large {
		large[i] = byte(i * 7)
	}
	progress := 0.25
	var want *storage.Job
	update(t, s, func(tx storage.Tx) error {
		now := tx.Now()
		j := &storage.Job{
			Spec: &storage.Spec{ID: id, Queue: queueA, Account: "b", Key: "k", RequestHash: [32]byte{1}, Priority: -7, Created: now, Name: "n",
				ContentType: "text/plain", Tags: map[string]string{"x": "y", "z": ""}, Size: 5, Blob: id, Outbox: []string{"o", "p"}, Origin: id,
				Limits: storage.Limits{Lease: time.Second, MaxDeliveries: -1, Retention: 3, Tombstone: -4}, Once: true},
			Status: storage.Status{State: storage.Pending, Due: now.Add(time.Hour)},
		}
		added, err := tx.AddJob(j, large)
		if err != nil {
			return err
		}
		st := storage.Status{State: storage.Running, Lease: storage.Held, Version: 1 << 62, Due: now.Add(time.Minute), Token: storage.Token{9},
			Deliveries: 1, Lapses: 2, Ends: 3, Owed: 4, RunAt: now.Add(1e9), LeaseExpires: now.Add(time.Minute), Deadline: now.Add(2e9),
			Started: now.Add(3e9), Finished: now.Add(4e9), Progress: &progress, HasResult: true, NoPayload: true, ResultSize: 77, ResultBlob: id}
		want = added.With(st)
		if err := tx.SetJob(want); err != nil {
			return err
		}
		return tx.SetResult(want, []byte("result"))
	})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = reopen(t, path, nil)
	view(t, s, func(r storage.Reader) error {
		j, err := r.JobByKey(want.KeyOf())
		if err != nil {
			return err
		}
		if !equal(j, want) {
			t.Errorf("job is\n%+v\n%+v, want\n%+v\n%+v", j.Spec, j.Status, want.Spec, want.Status)
		}
		if p, err := r.Payload(j); err != nil || string(p) != string(large) {
			t.Errorf("payload has %d bytes, %v", len(p), err)
		}
		if p, err := r.Result(j); err != nil || string(p) != "result" {
			t.Errorf("result is %q, %v", p, err)
		}
		if n, err := r.NextPosition(queueA); err != nil || n != 1 {
			t.Errorf("next position is %d, %v, want 1", n, err)
		}
		return nil
	})
	check(t, s)
}
