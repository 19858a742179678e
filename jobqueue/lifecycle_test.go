package jobqueue_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/pollackq/pollack/jobqueue"
)

// A job that ends at once leaves by each row of the table of states; what an end leaves behind is in retention_test.go, who may bring it about in settle_test.go.
func TestEveryRowOfTheStateTable(t *testing.T) {
	rules(t, []rule{
		{name: "scheduled becomes pending when its time comes", run: func(l *lab) {
			j := l.add("q", jobqueue.NewJob{Delay: time.Minute})
			equal(l, "state", j.State, jobqueue.Scheduled)
			l.pass(time.Minute - time.Microsecond)
			l.state(j.ID, jobqueue.Scheduled)
			l.none("q")
			l.pass(time.Microsecond)
			got := l.state(j.ID, jobqueue.Pending)
			equal(l, "deliveries", got.Deliveries, 0)
			equal(l, "run at", got.RunAt, j.Created.Add(time.Minute))
		}},
		{name: "a job with a time in the past is pending at once", run: func(l *lab) {
			j := l.add("q", jobqueue.NewJob{RunAt: time.Now().Add(-time.Hour)})
			equal(l, "state", j.State, jobqueue.Pending)
		}},
		{name: "pending becomes running with one delivery more and a fresh token", run: func(l *lab) {
			j := l.add("q", jobqueue.NewJob{})
			equal(l, "state", j.State, jobqueue.Pending)
			first := l.take("q")
			equal(l, "deliveries", first.Deliveries, 1)
			equal(l, "state", first.State, jobqueue.Running)
			equal(l, "lease expires", first.LeaseExpires, first.Started.Add(jobqueue.DefaultLease))
			l.must(first.Release(l.ctx, nil))
			second := l.take("q")
			equal(l, "deliveries", second.Deliveries, 2)
			if first.Token == second.Token || first.Token == (jobqueue.Token{}) {
				l.Errorf("tokens of two deliveries: got %v and %v, want different ones", first.Token, second.Token)
			}
			l.state(j.ID, jobqueue.Running)
		}},
		{name: "running becomes succeeded by ack", run: func(l *lab) {
			l.add("q", jobqueue.NewJob{})
			d := l.take("q")
			l.must(d.Ack(l.ctx))
			j := l.state(d.ID, jobqueue.Succeeded)
			if j.Result != nil || j.Failure != nil || j.Finished.IsZero() || !j.LeaseExpires.IsZero() {
				l.Errorf("acked job: got %+v, want neither result nor failure nor lease", j)
			}
		}},
		{name: "running becomes succeeded by complete, with its result", run: func(l *lab) {
			l.add("q", jobqueue.NewJob{})
			d := l.take("q")
			l.must(d.Complete(l.ctx, jobqueue.NewResult{ContentType: "text/plain", Data: []byte("yes")}))
			j := l.state(d.ID, jobqueue.Succeeded)
			if j.Result == nil || string(j.Result.Data) != "yes" || j.Result.ContentType != "text/plain" || j.Result.Size != 3 {
				l.Errorf("result: got %+v, want yes as text/plain", j.Result)
			}
		}},
		{name: "running becomes failed by fail, with its code and message", run: func(l *lab) {
			l.add("q", jobqueue.NewJob{})
			d := l.take("q")
			l.must(d.Fail(l.ctx, "bad_input", "line 1\nline 2"))
			l.failed(d.ID, "bad_input")
			equal(l, "message", l.job(d.ID).Failure.Message, "line 1\nline 2")
			l.none("q")
		}},
		{name: "running becomes failed when released with no delivery left", run: func(l *lab) {
			l.add("q", jobqueue.NewJob{Limits: jobqueue.Limits{MaxDeliveries: 1}})
			d := l.take("q")
			j, err := l.b.Release(l.ctx, d.ID, d.Token, nil)
			l.must(err)
			equal(l, "state returned", j.State, jobqueue.Failed)
			l.failed(d.ID, jobqueue.CodeDeliveries)
		}},
		{name: "running becomes pending when its lease lapses", run: func(l *lab) {
			l.add("q", jobqueue.NewJob{})
			d := l.take("q")
			l.pass(jobqueue.DefaultLease - time.Second)
			l.state(d.ID, jobqueue.Running)
			l.pass(time.Second)
			j := l.state(d.ID, jobqueue.Pending)
			equal(l, "lapses", j.Lapses, 1)
			equal(l, "deliveries", j.Deliveries, 1)
			equal(l, "lease", j.LeaseExpires, time.Time{})
		}},
		{name: "running becomes pending by release, scheduled by release with a delay", run: func(l *lab) {
			l.add("q", jobqueue.NewJob{})
			d := l.take("q")
			l.must(d.Release(l.ctx, nil))
			equal(l, "lapses", l.state(d.ID, jobqueue.Pending).Lapses, 0)
			d = l.take("q")
			l.must(d.Release(l.ctx, &jobqueue.ReleaseOptions{Delay: time.Hour}))
			j := l.state(d.ID, jobqueue.Scheduled)
			equal(l, "deliveries", j.Deliveries, 2)
			l.none("q")
			l.until(j.RunAt)
			l.state(d.ID, jobqueue.Pending)
			equal(l, "deliveries", l.take("q").Deliveries, 3)
		}},
		{name: "a released job that has its time to wait for can be canceled, and its last token settles nothing", run: func(l *lab) {
			l.add("q", jobqueue.NewJob{})
			d := l.take("q")
			l.must(d.Release(l.ctx, &jobqueue.ReleaseOptions{Delay: time.Hour}))
			lost(l.T, "Ack", d.Ack(l.ctx), jobqueue.LeaseReleased)
			_, err := l.b.Cancel(l.ctx, d.ID)
			l.must(err)
			l.state(d.ID, jobqueue.Canceled)
		}},
		{name: "pending after a lapse succeeds by a late ack of the latest token, and is not delivered again", run: func(l *lab) {
			l.add("q", jobqueue.NewJob{})
			d := l.take("q")
			l.pass(time.Hour)
			l.must(d.Ack(l.ctx))
			equal(l, "lapses", l.state(d.ID, jobqueue.Succeeded).Lapses, 1)
			l.none("q")
		}},
		{name: "pending after a lapse succeeds by a late complete", run: func(l *lab) {
			l.add("q", jobqueue.NewJob{})
			d := l.take("q")
			l.pass(time.Hour)
			l.must(d.Complete(l.ctx, jobqueue.NewResult{Data: []byte("late")}))
			equal(l, "result", string(l.state(d.ID, jobqueue.Succeeded).Result.Data), "late")
			l.none("q")
		}},
		{name: "pending after a lapse fails by a late fail", run: func(l *lab) {
			l.add("q", jobqueue.NewJob{})
			d := l.take("q")
			l.pass(time.Hour)
			l.must(d.Fail(l.ctx, "late", ""))
			l.failed(d.ID, "late")
			l.none("q")
		}},
		{name: "failed and canceled become pending by redrive", run: func(l *lab) {
			l.add("q", jobqueue.NewJob{})
			d := l.take("q")
			l.must(d.Fail(l.ctx, "no", ""))
			_, err := l.b.Redrive(l.ctx, d.ID)
			l.must(err)
			l.state(d.ID, jobqueue.Pending)
			_, err = l.b.Cancel(l.ctx, d.ID)
			l.must(err)
			_, err = l.b.Redrive(l.ctx, d.ID)
			l.must(err)
			l.state(d.ID, jobqueue.Pending)
			equal(l, "deliveries", l.take("q").Deliveries, 1)
		}},
	})
}

// A job in each of the states that have not ended, made by its name.
var unfinished = []struct {
	name string
	make func(l *lab, j jobqueue.NewJob) *jobqueue.Job
}{
	{"scheduled", func(l *lab, j jobqueue.NewJob) *jobqueue.Job {
		j.Delay = time.Hour
		return l.add("q", j)
	}},
	{"pending", func(l *lab, j jobqueue.NewJob) *jobqueue.Job { return l.add("q", j) }},
	{"running", func(l *lab, j jobqueue.NewJob) *jobqueue.Job {
		l.add("q", j)
		return l.take("q").Job
	}},
	{"pending after a lapse", func(l *lab, j jobqueue.NewJob) *jobqueue.Job {
		l.add("q", j)
		d := l.take("q")
		l.until(d.LeaseExpires)
		return l.state(d.ID, jobqueue.Pending)
	}},
	{"scheduled after a release", func(l *lab, j jobqueue.NewJob) *jobqueue.Job {
		l.add("q", j)
		d := l.take("q")
		l.must(d.Release(l.ctx, &jobqueue.ReleaseOptions{Delay: time.Hour}))
		return l.state(d.ID, jobqueue.Scheduled)
	}},
}

func TestDeadline(t *testing.T) {
	var all []rule
	for _, u := range unfinished {
		all = append(all, rule{name: "a job that is " + u.name + " fails when its deadline passes", run: func(l *lab) {
			deadline := time.Now().Add(6 * time.Minute)
			j := u.make(l, jobqueue.NewJob{Deadline: deadline, Limits: jobqueue.Limits{Lease: 5 * time.Minute}})
			end := l.watched(j.ID)
			l.until(deadline.Add(-time.Microsecond))
			if l.job(j.ID).State.Ended() {
				l.Fatal("it ended before its deadline")
			}
			l.pass(time.Microsecond)
			l.failed(j.ID, jobqueue.CodeDeadline)
			equal(l, "finished", l.job(j.ID).Finished, deadline.UTC())
			equal(l, "state that a waiter was told", end().j.State, jobqueue.Failed)
			l.none("q")
		}})
	}
	rules(t, append(all, []rule{
		{name: "the holder of a job whose deadline has passed learns that it has expired", run: func(l *lab) {
			l.add("q", jobqueue.NewJob{Deadline: time.Now().Add(time.Minute)})
			d := l.take("q")
			l.pass(time.Minute)
			lost(l.T, "Ack", d.Ack(l.ctx), jobqueue.JobExpired)
			lost(l.T, "Extend", d.Extend(l.ctx, 0), jobqueue.JobExpired)
		}},
		{name: "extending a lease does not move the deadline", run: func(l *lab) {
			l.add("q", jobqueue.NewJob{Deadline: time.Now().Add(10 * time.Minute)})
			d := l.take("q")
			l.must(d.Extend(l.ctx, time.Hour))
			l.pass(10 * time.Minute)
			l.failed(d.ID, jobqueue.CodeDeadline)
		}},
		{name: "an ended job does not fail at its deadline", run: func(l *lab) {
			l.add("q", jobqueue.NewJob{Deadline: time.Now().Add(time.Minute)})
			d := l.take("q")
			l.must(d.Ack(l.ctx))
			l.pass(time.Hour)
			l.state(d.ID, jobqueue.Succeeded)
		}},
		{name: "a failure by its holder at the moment of its deadline is not called expired", run: func(l *lab) {
			l.add("q", jobqueue.NewJob{Deadline: time.Now().Add(time.Minute)})
			d := l.take("q")
			l.must(d.Fail(l.ctx, "no", ""))
			_, err := l.b.Ack(l.ctx, d.ID, d.Token)
			lost(l.T, "Ack", err, jobqueue.JobFailed)
		}},
		{name: "redrive clears the deadline", run: func(l *lab) {
			j := l.add("q", jobqueue.NewJob{Deadline: time.Now().Add(time.Minute)})
			l.pass(time.Minute)
			again, err := l.b.Redrive(l.ctx, j.ID)
			l.must(err)
			equal(l, "deadline", again.Deadline, time.Time{})
			l.pass(time.Hour)
			l.state(j.ID, jobqueue.Pending)
		}},
	}...))
}

func TestOrder(t *testing.T) {
	rules(t, []rule{
		{name: "higher priority comes first, then the lower position", run: func(l *lab) {
			for _, p := range []int{0, 5, -jobqueue.MaxPriority, 5, jobqueue.MaxPriority, 0} {
				l.add("q", jobqueue.NewJob{Priority: p, Name: fmt.Sprint(p)})
			}
			for _, want := range []uint64{4, 1, 3, 0, 5, 2} {
				equal(l, "position", l.take("q").Position, want)
			}
		}},
		{name: "a job that comes back is first again, after a lapse, a release or a delay", run: func(l *lab) {
			for range 3 {
				l.add("q", jobqueue.NewJob{})
			}
			d := l.take("q")
			l.must(d.Release(l.ctx, nil))
			d = l.take("q")
			equal(l, "position after a release", d.Position, 0)
			l.pass(jobqueue.DefaultLease)
			d = l.take("q")
			equal(l, "position after a lapse", d.Position, 0)
			l.must(d.Release(l.ctx, &jobqueue.ReleaseOptions{Delay: time.Minute}))
			equal(l, "position meanwhile", l.take("q").Position, 1)
			l.pass(time.Minute)
			equal(l, "position after a delay", l.take("q").Position, 0)
		}},
		{name: "a redriven job has its old position", run: func(l *lab) {
			for range 3 {
				l.add("q", jobqueue.NewJob{})
			}
			d := l.take("q")
			l.must(d.Fail(l.ctx, "", ""))
			_, err := l.b.Redrive(l.ctx, d.ID)
			l.must(err)
			equal(l, "position", l.take("q").Position, 0)
		}},
		{name: "positions count from 0 in each queue, without holes for what was refused", run: func(l *lab) {
			q := l.b.Queue("q")
			equal(l, "position", l.add("q", jobqueue.NewJob{Key: "a"}).Position, 0)
			for range 3 { // a replay, another request, a deadline that has passed, one bad job among good ones
				l.add("q", jobqueue.NewJob{Key: "a"})
				_, err := q.Enqueue(l.ctx, jobqueue.NewJob{Key: "a", Name: "other"})
				wants(l.T, "Enqueue", err, jobqueue.ErrKeyReused)
				_, err = q.Enqueue(l.ctx, jobqueue.NewJob{Deadline: time.Now()})
				l.invalid("Enqueue", err, "deadline")
				_, err = q.EnqueueMany(l.ctx, []jobqueue.NewJob{{}, {}, {Key: "a", Name: "other"}})
				wants(l.T, "EnqueueMany", err, jobqueue.ErrKeyReused)
			}
			jobs, err := q.EnqueueMany(l.ctx, []jobqueue.NewJob{{}, {Delay: time.Hour}, {}})
			l.must(err)
			for i, j := range jobs {
				equal(l, "position", j.Position, uint64(i+1))
			}
			equal(l, "next", l.info("q").Next, 4)
			equal(l, "position in another queue", l.add("r", jobqueue.NewJob{}).Position, 0)
		}},
		{name: "a scheduled job has the position of its enqueuing", run: func(l *lab) {
			l.add("q", jobqueue.NewJob{Delay: time.Minute})
			l.add("q", jobqueue.NewJob{})
			l.pass(time.Minute)
			equal(l, "position", l.take("q").Position, 0)
		}},
		{name: "versions grow with each change", run: func(l *lab) {
			j := l.add("q", jobqueue.NewJob{Delay: time.Second})
			seen := j.Version
			grown := func(what string) {
				l.Helper()
				now := l.job(j.ID).Version
				if now <= seen {
					l.Errorf("version after %s: got %d, want more than %d", what, now, seen)
				}
				seen = now
			}
			l.pass(time.Second)
			grown("becoming ready")
			d := l.take("q")
			grown("delivery")
			l.must(d.Progress(l.ctx, 0.5, ""))
			grown("progress")
			l.must(d.Extend(l.ctx, time.Minute))
			grown("extend")
			l.pass(time.Minute)
			grown("lapse")
			l.must(l.take("q").Release(l.ctx, nil))
			grown("release")
			_, err := l.b.Cancel(l.ctx, j.ID)
			l.must(err)
			grown("cancel")
			_, err = l.b.Redrive(l.ctx, j.ID)
			l.must(err)
			grown("redrive")
		}},
	})
}
