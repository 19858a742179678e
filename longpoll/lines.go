package longpoll

import (
	"context"
	"sync"
)

// Lines keeps the lines of waiters, one per key. V is what a waiter brings along for a hand-over (see Reserve). The zero Lines is
// ready for use and must not be copied. It keeps nothing for a key that nobody waits for.
type Lines[K comparable, V any] struct {
	mu      sync.Mutex // guards what follows and every waiter
	lines   map[K]*line[V]
	waiting int
	arrived uint64
	closed  error
}

// Wait calls look until it returns true or an error, and sleeps in between until a signal for the key comes. Looks of several waiters
// run at the same time. It returns
//
//	false, nil     when look returned true
//	true, nil      when a value was handed over (see Reserve), even if ctx has ended
//	false, err     when look returned err, ctx ended (its error), or the Lines were closed (the error given to Close)
//
// A context that has already ended is not looked for.
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
		ok, err := look()
		if ok {
			w.owes = false // what it was woken for is used; a signal that came meanwhile is not
		}
		if ok || err != nil {
			return false, err
		}
		w.owes = false // there was nothing to be had any more
		if !l.park(key, w) {
			continue
		}
		select {
		case <-w.wake:
		case <-ctx.Done():
			if l.abandon(key, w) {
				return false, ctx.Err()
			}
			<-w.wake // reserved: its fate is being decided
		}
		if w.handed {
			return true, nil
		}
		if err := l.resume(key, w); err != nil {
			return false, err
		}
		if err := ctx.Err(); err != nil {
			return false, err
		}
	}
}

// Signal wakes the n that waited longest for the key, or as many as there are. Each looks.
func (l *Lines[K, V]) Signal(key K, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.signalLocked(key, n)
}

// Broadcast wakes all that wait for the key.
func (l *Lines[K, V]) Broadcast(key K) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if q := l.lines[key]; q != nil {
		l.signalLocked(key, q.members)
	}
}

// BroadcastAll wakes all that wait for anything.
func (l *Lines[K, V]) BroadcastAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, q := range l.lines {
		l.signalLocked(key, q.members)
	}
}

// Close ends every wait with err, now and in future. A reserved waiter is still handed what it is reserved for.
func (l *Lines[K, V]) Close(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = err
	for key, q := range l.lines {
		l.signalLocked(key, q.members)
	}
}

// Len returns how many wait for the key.
func (l *Lines[K, V]) Len(key K) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if q := l.lines[key]; q != nil {
		return q.members
	}
	return 0
}

// Waiting returns how many wait for anything.
func (l *Lines[K, V]) Waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waiting
}

func (l *Lines[K, V]) enter(key K, w *waiter[V]) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed != nil {
		return l.closed
	}
	q := l.lines[key]
	if q == nil {
		q = new(line[V])
		if l.lines == nil {
			l.lines = make(map[K]*line[V])
		}
		l.lines[key] = q
	}
	l.arrived++
	w.arrival = l.arrived
	q.members++
	l.waiting++
	q.append(w)
	return nil
}

// leave takes the waiter out of everything, and passes on a signal that it did not use: one that came after its last look began
// (signaled), or the one that made it look if that look failed (owes).
func (l *Lines[K, V]) leave(key K, w *waiter[V]) {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.lines[key]
	q.remove(w)
	unused := 0
	if w.signaled {
		unused++
	}
	if w.owes {
		unused++
	}
	q.members--
	l.waiting--
	if q.members == 0 {
		delete(l.lines, key)
		return
	}
	if unused > 0 {
		l.signalLocked(key, unused)
	}
}

// park says that the waiter is about to sleep; false if a signal came while it looked, so that it must look again.
func (l *Lines[K, V]) park(key K, w *waiter[V]) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.signaled {
		l.requeueLocked(key, w)
		return false
	}
	w.parked = true
	return true
}

// resume puts a waiter that was woken back to its place, for another look.
func (l *Lines[K, V]) resume(key K, w *waiter[V]) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed != nil {
		return l.closed
	}
	l.requeueLocked(key, w)
	return nil
}

func (l *Lines[K, V]) requeueLocked(key K, w *waiter[V]) {
	w.signaled, w.owes = false, true
	w.parked = false
	l.lines[key].comeBack(w)
}

// abandon takes a waiter whose context has ended out of the line; false if it is reserved and has to wait for the outcome.
func (l *Lines[K, V]) abandon(key K, w *waiter[V]) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.reserved || w.handed {
		return false
	}
	w.parked = false
	l.lines[key].remove(w)
	return true
}

func (l *Lines[K, V]) signalLocked(key K, n int) {
	q := l.lines[key]
	if q == nil {
		return
	}
	for ; n > 0; n-- {
		w := q.next()
		if w == nil {
			return
		}
		q.remove(w)
		w.signaled = true
		if w.parked {
			w.wakeLocked()
		}
	}
}
