package boltstore_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/pollackq/pollack/storage"
)

// hold keeps the committer busy in a transaction of its own until release is called, so that calls wait together behind it.
func hold(t *testing.T, s storage.Store) (release func()) {
	entered, leave := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		update(t, s, func(storage.Tx) error {
			close(entered)
			<-leave
			return nil
		})
	})
	<-entered
	return func() { close(leave); wg.Wait() }
}

func TestNeighboursInABatchDoNotNoticeErrorsAndPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := open(t, nil)
		before := s.Stats()
		release := hold(t, s)
		const n = 60
		var wg sync.WaitGroup
		for i := range byte(n) {
			wg.Go(func() {
				var got any
				var err error
				func() {
					defer func() { got = recover() }()
					err = s.Update(t.Context(), storage.Reads{}, func(tx storage.Tx) error {
						if err := add(id(i))(tx); err != nil {
							return err
						}
						switch i % 3 {
						case 1:
							return errFn
						case 2:
							panic(i)
						}
						return nil
					})
				}()
				if want := map[byte]error{1: errFn}[i%3]; err != want {
					t.Errorf("call %d: got %v, want %v", i, err, want)
				}
				if i%3 == 2 && got != i || i%3 != 2 && got != nil {
					t.Errorf("call %d: got panic %v", i, got)
				}
			})
		}
		synctest.Wait()
		release()
		wg.Wait()
		if got := s.Stats().Commits - before.Commits; got != 1 {
			t.Errorf("got %d commits, want 1", got)
		}
		for i := range byte(n) {
			if got, want := exists(t, s, id(i)), i%3 == 0; got != want {
				t.Errorf("job %d exists: got %v, want %v", i, got, want)
			}
		}
		if next, counts := positions(t, s); next != n/3 || counts.Total() != n/3 {
			t.Errorf("got next position %d and %d jobs, want %d", next, counts.Total(), n/3)
		}
		check(t, s)
	})
}

func TestABatchThatChangesNothingDoesNotCommit(t *testing.T) {
	s, _ := open(t, nil)
	before := s.Stats().Commits
	update(t, s, func(tx storage.Tx) error { _, err := tx.Ready(queueA, 1); return err })
	if err := s.Update(t.Context(), storage.Reads{}, func(tx storage.Tx) error { return errors.Join(add(id(1))(tx), errFn) }); !errors.Is(err, errFn) {
		t.Errorf("got %v, want %v", err, errFn)
	}
	if got := s.Stats().Commits - before; got != 0 {
		t.Errorf("got %d commits, want none", got)
	}
}

func TestAWaitingCallIsWithdrawnWhenItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := open(t, nil)
		release := hold(t, s)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := s.Update(ctx, storage.Reads{}, add(id(1))); err != context.Canceled {
				t.Errorf("got %v, want %v", err, context.Canceled)
			}
		})
		synctest.Wait()
		cancel()
		wg.Wait() // although the committer is still busy
		release()
		if exists(t, s, id(1)) {
			t.Error("the withdrawn call took effect")
		}
	})
}

func TestARunningCallIsAwaitedWhenItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := open(t, nil)
		ctx, cancel := context.WithCancel(t.Context())
		if err := s.Update(ctx, storage.Reads{}, func(tx storage.Tx) error {
			cancel()
			return add(id(1))(tx)
		}); err != nil {
			t.Errorf("got %v, want nil", err)
		}
		if !exists(t, s, id(1)) {
			t.Error("the job is not there")
		}
	})
}
