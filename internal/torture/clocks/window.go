package clocks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/boltstore"
	"github.com/pollackq/pollack/storage/memstore"
)

// A bench is a queue in a bubble, with the one job that is leased.
type bench struct {
	ctx context.Context
	rnd *rand.Rand
	b   *jobqueue.Broker
	q   *jobqueue.Queue

	d    *jobqueue.Delivery // the latest; its lease has just begun
	want jobqueue.Stats     // what must have been counted
	told map[string]int64
}

const (
	window = jobqueue.DefaultLease
	kept   = time.Hour // ended jobs, and then their tombstones: so that the store stays small
)

// liveWindows lives n windows in the bubble that it is called in.
func liveWindows(rnd *rand.Rand, n int, kind, dir string, out *json.Encoder) (err error) {
	var store storage.Store = memstore.New(nil)
	if kind == "file" {
		path := filepath.Join(dir, fmt.Sprintf("century-%d.db", os.Getpid()))
		if store, err = boltstore.Open(path, nil); err != nil {
			return err
		}
		defer os.Remove(path)
	}
	defer store.Close()
	b, err := jobqueue.New(store, &jobqueue.Options{Retention: kept, Tombstone: kept})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer func() { cancel(); b.Shutdown(context.Background()) }()
	l := &bench{ctx: ctx, rnd: rnd, b: b, q: b.Queue("q"), told: map[string]int64{}}
	if err := l.begin(); err != nil {
		return err
	}
	const often = 1_000
	for i := range n {
		if err := l.live(); err != nil {
			return fmt.Errorf("window %d, at %v: %w", i, time.Now().UTC(), err)
		}
		if i%often == often-1 || i == n-1 {
			if err := l.count(); err != nil {
				return fmt.Errorf("window %d: %w", i, err)
			}
			out.Encode(report{Windows: i%often + 1, Figures: l.told})
			clear(l.told)
		}
	}
	l.pass(2*kept + window)
	l.want.Lapsed++
	if err := l.count(); err != nil {
		return err
	}
	return store.(storage.Checker).Check(ctx)
}

// begin enqueues the next job and has it delivered.
func (l *bench) begin() error {
	if _, err := l.q.Enqueue(l.ctx, jobqueue.NewJob{}); err != nil {
		return err
	}
	l.want.Enqueued++
	d, err := l.q.TryReceive(l.ctx, nil)
	if err != nil {
		return err
	}
	return l.granted(d, 1, 0)
}

// granted takes a delivery that was made just now.
func (l *bench) granted(d *jobqueue.Delivery, deliveries, lapses int) error {
	l.want.Delivered++
	now := time.Now().Truncate(time.Microsecond)
	if !d.Started.Equal(now) || !d.LeaseExpires.Equal(now.Add(window)) || d.Deliveries != deliveries || d.Lapses != lapses {
		return fmt.Errorf("delivered at %v: got %v until %v as number %d after %d lapses, want %d after %d", now, d.Started, d.LeaseExpires,
			d.Deliveries, d.Lapses, deliveries, lapses)
	}
	if l.d != nil && l.d.Token == d.Token {
		return errors.New("the token of the last delivery was given again")
	}
	l.d = d
	return nil
}

func (l *bench) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// A waiter is somebody who waits for a job.
type waiter struct {
	d   *jobqueue.Delivery
	err error
	got bool
}

func (l *bench) park() *waiter {
	w := new(waiter)
	go func() {
		w.d, w.err = l.q.Receive(l.ctx, nil)
		w.got = true
	}()
	synctest.Wait()
	return w
}

// instant is the least that time can be told apart by.
const instant = time.Microsecond

// live lives one window, from the moment at which a lease began.
func (l *bench) live() error {
	old := l.d
	switch what := l.rnd.IntN(100); {
	case what < 50:
		l.told["lapsed while somebody waited"]++
		return l.lapse(l.rnd.IntN(4) == 0)
	case what < 60:
		l.told["acked just before the end"]++
		l.pass(window - instant)
		return l.ack()
	case what < 70:
		l.told["acked just after the end"]++
		l.pass(window + time.Duration(l.rnd.IntN(2))*instant)
		l.want.Lapsed++
		return l.ack()
	case what < 80:
		l.told["lapsed while nobody waited"]++
		l.pass(window)
		l.want.Lapsed++
		d, err := l.q.TryReceive(l.ctx, nil)
		if err != nil {
			return fmt.Errorf("after the lapse: %w", err)
		}
		return l.granted(d, old.Deliveries+1, old.Lapses+1)
	case what < 90:
		l.told["extended just before the end"]++
		l.pass(window - instant)
		if err := l.d.Extend(l.ctx, window); err != nil {
			return fmt.Errorf("extending in the last instant: %w", err)
		}
		return l.lapse(false)
	case what < 95:
		l.told["extended just after the end"]++
		l.pass(window)
		l.want.Lapsed++
		var lost *jobqueue.LeaseLostError
		if err := l.d.Extend(l.ctx, window); !errors.As(err, &lost) || lost.Reason != jobqueue.LeaseLapsed {
			return fmt.Errorf("extending just after the end: got %v, want a lapsed lease", err)
		}
		return l.ack()
	default:
		l.told["released for as long"]++
		if err := l.d.Release(l.ctx, &jobqueue.ReleaseOptions{Delay: window}); err != nil {
			return err
		}
		return l.redelivered(old, old.Lapses)
	}
}

// lapse has somebody wait for the end of a lease that began just now; the holder acks when it is too late, or not at all.
func (l *bench) lapse(late bool) error {
	old := l.d
	l.want.Lapsed++
	if err := l.redelivered(old, old.Lapses+1); err != nil || !late {
		return err
	}
	var lost *jobqueue.LeaseLostError
	if err := old.Ack(l.ctx); !errors.As(err, &lost) || lost.Reason != jobqueue.Redelivered {
		return fmt.Errorf("an ack of the delivery before: got %v, want it redelivered", err)
	}
	return nil
}

// redelivered demands that somebody who waits gets the job when a window is over, and not an instant before.
func (l *bench) redelivered(old *jobqueue.Delivery, lapses int) error {
	w := l.park()
	l.pass(window - instant)
	if w.got {
		return fmt.Errorf("redelivered before the end: %v, %v", w.d, w.err)
	}
	l.pass(instant)
	if !w.got || w.err != nil {
		l.pass(time.Second)
		return fmt.Errorf("not redelivered at the end of the window; %t, %v a second later", w.got, w.err)
	}
	return l.granted(w.d, old.Deliveries+1, lapses)
}

// ack ends the job, twice. Whoever waits afterwards must get the next job and no other.
func (l *bench) ack() error {
	for range 2 {
		if err := l.d.Ack(l.ctx); err != nil {
			return fmt.Errorf("an ack: %w", err)
		}
	}
	l.want.Succeeded++
	w := l.park()
	l.pass(time.Second)
	if w.got {
		return fmt.Errorf("delivered after the ack: %v, %v", w.d, w.err)
	}
	if _, err := l.q.Enqueue(l.ctx, jobqueue.NewJob{}); err != nil {
		return err
	}
	l.want.Enqueued++
	synctest.Wait()
	if !w.got || w.err != nil {
		return fmt.Errorf("a job was enqueued, and whoever waited got %t, %v", w.got, w.err)
	}
	return l.granted(w.d, 1, 0)
}

// count compares what the broker and the queue have counted with what was done.
func (l *bench) count() error {
	if got := l.b.Stats(); got != l.want {
		return fmt.Errorf("counted %+v, want %+v", got, l.want)
	}
	info, err := l.q.Info(l.ctx)
	if err != nil {
		return err
	}
	if n := info.Counts.Unfinished(); n != 1 || info.Next != l.want.Enqueued {
		return fmt.Errorf("the queue has %d unfinished jobs and position %d next, want 1 and %d", n, info.Next, l.want.Enqueued)
	}
	return nil
}
