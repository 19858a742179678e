package jobqueue_test

import (
	"testing"
	"time"

	"github.com/pollackq/pollack/jobqueue"
)

// The ways a pending job, the next of queue q, comes to its end.
var ends = []struct {
	name  string
	state jobqueue.State
	end   func(l *lab, id jobqueue.ID) (*jobqueue.Job, error)
}{
	{"succeeded", jobqueue.Succeeded, func(l *lab, id jobqueue.ID) (*jobqueue.Job, error) {
		out, err := l.b.Complete(l.ctx, id, l.take("q").Token, jobqueue.NewResult{Data: []byte("result")})
		return out.Job, err
	}},
	{"failed", jobqueue.Failed, func(l *lab, id jobqueue.ID) (*jobqueue.Job, error) {
		out, err := l.b.Fail(l.ctx, id, l.take("q").Token, jobqueue.Failure{})
		return out.Job, err
	}},
	{"was canceled", jobqueue.Canceled, func(l *lab, id jobqueue.ID) (*jobqueue.Job, error) { return l.b.Cancel(l.ctx, id) }},
	{"ran out of deliveries", jobqueue.Failed, func(l *lab, id jobqueue.ID) (*jobqueue.Job, error) {
		_, _, err := l.b.Queue("q").Configure(l.ctx, jobqueue.Settings{Limits: jobqueue.Limits{MaxDeliveries: 1}})
		l.must(err)
		return l.b.Release(l.ctx, id, l.take("q").Token, nil)
	}},
}

func TestRetention(t *testing.T) {
	var all []rule
	for _, e := range ends {
		all = append(all, rule{name: "a job that " + e.name + " is kept for 24 hours to the second, its name for 7 days more", run: func(l *lab) {
			j := l.add("q", jobqueue.NewJob{Payload: []byte("payload"), Key: "k"})
			j, err := e.end(l, j.ID)
			l.must(err)
			equal(l, "state", j.State, e.state)
			equal(l, "expires", j.Expires.Sub(j.Finished), 24*time.Hour)
			l.until(j.Finished.Add(24*time.Hour - time.Second))
			l.state(j.ID, e.state)
			l.pass(2 * time.Second)
			l.absent(j.ID, jobqueue.ErrGone)
			_, err = l.b.JobByKey(l.ctx, j.Queue, "k")
			wants(l.T, "JobByKey", err, jobqueue.ErrGone)
			_, err = l.b.Payload(l.ctx, j.ID)
			wants(l.T, "Payload", err, jobqueue.ErrGone)
			_, err = l.b.Result(l.ctx, j.ID)
			wants(l.T, "Result", err, jobqueue.ErrGone)
			_, err = l.b.Cancel(l.ctx, j.ID)
			wants(l.T, "Cancel", err, jobqueue.ErrGone)
			_, err = l.b.Redrive(l.ctx, j.ID)
			wants(l.T, "Redrive", err, jobqueue.ErrGone)
			l.until(j.Finished.Add(8*24*time.Hour - time.Second))
			l.absent(j.ID, jobqueue.ErrGone)
			l.pass(2 * time.Second)
			l.absent(j.ID, jobqueue.ErrNotFound)
			_, err = l.b.JobByKey(l.ctx, j.Queue, "k")
			wants(l.T, "JobByKey", err, jobqueue.ErrNotFound)
			equal(l, "records of the queue", l.info("q").Counts.Total(), 0)
		}}, rule{name: "with retention off a job that " + e.name + " is deleted, and who waits gets its final state", opts: &jobqueue.Options{Retention: -1}, run: func(l *lab) {
			j := l.add("q", jobqueue.NewJob{})
			end := l.watched(j.ID)
			next := later(l, func() answer {
				got, err := l.b.Wait(l.ctx, j.ID, 1_000_000) // a version that it will not have: its end will do
				return answer{j: got, err: err}
			})
			out, err := e.end(l, j.ID)
			l.must(err)
			for _, got := range []answer{{j: out}, end(), next()} {
				l.must(got.err)
				equal(l, "final state", got.j.State, e.state)
				equal(l, "expires", got.j.Expires, time.Time{})
				if e.state == jobqueue.Succeeded {
					equal(l, "result", string(got.j.Result.Data), "result")
				}
			}
			l.absent(j.ID, jobqueue.ErrNotFound)
			equal(l, "records of the queue", l.info("q").Counts.Total(), 0)
		}})
	}
	rules(t, append(all, []rule{
		{name: "a tombstone is there for 30 days to the second, where that is set", opts: &jobqueue.Options{Tombstone: 30 * 24 * time.Hour}, run: func(l *lab) {
			d := l.held(jobqueue.NewJob{})
			l.must(d.Ack(l.ctx))
			gone := l.job(d.ID).Expires
			l.until(gone.Add(30*24*time.Hour - time.Second))
			l.absent(d.ID, jobqueue.ErrGone)
			l.pass(2 * time.Second)
			l.absent(d.ID, jobqueue.ErrNotFound)
		}},
		{name: "without tombstones a job is unknown when its retention is over", opts: &jobqueue.Options{Tombstone: -1}, run: func(l *lab) {
			d := l.held(jobqueue.NewJob{Key: "k"})
			l.must(d.Ack(l.ctx))
			l.pass(24 * time.Hour)
			l.absent(d.ID, jobqueue.ErrNotFound)
			equal(l, "records of the queue", l.info("q").Counts.Total(), 0)
			equal(l, "replayed", l.add("q", jobqueue.NewJob{Key: "k"}).Replayed, false)
		}},
		{name: "with retention off a repeated ack finds nothing", opts: &jobqueue.Options{Retention: -1}, run: func(l *lab) {
			d := l.held(jobqueue.NewJob{})
			l.must(d.Ack(l.ctx))
			wants(l.T, "Ack", d.Ack(l.ctx), jobqueue.ErrNotFound)
		}},
		{name: "with retention off a job with a key leaves a tombstone", opts: &jobqueue.Options{Retention: -1}, run: func(l *lab) {
			d := l.held(jobqueue.NewJob{Key: "k"})
			l.must(d.Ack(l.ctx))
			wants(l.T, "Ack", d.Ack(l.ctx), jobqueue.ErrGone)
			j := l.add("q", jobqueue.NewJob{Key: "k"})
			equal(l, "replayed", j.Replayed, true)
			equal(l, "state", j.State, jobqueue.Gone)
			equal(l, "id", j.ID, d.ID)
			l.pass(7*24*time.Hour - time.Second)
			l.absent(d.ID, jobqueue.ErrGone)
			l.pass(2 * time.Second)
			l.absent(d.ID, jobqueue.ErrNotFound)
			equal(l, "replayed", l.add("q", jobqueue.NewJob{Key: "k"}).Replayed, false)
		}},
		{name: "with retention off several in one transaction are each deleted, the second ack of one finding nothing", opts: &jobqueue.Options{Retention: -1}, run: func(l *lab) {
			a, b := l.held(jobqueue.NewJob{}), l.held(jobqueue.NewJob{})
			out, err := l.b.AckMany(l.ctx, []jobqueue.Ack{{ID: a.ID, Token: a.Token}, {ID: b.ID, Token: b.Token}, {ID: a.ID, Token: a.Token}})
			l.must(err)
			l.must(out[0].Err)
			l.must(out[1].Err)
			wants(l.T, "AckMany", out[2].Err, jobqueue.ErrNotFound)
		}},
		{name: "an ended job that is waited for is gone for who waits, too", run: func(l *lab) {
			d := l.held(jobqueue.NewJob{})
			l.must(d.Ack(l.ctx))
			next := later(l, func() error {
				_, err := l.b.Wait(l.ctx, d.ID, l.job(d.ID).Version)
				return err
			})
			l.pass(24 * time.Hour)
			wants(l.T, "Wait", next(), jobqueue.ErrGone)
		}},
		{name: "redrive at the moment of the deadline is of the job that failed by it", run: func(l *lab) {
			j := l.add("q", jobqueue.NewJob{Deadline: time.Now().Add(time.Minute)})
			time.Sleep(time.Minute)
			again, err := l.b.Redrive(l.ctx, j.ID)
			l.must(err)
			equal(l, "state", again.State, jobqueue.Pending)
		}},
		{name: "a thousand jobs that end together are all gone together", run: func(l *lab) {
			q := l.b.Queue("q")
			_, err := q.EnqueueMany(l.ctx, make([]jobqueue.NewJob, 1000))
			l.must(err)
			ds, err := q.ReceiveMany(l.ctx, 1000, nil)
			l.must(err)
			acks := make([]jobqueue.Ack, len(ds))
			for i, d := range ds {
				acks[i] = jobqueue.Ack{ID: d.ID, Token: d.Token}
			}
			_, err = l.b.AckMany(l.ctx, acks)
			l.must(err)
			equal(l, "succeeded", l.info("q").Counts[jobqueue.Succeeded], 1000)
			l.pass(24 * time.Hour)
			equal(l, "tombstones", l.info("q").Counts[jobqueue.Gone], 1000)
			equal(l, "records", l.info("q").Counts.Total(), 1000)
			l.pass(7 * 24 * time.Hour)
			equal(l, "records", l.info("q").Counts.Total(), 0)
		}},
	}...))
}

func TestCancel(t *testing.T) {
	var all []rule
	for _, u := range unfinished {
		all = append(all, rule{name: "a job that is " + u.name + " can be canceled, once and again", run: func(l *lab) {
			j := u.make(l, jobqueue.NewJob{Payload: []byte("x")})
			end := l.watched(j.ID)
			for range 2 {
				got, err := l.b.Cancel(l.ctx, j.ID)
				l.must(err)
				equal(l, "state", got.State, jobqueue.Canceled)
			}
			equal(l, "state that a waiter was told", end().j.State, jobqueue.Canceled)
			l.pass(2 * time.Hour)
			l.state(j.ID, jobqueue.Canceled)
			l.none("q")
			equal(l, "payload gone", l.job(j.ID).PayloadGone, false)
		}})
	}
	for _, e := range ends {
		if e.state == jobqueue.Canceled {
			continue
		}
		all = append(all, rule{name: "a job that " + e.name + " cannot be canceled", run: func(l *lab) {
			j, err := e.end(l, l.add("q", jobqueue.NewJob{}).ID)
			l.must(err)
			before := l.contents()
			_, err = l.b.Cancel(l.ctx, j.ID)
			wants(l.T, "Cancel", err, jobqueue.ErrWrongState)
			equal(l, "records", l.contents(), before)
		}})
	}
	rules(t, all)
}

func TestRedrive(t *testing.T) {
	rules(t, []rule{
		{name: "it makes the job as if just enqueued, but for id, key, position and payload", run: func(l *lab) {
			l.add("q", jobqueue.NewJob{})
			l.must(l.take("q").Ack(l.ctx))
			l.held(jobqueue.NewJob{Payload: []byte("p"), Key: "k", Deadline: time.Now().Add(time.Hour), Name: "n", Tags: map[string]string{"a": "b"}})
			l.pass(jobqueue.DefaultLease)
			d := l.take("q")
			l.must(d.Progress(l.ctx, 0.5, "half"))
			l.must(d.Fail(l.ctx, "code", "message"))
			j, err := l.b.Redrive(l.ctx, d.ID)
			l.must(err)
			if j.Failure != nil || j.Progress != nil || j.ProgressMessage != "" || j.Deliveries != 0 || j.Lapses != 0 || !j.Deadline.IsZero() ||
				!j.Finished.IsZero() || !j.Expires.IsZero() || !j.Started.IsZero() || j.PayloadGone {
				l.Errorf("redriven job: got %+v, want it reset", j)
			}
			equal(l, "key", j.Key, "k")
			equal(l, "position", j.Position, 1)
			equal(l, "tag", j.Tags["a"], "b")
			l.pass(48 * time.Hour) // its retention is over, had it not been redriven
			d = l.take("q")
			equal(l, "id", d.ID, j.ID)
			p, err := d.Payload(l.ctx)
			l.must(err)
			equal(l, "payload", string(p), "p")
			l.must(d.Ack(l.ctx))
			equal(l, "expires", l.job(d.ID).Expires, l.job(d.ID).Finished.Add(24*time.Hour))
		}},
		{name: "it gives the job to who waits for one", run: func(l *lab) {
			d := l.held(jobqueue.NewJob{})
			l.must(d.Fail(l.ctx, "", ""))
			next := l.parked("q")
			_, err := l.b.Redrive(l.ctx, d.ID)
			l.must(err)
			equal(l, "id", next().d.ID, d.ID)
		}},
		{name: "only what failed or was canceled can be redriven", run: func(l *lab) {
			for _, u := range unfinished {
				j := u.make(l, jobqueue.NewJob{})
				_, err := l.b.Redrive(l.ctx, j.ID)
				wants(l.T, "Redrive of a job that is "+u.name, err, jobqueue.ErrWrongState)
				_, err = l.b.Cancel(l.ctx, j.ID)
				l.must(err)
			}
			d := l.held(jobqueue.NewJob{})
			l.must(d.Ack(l.ctx))
			before := l.contents()
			_, err := l.b.Redrive(l.ctx, d.ID)
			wants(l.T, "Redrive", err, jobqueue.ErrWrongState)
			equal(l, "records", l.contents(), before)
		}},
		{name: "a job enqueued with Once refuses it", run: func(l *lab) {
			d := l.held(jobqueue.NewJob{Once: true})
			l.must(d.Fail(l.ctx, "", ""))
			_, err := l.b.Redrive(l.ctx, d.ID)
			wants(l.T, "Redrive", err, jobqueue.ErrWrongState)
			l.state(d.ID, jobqueue.Failed)
		}},
		{name: "a closed queue refuses it", run: func(l *lab) {
			d := l.held(jobqueue.NewJob{})
			l.must(d.Fail(l.ctx, "", ""))
			l.must(l.b.Queue("q").Close(l.ctx))
			_, err := l.b.Redrive(l.ctx, d.ID)
			wants(l.T, "Redrive", err, jobqueue.ErrQueueClosed)
			l.state(d.ID, jobqueue.Failed)
		}},
		{name: "a dead letter gets all its deliveries again", run: func(l *lab) {
			d := l.held(jobqueue.NewJob{Limits: jobqueue.Limits{MaxDeliveries: 2}})
			for range 2 {
				for range 2 {
					l.pass(jobqueue.DefaultLease)
					if l.job(d.ID).State == jobqueue.Pending {
						l.take("q")
					}
				}
				l.failed(d.ID, jobqueue.CodeDeliveries)
				_, err := l.b.Redrive(l.ctx, d.ID)
				l.must(err)
				equal(l, "deliveries", l.take("q").Deliveries, 1)
			}
		}},
	})
}
