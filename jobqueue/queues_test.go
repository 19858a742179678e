package jobqueue_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage"
)

func TestDelete(t *testing.T) {
	rules(t, []rule{
		{name: "a closed, done queue is deleted at once with all that was in it, more than one transaction's worth", run: func(l *lab) {
			q := l.b.Queue("q")
			jobs, err := q.EnqueueMany(l.ctx, slices.Repeat([]jobqueue.NewJob{{Payload: []byte("p")}}, 450))
			l.must(err)
			keyed := l.add("q", jobqueue.NewJob{Key: "k", Payload: make([]byte, 300<<10)})
			n, err := q.Purge(l.ctx)
			l.must(err)
			equal(l, "purged", n, 451)
			l.must(q.Close(l.ctx))
			l.must(q.Delete(l.ctx))
			l.absent(jobs[0].ID, jobqueue.ErrNotFound)
			l.absent(keyed.ID, jobqueue.ErrNotFound)
			equal(l, "contents", l.contents(), "")
			equal(l, "chunks", l.chunks(), 0)
			wants(l.T, "Delete", q.Delete(l.ctx), jobqueue.ErrNotFound)
			again := l.add("q", jobqueue.NewJob{Key: "k"})
			equal(l, "replayed", again.Replayed, false)
			equal(l, "position", again.Position, 0)
			l.pass(30 * 24 * time.Hour)
			l.state(again.ID, jobqueue.Pending)
		}},
		{name: "a queue that is open, or has something unfinished, is not deleted", run: func(l *lab) {
			q := l.b.Queue("q")
			l.add("q", jobqueue.NewJob{})
			before := l.contents()
			wants(l.T, "Delete", q.Delete(l.ctx), jobqueue.ErrWrongState)
			equal(l, "records", l.contents(), before)
			l.must(q.Close(l.ctx))
			before = l.contents()
			wants(l.T, "Delete", q.Delete(l.ctx), jobqueue.ErrWrongState)
			equal(l, "records", l.contents(), before)
		}},
		{name: "a queue with a job whose outbox is unfinished is not deleted, and nothing of it is", run: func(l *lab) {
			_, err := l.b.Queue("q").EnqueueMany(l.ctx, make([]jobqueue.NewJob, 300))
			l.must(err)
			l.add("q", jobqueue.NewJob{Outbox: []string{"o"}})
			_, err = l.b.Queue("q").Purge(l.ctx)
			l.must(err)
			l.must(l.b.Queue("q").Close(l.ctx))
			before := l.contents()
			wants(l.T, "Delete", l.b.Queue("q").Delete(l.ctx), jobqueue.ErrWrongState)
			equal(l, "records changed", l.contents() == before, true)
			l.must(l.take("o").Ack(l.ctx))
			l.must(l.b.Queue("q").Delete(l.ctx))
		}},
		{name: "a job that an outbox puts into a done queue while that is deleted is not lost, at whichever moment", run: func(l *lab) {
			for n := 1; ; n++ {
				d := l.held(jobqueue.NewJob{Outbox: []string{"o"}})
				l.must(l.b.Queue("o").Close(l.ctx))
				calls := 0
				l.spy.before(func() {
					if calls++; calls == n {
						l.must(d.Ack(l.ctx))
					}
				})
				err := l.b.Queue("o").Delete(l.ctx)
				l.spy.before(nil)
				if calls < n {
					l.must(err)
					return
				}
				if err != nil { // it came in time to be seen; else the queue has come into being again
					wants(l.T, "Delete", err, jobqueue.ErrWrongState)
				}
				l.must(l.told("o", d.Job, jobqueue.Succeeded, 1).Ack(l.ctx))
				l.must(l.b.Queue("o").Close(l.ctx))
				l.must(l.b.Queue("o").Delete(l.ctx))
			}
		}},
	})
}

func TestPurge(t *testing.T) {
	rules(t, []rule{
		{name: "it cancels what waits, scheduled or pending, and leaves what runs", run: func(l *lab) {
			q := l.b.Queue("q")
			d := l.held(jobqueue.NewJob{Priority: 9})
			_, err := q.EnqueueMany(l.ctx, slices.Repeat([]jobqueue.NewJob{{}, {Delay: time.Hour}}, 150))
			l.must(err)
			n, err := q.Purge(l.ctx)
			l.must(err)
			equal(l, "purged", n, 300)
			equal(l, "counts", l.info("q").Counts, jobqueue.Counts{jobqueue.Running: 1, jobqueue.Canceled: 300})
			l.must(d.Ack(l.ctx))
			n, err = q.Purge(l.ctx)
			l.must(err)
			equal(l, "purged", n, 0)
		}},
		{name: "a job that only lapsed is purged, and its late ack is canceled", run: func(l *lab) {
			d := l.held(jobqueue.NewJob{})
			l.pass(jobqueue.DefaultLease)
			_, err := l.b.Queue("q").Purge(l.ctx)
			l.must(err)
			lost(l.T, "Ack", d.Ack(l.ctx), jobqueue.JobCanceled)
		}},
		{name: "an unknown queue is not found", run: func(l *lab) {
			_, err := l.b.Queue("q").Purge(l.ctx)
			wants(l.T, "Purge", err, jobqueue.ErrNotFound)
		}},
	})
}

func TestConfigure(t *testing.T) {
	set := jobqueue.Settings{
		Limits:  jobqueue.Limits{Lease: time.Minute, MaxDeliveries: 3, Retention: time.Hour, Tombstone: -1},
		Backlog: 7, Tags: map[string]string{"a": "b"}, Status: "draining",
	}
	rules(t, []rule{
		{name: "it creates a queue, then replaces its settings, and keeps all else", run: func(l *lab) {
			q := l.b.Queue("q")
			info, created, err := q.Configure(l.ctx, set)
			l.must(err)
			equal(l, "created", created, true)
			equal(l, "status", info.Status, "draining")
			j := l.add("q", jobqueue.NewJob{})
			l.pass(time.Second)
			again, created, err := q.Configure(l.ctx, jobqueue.Settings{})
			l.must(err)
			equal(l, "created", created, false)
			equal(l, "created at", again.Created, info.Created)
			equal(l, "next", again.Next, 1)
			equal(l, "tags", len(again.Tags), 0)
			equal(l, "limits", again.Limits, jobqueue.Limits{})
			l.state(j.ID, jobqueue.Pending)
		}},
		{name: "what is not set shows as the broker's", opts: &jobqueue.Options{Backlog: 9, MaxDeliveries: 4}, run: func(l *lab) {
			_, _, err := l.b.Queue("q").Configure(l.ctx, jobqueue.Settings{Limits: jobqueue.Limits{Retention: -1}})
			l.must(err)
			e := l.info("q").Effective
			equal(l, "limits", e.Limits, jobqueue.Limits{Lease: jobqueue.DefaultLease, MaxDeliveries: 4, Retention: -1, Tombstone: jobqueue.DefaultTombstone})
			equal(l, "backlog", e.Backlog, 9)
		}},
		{name: "the caller's tags are its own", run: func(l *lab) {
			tags := map[string]string{"a": "b"}
			_, _, err := l.b.Queue("q").Configure(l.ctx, jobqueue.Settings{Tags: tags})
			l.must(err)
			tags["a"] = "c"
			equal(l, "tag", l.info("q").Tags["a"], "b")
		}},
		{name: "bad settings are invalid and create nothing", run: func(l *lab) {
			long := strings.Repeat("x", jobqueue.MaxName+1)
			for _, c := range []struct {
				field string
				set   jobqueue.Settings
			}{
				{"lease", jobqueue.Settings{Limits: jobqueue.Limits{Lease: -1}}},
				{"lease", jobqueue.Settings{Limits: jobqueue.Limits{Lease: time.Millisecond}}},
				{"lease", jobqueue.Settings{Limits: jobqueue.Limits{Lease: 13 * time.Hour}}},
				{"retention", jobqueue.Settings{Limits: jobqueue.Limits{Retention: 101 * 365 * 24 * time.Hour}}},
				{"retention", jobqueue.Settings{Limits: jobqueue.Limits{Retention: 1}}},
				{"tombstone", jobqueue.Settings{Limits: jobqueue.Limits{Tombstone: 101 * 365 * 24 * time.Hour}}},
				{"max_deliveries", jobqueue.Settings{Limits: jobqueue.Limits{MaxDeliveries: 1 << 40}}},
				{"status", jobqueue.Settings{Status: long}},
				{"tags", jobqueue.Settings{Tags: map[string]string{"": "x"}}},
			} {
				_, _, err := l.b.Queue("q").Configure(l.ctx, c.set)
				l.invalid("Configure", err, c.field)
			}
			for _, name := range []string{"", long, "a\x00b", "\xff"} {
				_, _, err := l.b.Queue(name).Configure(l.ctx, jobqueue.Settings{})
				l.invalid("Configure", err, "queue")
			}
			_, _, err := l.b.In(long).Queue("q").Configure(l.ctx, jobqueue.Settings{})
			l.invalid("Configure", err, "account")
			equal(l, "queues", len(l.queues()), 0)
		}},
	})
}

func TestExplicitQueues(t *testing.T) {
	explicit := &jobqueue.Options{ExplicitQueues: true}
	rules(t, []rule{
		{name: "an unknown queue is not found for enqueue and receive, large payloads too, and nothing comes into being", opts: explicit, run: func(l *lab) {
			q := l.b.Queue("q")
			_, err := q.Enqueue(l.ctx, jobqueue.NewJob{})
			wants(l.T, "Enqueue", err, jobqueue.ErrNotFound)
			_, err = q.Enqueue(l.ctx, jobqueue.NewJob{Payload: make([]byte, 300<<10)})
			wants(l.T, "Enqueue", err, jobqueue.ErrNotFound)
			_, err = q.TryReceive(l.ctx, nil)
			wants(l.T, "TryReceive", err, jobqueue.ErrNotFound)
			_, err = q.Receive(l.ctx, nil)
			wants(l.T, "Receive", err, jobqueue.ErrNotFound)
			equal(l, "contents", l.contents(), "")
			_, _, err = q.Configure(l.ctx, jobqueue.Settings{})
			l.must(err)
			l.add("q", jobqueue.NewJob{})
			l.take("q")
		}},
		{name: "otherwise a receive on an unknown queue waits, stores nothing, and gets the first job", run: func(l *lab) {
			l.none("q")
			next := l.parked("q")
			equal(l, "contents", l.contents(), "")
			j := l.add("q", jobqueue.NewJob{})
			equal(l, "id", next().d.ID, j.ID)
		}},
		{name: "a refused enqueue makes no queue", run: func(l *lab) {
			_, err := l.b.Queue("q").Enqueue(l.ctx, jobqueue.NewJob{Deadline: time.Now().Add(-time.Hour)})
			l.invalid("Enqueue", err, "deadline")
			equal(l, "contents", l.contents(), "")
		}},
	})
}

func TestBacklog(t *testing.T) {
	rules(t, []rule{
		{name: "it bounds what waits, scheduled and pending, not what runs or has ended", run: func(l *lab) {
			q := l.b.Queue("q")
			_, _, err := q.Configure(l.ctx, jobqueue.Settings{Backlog: 2})
			l.must(err)
			l.add("q", jobqueue.NewJob{})
			l.add("q", jobqueue.NewJob{Delay: time.Hour})
			_, err = q.Enqueue(l.ctx, jobqueue.NewJob{})
			wants(l.T, "Enqueue", err, jobqueue.ErrBacklogFull)
			l.take("q")
			l.add("q", jobqueue.NewJob{})
			_, err = q.Enqueue(l.ctx, jobqueue.NewJob{})
			wants(l.T, "Enqueue", err, jobqueue.ErrBacklogFull)
			equal(l, "counts", l.info("q").Counts, jobqueue.Counts{jobqueue.Scheduled: 1, jobqueue.Pending: 1, jobqueue.Running: 1})
		}},
		{name: "a batch that does not fit adds none", opts: &jobqueue.Options{Backlog: 2}, run: func(l *lab) {
			_, err := l.b.Queue("q").EnqueueMany(l.ctx, make([]jobqueue.NewJob, 3))
			wants(l.T, "EnqueueMany", err, jobqueue.ErrBacklogFull)
			equal(l, "contents", l.contents(), "")
		}},
		{name: "a job that comes back is not refused", opts: &jobqueue.Options{Backlog: 1}, run: func(l *lab) {
			d := l.held(jobqueue.NewJob{})
			l.add("q", jobqueue.NewJob{})
			l.must(d.Release(l.ctx, nil))
			equal(l, "pending", l.info("q").Counts[jobqueue.Pending], 2)
		}},
		{name: "the queue's wins over the broker's, and a negative one is none", opts: &jobqueue.Options{Backlog: 1}, run: func(l *lab) {
			for _, c := range []struct{ backlog, fit int }{{0, 1}, {3, 3}, {-1, 5}} {
				name := fmt.Sprint("q", c.backlog)
				_, _, err := l.b.Queue(name).Configure(l.ctx, jobqueue.Settings{Backlog: c.backlog})
				l.must(err)
				n := 0
				for range 5 {
					if _, err := l.b.Queue(name).Enqueue(l.ctx, jobqueue.NewJob{}); err == nil {
						n++
					}
				}
				equal(l, "jobs that fit", n, c.fit)
			}
		}},
		{name: "a job that a waiting receiver takes at once takes no room", opts: &jobqueue.Options{Backlog: 1}, run: func(l *lab) {
			next := l.parked("q")
			l.add("q", jobqueue.NewJob{})
			l.must(next().err)
			next = l.parked("q")
			l.add("q", jobqueue.NewJob{})
			l.must(next().err)
		}},
	})
}

func TestLooking(t *testing.T) {
	rules(t, []rule{
		{name: "counts, oldest and next are of this moment", run: func(l *lab) {
			l.add("q", jobqueue.NewJob{})
			l.pass(time.Minute)
			l.add("q", jobqueue.NewJob{Priority: 5})
			l.pass(time.Minute)
			info := l.info("q")
			equal(l, "oldest", info.Oldest, 2*time.Minute)
			equal(l, "next", info.Next, 2)
			l.take("q")
			d := l.take("q")
			equal(l, "oldest", l.info("q").Oldest, 0)
			l.must(d.Fail(l.ctx, "", ""))
			l.add("q", jobqueue.NewJob{Delay: time.Hour})
			equal(l, "counts", l.info("q").Counts, jobqueue.Counts{jobqueue.Scheduled: 1, jobqueue.Running: 1, jobqueue.Failed: 1})
		}},
		{name: "jobs are listed by id, all or of one state, page by page", run: func(l *lab) {
			q := l.b.Queue("q")
			var want []jobqueue.ID
			for range 10 {
				want = append(want, l.add("q", jobqueue.NewJob{}).ID)
			}
			for range 4 {
				l.must(l.take("q").Ack(l.ctx))
			}
			for state, want := range map[jobqueue.State][]jobqueue.ID{0: want, jobqueue.Succeeded: want[:4], jobqueue.Pending: want[4:], jobqueue.Gone: nil} {
				for _, limit := range []int{1, 3, 0} {
					var got []jobqueue.ID
					o := jobqueue.ListOptions{State: state, Limit: limit}
					for {
						jobs, next, err := q.Jobs(l.ctx, o)
						l.must(err)
						if limit > 0 && len(jobs) > limit {
							l.Errorf("page of %d: got %d jobs", limit, len(jobs))
						}
						for _, j := range jobs {
							got = append(got, j.ID)
						}
						if next == (jobqueue.ID{}) {
							break
						}
						o.After = next
					}
					if !slices.Equal(got, want) {
						l.Errorf("jobs in state %v by %d: got %v, want %v", state, limit, got, want)
					}
				}
			}
			l.pass(24 * time.Hour)
			jobs, _, err := q.Jobs(l.ctx, jobqueue.ListOptions{State: jobqueue.Gone})
			l.must(err)
			equal(l, "tombstones listed by their state", len(jobs), 4)
			jobs, _, err = q.Jobs(l.ctx, jobqueue.ListOptions{})
			l.must(err)
			equal(l, "jobs listed of any state", len(jobs), 6)
		}},
		{name: "listing what is not there, or badly, is an error", run: func(l *lab) {
			_, _, err := l.b.Queue("q").Jobs(l.ctx, jobqueue.ListOptions{})
			wants(l.T, "Jobs", err, jobqueue.ErrNotFound)
			for _, limit := range []int{-1, jobqueue.MaxBatch + 1} {
				_, _, err = l.b.Queue("q").Jobs(l.ctx, jobqueue.ListOptions{Limit: limit})
				l.invalid("Jobs", err, "limit")
				_, err = l.b.Queues(l.ctx, "", limit)
				l.invalid("Queues", err, "limit")
			}
			for _, state := range []jobqueue.State{storage.Staged, 99} {
				_, _, err = l.b.Queue("q").Jobs(l.ctx, jobqueue.ListOptions{State: state})
				l.invalid("Jobs", err, "state")
			}
			_, err = l.b.Queue("q").Info(l.ctx)
			wants(l.T, "Info", err, jobqueue.ErrNotFound)
		}},
		{name: "an upload is no job: it is neither listed nor counted among the unfinished nor found by its id", run: func(l *lab) {
			stop := make(chan struct{})
			add := later(l, func() error {
				_, err := l.b.Queue("q").Enqueue(l.ctx, jobqueue.NewJob{Body: &stalls{n: 3 << 20, stop: stop}})
				return err
			})
			equal(l, "uploads", l.staged("q"), 1)
			blob := l.spy.seen()[0]
			l.absent(blob, jobqueue.ErrNotFound)
			_, err := l.b.Cancel(l.ctx, blob)
			wants(l.T, "Cancel", err, jobqueue.ErrNotFound)
			jobs, _, err := l.b.Queue("q").Jobs(l.ctx, jobqueue.ListOptions{})
			l.must(err)
			equal(l, "jobs listed", len(jobs), 0)
			equal(l, "unfinished", l.info("q").Counts.Unfinished(), 0)
			l.must(l.b.Queue("q").Idle(l.ctx))
			l.none("q")
			close(stop)
			wants(l.T, "Enqueue", add(), errStalled)
			equal(l, "chunks", l.chunks(), 0)
		}},
		{name: "queues are listed by name, page by page, of one account", run: func(l *lab) {
			for _, name := range []string{"c", "a", "b"} {
				l.add(name, jobqueue.NewJob{})
				_, err := l.b.In("acme").Queue("x"+name).Enqueue(l.ctx, jobqueue.NewJob{})
				l.must(err)
			}
			for b, want := range map[*jobqueue.Broker]string{l.b: "a b c", l.b.In("acme"): "xa xb xc", l.b.In("acm"): "", l.b.In(""): "a b c"} {
				var got []string
				for after := ""; ; {
					page, err := b.Queues(l.ctx, after, 2)
					l.must(err)
					for _, q := range page {
						got, after = append(got, q.Name.Name), q.Name.Name
					}
					if len(page) < 2 {
						break
					}
				}
				equal(l, "queues", strings.Join(got, " "), want)
			}
		}},
	})
}
