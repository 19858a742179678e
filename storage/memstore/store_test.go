package memstore_test

import (
	"errors"
	"runtime"
	"testing"

	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/memstore"
)

func TestStatsCountCalls(t *testing.T) {
	s := memstore.New(nil)
	for range 3 {
		_ = s.View(t.Context(), storage.Reads{}, func(storage.Reader) error { return nil })
	}
	for range 2 {
		_ = s.Update(t.Context(), storage.Reads{}, func(storage.Tx) error { return errors.New("fails") })
	}
	if got, want := s.Stats(), (memstore.Stats{Views: 3, Updates: 2}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestATransactionIsOfNoUseAfterItsEnd(t *testing.T) {
	s := memstore.New(nil)
	var kept storage.Tx
	if err := s.Update(t.Context(), storage.Reads{}, func(tx storage.Tx) error { kept = tx; return nil }); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if recover() == nil {
			t.Error("a write after the end of its transaction did not panic")
		}
	}()
	_ = kept.PutQueue(&storage.Queue{QueueName: storage.QueueName{Name: "late"}})
}

// Law 3 forbids it, and still the store is not left locked.
func TestAFunctionThatEndsItsGoroutineIsUndone(t *testing.T) {
	s := memstore.New(nil)
	q := storage.QueueName{Name: "q"}
	ended := make(chan bool)
	go func() {
		defer close(ended)
		_ = s.Update(t.Context(), storage.Reads{}, func(tx storage.Tx) error {
			_ = tx.PutQueue(&storage.Queue{QueueName: q})
			runtime.Goexit()
			return nil
		})
	}()
	<-ended
	err := s.View(t.Context(), storage.Reads{}, func(r storage.Reader) error { _, err := r.Queue(q); return err })
	if !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("Queue: got %v, want %v", err, storage.ErrNotFound)
	}
}
