package pgstore

import (
	"time"

	"github.com/pollackq/pollack/storage"
)

// Notify implements storage.Notifier. There is one listener at a time: one store has one broker in a process.
func (s *Store) Notify(l storage.Listener) (stop func()) {
	h := s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	h.listener, h.repeat = l, true
	h.notified++
	n := h.notified
	h.poke()
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.notified != n || h.listener == nil {
			return
		}
		h.listener = nil
		clear(h.mine)
		if h.hearing && !h.quiet.Load() {
			h.say = append(h.say, item{kind: sayBye})
			h.poke()
		}
	}
}

// Waits implements storage.Notifier. Only who can hear the answer says that it waits, and only while the others do not think so anyway.
func (s *Store) Waits(q storage.QueueName) {
	h := s.hub
	if h.quiet.Load() {
		return
	}
	h.mu.Lock()
	l := h.listener
	if !h.hearing || l == nil || h.mine[q] > 0 {
		h.mu.Unlock()
		return
	}
	h.mu.Unlock()
	n := l.Receivers(q)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sayWaitsLocked(q, n)
}

func (h *hub) sayWaitsLocked(q storage.QueueName, n int) {
	if n == 0 || !h.hearing || len(h.mine) >= maxKnown {
		return
	}
	h.mine[q] = n
	h.say = append(h.say, item{kind: sayWaits, queue: q, n: n})
	h.poke()
}

// Watches implements storage.Notifier.
func (s *Store) Watches(id storage.ID) {
	h := s.hub
	if h.quiet.Load() {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.hearing && len(h.say) < maxKnown {
		h.say = append(h.say, item{kind: sayWatch, job: id})
		h.poke()
	}
}

// Lag implements storage.Notifier.
func (s *Store) Lag() time.Duration { return time.Duration(s.hub.lag.Load()) }

// maxBlind is how many changed jobs of a transaction a node tells of that cannot hear which are watched.
const maxBlind = 64

// payloads returns what is to be sent with a transaction that is about to commit: nothing where nobody is there who waits for it.
func (h *hub) payloads(c *changes) []string {
	if h.quiet.Load() && !c.user {
		return nil
	}
	h.mu.Lock()
	l := h.listener
	h.mu.Unlock()
	local := make(map[storage.QueueName]int, len(c.ready))
	for q := range c.ready {
		if l != nil {
			local[q] = l.Receivers(q) // outside of the lock: it takes others
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	h.settleLocked(now)
	quiet := h.quiet.Load()
	var items []item
	for q, n := range c.ready {
		if here := min(n, local[q]); here > 0 {
			if n -= here; c.user { // else they are told without the database
				items = append(items, item{kind: sayReady, node: h.self, queue: q, n: here})
			}
		}
		if !quiet {
			told, left := h.routeLocked(q, n, now)
			items = append(items, told...)
			if left > 0 {
				c.leave(q, left)
			}
		}
	}
	if !quiet || c.user {
		for q := range c.queues {
			items = append(items, item{kind: sayQueue, queue: q})
		}
		for q := range c.ended {
			items = append(items, item{kind: sayEnded, queue: q})
		}
	}
	blind := !h.hearing && len(c.jobs) <= maxBlind
	for _, id := range c.jobs {
		if _, ok := h.nodes.watched[id]; ok || c.user || blind && !quiet {
			items = append(items, item{kind: sayJob, job: id})
		} else if !quiet {
			c.untoldJobs = append(c.untoldJobs, id)
		}
	}
	var flags byte
	if c.user {
		flags = saysUser
		h.rememberLocked(c, now) // when it will commit is not known
		if !c.due.IsZero() {
			items = append(items, item{kind: sayDue, due: c.due})
		}
	}
	return encode(h.self, flags, items, h.next)
}

// committed is called when the transaction of payloads has committed. Who has begun meanwhile to wait for what nobody was told of is told now, who is
// about to when that is heard.
func (h *hub) committed(c *changes) {
	if len(c.untoldReady)+len(c.untoldJobs) == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	before := len(h.say)
	for q, n := range c.untoldReady {
		told, left := h.routeLocked(q, n, now)
		h.say = append(h.say, told...)
		delete(c.untoldReady, q)
		if left > 0 {
			c.untoldReady[q] = left
		}
	}
	for _, id := range c.untoldJobs {
		if _, ok := h.nodes.watched[id]; ok {
			h.say = append(h.say, item{kind: sayJob, job: id})
		}
	}
	h.rememberLocked(c, now)
	if len(h.say) > before {
		h.poke()
	}
}

// rememberLocked remembers what nobody was told of.
func (h *hub) rememberLocked(c *changes, now time.Time) {
	for q, n := range c.untoldReady {
		h.recent.readied(q, n, now)
	}
	for _, id := range c.untoldJobs {
		h.recent.changed(id, now)
	}
	c.untoldReady, c.untoldJobs = nil, nil
}

// routeLocked returns what tells of n more jobs of a queue those who wait for them, in turn, and how many are left. Where it is not known who
// waits all are told.
func (h *hub) routeLocked(q storage.QueueName, n int, now time.Time) (items []item, left int) {
	if n > 0 && (!h.hearing || now.Before(h.settled)) {
		return []item{{kind: sayReady, queue: q, n: n}}, 0
	}
	for n > 0 {
		node, wait, ok := h.nodes.next(q, now)
		if !ok {
			break
		}
		k := min(n, wait)
		h.nodes.told(node, q, k)
		items = append(items, item{kind: sayReady, node: node, queue: q, n: k})
		n -= k
	}
	return items, n
}

// hear takes a message.
func (h *hub) hear(payload string) {
	from, flags, items, err := decode(payload)
	if err != nil {
		return
	}
	now := time.Now()
	h.mu.Lock()
	l := h.listener
	begins := false
	if from == h.self {
		h.heardSelf = now
		if begins = !h.hearing; begins {
			h.hearing, h.deaf, h.settled, h.repeat = true, false, now.Add(settling), true
			h.poke()
		}
	}
	for i := range items {
		h.learnLocked(from, &items[i], now)
	}
	h.settleLocked(now)
	h.mu.Unlock()
	if l == nil {
		return
	}
	if begins {
		l.Changed(storage.Change{}) // whatever happened since it last heard anything
	}
	if from != h.self || flags&saysUser != 0 {
		for i := range items {
			h.tell(l, from, &items[i])
		}
	}
}

// learnLocked notes what an item says of the nodes, and answers.
func (h *hub) learnLocked(from nodeID, it *item, now time.Time) {
	if from == h.self {
		return
	}
	_, known := h.nodes.heard[from]
	if known || it.kind == sayHere {
		h.nodes.here(from, now)
	}
	if it.kind == sayHere && !known { // it does not know yet what this node waits for
		h.repeat = true
		h.poke()
	}
	switch it.kind {
	case sayHello:
		h.repeat, h.settled = true, now.Add(settling) // until it has said what it waits for
		h.poke()
	case sayBye:
		h.nodes.forget(from)
	case sayWaits:
		h.nodes.wait(from, it.queue, it.n, now)
		if it.n > 0 {
			if n := h.recent.takeReady(it.queue, now); n > 0 {
				k := min(n, it.n)
				h.nodes.told(from, it.queue, k)
				h.say = append(h.say, item{kind: sayReady, node: from, queue: it.queue, n: k})
				h.poke()
			}
		}
	case sayWatch:
		h.nodes.watch(it.job, now)
		if h.recent.has(it.job, now) {
			h.say = append(h.say, item{kind: sayJob, job: it.job})
			h.poke()
		}
	case sayReady:
		switch it.node {
		case nodeID{}:
		case h.self:
			h.mine[it.queue] = max(0, h.mine[it.queue]-it.n)
		default:
			h.nodes.told(it.node, it.queue, it.n)
		}
	}
}

// tell tells this process what an item says.
func (h *hub) tell(l storage.Listener, from nodeID, it *item) {
	switch it.kind {
	case sayReady:
		if it.node != (nodeID{}) && it.node != h.self {
			return
		}
		woken := l.Changed(storage.Change{Queue: it.queue, Ready: it.n})
		if it.node == h.self {
			h.woke(l, it.queue, it.n, woken)
		}
	case sayQueue:
		l.Changed(storage.Change{Queue: it.queue})
	case sayEnded:
		l.Changed(storage.Change{Queue: it.queue, Ended: true})
	case sayJob:
		l.Changed(storage.Change{Job: it.job})
	case sayDue:
		if from == h.self { // it is this process's own to do
			l.Changed(storage.Change{Due: it.due})
		}
	}
}

// woke passes on what this node was told of and has no receivers for, or says that it has more.
func (h *hub) woke(l storage.Listener, q storage.QueueName, n, woken int) {
	more := l.Receivers(q)
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	switch {
	case woken < n:
		delete(h.mine, q)
		h.say = append(h.say, item{kind: sayWaits, queue: q})
		told, left := h.routeLocked(q, n-woken, now)
		h.say = append(h.say, told...)
		if left > 0 {
			h.recent.readied(q, left, now)
		}
		h.poke()
	case h.mine[q] == 0:
		delete(h.mine, q)
		h.sayWaitsLocked(q, more)
	}
}
