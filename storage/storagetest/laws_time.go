package storagetest

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/pollackq/pollack/storage"
)

var timeLaws = []law{
	{name: "law 8: Now is in UTC and carries microseconds", run: func(e *env) {
		e.view(func(r reader) { checkNow(r.Now()) })
		e.update(func(tx tx) { checkNow(tx.Now()) })
	}},
	{name: "law 8: times come back as they were given, and order, near and far", run: func(e *env) {
		times := []time.Time{
			time.Date(1, 1, 1, 0, 0, 0, 1000, time.UTC),
			time.Date(1582, 10, 10, 3, 4, 5, 678901000, time.UTC),
			time.Date(1969, 12, 31, 23, 59, 59, 999999000, time.UTC),
			time.Unix(0, 0).UTC(),
			base.Add(time.Microsecond),
			base.Add(2 * time.Microsecond),
			time.Date(2262, 4, 12, 0, 0, 0, 0, time.UTC), // past what nanoseconds in 64 bits can say
			farFuture,
		}
		var jobs []*storage.Job
		for _, t := range times {
			jobs = append(jobs, e.job(q1, func(j *storage.Job) {
				j.Created = t
				j.Due, j.RunAt, j.LeaseExpires, j.Deadline, j.Started, j.Finished = t, t, t, t, t, t
			}))
		}
		jobs = append(jobs, e.job(q1, func(j *storage.Job) { j.Created = time.Time{} }))
		e.update(func(tx tx) {
			tx.put(q1)
			for _, j := range jobs {
				tx.add(j, "")
			}
			must(tx.PutQueue(&storage.Queue{QueueName: q1, Created: times[0], Closed: times[1]}))
		})
		e.view(func(r reader) {
			for i, j := range jobs {
				want := deepCopy(j)
				want.Position = uint64(i)
				if got := r.job(j.ID); show(got) != show(want) || got.Due != j.Due || got.Created != j.Created {
					fail("got  %s\nwant %s", show(got), show(want))
				}
			}
			wantIDs("Due", r.due(farFuture, 100), ids(jobs[:len(times)])...)
			for i, t := range times {
				wantIDs(fmt.Sprintf("Due until %v", t), r.due(t, 100), ids(jobs[:i+1])...)
				wantIDs(fmt.Sprintf("Due until just before %v", t), r.due(t.Add(-time.Microsecond), 100), ids(jobs[:i])...)
			}
			q, err := r.Queue(q1)
			must(err)
			if q.Created != times[0] || q.Closed != times[1] {
				fail("queue: got %+v", q)
			}
			oldest, err := r.OldestPending(q1)
			must(err)
			if oldest != times[0] {
				fail("OldestPending: got %v, want that of the first job %v", oldest, times[0])
			}
		})
	}},
	{name: "law 9: Now does not change within a run", waits: true, run: func(e *env) {
		e.update(func(tx tx) {
			now := tx.Now()
			time.Sleep(time.Second)
			if again := tx.Now(); again != now {
				fail("Now: got %v, then %v", now, again)
			}
		})
		e.view(func(r reader) {
			now := r.Now()
			time.Sleep(time.Second)
			if again := r.Now(); again != now {
				fail("Now: got %v, then %v", now, again)
			}
		})
	}},
	{name: "law 9: Now goes on with time, and never back", waits: true, run: func(e *env) {
		var before time.Time
		e.view(func(r reader) { before = r.Now() })
		for _, d := range []time.Duration{time.Microsecond, time.Second, 5 * time.Minute, 24 * time.Hour} {
			time.Sleep(d)
			var after time.Time
			e.update(func(tx tx) { after = tx.Now() })
			if got := after.Sub(before); got < d-time.Microsecond || got > d+time.Microsecond {
				e.Errorf("after %v the clock has moved %v", d, got)
			}
			before = after
		}
	}},
	{name: "law 9: Now is not before that of the transactions whose writes are read", run: func(e *env) {
		j := e.job(q1, func(j *storage.Job) { j.RunAt = time.Time{} })
		e.update(func(tx tx) { tx.put(q1); tx.add(j, "") })
		together(func(n int) {
			var last time.Time
			for range rounds {
				var now time.Time
				err := e.store.Update(context.Background(), storage.Reads{Jobs: []storage.ID{j.ID}}, func(t storage.Tx) (err error) {
					defer catch(&err)
					tx := tx{reader{t}, t}
					now = tx.Now()
					got := tx.job(j.ID)
					if now.Before(got.RunAt) {
						fail("Now is %v, and what was read is of %v", now, got.RunAt)
					}
					tx.set(with(got, func(s *storage.Status) { s.RunAt = now }))
					return nil
				})
				if err != nil {
					e.Errorf("Update: %v", err)
				}
				if now.Before(last) {
					e.Errorf("Now went back from %v to %v", last, now)
				}
				last = now
			}
		})
	}},
	{name: "Alarm: fn is called when the store's clock reaches the time, unless stopped before", waits: true, run: func(e *env) {
		s, ok := storage.As[storage.Alarmer](e.store)
		if !ok {
			return
		}
		var now time.Time
		e.view(func(r reader) { now = r.Now() })
		var past, soon, stopped atomic.Int32
		s.Alarm(now.Add(-time.Hour), func() { past.Add(1) })
		s.Alarm(now.Add(time.Hour), func() { soon.Add(1) })
		stop := s.Alarm(now.Add(time.Hour), func() { stopped.Add(1) })
		time.Sleep(time.Hour - time.Millisecond)
		if past.Load() != 1 || soon.Load() != 0 {
			e.Errorf("before its time: one of the past was called %d times, one of the future %d", past.Load(), soon.Load())
		}
		stop()
		time.Sleep(2 * time.Millisecond)
		stop()
		time.Sleep(time.Hour)
		if past.Load() != 1 || soon.Load() != 1 || stopped.Load() != 0 {
			e.Errorf("after its time: of the past %d calls, of the future %d, stopped %d; want 1, 1, 0", past.Load(), soon.Load(), stopped.Load())
		}
	}},
	{name: "law 8: durations and numbers come back as they were given", run: func(e *env) {
		j := e.job(q1, func(j *storage.Job) {
			j.Limits = storage.Limits{Lease: math.MaxInt64, MaxDeliveries: -1, Retention: math.MinInt64, Tombstone: 1}
			j.Deliveries, j.Lapses, j.Ends, j.Owed = math.MaxUint32, math.MaxUint32, math.MaxUint32, math.MaxUint32
			j.Version, j.Size, j.ResultSize = math.MaxInt64, math.MaxInt64, math.MaxInt64
		})
		open := e.job(q1, func(j *storage.Job) { j.State, j.Size = storage.Staged, -1 })
		q := &storage.Queue{QueueName: q1, Limits: j.Limits, Backlog: math.MinInt, Created: base}
		e.update(func(tx tx) {
			must(tx.PutQueue(q))
			tx.add(j, "")
			tx.add(open, "")
		})
		e.view(func(r reader) {
			for _, want := range []*storage.Job{j, open} {
				if got := r.job(want.ID); show(got) != show(want) {
					fail("got  %s\nwant %s", show(got), show(want))
				}
			}
			got, err := r.Queue(q1)
			must(err)
			if show(got) != show(q) {
				fail("got  %s\nwant %s", show(got), show(q))
			}
		})
	}},
}

func checkNow(now time.Time) {
	if now.IsZero() || now.Location() != time.UTC || now.Truncate(time.Microsecond) != now {
		fail("Now: got %v, want UTC, microseconds and no monotonic reading", now)
	}
}
