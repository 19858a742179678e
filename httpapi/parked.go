package httpapi

import "sync"

// parked counts the requests that wait.
type parked struct {
	most, mostEach int // negative: no bound

	mu    sync.Mutex // guards what follows
	all   int
	eachs map[string]int // by account; none is 0
}

func newParked(most, mostEach int) *parked {
	return &parked{most: most, mostEach: mostEach, eachs: make(map[string]int)}
}

// enter reports whether one more may wait; it then leaves later.
func (p *parked) enter(account string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.most >= 0 && p.all >= p.most || p.mostEach >= 0 && p.eachs[account] >= p.mostEach {
		return false
	}
	p.all++
	p.eachs[account]++
	return true
}

func (p *parked) leave(account string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all--
	if p.eachs[account]--; p.eachs[account] == 0 {
		delete(p.eachs, account)
	}
}
