package longpoll

import "context"

// A Waiter is a place in a line, for those who do the sleeping themselves, because they wait for more than a signal and a context, or
// because many of them sleep and a goroutine that sleeps in its own select needs the smallest stack. Lines.Wait shows the use. A Waiter is
// used by one goroutine. One that is abandoned before it is over stays in line for ever.
type Waiter[K comparable, V any] struct {
	Handed bool  // once it is over: a value was handed over
	Err    error // once it is over: why, nil if a look has succeeded or a value was handed over

	lines *Lines[K, V]
	key   K
	value V
	look  func() (bool, error)
	wake  chan struct{} // holds one; received by the waiter only
	over  bool

	// The rest is guarded by the lines' mutex.

	line        *line[K, V]
	arrival     uint64
	in          *crowd[K, V] // where it stands, nil if nowhere
	index       int          // in the crowd
	reservation uint64       // counts the reservations, so that one settled twice is noticed
	signaled    bool         // a signal came that it has not begun to look for
	reserved    bool
	handed      bool
	owes        bool // its current look uses up a signal; changed by the waiter itself only
}

// Enter takes a place in the line of the key, and looks as Wait does, until there is something (then the Waiter is over) or it has to
// sleep. sleep, if not nil, is called once before that; its error ends the wait.
func (l *Lines[K, V]) Enter(ctx context.Context, key K, value V, look func() (bool, error), sleep func() error) *Waiter[K, V] {
	w := &Waiter[K, V]{lines: l, key: key, value: value, look: look, wake: make(chan struct{}, 1)}
	if err := ctx.Err(); err != nil {
		w.end(false, err)
		return w
	}
	down, err := w.enter()
	if err != nil {
		w.end(false, err)
		return w
	}
	w.work(ctx, down, sleep)
	return w
}

// Over reports whether the wait has ended.
func (w *Waiter[K, V]) Over() bool { return w.over }

// Wake is where a signal comes from: then Woken is to be called.
func (w *Waiter[K, V]) Wake() <-chan struct{} { return w.wake }

// Woken goes on after something came from Wake.
func (w *Waiter[K, V]) Woken(ctx context.Context) {
	switch {
	case w.handed:
		w.leave()
		w.end(true, nil)
	case w.getUp(ctx):
		w.work(ctx, false, nil)
	}
}

// GiveUp ends the wait for a reason. One that is reserved awaits what comes of that, and may be handed a value yet.
func (w *Waiter[K, V]) GiveUp(why error) {
	if !w.stepOutUnlessReserved() {
		<-w.wake
		if w.handed {
			why = nil
		} else if err := w.standUp(); err != nil {
			why = err
		}
	}
	w.leave()
	w.end(why == nil, why)
}

// work looks until there is something, or there is nothing and the waiter lies down.
func (w *Waiter[K, V]) work(ctx context.Context, down bool, sleep func() error) {
	returned := false
	defer func() {
		if !returned { // a panic, or the end of the goroutine
			w.leave()
		}
	}()
	w.workOn(ctx, down, sleep)
	returned = true
}

func (w *Waiter[K, V]) workOn(ctx context.Context, down bool, sleep func() error) {
	for {
		if !down {
			taken, err := w.look()
			if err == nil {
				w.owes = false // the signal it was woken by is used, or there was nothing to be had any more
			}
			if taken || err != nil {
				w.leave()
				w.end(false, err)
				return
			}
		}
		if sleep != nil {
			if err := sleep(); err != nil {
				w.GiveUp(err)
				return
			}
			sleep = nil
		}
		if down || w.lieDown() || !w.getUp(ctx) {
			return
		}
	}
}

func (w *Waiter[K, V]) end(handed bool, err error) { w.over, w.Handed, w.Err = true, handed, err }

// enter makes the waiter a member of its line: asleep if another is, else looking.
func (w *Waiter[K, V]) enter() (down bool, err error) {
	l := w.lines
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed != nil {
		return false, l.closed
	}
	if l.lines == nil {
		l.lines = make(map[K]*line[K, V])
	}
	q := l.lines[w.key]
	if q == nil {
		q = new(line[K, V])
		l.lines[w.key] = q
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
func (w *Waiter[K, V]) leave() {
	l := w.lines
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
		delete(l.lines, w.key)
		l.shrinkLocked()
	}
}

// lieDown says that the waiter is about to sleep; false if it must not, because something came while it looked.
func (w *Waiter[K, V]) lieDown() bool {
	w.lines.mu.Lock()
	defer w.lines.mu.Unlock()
	if w.signaled {
		return false
	}
	w.stepIn(&w.line.asleep)
	return true
}

// stepOutUnlessReserved takes the waiter out of its crowd, unless it is, or was, reserved.
func (w *Waiter[K, V]) stepOutUnlessReserved() bool {
	w.lines.mu.Lock()
	defer w.lines.mu.Unlock()
	if w.reserved || w.handed {
		return false
	}
	w.stepOut()
	return true
}

// getUp puts a signaled waiter back to its place, for another look; false if the wait is over.
func (w *Waiter[K, V]) getUp(ctx context.Context) bool {
	err := w.standUp()
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		w.leave()
		w.end(false, err)
	}
	return err == nil
}

func (w *Waiter[K, V]) standUp() error {
	w.lines.mu.Lock()
	defer w.lines.mu.Unlock()
	if w.lines.closed != nil {
		return w.lines.closed
	}
	w.signaled, w.owes = false, true
	w.stepIn(&w.line.looking)
	return nil
}
