package statuspoll_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/httpapi/statuspoll"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/boltstore"
	"github.com/pollackq/pollack/storage/memstore"
	"github.com/pollackq/pollack/storage/storagetest"
)

// stores are what a poller can be restarted on. open returns a function that opens the store again, closing what was open.
var stores = map[string]func(t *testing.T) func() storage.Store{
	"memory": func(t *testing.T) func() storage.Store {
		s := memstore.New(nil)
		return func() storage.Store { return s }
	},
	"a file": func(t *testing.T) func() storage.Store {
		path := filepath.Join(t.TempDir(), "orders.db")
		var s *boltstore.Store
		return func() storage.Store {
			var err error
			if s != nil {
				err = s.Close()
			}
			if err == nil {
				s, err = boltstore.Open(path, nil)
			}
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
	},
}

// A mortal is a store whose process dies: from the fatal call on nothing reaches the store any more.
type mortal struct {
	*storagetest.FaultyStore
	dead chan struct{} // closed when the process dies
	died atomic.Bool
}

// newMortal returns a store whose process dies at its n-th call (0: when told), before or after that took its effect.
func newMortal(s storage.Store, n uint64, kind storagetest.FaultKind) *mortal {
	m := &mortal{dead: make(chan struct{})}
	m.FaultyStore = storagetest.Faulty(s, func(c storagetest.Call) storagetest.Fault {
		if m.died.Load() {
			return storagetest.Fault{Kind: storagetest.Before}
		}
		if c.N == n && m.die() {
			return storagetest.Fault{Kind: kind}
		}
		return storagetest.Fault{}
	})
	return m
}

func (m *mortal) die() bool {
	first := m.died.CompareAndSwap(false, true)
	if first {
		close(m.dead)
	}
	return first
}

// The order of the tests below takes one second to be taken and two for a check, and is done in the 35th minute, with that answer.
func newRestartWorld(t *testing.T, store storage.Store, final string) *world {
	w := newWorldOn(t, nil, store)
	w.webhook = func(rw http.ResponseWriter, r *http.Request, n int) { time.Sleep(time.Second) }
	w.status = func(rw http.ResponseWriter, r *http.Request, n int) {
		time.Sleep(2 * time.Second)
		body := processing
		if time.Since(w.began) > 34*time.Minute {
			body = final
		}
		io.WriteString(rw, body)
	}
	return w
}

// wantNothingLost fails the test unless the order ended once, at the first check for which it was done; unless all checks of the schedule were made for
// which a process was there; and unless at most one was made besides: the one that the process left open, or that makes up for those missed. What was
// written down must not be done again.
func (w *world) wantNothingLost(down, up time.Duration) {
	w.t.Helper()
	known, begun := w.state(), time.Since(w.began)
	before := len(w.posts())
	s := w.end()
	switch s.State {
	case statuspoll.OrderCompleted:
		w.wantEvent(statuspoll.EventCompleted)
	case statuspoll.OrderFailed:
		if e := w.wantEvent(statuspoll.EventFailed); e.Problem != "error_message was missing" || e.Code != statuspoll.CodeOrderFailed {
			w.t.Errorf("got %+v, want it failed with a problem", e)
		}
	default:
		w.t.Errorf("got %+v, want it ended", s)
		return
	}
	if !known.Started.IsZero() && len(w.posts()) > before {
		w.t.Errorf("got posts at %v, want none after it was known to have started", w.posts())
	}
	for _, c := range w.checks() {
		if c > begun && w.began.Add(c).Before(known.NextCheck) {
			w.t.Errorf("got checks at %v, want none from %v to %v", w.checks(), begun, known.NextCheck.Sub(w.began))
		}
	}
	posts, checks, finished := w.posts(), w.checks(), s.Job.Finished.Sub(w.began)
	if len(posts) > 2 {
		w.t.Errorf("got posts at %v, want one, or two", posts)
	}
	const lease = 10 * time.Second // what a dead process held is free again then
	t0 := posts[len(posts)-1] + time.Second
	var scheduled []time.Duration
	for at := t0 + 5*time.Minute; at < finished; at += 15 * time.Minute {
		scheduled = append(scheduled, at)
		madeUp := slices.ContainsFunc(checks, func(c time.Duration) bool { return c >= up && c <= up+lease })
		if !slices.Contains(checks, at) && !(at >= down-2*time.Second && at <= up+lease && madeUp) {
			w.t.Errorf("got checks at %v, want one at %v", checks, at)
		}
	}
	others := 0
	for i, c := range checks {
		again := c == up && (i < 2 || c != checks[i-2]) // one that was interrupted as it began, and made up at once
		if i > 0 && c == checks[i-1] && !again {
			w.t.Errorf("got checks at %v, want no two at a time", checks)
		}
		if !slices.Contains(scheduled, c) {
			others++
			if c < up || c > up+lease {
				w.t.Errorf("got checks at %v, and that at %v is none of the schedule", checks, c)
			}
		}
	}
	if others > 1 {
		w.t.Errorf("got checks at %v, want one besides the schedule at most", checks)
	}
	if answered := checks[len(checks)-1] + 2*time.Second; finished != answered {
		w.t.Errorf("got checks at %v, and the end at %v", checks, finished)
	}
}

func TestAPollerMayDieAtEveryCallOfTheStore(t *testing.T) {
	for name, final := range map[string]string{"memory": completed, "a file": completed, "memory, a failed answer": `{"status":"failed"}`} {
		opener := stores[strings.TrimSuffix(name, ", a failed answer")]
		for kind, what := range map[storagetest.FaultKind]string{storagetest.Before: "before", storagetest.After: "after"} {
			gaps := []time.Duration{0, 7 * time.Minute, 16 * time.Minute}
			if name == "a file" || testing.Short() {
				gaps = gaps[1:2] // it takes its time
			}
			for _, gap := range gaps {
				t.Run(fmt.Sprintf("%s, %s, for %v", name, what, gap), func(t *testing.T) {
					t.Parallel()
					calls := uint64(0)
					for died := true; died && !t.Failed(); calls++ {
						synctest.Test(t, func(t *testing.T) { died = dieAt(t, opener(t), final, calls+1, kind, gap) })
					}
					if calls < 20 || t.Failed() {
						t.Errorf("it was the %dth call", calls)
					}
				})
			}
		}
	}
}

// dieAt has the process die at the n-th call and starts another after a while. It returns false if there
// were fewer calls.
func dieAt(t *testing.T, open func() storage.Store, final string, n uint64, kind storagetest.FaultKind, gap time.Duration) bool {
	w := newRestartWorld(t, open(), final)
	m := newMortal(w.store, n, kind)
	w.start(m)
	order := statuspoll.Order{ID: "o-1", ETA: "under_1_hr"}
	w.poller.Start(context.Background(), order) // if it fails it is done again
	select {
	case <-m.dead:
	case <-time.After(36 * time.Minute):
		m.Set(nil)
		w.wantNothingLost(time.Hour, time.Hour)
		return false
	}
	down := time.Since(w.began)
	w.stop()
	time.Sleep(gap)
	w.store = open()
	w.start(w.store)
	if _, err := w.poller.Start(context.Background(), order); err != nil {
		t.Fatal(err)
	}
	w.wantNothingLost(down, down+gap)
	return true
}

func TestAPollerIsRestartedInEveryPhase(t *testing.T) {
	for name, opener := range stores {
		for _, killed := range []bool{false, true} {
			for _, at := range []time.Duration{
				0,                                  // when the order has just been stored
				500 * time.Millisecond,             // while the webhook is being told
				time.Second,                        // when it has answered
				4 * time.Minute,                    // between
				5*time.Minute + time.Second,        // when the first check is due
				5*time.Minute + 2*time.Second,      // while it is being made
				5*time.Minute + 3*time.Second,      // when it is answered
				20 * time.Minute,                   // just before the second
				35*time.Minute + 2*time.Second,     // while the final answer is on its way
				35*time.Minute + 3*time.Second,     // when it is there
				35*time.Minute + 3*time.Second + 1, // when the order has ended
			} {
				for _, gap := range []time.Duration{0, 5 * time.Minute, 15 * time.Minute} {
					t.Run(fmt.Sprintf("%s, killed %v, at %v, for %v", name, killed, at, gap), func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) {
							open := opener(t)
							w := newRestartWorld(t, open(), completed)
							m := newMortal(w.store, 0, storagetest.Before)
							w.start(m)
							w.order("under_1_hr")
							time.Sleep(at)
							if killed {
								m.die()
							}
							w.stop()
							time.Sleep(gap)
							w.store = open()
							w.start(w.store)
							w.wantNothingLost(at, at+gap)
						})
					})
				}
			}
		}
	}
}

func TestARestartBetweenACheckAndItsRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.status = func(rw http.ResponseWriter, r *http.Request, n int) {
			if n < 2 {
				hijacked(rw)
				return
			}
			io.WriteString(rw, completed)
		}
		w.order("under_2_min")
		w.sleepUntil(5*time.Minute + 500*time.Millisecond)
		w.stop()
		w.start(w.store)
		if s := w.end(); s.State != statuspoll.OrderCompleted {
			t.Errorf("got %+v", s)
		}
		w.wantTimes("checks", w.checks(), 5*time.Minute, 5*time.Minute+500*time.Millisecond, 5*time.Minute+1500*time.Millisecond)
		w.wantEvent(statuspoll.EventCompleted)
	})
}

// What was missed while no poller ran is made up once, and the schedule stays.
func TestALateRestart(t *testing.T) {
	for _, c := range []struct {
		name     string
		eta      string
		down, up float64 // minutes
		checks   []time.Duration
		ended    float64
	}{
		{"one check missed", "under_1_hr", 4, 12, minutes(12, 20, 35, 50, 65, 80), 90},
		{"several missed", "under_1_hr", 4, 37, minutes(37, 50, 65, 80), 90},
		{"none missed", "under_1_hr", 6, 19, minutes(5, 20, 35, 50, 65, 80), 90},
		{"back at the time of a check", "under_1_hr", 6, 35, minutes(5, 35, 50, 65, 80), 90},
		{"back just before a check", "under_1_hr", 6, 34.5, minutes(5, 34.5, 35, 50, 65, 80), 90},
		{"all but the last missed", "under_1_hr", 1, 89, minutes(89), 90},
		{"back at the cut-off", "under_1_hr", 1, 90, nil, 90},
		{"back after the cut-off", "under_1_hr", 1, 95, nil, 95},
		{"back days later", "within_24_hr", 6, 10_000, minutes(5), 10_000},
		{"the only check missed", "under_2_min", 1, 9, minutes(9), 10},
		{"the only check and the cut-off missed", "under_2_min", 1, 11, nil, 11},
	} {
		for name, opener := range stores {
			t.Run(c.name+", on "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					open := opener(t)
					w := newWorldOn(t, nil, open())
					w.start(w.store)
					w.order(c.eta)
					w.sleepUntil(minutes(c.down)[0])
					w.stop()
					w.sleepUntil(minutes(c.up)[0])
					w.store = open()
					w.start(w.store)
					s := w.end()
					w.wantTimes("checks", w.checks(), c.checks...)
					if s.Checks != len(c.checks) {
						t.Errorf("got %d checks, want %d", s.Checks, len(c.checks))
					}
					if got := s.Job.Finished.Sub(w.began); got != minutes(c.ended)[0] || s.State != statuspoll.OrderTimedOut {
						t.Errorf("got %+v after %v, want it timed out after %v minutes", s, got, c.ended)
					}
					w.wantEvent(statuspoll.EventTimedOut)
				})
			})
		}
	}
}

// The five minutes of the webhook run from Start, also where no poller runs. An order that was never tried is tried once nevertheless.
func TestALateRestartBeforeTheStart(t *testing.T) {
	for _, c := range []struct {
		name    string
		first   bool          // the webhook is tried before the poller goes down, in vain
		down    time.Duration // when it goes down
		webhook int           // what it answers in the end
		up      time.Duration
		posts   []time.Duration
		state   string
	}{
		{"never tried, in time", false, 5 * time.Second, 200, 4 * time.Minute, minutes(4), statuspoll.OrderTimedOut},
		{"never tried, late", false, 5 * time.Second, 200, time.Hour, minutes(60), statuspoll.OrderTimedOut},
		{"never tried, late, in vain", false, 5 * time.Second, 500, time.Hour, minutes(60), statuspoll.OrderFailed},
		{"tried, in time", true, 5 * time.Second, 200, 4 * time.Minute, append(seconds(0, 1, 3), minutes(4)...), statuspoll.OrderTimedOut},
		{"tried once, late", true, 500 * time.Millisecond, 200, time.Hour, seconds(0), statuspoll.OrderFailed},
		{"tried, late", true, 5 * time.Second, 200, time.Hour, seconds(0, 1, 3), statuspoll.OrderFailed},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, nil)
				w.webhook = func(rw http.ResponseWriter, r *http.Request, n int) {
					if time.Since(w.began) < time.Minute {
						rw.WriteHeader(503)
						return
					}
					rw.WriteHeader(c.webhook)
				}
				if !c.first {
					w.cancel() // the broker goes on, the poller does not
					synctest.Wait()
				}
				w.order("under_2_min")
				w.sleepUntil(c.down)
				w.stop()
				w.sleepUntil(c.up)
				w.start(w.store)
				s := w.end()
				w.wantTimes("posts", w.posts(), c.posts...)
				if s.State != c.state || c.state == statuspoll.OrderFailed && (s.Code != statuspoll.CodeStartFailed || s.Problem == "") {
					t.Errorf("got %+v, want %s", s, c.state)
				}
				if c.state == statuspoll.OrderTimedOut {
					w.wantTimes("checks", w.checks(), c.up+5*time.Minute)
				}
			})
		})
	}
}

// The settings of the next process hold for the next orders: what has started keeps its cut-off.
func TestARestartWithOtherETAs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.order("under_2_min")
		w.sleepUntil(time.Minute)
		w.stop()
		w.opts.ETAs = map[string]time.Duration{"soon": time.Hour}
		w.start(w.store)
		if s := w.end(); s.State != statuspoll.OrderTimedOut || s.Job.Finished.Sub(w.began) != 10*time.Minute {
			t.Errorf("got %+v", s)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.cancel()
		synctest.Wait()
		w.order("under_2_min")
		w.stop()
		w.opts.ETAs = map[string]time.Duration{"soon": time.Hour}
		w.start(w.store)
		if s := w.end(); s.Code != statuspoll.CodeStartFailed || !contains(s.Problem, "ETA") || len(w.all()) > 0 {
			t.Errorf("got %+v after %v", s, w.all())
		}
	})
}

// A process that died while it told the webhook, or stopped, may have got through: the next one makes sure, also late, but not for ever.
func TestATryThatWasInterruptedIsMadeAgain(t *testing.T) {
	for name, killed := range map[string]bool{"stopped": false, "killed": true} {
		for deaths, posts := range map[int][]time.Duration{1: minutes(0, 60), 2: minutes(0, 60, 120), 3: minutes(0, 60, 120)} {
			t.Run(fmt.Sprintf("%s %d times", name, deaths), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorldOn(t, nil, memstore.New(nil))
					w.webhook = func(rw http.ResponseWriter, r *http.Request, n int) { time.Sleep(2 * time.Second) }
					for i := range deaths {
						m := newMortal(w.store, 0, storagetest.Before)
						w.start(m)
						w.poller.Start(t.Context(), statuspoll.Order{ID: "o-1", ETA: "under_2_min"})
						w.sleepUntil(time.Duration(i)*time.Hour + time.Second)
						if killed {
							m.die()
						}
						w.stop()
						w.sleepUntil(time.Duration(i+1) * time.Hour)
					}
					w.start(w.store)
					s := w.end()
					w.wantTimes("posts", w.posts(), posts...)
					if taken := deaths < 3; taken != (s.State == statuspoll.OrderTimedOut) || taken == (s.Code == statuspoll.CodeStartFailed) {
						t.Errorf("got %+v", s)
					}
				})
			})
		}
	}
}

// Somebody else's message in place of what is remembered ends the order: it could be neither started again nor followed.
func TestAnOrderThatSomebodyElseWroteInto(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		broker, id := w.broker, make(chan jobqueue.ID, 1)
		w.webhook = func(rw http.ResponseWriter, r *http.Request, n int) {
			time.Sleep(2 * time.Second)
			broker.Progress(context.Background(), <-id, jobqueue.AnyToken, jobqueue.Progress{Message: "half done"})
			time.Sleep(2 * time.Second)
		}
		id <- w.order("under_2_min").ID
		w.sleepUntil(3 * time.Second)
		w.stop()
		w.start(w.store)
		if s := w.end(); s.Code != statuspoll.CodeUnreadable || s.State != statuspoll.OrderFailed {
			t.Errorf("got %+v", s)
		}
		if e := w.wantEvent(statuspoll.EventFailed); e.Code != statuspoll.CodeUnreadable || len(w.posts()) != 1 {
			t.Errorf("got %+v after posts at %v", e, w.posts())
		}
	})
}
