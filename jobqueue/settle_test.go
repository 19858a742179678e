package jobqueue_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage"
)

// The calls that take a token, in two groups: those that end a job, which may come late, and those that need an unlapsed lease.
var (
	settlements = map[string]func(l *lab, id jobqueue.ID, t jobqueue.Token) error{
		"Ack": func(l *lab, id jobqueue.ID, t jobqueue.Token) error { _, err := l.b.Ack(l.ctx, id, t); return err },
		"Complete": func(l *lab, id jobqueue.ID, t jobqueue.Token) error {
			_, err := l.b.Complete(l.ctx, id, t, jobqueue.NewResult{})
			return err
		},
		"Fail": func(l *lab, id jobqueue.ID, t jobqueue.Token) error {
			_, err := l.b.Fail(l.ctx, id, t, jobqueue.Failure{})
			return err
		},
		"AckMany": func(l *lab, id jobqueue.ID, t jobqueue.Token) error {
			out, err := l.b.AckMany(l.ctx, []jobqueue.Ack{{ID: id, Token: t}})
			if err != nil {
				return err
			}
			return out[0].Err
		},
	}
	holdings = map[string]func(l *lab, id jobqueue.ID, t jobqueue.Token) error{
		"Extend": func(l *lab, id jobqueue.ID, t jobqueue.Token) error {
			_, err := l.b.Extend(l.ctx, id, t, 0)
			return err
		},
		"Progress": func(l *lab, id jobqueue.ID, t jobqueue.Token) error {
			_, err := l.b.Progress(l.ctx, id, t, jobqueue.Progress{Fraction: 1})
			return err
		},
		"Release": func(l *lab, id jobqueue.ID, t jobqueue.Token) error {
			_, err := l.b.Release(l.ctx, id, t, nil)
			return err
		},
	}
)

// refused demands that the calls of a group lose the lease for a reason ("": are not delivered yet) and change nothing.
func (l *lab) refused(group map[string]func(*lab, jobqueue.ID, jobqueue.Token) error, id jobqueue.ID, t jobqueue.Token, why jobqueue.Reason) {
	l.Helper()
	before := l.contents()
	for name, call := range group {
		if why == "" {
			wants(l.T, name, call(l, id, t), jobqueue.ErrNotDelivered)
		} else {
			lost(l.T, name, call(l, id, t), why)
		}
		if after := l.contents(); after != before {
			l.Errorf("%s was refused and changed something:\n%s\nwas\n%s", name, after, before)
		}
	}
}

// held returns a job that has been delivered once.
func (l *lab) held(j jobqueue.NewJob) *jobqueue.Delivery {
	l.Helper()
	l.add("q", j)
	return l.take("q")
}

func TestTokens(t *testing.T) {
	rules(t, []rule{
		{name: "a token of an earlier delivery is redelivered, though the job came back by a lapse or a release", run: func(l *lab) {
			lapsed := l.held(jobqueue.NewJob{})
			l.pass(jobqueue.DefaultLease)
			released := l.take("q")
			l.must(released.Release(l.ctx, nil))
			now := l.take("q")
			for _, old := range []*jobqueue.Delivery{lapsed, released} {
				l.refused(settlements, old.ID, old.Token, jobqueue.Redelivered)
				l.refused(holdings, old.ID, old.Token, jobqueue.Redelivered)
			}
			l.must(now.Ack(l.ctx))
		}},
		{name: "a token that was never given is no better than an old one", run: func(l *lab) {
			d := l.held(jobqueue.NewJob{})
			for _, wrong := range []jobqueue.Token{{}, storage.NewToken()} {
				l.refused(settlements, d.ID, wrong, jobqueue.Redelivered)
				l.refused(holdings, d.ID, wrong, jobqueue.Redelivered)
			}
		}},
		{name: "a released token is released", run: func(l *lab) {
			d := l.held(jobqueue.NewJob{})
			l.must(d.Release(l.ctx, nil))
			l.refused(settlements, d.ID, d.Token, jobqueue.LeaseReleased)
			l.refused(holdings, d.ID, d.Token, jobqueue.LeaseReleased)
		}},
		{name: "a lapsed token holds nothing, but settles", run: func(l *lab) {
			d := l.held(jobqueue.NewJob{})
			l.pass(jobqueue.DefaultLease)
			l.refused(holdings, d.ID, d.Token, jobqueue.LeaseLapsed)
			l.must(d.Ack(l.ctx))
		}},
		{name: "a lease ends to the microsecond, and holds until then", run: func(l *lab) {
			d := l.held(jobqueue.NewJob{})
			time.Sleep(jobqueue.DefaultLease - time.Microsecond)
			l.must(d.Progress(l.ctx, 0.5, ""))
			time.Sleep(time.Microsecond)
			lost(l.T, "Progress", d.Progress(l.ctx, 0.6, ""), jobqueue.LeaseLapsed)
		}},
		{name: "the token of a job that succeeded, failed or was canceled says so", run: func(l *lab) {
			d := l.held(jobqueue.NewJob{})
			l.must(d.Ack(l.ctx))
			l.refused(holdings, d.ID, d.Token, jobqueue.JobSucceeded)
			lost(l.T, "Fail", d.Fail(l.ctx, "", ""), jobqueue.JobSucceeded)
			l.refused(settlements, d.ID, storage.NewToken(), jobqueue.JobSucceeded)
			d = l.held(jobqueue.NewJob{})
			l.must(d.Fail(l.ctx, "", ""))
			l.refused(holdings, d.ID, d.Token, jobqueue.JobFailed)
			lost(l.T, "Ack", d.Ack(l.ctx), jobqueue.JobFailed)
			l.refused(settlements, d.ID, storage.NewToken(), jobqueue.JobFailed)
			d = l.held(jobqueue.NewJob{})
			_, err := l.b.Cancel(l.ctx, d.ID)
			l.must(err)
			l.refused(holdings, d.ID, d.Token, jobqueue.JobCanceled)
			l.refused(settlements, d.ID, d.Token, jobqueue.JobCanceled)
		}},
		{name: "the token of a job whose deadline has passed is expired", run: func(l *lab) {
			d := l.held(jobqueue.NewJob{Deadline: time.Now().Add(time.Second)})
			l.pass(time.Second)
			l.refused(holdings, d.ID, d.Token, jobqueue.JobExpired)
			l.refused(settlements, d.ID, d.Token, jobqueue.JobExpired)
		}},
		{name: "the holder of a job that failed for want of deliveries learns that", run: func(l *lab) {
			d := l.held(jobqueue.NewJob{Limits: jobqueue.Limits{MaxDeliveries: 1}})
			l.must(d.Release(l.ctx, nil))
			l.refused(settlements, d.ID, d.Token, jobqueue.JobFailed)
		}},
		{name: "redrive ends old tokens", run: func(l *lab) {
			d := l.held(jobqueue.NewJob{})
			l.must(d.Fail(l.ctx, "", ""))
			_, err := l.b.Redrive(l.ctx, d.ID)
			l.must(err)
			l.refused(settlements, d.ID, d.Token, jobqueue.LeaseReleased)
			l.take("q")
			l.refused(settlements, d.ID, d.Token, jobqueue.Redelivered)
		}},
		{name: "a job that has not been delivered is not delivered, whatever the token", run: func(l *lab) {
			for _, delay := range []time.Duration{0, time.Hour} {
				j := l.add("q", jobqueue.NewJob{Delay: delay})
				for _, token := range []jobqueue.Token{{}, storage.NewToken(), jobqueue.AnyToken} {
					l.refused(settlements, j.ID, token, "")
					l.refused(holdings, j.ID, token, "")
				}
			}
		}},
		{name: "a job that was canceled before it was delivered is canceled", run: func(l *lab) {
			j := l.add("q", jobqueue.NewJob{})
			_, err := l.b.Cancel(l.ctx, j.ID)
			l.must(err)
			l.refused(settlements, j.ID, jobqueue.AnyToken, jobqueue.JobCanceled)
		}},
		{name: "an id that never was is not found", run: func(l *lab) {
			for _, group := range []map[string]func(*lab, jobqueue.ID, jobqueue.Token) error{settlements, holdings} {
				for name, call := range group {
					wants(l.T, name, call(l, storage.NewID(time.Now()), storage.NewToken()), jobqueue.ErrNotFound)
				}
			}
		}},
	})
}

func TestAnyToken(t *testing.T) {
	rules(t, []rule{
		{name: "it settles the latest delivery, and is repeated like any other", run: func(l *lab) {
			d := l.held(jobqueue.NewJob{})
			out, err := l.b.Ack(l.ctx, d.ID, jobqueue.AnyToken)
			l.must(err)
			equal(l, "repeated", out.Repeated, false)
			out, err = l.b.Ack(l.ctx, d.ID, jobqueue.AnyToken)
			l.must(err)
			equal(l, "repeated", out.Repeated, true)
		}},
		{name: "it settles a delivery that has lapsed", run: func(l *lab) {
			d := l.held(jobqueue.NewJob{})
			l.pass(jobqueue.DefaultLease)
			_, err := l.b.Fail(l.ctx, d.ID, jobqueue.AnyToken, jobqueue.Failure{Code: "x"})
			l.must(err)
			l.failed(d.ID, "x")
		}},
		{name: "it holds a lease for extend, progress and release", run: func(l *lab) {
			d := l.held(jobqueue.NewJob{})
			for _, name := range []string{"Extend", "Progress", "Release"} {
				l.must(holdings[name](l, d.ID, jobqueue.AnyToken))
			}
		}},
		{name: "after a release there is nothing to settle", run: func(l *lab) {
			d := l.held(jobqueue.NewJob{})
			l.must(d.Release(l.ctx, nil))
			l.refused(settlements, d.ID, jobqueue.AnyToken, jobqueue.LeaseReleased)
		}},
		{name: "a delivery that did not count, and one before a redrive, were none", run: func(l *lab) {
			d := l.held(jobqueue.NewJob{})
			l.must(d.Release(l.ctx, &jobqueue.ReleaseOptions{Uncounted: true}))
			l.refused(settlements, d.ID, jobqueue.AnyToken, "")
			d = l.take("q")
			l.must(d.Fail(l.ctx, "", ""))
			_, err := l.b.Redrive(l.ctx, d.ID)
			l.must(err)
			l.refused(settlements, d.ID, jobqueue.AnyToken, "")
		}},
	})
}

func TestRepeatedSettlements(t *testing.T) {
	rules(t, []rule{
		{name: "the call that ended a job succeeds again while the record exists, and changes nothing", run: func(l *lab) {
			d := l.held(jobqueue.NewJob{})
			out, err := l.b.Complete(l.ctx, d.ID, d.Token, jobqueue.NewResult{Data: []byte("one")})
			l.must(err)
			equal(l, "repeated", out.Repeated, false)
			before := l.contents()
			l.pass(23 * time.Hour)
			out, err = l.b.Complete(l.ctx, d.ID, d.Token, jobqueue.NewResult{Data: []byte("two")})
			l.must(err)
			equal(l, "repeated", out.Repeated, true)
			equal(l, "result", string(out.Job.Result.Data), "one")
			out, err = l.b.Ack(l.ctx, d.ID, d.Token)
			l.must(err)
			equal(l, "repeated", out.Repeated, true)
			equal(l, "records", l.contents(), before)
			l.pass(2 * time.Hour)
			wants(l.T, "Ack", d.Ack(l.ctx), jobqueue.ErrGone)
		}},
		{name: "a repeated fail keeps the first code", run: func(l *lab) {
			d := l.held(jobqueue.NewJob{})
			l.must(d.Fail(l.ctx, "one", "1"))
			out, err := l.b.Fail(l.ctx, d.ID, d.Token, jobqueue.Failure{Code: "two"})
			l.must(err)
			equal(l, "repeated", out.Repeated, true)
			equal(l, "failure", *out.Job.Failure, jobqueue.Failure{Code: "one", Message: "1"})
		}},
		{name: "many acks at once have each its own outcome, in order, the second of one job being a repetition", run: func(l *lab) {
			done, held, old := l.held(jobqueue.NewJob{}), l.held(jobqueue.NewJob{}), l.held(jobqueue.NewJob{})
			l.must(done.Ack(l.ctx))
			l.must(old.Release(l.ctx, nil))
			waits := l.add("q", jobqueue.NewJob{Delay: time.Hour})
			out, err := l.b.AckMany(l.ctx, []jobqueue.Ack{
				{ID: done.ID, Token: done.Token}, {ID: old.ID, Token: old.Token}, {ID: held.ID, Token: held.Token},
				{ID: held.ID, Token: held.Token}, {ID: waits.ID}, {ID: storage.NewID(time.Now())},
			})
			l.must(err)
			equal(l, "number of results", len(out), 6)
			l.must(out[0].Err)
			equal(l, "repeated", out[0].Repeated, true)
			lost(l.T, "AckMany", out[1].Err, jobqueue.LeaseReleased)
			l.must(out[2].Err)
			equal(l, "repeated", out[2].Repeated, false)
			equal(l, "state", out[2].Job.State, jobqueue.Succeeded)
			l.must(out[3].Err)
			equal(l, "repeated", out[3].Repeated, true)
			wants(l.T, "AckMany", out[4].Err, jobqueue.ErrNotDelivered)
			wants(l.T, "AckMany", out[5].Err, jobqueue.ErrNotFound)
		}},
		{name: "a result or failure that the end of another call brought stays", run: func(l *lab) {
			d := l.held(jobqueue.NewJob{})
			l.must(d.Fail(l.ctx, "mine", ""))
			_, err := l.b.Cancel(l.ctx, d.ID)
			wants(l.T, "Cancel", err, jobqueue.ErrWrongState)
			l.failed(d.ID, "mine")
		}},
	})
}

func TestHoldingAJob(t *testing.T) {
	rules(t, []rule{
		{name: "extend sets the lease anew from now: longer, shorter, or as usual", run: func(l *lab) {
			d := l.held(jobqueue.NewJob{Limits: jobqueue.Limits{Lease: time.Minute}})
			for _, c := range []struct{ d, want time.Duration }{{time.Hour, time.Hour}, {time.Second, time.Second}, {0, time.Minute}, {12 * time.Hour, 12 * time.Hour}} {
				j, err := l.b.Extend(l.ctx, d.ID, d.Token, c.d)
				l.must(err)
				equal(l, "lease", time.Until(j.LeaseExpires), c.want)
			}
			l.pass(12*time.Hour - time.Microsecond)
			l.state(d.ID, jobqueue.Running)
			l.pass(time.Microsecond)
			l.state(d.ID, jobqueue.Pending)
		}},
		{name: "progress is shown, keeps its message to the end, and does not extend", run: func(l *lab) {
			d := l.held(jobqueue.NewJob{})
			l.must(d.Progress(l.ctx, 0.25, "a quarter"))
			j := l.job(d.ID)
			equal(l, "progress", *j.Progress, 0.25)
			equal(l, "message", j.ProgressMessage, "a quarter")
			equal(l, "lease", j.LeaseExpires, d.LeaseExpires)
			l.must(d.Progress(l.ctx, 0, ""))
			equal(l, "message", l.job(d.ID).ProgressMessage, "")
			l.must(d.Progress(l.ctx, 1, "all"))
			l.must(d.Complete(l.ctx, jobqueue.NewResult{Data: []byte("r")}))
			equal(l, "message", l.job(d.ID).ProgressMessage, "all")
			equal(l, "result", string(l.job(d.ID).Result.Data), "r")
		}},
		{name: "what an earlier delivery told of its progress is there until it is told anew", run: func(l *lab) {
			d := l.held(jobqueue.NewJob{})
			l.must(d.Progress(l.ctx, 0.5, "half"))
			l.pass(jobqueue.DefaultLease)
			l.take("q")
			equal(l, "message", l.job(d.ID).ProgressMessage, "half")
		}},
		{name: "bad arguments are invalid and change nothing", run: func(l *lab) {
			d := l.held(jobqueue.NewJob{})
			before := l.contents()
			for _, f := range []float64{-0.1, 1.1, math.NaN(), math.Inf(1)} {
				l.invalid("Progress", d.Progress(l.ctx, f, ""), "progress")
			}
			l.invalid("Progress", d.Progress(l.ctx, 1, strings.Repeat("x", jobqueue.MaxText+1)), "message")
			l.invalid("Progress", d.Progress(l.ctx, 1, "a\x00b"), "message")
			for _, e := range []time.Duration{-1, time.Second - 1, 12*time.Hour + 1} {
				l.invalid("Extend", d.Extend(l.ctx, e), "lease")
			}
			for _, e := range []time.Duration{-1, math.MaxInt64} {
				l.invalid("Release", d.Release(l.ctx, &jobqueue.ReleaseOptions{Delay: e}), "delay")
			}
			l.invalid("Fail", d.Fail(l.ctx, strings.Repeat("x", jobqueue.MaxName+1), ""), "code")
			l.invalid("Fail", d.Fail(l.ctx, "a\nb", ""), "code")
			l.invalid("Fail", d.Fail(l.ctx, "", "\xff"), "message")
			l.invalid("Complete", d.Complete(l.ctx, jobqueue.NewResult{ContentType: "a\x01"}), "content_type")
			l.invalid("Complete", d.Complete(l.ctx, jobqueue.NewResult{Data: []byte{}, Body: strings.NewReader("")}), "result")
			for _, n := range []int{0, jobqueue.MaxBatch + 1} {
				_, err := l.b.AckMany(l.ctx, make([]jobqueue.Ack, n))
				l.invalid("AckMany", err, "acks")
			}
			equal(l, "records", l.contents(), before)
			l.must(d.Ack(l.ctx))
		}},
	})
}
