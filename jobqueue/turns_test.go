package jobqueue_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/jobqueue"
)

// room has a ledger admit so many jobs that have not been forgotten.
func (b *ledger) room(n int) {
	b.refuse = func(*jobqueue.Job) error {
		left := n
		for _, taken := range b.taken {
			left -= taken
		}
		if left <= 0 {
			return errBroke
		}
		return nil
	}
}

// slow has the ledger take its time, with others let in.
func (b *ledger) slow(d time.Duration) {
	refuse := b.refuse
	b.refuse = func(j *jobqueue.Job) error {
		b.mu.Unlock()
		time.Sleep(d)
		b.mu.Lock()
		if refuse != nil {
			return refuse(j)
		}
		return nil
	}
}

func TestTurnsAtAdmission(t *testing.T) {
	none := jobqueue.Options{}
	for name, job := range map[string]func() jobqueue.NewJob{
		"small payload": func() jobqueue.NewJob { return jobqueue.NewJob{Key: "k", Payload: []byte("p")} },
		"small body":    func() jobqueue.NewJob { return jobqueue.NewJob{Key: "k", Body: strings.NewReader("p")} },
		"large body":    func() jobqueue.NewJob { return jobqueue.NewJob{Key: "k", Body: zeros(1 << 20)} },
		"slow body": func() jobqueue.NewJob {
			return jobqueue.NewJob{Key: "k", Body: &lazy{r: zeros(2 << 20), every: 1 << 20, nap: time.Second}}
		},
	} {
		admitting(t, "of fifty that submit one key at once, where there is room for one, the first is admitted and the others are replays: "+name, none, func(l *lab, b *ledger) {
			b.room(1)
			b.slow(time.Second)
			var all sync.WaitGroup
			var mu sync.Mutex
			n, replays, ids := 50, 0, map[jobqueue.ID]bool{}
			if strings.HasSuffix(l.Name(), "boltstore") && job().Body != nil {
				n = 10 // they write much
			}
			for range n {
				all.Go(func() {
					j, err := l.b.Queue("q").Enqueue(l.ctx, job())
					if err != nil {
						l.Errorf("Enqueue: got %v, want the job", err)
						return
					}
					mu.Lock()
					defer mu.Unlock()
					ids[j.ID] = true
					if j.Replayed {
						replays++
					}
				})
			}
			all.Wait()
			equal(l, "jobs", len(ids), 1)
			equal(l, "replays", replays, n-1)
			equal(l, "asked", b.asked, 1)
			for id := range ids {
				b.balanced(l, id)
			}
			equal(l, "uploads", l.staged("q"), 0)
			equal(l, "turns kept", l.b.Turns(), 0)
		})
	}
	admitting(t, "other keys, other accounts, other queues and jobs without a key do not wait", none, func(l *lab, b *ledger) {
		b.refuse = func(j *jobqueue.Job) error {
			if j.Name == "slow" {
				b.mu.Unlock()
				time.Sleep(time.Hour)
				b.mu.Lock()
			}
			return nil
		}
		slow := later(l, func() error {
			_, err := l.b.Queue("q").Enqueue(l.ctx, jobqueue.NewJob{Key: "k", Name: "slow"})
			return err
		})
		begun := time.Now()
		l.add("q", jobqueue.NewJob{Key: "other"})
		l.add("q", jobqueue.NewJob{Key: "k", Account: "acme"})
		l.add("r", jobqueue.NewJob{Key: "k"})
		l.add("q", jobqueue.NewJob{})
		_, err := l.b.In("acme").Queue("q").Enqueue(l.ctx, jobqueue.NewJob{Key: "k"})
		l.must(err)
		equal(l, "time it took", time.Since(begun), 0)
		equal(l, "turns", l.b.Turns(), 1)
		l.pass(time.Hour)
		l.must(slow())
		equal(l, "turns kept", l.b.Turns(), 0)
	})
	admitting(t, "when the first is refused the next is asked for, and the one after finds its job", none, func(l *lab, b *ledger) {
		b.refuse = func(j *jobqueue.Job) error {
			if b.asked == 1 {
				return errBroke
			}
			return nil
		}
		b.slow(time.Second)
		var got []func() error
		for range 3 {
			got = append(got, later(l, func() error {
				_, err := l.b.Queue("q").Enqueue(l.ctx, jobqueue.NewJob{Key: "k"})
				return err
			}))
		}
		l.pass(time.Minute)
		wants(l.T, "the first", got[0](), errBroke)
		l.must(got[1]())
		l.must(got[2]())
		equal(l, "asked", b.asked, 2)
	})
	admitting(t, "what the first has taken for nothing is given back before the next is asked for", none, func(l *lab, b *ledger) {
		b.room(1)
		b.slow(time.Second)
		first := later(l, func() error {
			_, err := l.b.Queue("q").Enqueue(l.ctx, jobqueue.NewJob{Key: "k", Deadline: time.Now().Add(time.Millisecond)})
			return err
		})
		second := later(l, func() error {
			_, err := l.b.Queue("q").Enqueue(l.ctx, jobqueue.NewJob{Key: "k"})
			return err
		})
		l.pass(time.Minute)
		l.invalid("the first", first(), "deadline")
		l.must(second())
	})
	admitting(t, "who waits for a turn goes when its context ends, or the broker shuts down, and holds up nobody", none, func(l *lab, b *ledger) {
		b.slow(30 * time.Minute)
		enqueue := func(ctx context.Context) func() error {
			return later(l, func() error {
				_, err := l.b.Queue("q").Enqueue(ctx, jobqueue.NewJob{Key: "k", Body: zeros(1 << 20)})
				return err
			})
		}
		first := enqueue(l.ctx)
		ctx, cancel := context.WithTimeout(l.ctx, time.Minute)
		defer cancel()
		second, third := enqueue(ctx), enqueue(l.ctx)
		l.pass(time.Minute)
		if err := second(); err != context.DeadlineExceeded {
			l.Errorf("the second: got %v, want %v as it is", err, context.DeadlineExceeded)
		}
		l.pass(time.Hour)
		l.must(first())
		l.must(third())
		equal(l, "asked", b.asked, 1)
		equal(l, "uploads", l.staged("q"), 0)

		_, err := l.b.Queue("q").Enqueue(ctx, jobqueue.NewJob{Key: "k"})
		wants(l.T, "Enqueue with a dead context", err, context.DeadlineExceeded)
		other := later(l, func() error {
			_, err := l.b.Queue("q").Enqueue(l.ctx, jobqueue.NewJob{Key: "l"})
			return err
		})
		waits := later(l, func() error {
			_, err := l.b.Queue("q").Enqueue(l.ctx, jobqueue.NewJob{Key: "l"})
			return err
		})
		l.must(l.b.Shutdown(l.ctx))
		wants(l.T, "who waits", waits(), jobqueue.ErrShutdown)
		l.pass(time.Hour)
		wants(l.T, "who was being admitted", other(), jobqueue.ErrShutdown)
		equal(l, "turns kept", l.b.Turns(), 0)
	})
	admitting(t, "a hook that panics passes its turn on, and leaves nothing", none, func(l *lab, b *ledger) {
		b.refuse = func(j *jobqueue.Job) error {
			if b.asked <= 2 {
				panic(errBroke)
			}
			return nil
		}
		for _, jobs := range [][]jobqueue.NewJob{{{Key: "k", Body: zeros(1 << 20)}}, {{Key: "j", Body: zeros(1 << 20)}, {Key: "k"}}} {
			func() {
				defer func() { equal(l, "panic", recover(), any(errBroke)) }()
				if len(jobs) == 1 {
					l.b.Queue("q").Enqueue(l.ctx, jobs[0])
				} else {
					b.asked = 1
					b.refuse = func(j *jobqueue.Job) error {
						if j.Key == "k" {
							panic(errBroke)
						}
						return nil
					}
					l.b.Queue("q").EnqueueMany(l.ctx, jobs)
				}
				l.Error("the panic was not raised again")
			}()
			equal(l, "chunks", l.chunks(), 0)
			equal(l, "uploads", l.staged("q"), 0)
			equal(l, "turns kept", l.b.Turns(), 0)
			b.balanced(l)
		}
		b.refuse = nil
		j := l.add("q", jobqueue.NewJob{Key: "k"})
		b.balanced(l, j.ID)
	})
	admitting(t, "a hook that enqueues other jobs itself is not in its own way", none, func(l *lab, b *ledger) {
		b.refuse = func(j *jobqueue.Job) error {
			if j.Key != "outer" {
				return nil
			}
			b.mu.Unlock()
			defer b.mu.Lock()
			_, err := l.b.Queue("q").Enqueue(l.ctx, jobqueue.NewJob{Key: "inner"})
			return err
		}
		l.add("q", jobqueue.NewJob{Key: "outer"})
		equal(l, "jobs", l.info("q").Counts[jobqueue.Pending], 2)
	})
	admitting(t, "a key twice in a batch, where there is room for one, is one job", none, func(l *lab, b *ledger) {
		b.room(1)
		jobs, err := l.b.Queue("q").EnqueueMany(l.ctx, []jobqueue.NewJob{{Key: "k"}, {Key: "k"}})
		l.must(err)
		equal(l, "same job", jobs[0].ID, jobs[1].ID)
		equal(l, "replayed", jobs[1].Replayed, true)
		equal(l, "asked", b.asked, 1)
		b.balanced(l, jobs[0].ID)
	})
	admitting(t, "batches with the same keys in whatever order do not wait for each other for ever", none, func(l *lab, b *ledger) {
		b.slow(time.Millisecond)
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				var jobs []jobqueue.NewJob
				for k := range 7 {
					jobs = append(jobs, jobqueue.NewJob{Key: fmt.Sprint((k*(i+1) + i) % 7)})
				}
				if _, err := l.b.Queue("q").EnqueueMany(l.ctx, jobs); err != nil {
					l.Error(err)
				}
			})
		}
		all.Wait()
		equal(l, "jobs", l.info("q").Counts[jobqueue.Pending], 7)
		equal(l, "asked", b.asked, 7)
		equal(l, "turns kept", l.b.Turns(), 0)
	})
}

// Where nobody is asked for admission, keys race in the store alone: the one whose transaction is first is the job, also of large bodies.
func TestAReplayRaceOfBodies(t *testing.T) {
	eachStore(t, func(t *testing.T, open opener) {
		l := open(nil)
		var all sync.WaitGroup
		var mu sync.Mutex
		ids, replays := map[jobqueue.ID]bool{}, 0
		for i := range 20 {
			all.Go(func() {
				body := &lazy{r: zeros(2 << 20), every: 1 << 20, nap: time.Duration(i%4) * time.Second}
				j, err := l.b.Queue("q").Enqueue(l.ctx, jobqueue.NewJob{Key: "k", Body: body})
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					l.Errorf("Enqueue: got %v, want the job", err)
				} else if ids[j.ID] = true; j.Replayed {
					replays++
				}
			})
		}
		all.Wait()
		synctest.Wait()
		equal(l, "jobs", len(ids), 1)
		equal(l, "replays", replays, 19)
		equal(l, "chunks", l.chunks(), 32)
		equal(l, "uploads", l.staged("q"), 0)
		if _, err := l.b.Queue("q").Enqueue(l.ctx, jobqueue.NewJob{Key: "k", Body: zeros(1 << 20)}); !errors.Is(err, jobqueue.ErrKeyReused) {
			l.Errorf("another body: got %v, want %v", err, jobqueue.ErrKeyReused)
		}
	})
}
