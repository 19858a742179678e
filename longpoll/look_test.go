package longpoll_test

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"
)

// While a waiter looks things may happen; meanwhile runs after the look has seen that there is nothing and before it returns.
func TestWhileLooking(t *testing.T) {
	for _, c := range []struct {
		name      string
		meanwhile func(s *shop, cancel func())
		looks     int // of the waiter, the first included
		err       error
	}{
		{"a signal makes it look again", func(s *shop, cancel func()) { s.put("a", 1) }, 2, nil},
		{"two signals make it look once more, not twice", func(s *shop, cancel func()) { s.lines.Signal("a", 1); s.put("a", 1) }, 2, nil},
		{"the end of its context ends the wait", func(s *shop, cancel func()) { cancel() }, 1, context.Canceled},
		{"the end of its context goes before a signal", func(s *shop, cancel func()) { s.put("a", 1); cancel() }, 1, context.Canceled},
		{"closing ends the wait", func(s *shop, cancel func()) { s.lines.Close(errClosed) }, 1, errClosed},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var s shop
				looks := 0
				_, err := s.lines.Wait(ctx, "a", nil, func() (bool, error) {
					looks++
					ok, err := s.look()
					if looks == 1 {
						c.meanwhile(&s, cancel)
					}
					return ok, err
				})
				if err != c.err || looks != c.looks {
					t.Errorf("error, looks: got %v, %d, want %v, %d", err, looks, c.err, c.looks)
				}
			})
		})
	}
}

// A waiter that is woken together with a signal and does not use it has to pass it on, however it leaves.
func TestHandingOnAnUnusedSignal(t *testing.T) {
	for _, c := range []struct {
		name string
		look func(s *shop, cancel func()) (bool, error) // the look of the first waiter after the signal
	}{
		{"when its look fails", func(s *shop, cancel func()) (bool, error) {
			return false, errLook
		}},
		{"when its look panics", func(s *shop, cancel func()) (bool, error) {
			panic("look")
		}},
		{"when its look ends the goroutine", func(s *shop, cancel func()) (bool, error) {
			runtime.Goexit()
			return false, nil
		}},
		{"when it took something before the signal came", func(s *shop, cancel func()) (bool, error) {
			s.look()
			s.put("a", 1)
			return true, nil
		}},
		{"when a signal comes into a look that fails", func(s *shop, cancel func()) (bool, error) {
			s.put("a", 1)
			return false, errLook
		}},
		{"when its context ends while it looks and a signal comes", func(s *shop, cancel func()) (bool, error) {
			ok, _ := s.look()
			s.put("a", 1)
			if ok {
				s.put("a", 1)
			}
			cancel()
			return false, nil
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var s shop
				looks := 0
				go func() {
					defer func() { recover() }()
					s.lines.Wait(ctx, "a", nil, func() (bool, error) {
						if looks++; looks == 1 {
							return false, nil
						}
						return c.look(&s, cancel)
					})
				}()
				synctest.Wait()
				s.wait(t.Context(), "a", 2)
				s.wait(t.Context(), "a", 3)
				s.put("a", 1)
				synctest.Wait()
				if got := s.lines.Len("a"); s.bag > 0 && got > 0 {
					t.Errorf("%d sleep beside %d things", got, s.bag)
				}
				s.lines.Close(errClosed)
			})
		})
	}
}

func TestWhoLooksIsInLineWithThoseAsleep(t *testing.T) {
	for _, c := range []struct {
		name  string
		looks int // which of three waiters is looking when the signal comes
		want  int // who looks once more
	}{
		{"it is signaled before those that came after it", 0, 0},
		{"those that came before it are signaled first", 2, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var s shop
				looks := make([]int, 3)
				hold := make(chan struct{})
				held := false
				for n := range looks {
					go s.lines.Wait(t.Context(), "a", nil, func() (bool, error) {
						looks[n]++
						if held && n == c.looks {
							<-hold
						}
						return false, nil
					})
					synctest.Wait()
				}
				held = true
				s.lines.Broadcast("a")
				synctest.Wait()
				clear(looks)
				s.lines.Signal("a", 1)
				close(hold)
				synctest.Wait()
				for n := range looks {
					want := 0
					if n == c.want {
						want = 1
					}
					if looks[n] != want {
						t.Errorf("looks of waiter %d: got %d, want %d", n, looks[n], want)
					}
				}
				s.lines.Close(errClosed)
			})
		})
	}
}
