package jobqueue_test

import (
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/boltstore"
)

// What a kill of the process leaves of leases and deliveries. A kill is a copy of the file as it stands.
func TestACrashKeepsDeliveriesAndLeases(t *testing.T) {
	crashed := func(name string, run func(l *lab)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &lab{T: t, ctx: t.Context(), path: filepath.Join(t.TempDir(), "jobs.db")}
				l.start()
				defer func() { l.stop() }()
				run(l)
			})
		})
	}
	crashed("deliveries survive, and count against the limit", func(l *lab) {
		j := l.add("q", jobqueue.NewJob{Limits: jobqueue.Limits{MaxDeliveries: 3}})
		for n := 1; n <= 3; n++ {
			equal(l, "deliveries", l.take("q").Deliveries, n)
			l.crash(time.Second)
			l.state(j.ID, jobqueue.Running)
			l.pass(jobqueue.DefaultLease)
		}
		l.failed(j.ID, jobqueue.CodeDeliveries)
		equal(l, "lapses", l.job(j.ID).Lapses, 3)
	})
	crashed("a lease goes on over the crash, and its token is good", func(l *lab) {
		d := l.held(jobqueue.NewJob{Payload: []byte("x")})
		l.pass(time.Minute)
		l.crash(time.Minute)
		l.must(holdings["Progress"](l, d.ID, d.Token))
		l.until(d.LeaseExpires.Add(-time.Microsecond))
		l.state(d.ID, jobqueue.Running)
		l.pass(time.Microsecond)
		l.state(d.ID, jobqueue.Pending)
	})
	crashed("a lease that ended while the process was down lapses at once, and a late ack is taken", func(l *lab) {
		d := l.held(jobqueue.NewJob{})
		l.crash(time.Hour)
		equal(l, "lapses", l.state(d.ID, jobqueue.Pending).Lapses, 1)
		l.must(settlements["Ack"](l, d.ID, d.Token))
	})
	crashed("what was acked stays acked, and repeated acks find it so", func(l *lab) {
		d := l.held(jobqueue.NewJob{})
		l.must(d.Ack(l.ctx))
		l.crash(0)
		out, err := l.b.Ack(l.ctx, d.ID, d.Token)
		l.must(err)
		equal(l, "repeated", out.Repeated, true)
	})
	crashed("delays, retention and tombstones that ended meanwhile have", func(l *lab) {
		scheduled := l.add("q", jobqueue.NewJob{Delay: time.Hour})
		acked := l.add("r", jobqueue.NewJob{})
		l.must(l.take("r").Ack(l.ctx))
		l.crash(25 * time.Hour)
		l.state(scheduled.ID, jobqueue.Pending)
		l.absent(acked.ID, jobqueue.ErrGone)
		l.crash(8 * 24 * time.Hour)
		l.absent(acked.ID, jobqueue.ErrNotFound)
	})
	crashed("no lease has more than its window left, though the wall clock was set back", func(l *lab) {
		d := l.held(jobqueue.NewJob{})
		l.pass(time.Minute)
		l.crash(0)
		l.stop()
		s, err := boltstore.Open(l.path, &boltstore.Options{WallClock: func() time.Time { return time.Now().Add(-1000 * time.Hour) }})
		l.must(err)
		l.over(s)
		l.state(d.ID, jobqueue.Running)
		l.pass(jobqueue.DefaultLease)
		l.state(d.ID, jobqueue.Pending)
	})
}
