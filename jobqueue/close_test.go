package jobqueue_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage"
)

// queues returns the names of all queues that the store keeps.
func (l *lab) queues() []jobqueue.QueueName {
	l.Helper()
	var out []jobqueue.QueueName
	l.must(l.base.View(l.ctx, storage.Reads{}, func(r storage.Reader) error {
		out = nil
		all, err := r.Queues(storage.QueueName{}, 1<<20)
		for _, q := range all {
			out = append(out, q.QueueName)
		}
		return err
	}))
	return out
}

func TestClose(t *testing.T) {
	const week = 7 * 24 * time.Hour
	rules(t, []rule{
		{name: "nothing more goes into a closed queue, what is in it is delivered", run: func(l *lab) {
			q := l.b.Queue("q")
			l.add("q", jobqueue.NewJob{})
			l.must(q.Close(l.ctx))
			l.must(q.Close(l.ctx)) // again: nothing
			_, err := q.Enqueue(l.ctx, jobqueue.NewJob{})
			wants(l.T, "Enqueue", err, jobqueue.ErrQueueClosed)
			_, err = q.Enqueue(l.ctx, jobqueue.NewJob{Payload: make([]byte, 300<<10)})
			wants(l.T, "Enqueue", err, jobqueue.ErrQueueClosed)
			equal(l, "chunks", l.chunks(), 0)
			d := l.take("q")
			l.none("q") // it may come back
			l.must(d.Ack(l.ctx))
			_, err = q.TryReceive(l.ctx, nil)
			wants(l.T, "TryReceive", err, jobqueue.ErrDone)
			equal(l, "done", l.info("q").Done(), true)
		}},
		{name: "receivers that wait get ErrDone when an empty queue is closed", run: func(l *lab) {
			_, _, err := l.b.Queue("q").Configure(l.ctx, jobqueue.Settings{})
			l.must(err)
			a, b := l.parked("q"), l.parked("q")
			l.must(l.b.Queue("q").Close(l.ctx))
			wants(l.T, "Receive", a().err, jobqueue.ErrDone)
			wants(l.T, "Receive", b().err, jobqueue.ErrDone)
		}},
		{name: "receivers that wait get ErrDone with the end of the last job: by ack, cancel, deadline, purge or lapse", run: func(l *lab) {
			for i, end := range []func(d *jobqueue.Delivery) error{
				func(d *jobqueue.Delivery) error { return d.Ack(l.ctx) },
				func(d *jobqueue.Delivery) error { _, err := l.b.Cancel(l.ctx, d.ID); return err },
				func(d *jobqueue.Delivery) error { l.pass(time.Hour); return nil },
				func(d *jobqueue.Delivery) error {
					if err := d.Release(l.ctx, &jobqueue.ReleaseOptions{Delay: time.Second}); err != nil {
						return err
					}
					_, err := l.b.Queue(d.Queue.Name).Purge(l.ctx)
					return err
				},
			} {
				name := fmt.Sprint("q", i)
				l.add(name, jobqueue.NewJob{Deadline: time.Now().Add(time.Minute), Limits: jobqueue.Limits{MaxDeliveries: 2}})
				d := l.take(name)
				l.must(l.b.Queue(name).Close(l.ctx))
				next := l.parked(name)
				l.must(end(d))
				wants(l.T, "Receive", next().err, jobqueue.ErrDone)
			}
		}},
		{name: "an unknown queue cannot be closed", run: func(l *lab) {
			wants(l.T, "Close", l.b.Queue("q").Close(l.ctx), jobqueue.ErrNotFound)
		}},
		{name: "a closed queue can be configured, and stays closed", run: func(l *lab) {
			l.add("q", jobqueue.NewJob{})
			l.must(l.b.Queue("q").Close(l.ctx))
			info, created, err := l.b.Queue("q").Configure(l.ctx, jobqueue.Settings{Status: "x"})
			l.must(err)
			equal(l, "created", created, false)
			equal(l, "closed", info.Closed.IsZero(), false)
		}},
		{name: "a closed, empty queue is forgotten one tombstone time later", run: func(l *lab) {
			_, _, err := l.b.Queue("q").Configure(l.ctx, jobqueue.Settings{})
			l.must(err)
			l.must(l.b.Queue("q").Close(l.ctx))
			l.pass(week - time.Second)
			equal(l, "queues", len(l.queues()), 1)
			l.pass(2 * time.Second)
			equal(l, "queues", len(l.queues()), 0)
		}},
		{name: "a closed queue is forgotten with its last tombstone, not before", run: func(l *lab) {
			l.add("q", jobqueue.NewJob{})
			l.must(l.b.Queue("q").Close(l.ctx))
			d := l.take("q")
			l.must(d.Ack(l.ctx))
			l.pass(24*time.Hour + week - time.Second)
			equal(l, "queues", len(l.queues()), 1)
			l.absent(d.ID, jobqueue.ErrGone)
			l.pass(2 * time.Second)
			equal(l, "queues", len(l.queues()), 0)
			l.absent(d.ID, jobqueue.ErrNotFound)
			equal(l, "position in a new queue of the name", l.add("q", jobqueue.NewJob{}).Position, 0)
		}},
		{name: "a closed queue with a job that is never taken is not forgotten", run: func(l *lab) {
			j := l.add("q", jobqueue.NewJob{})
			l.must(l.b.Queue("q").Close(l.ctx))
			l.pass(10 * week)
			l.state(j.ID, jobqueue.Pending)
			wants(l.T, "Receive", l.take("q").Ack(l.ctx), nil)
		}},
		{name: "an open queue is never forgotten", run: func(l *lab) {
			l.must(l.held(jobqueue.NewJob{}).Ack(l.ctx))
			l.pass(10 * week)
			equal(l, "queues", len(l.queues()), 1)
			equal(l, "records", l.info("q").Counts.Total(), 0)
		}},
		{name: "without retention and tombstones a closed, done queue is still known for a minute", opts: &jobqueue.Options{Retention: -1, Tombstone: -1}, run: func(l *lab) {
			l.add("q", jobqueue.NewJob{})
			l.must(l.b.Queue("q").Close(l.ctx))
			next := l.parked("r")
			l.must(l.take("q").Ack(l.ctx))
			l.pass(time.Minute - 1)
			equal(l, "queues", len(l.queues()), 1)
			l.pass(1)
			equal(l, "queues", len(l.queues()), 0)
			l.add("r", jobqueue.NewJob{})
			l.must(next().err)
		}},
		{name: "an upload that was begun for a job of a queue that was closed since does not keep the queue", opts: &jobqueue.Options{Retention: -1, Tombstone: time.Second}, run: func(l *lab) {
			d := l.held(jobqueue.NewJob{})
			l.must(l.b.Queue("q").Close(l.ctx))
			stop := make(chan struct{})
			complete := later(l, func() error {
				return d.Complete(l.ctx, jobqueue.NewResult{Body: &stalls{n: 2 << 20, stop: stop}})
			})
			equal(l, "uploads", l.staged("q"), 1)
			_, err := l.b.Cancel(l.ctx, d.ID)
			l.must(err)
			l.pass(time.Minute)
			close(stop)
			err = complete()
			if err == nil {
				l.Error("Complete of a canceled job: got no error")
			}
			l.pass(2 * time.Hour)
			equal(l, "chunks", l.chunks(), 0)
			equal(l, "queues", len(l.queues()), 0)
		}},
		{name: "an outbox that is closed, done and forgotten comes into being again", run: func(l *lab) {
			a := l.held(jobqueue.NewJob{Outbox: []string{"o"}})
			l.must(l.b.Queue("o").Close(l.ctx))
			l.pass(week + time.Second)
			_, err := l.b.Queue("o").Info(l.ctx)
			wants(l.T, "Info", err, jobqueue.ErrNotFound)
			l.must(a.Ack(l.ctx))
			l.told("o", a.Job, jobqueue.Succeeded, 1)
		}},
		{name: "queues made for a session each do not grow the store", run: func(l *lab) {
			n := 1000
			if l.path != "" {
				n = 200
			}
			for i := range n {
				name := fmt.Sprint("session-", i)
				l.add(name, jobqueue.NewJob{Key: "k"})
				l.must(l.take(name).Ack(l.ctx))
				l.must(l.b.Queue(name).Close(l.ctx))
			}
			equal(l, "queues", len(l.queues()), n)
			l.pass(24*time.Hour + week)
			equal(l, "queues", len(l.queues()), 0)
			equal(l, "contents", l.contents(), "")
		}},
	})
}

// stalls gives n bytes, and waits before the last.
type stalls struct {
	n    int
	stop chan struct{}
}

func (s *stalls) Read(p []byte) (int, error) {
	if s.n == 1 {
		<-s.stop
		return 0, errStalled
	}
	n := min(len(p), s.n-1)
	s.n -= n
	return n, nil
}

var errStalled = fmt.Errorf("the client went away")
