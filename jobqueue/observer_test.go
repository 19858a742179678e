package jobqueue_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/jobqueue"
)

// diary is an Observer that writes down all but the transactions, which it counts.
type diary struct {
	mu        sync.Mutex // guards what follows
	lines     []string
	committed int
	failed    error
	most      int // receivers that waited
}

func (o *diary) write(format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lines = append(o.lines, fmt.Sprintf(format, args...))
}

func (o *diary) Enqueued(q jobqueue.QueueName, jobs int) { o.write("%s: %d enqueued", q.Name, jobs) }
func (o *diary) Delivered(q jobqueue.QueueName, waited time.Duration) {
	o.write("%s: delivered after %v", q.Name, waited)
}
func (o *diary) Ended(q jobqueue.QueueName, s jobqueue.State, since time.Duration) {
	o.write("%s: %v after %v", q.Name, s, since)
}
func (o *diary) Lapsed(q jobqueue.QueueName) { o.write("%s: lapsed", q.Name) }
func (o *diary) Waiting(_ jobqueue.QueueName, receivers int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.most = max(o.most, receivers)
}
func (o *diary) Committed(took time.Duration, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.committed++
	if err != nil {
		o.failed = err
	}
}

// read returns what was written since the last time.
func (o *diary) read() []string {
	synctest.Wait()
	o.mu.Lock()
	defer o.mu.Unlock()
	lines := o.lines
	o.lines = nil
	return lines
}

func TestTheObserverIsToldWhatHappensAndStatsCountsTheSame(t *testing.T) {
	o := new(diary)
	withRig(t, &jobqueue.Options{Observer: o, MaxDeliveries: 2}, func(r *rig) {
		told := func(what string, want ...string) {
			t.Helper()
			if got := o.read(); !reflect.DeepEqual(got, want) {
				t.Errorf("%s: got %q, want %q", what, got, want)
			}
		}
		a := r.add(jobqueue.NewJob{Key: "a"})
		told("an enqueue", "work: 1 enqueued")
		r.add(jobqueue.NewJob{Key: "a"})
		told("a replay")
		time.Sleep(time.Minute)
		r.take()
		told("a delivery", "work: delivered after 1m0s")
		time.Sleep(jobqueue.DefaultLease)
		told("a lapse", "work: lapsed")
		d := r.take()
		told("another delivery", "work: delivered after 6m0s")
		d.Progress(r.ctx, 1, "")
		d.Extend(r.ctx, 0)
		told("progress and extension")
		d.Ack(r.ctx)
		told("an ack", "work: succeeded after 6m0s")
		d.Ack(r.ctx)
		told("a repeated ack")

		b := r.add(jobqueue.NewJob{Delay: time.Minute})
		time.Sleep(time.Minute)
		told("a delay", "work: 1 enqueued")
		r.take().Release(r.ctx, nil)
		told("a release", "work: delivered after 0s")
		r.take().Release(r.ctx, nil)
		told("the last release", "work: delivered after 0s", "work: failed after 1m0s")
		r.b.Redrive(r.ctx, b.ID)
		told("a redrive")
		r.b.Cancel(r.ctx, b.ID)
		told("a cancel", "work: canceled after 1m0s")

		waiting := r.park(r.ctx, nil)
		if s := r.b.Stats(); s.Receivers != 1 || o.most != 1 {
			t.Errorf("receivers: Stats says %d, the observer %d; want 1", s.Receivers, o.most)
		}
		r.add(jobqueue.NewJob{Outbox: []string{"told"}})
		told("a hand-over", "work: 1 enqueued", "work: delivered after 0s")
		r.answer(waiting).d.Ack(r.ctx)
		told("an end with an outbox", "work: succeeded after 0s", "told: 1 enqueued")

		want := jobqueue.Stats{Enqueued: 4, Delivered: 5, Succeeded: 2, Failed: 1, Canceled: 1, Lapsed: 1}
		if got := r.b.Stats(); got != want {
			t.Errorf("Stats: got %+v, want %+v", got, want)
		}
		if got := r.job(a.ID); got.State != jobqueue.Succeeded {
			t.Errorf("got %v", got.State)
		}

		if uint64(o.committed) != r.mem.Stats().Updates {
			t.Errorf("%d transactions were told of, the store counts %d", o.committed, r.mem.Stats().Updates)
		}
		r.store.onUpdate(func(context.Context) error { return errDisk })
		r.q.Enqueue(r.ctx, jobqueue.NewJob{})
		if !errors.Is(o.failed, errDisk) || len(o.read()) > 0 {
			t.Errorf("a failed transaction: told %v, %q", o.failed, o.lines)
		}
	})
}

// An observer is told after the commit: what it asks then is answered.
func TestAnObserverMayAskTheBroker(t *testing.T) {
	o := new(asking)
	withRig(t, &jobqueue.Options{Observer: o}, func(r *rig) {
		o.b = r.b
		r.enqueue("x")
		r.take().Ack(r.ctx)
		if o.asked != 3 {
			t.Errorf("asked %d times, want 3", o.asked)
		}
	})
}

type asking struct {
	jobqueue.NopObserver
	b     *jobqueue.Broker
	asked int
}

func (o *asking) ask(q jobqueue.QueueName) {
	if _, err := o.b.Queue(q.Name).Info(context.Background()); err == nil {
		o.asked++
	}
}
func (o *asking) Enqueued(q jobqueue.QueueName, _ int)                          { o.ask(q) }
func (o *asking) Delivered(q jobqueue.QueueName, _ time.Duration)               { o.ask(q) }
func (o *asking) Ended(q jobqueue.QueueName, _ jobqueue.State, _ time.Duration) { o.ask(q) }
