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
	lines   map[K]*line[K, V]
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
// same: one that returns false uses up its signal, and says by it that there is nothing for the others either. So whoever comes while
// another sleeps need not look: there was nothing, and what comes will be signaled. If look panics, so does Wait, and the signal goes to
// the next in line.
func (l *Lines[K, V]) Wait(ctx context.Context, key K, value V, look func() (bool, error)) (handed bool, err error) {
	w := l.Enter(ctx, key, value, look, nil)
	for !w.Over() {
		select {
		case <-w.Wake():
			w.Woken(ctx)
		case <-ctx.Done():
			w.GiveUp(ctx.Err())
		}
	}
	return w.Handed, w.Err
}

// Signal wakes the n that waited longest for the key, or as many as there are, and returns how many. Each looks.
func (l *Lines[K, V]) Signal(key K, n int) (woken int) {
	if l.waiting.Load() == 0 {
		return 0 // whoever comes now looks first
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if q := l.lines[key]; q != nil {
		woken = q.signal(n)
	}
	return woken
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

// InLine returns how many a signal for the key would wake: those that look or sleep and have not been signaled, and are not reserved.
func (l *Lines[K, V]) InLine(key K) int {
	if l.waiting.Load() == 0 {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if q := l.lines[key]; q != nil {
		return q.inLine()
	}
	return 0
}

// InLines returns InLine for all keys for which it is not 0.
func (l *Lines[K, V]) InLines() map[K]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make(map[K]int, len(l.lines))
	for key, q := range l.lines {
		if n := q.inLine(); n > 0 {
			all[key] = n
		}
	}
	return all
}

// Waiting returns how many wait for anything, those that look or are reserved included.
func (l *Lines[K, V]) Waiting() int {
	return int(l.waiting.Load())
}

// shrinkLocked replaces a map that has become far too large for what is in it, because a map gives back nothing by itself.
func (l *Lines[K, V]) shrinkLocked() {
	if l.largest < 1024 || len(l.lines) > l.largest/8 {
		return
	}
	lines := make(map[K]*line[K, V], len(l.lines))
	maps.Copy(lines, l.lines)
	l.lines, l.largest = lines, len(lines)
}

func (l *Lines[K, V]) broadcastAllLocked() {
	for _, q := range l.lines {
		q.broadcast()
	}
}
