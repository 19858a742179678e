package pgstore

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pollackq/pollack/storage"
)

// maxGroup bounds the calls that share a transaction.
const maxGroup = 512

// A call is one View or Update.
type call struct {
	ctx    context.Context
	reads  storage.Reads
	fn     func(*txn) error
	sealed atomic.Bool // by the lane, which then answers it, or by its caller who withdrew it
	ours   bool        // sealed by the lane
	done   chan struct{}
	fresh  bool      // nothing remembered is used any more
	strict bool      // nothing is taken for granted any more: see txn.strict
	since  time.Time // when it was begun
	rivals int       // how often others were quicker
	losses int       // how often the connection was lost
	waits  int       // how often what it wants was locked

	inside    bool // its function is running
	elsewhere bool // another goroutine answers it, or will bring it back
	result
}

// A result is what became of a call.
type result struct {
	err      error
	panicked any
	panics   bool
	wrote    bool
	put      bool // it is to be run in a transaction of its own
	held     bool // others have locked what it wants to change: it is to be run again a little later
}

// A lane is a line of calls, of which those that wait together are run together, by one goroutine.
type lane struct {
	run func([]*call) // answers each

	mu      sync.Mutex
	pending []*call
	closed  bool
	away    int // calls that will come back

	waiting atomic.Int64  // length of pending
	wake    chan struct{} // has room for one
	stopped chan struct{} // closed when the goroutine has ended
}

func newLane(run func([]*call)) *lane {
	l := &lane{run: run, wake: make(chan struct{}, 1), stopped: make(chan struct{})}
	go l.loop()
	return l
}

// do has a call run and returns what became of it. A call whose context ends before anything of it has been run is withdrawn; after that
// its outcome is awaited.
func (l *lane) do(ctx context.Context, r storage.Reads, fn func(*txn) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c := &call{ctx: ctx, reads: r, fn: fn, done: make(chan struct{})}
	if !l.enter(c) {
		return storage.ErrClosed
	}
	select {
	case <-c.done:
	case <-ctx.Done():
		if c.seal() {
			return ctx.Err()
		}
		<-c.done
	}
	if c.panics {
		panic(c.panicked)
	}
	return c.err
}

// seal makes a call the lane's, or its caller's, whoever comes first.
func (c *call) seal() bool { return c.sealed.CompareAndSwap(false, true) }

// take reports whether the call is the lane's, and makes it so if its caller has not withdrawn it.
func (c *call) take() bool {
	c.ours = c.ours || c.seal()
	return c.ours
}

// answer lets the caller go on.
func (c *call) answer() { close(c.done) }

func (c *call) answered() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// fail answers a call with an error, unless its caller has withdrawn it.
func (c *call) fail(err error) {
	if c.take() {
		c.result = result{err: err}
		c.answer()
	}
}

func (l *lane) enter(c *call) bool {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return false
	}
	l.pending = append(l.pending, c)
	l.waiting.Add(1)
	l.mu.Unlock()
	l.nudge()
	return true
}

// leave says that a call which the lane has taken will come back.
func (l *lane) leave() {
	l.mu.Lock()
	l.away++
	l.mu.Unlock()
}

// comeBack has a call that left stand in line again, on a lane that is closed too. nil says that it has been answered.
func (l *lane) comeBack(c *call) {
	l.mu.Lock()
	l.away--
	if c != nil {
		l.pending = append(l.pending, c)
		l.waiting.Add(1)
	}
	l.mu.Unlock()
	l.nudge()
}

func (l *lane) nudge() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// loop runs what is waiting until the lane is closed and nothing waits any more.
func (l *lane) loop() {
	ended := false
	defer func() {
		if ended {
			close(l.stopped)
			return
		}
		l.nudge()
		go l.loop()
	}()
	for {
		<-l.wake
		for l.waiting.Load() > 0 {
			l.gather()
			l.serve(l.take())
		}
		l.mu.Lock()
		over := l.closed && len(l.pending) == 0 && l.away == 0
		l.mu.Unlock()
		if ended = over; ended {
			return
		}
	}
}

// errExit says that a function did what it must not.
var errExit = errors.New("pgstore: the function has ended its goroutine")

// serve runs calls. Should a function end its goroutine, which is this one, that costs the others no more than another run.
func (l *lane) serve(calls []*call) {
	returned := false
	defer func() {
		if returned {
			return
		}
		for _, c := range calls {
			switch {
			case c.elsewhere || c.answered():
			case c.inside:
				c.fail(errExit)
			default:
				l.leave()
				l.comeBack(c)
			}
		}
	}()
	l.run(calls)
	returned = true
}

// gather lets callers that are about to call do so: it yields until the number waiting stops growing. Without it the callers whom one
// transaction has released split into two alternating halves.
func (l *lane) gather() {
	const rounds = 32
	n := l.waiting.Load()
	for range rounds {
		if n >= maxGroup {
			return
		}
		runtime.Gosched()
		m := l.waiting.Load()
		if m == n {
			return
		}
		n = m
	}
}

// take returns the calls that wait, as many as a transaction may have.
func (l *lane) take() []*call {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := min(len(l.pending), maxGroup)
	calls := append([]*call(nil), l.pending[:n]...)
	rest := copy(l.pending, l.pending[n:])
	clear(l.pending[rest:])
	l.pending = l.pending[:rest]
	l.waiting.Add(int64(-n))
	for _, c := range calls {
		c.elsewhere = false
	}
	return calls
}

// close lets no more calls in and waits until those that wait have been answered.
func (l *lane) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.nudge()
	<-l.stopped
}
