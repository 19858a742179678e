package jobqueue_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/memstore"
)

// A listener is a store that notes what functions read without having said so before (storage.Reads), which on a store across a network is a trip
// that all who share the transaction wait for.
type listener struct {
	storage.Store
	silent []string // what was read so since it was last looked at
	added  int      // jobs, by functions that failed
}

func (s *listener) View(ctx context.Context, r storage.Reads, fn func(storage.Reader) error) error {
	return s.Store.View(ctx, r, func(rd storage.Reader) error { return fn(&heardReader{rd, s.begin(r)}) })
}

func (s *listener) Update(ctx context.Context, r storage.Reads, fn func(storage.Tx) error) error {
	return s.Store.Update(ctx, r, func(tx storage.Tx) error {
		h := s.begin(r)
		err := fn(&heardTx{tx, heardReader{tx, h}})
		if err != nil {
			s.added += h.added
		}
		return err
	})
}

// heard is what one transaction's function may read.
type heard struct {
	s      *listener
	reads  storage.Reads
	jobs   []storage.ID
	queues []storage.QueueName
	added  int
}

func (s *listener) begin(r storage.Reads) *heard {
	return &heard{s: s, reads: r, jobs: slices.Clone(r.Jobs), queues: slices.Clone(r.Queues)}
}

// job notes that a job is known, and by that what may be read of it.
func (h *heard) job(j *storage.Job) {
	h.jobs = append(h.jobs, j.ID)
	h.queues = append(h.queues, j.Queue)
	if h.reads.Ends {
		h.jobs = append(h.jobs, j.Origin)
		for _, o := range j.Outbox {
			h.queues = append(h.queues, storage.QueueName{Name: o})
		}
	}
}

func (h *heard) silently(format string, args ...any) {
	h.s.silent = append(h.s.silent, fmt.Sprintf(format, args...))
}

type heardReader struct {
	storage.Reader
	h *heard
}

func (r *heardReader) Job(id storage.ID) (*storage.Job, error) {
	j, err := r.Reader.Job(id)
	if !slices.Contains(r.h.jobs, id) {
		r.h.silently("a job, %+v", j)
	}
	if err == nil {
		r.h.job(j)
	}
	return j, err
}

func (r *heardReader) JobByKey(k storage.Key) (*storage.Job, error) {
	if !slices.Contains(r.h.reads.Keys, k) {
		r.h.silently("the key %v", k)
	}
	j, err := r.Reader.JobByKey(k)
	if err == nil {
		r.h.job(j)
	}
	return j, err
}

func (r *heardReader) Ready(q storage.QueueName, max int) ([]*storage.Job, error) {
	jobs, err := r.Reader.Ready(q, max)
	if r.h.reads.Ready < len(jobs) || r.h.reads.Ready == 0 || r.h.reads.Queues[0] != q {
		r.h.silently("what is ready in %v", q)
	}
	for _, j := range jobs {
		r.h.job(j)
	}
	return jobs, err
}

func (r *heardReader) Payload(j *storage.Job) ([]byte, error) {
	if !r.h.reads.Payloads {
		r.h.silently("a payload")
	}
	return r.Reader.Payload(j)
}

func (r *heardReader) Queue(q storage.QueueName) (*storage.Queue, error) {
	if !slices.Contains(r.h.queues, q) {
		r.h.silently("the queue %v", q)
	}
	return r.Reader.Queue(q)
}

func (r *heardReader) Counts(q storage.QueueName) (storage.Counts, error) {
	if !slices.Contains(r.h.queues, q) {
		r.h.silently("the counts of %v", q)
	}
	return r.Reader.Counts(q)
}

type heardTx struct {
	storage.Tx
	r heardReader
}

func (t *heardTx) Job(id storage.ID) (*storage.Job, error)            { return t.r.Job(id) }
func (t *heardTx) JobByKey(k storage.Key) (*storage.Job, error)       { return t.r.JobByKey(k) }
func (t *heardTx) Payload(j *storage.Job) ([]byte, error)             { return t.r.Payload(j) }
func (t *heardTx) Queue(q storage.QueueName) (*storage.Queue, error)  { return t.r.Queue(q) }
func (t *heardTx) Counts(q storage.QueueName) (storage.Counts, error) { return t.r.Counts(q) }
func (t *heardTx) Ready(q storage.QueueName, max int) ([]*storage.Job, error) {
	return t.r.Ready(q, max)
}

func (t *heardTx) Due(until time.Time, max int) ([]*storage.Job, error) {
	jobs, err := t.Tx.Due(until, max)
	for _, j := range jobs {
		t.r.h.job(j)
	}
	return jobs, err
}

func (t *heardTx) AddJob(j *storage.Job, payload []byte) (*storage.Job, error) {
	j, err := t.Tx.AddJob(j, payload)
	if err == nil {
		t.r.h.added++
		t.r.h.job(j)
	}
	return j, err
}

func TestReadsNameWhatIsRead(t *testing.T) {
	for _, c := range []struct {
		name string
		jobs int // that wait before, of queue q
		run  func(l *lab, q *jobqueue.Queue) error
	}{
		{"Enqueue", 0, func(l *lab, q *jobqueue.Queue) error {
			_, err := q.Enqueue(l.ctx, jobqueue.NewJob{})
			return err
		}},
		{"Enqueue with a key, an outbox and a large payload", 0, func(l *lab, q *jobqueue.Queue) error {
			_, err := q.Enqueue(l.ctx, jobqueue.NewJob{Key: "k", Outbox: []string{"a", "b"}, Payload: pattern(3 << 20)})
			return err
		}},
		{"EnqueueMany", 1, func(l *lab, q *jobqueue.Queue) error {
			_, err := q.EnqueueMany(l.ctx, []jobqueue.NewJob{{Key: "a"}, {Key: "b", Outbox: []string{"o"}}, {}})
			return err
		}},
		{"Enqueue for a receiver that waits", 0, func(l *lab, q *jobqueue.Queue) error {
			next := l.parked("q")
			l.spy.Store.(*listener).silent = nil
			_, err := q.Enqueue(l.ctx, jobqueue.NewJob{Payload: []byte("p")})
			l.must(next().err)
			return err
		}},
		{"Receive", 2, func(l *lab, q *jobqueue.Queue) error {
			_, err := q.TryReceive(l.ctx, nil)
			return err
		}},
		{"ReceiveMany", 2, func(l *lab, q *jobqueue.Queue) error {
			_, err := q.ReceiveMany(l.ctx, 10, nil)
			return err
		}},
		{"Receive where nothing is", 0, func(l *lab, q *jobqueue.Queue) error {
			_, err := q.TryReceive(l.ctx, nil)
			wants(l.T, "TryReceive", err, jobqueue.ErrEmpty)
			return nil
		}},
	} {
		t.Run(c.name, func(t *testing.T) { heardOn(t, c.jobs, c.run) })
	}
	for name, run := range map[string]func(l *lab, d *jobqueue.Delivery) error{
		"Ack":     func(l *lab, d *jobqueue.Delivery) error { return d.Ack(l.ctx) },
		"AckNext": func(l *lab, d *jobqueue.Delivery) error { _, err := d.AckNext(l.ctx, nil); return err },
		"Complete": func(l *lab, d *jobqueue.Delivery) error {
			return d.Complete(l.ctx, jobqueue.NewResult{Data: []byte("r")})
		},
		"Fail":     func(l *lab, d *jobqueue.Delivery) error { return d.Fail(l.ctx, "c", "m") },
		"Extend":   func(l *lab, d *jobqueue.Delivery) error { return d.Extend(l.ctx, time.Minute) },
		"Progress": func(l *lab, d *jobqueue.Delivery) error { return d.Progress(l.ctx, 0.5, "half") },
		"Release":  func(l *lab, d *jobqueue.Delivery) error { return d.Release(l.ctx, nil) },
		"Cancel":   func(l *lab, d *jobqueue.Delivery) error { _, err := l.b.Cancel(l.ctx, d.ID); return err },
		"Job":      func(l *lab, d *jobqueue.Delivery) error { _, err := l.b.Job(l.ctx, d.ID); return err },
		"Payload":  func(l *lab, d *jobqueue.Delivery) error { _, err := d.Payload(l.ctx); return err },
		"Jobs": func(l *lab, d *jobqueue.Delivery) error {
			_, _, err := l.b.Queue("q").Jobs(l.ctx, jobqueue.ListOptions{})
			return err
		},
		"Configure": func(l *lab, d *jobqueue.Delivery) error {
			_, _, err := l.b.Queue("q").Configure(l.ctx, jobqueue.Settings{Backlog: 7})
			return err
		},
		"Complete with an upload": func(l *lab, d *jobqueue.Delivery) error {
			u, err := l.b.Queue("q").Prepare(l.ctx, jobqueue.NewUpload{Key: "u", Size: -1})
			if err == nil {
				_, err = l.b.PutUpload(l.ctx, u.ID, strings.NewReader(string(pattern(2<<20))))
			}
			if err == nil {
				_, err = l.b.KeepUpload(l.ctx, u.ID, 24*time.Hour)
			}
			if err == nil {
				err = d.Complete(l.ctx, jobqueue.NewResult{Upload: u})
			}
			return err
		},
		"a lapse": func(l *lab, d *jobqueue.Delivery) error {
			l.pass(time.Hour)
			l.state(d.ID, jobqueue.Pending)
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			heardOn(t, 2, func(l *lab, q *jobqueue.Queue) error {
				d, err := q.TryReceive(l.ctx, nil)
				l.must(err)
				l.spy.Store.(*listener).silent = nil
				return run(l, d)
			})
		})
	}
}

// heardOn runs a step on a queue q that has jobs with outboxes, and wants nothing to be read that was not announced.
func heardOn(t *testing.T, jobs int, run func(l *lab, q *jobqueue.Queue) error) {
	synctest.Test(t, func(t *testing.T) {
		l := listened(t, nil)
		for range jobs {
			l.add("q", jobqueue.NewJob{Outbox: []string{"events"}, Payload: []byte("p")})
		}
		s := l.spy.Store.(*listener)
		s.silent = nil
		l.must(run(l, l.b.Queue("q")))
		if len(s.silent) > 0 {
			t.Errorf("read without having been announced: %v", strings.Join(s.silent, "; "))
		}
	})
}

// listened makes a broker on a listener.
func listened(t *testing.T, o *jobqueue.Options) *lab {
	l := &lab{T: t, ctx: t.Context(), o: o}
	l.over(memstore.New(nil))
	l.must(l.b.Shutdown(l.ctx))
	l.spy.Store = &listener{Store: l.base}
	b, err := jobqueue.New(l.spy, o)
	l.must(err)
	l.b = b
	synctest.Wait()
	t.Cleanup(l.stop)
	return l
}

// On a store that several processes share a function that fails after it has added something is run once more, alone.
func TestAJobThatTheBacklogHasNoRoomForIsNotAddedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := listened(t, &jobqueue.Options{Backlog: 2})
		l.add("q", jobqueue.NewJob{})
		l.add("q", jobqueue.NewJob{Delay: time.Hour})
		for _, j := range []jobqueue.NewJob{{}, {Key: "k"}, {Delay: time.Minute}, {Payload: pattern(3 << 20)}} {
			_, err := l.b.Queue("q").Enqueue(l.ctx, j)
			wants(t, "Enqueue", err, jobqueue.ErrBacklogFull)
		}
		if n := l.spy.Store.(*listener).added; n != 0 {
			t.Errorf("%d jobs were added and taken back, want none", n)
		}
	})
}
