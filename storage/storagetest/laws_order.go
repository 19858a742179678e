package storagetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/pollackq/pollack/storage"
)

var orderLaws = []law{
	{name: "law 18: only pending jobs are ready", run: func(e *env) {
		var pending storage.ID
		e.update(func(tx tx) {
			tx.put(q1)
			for s := storage.Staged; s <= storage.Gone; s++ {
				j := tx.add(e.job(q1, state(s)), "")
				if s == storage.Pending {
					pending = j.ID
				}
			}
			wantIDs("Ready in the transaction", tx.ready(q1, 100), pending)
		})
		e.view(func(r reader) {
			wantIDs("Ready", r.ready(q1, 100), pending)
			for s := storage.Staged; s <= storage.Gone; s++ {
				if got := r.counts(q1)[s]; got != 1 {
					fail("Counts of state %d: got %d, want 1", s, got)
				}
			}
		})
	}},
	{name: "law 18: a job that comes back stands at its old place", run: func(e *env) {
		var jobs []*storage.Job
		e.update(func(tx tx) {
			jobs = nil
			tx.put(q1)
			for range 8 {
				jobs = append(jobs, tx.add(e.job(q1), ""))
			}
		})
		ids := ids(jobs)
		e.update(func(tx tx) {
			for _, i := range []int{0, 3, 1, 7} {
				tx.set(with(jobs[i], func(s *storage.Status) { s.State = storage.Running }))
			}
		})
		e.view(func(r reader) { wantIDs("Ready", r.ready(q1, 100), ids[2], ids[4], ids[5], ids[6]) })
		e.update(func(tx tx) {
			for _, i := range []int{7, 3, 0} {
				tx.set(with(tx.job(ids[i]), func(s *storage.Status) { s.State = storage.Pending }))
			}
		})
		e.view(func(r reader) {
			wantIDs("Ready", r.ready(q1, 100), ids[0], ids[2], ids[3], ids[4], ids[5], ids[6], ids[7])
			wantIDs("Ready(3)", r.ready(q1, 3), ids[0], ids[2], ids[3])
		})
	}},
	{name: "law 19: Due is one timeline of all queues and states, by time, then id", run: func(e *env) {
		other := queue("", "other")
		var byTime [6]storage.ID
		e.update(func(tx tx) {
			tx.put(q1)
			tx.put(other)
			for i, n := range []int{4, 0, 2, 5, 3, 1} {
				q := q1
				if i%2 == 0 {
					q = other
				}
				j := e.job(q, due(at(int64(10*n))), state(storage.State(1+i)))
				byTime[n] = j.ID
				tx.add(j, "")
			}
			tx.add(e.job(q1), "") // never due
			wantIDs("Due in the transaction", tx.due(at(30), 100), byTime[:4]...)
		})
		first := e.job(q1, due(at(20)))
		e.update(func(tx tx) {
			tx.add(e.job(q1, due(at(20))), "") // of the same time, with a greater id
			tx.add(first, "")
			tx.set(with(tx.job(byTime[0]), func(s *storage.Status) { s.Due = time.Time{} }))
			tx.set(with(tx.job(byTime[5]), func(s *storage.Status) { s.Due = at(-1) }))
		})
		second := idOf(e.ids)
		e.view(func(r reader) {
			wantIDs("Due", r.due(farFuture, 100), byTime[5], byTime[1], byTime[2], first.ID, second, byTime[3], byTime[4])
			wantIDs("Due until just before", r.due(at(19), 100), byTime[5], byTime[1])
			wantIDs("Due until", r.due(at(20), 100), byTime[5], byTime[1], byTime[2], first.ID, second)
			wantIDs("Due(2)", r.due(at(20), 2), byTime[5], byTime[1])
			wantIDs("Due(0)", r.due(at(20), 0))
			wantIDs("Due(-1)", r.due(at(20), -1))
			wantIDs("Due before all", r.due(at(-2), 10))
			next, err := r.NextDue()
			if must(err); next != at(-1) {
				fail("NextDue: got %v, want %v", next, at(-1))
			}
		})
	}},
	{name: "law 19: NextDue is the zero time if nothing is due ever", run: func(e *env) {
		e.update(func(tx tx) { tx.put(q1); tx.add(e.job(q1), "") })
		e.view(func(r reader) {
			if next, err := r.NextDue(); err != nil || !next.IsZero() {
				fail("NextDue: got %v, %v; want the zero time", next, err)
			}
		})
	}},
	{name: "law 20: a key finds its job in whatever state", run: func(e *env) {
		e.update(func(tx tx) {
			tx.put(q1)
			for s := storage.Staged; s <= storage.Gone; s++ {
				j := tx.add(e.job(q1, state(s), key(fmt.Sprint("key ", s))), "")
				_, err := tx.AddJob(e.job(q1, key(j.Key)), nil)
				want("AddJob of a key in use", err, storage.ErrExists)
				got, err := tx.JobByKey(j.KeyOf())
				if must(err); got.ID != j.ID {
					fail("JobByKey: got %v, want %v", got.ID, j.ID)
				}
			}
		})
	}},
	{name: "OldestPending: the least Created of the first jobs of each priority", run: func(e *env) {
		add := func(tx tx, p int16, created int64) *storage.Job {
			return tx.add(e.job(q1, priority(p), func(j *storage.Job) { j.Created = at(created) }), "")
		}
		oldest := func(r reader, want time.Time) {
			got, err := r.OldestPending(q1)
			if must(err); got != want {
				fail("OldestPending: got %v, want %v", got, want)
			}
		}
		e.update(func(tx tx) {
			tx.put(q1)
			oldest(tx.reader, time.Time{})
			add(tx, 5, 100)
			oldest(tx.reader, at(100))
			add(tx, 5, 10) // not the first of its priority
			oldest(tx.reader, at(100))
			low := add(tx, -32768, 50)
			add(tx, 32767, 70)
			oldest(tx.reader, at(50))
			tx.set(with(low, func(s *storage.Status) { s.State = storage.Running }))
			oldest(tx.reader, at(70))
			add(tx, 0, -100)
		})
		e.view(func(r reader) { oldest(r, at(-100)) })
	}},
	{name: "law 17: Jobs lists one queue by id, and one state if asked", run: func(e *env) {
		other := queue("acme", "mail2")
		var all, running []storage.ID
		e.update(func(tx tx) {
			all, running = nil, nil
			tx.put(q1)
			tx.put(other)
			jobs := make([]*storage.Job, 100)
			for i := range jobs {
				jobs[i] = e.job(q1, state(storage.State(1+i%9)))
				all = append(all, jobs[i].ID)
				if jobs[i].State == storage.Running {
					running = append(running, jobs[i].ID)
				}
			}
			for i := range jobs {
				tx.add(jobs[(i*37)%len(jobs)], "")
				tx.add(e.job(other), "")
			}
		})
		e.view(func(r reader) {
			for _, page := range []int{1, 2, 7, 99, 100, 101, 1 << 30} {
				jobs, err := listJobs(r, q1, 0, page)
				must(err)
				wantIDs(fmt.Sprintf("Jobs by %d", page), jobs, all...)
				jobs, err = listJobs(r, q1, storage.Running, page)
				must(err)
				wantIDs(fmt.Sprintf("running Jobs by %d", page), jobs, running...)
			}
			between := all[50]
			between[15]--
			for _, max := range []int{0, -1} {
				jobs, _, err := r.Jobs(q1, 0, storage.ID{}, max)
				if must(err); len(jobs) != 0 {
					fail("a max of %d: got %d jobs", max, len(jobs))
				}
			}
			jobs, _, err := r.Jobs(q1, 0, between, 1)
			must(err)
			if len(jobs) > 0 && jobs[0].ID != all[50] {
				fail("Jobs after an id that does not exist: got %v, want %v", jobs[0].ID, all[50])
			}
		})
	}},
}

var pageLaws = []law{
	{name: "laws 17 to 21: a long queue, in the order of its parts", run: func(e *env) {
		const n = 3000
		all := make([]storage.ID, 0, n)
		for part := range 6 {
			e.update(func(tx tx) {
				if part == 0 {
					tx.put(q1)
				}
				for i := range n / 6 {
					s := storage.Pending
					if i%100 == 99 {
						s = storage.Failed
					}
					j := e.job(q1, state(s), priority(int16(i%3)), due(at(int64(i*7919%n))))
					all = append(all[:part*n/6+i], j.ID)
					tx.add(j, "")
				}
			})
		}
		e.state()
		e.view(func(r reader) {
			for _, max := range []int{1, 10, 1000, n + 1} {
				if got, want := len(r.ready(q1, max)), min(max, n*99/100); got != want {
					fail("Ready(%d): got %d jobs, want %d", max, got, want)
				}
				if got, want := len(r.due(farFuture, max)), min(max, n); got != want {
					fail("Due(%d): got %d jobs, want %d", max, got, want)
				}
			}
			wantIDs("Ready(0)", r.ready(q1, 0))
			wantIDs("Ready(-1)", r.ready(q1, -1))
			jobs, err := listJobs(r, q1, 0, 100)
			must(err)
			wantIDs("Jobs", jobs, all...)
			failed, err := listJobs(r, q1, storage.Failed, 10)
			if must(err); len(failed) != n/100 {
				fail("failed Jobs: got %d, want %d", len(failed), n/100)
			}
		})
		// From the middle, from the front, and what is left from the back.
		for len(all) > 0 {
			n := min(len(all), 500)
			from := (len(all) - n) / 2
			if len(all) <= 1000 {
				from = 0
			}
			e.update(func(tx tx) {
				for _, id := range all[from : from+n] {
					tx.delete(tx.job(id))
				}
			})
			all = slices.Delete(all, from, from+n)
			e.state()
		}
		e.view(func(r reader) {
			if r.next(q1) != n || r.counts(q1) != (storage.Counts{}) {
				fail("next position %d, counts %v", r.next(q1), r.counts(q1))
			}
		})
	}},
}
