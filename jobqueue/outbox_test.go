package jobqueue_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/storagetest"
)

// told receives what a house queue was told and demands that it is of that job, in that state, for the nth time.
func (l *lab) told(queue string, of *jobqueue.Job, state jobqueue.State, n int) *jobqueue.Delivery {
	l.Helper()
	d := l.take(queue)
	equal(l, "key", d.Key, fmt.Sprintf("%v/%d", of.ID, n))
	equal(l, "name", d.Name, "job."+state.String())
	equal(l, "content type", d.ContentType, "application/json")
	equal(l, "account", d.Account, of.Account)
	p, err := d.Payload(l.ctx)
	l.must(err)
	var got struct {
		ID    string
		State string
	}
	l.must(json.Unmarshal(p, &got))
	equal(l, "id in the payload", got.ID, of.ID.String())
	equal(l, "state in the payload", got.State, state.String())
	return d
}

func TestOutbox(t *testing.T) {
	var all []rule
	for _, e := range ends {
		all = append(all, rule{name: "the end of a job that " + e.name + " is told, once", run: func(l *lab) {
			j, err := e.end(l, l.add("q", jobqueue.NewJob{Outbox: []string{"o"}}).ID)
			l.must(err)
			l.must(l.told("o", j, e.state, 1).Ack(l.ctx))
			l.none("o")
		}})
	}
	boxed := jobqueue.NewJob{Outbox: []string{"o"}}
	rules(t, append(all, []rule{
		{name: "the end of a job whose deadline passes is told", run: func(l *lab) {
			j := l.add("q", jobqueue.NewJob{Outbox: []string{"o"}, Deadline: time.Now().Add(time.Second)})
			next := l.parked("o")
			l.pass(time.Second)
			equal(l, "key that a parked receiver got", next().d.Key, fmt.Sprintf("%v/1", j.ID))
		}},
		{name: "its payload is the job as a status read gives it, result included", run: func(l *lab) {
			d := l.held(jobqueue.NewJob{Outbox: []string{"o"}, Name: "n", Tags: map[string]string{"a": "b"}, Priority: 3, Account: "acme"})
			l.must(d.Progress(l.ctx, 0.5, "half"))
			l.must(d.Complete(l.ctx, jobqueue.NewResult{ContentType: "application/json", Data: []byte(`{"x":[1,2]}`)}))
			want, err := json.Marshal(l.job(d.ID))
			l.must(err)
			got, err := l.take("o").Payload(l.ctx)
			l.must(err)
			equal(l, "payload", string(got), string(want))
			if !strings.Contains(string(got), `"result":{"x":[1,2]}`) {
				l.Errorf("payload: got %s, want the result in it", got)
			}
		}},
		{name: "a result above 64 KiB is not in its payload, one of 64 KiB is", run: func(l *lab) {
			for _, c := range []struct {
				size int
				want bool
			}{{jobqueue.InlineLimit, true}, {jobqueue.InlineLimit + 1, false}, {300 << 10, false}} {
				d := l.held(boxed)
				l.must(d.Complete(l.ctx, jobqueue.NewResult{ContentType: "application/json", Data: []byte(`"` + strings.Repeat("x", c.size-2) + `"`)}))
				o := l.take("o")
				p, err := o.Payload(l.ctx)
				l.must(err)
				equal(l, fmt.Sprintf("result of %d bytes in the payload", c.size), len(p) > c.size, c.want)
				equal(l, "size", o.Size, int64(len(p)))
			}
		}},
		{name: "the worst of texts fits", run: func(l *lab) {
			tags := map[string]string{}
			for i := range 28 {
				tags[fmt.Sprint(i)] = strings.Repeat("<", jobqueue.MaxTagValue)
			}
			d := l.held(jobqueue.NewJob{Outbox: []string{"o"}, Tags: tags, Name: strings.Repeat("&", jobqueue.MaxName)})
			l.must(d.Progress(l.ctx, 0.5, strings.Repeat("\x01", jobqueue.MaxText)))
			l.must(d.Complete(l.ctx, jobqueue.NewResult{ContentType: "application/json", Data: []byte(`"` + strings.Repeat("<", jobqueue.InlineLimit-2) + `"`)}))
			p, err := l.take("o").Payload(l.ctx)
			l.must(err)
			equal(l, "payload is JSON", json.Valid(p), true)
		}},
		{name: "several outboxes are told each", run: func(l *lab) {
			d := l.held(jobqueue.NewJob{Outbox: []string{"o", "p", "r"}})
			l.must(d.Ack(l.ctx))
			for _, o := range []string{"o", "p", "r"} {
				l.told(o, d.Job, jobqueue.Succeeded, 1)
			}
		}},
		{name: "a second end after a redrive is told as /2", run: func(l *lab) {
			d := l.held(boxed)
			l.must(d.Fail(l.ctx, "", ""))
			_, err := l.b.Redrive(l.ctx, d.ID)
			l.must(err)
			l.must(l.take("q").Ack(l.ctx))
			l.told("o", d.Job, jobqueue.Failed, 1)
			l.told("o", d.Job, jobqueue.Succeeded, 2)
			l.none("o")
		}},
		{name: "closing and backlog of the outbox are ignored", run: func(l *lab) {
			o := l.b.Queue("o")
			_, _, err := o.Configure(l.ctx, jobqueue.Settings{Backlog: 1})
			l.must(err)
			l.add("o", jobqueue.NewJob{})
			l.must(o.Close(l.ctx))
			a, b := l.held(boxed), l.held(boxed)
			l.must(a.Ack(l.ctx))
			l.must(b.Ack(l.ctx))
			l.take("o")
			l.told("o", a.Job, jobqueue.Succeeded, 1)
			l.told("o", b.Job, jobqueue.Succeeded, 1)
		}},
		{name: "the account's job is told to the house, and the account sees what was told as its own", run: func(l *lab) {
			a := l.b.In("acme")
			j, err := a.Queue("q").Enqueue(l.ctx, boxed)
			l.must(err)
			d, err := a.Queue("q").TryReceive(l.ctx, nil)
			l.must(err)
			l.must(d.Ack(l.ctx))
			told := l.told("o", j, jobqueue.Succeeded, 1)
			_, err = a.Job(l.ctx, told.ID)
			l.must(err)
			_, err = a.Queue("o").Info(l.ctx)
			wants(l.T, "Info", err, jobqueue.ErrNotFound)
		}},
		{name: "a job is not retired while one in its outbox is unfinished, and is retired with the last", run: func(l *lab) {
			d := l.held(jobqueue.NewJob{Outbox: []string{"o", "p"}})
			l.must(d.Ack(l.ctx))
			l.pass(48 * time.Hour)
			l.state(d.ID, jobqueue.Succeeded)
			l.must(l.told("o", d.Job, jobqueue.Succeeded, 1).Ack(l.ctx))
			l.pass(time.Second)
			l.state(d.ID, jobqueue.Succeeded)
			l.must(l.told("p", d.Job, jobqueue.Succeeded, 1).Fail(l.ctx, "", "")) // failed is finished
			l.pass(time.Second)
			l.absent(d.ID, jobqueue.ErrGone)
		}},
		{name: "a job whose outbox is done before its retention is kept until then", run: func(l *lab) {
			d := l.held(boxed)
			l.must(d.Ack(l.ctx))
			l.must(l.told("o", d.Job, jobqueue.Succeeded, 1).Ack(l.ctx))
			l.pass(24*time.Hour - time.Second)
			l.state(d.ID, jobqueue.Succeeded)
			l.pass(time.Second)
			l.absent(d.ID, jobqueue.ErrGone)
		}},
		{name: "with retention off the job is there until its outbox is done, and gone then", opts: &jobqueue.Options{Retention: -1}, run: func(l *lab) {
			d := l.held(boxed)
			l.must(d.Ack(l.ctx))
			l.pass(time.Hour)
			l.must(d.Ack(l.ctx)) // repeated
			l.state(d.ID, jobqueue.Succeeded)
			l.must(l.told("o", d.Job, jobqueue.Succeeded, 1).Ack(l.ctx))
			l.pass(0)
			l.absent(d.ID, jobqueue.ErrNotFound)
		}},
		{name: "a redriven outbox job holds its origin again", run: func(l *lab) {
			d := l.held(boxed)
			l.must(d.Ack(l.ctx))
			o := l.told("o", d.Job, jobqueue.Succeeded, 1)
			l.must(o.Fail(l.ctx, "", ""))
			_, err := l.b.Redrive(l.ctx, o.ID)
			l.must(err)
			l.pass(48 * time.Hour)
			l.state(d.ID, jobqueue.Succeeded)
			l.must(l.told("o", d.Job, jobqueue.Succeeded, 1).Ack(l.ctx))
			l.pass(0)
			l.absent(d.ID, jobqueue.ErrGone)
		}},
		{name: "an outbox job may itself have been purged: its origin goes on to be retired", run: func(l *lab) {
			d := l.held(boxed)
			l.must(d.Ack(l.ctx))
			l.pass(48 * time.Hour)
			l.state(d.ID, jobqueue.Succeeded)
			n, err := l.b.Queue("o").Purge(l.ctx)
			l.must(err)
			equal(l, "purged", n, 1)
			l.pass(0)
			l.absent(d.ID, jobqueue.ErrGone)
		}},
		{name: "a purge tells the outbox of every job", run: func(l *lab) {
			_, err := l.b.Queue("q").EnqueueMany(l.ctx, []jobqueue.NewJob{boxed, boxed, boxed})
			l.must(err)
			_, err = l.b.Queue("q").Purge(l.ctx)
			l.must(err)
			equal(l, "told", l.info("o").Counts[jobqueue.Pending], 3)
		}},
		{name: "an end that fails tells nobody, one whose outcome is unknown has told if it happened", run: func(l *lab) {
			if l.usual != nil {
				l.Skip("the store has faults already")
			}
			a := l.held(boxed)
			for _, kind := range []storagetest.FaultKind{storagetest.Before, storagetest.Undone} {
				l.fault.Set(func(storagetest.Call) storagetest.Fault { return storagetest.Fault{Kind: kind} })
				err := a.Ack(l.ctx)
				l.fault.Set(nil)
				wants(l.T, "Ack", err, jobqueue.ErrStoreFailed)
				l.state(a.ID, jobqueue.Running)
				l.none("o")
			}
			l.fault.Set(func(storagetest.Call) storagetest.Fault { return storagetest.Fault{Kind: storagetest.After} })
			err := a.Ack(l.ctx)
			l.fault.Set(nil)
			wants(l.T, "Ack", err, jobqueue.ErrOutcomeUnknown)
			l.must(a.Ack(l.ctx))
			l.told("o", a.Job, jobqueue.Succeeded, 1)
			l.none("o")
		}},
		{name: "queues of an outbox exist from the enqueue on", run: func(l *lab) {
			l.add("q", boxed)
			equal(l, "next position", l.info("o").Next, 0)
		}},
		{name: "bad outboxes are invalid", run: func(l *lab) {
			nine := make([]string, jobqueue.MaxOutbox+1)
			for i := range nine {
				nine[i] = fmt.Sprint(i)
			}
			for _, o := range [][]string{{""}, {"a", "a"}, {"\x00"}, {strings.Repeat("x", jobqueue.MaxName+1)}, nine} {
				_, err := l.b.Queue("q").Enqueue(l.ctx, jobqueue.NewJob{Outbox: o})
				l.invalid(fmt.Sprintf("outbox of %d", len(o)), err, "outbox")
			}
			_, err := l.b.Queue("q").Info(l.ctx)
			if !errors.Is(err, jobqueue.ErrNotFound) {
				l.Errorf("a refused enqueue left its queue: %v", err)
			}
		}},
	}...))
}
