package longpoll

import (
	"context"
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

// Lines keeps the lines of waiters, one per key. V is what a waiter brings along for a hand-over (see Reserve). The zero Lines is
// ready for use and must not be copied. It keeps nothing for a key that nobody waits for.
type Lines[K comparable, V any] struct {
	mu      sync.Mutex // guards what follows, every line and every waiter
	lines   map[K]*line[V]
	largest int          // how many lines the map has had at most since it was made
	waiting atomic.Int64 // changed with mu held; whoever finds nobody waiting need not lock
	arrived uint64
	closed  error
}

// Terms are what else a wait heeds. The zero Terms are none.
type Terms struct {
	Over  <-chan time.Time // what comes from it ends the wait with ErrOver
	Stop  <-chan struct{}  // likewise
	Sleep func() error     // called once, before the waiter sleeps for the first time; an error ends the wait
}

// ErrOver says that a wait was ended by its Terms.
var ErrOver = errors.New("longpoll: wait is over")

// Wait calls look until it returns true or an error, and sleeps in between until a signal for the key comes. It returns
//
//	false, nil     when look returned true
//	true, nil      when a value was handed over (see Reserve), even if ctx has ended
//	false, err     when look returned err, ctx ended (its error), or the Lines were closed (the error given to Close)
//
// After ctx has ended no look begins. Looks of several waiters run at the same time and hold no lock. All looks for one key want the
// same: one that returns false uses up its signal, and says by it that there is nothing for the others either. So whoever comes while
// another sleeps need not look: there was nothing, and what comes will be signaled. If look panics, so does Wait, and the signal goes to
// the next in line.
func (l *Lines[K, V]) Wait(ctx context.Context, key K, value V, look func() (bool, error)) (handed bool, err error) {
	return l.WaitOn(ctx, &noTerms, key, value, look)
}

var noTerms Terms

// WaitOn is Wait on further terms.
func (l *Lines[K, V]) WaitOn(ctx context.Context, t *Terms, key K, value V, look func() (bool, error)) (handed bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	w := &waiter[V]{value: value, wake: make(chan struct{}, 1)}
	down, err := l.enter(key, w)
	if err != nil {
		return false, err
	}
	defer l.leave(key, w)
	for first := true; ; first, down = false, false {
		if !down {
			taken, err := look()
			if err != nil {
				return false, err
			}
			w.owes = false // the signal it was woken by is used, or there was nothing to be had any more
			if taken {
				return false, nil
			}
		}
		if first && t.Sleep != nil {
			if err := t.Sleep(); err != nil {
				return l.giveUp(w, err)
			}
		}
		if down || l.lieDown(w) {
			if handed, err := l.sleep(ctx, t, w); handed || err != nil {
				return handed, err
			}
		}
		if err := l.getUp(w); err != nil {
			return false, err
		}
		if err := ctx.Err(); err != nil {
			return false, err
		}
	}
}

// Signal wakes the n that waited longest for the key, or as many as there are. Each looks.
func (l *Lines[K, V]) Signal(key K, n int) {
	if l.waiting.Load() == 0 {
		return // whoever comes now looks first
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if q := l.lines[key]; q != nil {
		q.signal(n)
	}
}

// Broadcast wakes all that wait for the key.
func (l *Lines[K, V]) Broadcast(key K) {
	if l.waiting.Load() == 0 {
		return // whoever comes now looks first
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if q := l.lines[key]; q != nil {
		q.broadcast()
	}
}

// BroadcastAll wakes all that wait for anything.
func (l *Lines[K, V]) BroadcastAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broadcastAllLocked()
}

// Close ends every wait with err, which must not be nil, now and in future: one whose look is running when that look has returned
// false, a reserved one when its reservation is settled. A second Close does nothing.
func (l *Lines[K, V]) Close(err error) {
	if err == nil {
		panic("longpoll: Close without an error")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed == nil {
		l.closed = err
		l.broadcastAllLocked()
	}
}

// Asleep reports whether anybody sleeps for the key, so that whoever came now would not look before it sleeps.
func (l *Lines[K, V]) Asleep(key K) bool {
	if l.waiting.Load() == 0 {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.lines[key]
	return q != nil && len(q.asleep) > 0
}

// Len returns how many wait for the key, those that look or are reserved included.
func (l *Lines[K, V]) Len(key K) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if q := l.lines[key]; q != nil {
		return q.members
	}
	return 0
}

// Waiting returns how many wait for anything, those that look or are reserved included.
func (l *Lines[K, V]) Waiting() int {
	return int(l.waiting.Load())
}

// enter makes the waiter a member of its line: asleep if another is, else looking.
func (l *Lines[K, V]) enter(key K, w *waiter[V]) (down bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed != nil {
		return false, l.closed
	}
	if l.lines == nil {
		l.lines = make(map[K]*line[V])
	}
	q := l.lines[key]
	if q == nil {
		q = new(line[V])
		l.lines[key] = q
		l.largest = max(l.largest, len(l.lines))
	}
	l.arrived++
	w.arrival = l.arrived
	w.line = q
	q.members++
	l.waiting.Add(1)
	if len(q.asleep) > 0 {
		w.stepIn(&q.asleep)
		return true, nil
	}
	w.stepIn(&q.looking)
	return false, nil
}

// leave takes the waiter out of everything, and passes on the signals that it did not use: one that came after its last look began
// (signaled), and the one that made it look if that look came to nothing (owes).
func (l *Lines[K, V]) leave(key K, w *waiter[V]) {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := w.line
	w.stepOut()
	if w.signaled {
		q.signal(1)
	}
	if w.owes {
		q.signal(1)
	}
	l.waiting.Add(-1)
	q.members--
	if q.members == 0 {
		delete(l.lines, key)
		l.shrinkLocked()
	}
}

// shrinkLocked replaces a map that has become far too large for what is in it, because a map gives back nothing by itself.
func (l *Lines[K, V]) shrinkLocked() {
	if l.largest < 1024 || len(l.lines) > l.largest/8 {
		return
	}
	lines := make(map[K]*line[V], len(l.lines))
	maps.Copy(lines, l.lines)
	l.lines, l.largest = lines, len(lines)
}

// lieDown says that the waiter is about to sleep; false if it must not, because something came while it looked.
func (l *Lines[K, V]) lieDown(w *waiter[V]) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.signaled {
		return false
	}
	w.stepIn(&w.line.asleep)
	return true
}

// sleep returns when the waiter is to look again, has been handed a value, or is to give up.
func (l *Lines[K, V]) sleep(ctx context.Context, t *Terms, w *waiter[V]) (handed bool, err error) {
	select {
	case <-w.wake:
		return w.handed, nil
	case <-ctx.Done():
		return l.giveUp(w, ctx.Err())
	case <-t.Over:
		return l.giveUp(w, ErrOver)
	case <-t.Stop:
		return l.giveUp(w, ErrOver)
	}
}

// giveUp takes a waiter out of the line for a reason. One that is, or was, reserved awaits the outcome.
func (l *Lines[K, V]) giveUp(w *waiter[V], why error) (handed bool, _ error) {
	if l.free(w) {
		return false, why
	}
	<-w.wake
	if w.handed {
		return true, nil
	}
	if err := l.getUp(w); err != nil {
		return false, err
	}
	return false, why
}

// free takes a waiter out of the line unless it is, or was, reserved.
func (l *Lines[K, V]) free(w *waiter[V]) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.reserved || w.handed {
		return false
	}
	w.stepOut()
	return true
}

// getUp puts a signaled waiter back to its place, for another look.
func (l *Lines[K, V]) getUp(w *waiter[V]) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed != nil {
		return l.closed
	}
	w.signaled, w.owes = false, true
	w.stepIn(&w.line.looking)
	return nil
}

func (l *Lines[K, V]) broadcastAllLocked() {
	for _, q := range l.lines {
		q.broadcast()
	}
}
