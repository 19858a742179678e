package memstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/pollackq/pollack/storage"
)

// Check reports each job whose places in the orders, keys or counts disagree with its record.
func (s *Store) Check(ctx context.Context) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	var errs []error
	report := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	counts := make(map[*queue]storage.Counts)
	ready := make(map[*queue]int)
	keys, due := 0, 0
	for id, rec := range s.jobs {
		if err := ctx.Err(); err != nil {
			return err
		}
		j, q := rec.job, rec.queue
		if j == nil || j.ID != id {
			report("job %v: its record is another's", id)
			continue
		}
		if s.queues[j.Queue] != q {
			report("job %v: its queue %q is not there", id, j.Queue)
			continue
		}
		if p := q.ids.find(idPlace{id: id}); p == nil || p.rec != rec {
			report("job %v: not in its place by id", id)
		}
		if p := q.ready.find(readyAt(j)); isReady(j) != (p != nil && p.rec == rec) {
			report("job %v: state %d, place in Ready %v", id, j.State, p != nil)
		}
		at, has := dueAt(j)
		if p := s.due.find(at); has && (p == nil || p.rec != rec) {
			report("job %v: due %v, and not in Due", id, j.Due)
		}
		if j.Key != "" && s.keys[j.KeyOf()] != rec {
			report("job %v: not found by its key %q", id, j.Key)
		}
		c := counts[q]
		c[j.State]++
		counts[q] = c
		if isReady(j) {
			ready[q]++
		}
		if has {
			due++
		}
		if j.Key != "" {
			keys++
		}
	}
	for name, q := range s.queues {
		if q.counts != counts[q] {
			report("queue %q: counts are %v, jobs are %v", name, q.counts, counts[q])
		}
		if n := counts[q].Total(); int64(q.ids.len) != n || int64(length(&q.ids)) != n {
			report("queue %q: %d places by id, %d jobs", name, q.ids.len, n)
		}
		if n := ready[q]; q.ready.len != n || length(&q.ready) != n {
			report("queue %q: %d places in Ready, %d pending jobs", name, q.ready.len, n)
		}
		if s.names.find(name) == nil {
			report("queue %q: not in its place by name", name)
		}
	}
	if n := len(s.queues); length(&s.names) != n {
		report("%d places by name, %d queues", length(&s.names), n)
	}
	if s.due.len != due || length(&s.due) != due {
		report("%d places in Due, %d jobs with a time", s.due.len, due)
	}
	if len(s.keys) != keys {
		report("%d keys, %d jobs with one", len(s.keys), keys)
	}
	return errors.Join(errs...)
}

// length counts the elements of an order, up to the first that stands in the wrong place.
func length[K any](o *order[K]) int {
	n := 0
	var last *K
	for k := range o.all() {
		if last != nil && !o.less(*last, *k) {
			break
		}
		last = k
		n++
	}
	return n
}
