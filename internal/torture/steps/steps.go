// Package steps holds brokers and stores against what they should do, step by step.
//
// The technique steps has brokers on memory and on bbolt do random calls, one client to a queue, and compares each answer with that of
// package model: what is delivered next, what a token is good for, what becomes of a job whose time is over, counts, positions, times
// (I6, I7, I12, I23). Time is moved by hand, on both alike. Some sixty queues share a store, each with a client of its own, so that commits
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
	Minutes: 8,
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
	open  func(path string) (storage.Store, error)
}{
	{"memory", 16, func(string) (storage.Store, error) { return memstore.New(nil), nil }},
	{"bbolt", 64, func(path string) (storage.Store, error) { return boltstore.Open(path, nil) }},
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

// doBlock does so many steps on one store.
func doBlock(r *attack.Run, n, steps int) {
	backend := backends[n%len(backends)]
	bad := func(format string, args ...any) {
		r.Bad("block %d, %s: %s", n, backend.name, fmt.Sprintf(format, args...))
	}
	path := filepath.Join(r.Dir, fmt.Sprintf("steps-%d.db", n))
	store, err := backend.open(path)
	if err != nil {
		bad("open: %v", err)
		return
	}
	defer os.Remove(path)
	timed := drive.NewTimed(store, false)
	broker, err := jobqueue.New(timed, nil)
	if err != nil {
		bad("New: %v", err)
		return
	}
	rnd := r.Rand(n)
	done := play(r, timed, broker, rnd, backend.lanes, steps, bad)
	if err := broker.Shutdown(context.Background()); err != nil {
		bad("Shutdown: %v", err)
	}
	if c, ok := storage.As[storage.Checker](store); ok && !r.Over() {
		if err := c.Check(context.Background()); err != nil {
			bad("Check: %v", err)
		}
	}
	if err := store.Close(); err != nil {
		bad("Close: %v", err)
	}
	r.Count("steps on "+backend.name, int64(done))
}

// play has each lane do its steps, all at once, and moves the clock whenever they have come to the end of a round.
func play(r *attack.Run, timed *drive.Timed, broker *jobqueue.Broker, rnd *rand.Rand, n, steps int, bad func(string, ...any)) (done int) {
	ctx := context.Background()
	lanes := make([]*lane, n)
	for i := range lanes {
		l, err := newLane(ctx, fmt.Sprint("lane", i), broker, rand.New(rand.NewPCG(rnd.Uint64(), rnd.Uint64())), drive.Zero)
		if err != nil {
			bad("Configure: %v", err)
			return 0
		}
		lanes[i] = l
	}
	each := max(steps/(n*rounds), 1)
	for done < steps && !r.Over() {
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
		r.Done(each * n)
		d := []time.Duration{time.Microsecond, time.Second, 2 * time.Second, 5 * time.Second, 5 * time.Second, 20 * time.Second, time.Minute, time.Hour}[rnd.IntN(8)]
		waited, cancel := context.WithTimeout(ctx, time.Minute)
		err := timed.Advance(waited, d)
		cancel()
		if err != nil {
			bad("after %v the broker has not done what was due a minute later: %v", d, err)
			return done
		}
		for _, l := range lanes {
			if l.bad != "" {
				bad("%s", l.bad)
				return done
			}
			l.moved(d)
		}
	}
	return done
}
