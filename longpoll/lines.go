package longpoll

import (
	"context"
	"maps"
	"sync"
	"sync/atomic"
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

// Wait calls look until it returns true or an error, and sleeps in between until a signal for the key comes. It returns
//
//	false, nil     when look returned true
//	true, nil      when a value was handed over (see Reserve), even if ctx has ended
//	false, err     when look returned err, ctx ended (its error), or the Lines were closed (the error given to Close)
//
// After ctx has ended no look begins. Looks of several waiters run at the same time and hold no lock. All looks for one key want the
// same: one that returns false uses up its signal, and says by it that there is nothing for the others either. If look panics, so
// does Wait, and the signal goes to the next in line.
func (l *Lines[K, V]) Wait(ctx context.Context, key K, value V, look func() (bool, error)) (handed bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	w := &waiter[V]{value: value, wake: make(chan struct{}, 1)}
	if err := l.enter(key, w); err != nil {
		return false, err
	}
	defer l.leave(key, w)
	for {
		taken, err := look()
		if err != nil {
			return false, err
		}
		w.owes = false // the signal it was woken by is used, or there was nothing to be had any more
		if taken {
			return false, nil
		}
		if handed, err := l.sleep(ctx, w); handed || err != nil {
			return handed, err
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

// enter makes the waiter a member of its line, looking.
func (l *Lines[K, V]) enter(key K, w *waiter[V]) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed != nil {
		return l.closed
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
	w.stepIn(&q.looking)
	return nil
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

// sleep returns when the waiter is to look again, has been handed a value, or is to give up.
func (l *Lines[K, V]) sleep(ctx context.Context, w *waiter[V]) (handed bool, err error) {
	if l.lieDown(w) {
		select {
		case <-w.wake:
		case <-ctx.Done():
			if l.giveUp(w) {
				return false, ctx.Err()
			}
			<-w.wake // reserved: its fate is being decided
		}
		if w.handed {
			return true, nil
		}
	}
	if err := l.getUp(w); err != nil {
		return false, err
	}
	return false, ctx.Err()
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

// giveUp takes a waiter whose context has ended out of the line; false if it is, or was, reserved and has to await the outcome.
func (l *Lines[K, V]) giveUp(w *waiter[V]) bool {
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
