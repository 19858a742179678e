package longpoll_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/longpoll"
)

func TestTerms(t *testing.T) {
	errFull := errors.New("no room to sleep")
	stopped := make(chan struct{})
	close(stopped)
	for _, c := range []struct {
		name   string
		terms  func() longpoll.Terms
		after  time.Duration
		want   error
		sleeps int
	}{
		{"a timeout", func() longpoll.Terms { return longpoll.Terms{Over: time.After(time.Minute)} }, time.Minute, longpoll.ErrOver, 1},
		{"a stop", func() longpoll.Terms {
			stop := make(chan struct{})
			time.AfterFunc(time.Second, func() { close(stop) })
			return longpoll.Terms{Stop: stop}
		}, time.Second, longpoll.ErrOver, 1},
		{"stopped before", func() longpoll.Terms { return longpoll.Terms{Stop: stopped} }, 0, longpoll.ErrOver, 1},
		{"no sleep", func() longpoll.Terms { return longpoll.Terms{Sleep: func() error { return errFull }} }, 0, errFull, 0},
		{"a context", func() longpoll.Terms { return longpoll.Terms{} }, time.Hour, context.DeadlineExceeded, 1},
	} {
		for _, others := range []int{0, 1} { // who are asleep already, so that it need not look
			t.Run(c.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var lines longpoll.Lines[string, int]
					ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
					defer cancel()
					nothing := func() (bool, error) { return false, nil }
					for range others {
						go lines.Wait(t.Context(), "a", 0, nothing)
						synctest.Wait()
					}
					terms, sleeps := c.terms(), 0
					if terms.Sleep == nil {
						terms.Sleep = func() error {
							sleeps++
							if got := lines.Len("a"); got != others+1 {
								t.Errorf("waiting when it lies down: got %d, want %d", got, others+1)
							}
							return nil
						}
					}
					begun := time.Now()
					handed, err := lines.WaitOn(ctx, &terms, "a", 1, nothing)
					if handed || !errors.Is(err, c.want) || time.Since(begun) != c.after || sleeps != c.sleeps {
						t.Errorf("got %v, %v after %v and %d sleeps, want %v after %v and %d", handed, err, time.Since(begun), sleeps, c.want, c.after, c.sleeps)
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
				terms := longpoll.Terms{Sleep: func() error {
					c.while(&lines)
					return errFull
				}}
				handed, err := lines.WaitOn(t.Context(), &terms, "a", &got, func() (bool, error) { return false, nil })
				synctest.Wait()
				if handed != c.handed || c.handed != (got == "job") || c.handed == (err != nil) || looks != c.looks {
					t.Errorf("got handed %v (%q), %v, and %d looks of the other; want %v and %d", handed, got, err, looks, c.handed, c.looks)
				}
				lines.Close(errClosed)
			})
		})
	}
}
