package longpoll_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/longpoll"
)

// A place is entered by hand, with more to wait for than Wait has.
func TestAPlaceByHand(t *testing.T) {
	errFull, errOver := errors.New("no room to sleep"), errors.New("over")
	for _, c := range []struct {
		name   string
		sleep  func() error
		ctx    time.Duration
		want   error
		after  time.Duration
		sleeps int
	}{
		{"a timeout", nil, time.Hour, errOver, time.Minute, 1},
		{"no sleep", func() error { return errFull }, time.Hour, errFull, 0, 0},
		{"a context", nil, time.Second, context.DeadlineExceeded, time.Second, 1},
		{"a context that has ended", nil, -1, context.DeadlineExceeded, 0, 0},
	} {
		for _, others := range []int{0, 1} { // who are asleep already, so that it need not look
			t.Run(c.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var lines longpoll.Lines[string, int]
					ctx, cancel := context.WithTimeout(t.Context(), c.ctx)
					defer cancel()
					nothing := func() (bool, error) { return false, nil }
					for range others {
						go lines.Wait(t.Context(), "a", 0, nothing)
						synctest.Wait()
					}
					sleeps, sleep := 0, c.sleep
					if sleep == nil {
						sleep = func() error {
							sleeps++
							if got := lines.Len("a"); got != others+1 {
								t.Errorf("waiting when it lies down: got %d, want %d", got, others+1)
							}
							return nil
						}
					}
					begun := time.Now()
					w := lines.Enter(ctx, "a", 1, nothing, sleep)
					timeout := time.After(time.Minute)
					for !w.Over() {
						select {
						case <-w.Wake():
							t.Error("woken for nothing")
							w.Woken(ctx)
						case <-ctx.Done():
							w.GiveUp(ctx.Err())
						case <-timeout:
							w.GiveUp(errOver)
						}
					}
					if w.Handed || !errors.Is(w.Err, c.want) || time.Since(begun) != c.after || sleeps != c.sleeps {
						t.Errorf("got %v, %v after %v and %d sleeps, want %v after %v and %d", w.Handed, w.Err, time.Since(begun), sleeps, c.want, c.after, c.sleeps)
					}
					if got := lines.Waiting(); got != others {
						t.Errorf("left behind: %d that wait, want %d", got, others)
					}
					lines.Close(errClosed)
				})
			})
		}
	}
}

// A waiter that is refused its sleep while it is reserved, or after a signal, loses nothing.
func TestARefusedSleepLosesNothing(t *testing.T) {
	errFull := errors.New("no room to sleep")
	type parked = *string
	for _, c := range []struct {
		name   string
		while  func(l *longpoll.Lines[string, parked])
		handed bool
		looks  int // of the one that sleeps already
	}{
		{"a signal goes to the next", func(l *longpoll.Lines[string, parked]) {
			l.Signal("a", 2)
			synctest.Wait() // the other has looked
		}, false, 2},
		{"what is handed over is taken", func(l *longpoll.Lines[string, parked]) {
			first, _ := l.Reserve("a")
			second, ok := l.Reserve("a")
			if !ok {
				panic("the second cannot be reserved")
			}
			*second.Value = "job"
			go second.HandOver()
			first.Release()
		}, true, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var lines longpoll.Lines[string, parked]
				looks := 0
				go lines.Wait(t.Context(), "a", new(string), func() (bool, error) {
					looks++
					return false, nil
				})
				synctest.Wait()
				looks = 0
				got := ""
				w := lines.Enter(t.Context(), "a", &got, func() (bool, error) { return false, nil }, func() error {
					c.while(&lines)
					return errFull
				})
				synctest.Wait()
				handed, err := w.Handed, w.Err
				if !w.Over() || handed != c.handed || c.handed != (got == "job") || c.handed == (err != nil) || looks != c.looks {
					t.Errorf("got handed %v (%q), %v, and %d looks of the other; want %v and %d", handed, got, err, looks, c.handed, c.looks)
				}
				lines.Close(errClosed)
			})
		})
	}
}
