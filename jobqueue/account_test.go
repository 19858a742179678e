package jobqueue_test

import (
	"testing"
	"time"

	"github.com/pollackq/pollack/jobqueue"
)

// Every method that takes the id of a job.
var byID = map[string]func(l *lab, b *jobqueue.Broker, id jobqueue.ID) error{
	"Job":     func(l *lab, b *jobqueue.Broker, id jobqueue.ID) error { _, err := b.Job(l.ctx, id); return err },
	"Wait":    func(l *lab, b *jobqueue.Broker, id jobqueue.ID) error { _, err := b.Wait(l.ctx, id, 0); return err },
	"WaitEnd": func(l *lab, b *jobqueue.Broker, id jobqueue.ID) error { _, err := b.WaitEnd(l.ctx, id); return err },
	"Payload": func(l *lab, b *jobqueue.Broker, id jobqueue.ID) error { _, err := b.Payload(l.ctx, id); return err },
	"Result":  func(l *lab, b *jobqueue.Broker, id jobqueue.ID) error { _, err := b.Result(l.ctx, id); return err },
	"Cancel":  func(l *lab, b *jobqueue.Broker, id jobqueue.ID) error { _, err := b.Cancel(l.ctx, id); return err },
	"Redrive": func(l *lab, b *jobqueue.Broker, id jobqueue.ID) error { _, err := b.Redrive(l.ctx, id); return err },
	"Ack": func(l *lab, b *jobqueue.Broker, id jobqueue.ID) error {
		_, err := b.Ack(l.ctx, id, jobqueue.AnyToken)
		return err
	},
	"AckMany": func(l *lab, b *jobqueue.Broker, id jobqueue.ID) error {
		out, err := b.AckMany(l.ctx, []jobqueue.Ack{{ID: id, Token: jobqueue.AnyToken}})
		if err != nil {
			return err
		}
		return out[0].Err
	},
	"Complete": func(l *lab, b *jobqueue.Broker, id jobqueue.ID) error {
		_, err := b.Complete(l.ctx, id, jobqueue.AnyToken, jobqueue.NewResult{Data: []byte("x")})
		return err
	},
	"Complete with a large result": func(l *lab, b *jobqueue.Broker, id jobqueue.ID) error {
		_, err := b.Complete(l.ctx, id, jobqueue.AnyToken, jobqueue.NewResult{Data: make([]byte, 1<<20)})
		return err
	},
	"Fail": func(l *lab, b *jobqueue.Broker, id jobqueue.ID) error {
		_, err := b.Fail(l.ctx, id, jobqueue.AnyToken, jobqueue.Failure{})
		return err
	},
	"Release": func(l *lab, b *jobqueue.Broker, id jobqueue.ID) error {
		_, err := b.Release(l.ctx, id, jobqueue.AnyToken, nil)
		return err
	},
	"Extend": func(l *lab, b *jobqueue.Broker, id jobqueue.ID) error {
		_, err := b.Extend(l.ctx, id, jobqueue.AnyToken, 0)
		return err
	},
	"Progress": func(l *lab, b *jobqueue.Broker, id jobqueue.ID) error {
		_, err := b.Progress(l.ctx, id, jobqueue.AnyToken, jobqueue.Progress{})
		return err
	},
}

func TestAccounts(t *testing.T) {
	// foreign demands that a job does not exist for a broker, whatever is asked, and that nothing changes.
	foreign := func(l *lab, b *jobqueue.Broker, id jobqueue.ID) {
		l.Helper()
		before := l.contents()
		for name, call := range byID {
			wants(l.T, name+" of a foreign job", call(l, b, id), jobqueue.ErrNotFound)
		}
		equal(l, "records", l.contents(), before)
	}
	rules(t, []rule{
		{name: "somebody else's id does not exist, in any state of the job", run: func(l *lab) {
			own, other, nobody := l.b.In("a"), l.b.In("b"), l.b.In("")
			q := own.Queue("q")
			j, err := q.Enqueue(l.ctx, jobqueue.NewJob{Payload: []byte("secret"), Key: "k"})
			l.must(err)
			everywhere := func() {
				l.Helper()
				foreign(l, other, j.ID)
				foreign(l, nobody, j.ID)
			}
			everywhere()
			d, err := q.TryReceive(l.ctx, nil)
			l.must(err)
			everywhere()
			l.must(d.Complete(l.ctx, jobqueue.NewResult{Data: []byte("secret")}))
			everywhere()
			l.pass(25 * time.Hour)
			everywhere() // not even that it is gone
			_, err = own.Job(l.ctx, j.ID)
			wants(l.T, "Job", err, jobqueue.ErrGone)
		}},
		{name: "an account's queue is its own: another's of that name is another queue", run: func(l *lab) {
			_, err := l.b.In("a").Queue("q").Enqueue(l.ctx, jobqueue.NewJob{})
			l.must(err)
			for _, b := range []*jobqueue.Broker{l.b, l.b.In("b"), l.b.In("")} {
				q := b.Queue("q")
				_, err := q.Info(l.ctx)
				wants(l.T, "Info", err, jobqueue.ErrNotFound)
				_, err = q.TryReceive(l.ctx, nil)
				wants(l.T, "TryReceive", err, jobqueue.ErrEmpty)
				_, err = q.Purge(l.ctx)
				wants(l.T, "Purge", err, jobqueue.ErrNotFound)
				wants(l.T, "Close", q.Close(l.ctx), jobqueue.ErrNotFound)
				wants(l.T, "Delete", q.Delete(l.ctx), jobqueue.ErrNotFound)
			}
		}},
		{name: "a job of a house queue belongs to the account it was put there for", run: func(l *lab) {
			j := l.add("pool", jobqueue.NewJob{Account: "a", Key: "k"})
			equal(l, "account", j.Account, "a")
			equal(l, "queue's account", j.Queue.Account, "")
			_, err := l.b.In("a").Job(l.ctx, j.ID)
			l.must(err)
			foreign(l, l.b.In("b"), j.ID)
			foreign(l, l.b.In(""), j.ID)
			byKey, err := l.b.In("a").JobByKey(l.ctx, jobqueue.QueueName{Name: "pool"}, "k")
			l.must(err)
			equal(l, "id by key", byKey.ID, j.ID)
			_, err = l.b.In("b").JobByKey(l.ctx, jobqueue.QueueName{Name: "pool"}, "k")
			wants(l.T, "JobByKey", err, jobqueue.ErrNotFound)
			d := l.take("pool") // one worker pool serves all accounts
			equal(l, "account of the delivery", d.Account, "a")
			_, err = l.b.In("a").Cancel(l.ctx, j.ID)
			l.must(err)
		}},
		{name: "an account cannot put a job for another into its queue", run: func(l *lab) {
			_, err := l.b.In("a").Queue("q").Enqueue(l.ctx, jobqueue.NewJob{Account: "b"})
			l.invalid("Enqueue", err, "account")
			equal(l, "contents", l.contents(), "")
			_, err = l.b.In("a").Queue("q").Enqueue(l.ctx, jobqueue.NewJob{Account: "a"})
			l.must(err)
		}},
		{name: "a house queue lists to an account that is narrowed only its own jobs", run: func(l *lab) {
			l.add("pool", jobqueue.NewJob{Account: "a"})
			l.add("pool", jobqueue.NewJob{})
			jobs, _, err := l.b.In("").Queue("pool").Jobs(l.ctx, jobqueue.ListOptions{})
			l.must(err)
			equal(l, "jobs", len(jobs), 1)
			jobs, _, err = l.b.Queue("pool").Jobs(l.ctx, jobqueue.ListOptions{})
			l.must(err)
			equal(l, "jobs", len(jobs), 2)
		}},
		{name: "a waiter of another account is not told of an end that deletes the job", opts: &jobqueue.Options{Retention: -1}, run: func(l *lab) {
			d := l.held(jobqueue.NewJob{Account: "a"})
			own := later(l, func() error { _, err := l.b.In("a").WaitEnd(l.ctx, d.ID); return err })
			other := later(l, func() error { _, err := l.b.In("b").WaitEnd(l.ctx, d.ID); return err })
			wants(l.T, "WaitEnd", other(), jobqueue.ErrNotFound)
			l.must(d.Ack(l.ctx))
			l.must(own())
		}},
		{name: "names that look like others do not reach them", run: func(l *lab) {
			_, err := l.b.In("a").Queue("b").Enqueue(l.ctx, jobqueue.NewJob{Key: "k"})
			l.must(err)
			for _, name := range []jobqueue.QueueName{{Name: "a\x00b"}, {Account: "a\x00b"}, {Name: "ab"}, {Account: "ab"}, {Name: "a/b"}} {
				_, err := l.b.In(name.Account).Queue(name.Name).Info(l.ctx)
				if err == nil {
					l.Errorf("Info of %q: got no error", name)
				}
				if got, err := l.b.JobByKey(l.ctx, name, "k"); err == nil {
					l.Errorf("JobByKey in %q: got %v, want an error", name, got.ID)
				}
			}
			if got, err := l.b.JobByKey(l.ctx, jobqueue.QueueName{Name: "a"}, "b\x00k"); err == nil {
				l.Errorf("JobByKey: got %v, want an error", got.ID)
			}
		}},
	})
}
