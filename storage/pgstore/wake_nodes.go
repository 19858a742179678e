package pgstore

import (
	"bytes"
	"slices"
	"time"

	"github.com/pollackq/pollack/storage"
)

const (
	// repeatEvery is how often a node says again that it is there and what it waits for, forgetAfter how long the others believe it.
	repeatEvery = 10 * time.Second
	forgetAfter = 35 * time.Second
	// maxKnown bounds what a node remembers of each kind. What does not fit is found by the look.
	maxKnown = 1 << 16
)

// nodes are what a node knows of the others on the same schema. Every node hears everything, so all know much the same.
type nodes struct {
	heard   map[nodeID]time.Time            // when it was heard last
	waits   map[storage.QueueName][]waiting // who waits for jobs of a queue, next the one that has not been told for longest
	watched map[storage.ID]time.Time        // jobs that somebody watches; until then
}

// A waiting is how many receivers of a queue a node has that have not been told of a job since it said so.
type waiting struct {
	node  nodeID
	n     int
	until time.Time
}

func newNodes() nodes {
	return nodes{
		heard: make(map[nodeID]time.Time), waits: make(map[storage.QueueName][]waiting), watched: make(map[storage.ID]time.Time),
	}
}

// here notes that a node is there.
func (k *nodes) here(node nodeID, now time.Time) {
	if _, ok := k.heard[node]; ok || len(k.heard) < maxKnown {
		k.heard[node] = now
	}
}

// wait notes how many receivers of a queue a node has.
func (k *nodes) wait(node nodeID, q storage.QueueName, n int, now time.Time) {
	list := k.waits[q]
	i := slices.IndexFunc(list, func(w waiting) bool { return w.node == node })
	switch {
	case i >= 0 && n > 0:
		list[i].n, list[i].until = n, now.Add(forgetAfter)
	case i >= 0:
		k.setWaits(q, slices.Delete(list, i, i+1))
	case n > 0 && (list != nil || len(k.waits) < maxKnown):
		k.waits[q] = append(list, waiting{node, n, now.Add(forgetAfter)})
	}
}

func (k *nodes) setWaits(q storage.QueueName, list []waiting) {
	if len(list) == 0 {
		delete(k.waits, q)
		return
	}
	k.waits[q] = list
}

// told notes that a node has been told of n jobs of a queue.
func (k *nodes) told(node nodeID, q storage.QueueName, n int) {
	list := k.waits[q]
	if i := slices.IndexFunc(list, func(w waiting) bool { return w.node == node }); i >= 0 {
		w := list[i]
		list = slices.Delete(list, i, i+1)
		if w.n -= n; w.n > 0 {
			list = append(list, w)
		}
		k.setWaits(q, list)
	}
}

// next returns the node that is to be told of jobs of a queue, of how many at most, and false if none is known to wait.
func (k *nodes) next(q storage.QueueName, now time.Time) (node nodeID, n int, ok bool) {
	for _, w := range slices.Clone(k.waits[q]) {
		if w.until.After(now) {
			return w.node, w.n, true
		}
		k.wait(w.node, q, 0, now)
	}
	return nodeID{}, 0, false
}

// forget forgets a node.
func (k *nodes) forget(node nodeID) {
	delete(k.heard, node)
	for q, list := range k.waits {
		k.setWaits(q, slices.DeleteFunc(list, func(w waiting) bool { return w.node == node }))
	}
}

// watch notes that somebody watches a job.
func (k *nodes) watch(id storage.ID, now time.Time) {
	if len(k.watched) < maxKnown {
		k.watched[id] = now.Add(forgetAfter)
	}
}

// expire forgets what has not been said again for long.
func (k *nodes) expire(now time.Time) {
	for node, at := range k.heard {
		if now.Sub(at) > forgetAfter {
			k.forget(node)
		}
	}
	for q, list := range k.waits {
		k.setWaits(q, slices.DeleteFunc(list, func(w waiting) bool { return !w.until.After(now) }))
	}
	for id, until := range k.watched {
		if !until.After(now) {
			delete(k.watched, id)
		}
	}
}

// lag returns how much later than at its time a node is to do what is due: not at all the one whose id comes first, the others within a
// second, one after the other.
func (k *nodes) lag(self nodeID) time.Duration {
	before := 0
	for node := range k.heard {
		if bytes.Compare(node[:], self[:]) < 0 {
			before++
		}
	}
	if before == 0 {
		return 0
	}
	return 100*time.Millisecond + 900*time.Millisecond*time.Duration(before)/time.Duration(len(k.heard)+1)
}

// recent remembers, for half a second to a second, what this node has committed and told nobody of, because nobody was known to wait for it. Who had
// just begun to wait is told when that is heard.
type recent struct {
	ready, readyBefore map[storage.QueueName]int
	jobs, jobsBefore   map[storage.ID]struct{}
	turned             time.Time
}

const recentFor = 500 * time.Millisecond

// turn forgets what is too old.
func (r *recent) turn(now time.Time) {
	age := now.Sub(r.turned)
	if age < recentFor {
		return
	}
	r.readyBefore, r.jobsBefore = r.ready, r.jobs
	if age >= 2*recentFor {
		r.readyBefore, r.jobsBefore = nil, nil
	}
	r.ready, r.jobs = make(map[storage.QueueName]int), make(map[storage.ID]struct{})
	r.turned = now
}

// readied notes jobs that nobody was told of.
func (r *recent) readied(q storage.QueueName, n int, now time.Time) {
	r.turn(now)
	if len(r.ready) < maxKnown {
		r.ready[q] += n
	}
}

// changed notes a job whose change nobody was told of.
func (r *recent) changed(id storage.ID, now time.Time) {
	r.turn(now)
	if len(r.jobs) < maxKnown {
		r.jobs[id] = struct{}{}
	}
}

// takeReady returns how many jobs of a queue there were, and forgets them.
func (r *recent) takeReady(q storage.QueueName, now time.Time) int {
	r.turn(now)
	n := r.ready[q] + r.readyBefore[q]
	delete(r.ready, q)
	delete(r.readyBefore, q)
	return n
}

// has reports whether a job has changed.
func (r *recent) has(id storage.ID, now time.Time) bool {
	r.turn(now)
	_, ok := r.jobs[id]
	_, before := r.jobsBefore[id]
	return ok || before
}
