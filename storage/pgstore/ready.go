package pgstore

import (
	"slices"

	"github.com/pollackq/pollack/storage"
)

// Ready merges what the database has, and this transaction has locked, with what became pending in this transaction. Of that nothing may
// come before what the database has not been asked for.
func (t *txn) Ready(name storage.QueueName, max int) ([]*storage.Job, error) {
	q, err := t.queue(name)
	if err != nil || q.now == nil || max < 1 {
		return nil, err
	}
	for {
		jobs, more := q.firstReady(max)
		if !more {
			return jobs, nil
		}
		if err := t.fetchReady(q, max); err != nil {
			return nil, err
		}
	}
}

// firstReady returns up to max pending jobs, and whether the database has to be asked for more.
func (q *queue) firstReady(max int) (jobs []*storage.Job, more bool) {
	l := &q.ready
	if !l.read {
		return nil, true
	}
	for l.head < len(l.list) && !l.list[l.head].pending(q) {
		l.head++
	}
	if l.unsorted {
		l.fresh = slices.DeleteFunc(l.fresh, func(r *rec) bool {
			if r.pending(q) {
				return false
			}
			r.fresh = nil
			return true
		})
		slices.SortFunc(l.fresh, func(a, b *rec) int {
			if before(a, b) {
				return -1
			}
			return 1
		})
		l.unsorted, l.freshHead = false, 0
	}
	for l.freshHead < len(l.fresh) && !l.fresh[l.freshHead].apart(q) {
		l.freshHead++
	}
	i, k := l.head, l.freshHead
	for len(jobs) < max && i < len(l.list) {
		r := l.list[i]
		if !r.pending(q) {
			i++
			continue
		}
		for k < len(l.fresh) && !l.fresh[k].apart(q) {
			k++
		}
		if k < len(l.fresh) && before(l.fresh[k], r) {
			r = l.fresh[k]
			k++
		} else {
			i++
		}
		jobs = append(jobs, r.now.job)
	}
	if len(jobs) < max && !l.whole {
		return nil, true
	}
	for ; len(jobs) < max && k < len(l.fresh); k++ {
		if r := l.fresh[k]; r.apart(q) {
			jobs = append(jobs, r.now.job)
		}
	}
	return jobs, false
}

// apart reports whether a record is pending and does not stand in the list of those that the database has so.
func (r *rec) apart(q *queue) bool { return r.pending(q) && r.listed != q }

// pending reports whether a record is that of a pending job of a queue.
func (r *rec) pending(q *queue) bool {
	return r.queue == q && r.now.job != nil && r.now.job.State == storage.Pending
}

// before reports whether a comes before b in the Ready order.
func before(a, b *rec) bool {
	if a.now.job.Priority != b.now.job.Priority {
		return a.now.job.Priority > b.now.job.Priority
	}
	return a.now.job.Position < b.now.job.Position
}
