package longpoll

// A Reservation holds a waiter that is to be handed a value. Exactly one of HandOver and Release must be called.
type Reservation[K comparable, V any] struct {
	// Value is what the waiter gave to Wait. Until HandOver or Release it is the reservation's to change.
	Value V

	lines *Lines[K, V]
	w     *waiter[V]
}

// Reserve takes the waiter that waited longest for the key and is asleep out of the line; false if there is none. Meanwhile the
// waiter sleeps on, whatever happens.
func (l *Lines[K, V]) Reserve(key K) (Reservation[K, V], bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.lines[key]
	if q == nil || l.closed != nil {
		return Reservation[K, V]{}, false
	}
	w := q.nextParked()
	if w == nil {
		return Reservation[K, V]{}, false
	}
	q.remove(w)
	w.reserved = true
	return Reservation[K, V]{Value: w.value, lines: l, w: w}, true
}

// HandOver ends the wait: Wait returns true.
func (r Reservation[K, V]) HandOver() {
	r.lines.mu.Lock()
	defer r.lines.mu.Unlock()
	r.w.reserved, r.w.handed = false, true
	r.w.wakeLocked()
}

// Release sends the waiter back to its place in line and has it look: signals that came meanwhile may have missed it.
func (r Reservation[K, V]) Release() {
	r.lines.mu.Lock()
	defer r.lines.mu.Unlock()
	r.w.reserved, r.w.signaled = false, true
	r.w.wakeLocked()
}
