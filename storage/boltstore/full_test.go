package boltstore_test

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/boltstore"
)

func TestAFullStoreRefusesWhatIsNewAndGoesOnWithTheRest(t *testing.T) {
	const maxSize = 4 << 20
	s, path := open(t, &boltstore.Options{MaxSize: maxSize})
	payload := make([]byte, 3000)
	var ids []storage.ID
	fill := func() {
		for size := len(payload); size >= 0; {
			id := storage.NewID(time.Now())
			err := s.Update(t.Context(), storage.Reads{}, func(tx storage.Tx) error {
				_, err := tx.AddJob(newJob(id), payload[:size])
				return err
			})
			if errors.Is(err, storage.ErrFull) {
				size -= len(payload) // then until not even a job without payload fits
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
		}
	}
	fill()
	if len(ids) < 200 {
		t.Errorf("only %d jobs fit", len(ids))
	}
	for name, fn := range map[string]func(tx storage.Tx) error{
		"PutQueue of a new one": func(tx storage.Tx) error {
			return tx.PutQueue(&storage.Queue{QueueName: storage.QueueName{Name: "new"}})
		},
		"PutChunk": func(tx storage.Tx) error { return tx.PutChunk(id(1), 0, payload) },
	} {
		if err := s.Update(t.Context(), storage.Reads{}, fn); !errors.Is(err, storage.ErrFull) {
			t.Errorf("%s: got %v, want %v", name, err, storage.ErrFull)
		}
	}
	// All at once, among enqueues that do not fit.
	var wg sync.WaitGroup
	for _, id := range ids {
		wg.Go(func() {
			update(t, s, func(tx storage.Tx) error {
				j, err := tx.Job(id)
				if err != nil {
					return err
				}
				st := j.Status
				st.State, st.Due = storage.Running, tx.Now().Add(time.Minute)
				j = j.With(st)
				return errors.Join(tx.SetJob(j), tx.SetResult(j, []byte("r")))
			})
		})
	}
	wg.Go(func() {
		for range 50 {
			if err := s.Update(t.Context(), storage.Reads{}, add(storage.NewID(time.Now()))); err != nil && !errors.Is(err, storage.ErrFull) {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	update(t, s, func(tx storage.Tx) error { // a tombstone, and a job out of an outbox
		gone, told := newJob(id(1)), newJob(id(2))
		gone.State, told.Origin = storage.Gone, id(3)
		_, err := tx.AddJob(gone, nil)
		_, err2 := tx.AddJob(told, nil)
		return errors.Join(err, err2)
	})
	for i := 0; i < len(ids); i += 20 {
		update(t, s, func(tx storage.Tx) error {
			for _, id := range ids[i:min(i+20, len(ids))] {
				j, err := tx.Job(id)
				if err != nil {
					return err
				}
				if err := tx.DeleteJob(j); err != nil {
					return err
				}
			}
			return nil
		})
	}
	first := len(ids)
	ids = nil
	fill()
	if len(ids) < first*9/10 {
		t.Errorf("after deleting all, %d jobs fit, %d before", len(ids), first)
	}
	check(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() > maxSize {
		t.Errorf("the file has %d bytes, %v, want at most %d", info.Size(), err, maxSize)
	}
	if err := boltstore.Verify(path); err != nil {
		t.Error(err)
	}
}

func TestOneThatDoesNotFitAloneLeavesItsNeighboursAlone(t *testing.T) {
	s, _ := open(t, &boltstore.Options{MaxSize: 4 << 20})
	release := hold(t, s)
	var wg sync.WaitGroup
	for i := range byte(20) {
		wg.Go(func() {
			update(t, s, add(id(i)))
		})
	}
	// Statuses and results of one job may use the reserve, so this meets the end of the file itself.
	wg.Go(func() {
		err := s.Update(t.Context(), storage.Reads{}, func(tx storage.Tx) error {
			if err := add(id(100))(tx); err != nil {
				return err
			}
			for i := range byte(8) {
				if err := add(id(101 + i))(tx); err != nil {
					return err
				}
				if err := tx.SetResult(newJob(id(101+i)), make([]byte, storage.MaxValue)); err != nil {
					return err
				}
			}
			return nil
		})
		if !errors.Is(err, storage.ErrFull) {
			t.Errorf("got %v, want %v", err, storage.ErrFull)
		}
	})
	release()
	wg.Wait()
	if next, counts := positions(t, s); next != 20 || counts.Total() != 20 {
		t.Errorf("got next position %d and %d jobs, want 20", next, counts.Total())
	}
	check(t, s)
}

// TestAFullDisk needs a file system of a few MiB: name a directory in it, such as a small tmpfs, in BOLTSTORE_SMALL_DIR.
func TestAFullDisk(t *testing.T) {
	dir := os.Getenv("BOLTSTORE_SMALL_DIR")
	if dir == "" {
		t.Skip("BOLTSTORE_SMALL_DIR is not set")
	}
	path := filepath.Join(dir, "jobs.db")
	defer os.Remove(path)
	s := reopen(t, path, nil)
	update(t, s, func(tx storage.Tx) error { return tx.PutQueue(&storage.Queue{QueueName: queueA}) })
	for round := range 3 {
		var ids []storage.ID
		for {
			id := storage.NewID(time.Now())
			err := s.Update(t.Context(), storage.Reads{}, func(tx storage.Tx) error {
				_, err := tx.AddJob(newJob(id), make([]byte, 50_000))
				return err
			})
			if errors.Is(err, storage.ErrFull) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
		}
		if len(ids) < 20 {
			t.Fatalf("round %d: only %d jobs fit", round, len(ids))
		}
		for _, id := range ids {
			update(t, s, func(tx storage.Tx) error {
				j, err := tx.Job(id)
				if err != nil {
					return err
				}
				return tx.DeleteJob(j)
			})
		}
		check(t, s)
	}
}
