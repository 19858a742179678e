package callback

import (
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

// Hosts bound how many attempts at one host there are at once. Who comes when a host is busy is told when to come again: one after the other,
// at the pace at which the host answers. Nobody waits in memory, where a slow host would hold up the workers, nor do all come back at once.
type hosts struct {
	max int // at one host; negative: no limit

	mu   sync.Mutex // guards what follows
	busy map[string]*host
}

// A host is one that attempts are, or were just now, being made at.
type host struct {
	active int
	began  time.Time     // the latest attempt
	took   time.Duration // the latest attempt that ended
	line   time.Time     // when the last who was sent away comes again
}

const (
	minTurn = 10 * time.Millisecond
	maxTurn = 30 * time.Second // who is sent away comes again by then, since the host may have become faster
)

func newHosts(max int) *hosts { return &hosts{max: max, busy: make(map[string]*host)} }

// hostKey is the same for all ways to write a host's name.
func hostKey(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// enter begins an attempt, which leave ends; or returns when to come again.
func (h *hosts) enter(name string) (wait time.Duration, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	at := h.busy[hostKey(name)]
	if at == nil {
		maps.DeleteFunc(h.busy, func(_ string, old *host) bool { return old.active == 0 && !old.line.After(now) })
		at = new(host)
		h.busy[hostKey(name)] = at
	}
	if h.max < 0 || at.active < h.max {
		at.active++
		at.began = now
		return 0, true
	}
	turn := max(at.took, now.Sub(at.began)) / time.Duration(h.max)
	if at.line.Before(now) {
		at.line = now
	}
	at.line = at.line.Add(max(turn, minTurn))
	wait = at.line.Sub(now)
	if wait > maxTurn {
		at.line = now.Add(maxTurn)
		wait = maxTurn/2 + rand.N(maxTurn/2) // not all of a long line at the same moment
	}
	return wait, false
}

// leave ends an attempt.
func (h *hosts) leave(name string, took time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := h.busy[hostKey(name)]
	at.active--
	at.took = took
}
