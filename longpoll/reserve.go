package longpoll

// A Reservation holds a waiter that is to be handed a value. It is settled by exactly one call of HandOver or Release; until then the
// waiter sleeps. Settling it twice panics.
type Reservation[K comparable, V any] struct {
	// Value is what the waiter gave to Wait. What it points to is the reservation's to change until it is settled.
	Value V

	lines  *Lines[K, V]
	w      *Waiter[K, V]
	number uint64
}

// Reserve takes the waiter that waited longest for the key, of those that are asleep, out of the line; false if there is none, or the
// Lines are closed.
func (l *Lines[K, V]) Reserve(key K) (Reservation[K, V], bool) {
	if l.waiting.Load() == 0 {
		return Reservation[K, V]{}, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.lines[key]
	if q == nil || l.closed != nil {
		return Reservation[K, V]{}, false
	}
	w := q.asleep.first()
	if w == nil {
		return Reservation[K, V]{}, false
	}
	w.stepOut()
	w.reserved = true
	w.reservation++
	return Reservation[K, V]{Value: w.value, lines: l, w: w, number: w.reservation}, true
}

// HandOver ends the wait: Wait returns true, even if its context has ended.
func (r Reservation[K, V]) HandOver() {
	r.lines.mu.Lock()
	defer r.lines.mu.Unlock()
	r.settleLocked()
	r.w.handed = true
	r.w.wake <- struct{}{}
}

// Release sends the waiter back to its place in line and has it look, because signals that came meanwhile have missed it. If its
// context has ended it leaves, and the next in line looks.
func (r Reservation[K, V]) Release() {
	r.lines.mu.Lock()
	defer r.lines.mu.Unlock()
	r.settleLocked()
	r.w.signaled = true
	r.w.wake <- struct{}{}
}

func (r Reservation[K, V]) settleLocked() {
	if !r.w.reserved || r.w.reservation != r.number {
		panic("longpoll: reservation settled twice")
	}
	r.w.reserved = false
}
