package jobqueue_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/storagetest"
)

// noWait looks once.
var noWait = &jobqueue.ReceiveOptions{Wait: -1}

func TestAckReceive(t *testing.T) {
	rules(t, []rule{
		{"acks and leases", nil, func(l *lab) {
			q := l.b.Queue("a")
			l.add("a", jobqueue.NewJob{Payload: []byte("one")})
			second := l.add("a", jobqueue.NewJob{Payload: []byte("two")})
			d := l.take("a")
			next, err := d.AckNext(l.ctx, &jobqueue.ReceiveOptions{Wait: -1, Lease: time.Minute})
			l.must(err)
			equal(l, "next job", next.ID, second.ID)
			equal(l, "lease of the next", next.LeaseExpires.Sub(next.Started), time.Minute)
			payload, _ := next.Inline()
			equal(l, "payload of the next", string(payload), "two")
			l.state(d.ID, jobqueue.Succeeded)
			_, err = next.AckNext(l.ctx, noWait)
			wants(l.T, "AckNext of the last", err, jobqueue.ErrEmpty)
			l.state(next.ID, jobqueue.Succeeded)
			_, err = next.AckNext(l.ctx, noWait) // again: it is acked, and there is nothing
			wants(l.T, "AckNext repeated", err, jobqueue.ErrEmpty)
			l.none(q.Name().Name)
		}},
		{"many at once", nil, func(l *lab) {
			q := l.b.Queue("a")
			for i := range 5 {
				l.add("a", jobqueue.NewJob{Payload: fmt.Appendf(nil, "%d", i)})
			}
			other := l.add("b", jobqueue.NewJob{})
			first, err := q.ReceiveMany(l.ctx, 2, nil)
			l.must(err)
			acks := []jobqueue.Ack{{ID: first[1].ID, Token: first[1].Token}, {ID: first[0].ID, Token: first[0].Token}}
			b := l.take("b")
			acks = append(acks, jobqueue.Ack{ID: b.ID, Token: b.Token})
			results, ds, err := q.AckReceive(l.ctx, acks, 10, nil)
			l.must(err)
			equal(l, "results", len(results), 3)
			for i, a := range acks {
				if r := results[i]; r.Err != nil || r.Repeated || r.Job.ID != a.ID || r.Job.State != jobqueue.Succeeded {
					l.Errorf("result %d: got %+v, want job %v succeeded", i, r, a.ID)
				}
			}
			equal(l, "deliveries", len(ds), 3)
			equal(l, "first position", ds[0].Position, 2)
			l.state(other.ID, jobqueue.Succeeded)
		}},
		{"a refused ack leases nothing, and waits for nothing", nil, func(l *lab) {
			q := l.b.Queue("a")
			for range 3 {
				l.add("a", jobqueue.NewJob{})
			}
			good, bad := l.take("a"), l.take("a")
			l.must(bad.Ack(l.ctx))
			bad.Token[0]++
			begun := time.Now()
			results, ds, err := q.AckReceive(l.ctx, []jobqueue.Ack{{ID: bad.ID, Token: bad.Token}, {ID: good.ID, Token: good.Token}}, 1, nil)
			wants(l.T, "AckReceive", err, jobqueue.ErrEmpty)
			equal(l, "deliveries", len(ds), 0)
			equal(l, "results", len(results), 2)
			lost(l.T, "the refused ack", results[0].Err, jobqueue.JobSucceeded)
			wants(l.T, "the other ack", results[1].Err, nil)
			_, err = bad.AckNext(l.ctx, nil)
			lost(l.T, "AckNext", err, jobqueue.JobSucceeded)
			equal(l, "time waited", time.Since(begun), 0)
			equal(l, "jobs left", l.info("a").Counts[jobqueue.Pending], 1)
		}},
		{"it waits for the next", nil, func(l *lab) {
			l.add("a", jobqueue.NewJob{})
			d := l.take("a")
			begun := time.Now()
			got := make(chan *jobqueue.Delivery, 1)
			go func() {
				next, err := d.AckNext(l.ctx, nil)
				if err != nil {
					l.Errorf("AckNext: got error %v, want none", err)
				}
				got <- next
			}()
			l.pass(time.Minute)
			l.state(d.ID, jobqueue.Succeeded) // acked before the wait
			j := l.add("a", jobqueue.NewJob{})
			next := <-got
			equal(l, "next job", next.ID, j.ID)
			equal(l, "time waited", time.Since(begun), time.Minute)
			_, err := next.AckNext(l.ctx, &jobqueue.ReceiveOptions{Wait: time.Second})
			wants(l.T, "AckNext that nothing comes for", err, jobqueue.ErrEmpty)
			equal(l, "time waited in all", time.Since(begun), time.Minute+time.Second)
		}},
		{"the ack that ends a closed queue", nil, func(l *lab) {
			l.add("a", jobqueue.NewJob{})
			d := l.take("a")
			l.must(l.b.Queue("a").Close(l.ctx))
			_, err := d.AckNext(l.ctx, nil)
			wants(l.T, "AckNext", err, jobqueue.ErrDone)
			l.state(d.ID, jobqueue.Succeeded)
		}},
		{"a context that ends while it waits", nil, func(l *lab) {
			l.add("a", jobqueue.NewJob{})
			d := l.take("a")
			ctx, cancel := context.WithTimeout(l.ctx, time.Second)
			defer cancel()
			results, ds, err := l.b.Queue("a").AckReceive(ctx, []jobqueue.Ack{{ID: d.ID, Token: d.Token}}, 1, nil)
			wants(l.T, "AckReceive", err, context.DeadlineExceeded)
			equal(l, "deliveries", len(ds), 0)
			if len(results) != 1 || results[0].Err != nil {
				l.Errorf("results: got %+v, want one ack done", results)
			}
			d = l.addAndTake("a")
			results, _, err = l.b.Queue("a").AckReceive(ctx, []jobqueue.Ack{{ID: d.ID, Token: d.Token}}, 1, nil)
			wants(l.T, "AckReceive with a context that has ended", err, context.DeadlineExceeded)
			equal(l, "results", len(results), 0)
			l.state(d.ID, jobqueue.Running)
		}},
		{"a transaction that fails does nothing", nil, func(l *lab) {
			l.add("a", jobqueue.NewJob{})
			l.add("a", jobqueue.NewJob{})
			d := l.take("a")
			before := l.contents()
			boom := errors.New("boom")
			l.fault.Set(func(storagetest.Call) storagetest.Fault {
				return storagetest.Fault{Kind: storagetest.Undone, Err: boom}
			})
			results, ds, err := l.b.Queue("a").AckReceive(l.ctx, []jobqueue.Ack{{ID: d.ID, Token: d.Token}}, 1, nil)
			l.fault.Set(nil)
			wants(l.T, "AckReceive", err, boom)
			equal(l, "results and deliveries", len(results)+len(ds), 0)
			equal(l, "contents", l.contents(), before)
		}},
		{"what is out of bounds", nil, func(l *lab) {
			q := l.b.Queue("a")
			d := l.addAndTake("a")
			one := []jobqueue.Ack{{ID: d.ID, Token: d.Token}}
			_, _, err := q.AckReceive(l.ctx, nil, 1, nil)
			l.invalid("no acks", err, "acks")
			_, _, err = q.AckReceive(l.ctx, make([]jobqueue.Ack, jobqueue.MaxBatch+1), 1, nil)
			l.invalid("too many acks", err, "acks")
			_, _, err = q.AckReceive(l.ctx, one, 0, nil)
			l.invalid("no jobs", err, "max")
			_, _, err = q.AckReceive(l.ctx, one, 1, &jobqueue.ReceiveOptions{Lease: -1})
			l.invalid("a negative lease", err, "lease")
			l.state(d.ID, jobqueue.Running)
		}},
		{"during the shutdown it acks", nil, func(l *lab) {
			l.add("a", jobqueue.NewJob{})
			l.add("a", jobqueue.NewJob{})
			d := l.take("a")
			// A worker that goes on keeps the shutdown from ending.
			ctx, end := context.WithCancel(l.ctx)
			working := make(chan struct{})
			l.add("b", jobqueue.NewJob{})
			go l.b.Queue("b").Consume(ctx, func(context.Context, *jobqueue.Delivery) error {
				close(working)
				time.Sleep(time.Minute)
				return nil
			}, &jobqueue.ConsumeOptions{Workers: 1, Grace: time.Hour})
			<-working
			over := make(chan struct{})
			go func() {
				l.b.Shutdown(l.ctx)
				close(over)
			}()
			synctest.Wait()
			_, err := d.AckNext(l.ctx, nil)
			wants(l.T, "AckNext", err, jobqueue.ErrShutdown)
			l.state(d.ID, jobqueue.Succeeded)
			end()
			<-over
		}},
	})
}

// addAndTake enqueues a job and receives it.
func (l *lab) addAndTake(queue string) *jobqueue.Delivery {
	l.Helper()
	l.add(queue, jobqueue.NewJob{})
	return l.take(queue)
}

func TestAckNextIsOneTransaction(t *testing.T) {
	withRig(t, nil, func(r *rig) {
		r.enqueue("one")
		r.enqueue("two")
		d := r.take()
		if n := r.updates(func() {
			var err error
			if d, err = d.AckNext(r.ctx, nil); err != nil {
				t.Fatal(err)
			}
		}); n != 1 {
			t.Errorf("AckNext took %d transactions, want 1", n)
		}
	})
}

func TestAWorkerNeedsOneTransactionAJob(t *testing.T) {
	const jobs = 10
	withRig(t, nil, func(r *rig) {
		for range jobs {
			r.enqueue("work")
		}
		ctx, cancel := context.WithCancel(r.ctx)
		done, stopped := 0, make(chan error)
		n := r.updates(func() {
			go func() {
				stopped <- r.q.Consume(ctx, func(context.Context, *jobqueue.Delivery) error {
					done++
					return nil
				}, &jobqueue.ConsumeOptions{Workers: 1})
			}()
		})
		// The first is received; then each ack takes the next along; the last finds nothing, nor do the two looks before the worker waits.
		if want := uint64(1 + jobs + 2); n != want || done != jobs {
			t.Errorf("%d jobs took %d transactions, want %d jobs and %d", done, n, jobs, want)
		}
		cancel()
		wants(t, "Consume", <-stopped, nil)
	})
}

// A worker whose consumer stops while its ack takes a job along gives that back.
func TestAWorkerThatStopsGivesTheNextJobBack(t *testing.T) {
	withRig(t, nil, func(r *rig) {
		r.enqueue("one")
		second := r.enqueue("two")
		ctx, cancel := context.WithCancel(r.ctx)
		err := r.q.Consume(ctx, func(context.Context, *jobqueue.Delivery) error {
			r.store.onCommit(func() {
				r.store.onCommit(nil)
				cancel()
			})
			return nil
		}, &jobqueue.ConsumeOptions{Workers: 1})
		wants(t, "Consume", err, nil)
		if j := r.job(second.ID); j.State != jobqueue.Pending || j.Deliveries != 0 {
			t.Errorf("the next job: got %v after %d deliveries, want it pending and never delivered", j.State, j.Deliveries)
		}
	})
}
