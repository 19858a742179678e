package pgstore

import (
	"github.com/pollackq/pollack/storage"
)

// prefetch begins a transaction and reads what calls say they are going to read.
func (t *txn) prefetch(begin string, calls []*call) error {
	t.begin = begin
	fresh := t.mode != shared
	for _, c := range calls {
		t.strict = t.strict || c.strict
		fresh = fresh || c.fresh || c.strict
	}
	if !fresh && t.s.memory.recall(t, calls) {
		return nil
	}
	r := request{clock: true}
	var ids map[storage.ID]bool
	var names map[storage.QueueName]bool
	var keys map[storage.Key]bool
	for _, c := range calls {
		for _, id := range c.reads.Jobs {
			if g := t.jobs[id]; g == nil {
				add(&ids, &r.ids, id)
			} else if name := g.was.job.Queue; c.reads.Ends {
				add(&names, &r.queues, name)
			}
		}
		for _, k := range c.reads.Keys {
			if k.Name != "" {
				add(&keys, &r.keys, k)
			}
		}
		for i, q := range c.reads.Queues {
			add(&names, &r.queues, q)
			if i == 0 && c.reads.Ready > 0 {
				if r.ready == nil {
					r.ready = make(map[storage.QueueName]int)
				}
				r.ready[q] += c.reads.Ready
			}
		}
		r.payloads = r.payloads || c.reads.Payloads
		r.results = r.results || c.reads.Results
		r.ends = r.ends || c.reads.Ends
	}
	for _, q := range r.queues {
		if t.s.counts.wanted(q) {
			r.countsOf = append(r.countsOf, q)
		}
	}
	if err := t.fetch(r); err != nil {
		return err
	}
	return t.prefetchEnds(r)
}

// prefetchEnds reads what the ends of jobs concern besides: the jobs that they tell of, and the queues that are told of them.
func (t *txn) prefetchEnds(r request) error {
	if !r.ends {
		return nil
	}
	var more request
	var ids map[storage.ID]bool
	var names map[storage.QueueName]bool
	for _, id := range r.ids {
		k := t.jobs[id]
		if k == nil || k.now.job == nil {
			continue
		}
		if o := k.now.job.Origin; o != (storage.ID{}) && t.jobs[o] == nil {
			add(&ids, &more.ids, o)
		}
		for _, name := range k.now.job.Outbox {
			if q := (storage.QueueName{Name: name}); t.queues[q] == nil {
				add(&names, &more.queues, q)
			}
		}
	}
	if len(more.ids) == 0 && len(more.queues) == 0 {
		return nil
	}
	more.ends = true
	return t.fetch(more)
}

// add appends what is not yet there.
func add[K comparable](seen *map[K]bool, list *[]K, k K) {
	if *seen == nil {
		*seen = make(map[K]bool)
	}
	if !(*seen)[k] {
		(*seen)[k] = true
		*list = append(*list, k)
	}
}
