package storagetest

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/pollackq/pollack/storage"
)

var queueLaws = []law{
	{name: "PutQueue: creates a queue and replaces its record, while positions go on", run: func(e *env) {
		e.update(func(tx tx) {
			tx.put(q1)
			tx.add(e.job(q1), "")
		})
		record := &storage.Queue{
			QueueName: q1, Limits: storage.Limits{Lease: 1, MaxDeliveries: 2, Retention: -3, Tombstone: 4}, Backlog: -1,
			Tags: map[string]string{"": "empty", "ключ": "значение"}, Status: "paused", Created: at(1), Closed: at(2),
		}
		e.update(func(tx tx) { must(tx.PutQueue(record)) })
		e.view(func(r reader) {
			got, err := r.Queue(q1)
			must(err)
			if !reflect.DeepEqual(got, record) {
				fail("got %+v, want %+v", got, record)
			}
			if r.next(q1) != 1 || r.counts(q1).Total() != 1 {
				fail("next position %d, %d jobs; want 1 and 1", r.next(q1), r.counts(q1).Total())
			}
		})
	}},
	{name: "law 12: a queue deleted and created again starts at position 0", run: func(e *env) {
		e.update(func(tx tx) { tx.put(q1); tx.delete(tx.add(e.job(q1), "")) })
		e.update(func(tx tx) { must(tx.DeleteQueue(q1)) })
		e.view(func(r reader) {
			if got := r.next(q1); got != 0 {
				fail("NextPosition of a queue that is gone: got %d, want 0", got)
			}
		})
		e.update(func(tx tx) {
			tx.put(q1)
			if j := tx.add(e.job(q1), ""); j.Position != 0 {
				fail("position: got %d, want 0", j.Position)
			}
			tx.delete(tx.ready(q1, 1)[0])
			must(tx.DeleteQueue(q1))
			tx.put(q1)
			if j := tx.add(e.job(q1), ""); j.Position != 0 {
				fail("position, all in one transaction: got %d, want 0", j.Position)
			}
		})
	}},
	{name: "law 15: a queue with jobs of any state is in use", run: func(e *env) {
		for s := storage.Staged; s <= storage.Gone; s++ {
			e.update(func(tx tx) {
				tx.put(q1)
				j := tx.add(e.job(q1, state(s)), "")
				want(fmt.Sprintf("DeleteQueue with a job of state %d", s), tx.DeleteQueue(q1), storage.ErrInUse)
				tx.delete(j)
				must(tx.DeleteQueue(q1))
				_, err := tx.Queue(q1)
				want("Queue after DeleteQueue", err, storage.ErrNotFound)
			})
		}
	}},
	{name: "law 16: a queue that is not there has no record, no jobs, no counts and position 0", run: func(e *env) {
		e.update(func(tx tx) {
			tx.put(queue("acme", "mai"))
			tx.put(queue("acme", "mail2"))
			tx.add(e.job(queue("acme", "mail2")), "")
		})
		e.view(func(r reader) {
			_, err := r.Queue(q1)
			want("Queue", err, storage.ErrNotFound)
			oldest, err := r.OldestPending(q1)
			must(err)
			jobs, next, err := r.Jobs(q1, 0, storage.ID{}, 10)
			must(err)
			if len(r.ready(q1, 10)) != 0 || r.counts(q1) != (storage.Counts{}) || r.next(q1) != 0 || !oldest.IsZero() || len(jobs) != 0 || next != (storage.ID{}) {
				fail("there is something of a queue that does not exist")
			}
		})
	}},
	{name: "Queues: by account, then name, from after a name that need not exist", run: func(e *env) {
		names := []storage.QueueName{
			queue("", "a"), queue("", "b"), queue("", "ab"), queue("", "z/z"), queue("a", "bc"), queue("a", "b"), queue("ab", "c"), queue("ab", "\x01"),
			queue("a/b", "c"), queue("a", "b/c"), queue("a\x01", "b"), queue("a", "\x01b"), queue("ÿ", "ÿ"), queue("\U0010ffff", "\U0010ffff"),
			queue("a", "\U0010ffff"), queue(strings.Repeat("l", 500), strings.Repeat("n", 500)), queue("A", "b"), queue("a", " "),
		}
		e.update(func(tx tx) {
			for _, n := range names {
				tx.put(n)
			}
		})
		sortNames(names)
		list := func(r reader, after storage.QueueName, max int) []storage.QueueName {
			queues, err := r.Queues(after, max)
			must(err)
			var got []storage.QueueName
			for _, q := range queues {
				got = append(got, q.QueueName)
			}
			return got
		}
		e.view(func(r reader) {
			if got := list(r, storage.QueueName{}, 100); !reflect.DeepEqual(got, names) {
				fail("got %q, want %q", got, names)
			}
			for i, n := range names {
				for _, max := range []int{1, 2, 100} {
					rest := names[i+1:]
					if got := list(r, n, max); fmt.Sprint(got) != fmt.Sprint(rest[:min(max, len(rest))]) {
						fail("after %q, %d: got %q, want the first of %q", n, max, got, rest)
					}
				}
			}
			if got := list(r, queue("a", "bb"), 1); len(got) != 1 || got[0] != queue("a", "bc") {
				fail("after a name that does not exist: got %q", got)
			}
			if got := list(r, queue("aa", ""), 1); len(got) != 1 || got[0] != queue("ab", "\x01") {
				fail("after an account that does not exist: got %q", got)
			}
			if got := append(list(r, storage.QueueName{}, 0), list(r, storage.QueueName{}, -1)...); len(got) != 0 {
				fail("a max below 1: got %q", got)
			}
		})
	}},
	{name: "law 11: names that look alike are different queues, and different keys", run: func(e *env) {
		names := []storage.QueueName{
			queue("a", "bc"), queue("ab", "c"), queue("", "abc"), queue("a", "b"), queue("a/b", "c"), queue("a", "b/c"), queue("", "a/b/c"), queue("", "a"),
			queue("\x01", "\x01"), queue("\x01\x01", "\x01"), queue("\x01", "\x01\x01"), queue("", "\x01"), queue("ÿ", "þ"), queue("\U0010ffff", "x"),
		}
		accounts := []string{"", "a", "c", "bc", "\x01", "ÿ"}
		keys := []string{"k", "c", "bc", "\x01", "/", "ka", "ÿ"}
		jobs := make(map[storage.Key]storage.ID)
		e.update(func(tx tx) {
			for i, n := range names {
				tx.put(n)
				for _, a := range accounts {
					for _, k := range keys {
						j := tx.add(e.job(n, key(k), func(j *storage.Job) { j.Account = a }), "")
						jobs[j.KeyOf()] = j.ID
					}
				}
				for range i {
					tx.add(e.job(n), "")
				}
			}
		})
		e.view(func(r reader) {
			for k, id := range jobs {
				j, err := r.JobByKey(k)
				must(err)
				if j.ID != id || j.KeyOf() != k {
					fail("JobByKey(%q): got %v with %q, want %v", k, j.ID, j.KeyOf(), id)
				}
			}
			for i, n := range names {
				want := len(accounts)*len(keys) + i
				if got := r.counts(n).Total(); got != int64(want) || r.next(n) != uint64(want) || len(r.ready(n, 1000)) != want {
					fail("queue %q: got %d jobs, next position %d, %d ready; want %d", n, got, r.next(n), len(r.ready(n, 1000)), want)
				}
			}
		})
		e.update(func(tx tx) {
			j, err := tx.JobByKey(storage.Key{Queue: names[0], Account: "a", Name: "k"})
			must(err)
			tx.delete(j)
			delete(jobs, j.KeyOf())
			for k := range jobs {
				_, err := tx.JobByKey(k)
				must(err)
			}
			_, err = tx.JobByKey(j.KeyOf())
			want("JobByKey of the one that was deleted", err, storage.ErrNotFound)
			for _, k := range []storage.Key{{Queue: names[1], Account: "nobody", Name: "k"}, {Queue: names[1], Account: "a", Name: "kk"}, {Queue: queue("no", "c"), Name: "k"}} {
				_, err := tx.JobByKey(k)
				want("JobByKey of one that never was", err, storage.ErrNotFound)
			}
		})
	}},
}
