package httpapi

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// parked knows the requests that wait.
type parked struct {
	most, mostEach int // negative: no bound

	drained atomic.Bool // set with mu held

	mu     sync.Mutex // guards what follows
	places map[*place]struct{}
	eachs  map[string]int // by account; none is 0
}

// A place is that of a request that waits.
type place struct {
	account string
	end     context.CancelCauseFunc // ends the wait
}

func newParked(most, mostEach int) *parked {
	return &parked{most: most, mostEach: mostEach, places: make(map[*place]struct{}), eachs: make(map[string]int)}
}

// enter takes a place: whoever gets it leaves it later. It is refused with errTooMany or errDrained.
func (p *parked) enter(w *place) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.drained.Load():
		return errDrained
	case p.most >= 0 && len(p.places) >= p.most, p.mostEach >= 0 && p.eachs[w.account] >= p.mostEach:
		return errTooMany
	}
	p.places[w] = struct{}{}
	p.eachs[w.account]++
	return nil
}

func (p *parked) leave(w *place) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.places, w)
	if p.eachs[w.account]--; p.eachs[w.account] == 0 {
		delete(p.eachs, w.account)
	}
}

// drain ends all waits, now and in future.
func (p *parked) drain() {
	p.mu.Lock()
	p.drained.Store(true)
	all := slices.Collect(maps.Keys(p.places))
	p.mu.Unlock()
	for _, w := range all {
		w.end(errDrained)
	}
}
