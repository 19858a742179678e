package jobqueue_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/pollackq/pollack/jobqueue"
)

func TestMaxDeliveries(t *testing.T) {
	three := jobqueue.NewJob{Limits: jobqueue.Limits{MaxDeliveries: 3}}
	rules(t, []rule{
		{name: "a job whose leases lapse fails with the last delivery it may have", run: func(l *lab) {
			j := l.add("q", three)
			for n := 1; n <= 3; n++ {
				equal(l, "deliveries", l.take("q").Deliveries, n)
				l.pass(jobqueue.DefaultLease)
			}
			l.failed(j.ID, jobqueue.CodeDeliveries)
			equal(l, "deliveries", l.job(j.ID).Deliveries, 3)
			equal(l, "lapses", l.job(j.ID).Lapses, 3)
			l.none("q")
		}},
		{name: "releases, with a delay too, count as lapses do", run: func(l *lab) {
			j := l.add("q", three)
			l.must(l.take("q").Release(l.ctx, nil))
			l.must(l.take("q").Release(l.ctx, &jobqueue.ReleaseOptions{Delay: time.Second}))
			l.pass(time.Second)
			l.must(l.take("q").Release(l.ctx, &jobqueue.ReleaseOptions{Delay: time.Second}))
			l.failed(j.ID, jobqueue.CodeDeliveries)
			equal(l, "lapses", l.job(j.ID).Lapses, 0)
		}},
		{name: "an uncounted release takes its delivery back", run: func(l *lab) {
			j := l.add("q", three)
			for range 10 {
				d := l.take("q")
				equal(l, "deliveries", d.Deliveries, 1)
				l.must(d.Release(l.ctx, &jobqueue.ReleaseOptions{Uncounted: true}))
			}
			equal(l, "deliveries", l.state(j.ID, jobqueue.Pending).Deliveries, 0)
		}},
		{name: "a late ack of the last delivery, which had lapsed, comes too late", run: func(l *lab) {
			l.add("q", jobqueue.NewJob{Limits: jobqueue.Limits{MaxDeliveries: 1}})
			d := l.take("q")
			l.pass(jobqueue.DefaultLease)
			lost(l.T, "Ack", d.Ack(l.ctx), jobqueue.JobFailed)
		}},
		{name: "without a limit a job is delivered for ever", run: func(l *lab) {
			j := l.add("q", jobqueue.NewJob{})
			for range 50 {
				l.must(l.take("q").Release(l.ctx, nil))
			}
			equal(l, "deliveries", l.state(j.ID, jobqueue.Pending).Deliveries, 50)
		}},
		{name: "a limit that is set later below what a job has had fails it instead of delivering it", run: func(l *lab) {
			j := l.add("q", jobqueue.NewJob{})
			l.must(l.take("q").Release(l.ctx, nil))
			l.must(l.take("q").Release(l.ctx, nil))
			_, _, err := l.b.Queue("q").Configure(l.ctx, jobqueue.Settings{Limits: jobqueue.Limits{MaxDeliveries: 2}})
			l.must(err)
			other := l.add("q", jobqueue.NewJob{})
			equal(l, "job received", l.take("q").ID, other.ID)
			l.failed(j.ID, jobqueue.CodeDeliveries)
			equal(l, "deliveries", l.job(j.ID).Deliveries, 2)
		}},
	})
}

// The level that says something wins over the wider ones; a negative value says "none".
func TestLimitsAtEveryLevel(t *testing.T) {
	for _, c := range []struct {
		name                    string
		broker, queue, job, got int // MaxDeliveries; got: how many there were, 0 if no limit showed
	}{
		{"nothing is said: no limit", 0, 0, 0, 0},
		{"the broker's", 2, 0, 0, 2},
		{"the queue's over the broker's", 2, 3, 0, 3},
		{"the job's over the queue's", 2, 3, 1, 1},
		{"the queue's none over the broker's", 2, -1, 0, 0},
		{"the job's none over the queue's", 2, 3, -1, 0},
		{"the job's over the queue's none", 0, -1, 2, 2},
	} {
		t.Run("of deliveries: "+c.name, func(t *testing.T) {
			eachStore(t, func(t *testing.T, open opener) {
				l := open(&jobqueue.Options{MaxDeliveries: c.broker})
				_, _, err := l.b.Queue("q").Configure(l.ctx, jobqueue.Settings{Limits: jobqueue.Limits{MaxDeliveries: c.queue}})
				l.must(err)
				j := l.add("q", jobqueue.NewJob{Limits: jobqueue.Limits{MaxDeliveries: c.job}})
				n := 0
				for ; n < 5 && l.job(j.ID).State == jobqueue.Pending; n++ {
					l.must(l.take("q").Release(l.ctx, nil))
				}
				if n == 5 {
					n = 0
				}
				equal(l, "deliveries until it failed", n, c.got)
			})
		})
	}
	const s, none = time.Second, -1
	for _, c := range []struct {
		name                              string
		broker, queue, job, receiver, got time.Duration
	}{
		{"five minutes unless said", 0, 0, 0, 0, 5 * time.Minute},
		{"the broker's", 10 * s, 0, 0, 0, 10 * s},
		{"the queue's", 10 * s, 20 * s, 0, 0, 20 * s},
		{"the job's", 10 * s, 20 * s, 30 * s, 0, 30 * s},
		{"the receiver's", 10 * s, 20 * s, 30 * s, 40 * s, 40 * s},
	} {
		for _, parked := range []bool{false, true} {
			t.Run(fmt.Sprintf("of a lease: %s, parked %v", c.name, parked), func(t *testing.T) {
				eachStore(t, func(t *testing.T, open opener) {
					l := open(&jobqueue.Options{Lease: c.broker})
					q := l.b.Queue("q")
					_, _, err := q.Configure(l.ctx, jobqueue.Settings{Limits: jobqueue.Limits{Lease: c.queue}})
					l.must(err)
					receive := func() *jobqueue.Delivery {
						d, err := q.Receive(l.ctx, &jobqueue.ReceiveOptions{Lease: c.receiver})
						if err != nil {
							l.Error(err)
						}
						return d
					}
					var now func() *jobqueue.Delivery
					if parked {
						now = later(l, receive)
					}
					j := l.add("q", jobqueue.NewJob{Limits: jobqueue.Limits{Lease: c.job}})
					if !parked {
						now = later(l, receive)
					}
					d := now()
					equal(l, "window", d.LeaseExpires.Sub(d.Started), c.got)
					l.pass(c.got - time.Microsecond)
					l.state(j.ID, jobqueue.Running)
					l.pass(time.Microsecond)
					l.state(j.ID, jobqueue.Pending)
				})
			})
		}
	}
	for _, c := range []struct {
		name                    string
		broker, queue, job, got time.Duration
	}{
		{"the default unless said", 0, 0, 0, 0},
		{"the broker's", time.Hour, 0, 0, time.Hour},
		{"the queue's", time.Hour, 2 * time.Hour, 0, 2 * time.Hour},
		{"the job's", time.Hour, 2 * time.Hour, 3 * time.Hour, 3 * time.Hour},
		{"the job's over the broker's none", none, 0, 3 * time.Hour, 3 * time.Hour},
		{"the job's over the queue's none", 0, none, time.Minute, time.Minute},
	} {
		// Retention and tombstones are found alike, so that one table serves both.
		for name, set := range map[string]func(l *jobqueue.Limits, d time.Duration){
			"retention":   func(l *jobqueue.Limits, d time.Duration) { l.Retention = d },
			"a tombstone": func(l *jobqueue.Limits, d time.Duration) { l.Tombstone = d },
		} {
			t.Run("of "+name+": "+c.name, func(t *testing.T) {
				eachStore(t, func(t *testing.T, open opener) {
					var broker, queue, job jobqueue.Limits
					set(&broker, c.broker)
					set(&queue, c.queue)
					set(&job, c.job)
					l := open(&jobqueue.Options{Retention: broker.Retention, Tombstone: broker.Tombstone})
					_, _, err := l.b.Queue("q").Configure(l.ctx, jobqueue.Settings{Limits: queue})
					l.must(err)
					l.add("q", jobqueue.NewJob{Limits: job})
					d := l.take("q")
					l.must(d.Ack(l.ctx))
					want := jobqueue.Limits{Retention: jobqueue.DefaultRetention, Tombstone: jobqueue.DefaultTombstone}
					if c.got != 0 {
						set(&want, c.got)
					}
					j := l.job(d.ID)
					equal(l, "retention", j.Expires.Sub(j.Finished), want.Retention)
					l.until(j.Expires.Add(want.Tombstone - time.Microsecond))
					l.absent(d.ID, jobqueue.ErrGone)
					l.pass(time.Microsecond)
					l.absent(d.ID, jobqueue.ErrNotFound)
				})
			})
		}
	}
}
