package storagetest

import (
	"time"

	"github.com/pollackq/pollack/storage"
)

var durableLaws = []law{
	{name: "law 2: what an Update wrote is there when the store is opened again", reopens: true, run: func(e *env) {
		prepare(e)
		before := e.state()
		e.failEverywhere(func(tx tx) error { return errEnough })
		e.again()
		e.same(before)
		e.update(func(tx tx) { script(e, tx, func(write func()) { write() }) })
		before = e.state()
		for range 2 {
			e.again()
			e.same(before)
		}
	}},
	{name: "law 12: positions go on when the store is opened again", reopens: true, run: func(e *env) {
		e.update(func(tx tx) {
			tx.put(q1)
			tx.add(e.job(q1), "")
			tx.delete(tx.add(e.job(q1), "")) // used, and nothing but the counter knows
		})
		e.again()
		e.update(func(tx tx) {
			if j := tx.add(e.job(q1), ""); j.Position != 2 {
				fail("position: got %d, want 2", j.Position)
			}
			tx.add(e.job(q1), "")
		})
	}},
	{name: "law 9: Now at open is not before the last commit", reopens: true, run: func(e *env) {
		var last time.Time
		for range 3 {
			e.update(func(tx tx) { last = tx.Now(); tx.put(q1) })
			e.again()
			e.view(func(r reader) {
				if now := r.Now(); now.Before(last) {
					fail("Now is %v, and the last commit was of %v", now, last)
				}
			})
		}
	}},
	{name: "Close: a store that was used by many is as it was when opened again", reopens: true, run: func(e *env) {
		e.update(func(tx tx) { tx.put(q1) })
		jobs := make([]*storage.Job, callers*rounds)
		for i := range jobs {
			jobs[i] = e.job(q1, due(at(int64(i))))
		}
		together(func(n int) {
			for r := range rounds {
				if err := e.try(e.Context(), func(tx tx) error { tx.add(jobs[n*rounds+r], value(300*r)); return nil }); err != nil {
					e.Errorf("Update: %v", err)
				}
			}
		})
		before := e.state()
		e.again()
		e.same(before)
	}},
}

// again closes the store and opens it again.
func (e *env) again() {
	e.Helper()
	if err := e.store.Close(); err != nil {
		e.Fatalf("Close: got %v, want nil", err)
	}
	e.store = e.reopen(e.T, e.store)
}
