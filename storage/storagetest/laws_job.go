package storagetest

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"

	"github.com/pollackq/pollack/storage"
)

// full returns a job with something in every field.
func full(e *env, q storage.QueueName) *storage.Job {
	progress := 0.625
	return e.job(q, func(j *storage.Job) {
		j.Account, j.Key = "somebody", "a key"
		j.RequestHash = [32]byte{1, 2, 31: 255}
		j.Priority, j.Name, j.ContentType = -7, "имя", "text/plain; charset=utf-8"
		j.Tags = map[string]string{"a": "1", "": "no name", "no value": "", "\x01ÿ\U0010ffff": "/"}
		j.Size, j.Blob, j.Outbox, j.Origin, j.Once = 1<<40, idOf(50001), []string{"billing", "", "calls"}, idOf(50002), true
		j.Limits = storage.Limits{Lease: 1, MaxDeliveries: -2, Retention: 3, Tombstone: -4}
		j.Status = storage.Status{
			State: storage.Pending, Lease: storage.Released, Version: 9, Due: at(1), Token: storage.Token{1, 15: 2}, Deliveries: 3, Lapses: 4, Ends: 5, Owed: 6,
			RunAt: at(2), LeaseExpires: at(3), Deadline: at(4), Started: at(5), Finished: at(6), Progress: &progress, HasResult: true, NoPayload: true,
			ResultSize: 7, ResultBlob: idOf(50003),
		}
	})
}

var jobLaws = []law{
	{name: "law 12: AddJob keeps every field of Spec and Status", run: func(e *env) {
		j := full(e, q1)
		for _, v := range []reflect.Value{reflect.ValueOf(*j.Spec), reflect.ValueOf(j.Status)} {
			for i := range v.NumField() {
				if name := v.Type().Field(i).Name; v.Field(i).IsZero() && name != "Position" {
					e.Fatalf("the law is not up to date: it leaves %s zero", name)
				}
			}
		}
		bare := e.job(q1)
		e.update(func(tx tx) {
			tx.put(q1)
			added := tx.add(j, "p")
			if show(added) != show(j) {
				fail("added %s\nwant  %s", show(added), show(j))
			}
			tx.add(bare, "")
		})
		e.view(func(r reader) {
			if got := r.job(j.ID); !reflect.DeepEqual(got, j) {
				fail("got  %s\nwant %s", show(got), show(j))
			}
			want := deepCopy(bare)
			want.Position = 1
			if got := r.job(bare.ID); !reflect.DeepEqual(got, want) {
				fail("got  %s\nwant %s, what is empty nil", show(got), show(want))
			}
		})
	}},
	{name: "law 13: SetJob replaces the Status and leaves the Spec, the payload and the result", run: func(e *env) {
		j, plain := full(e, q1), e.job(q1)
		e.update(func(tx tx) {
			tx.put(q1)
			tx.setResult(tx.add(j, "payload"), "result")
			tx.setResult(tx.add(plain, "payload"), "result")
		})
		e.update(func(tx tx) {
			full, bare := tx.job(j.ID), tx.job(plain.ID)
			tx.set(full.With(storage.Status{State: storage.Running}))
			tx.set(bare.With(full.Status))
		})
		e.view(func(r reader) {
			one, two := r.job(j.ID), r.job(plain.ID)
			if !reflect.DeepEqual(one.Spec, j.Spec) || one.Status != (storage.Status{State: storage.Running}) {
				fail("got %s", show(one))
			}
			if !reflect.DeepEqual(two.Status, j.Status) {
				fail("got  %s\nwant %s", show(two), show(plain.With(j.Status)))
			}
			for _, j := range []*storage.Job{one, two} {
				if r.payload(j) != "payload" || r.result(j) != "result" {
					fail("payload %q, result %q", r.payload(j), r.result(j))
				}
			}
		})
	}},
	{name: "law 13: what the Status was before is the store's knowledge", run: func(e *env) {
		j := e.job(q1, due(at(5)))
		e.update(func(tx tx) { tx.put(q1); tx.add(j, "") })
		e.update(func(tx tx) {
			first := tx.job(j.ID)
			tx.set(with(first, func(s *storage.Status) { s.State, s.Due = storage.Running, at(9) }))
			tx.set(with(first, func(s *storage.Status) { s.State, s.Due = storage.Scheduled, at(3) })) // made of a copy that is out of date
		})
		e.state()
		e.update(func(tx tx) {
			stale := with(tx.job(j.ID), func(s *storage.Status) { s.State, s.Due = storage.Failed, at(77) })
			tx.delete(stale) // its Status was never stored
			tx.put(queue("acme", "x"))
		})
		e.view(func(r reader) {
			if r.counts(q1) != (storage.Counts{}) || len(r.due(farFuture, 10)) != 0 || len(r.ready(q1, 10)) != 0 {
				fail("a deleted job has left something")
			}
		})
	}},
	{name: "law 10: a returned job never changes", run: func(e *env) {
		var u unchanged
		collect := func(r reader) {
			u.add(r.ready(q1, 10)...)
			u.add(r.due(farFuture, 10)...)
			all, err := listJobs(r, q1, 0, 3)
			must(err)
			u.add(all...)
			for _, j := range all {
				u.add(r.job(j.ID))
				if j.Key != "" {
					byKey, err := r.JobByKey(j.KeyOf())
					must(err)
					u.add(byKey)
				}
			}
		}
		prepare(e)
		e.update(func(tx tx) { u.add(tx.add(full(e, q1), "p")) })
		e.view(collect)
		e.update(func(tx tx) {
			script(e, tx, func(write func()) { write(); collect(tx.reader) })
		})
		_ = e.try(e.Context(), func(tx tx) error {
			for _, j := range tx.ready(q1, 10) {
				u.add(j)
				tx.set(with(j, func(s *storage.Status) { s.State = storage.Running }))
				u.add(tx.job(j.ID))
			}
			return errPlanned
		})
		e.view(collect)
		if was, is := u.check(); was != nil {
			e.Errorf("a job was\n%s\nand is\n%s", show(was), show(is))
		}
	}},
	{name: "law 12: the job that AddJob returns is the one given, with its position", run: func(e *env) {
		e.update(func(tx tx) {
			tx.put(q1)
			tx.add(e.job(q1), "")
			j := full(e, q1)
			want := *j.Spec
			want.Position = 1
			added := tx.add(j, "")
			if !reflect.DeepEqual(*added.Spec, want) {
				fail("added %s, want %s", show(added), show(&storage.Job{Spec: &want, Status: j.Status}))
			}
		})
	}},
	{name: "law 12: staged, entering and gone jobs get no position and use none", run: func(e *env) {
		e.update(func(tx tx) {
			tx.put(q1)
			var next uint64
			for s := storage.Staged; s <= storage.Gone; s++ {
				j := tx.add(e.job(q1, state(s), func(j *storage.Job) { j.Position = 1 << 40 }), "")
				want := uint64(1 << 40)
				if s.Positioned() {
					want = next
					next++
				}
				if j.Position != want || tx.next(q1) != next || tx.job(j.ID).Position != want {
					fail("state %d: position %d, then next %d; want %d and %d", s, j.Position, tx.next(q1), want, next)
				}
				tx.delete(j)
			}
		})
	}},
	{name: "law 12: a position is used even if the same transaction deletes the job again", run: func(e *env) {
		e.update(func(tx tx) {
			tx.put(q1)
			tx.delete(tx.add(e.job(q1), ""))
			if j := tx.add(e.job(q1), ""); j.Position != 1 {
				fail("position: got %d, want 1", j.Position)
			}
		})
	}},
	{name: "law 13: deleting a job and adding it again frees id and key within the transaction", run: func(e *env) {
		j := e.job(q1, state(storage.Entering), key("k"), due(at(1)))
		e.update(func(tx tx) { tx.put(q1); tx.setResult(tx.add(j, "old"), "old") })
		e.update(func(tx tx) {
			tx.delete(tx.job(j.ID))
			again := *j.Spec
			added := tx.add(&storage.Job{Spec: &again, Status: storage.Status{State: storage.Pending, Due: at(2)}}, "new")
			if added.Position != 0 || tx.payload(added) != "new" {
				fail("position %d, payload %q; want 0 and %q", added.Position, tx.payload(added), "new")
			}
			_, err := tx.Result(added)
			want("Result of the new job", err, storage.ErrNotFound)
			must(tx.DeleteJob(added))
			_, err = tx.JobByKey(j.KeyOf())
			want("JobByKey after the second delete", err, storage.ErrNotFound)
			again.Key = "other"
			tx.add(&storage.Job{Spec: &again, Status: storage.Status{State: storage.Gone}}, "")
		})
		e.view(func(r reader) {
			if got := r.job(j.ID); got.State != storage.Gone || got.Key != "other" || r.next(q1) != 1 {
				fail("got %s, next position %d", show(got), r.next(q1))
			}
		})
	}},
	{name: "law 16: an id or key in use is ErrExists, also for a job that would be deleted again at once", run: func(e *env) {
		used := e.job(q1, key("k"))
		e.update(func(tx tx) { tx.put(q1); tx.add(used, "") })
		for _, j := range []*storage.Job{
			{Spec: &storage.Spec{ID: used.ID, Queue: q1, Account: q1.Account}, Status: used.Status},
			e.job(q1, key("k")),
		} {
			var err error
			e.update(func(tx tx) {
				var added *storage.Job
				if added, err = tx.AddJob(j, nil); err == nil {
					tx.delete(added)
				}
			})
			if !errors.Is(err, storage.ErrExists) {
				e.Errorf("AddJob of %v: got %v, want %v", j.ID, err, storage.ErrExists)
			}
		}
		e.view(func(r reader) {
			if n := r.next(q1); n != 1 {
				fail("NextPosition: got %d, want 1", n)
			}
		})
	}},
	{name: "law 15: DeleteJob removes the job, its payload, result, key and places, but no blob", run: func(e *env) {
		blob := e.id()
		j := e.job(q1, key("k"), due(at(1)), func(j *storage.Job) { j.Blob = blob })
		e.update(func(tx tx) {
			tx.put(q1)
			tx.setResult(tx.add(j, "p"), "r")
			tx.chunk(blob, 0, "chunk")
		})
		e.update(func(tx tx) { tx.delete(tx.job(j.ID)) })
		e.view(func(r reader) {
			_, err := r.Job(j.ID)
			want("Job", err, storage.ErrNotFound)
			_, err = r.JobByKey(j.KeyOf())
			want("JobByKey", err, storage.ErrNotFound)
			_, err = r.Payload(j)
			want("Payload", err, storage.ErrNotFound)
			_, err = r.Result(j)
			want("Result", err, storage.ErrNotFound)
			p, err := r.Chunk(blob, 0)
			if must(err); string(p) != "chunk" {
				fail("Chunk: got %q", p)
			}
		})
	}},
	{name: "law 16: what is not there is ErrNotFound", run: func(e *env) {
		e.update(func(tx tx) { tx.put(q1); tx.add(e.job(q1), "") })
		e.view(func(r reader) {
			stranger := e.job(q1)
			_, err := r.Job(stranger.ID)
			want("Job", err, storage.ErrNotFound)
			_, err = r.JobByKey(storage.Key{Queue: q1, Account: "acme", Name: "none"})
			want("JobByKey", err, storage.ErrNotFound)
			_, err = r.JobByKey(storage.Key{Queue: q1, Account: "acme"})
			want("JobByKey without a name", err, storage.ErrNotFound)
			_, err = r.Payload(stranger)
			want("Payload", err, storage.ErrNotFound)
			_, err = r.Result(stranger)
			want("Result", err, storage.ErrNotFound)
			_, err = r.Chunk(stranger.ID, 0)
			want("Chunk", err, storage.ErrNotFound)
		})
	}},
	{name: "law 11: strings of every legal kind, and the longest", run: func(e *env) {
		long := queue(strings.Repeat("a", 300), strings.Repeat("\U0010ffff", 50))
		name := strings.Repeat("ÿ", (storage.MaxKey-len(long.Account)-len(long.Name)-100)/2)
		words := []string{"", " ", "/", "\x01", "\x01\x01", "\x7f", "\u0080", "ÿ", "\ud7ff", "\ue000", "\ufffd", "\uffff", "\U0010ffff", "日本語", "a\nb", `"\`, "%00", "..", "e\u0301"}
		tags := make(map[string]string)
		for i := range 500 {
			tags[fmt.Sprint("tag ", i)] = strings.Repeat(words[i%len(words)], 10)
		}
		var jobs []*storage.Job
		for _, w := range words {
			jobs = append(jobs, e.job(long, key(w), func(j *storage.Job) {
				j.Name, j.ContentType, j.Outbox, j.Tags = w, w, []string{w, w}, map[string]string{w: w}
			}))
		}
		jobs = append(jobs, e.job(long, key(name), func(j *storage.Job) {
			j.Account, j.Name, j.Tags = strings.Repeat("b", 100), strings.Repeat("n", 30<<10), tags
		}))
		e.update(func(tx tx) {
			tx.put(long)
			for _, j := range jobs {
				tx.add(j, j.Name)
			}
		})
		e.view(func(r reader) {
			for i, j := range jobs {
				want := deepCopy(j)
				want.Position = uint64(i)
				if got := r.job(j.ID); !reflect.DeepEqual(got, want) || r.payload(got) != j.Name {
					fail("got  %s\nwant %s", show(got), show(want))
				}
			}
		})
	}},
	{name: "law 18: the extremes of priority", run: func(e *env) {
		priorities := []int16{0, math.MinInt16, math.MaxInt16, -1, 1, math.MinInt16 + 1, math.MaxInt16 - 1, 255, 256, -256, 0}
		order := []int{2, 6, 8, 7, 4, 0, 10, 3, 9, 5, 1}
		jobs := make([]*storage.Job, len(priorities))
		var want []storage.ID
		e.update(func(tx tx) {
			want = nil
			tx.put(q1)
			for i, p := range priorities {
				jobs[i] = tx.add(e.job(q1, priority(p)), "")
			}
			for _, i := range order {
				want = append(want, jobs[i].ID)
			}
		})
		e.view(func(r reader) { wantIDs("Ready", r.ready(q1, 100), want...) })
	}},
}
