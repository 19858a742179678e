package longpoll_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/pollackq/pollack/longpoll"
)

func TestACrowdOfTenThousand(t *testing.T) {
	const crowd = 10_000
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var s shop
		var left sync.WaitGroup
		for range crowd {
			left.Go(func() { s.lines.Wait(ctx, "a", nil, s.look) })
		}
		wantLooks(t, &s, 1)
		s.lines.Broadcast("a")
		wantLooks(t, &s, crowd)
		s.put("a", crowd/2)
		wantLooks(t, &s, crowd/2)
		if got := s.lines.Len("a"); got != crowd/2 {
			t.Errorf("Len: got %d, want %d", got, crowd/2)
		}
		// All cancel at once: nobody wakes anybody, so that a crowd that goes costs no more than its number.
		cancel()
		wantLooks(t, &s, 0)
		left.Wait()
	})
}

func TestNothingIsKeptForKeysThatNobodyWaitsFor(t *testing.T) {
	const keys = 5_000
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var lines longpoll.Lines[int, int]
		nothing := func() (bool, error) { return false, nil }
		for k := range keys {
			go lines.Wait(ctx, k, 0, nothing)
		}
		synctest.Wait()
		if kept, _ := lines.Keys(); kept != keys {
			t.Errorf("lines kept while waited for: got %d, want %d", kept, keys)
		}
		cancel()
		synctest.Wait()
		if kept, largest := lines.Keys(); kept != 0 || largest > keys/4 {
			t.Errorf("lines kept: got %d in a map that has held %d, want none in a small one", kept, largest)
		}
		lines.Signal(1, 1)
		lines.Broadcast(1)
		if _, ok := lines.Reserve(1); ok {
			t.Error("a waiter was reserved where nobody waits")
		}
		if kept, _ := lines.Keys(); kept != 0 {
			t.Errorf("lines kept after signals for nobody: got %d, want 0", kept)
		}
	})
}
