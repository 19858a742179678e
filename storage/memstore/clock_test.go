package memstore_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/memstore"
)

var start = time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC)

func now(t testing.TB, s storage.Store) time.Time {
	t.Helper()
	var now time.Time
	if err := s.View(t.Context(), storage.Reads{}, func(r storage.Reader) error { now = r.Now(); return nil }); err != nil {
		t.Fatalf("View: %v", err)
	}
	return now
}

func TestTheClockStartsAtTheWallClockAndIgnoresItFromThenOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wall, reads := start.In(time.FixedZone("", 3600)).Add(1700*time.Nanosecond), 0
		s := memstore.New(&memstore.Options{WallClock: func() time.Time { reads++; return wall }})
		if got, want := now(t, s), start.Add(time.Microsecond); got != want {
			t.Errorf("at open: got %v, want %v", got, want)
		}
		wall = wall.Add(-24 * time.Hour)
		time.Sleep(time.Hour)
		if got, want := now(t, s), start.Add(time.Hour+time.Microsecond); got != want {
			t.Errorf("an hour later: got %v, want %v", got, want)
		}
		if reads != 1 {
			t.Errorf("the wall clock was read %d times, want 1", reads)
		}
	})
}

func TestAManualClockMovesOnlyWhenAdvanced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := memstore.NewClock(start)
		s := memstore.New(&memstore.Options{Clock: c})
		time.Sleep(time.Hour)
		if got := now(t, s); got != start {
			t.Errorf("got %v, want %v", got, start)
		}
		c.Advance(1500 * time.Nanosecond)
		c.Advance(1500 * time.Nanosecond)
		if got, want := now(t, s), start.Add(3*time.Microsecond); got != want {
			t.Errorf("after two advances by 1.5 us: got %v, want %v", got, want)
		}
		defer func() {
			if recover() == nil {
				t.Error("a negative advance did not panic")
			}
		}()
		c.Advance(-1)
	})
}

func TestAlarmsOfAManualClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := memstore.NewClock(start)
		s, ok := storage.As[storage.Alarmer](memstore.New(&memstore.Options{Clock: c}))
		if !ok {
			t.Fatal("a memstore is no storage.Alarmer")
		}
		var rung [4]atomic.Int32
		ring := func(n int) func() { return func() { rung[n].Add(1) } }
		check := func(when string, want ...int32) {
			t.Helper()
			synctest.Wait()
			for n, w := range want {
				if got := rung[n].Load(); got != w {
					t.Errorf("%s: alarm %d has rung %d times, want %d", when, n, got, w)
				}
			}
		}
		s.Alarm(start.Add(2*time.Minute), ring(2))
		stop1 := s.Alarm(start.Add(time.Minute), ring(1))
		stop3 := s.Alarm(start.Add(2*time.Minute), ring(3))
		stop0 := s.Alarm(start, ring(0)) // has come
		check("at once", 1, 0, 0, 0)
		c.Advance(time.Minute - 1)
		check("just before", 1, 0, 0, 0)
		c.Advance(1)
		check("on time", 1, 1, 0, 0)
		stop0()
		stop1()
		stop3()
		stop3()
		c.Advance(time.Hour)
		check("past it", 1, 1, 1, 0)
		c.Advance(time.Hour)
		check("later", 1, 1, 1, 0)
	})
}

// An alarm may look at the clock and set the next one.
func TestAnAlarmSetsTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := memstore.NewClock(start)
		s := memstore.New(&memstore.Options{Clock: c})
		var rung []time.Time
		var ring func()
		ring = func() {
			rung = append(rung, c.Now())
			s.Alarm(c.Now().Add(time.Second), ring)
		}
		s.Alarm(start.Add(time.Second), ring)
		for range 3 {
			c.Advance(time.Second)
			synctest.Wait()
		}
		if len(rung) != 3 || rung[2] != start.Add(3*time.Second) {
			t.Errorf("got %v, want three, a second apart", rung)
		}
	})
}

func TestAlarmsOfTheOrdinaryClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memstore.New(&memstore.Options{WallClock: func() time.Time { return start.Add(999 * time.Nanosecond) }})
		var rang, stopped atomic.Pointer[time.Time]
		note := func(p *atomic.Pointer[time.Time]) func() {
			return func() { at := now(t, s); p.Store(&at) }
		}
		s.Alarm(start.Add(time.Hour), note(&rang))
		stop := s.Alarm(start.Add(time.Hour), note(&stopped))
		time.Sleep(time.Hour - time.Microsecond)
		synctest.Wait()
		if rang.Load() != nil {
			t.Error("the alarm rang early")
		}
		stop()
		time.Sleep(time.Microsecond)
		synctest.Wait()
		if at := rang.Load(); at == nil || at.Before(start.Add(time.Hour)) {
			t.Errorf("the alarm rang at %v by the store's clock, want %v", at, start.Add(time.Hour))
		}
		if stopped.Load() != nil {
			t.Error("a stopped alarm rang")
		}
	})
}
