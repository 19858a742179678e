package jobqueue

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pollackq/pollack/longpoll"
	"github.com/pollackq/pollack/storage"
)

// A Broker is a queue server inside the process: it hands the jobs of its store to consumers, and moves them as time passes. It is a
// cheap handle: In gives others on the same queue server, each narrowed to one account. It is safe for concurrent use.
type Broker struct {
	*core
	account string
	scoped  bool // sees only the jobs and queues of account
}

// core is what all handles of one broker share.
type core struct {
	store    storage.Store
	opts     Options
	log      *slog.Logger
	lines    longpoll.Lines[QueueName, *receiver] // who waits for jobs of a queue
	idle     longpoll.Lines[QueueName, struct{}]  // who waits for a queue to have nothing unfinished
	watches  watches
	turns    turns // of enqueues that ask for admission, by key
	timeline *timeline
	stats    counters
	all      *Broker // the handle that sees every job

	notifier   storage.Notifier // nil where the store is this process's alone
	stopNotify func()
	closing    closing // what receivers of closed queues wait for

	failed   atomic.Bool // the store has, and those who waited were told
	closed   atomic.Bool // the store has been
	down     atomic.Bool // no more transactions but the broker's own
	life     sync.Mutex  // guards what follows
	draining bool
	pools    sync.WaitGroup // consumers of this process; Add only while not draining
	drained  chan struct{}  // closed when draining begins
}

// New returns a Broker on a store. One store has at most one Broker in a process; it takes up where the last one left off. The
// caller calls Shutdown and then closes the store.
func New(store storage.Store, o *Options) (*Broker, error) {
	opts, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	c := &core{store: store, opts: opts, log: opts.Logger, drained: make(chan struct{})}
	c.stats.observer, c.stats.observed = opts.Observer, o != nil && o.Observer != nil
	c.timeline = newTimeline(c)
	c.stopNotify = func() {}
	if n, ok := storage.As[storage.Notifier](store); ok {
		c.notifier, c.stopNotify = n, n.Notify(ear{c})
	}
	c.all = &Broker{core: c}
	c.timeline.start()
	return c.all, nil
}

// In returns the broker narrowed to an account: it has that account's queues, and sees the jobs that belong to it, wherever they are
// queued. Other jobs do not exist for it.
func (b *Broker) In(account string) *Broker {
	return &Broker{core: b.core, account: account, scoped: true}
}

// Account returns the account the broker is narrowed to, if it is.
func (b *Broker) Account() (account string, scoped bool) { return b.account, b.scoped }

// Queue returns a handle to a queue of the broker's account; of the house, if it is not narrowed to one. It does not look whether the
// queue exists.
func (b *Broker) Queue(name string) *Queue {
	return &Queue{b: b, name: QueueName{Account: b.account, Name: name}}
}

// MaxPayload returns the size of the largest payload, in bytes.
func (b *Broker) MaxPayload() int64 { return b.opts.MaxPayload }

// MaxResult returns the size of the largest result, in bytes.
func (b *Broker) MaxResult() int64 { return b.opts.MaxResult }

// Shutdown ends the broker's work. At once all that wait (for jobs, for changes) get ErrShutdown, and no more jobs are received; the
// workers of Consume give back what they hold and are waited for, until ctx ends; then all calls but reads get ErrShutdown. Acks are taken
// until Shutdown returns. The store stays open: its owner closes it. A second call waits likewise.
func (b *Broker) Shutdown(ctx context.Context) error {
	c := b.core
	c.life.Lock()
	if !c.draining {
		c.draining = true
		close(c.drained)
	}
	c.life.Unlock()
	c.lines.Close(ErrShutdown)
	c.idle.Close(ErrShutdown)
	c.watches.close()

	done := make(chan struct{})
	go func() { // ends with the last worker
		c.pools.Wait()
		close(done)
	}()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	c.down.Store(true)
	c.stopNotify()
	if e := c.timeline.stop(ctx); err == nil {
		err = e
	}
	return err
}

// ShuttingDown reports whether Shutdown has been called.
func (b *Broker) ShuttingDown() bool {
	select {
	case <-b.drained:
		return true
	default:
		return false
	}
}

// Healthy reports whether the broker can do its work: whether it is not shutting down and its store reads and takes transactions. It
// is meant for readiness probes. It costs one read and one transaction that writes nothing.
func (b *Broker) Healthy(ctx context.Context) error {
	if b.ShuttingDown() {
		return ErrShutdown
	}
	err := b.store.View(ctx, storage.Reads{}, func(r storage.Reader) error {
		_, err := r.NextDue()
		return err
	})
	if err == nil {
		err = b.store.Update(ctx, storage.Reads{}, func(storage.Tx) error { return nil })
	}
	return fromStore(err)
}

// view runs fn on a snapshot.
func (c *core) view(ctx context.Context, r storage.Reads, fn func(storage.Reader) error) error {
	return fromStore(c.store.View(ctx, r, fn))
}

// update runs fn in a transaction and then tells whom it concerns what has changed.
func (c *core) update(ctx context.Context, r storage.Reads, fn func(*step) error) error {
	if c.down.Load() {
		return ErrShutdown
	}
	return c.run(ctx, r, fn)
}

// run is update for the broker itself, which works until the very end.
func (c *core) run(ctx context.Context, r storage.Reads, fn func(*step) error) error {
	var begun time.Time
	if c.stats.observed {
		begun = time.Now()
	}
	s := steps.Get().(*step)
	s.core, s.fn = c, fn
	err := c.store.Update(ctx, r, s.once)
	if c.stats.observed {
		c.stats.observer.Committed(time.Since(begun), err)
	}
	if err == nil {
		if c.failed.Load() { // a shared store comes back
			c.failed.Store(false)
		}
		c.tell(&s.effects)
		s.free()
		return nil
	}
	if errors.Is(err, storage.ErrClosed) {
		c.closed.Store(true)
	}
	unknown := errors.Is(err, storage.ErrOutcomeUnknown)
	if unknown || errors.Is(err, storage.ErrFailed) || errors.Is(err, storage.ErrClosed) {
		if unknown || !c.failed.Swap(true) { // those who wait look: it may have happened, or they learn that the store has failed
			if c.notifier != nil {
				c.log.Warn("the shared store failed; it comes back by itself", "error", err)
			} else {
				c.log.Error("the store failed; it must be opened again", "error", err)
			}
			c.lines.BroadcastAll()
			c.idle.BroadcastAll()
			c.watches.notifyAll()
		}
		if unknown && !s.due.IsZero() {
			c.timeline.at(s.due, s.effects.now)
		}
	}
	return fromStore(err)
}

// over reports whether an error says that the store will never work again: it was closed, or has failed and is no shared one, which comes
// back by itself.
func (c *core) over(err error) bool {
	return errors.Is(err, ErrStoreFailed) && (c.notifier == nil || c.closed.Load())
}
