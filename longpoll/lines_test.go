package longpoll_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/pollackq/pollack/longpoll"
)

func TestWaiting(t *testing.T) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, s *shop)
	}{
		{"what is there is taken without waiting, in one look", func(t *testing.T, s *shop) {
			s.put("a", 1)
			s.wait(t.Context(), "a", 1)
			wantDone(t, s, 1)
			wantLooks(t, s, 1)
		}},
		{"n signals cause exactly n looks", func(t *testing.T, s *shop) {
			for n := range 20 {
				s.wait(t.Context(), "a", n)
			}
			wantLooks(t, s, 1) // whoever came while another slept need not look
			s.put("a", 7)
			wantLooks(t, s, 7)
			if got := slices.Sorted(slices.Values(s.done())); !slices.Equal(got, []int{0, 1, 2, 3, 4, 5, 6}) {
				t.Errorf("waits ended: got %v, want those of 0 to 6", got)
			}
			s.lines.Signal("a", 0)
			s.lines.Signal("a", -1)
			wantLooks(t, s, 0)
		}},
		{"whoever comes while nobody sleeps looks", func(t *testing.T, s *shop) {
			s.wait(t.Context(), "a", 0)
			s.put("a", 1)
			wantLooks(t, s, 2)
			s.wait(t.Context(), "a", 1)
			wantLooks(t, s, 1)
			s.wait(t.Context(), "b", 2)
			wantLooks(t, s, 1)
			if !s.lines.Asleep("a") || !s.lines.Asleep("b") || s.lines.Asleep("c") {
				t.Error("Asleep: want it for the two keys that are waited for")
			}
		}},
		{"who waited longest is woken first", func(t *testing.T, s *shop) {
			for n := range 5 {
				s.wait(t.Context(), "a", n)
			}
			for range 5 {
				s.put("a", 1)
				synctest.Wait()
			}
			wantDone(t, s, 0, 1, 2, 3, 4)
		}},
		{"a look in vain does not cost the place in line", func(t *testing.T, s *shop) {
			for n := range 5 {
				s.wait(t.Context(), "a", n)
			}
			s.lines.Signal("a", 3)
			synctest.Wait()
			s.wait(t.Context(), "a", 5)
			for range 6 {
				s.put("a", 1)
				synctest.Wait()
			}
			wantDone(t, s, 0, 1, 2, 3, 4, 5)
		}},
		{"keys do not hear each other's signals", func(t *testing.T, s *shop) {
			s.wait(t.Context(), "a", 1)
			s.wait(t.Context(), "b", 2)
			s.newLooks()
			s.put("b", 1)
			wantLooks(t, s, 1)
			wantDone(t, s, 2)
			s.put("c", 1)
			wantLooks(t, s, 0)
			s.lines.Broadcast("a")
			wantDone(t, s, 2, 1)
		}},
		{"canceling one of n waiters wakes no other", func(t *testing.T, s *shop) {
			ctx, cancel := context.WithCancel(t.Context())
			for n := range 100 {
				s.wait(t.Context(), "a", n)
			}
			s.wait(ctx, "a", 100)
			for n := range 100 {
				s.wait(t.Context(), "a", 101+n)
			}
			s.newLooks()
			cancel()
			wantLooks(t, s, 0)
			wantDone(t, s, 100)
			if err := s.err(100); !errors.Is(err, context.Canceled) {
				t.Errorf("error: got %v, want %v", err, context.Canceled)
			}
			if got := s.lines.Len("a"); got != 200 {
				t.Errorf("Len: got %d, want 200", got)
			}
		}},
		{"a signal whose waiter ended before it looked goes to the next", func(t *testing.T, s *shop) {
			ctx, cancel := context.WithCancel(t.Context())
			s.wait(ctx, "a", 1)
			s.wait(t.Context(), "a", 2)
			s.newLooks()
			s.put("a", 1)
			cancel() // waiter 1 sees one of the two first, whichever
			synctest.Wait()
			if s.bag != 0 {
				t.Errorf("%d sleep beside %d things", s.lines.Len("a"), s.bag)
			}
		}},
		{"a context that has ended is not looked for", func(t *testing.T, s *shop) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			s.put("a", 1)
			s.wait(ctx, "a", 1)
			wantLooks(t, s, 0)
			if err := s.err(1); !errors.Is(err, context.Canceled) {
				t.Errorf("error: got %v, want %v", err, context.Canceled)
			}
		}},
		{"broadcasting to all wakes every key", func(t *testing.T, s *shop) {
			s.wait(t.Context(), "a", 1)
			s.wait(t.Context(), "b", 2)
			s.wait(t.Context(), "b", 3)
			s.newLooks()
			s.lines.BroadcastAll()
			wantLooks(t, s, 3)
			if n, all := s.lines.Len("b"), s.lines.Waiting(); n != 2 || all != 3 {
				t.Errorf("Len, Waiting: got %d, %d, want 2, 3", n, all)
			}
		}},
		{"closing ends every wait with the first error given, without a look", func(t *testing.T, s *shop) {
			s.wait(t.Context(), "a", 1)
			s.wait(t.Context(), "b", 2)
			s.newLooks()
			s.lines.Close(errClosed)
			s.lines.Close(errLook)
			s.wait(t.Context(), "c", 3)
			wantLooks(t, s, 0)
			for n := 1; n <= 3; n++ {
				if err := s.err(n); err != errClosed {
					t.Errorf("error of waiter %d: got %v, want %v", n, err, errClosed)
				}
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var s shop
				c.run(t, &s)
				s.lines.Close(errClosed)
				synctest.Wait()
				if kept, _ := s.lines.Keys(); kept != 0 || s.lines.Waiting() != 0 {
					t.Errorf("after the end: got %d lines and %d waiting, want none", kept, s.lines.Waiting())
				}
			})
		})
	}
}

func TestCloseWithoutAnErrorPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	var lines longpoll.Lines[int, int]
	lines.Close(nil)
}

func TestSignalSaysHowManyItHasWoken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lines longpoll.Lines[string, int]
		ctx, cancel := context.WithCancel(t.Context())
		for range 3 {
			go lines.Wait(ctx, "k", 0, func() (bool, error) { return false, nil })
		}
		go lines.Wait(ctx, "other", 0, func() (bool, error) { return false, nil })
		inLine := func(when string, want map[string]int) {
			t.Helper()
			if got := lines.InLines(); !maps.Equal(got, want) {
				t.Errorf("%s: got %v in line, want %v", when, got, want)
			}
			for key, n := range want {
				if got := lines.InLine(key); got != n {
					t.Errorf("%s: got %d in line for %q, want %d", when, got, key, n)
				}
			}
		}
		synctest.Wait()
		inLine("all sleep", map[string]int{"k": 3, "other": 1})
		for _, c := range []struct {
			key     string
			n, want int
		}{{"nobody", 1, 0}, {"k", 2, 2}, {"k", 4, 3}, {"k", 0, 0}} {
			if got := lines.Signal(c.key, c.n); got != c.want {
				t.Errorf("Signal(%q, %d): got %d, want %d", c.key, c.n, got, c.want)
			}
			synctest.Wait() // they look in vain
		}
		held, _ := lines.Reserve("k")
		inLine("one is reserved", map[string]int{"k": 2, "other": 1})
		lines.Signal("other", 1)
		inLine("one has been signaled", map[string]int{"k": 2})
		held.Release()
		synctest.Wait()
		inLine("all sleep again", map[string]int{"k": 3, "other": 1})
		cancel()
		synctest.Wait()
		inLine("all have left", map[string]int{})
		if got := lines.InLine("k"); got != 0 {
			t.Errorf("all have left: got %d", got)
		}
	})
}
