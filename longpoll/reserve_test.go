package longpoll_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/pollackq/pollack/longpoll"
)

// A parked is a waiter that waits for something to be handed over.
type parked struct {
	cancel func()
	handed bool
	err    error
	ended  bool
	looks  int
	got    string
}

// park has a waiter wait in vain; when it looks for the second time it takes something.
func park(t *testing.T, lines *longpoll.Lines[string, *parked]) *parked {
	ctx, cancel := context.WithCancel(t.Context())
	p := &parked{cancel: cancel}
	go func() {
		defer cancel()
		p.handed, p.err = lines.Wait(ctx, "a", p, func() (bool, error) {
			p.looks++
			return p.looks > 1, nil
		})
		p.ended = true
	}()
	synctest.Wait()
	p.looks = 1 // also if another slept already, so that it needed none
	return p
}

func reserve(t *testing.T, lines *longpoll.Lines[string, *parked], want *parked) longpoll.Reservation[string, *parked] {
	t.Helper()
	r, ok := lines.Reserve("a")
	if !ok || r.Value != want {
		t.Fatalf("Reserve: got %p, %v, want %p, true", r.Value, ok, want)
	}
	return r
}

func (p *parked) want(t *testing.T, ended, handed bool, looks int, err error) {
	t.Helper()
	synctest.Wait()
	if p.ended != ended || p.handed != handed || p.looks != looks || p.err != err {
		t.Errorf("ended, handed, looks, error: got %v, %v, %d, %v, want %v, %v, %d, %v", p.ended, p.handed, p.looks, p.err, ended, handed, looks, err)
	}
}

func TestReserving(t *testing.T) {
	type lines = longpoll.Lines[string, *parked]
	for _, c := range []struct {
		name string
		run  func(t *testing.T, l *lines)
	}{
		{"a hand-over ends the wait without a look", func(t *testing.T, l *lines) {
			p := park(t, l)
			r := reserve(t, l, p)
			r.Value.got = "job"
			p.want(t, false, false, 1, nil)
			r.HandOver()
			p.want(t, true, true, 1, nil)
			if p.got != "job" {
				t.Errorf("value: got %q, want %q", p.got, "job")
			}
		}},
		{"who waited longest is reserved first", func(t *testing.T, l *lines) {
			p1, p2 := park(t, l), park(t, l)
			r1, r2 := reserve(t, l, p1), reserve(t, l, p2)
			if _, ok := l.Reserve("a"); ok {
				t.Error("a third was reserved of two")
			}
			r2.HandOver()
			r1.HandOver()
		}},
		{"after a release it looks, and has its place again", func(t *testing.T, l *lines) {
			p1, p2 := park(t, l), park(t, l)
			p1.looks = -2 // it will look in vain
			reserve(t, l, p1).Release()
			p1.want(t, false, false, -1, nil)
			p2.want(t, false, false, 1, nil)
			r := reserve(t, l, p1)
			r.HandOver()
			p1.want(t, true, true, -1, nil)
		}},
		{"a signal passes over the reserved", func(t *testing.T, l *lines) {
			p1, p2 := park(t, l), park(t, l)
			r := reserve(t, l, p1)
			l.Signal("a", 2)
			p1.want(t, false, false, 1, nil)
			p2.want(t, true, false, 2, nil)
			if got := l.Len("a"); got != 1 {
				t.Errorf("Len: got %d, want 1: the reserved still waits", got)
			}
			r.Release()
			p1.want(t, true, false, 2, nil)
		}},
		{"whose context ends while reserved is still handed the value", func(t *testing.T, l *lines) {
			p := park(t, l)
			r := reserve(t, l, p)
			p.cancel()
			p.want(t, false, false, 1, nil)
			r.HandOver()
			p.want(t, true, true, 1, nil)
		}},
		{"whose context ended while reserved leaves after a release, and the next looks", func(t *testing.T, l *lines) {
			p1, p2 := park(t, l), park(t, l)
			r := reserve(t, l, p1)
			p1.cancel()
			p1.want(t, false, false, 1, nil)
			r.Release()
			p1.want(t, true, false, 1, context.Canceled)
			p2.want(t, true, false, 2, nil)
		}},
		{"closing waits for the reservation", func(t *testing.T, l *lines) {
			p1, p2, p3 := park(t, l), park(t, l), park(t, l)
			r1, r2 := reserve(t, l, p1), reserve(t, l, p2)
			l.Close(errClosed)
			p1.want(t, false, false, 1, nil)
			p2.want(t, false, false, 1, nil)
			p3.want(t, true, false, 1, errClosed)
			if _, ok := l.Reserve("a"); ok {
				t.Error("reserved after closing")
			}
			r1.HandOver()
			r2.Release()
			p1.want(t, true, true, 1, nil)
			p2.want(t, true, false, 1, errClosed)
		}},
		{"one that looks is not reserved", func(t *testing.T, l *lines) {
			_, err := l.Wait(t.Context(), "a", nil, func() (bool, error) {
				if _, ok := l.Reserve("a"); ok {
					t.Error("reserved while looking")
				}
				return true, nil
			})
			if err != nil {
				t.Error(err)
			}
		}},
		{"settling twice panics, and the lines go on", func(t *testing.T, l *lines) {
			p := park(t, l)
			p.looks = -2
			old := reserve(t, l, p)
			old.Release()
			synctest.Wait()
			r := reserve(t, l, p)
			wantPanic(t, old.HandOver)
			wantPanic(t, old.Release)
			r.HandOver()
			p.want(t, true, true, -1, nil)
			wantPanic(t, r.HandOver)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var l lines
				c.run(t, &l)
				l.Close(errClosed)
			})
		})
	}
}

func wantPanic(t *testing.T, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	f()
}
