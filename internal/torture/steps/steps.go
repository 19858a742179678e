// Package steps holds brokers and stores against what they should do, step by step.
//
// The technique steps has brokers on memory and on bbolt do random calls, one client to a queue, and compares each answer with that of
// package model: what is delivered next, what a token is good for, what becomes of a job whose time is over, counts, positions, times
// (I6, I7, I12, I23). Time is moved by hand, on both alike. Now and then another broker goes on, and a file is closed and opened again. Some sixty queues share a store, each with a client of its own, so that commits
// are shared; between queues nothing is compared. What it cannot find is what needs two clients of one queue: that is what the technique
// histories is for.
package steps

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"github.com/pollackq/pollack/internal/torture/attack"
	"github.com/pollackq/pollack/internal/torture/model/drive"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/boltstore"
	"github.com/pollackq/pollack/storage/memstore"
)

// Technique is steps.
var Technique = &attack.Technique{
	Name:    "steps",
	Promise: "brokers on memory and bbolt answer each call as the model does, and a key is one job, a job in one place of the order (I6, I7, I12, I23)",
	Unit:    "steps",
	CI:      200_000,
	Release: 20_000_000,
	Control: 100_000,
	Minutes: 5,
	Run:     run,
}

const (
	block  = 20_000 // steps on one store
	rounds = 40     // of the clock, in a block
)

// backends are what is held against the model, a block each in turn.
var backends = []struct {
	name  string
	lanes int
	lasts bool
	open  func(path string) (storage.Store, error)
}{
	{"memory", 16, false, func(string) (storage.Store, error) { return memstore.New(nil), nil }},
	{"bbolt", 64, true, func(path string) (storage.Store, error) { return boltstore.Open(path, nil) }},
}

func run(r *attack.Run) {
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // much is made here, and little of it kept
	blocks := (r.N + block - 1) / block
	next, left := 0, r.N
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				mu.Lock()
				n, steps := next, min(left, block)
				next++
				left -= steps
				mu.Unlock()
				if n >= blocks || r.Over() {
					return
				}
				doBlock(r, n, steps)
			}
		})
	}
	wg.Wait()
}

// A world is a store under attack, with its broker.
type world struct {
	r      *attack.Run
	bad    func(string, ...any)
	open   func() (storage.Store, error)
	lasts  bool // what it holds outlives Close
	store  storage.Store
	timed  *drive.Timed
	broker *jobqueue.Broker
}

// doBlock does so many steps on one store.
func doBlock(r *attack.Run, n, steps int) {
	backend := backends[n%len(backends)]
	path := filepath.Join(r.Dir, fmt.Sprintf("steps-%d.db", n))
	defer os.Remove(path)
	w := &world{
		r: r, lasts: backend.lasts, open: func() (storage.Store, error) { return backend.open(path) },
		bad: func(format string, args ...any) {
			r.Bad("block %d, %s: %s", n, backend.name, fmt.Sprintf(format, args...))
		},
	}
	if w.begin() {
		r.Count("steps on "+backend.name, int64(w.play(r.Rand(n), backend.lanes, steps)))
		w.end()
	}
}

// begin opens the store and makes a broker.
func (w *world) begin() bool {
	var err error
	if w.store == nil {
		if w.store, err = w.open(); err != nil {
			w.bad("open: %v", err)
			return false
		}
	}
	if w.timed == nil {
		w.timed = drive.NewTimed(w.store, false)
	}
	w.timed.Use(w.store)
	if w.broker, err = jobqueue.New(w.timed, nil); err != nil {
		w.bad("New: %v", err)
		return false
	}
	return true
}

// end shuts the broker down and closes the store, after a look whether its orders, keys and counts agree with its records (I4).
func (w *world) end() {
	if err := w.broker.Shutdown(context.Background()); err != nil {
		w.bad("Shutdown: %v", err)
	}
	if c, ok := storage.As[storage.Checker](w.store); ok {
		if err := c.Check(context.Background()); err != nil {
			w.bad("Check: %v", err)
		}
	}
	if err := w.store.Close(); err != nil {
		w.bad("Close: %v", err)
	}
	w.store = nil
}

// again has another broker go on, on the store opened again if what it holds outlives that.
func (w *world) again(lanes []*lane) bool {
	if w.lasts {
		w.end()
	} else if err := w.broker.Shutdown(context.Background()); err != nil {
		w.bad("Shutdown: %v", err)
	}
	if !w.begin() {
		return false
	}
	for _, l := range lanes {
		l.use(w.broker)
	}
	w.r.Count("openings in between", 1)
	return true
}

// play has each lane do its steps, all at once, and moves the clock whenever they have come to the end of a round. It returns how many
// steps there were.
func (w *world) play(rnd *rand.Rand, n, steps int) (done int) {
	ctx := context.Background()
	lanes := make([]*lane, n)
	for i := range lanes {
		l, err := newLane(ctx, fmt.Sprint("lane", i), w.broker, rand.New(rand.NewPCG(rnd.Uint64(), rnd.Uint64())), drive.Zero)
		if err != nil {
			w.bad("Configure: %v", err)
			return 0
		}
		lanes[i] = l
	}
	each := max(steps/(n*rounds), 1)
	for done < steps && !w.r.Over() {
		var wg sync.WaitGroup
		for _, l := range lanes {
			wg.Go(func() {
				for range each {
					if !l.step(ctx) {
						return
					}
				}
			})
		}
		wg.Wait()
		done += each * n
		w.r.Done(each * n)
		if rnd.IntN(10) == 0 && !w.again(lanes) {
			return done
		}
		d := []time.Duration{time.Microsecond, time.Second, 2 * time.Second, 5 * time.Second, 5 * time.Second, 20 * time.Second, time.Minute, time.Hour}[rnd.IntN(8)]
		waited, cancel := context.WithTimeout(ctx, time.Minute)
		err := w.timed.Advance(waited, d)
		cancel()
		if err != nil {
			w.bad("after %v the broker has not done what was due a minute later: %v", d, err)
			return done
		}
		for _, l := range lanes {
			if l.bad != "" {
				w.bad("%s", l.bad)
				return done
			}
			l.moved(d)
		}
	}
	return done
}
