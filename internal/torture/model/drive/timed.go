package drive

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"

	"github.com/pollackq/pollack/internal/torture/model"
	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/memstore"
)

// begin is where every clock begins. What the model calls 0 is an hour before, so that no time is 0.
var begin = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

// Zero is the model's first time.
const Zero = model.Time(time.Hour)

// Since returns a time as the model has it.
func Since(t time.Time) model.Time {
	if t.IsZero() {
		return 0
	}
	return t.Sub(begin) + Zero
}

// At is the reverse of Since.
func At(t model.Time) time.Time {
	if t == 0 {
		return time.Time{}
	}
	return begin.Add(t - Zero)
}

// A Timed is a store, of any kind, whose clock is moved by hand: whoever reads in it is told the time of that clock, and all that a broker
// knows of time it knows from there. A transaction sees one time: the clock does not move while one runs.
type Timed struct {
	storage.Store
	mu     sync.RWMutex // held for reading while a transaction runs
	clock  *memstore.Clock
	alarms *memstore.Store // rings by the clock; nothing else is done with it
	yields bool
}

// NewTimed wraps a store. With yields, calls let others run before and after, so that more of them overlap.
func NewTimed(s storage.Store, yields bool) *Timed {
	clock := memstore.NewClock(begin)
	return &Timed{Store: s, clock: clock, alarms: memstore.New(&memstore.Options{Clock: clock}), yields: yields}
}

// Use has another store take the place of the one that is wrapped, such as the same one opened again. Nothing may be under way.
func (t *Timed) Use(s storage.Store) { t.Store = s }

// Unwrap returns the store that is wrapped, for storage.As.
func (t *Timed) Unwrap() storage.Store { return t.Store }

// Alarm calls fn when the clock has come to a time.
func (t *Timed) Alarm(at time.Time, fn func()) (stop func()) { return t.alarms.Alarm(at, fn) }

// View is the store's, with the clock's time.
func (t *Timed) View(ctx context.Context, r storage.Reads, fn func(storage.Reader) error) error {
	t.yield()
	defer t.yield()
	t.mu.RLock()
	defer t.mu.RUnlock()
	now := t.clock.Now()
	return t.Store.View(ctx, r, func(r storage.Reader) error { return fn(timedReader{r, now}) })
}

// Update is the store's, with the clock's time.
func (t *Timed) Update(ctx context.Context, r storage.Reads, fn func(storage.Tx) error) error {
	t.yield()
	defer t.yield()
	t.mu.RLock()
	defer t.mu.RUnlock()
	now := t.clock.Now()
	return t.Store.Update(ctx, r, func(tx storage.Tx) error { return fn(timedTx{tx, now}) })
}

func (t *Timed) yield() {
	if t.yields {
		runtime.Gosched()
	}
}

type timedReader struct {
	storage.Reader
	now time.Time
}

func (r timedReader) Now() time.Time { return r.now }

type timedTx struct {
	storage.Tx
	now time.Time
}

func (t timedTx) Now() time.Time { return t.now }

// Advance moves the clock, and returns when the store's broker has done all that has become due, which is an event: nothing in the store
// is due any more.
func (t *Timed) Advance(ctx context.Context, d time.Duration) error {
	t.mu.Lock()
	t.clock.Advance(d)
	t.mu.Unlock()
	for n := 0; ; n++ {
		var next time.Time
		err := t.Store.View(ctx, storage.Reads{}, func(r storage.Reader) (err error) {
			next, err = r.NextDue()
			return err
		})
		switch {
		case err != nil:
			return err
		case next.IsZero() || next.After(t.clock.Now()):
			return nil
		case ctx.Err() != nil:
			return errors.New("what has become due is not done")
		}
		runtime.Gosched()
	}
}
