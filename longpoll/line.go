package longpoll

import "container/heap"

// A line holds those of a key's waiters that can be signaled or reserved. They leave it in the order of their arrival: new ones stand in a
// list, those that looked in vain and came back in a heap, so that neither end of a crowd is slow.
type line[V any] struct {
	first, last *waiter[V] // new ones, by arrival
	back        returned[V]
	members     int // all waiters of the key, in line or not
}

// A waiter is one call of Wait.
type waiter[V any] struct {
	value      V
	arrival    uint64
	prev, next *waiter[V]
	index      int           // in the heap, while in it
	wake       chan struct{} // holds one; received by the waiter only

	place    place
	parked   bool // asleep, or about to be: it has to be woken
	signaled bool // a signal came that it has not begun to look for
	reserved bool
	handed   bool
	owes     bool // its current look uses up a signal; only the waiter itself changes this while it looks
}

type place uint8

const (
	nowhere place = iota
	inList
	inHeap
)

func (w *waiter[V]) wakeLocked() {
	w.parked = false
	w.wake <- struct{}{}
}

// append puts a new waiter at the end.
func (q *line[V]) append(w *waiter[V]) {
	w.place = inList
	w.prev = q.last
	if q.last == nil {
		q.first = w
	} else {
		q.last.next = w
	}
	q.last = w
}

// comeBack puts a waiter at the place it had.
func (q *line[V]) comeBack(w *waiter[V]) {
	w.place = inHeap
	heap.Push(&q.back, w)
}

// next returns who waited longest, nil if nobody is in line.
func (q *line[V]) next() *waiter[V] {
	if len(q.back) > 0 && (q.first == nil || q.back[0].arrival < q.first.arrival) {
		return q.back[0]
	}
	return q.first
}

// nextParked returns who waited longest of those asleep; of those that came back it considers only the first few.
func (q *line[V]) nextParked() *waiter[V] {
	var best *waiter[V]
	for _, w := range q.back[:min(len(q.back), 7)] {
		if w.parked && (best == nil || w.arrival < best.arrival) {
			best = w
		}
	}
	for w := q.first; w != nil; w = w.next {
		if w.parked {
			if best == nil || w.arrival < best.arrival {
				best = w
			}
			break
		}
	}
	return best
}

// remove takes a waiter out of the line, wherever it stands.
func (q *line[V]) remove(w *waiter[V]) {
	switch w.place {
	case inHeap:
		heap.Remove(&q.back, w.index)
	case inList:
		if w.prev == nil {
			q.first = w.next
		} else {
			w.prev.next = w.next
		}
		if w.next == nil {
			q.last = w.prev
		} else {
			w.next.prev = w.prev
		}
		w.prev, w.next = nil, nil
	}
	w.place = nowhere
}

// returned is a heap of waiters by arrival.
type returned[V any] []*waiter[V]

func (r returned[V]) Len() int           { return len(r) }
func (r returned[V]) Less(i, j int) bool { return r[i].arrival < r[j].arrival }
func (r returned[V]) Swap(i, j int) {
	r[i], r[j] = r[j], r[i]
	r[i].index, r[j].index = i, j
}

func (r *returned[V]) Push(x any) {
	w := x.(*waiter[V])
	w.index = len(*r)
	*r = append(*r, w)
}

func (r *returned[V]) Pop() any {
	old := *r
	w := old[len(old)-1]
	old[len(old)-1] = nil
	*r = old[:len(old)-1]
	return w
}
