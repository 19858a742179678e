package storagetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/pollackq/pollack/storage"
)

// callers and rounds are the size of the concurrent laws: enough for transactions to be grouped, not so many that a slow store takes long.
const (
	callers = 32
	rounds  = 10
)

// together runs fn in as many goroutines as there are callers, and waits for them. fn reports with Errorf and returns.
func together(fn func(n int)) {
	var wg sync.WaitGroup
	for n := range callers {
		wg.Go(func() { fn(n) })
	}
	wg.Wait()
}

var concurrentLaws = []law{
	{name: "law 1: transactions that fail or panic are not noticed by their neighbours", run: func(e *env) {
		e.update(func(tx tx) { tx.put(q1) })
		jobs := make([]*storage.Job, callers*rounds)
		for i := range jobs {
			jobs[i] = e.job(q1, key(fmt.Sprint(i)), due(at(int64(i))))
		}
		together(func(n int) {
			for r := range rounds {
				i := n*rounds + r
				p := recovered(func() {
					err := e.try(context.Background(), func(tx tx) error {
						j := tx.add(jobs[i], fmt.Sprint(i))
						tx.setResult(j, "r")
						switch i % 4 {
						case 1:
							return errPlanned
						case 2:
							panic(errPlanned)
						}
						return nil
					})
					if i%4 == 1 && err != errPlanned || i%4 == 3 && err != nil || i%4 == 0 && err != nil {
						e.Errorf("transaction %d: got %v", i, err)
					}
				})
				if (i%4 == 2) != (p != nil) {
					e.Errorf("transaction %d: got panic %v", i, p)
				}
			}
		})
		e.view(func(r reader) {
			all, err := listJobs(r, q1, 0, 50)
			must(err)
			var want []storage.ID
			for i, j := range jobs {
				if i%4 == 0 || i%4 == 3 {
					want = append(want, j.ID)
				}
			}
			wantIDs("what was added", all, want...)
		})
	}},
	{name: "law 1: a View sees one moment while others write", run: func(e *env) {
		from, to := queue("acme", "from"), queue("acme", "to")
		e.update(func(tx tx) {
			tx.put(from)
			tx.put(to)
			for range callers {
				tx.add(e.job(from), "p")
			}
		})
		var moved atomic.Int32
		together(func(n int) {
			if n%2 == 0 {
				for range rounds {
					err := e.store.View(context.Background(), storage.Reads{}, func(r storage.Reader) error {
						a, err := r.Counts(from)
						if err != nil {
							return err
						}
						ready, err := r.Ready(to, callers+1)
						if err != nil {
							return err
						}
						if sum := int(a.Total()) + len(ready); sum != callers {
							return fmt.Errorf("got %d jobs in both queues, want %d", sum, callers)
						}
						return nil
					})
					if err != nil {
						e.Errorf("View: %v", err)
					}
				}
				return
			}
			err := e.try(context.Background(), func(tx tx) error {
				ready := tx.ready(from, 1)
				if len(ready) == 0 {
					fail("nothing is left to move")
				}
				j := ready[0]
				tx.delete(j)
				spec := *j.Spec
				spec.Queue = to
				tx.add(&storage.Job{Spec: &spec, Status: j.Status}, "p")
				return nil
			})
			if err != nil {
				e.Errorf("Update: %v", err)
			}
			moved.Add(1)
		})
		e.view(func(r reader) {
			if got := r.counts(to)[storage.Pending]; got != int64(moved.Load()) {
				fail("got %d jobs moved, want %d", got, moved.Load())
			}
		})
	}},
	{name: "law 3: the function runs neither before the call nor after it has returned", run: func(e *env) {
		e.update(func(tx tx) { tx.put(q1) })
		together(func(n int) {
			for range rounds {
				var returned atomic.Bool
				_ = e.store.Update(context.Background(), storage.Reads{}, func(tx storage.Tx) error {
					if returned.Load() {
						e.Errorf("the function runs after Update has returned")
					}
					_, err := tx.Counts(q1)
					return err
				})
				returned.Store(true)
			}
		})
	}},
	{name: "law 5: a job that an Update read does not change before it ends", run: func(e *env) {
		j := e.job(q1, key("k"))
		e.update(func(tx tx) { tx.put(q1); tx.add(j, "p") })
		together(func(n int) {
			for r := range rounds {
				err := e.try(context.Background(), func(tx tx) error {
					var got *storage.Job
					switch (n + r) % 3 {
					case 0:
						got = tx.job(j.ID)
					case 1:
						ready := tx.ready(q1, 1)
						if len(ready) != 1 { // a store of several processes may leave out a job that is busy
							got = tx.job(j.ID)
							break
						}
						got = ready[0]
					case 2:
						var err error
						got, err = tx.JobByKey(j.KeyOf())
						must(err)
					}
					tx.set(with(got, func(s *storage.Status) { s.Version++ }))
					return nil
				})
				if err != nil {
					e.Errorf("Update: %v", err)
				}
			}
		})
		e.view(func(r reader) {
			if got := r.job(j.ID).Version; got != 1+callers*rounds {
				fail("version after %d increments from 1: got %d", callers*rounds, got)
			}
		})
	}},
	{name: "law 5: each pending job is taken by one caller", run: func(e *env) {
		e.update(func(tx tx) {
			tx.put(q1)
			for range callers * rounds {
				tx.add(e.job(q1), "p")
			}
		})
		var mu sync.Mutex // guards taken
		taken := make(map[storage.ID]int)
		together(func(n int) {
			for range rounds {
				var id storage.ID
				err := e.try(context.Background(), func(tx tx) error {
					ready := tx.ready(q1, 1)
					if len(ready) != 1 {
						fail("Ready(1): got %d jobs", len(ready))
					}
					id = ready[0].ID
					tx.set(with(ready[0], func(s *storage.Status) { s.State, s.Due = storage.Running, at(7) }))
					return nil
				})
				if err != nil {
					e.Errorf("Update: %v", err)
				}
				mu.Lock()
				taken[id]++
				mu.Unlock()
			}
		})
		for id, n := range taken {
			if n != 1 {
				e.Errorf("job %v was taken %d times", id, n)
			}
		}
		if len(taken) != callers*rounds {
			e.Errorf("got %d jobs taken, want %d", len(taken), callers*rounds)
		}
	}},
	{name: "law 12: positions have no holes and no doubles, however many add and fail at once", run: func(e *env) {
		other := queue("", "other")
		e.update(func(tx tx) { tx.put(q1); tx.put(other) })
		jobs := make([][2]*storage.Job, callers*rounds)
		for i := range jobs {
			jobs[i] = [2]*storage.Job{e.job(q1), e.job(other)}
		}
		var mu sync.Mutex // guards told
		var told []uint64
		together(func(n int) {
			for r := range rounds {
				i := n*rounds + r
				var added *storage.Job
				err := e.try(context.Background(), func(tx tx) error {
					added = tx.add(jobs[i][0], "p")
					tx.add(jobs[i][1], "p")
					if i%3 == 0 {
						return errPlanned
					}
					return nil
				})
				if i%3 == 0 {
					continue
				}
				if err != nil {
					e.Errorf("Update: %v", err)
				}
				mu.Lock()
				told = append(told, added.Position)
				mu.Unlock()
			}
		})
		slices.Sort(told)
		for i, p := range told {
			if uint64(i) != p {
				e.Fatalf("positions that were told, sorted: number %d is %d", i, p)
			}
		}
		e.view(func(r reader) {
			for _, q := range []storage.QueueName{q1, other} {
				if got := r.next(q); got != uint64(len(told)) {
					fail("NextPosition(%q): got %d, want %d", q, got, len(told))
				}
				for i, j := range r.ready(q, len(told)) {
					if j.Position != uint64(i) {
						fail("queue %q: number %d has position %d", q, i, j.Position)
					}
				}
			}
		})
	}},
	{name: "law 15: a queue is deleted only while it has no jobs, however many add at once", run: func(e *env) {
		jobs := make([]*storage.Job, callers*rounds)
		for i := range jobs {
			jobs[i] = e.job(q1)
		}
		together(func(n int) {
			for r := range rounds {
				err := e.try(context.Background(), func(tx tx) error {
					j := jobs[n*rounds+r]
					switch n % 3 {
					case 0:
						if _, err := tx.Queue(q1); err == nil {
							return nil
						}
						tx.put(q1)
					case 1:
						if _, err := tx.AddJob(j, nil); err != nil && !errors.Is(err, storage.ErrNotFound) {
							return err
						}
						for _, j := range tx.ready(q1, 1) {
							tx.delete(j)
						}
					case 2:
						if err := tx.DeleteQueue(q1); err != nil && !errors.Is(err, storage.ErrNotFound) && !errors.Is(err, storage.ErrInUse) {
							return err
						}
					}
					return nil
				})
				if err != nil {
					e.Errorf("Update: %v", err)
				}
			}
		})
		e.view(func(r reader) {
			for _, j := range jobs {
				if j, err := r.Job(j.ID); err == nil {
					if _, err := r.Queue(j.Queue); err != nil {
						fail("job %v is there, its queue: %v", j.ID, err)
					}
				}
			}
		})
	}},
	{name: "Close: while many are calling, each call succeeds or returns ErrClosed", run: func(e *env) {
		e.update(func(tx tx) { tx.put(q1) })
		jobs := make([]*storage.Job, callers*rounds)
		for i := range jobs {
			jobs[i] = e.job(q1)
		}
		together(func(n int) {
			for r := range rounds {
				if n == 0 && r == rounds/2 {
					if err := e.store.Close(); err != nil {
						e.Errorf("Close: got %v, want nil", err)
					}
				}
				if err := e.try(context.Background(), func(tx tx) error { tx.add(jobs[n*rounds+r], "p"); return nil }); err != nil && !errors.Is(err, storage.ErrClosed) {
					e.Errorf("Update: got %v, want nil or %v", err, storage.ErrClosed)
				}
			}
		})
		e.close()
	}},
	{name: "law 20: of many who add the same key at once one succeeds", run: func(e *env) {
		e.update(func(tx tx) { tx.put(q1) })
		for r := range rounds {
			jobs := make([]*storage.Job, callers)
			for i := range jobs {
				jobs[i] = e.job(q1, key(fmt.Sprint("key ", r)))
			}
			var added atomic.Int32
			together(func(n int) {
				err := e.try(context.Background(), func(tx tx) error {
					_, err := tx.AddJob(jobs[n], nil)
					return err
				})
				if err == nil {
					added.Add(1)
				} else if !errors.Is(err, storage.ErrExists) {
					e.Errorf("Update: got %v, want nil or %v", err, storage.ErrExists)
				}
			})
			if got := added.Load(); got != 1 {
				e.Errorf("got %d jobs of one key, want 1", got)
			}
		}
	}},
}
