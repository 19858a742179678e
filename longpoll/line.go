package longpoll

import "container/heap"

// A line holds the waiters of one key. Those that can be signaled stand in one of two crowds; those that were signaled and have not begun
// to look, and those that are reserved, stand in neither.
type line[K comparable, V any] struct {
	looking crowd[K, V]
	asleep  crowd[K, V] // only these can be reserved
	members int         // all waiters of the key, wherever they stand
}

// next returns who waited longest of those in line, nil if there is nobody.
func (q *line[K, V]) next() *Waiter[K, V] {
	a, l := q.asleep.first(), q.looking.first()
	if a == nil || l != nil && l.arrival < a.arrival {
		return l
	}
	return a
}

func (q *line[K, V]) inLine() int { return len(q.looking) + len(q.asleep) }

// signal wakes up to n of those in line, who waited longest first, and returns how many.
func (q *line[K, V]) signal(n int) (woken int) {
	for ; woken < n; woken++ {
		w := q.next()
		if w == nil {
			break
		}
		asleep := w.in == &q.asleep
		w.stepOut()
		w.signaled = true
		if asleep {
			w.wake <- struct{}{}
		}
	}
	return woken
}

// broadcast wakes all that are in line.
func (q *line[K, V]) broadcast() {
	for _, w := range q.asleep {
		w.in, w.signaled = nil, true
		w.wake <- struct{}{}
	}
	for _, w := range q.looking {
		w.in, w.signaled = nil, true
	}
	q.asleep, q.looking = nil, nil
}

// stepIn puts a waiter at its place in a crowd, after leaving the one it was in.
func (w *Waiter[K, V]) stepIn(c *crowd[K, V]) {
	w.stepOut()
	w.in = c
	heap.Push(c, w)
}

// stepOut takes a waiter out of its crowd, if it is in one.
func (w *Waiter[K, V]) stepOut() {
	if w.in != nil {
		heap.Remove(w.in, w.index)
		w.in = nil
	}
}

// A crowd is a heap of waiters by arrival: a newcomer costs nothing to put in, one that comes back from a look in vain, and leaving
// anywhere, the logarithm of their number.
type crowd[K comparable, V any] []*Waiter[K, V]

func (c crowd[K, V]) first() *Waiter[K, V] {
	if len(c) == 0 {
		return nil
	}
	return c[0]
}

// The methods of heap.Interface.

func (c crowd[K, V]) Len() int           { return len(c) }
func (c crowd[K, V]) Less(i, j int) bool { return c[i].arrival < c[j].arrival }
func (c crowd[K, V]) Swap(i, j int) {
	c[i], c[j] = c[j], c[i]
	c[i].index, c[j].index = i, j
}

func (c *crowd[K, V]) Push(x any) {
	w := x.(*Waiter[K, V])
	w.index = len(*c)
	*c = append(*c, w)
}

func (c *crowd[K, V]) Pop() any {
	old := *c
	w := old[len(old)-1]
	old[len(old)-1] = nil
	*c = old[:len(old)-1]
	return w
}
