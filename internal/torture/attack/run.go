package attack

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"time"
)

// MaxBad is how many broken promises are told in full, and after how many a run stops.
const MaxBad = 20

// A Run is a technique at work. It is safe for concurrent use.
type Run struct {
	Seed    uint64 // what is random comes from it, as far as the machine allows
	N       int    // how many units to do, if the time allows
	Dir     string // an empty folder on a disk; removed after the run
	Control bool   // a planted fault is to be found: one finding is enough

	ctx  context.Context
	stop context.CancelFunc

	mu      sync.Mutex
	done    int
	bad     []string
	figures map[string]int64
	shown   time.Time
}

// A Result is what a run came to.
type Result struct {
	Name    string
	Seed    uint64
	Done    int
	Bad     []string         // what was broken, at most MaxBad
	Figures map[string]int64 // what else was counted
	Died    bool             // the process of the technique did not end well
	Skipped string           // why nothing was done, "" if it was
	Seconds float64
}

// Context ends when the time of the run is up, or it has found enough. Whatever is under way then is to be finished or given up without
// being counted.
func (r *Run) Context() context.Context { return r.ctx }

// Over reports whether no further unit is to be begun.
func (r *Run) Over() bool { return r.ctx.Err() != nil }

// Rand returns what unit n is to draw from.
func (r *Run) Rand(n int) *rand.Rand { return rand.New(rand.NewPCG(r.Seed, uint64(n))) }

// Each does the units 0 to N-1, so many at a time, and counts them. It begins no further one when the time is up or enough was found.
func (r *Run) Each(workers int, do func(unit int, rnd *rand.Rand)) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	next := 0
	for range workers {
		wg.Go(func() {
			for {
				mu.Lock()
				unit := next
				next++
				mu.Unlock()
				if unit >= r.N || r.Over() {
					return
				}
				do(unit, r.Rand(unit))
				r.Done(1)
			}
		})
	}
	wg.Wait()
}

// Done counts units that were done.
func (r *Run) Done(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done += n
	if now := time.Now(); now.Sub(r.shown) > 10*time.Second {
		if !r.shown.IsZero() {
			fmt.Fprintf(os.Stderr, "  %d of %d\n", r.done, r.N)
		}
		r.shown = now
	}
}

// Bad tells of a broken promise: what was expected, what was seen, and which unit shows it.
func (r *Run) Bad(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.bad) >= MaxBad {
		return
	}
	what := fmt.Sprintf(format, args...)
	fmt.Fprintln(os.Stderr, "BAD:", what)
	r.bad = append(r.bad, what)
	if r.Control || len(r.bad) == MaxBad {
		r.stop()
	}
}

// Count adds to a figure that the result names beside what was done.
func (r *Run) Count(figure string, n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.figures == nil {
		r.figures = make(map[string]int64)
	}
	r.figures[figure] += n
}

// Highest keeps the largest value of a figure.
func (r *Run) Highest(figure string, n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.figures == nil {
		r.figures = make(map[string]int64)
	}
	r.figures[figure] = max(r.figures[figure], n)
}

// Do runs a technique in this process.
func (t *Technique) Do(ctx context.Context, r *Run) Result {
	r.ctx, r.stop = context.WithCancel(ctx)
	defer r.stop()
	start := time.Now()
	t.Run(r)
	r.mu.Lock()
	defer r.mu.Unlock()
	return Result{Name: t.Name, Seed: r.Seed, Done: r.done, Bad: r.bad, Figures: r.figures, Seconds: time.Since(start).Seconds()}
}
