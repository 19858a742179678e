package storagetest_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/memstore"
	"github.com/pollackq/pollack/storage/storagetest"
)

var mail = storage.QueueName{Account: "acme", Name: "mail"}

func TestFaulty(t *testing.T) {
	other := errors.New("other")
	write := func(tx storage.Tx) error { return tx.PutQueue(&storage.Queue{QueueName: mail}) }
	nothing := func(storage.Tx) error { return nil }
	wrong := func(tx storage.Tx) error { _ = write(tx); return other }
	for _, c := range []struct {
		name   string
		fault  storagetest.Fault
		fn     func(storage.Tx) error
		want   error
		runs   int
		effect bool
	}{
		{"a call before its effect", storagetest.Fault{Kind: storagetest.Before}, write, storage.ErrFailed, 0, false},
		{"with an error of the caller's", storagetest.Fault{Kind: storagetest.Before, Err: storage.ErrFull}, write, storage.ErrFull, 0, false},
		{"a call whose effect is undone", storagetest.Fault{Kind: storagetest.Undone}, write, storage.ErrFailed, 1, false},
		{"a call after its effect", storagetest.Fault{Kind: storagetest.After}, write, storage.ErrOutcomeUnknown, 1, true},
		{"after a call that wrote nothing", storagetest.Fault{Kind: storagetest.After}, nothing, storage.ErrFailed, 1, false},
		{"after a call that failed", storagetest.Fault{Kind: storagetest.After}, wrong, storage.ErrFailed, 1, false},
		{"a function that runs twice", storagetest.Fault{Kind: storagetest.Rerun}, write, nil, 2, true},
		{"a function that fails the first time", storagetest.Fault{Kind: storagetest.Rerun}, wrong, other, 1, false},
		{"none", storagetest.Fault{}, write, nil, 1, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := storagetest.Faulty(memstore.New(nil), storagetest.Nth(2, c.fault))
			if err := s.Update(t.Context(), storage.Reads{}, nothing); err != nil {
				t.Fatalf("the call before: %v", err)
			}
			runs := 0
			err := s.Update(t.Context(), storage.Reads{}, func(tx storage.Tx) error { runs++; return c.fn(tx) })
			if !errors.Is(err, c.want) || runs != c.runs {
				t.Errorf("got %v after %d runs, want %v after %d", err, runs, c.want, c.runs)
			}
			err = s.View(t.Context(), storage.Reads{}, func(r storage.Reader) error { _, err := r.Queue(mail); return err })
			if effect := err == nil; effect != c.effect {
				t.Errorf("effect: got %v (%v), want %v", effect, err, c.effect)
			}
			if got := s.Calls(); got != 3 {
				t.Errorf("Calls: got %d, want 3", got)
			}
		})
	}
}

func TestFaultyView(t *testing.T) {
	s := storagetest.Faulty(memstore.New(nil), storagetest.Every(1, storagetest.Fault{Kind: storagetest.After}))
	if err := s.View(t.Context(), storage.Reads{}, func(storage.Reader) error { return nil }); !errors.Is(err, storage.ErrFailed) {
		t.Errorf("View: got %v, want %v", err, storage.ErrFailed)
	}
	s.Set(nil)
	if err := s.View(t.Context(), storage.Reads{}, func(storage.Reader) error { return nil }); err != nil {
		t.Errorf("View after Set(nil): got %v, want nil", err)
	}
	if _, ok := storage.As[storage.Checker](s); !ok {
		t.Error("the wrapped store is not found by storage.As")
	}
}

// A store that runs every function twice keeps all laws: it shows that the suite's own functions bear it.
func TestLawsOfAStoreThatRunsFunctionsTwice(t *testing.T) {
	twice := func(t testing.TB) storage.Store {
		return storagetest.Faulty(memstore.New(nil), storagetest.Every(1, storagetest.Fault{Kind: storagetest.Rerun}))
	}
	storagetest.Run(t, twice)
	storagetest.Compare(t, memstore.New(nil), twice(t), 1, 100)
}

// TestCloseWaitsForBothRuns: the second run of an Update under way when Close is called runs as if it had not been.
func TestCloseWaitsForBothRuns(t *testing.T) {
	closed := make(chan error, 1)
	var faulty *storagetest.FaultyStore
	faulty = storagetest.Faulty(&afterUpdate{Store: memstore.New(nil), then: sync.OnceFunc(func() {
		go func() { closed <- faulty.Close() }()
		for range 1000 {
			runtime.Gosched()
		}
	})}, storagetest.Every(1, storagetest.Fault{Kind: storagetest.Rerun}))
	if err := faulty.Update(context.Background(), storage.Reads{}, func(storage.Tx) error { return nil }); err != nil {
		t.Errorf("Update: got %v, want nil", err)
	}
	if err := <-closed; err != nil {
		t.Errorf("Close: got %v, want nil", err)
	}
}

// An afterUpdate is a store that calls then before an Update returns.
type afterUpdate struct {
	storage.Store
	then func()
}

func (s *afterUpdate) Update(ctx context.Context, r storage.Reads, fn func(storage.Tx) error) error {
	defer s.then()
	return s.Store.Update(ctx, r, fn)
}

func ExampleFaulty() {
	store := storagetest.Faulty(memstore.New(nil), storagetest.Nth(1, storagetest.Fault{Kind: storagetest.After}))
	put := func(tx storage.Tx) error { return tx.PutQueue(&storage.Queue{QueueName: mail}) }
	fmt.Println(store.Update(context.Background(), storage.Reads{}, put))
	fmt.Println(store.Update(context.Background(), storage.Reads{}, put))
	// Output:
	// outcome unknown
	// <nil>
}
