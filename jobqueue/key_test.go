package jobqueue_test

import (
	"bytes"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/jobqueue"
)

// replayed demands that enqueuing again gives the job of that id, in a state.
func (l *lab) replayed(j jobqueue.NewJob, id jobqueue.ID, state jobqueue.State) {
	l.Helper()
	before := l.contents()
	got := l.add("q", j)
	if !got.Replayed || got.ID != id || got.State != state {
		l.Errorf("enqueued again: got job %v, %v, replayed %v; want a replay of %v, %v", got.ID, got.State, got.Replayed, id, state)
	}
	if after := l.contents(); after != before {
		l.Errorf("a replay changed something:\n%s\nwas\n%s", after, before)
	}
}

func TestKeys(t *testing.T) {
	keyed := jobqueue.NewJob{Key: "k", Payload: []byte("p")}
	large := jobqueue.NewJob{Key: "k", Payload: bytes.Repeat([]byte("x"), 300<<10)}
	rules(t, []rule{
		{name: "the same key and request give the same job, whatever became of it", run: func(l *lab) {
			j := l.add("q", keyed)
			equal(l, "replayed", j.Replayed, false)
			l.replayed(keyed, j.ID, jobqueue.Pending)
			d := l.take("q")
			l.replayed(keyed, j.ID, jobqueue.Running)
			l.must(d.Complete(l.ctx, jobqueue.NewResult{Data: []byte("r")}))
			l.replayed(keyed, j.ID, jobqueue.Succeeded)
			equal(l, "result", string(l.add("q", keyed).Result.Data), "r")
			l.pass(24 * time.Hour)
			l.replayed(keyed, j.ID, jobqueue.Gone)
			l.pass(7*24*time.Hour - time.Second)
			l.replayed(keyed, j.ID, jobqueue.Gone)
			l.pass(time.Second)
			again := l.add("q", keyed)
			equal(l, "replayed", again.Replayed, false)
			if again.ID == j.ID {
				l.Errorf("id of a new job: got that of the old one")
			}
		}},
		{name: "a job that failed or was canceled is still the key's, with its failure", run: func(l *lab) {
			j := l.add("q", keyed)
			l.must(l.take("q").Fail(l.ctx, "code", ""))
			l.replayed(keyed, j.ID, jobqueue.Failed)
			equal(l, "code", l.add("q", keyed).Failure.Code, "code")
			_, err := l.b.Redrive(l.ctx, j.ID)
			l.must(err)
			l.replayed(keyed, j.ID, jobqueue.Pending)
			_, err = l.b.Cancel(l.ctx, j.ID)
			l.must(err)
			l.replayed(keyed, j.ID, jobqueue.Canceled)
		}},
		{name: "one of fifty that submit at once adds the job, the others get it", run: func(l *lab) {
			var added atomic.Int64
			var ids sync.Map
			var all sync.WaitGroup
			for range 50 {
				all.Go(func() {
					j, err := l.b.Queue("q").Enqueue(l.ctx, keyed)
					if err != nil {
						l.Error(err)
						return
					}
					if !j.Replayed {
						added.Add(1)
					}
					ids.Store(j.ID, nil)
				})
			}
			all.Wait()
			n := 0
			ids.Range(func(any, any) bool { n++; return true })
			equal(l, "jobs added", added.Load(), 1)
			equal(l, "ids", n, 1)
			equal(l, "next position", l.info("q").Next, 1)
		}},
		{name: "one of fifty that stream a large payload at once adds the job, and leaves no chunk but its own", run: func(l *lab) {
			var added atomic.Int64
			var all sync.WaitGroup
			for range 50 {
				all.Go(func() {
					j, err := l.b.Queue("q").Enqueue(l.ctx, jobqueue.NewJob{Key: "k", Body: bytes.NewReader(large.Payload)})
					if err != nil {
						l.Error(err)
					} else if !j.Replayed {
						added.Add(1)
					}
				})
			}
			all.Wait()
			equal(l, "jobs added", added.Load(), 1)
			equal(l, "chunks", l.chunks(), 5)
			equal(l, "uploads", l.staged("q"), 0)
		}},
		{name: "a key twice in one batch is one job", run: func(l *lab) {
			jobs, err := l.b.Queue("q").EnqueueMany(l.ctx, []jobqueue.NewJob{keyed, {}, keyed})
			l.must(err)
			equal(l, "id", jobs[2].ID, jobs[0].ID)
			equal(l, "replayed", jobs[2].Replayed, true)
			equal(l, "next position", l.info("q").Next, 2)
		}},
		{name: "a key means another job in another queue and for another account", run: func(l *lab) {
			for _, q := range []*jobqueue.Queue{l.b.Queue("q"), l.b.Queue("r"), l.b.In("a").Queue("q"), l.b.In("b").Queue("q")} {
				j, err := q.Enqueue(l.ctx, keyed)
				l.must(err)
				equal(l, "replayed", j.Replayed, false)
			}
			for _, account := range []string{"a", "b"} { // in a queue of the house
				job := keyed
				job.Account = account
				equal(l, "replayed", l.add("q", job).Replayed, false)
				equal(l, "replayed", l.add("q", job).Replayed, true)
			}
		}},
		{name: "a replay is answered though the queue is closed, its backlog full, or a new job would be refused", opts: &jobqueue.Options{Backlog: 1}, run: func(l *lab) {
			j := l.add("q", keyed)
			_, err := l.b.Queue("q").Enqueue(l.ctx, jobqueue.NewJob{})
			wants(l.T, "Enqueue", err, jobqueue.ErrBacklogFull)
			l.replayed(keyed, j.ID, jobqueue.Pending)
			l.must(l.b.Queue("q").Close(l.ctx))
			l.replayed(keyed, j.ID, jobqueue.Pending)
			_, err = l.b.Queue("q").Enqueue(l.ctx, jobqueue.NewJob{Key: "k", Name: "other"})
			wants(l.T, "Enqueue", err, jobqueue.ErrKeyReused)
		}},
		{name: "a replay of a large payload is answered though the queue is closed", run: func(l *lab) {
			j := l.add("q", large)
			l.must(l.b.Queue("q").Close(l.ctx))
			l.replayed(large, j.ID, jobqueue.Pending)
			l.replayed(jobqueue.NewJob{Key: "k", Body: bytes.NewReader(large.Payload)}, j.ID, jobqueue.Pending)
			equal(l, "chunks", l.chunks(), 5)
		}},
		{name: "a replay is answered after the deadline that the request names", run: func(l *lab) {
			job := jobqueue.NewJob{Key: "k", Deadline: time.Now().Add(time.Minute)}
			j := l.add("q", job)
			l.pass(time.Hour)
			l.replayed(job, j.ID, jobqueue.Failed)
		}},
		{name: "an enqueue that was refused does not use up its key", run: func(l *lab) {
			_, _, err := l.b.Queue("q").Configure(l.ctx, jobqueue.Settings{Backlog: 1})
			l.must(err)
			l.add("q", jobqueue.NewJob{})
			_, err = l.b.Queue("q").Enqueue(l.ctx, keyed)
			wants(l.T, "Enqueue", err, jobqueue.ErrBacklogFull)
			l.must(l.take("q").Ack(l.ctx))
			bad := keyed
			bad.Deadline = time.Now().Add(-time.Second)
			_, err = l.b.Queue("q").Enqueue(l.ctx, bad)
			l.invalid("Enqueue", err, "deadline")
			other := keyed
			other.Name = "another request"
			equal(l, "replayed", l.add("q", other).Replayed, false)
		}},
		{name: "another delay is another request", run: func(l *lab) {
			l.add("q", jobqueue.NewJob{Key: "k", Delay: time.Hour})
			equal(l, "replayed", l.add("q", jobqueue.NewJob{Key: "k", Delay: time.Hour}).Replayed, true)
			_, err := l.b.Queue("q").Enqueue(l.ctx, jobqueue.NewJob{Key: "k", Delay: time.Minute})
			wants(l.T, "Enqueue", err, jobqueue.ErrKeyReused)
		}},
		{name: "AnyRequest gives the key's job whatever the request", run: func(l *lab) {
			j := l.add("q", keyed)
			l.replayed(jobqueue.NewJob{Key: "k", AnyRequest: true, Payload: []byte("other"), Priority: 7}, j.ID, jobqueue.Pending)
		}},
		{name: "an empty key is none", run: func(l *lab) {
			l.add("q", jobqueue.NewJob{})
			equal(l, "replayed", l.add("q", jobqueue.NewJob{}).Replayed, false)
			_, err := l.b.JobByKey(l.ctx, jobqueue.QueueName{Name: "q"}, "")
			wants(l.T, "JobByKey", err, jobqueue.ErrNotFound)
		}},
		{name: "a job is found by its key", run: func(l *lab) {
			j := l.add("q", keyed)
			got, err := l.b.JobByKey(l.ctx, jobqueue.QueueName{Name: "q"}, "k")
			l.must(err)
			equal(l, "id", got.ID, j.ID)
			_, err = l.b.JobByKey(l.ctx, jobqueue.QueueName{Name: "r"}, "k")
			wants(l.T, "JobByKey", err, jobqueue.ErrNotFound)
		}},
		{name: "a payload from a reader is the same request as its bytes", run: func(l *lab) {
			j := l.add("q", keyed)
			l.replayed(jobqueue.NewJob{Key: "k", Body: bytes.NewReader([]byte("p"))}, j.ID, jobqueue.Pending)
		}},
		{name: "a submitter whose key is forgotten while it enqueues gets a new job with its payload, or is told to try again", run: func(l *lab) {
			job := func() jobqueue.NewJob { return jobqueue.NewJob{Key: "k", Body: &slow{bytes.NewReader(large.Payload)}} }
			l.add("q", large)
			l.must(l.take("q").Ack(l.ctx))
			l.pass(8*24*time.Hour - time.Second) // the key is known now, and no more when the payload has been read
			j, err := l.b.Queue("q").Enqueue(l.ctx, job())
			if err != nil {
				wants(l.T, "Enqueue", err, jobqueue.ErrBusy)
				if j, err = l.b.Queue("q").Enqueue(l.ctx, job()); err != nil {
					l.Fatal(err)
				}
			}
			equal(l, "replayed", j.Replayed, false)
			p, err := l.take("q").Payload(l.ctx)
			l.must(err)
			equal(l, "payload is that of the request", bytes.Equal(p, large.Payload), true)
		}},
	})
}

// slow is a reader that takes a minute before it begins.
type slow struct{ r *bytes.Reader }

func (s *slow) Read(p []byte) (int, error) {
	if s.r.Size() == int64(s.r.Len()) {
		time.Sleep(time.Minute)
		synctest.Wait()
	}
	return s.r.Read(p)
}

func TestWhatMakesARequestAnother(t *testing.T) {
	at := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	base := jobqueue.NewJob{
		Key: "k", Payload: []byte("p"), ContentType: "text/plain", Name: "n", Tags: map[string]string{"a": "b", "c": "d"},
		Priority: 1, RunAt: at, Deadline: at.Add(time.Hour),
	}
	for _, c := range []struct {
		name   string
		change func(*jobqueue.NewJob)
		other  bool
	}{
		{"nothing", func(*jobqueue.NewJob) {}, false},
		{"payload", func(j *jobqueue.NewJob) { j.Payload = []byte("q") }, true},
		{"content type", func(j *jobqueue.NewJob) { j.ContentType = "text/html" }, true},
		{"name", func(j *jobqueue.NewJob) { j.Name = "" }, true},
		{"a tag's value", func(j *jobqueue.NewJob) { j.Tags = map[string]string{"a": "b", "c": "e"} }, true},
		{"the border between tags", func(j *jobqueue.NewJob) { j.Tags = map[string]string{"a": "bc", "d": ""} }, true},
		{"a tag's name", func(j *jobqueue.NewJob) { j.Tags = map[string]string{"b": "b", "c": "d"} }, true},
		{"no tags", func(j *jobqueue.NewJob) { j.Tags = nil }, true},
		{"priority", func(j *jobqueue.NewJob) { j.Priority = 2 }, true},
		{"time", func(j *jobqueue.NewJob) { j.RunAt = at.Add(time.Second) }, true},
		{"delay instead of time", func(j *jobqueue.NewJob) { j.RunAt, j.Delay = time.Time{}, time.Hour }, true},
		{"deadline", func(j *jobqueue.NewJob) { j.Deadline = at.Add(time.Minute) }, true},
		{"the time's zone", func(j *jobqueue.NewJob) { j.RunAt = at.In(time.FixedZone("x", 3600)) }, false},
		{"limits, outbox and Once", func(j *jobqueue.NewJob) { j.MaxDeliveries, j.Outbox, j.Once = 3, []string{"o"}, true }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachStore(t, func(t *testing.T, open opener) {
				l := open(nil)
				l.add("q", base)
				job := base
				c.change(&job)
				j, err := l.b.Queue("q").Enqueue(l.ctx, job)
				if c.other {
					wants(l.T, "Enqueue", err, jobqueue.ErrKeyReused)
				} else {
					l.must(err)
					equal(l, "replayed", j.Replayed, true)
				}
				equal(l, "next position", l.info("q").Next, 1)
			})
		})
	}
}
