package jobqueue_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/storagetest"
)

// A ledger admits jobs as something that takes money does: it counts for each id, and must end with exactly the jobs that there are.
type ledger struct {
	mu     sync.Mutex // guards what follows
	taken  map[jobqueue.ID]int
	asked  int
	last   *jobqueue.Job
	refuse func(j *jobqueue.Job) error
	dead   int // calls of forget with a context that had ended
}

var errBroke = errors.New("no money left")

func (b *ledger) admit(_ context.Context, j *jobqueue.Job) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked++
	b.last = j
	if b.refuse != nil {
		if err := b.refuse(j); err != nil {
			return err
		}
	}
	b.taken[j.ID]++
	return nil
}

func (b *ledger) forget(ctx context.Context, id jobqueue.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.taken[id]--
	if ctx.Err() != nil {
		b.dead++
	}
}

// balanced demands that the ledger has taken for exactly these jobs, once each.
func (b *ledger) balanced(l *lab, jobs ...jobqueue.ID) {
	l.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	left := 0
	for id, n := range b.taken {
		if n < 0 {
			l.Errorf("job %v was forgotten more often than admitted", id)
		}
		left += n
	}
	equal(l, "admitted and not forgotten", left, len(jobs))
	for _, id := range jobs {
		equal(l, "times that an existing job was admitted", b.taken[id], 1)
	}
	equal(l, "calls of Forget with a dead context", b.dead, 0)
}

// admitting runs a test with a ledger on each kind of store.
func admitting(t *testing.T, name string, o jobqueue.Options, run func(l *lab, b *ledger)) {
	t.Run(name, func(t *testing.T) {
		eachStore(t, func(t *testing.T, open opener) {
			b := &ledger{taken: map[jobqueue.ID]int{}}
			o.Admit, o.Forget = b.admit, b.forget
			run(open(&o), b)
		})
	})
}

func TestAdmission(t *testing.T) {
	none := jobqueue.Options{}
	admitting(t, "a new job is asked for once, with what is known of it", none, func(l *lab, b *ledger) {
		j := l.add("pool", jobqueue.NewJob{Payload: []byte("12345"), Account: "acme", Key: "k", Name: "n", Priority: 3, Tags: map[string]string{"a": "b"}})
		equal(l, "asked", b.asked, 1)
		if b.last.ID != j.ID || b.last.Account != "acme" || b.last.Queue.Name != "pool" || b.last.Key != "k" || b.last.Size != 5 || b.last.Name != "n" ||
			b.last.Priority != 3 || b.last.Tags["a"] != "b" || b.last.Created.IsZero() {
			l.Errorf("job that Admit was asked about: got %+v, want it like %+v", b.last, j)
		}
		b.balanced(l, j.ID)
	})
	admitting(t, "a replay is not asked for, also where the job is long gone", none, func(l *lab, b *ledger) {
		j := l.add("q", jobqueue.NewJob{Key: "k"})
		l.add("q", jobqueue.NewJob{Key: "k"})
		l.must(l.take("q").Ack(l.ctx))
		l.pass(48 * time.Hour)
		l.add("q", jobqueue.NewJob{Key: "k"})
		equal(l, "asked", b.asked, 1)
		b.balanced(l, j.ID)
	})
	admitting(t, "a replay is answered though a new job would be refused", none, func(l *lab, b *ledger) {
		l.add("q", jobqueue.NewJob{Key: "k"})
		b.refuse = func(*jobqueue.Job) error { return errBroke }
		equal(l, "replayed", l.add("q", jobqueue.NewJob{Key: "k"}).Replayed, true)
	})
	admitting(t, "a refused job leaves nothing, not even its key, and the hook's error is there", none, func(l *lab, b *ledger) {
		b.refuse = func(*jobqueue.Job) error { return errBroke }
		_, err := l.b.Queue("q").Enqueue(l.ctx, jobqueue.NewJob{Key: "k"})
		wants(l.T, "Enqueue", err, jobqueue.ErrRefused)
		wants(l.T, "Enqueue", err, errBroke)
		equal(l, "contents", l.contents(), "")
		b.balanced(l)
		b.refuse = nil
		j := l.add("q", jobqueue.NewJob{Key: "k", Name: "another request"})
		b.balanced(l, j.ID)
	})
	admitting(t, "a refused job with a large payload leaves no chunk", none, func(l *lab, b *ledger) {
		b.refuse = func(*jobqueue.Job) error { return errBroke }
		_, err := l.b.Queue("q").Enqueue(l.ctx, jobqueue.NewJob{Body: zeros(3 << 20)})
		wants(l.T, "Enqueue", err, errBroke)
		equal(l, "chunks", l.chunks(), 0)
		equal(l, "uploads", l.staged("q"), 0)
	})
	admitting(t, "a batch of which one is refused is none, and the others are forgotten", none, func(l *lab, b *ledger) {
		b.refuse = func(j *jobqueue.Job) error {
			if j.Name == "bad" {
				return errBroke
			}
			return nil
		}
		_, err := l.b.Queue("q").EnqueueMany(l.ctx, []jobqueue.NewJob{{}, {Body: zeros(1 << 20)}, {Name: "bad"}, {}})
		wants(l.T, "EnqueueMany", err, errBroke)
		equal(l, "chunks", l.chunks(), 0)
		equal(l, "uploads", l.staged("q"), 0)
		b.balanced(l)
	})
	admitting(t, "a hook that says that its own outcome is unknown has the rest of the batch forgotten", none, func(l *lab, b *ledger) {
		b.refuse = func(j *jobqueue.Job) error {
			if j.Name == "bad" {
				return fmt.Errorf("ledger: %w", jobqueue.ErrOutcomeUnknown)
			}
			return nil
		}
		_, err := l.b.Queue("q").EnqueueMany(l.ctx, []jobqueue.NewJob{{}, {Name: "bad"}})
		wants(l.T, "EnqueueMany", err, jobqueue.ErrRefused)
		b.balanced(l)
	})
	admitting(t, "what is refused after admission is forgotten: closed, full, a deadline that has passed, a batch with a used key", none, func(l *lab, b *ledger) {
		broken := make(chan struct{})
		close(broken)
		_, _, err := l.b.Queue("full").Configure(l.ctx, jobqueue.Settings{Backlog: 1})
		l.must(err)
		_, _, err = l.b.Queue("closed").Configure(l.ctx, jobqueue.Settings{})
		l.must(err)
		l.must(l.b.Queue("closed").Close(l.ctx))
		in := l.add("full", jobqueue.NewJob{Key: "used"}).ID
		for _, c := range []struct {
			queue string
			jobs  []jobqueue.NewJob
			want  error
		}{
			{"full", []jobqueue.NewJob{{}}, jobqueue.ErrBacklogFull},
			{"full", []jobqueue.NewJob{{Body: zeros(1 << 20)}}, jobqueue.ErrBacklogFull},
			{"closed", []jobqueue.NewJob{{Key: "a"}}, jobqueue.ErrQueueClosed},
			{"closed", []jobqueue.NewJob{{Body: zeros(1 << 20)}}, jobqueue.ErrQueueClosed},
			{"other", []jobqueue.NewJob{{Deadline: time.Now()}}, jobqueue.ErrInvalid},
			{"full", []jobqueue.NewJob{{Key: "used", Name: "other"}}, jobqueue.ErrKeyReused},
			{"full", []jobqueue.NewJob{{}, {Key: "used", Name: "other"}}, jobqueue.ErrBacklogFull},
			{"other", []jobqueue.NewJob{{Key: "twice"}, {Key: "twice", Name: "other"}}, jobqueue.ErrKeyReused},
			{"other", []jobqueue.NewJob{{}, {Body: &stalls{n: 1, stop: broken}}}, errStalled},
			{"other", []jobqueue.NewJob{{}, {Payload: make([]byte, 65<<20)}}, jobqueue.ErrTooLarge},
		} {
			_, err := l.b.Queue(c.queue).EnqueueMany(l.ctx, c.jobs)
			wants(l.T, "EnqueueMany into "+c.queue, err, c.want)
			b.balanced(l, in)
			equal(l, "chunks", l.chunks(), 0)
		}
	})
	admitting(t, "an unknown queue's job is forgotten where queues are explicit", jobqueue.Options{ExplicitQueues: true}, func(l *lab, b *ledger) {
		_, err := l.b.Queue("q").Enqueue(l.ctx, jobqueue.NewJob{})
		wants(l.T, "Enqueue", err, jobqueue.ErrNotFound)
		b.balanced(l)
	})
	admitting(t, "a key twice in a batch is admitted for one job", none, func(l *lab, b *ledger) {
		jobs, err := l.b.Queue("q").EnqueueMany(l.ctx, []jobqueue.NewJob{{Key: "k"}, {Key: "k"}})
		l.must(err)
		b.balanced(l, jobs[0].ID)
	})
	admitting(t, "of fifty that submit one key at once exactly one stays admitted", none, func(l *lab, b *ledger) {
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				if _, err := l.b.Queue("q").Enqueue(l.ctx, jobqueue.NewJob{Key: "k"}); err != nil {
					l.Error(err)
				}
			})
		}
		all.Wait()
		j, err := l.b.JobByKey(l.ctx, jobqueue.QueueName{Name: "q"}, "k")
		l.must(err)
		b.balanced(l, j.ID)
	})
	admitting(t, "a job whose submitter goes away while it is admitted is forgotten, with a context that lives", none, func(l *lab, b *ledger) {
		ctx, cancel := context.WithCancel(l.ctx)
		b.refuse = func(*jobqueue.Job) error { cancel(); return nil }
		_, err := l.b.Queue("q").Enqueue(ctx, jobqueue.NewJob{Body: zeros(1 << 20)})
		if err != context.Canceled {
			l.Errorf("Enqueue: got %v, want %v as it is", err, context.Canceled)
		}
		b.balanced(l)
		equal(l, "chunks", l.chunks(), 0)
	})
	admitting(t, "a job that the broker's shutdown keeps out is forgotten", none, func(l *lab, b *ledger) {
		b.refuse = func(*jobqueue.Job) error { return l.b.Shutdown(l.ctx) }
		_, err := l.b.Queue("q").Enqueue(l.ctx, jobqueue.NewJob{})
		wants(l.T, "Enqueue", err, jobqueue.ErrShutdown)
		b.balanced(l)
	})
	t.Run("where there is no Forget nothing is undone", func(t *testing.T) {
		eachStore(t, func(t *testing.T, open opener) {
			l := open(&jobqueue.Options{Admit: func(context.Context, *jobqueue.Job) error { return nil }})
			_, err := l.b.Queue("q").Enqueue(l.ctx, jobqueue.NewJob{Deadline: time.Now()})
			l.invalid("Enqueue", err, "deadline")
		})
	})
}

// An enqueue of a large payload with a key and admission, with a fault at each of its calls of the store in turn.
func TestAFaultAtEveryPlaceOfAnEnqueue(t *testing.T) {
	for _, f := range []struct {
		name string
		kind storagetest.FaultKind
		err  error
		ever bool // the store stays so
		want error
	}{
		{"the call does not happen", storagetest.Before, nil, false, jobqueue.ErrStoreFailed},
		{"the call is undone", storagetest.Undone, nil, false, jobqueue.ErrStoreFailed},
		{"the store is full", storagetest.Undone, storage.ErrFull, false, jobqueue.ErrStoreFull},
		{"the store is full from then on", storagetest.Before, storage.ErrFull, true, jobqueue.ErrStoreFull},
		{"the store is away from then on", storagetest.Before, errDisk, true, errDisk},
		{"the outcome is unknown", storagetest.After, nil, false, jobqueue.ErrOutcomeUnknown},
	} {
		admitting(t, f.name, jobqueue.Options{}, func(l *lab, b *ledger) {
			if l.usual != nil {
				l.Skip("the store has faults already")
			}
			for n := uint64(1); ; n++ {
				before, reading := l.fault.Calls(), false
				l.fault.Set(func(c storagetest.Call) storagetest.Fault {
					if c.N == before+n {
						reading = !c.Update
					}
					if c.N == before+n || f.ever && c.N > before+n {
						return storagetest.Fault{Kind: f.kind, Err: f.err}
					}
					return storagetest.Fault{}
				})
				key := fmt.Sprint(n)
				b.taken = map[jobqueue.ID]int{}
				_, err := l.b.Queue("q").Enqueue(l.ctx, jobqueue.NewJob{Key: key, Body: zeros(3 << 20)})
				l.fault.Set(nil)
				if err == nil && l.fault.Calls() < before+n {
					if n < 6 {
						l.Errorf("an enqueue of 3 MiB took %d calls, want at least 5", n-1)
					}
					return
				}
				j, missing := l.b.JobByKey(l.ctx, jobqueue.QueueName{Name: "q"}, key)
				chunks := 0
				switch {
				case missing == nil: // it is there, whole
					chunks = 48
					b.balanced(l, j.ID)
					if err != nil {
						wants(l.T, "Enqueue", err, jobqueue.ErrOutcomeUnknown)
					}
					p, err := l.b.Payload(l.ctx, j.ID)
					l.must(err)
					equal(l, "size", p.Size(), 3<<20)
				case err == nil:
					l.Errorf("Enqueue with a fault at call %d said that the job was there, and it is not", n)
				default:
					want := f.want
					if reading && f.kind == storagetest.After {
						want = jobqueue.ErrStoreFailed
					}
					wants(l.T, fmt.Sprintf("Enqueue with a fault at call %d", n), err, want)
					b.balanced(l)
				}
				l.pass(2 * time.Hour) // what could not be cleaned up is by the timeline
				equal(l, fmt.Sprintf("chunks after a fault at call %d", n), l.chunks(), chunks)
				equal(l, "uploads", l.staged("q"), 0)
				if missing == nil {
					_, err := l.b.Cancel(l.ctx, j.ID)
					l.must(err)
					l.pass(25 * time.Hour)
				}
			}
		})
	}
}
