package callbacks

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/pollackq/pollack/httpapi/callback"
	"github.com/pollackq/pollack/internal/torture/attack"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/boltstore"
	"github.com/pollackq/pollack/storage/memstore"
)

// Told kills a server again and again while it ends jobs and tells of their ends (I21, and of I4 that the job and the outbox move in one transaction).
//
// Each life has some processes one after the other on one store, whose calls fail at random before and after their effect, and which die at a random
// call: from then on nothing is read, written or sent. In every tenth life the store is a file, and the next process opens a copy of it as it was at the
// death. The receiver takes, refuses or drops what comes, and looks at each attempt into the store itself whether the end that it is told of is committed
// there. In the end everything that was to be told is; then each end in the store has had at least one attempt, and all of its attempts one webhook-id.
//
// What it takes for the death of a process is the end of its calls: a torn file is the business of others.
var Told = &attack.Technique{
	Name:    "told",
	Promise: "each end of a job has at least one callback, all with one webhook-id, and never one of an end that is not committed (I21)",
	Unit:    "lives",
	CI:      300,
	Release: 5_000,
	Control: 500,
	Minutes: 4,
	Run: func(r *attack.Run) {
		// More at once than processors, as most of a life is waiting.
		r.Each(8, func(unit int, rnd *rand.Rand) { live(r, unit, rnd) })
	},
}

// A life is one store and the processes on it.
type life struct {
	run  *attack.Run
	unit int

	clock *memstore.Clock // nil on a file
	path  string          // of the file
	store storage.Store   // of the process that runs
	died  int

	receiver *receiver
}

func live(r *attack.Run, unit int, rnd *rand.Rand) {
	l := &life{run: r, unit: unit, receiver: newReceiver(rnd.Uint64())}
	l.receiver.life = l
	if unit%10 == 9 {
		dir, err := os.MkdirTemp(r.Dir, "life-")
		if err != nil {
			l.bad("%v", err)
			return
		}
		defer os.RemoveAll(dir)
		l.path = filepath.Join(dir, "jobs")
		if err := l.open(); err != nil {
			l.bad("%v", err)
			return
		}
	} else {
		l.clock = memstore.NewClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
		l.store = memstore.New(&memstore.Options{Clock: l.clock})
	}
	for range 1 + rnd.IntN(4) {
		l.process(rnd)
		if err := l.again(); err != nil {
			l.bad("after %d deaths: %v", l.died, err)
			return
		}
	}
	l.rest()
	l.audit()
	if err := l.store.Close(); err != nil {
		l.bad("Close: %v", err)
	}
	r.Count("attempts", l.receiver.total())
	r.Count("deaths", int64(l.died))
}

func (l *life) bad(format string, args ...any) {
	l.run.Bad("life %d: %s", l.unit, fmt.Sprintf(format, args...))
}

func (l *life) open() error {
	late := time.Duration(l.died) * time.Hour // so that leases of the dead have lapsed
	s, err := boltstore.Open(l.path, &boltstore.Options{WallClock: func() time.Time { return time.Now().Add(late) }})
	if err != nil {
		return err
	}
	l.store = s
	return nil
}

// again has the store be found by the next process as the dead one left it.
func (l *life) again() error {
	l.died++
	if l.clock != nil {
		l.clock.Advance(time.Hour)
		return nil
	}
	p, err := os.ReadFile(l.path)
	if err != nil {
		return err
	}
	old := l.store
	l.path += "x"
	if err := os.WriteFile(l.path, p, 0o600); err != nil {
		return err
	}
	if err := old.Close(); err != nil { // which may write to the old file
		return err
	}
	return l.open()
}

const outbox = "callbacks"

// process is a server that dies.
func (l *life) process(rnd *rand.Rand) {
	m := newMortal(l.store, rnd)
	b, err := jobqueue.New(m, &jobqueue.Options{Retention: 50_000 * time.Hour})
	if err != nil { // it died while it started
		m.kill()
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	l.receiver.meets(m)
	var all sync.WaitGroup
	all.Go(func() { l.send(ctx, b) })
	seeds := []uint64{rnd.Uint64(), rnd.Uint64()}
	for _, seed := range seeds {
		all.Go(func() { work(ctx, b, rand.New(rand.NewPCG(seed, 1)), m) })
	}
	stop := l.flow()
	select {
	case <-m.dead:
	case <-time.After(30 * time.Second): // no death came: it is stopped
	}
	m.kill()
	stop()
	cancel()
	all.Wait()
	over, done := context.WithTimeout(context.Background(), time.Minute)
	defer done()
	b.Shutdown(over) // of what is in memory; the store takes nothing any more
}

// flow has time pass, where it does not by itself, until stop is called.
func (l *life) flow() (stop func()) {
	if l.clock == nil {
		return func() {}
	}
	done := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		ticks := time.NewTicker(time.Millisecond)
		defer ticks.Stop()
		for {
			select {
			case <-ticks.C:
				l.clock.Advance(500 * time.Millisecond)
			case <-done:
				return
			}
		}
	})
	return func() {
		close(done)
		all.Wait()
	}
}

// send tells of ends until ctx ends, with all attempts one after the other without a pause.
func (l *life) send(ctx context.Context, b *jobqueue.Broker) {
	for ctx.Err() == nil {
		err := callback.Send(ctx, b.Queue(outbox), &callback.Options{
			Client: l.receiver.client(), Delays: make([]time.Duration, 200), Jitter: -1, PerHost: -1, Workers: 3, Lease: 5 * time.Second,
			Message: func(context.Context, *jobqueue.Delivery) (*callback.Message, error) {
				return &callback.Message{URL: "https://receiver.test/", Secrets: []callback.Secret{secret}}, nil
			},
		})
		if errors.Is(err, jobqueue.ErrStoreFailed) || errors.Is(err, jobqueue.ErrShutdown) {
			return
		}
	}
}

// work makes jobs and ends them in all ways, until the process dies.
func work(ctx context.Context, b *jobqueue.Broker, rnd *rand.Rand, m *mortal) {
	q := b.Queue("work")
	var ended []jobqueue.ID
	for ctx.Err() == nil && !m.isDead() {
		limited, cancel := context.WithTimeout(ctx, 10*time.Second)
		j, err := q.Enqueue(limited, jobqueue.NewJob{Payload: []byte("p"), Outbox: []string{outbox}, Limits: jobqueue.Limits{MaxDeliveries: 3}})
		if err == nil && rnd.IntN(6) == 0 {
			_, err = b.Cancel(limited, j.ID)
		}
		var d *jobqueue.Delivery
		if err == nil {
			d, err = q.TryReceive(limited, nil)
		}
		if err == nil {
			switch rnd.IntN(7) { // errors are no matter: what has happened is found in the store
			case 0, 1:
				d.Ack(limited)
			case 2:
				d.Complete(limited, jobqueue.NewResult{ContentType: "application/json", Data: []byte("1")})
			case 3:
				d.Fail(limited, "code", "message")
			case 4:
				b.Cancel(limited, d.ID)
			case 5:
				d.Release(limited, nil)
			} // or it is forgotten, and its lease lapses
			ended = append(ended, d.ID)
		}
		if len(ended) > 0 && rnd.IntN(5) == 0 {
			b.Redrive(limited, one(rnd, ended...)) // most often it is not possible
		}
		cancel()
	}
}

// rest has a last process, in which nothing fails, tell all that is left to be told.
func (l *life) rest() {
	b, err := jobqueue.New(l.store, &jobqueue.Options{Retention: 50_000 * time.Hour})
	if err != nil {
		l.bad("the last process: %v", err)
		return
	}
	l.receiver.meets(nil)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var all sync.WaitGroup
	all.Go(func() { l.send(ctx, b) })
	stop := l.flow()
	if err := b.Queue(outbox).Idle(ctx); err != nil && !errors.Is(err, jobqueue.ErrNotFound) && !l.run.Over() {
		l.bad("not all is told after a minute: %v", err)
	}
	stop()
	cancel()
	all.Wait()
	if err := b.Shutdown(context.Background()); err != nil {
		l.bad("the last Shutdown: %v", err)
	}
}

// audit holds the ends in the store against what the receiver got.
func (l *life) audit() {
	var jobs []*storage.Job
	err := l.store.View(context.Background(), storage.Reads{}, func(r storage.Reader) (err error) {
		jobs, _, err = r.Jobs(storage.QueueName{Name: "work"}, 0, storage.ID{}, 100_000)
		return err
	})
	if err != nil {
		l.bad("the store cannot be read: %v", err)
	}
	ends := int64(0)
	for _, j := range jobs {
		for n := uint32(1); n <= j.Ends; n++ {
			ends++
			if ids := l.receiver.idsOf(end{j.ID, n}); len(ids) != 1 {
				l.bad("end %d of job %v (now %v) was told with the webhook-ids %v, want one", n, j.ID, j.State, ids)
			}
		}
	}
	l.run.Count("ends", ends)
}
