package clocks

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pollackq/pollack/internal/torture/attack"
)

// Jumps lets wall clocks jump, by a second to fifty years, forward and back. A life is a queue on a bbolt file that is closed and opened again at each
// jump, with a wall clock that has jumped meanwhile and that is sometimes trusted (TrustWallClock), sometimes not; while the file is open the wall
// clock goes on jumping, which nothing may notice. Every other life is one in memory, whose clock is moved by hand, often to the microsecond before
// a lease or delay ends.
//
// In between jobs are enqueued, delivered, extended, released, acked, and forgotten by those who hold them. What must become of each follows from the store's
// clock alone: no job is delivered within its lease or before its time, each is when its time has come, late acks by the latest token are taken and
// superseded tokens refused, no lease found at open has more left than it was given (unless the wall clock is trusted, which says so), and what
// has ended is there for its retention, gone for the time of its tombstone, and then unknown. At the end of a life nothing may be left of any job.
//
// Real processes cannot see the machine's clock jump here: the store reads it once, at open, through the option that jumps. That it is read nowhere
// else is part of what is found: no time of a life is near the real one.
var Jumps = &attack.Technique{
	Name:    "clocks",
	Promise: "a wall clock that jumps neither lapses nor prolongs a lease, and no job is lost, stuck or delivered within its lease (I5, I6, I7, I8, I9)",
	Unit:    "jumps",
	CI:      1_000,
	Release: 100_000,
	Control: 2_000,
	Minutes: 5,
	Run:     runJumps,
}

const jumpsPerLife = 25

func runJumps(r *attack.Run) {
	var wg sync.WaitGroup
	var next atomic.Int64
	for range 3 { // one waits for the disk
		wg.Go(func() {
			for {
				n := int(next.Add(1) - 1)
				if n*jumpsPerLife >= r.N || r.Over() {
					return
				}
				if err := live(r, n); err != nil {
					r.Bad("life %d: %v", n, err)
				}
			}
		})
	}
	wg.Wait()
}

// live lives one life, and returns the promise that was broken.
func live(r *attack.Run, n int) (err error) {
	rnd := r.Rand(n)
	var m machine
	if n%2 == 0 {
		m, err = newFileMachine(r.Dir, n, start(rnd))
	} else {
		m, err = newMemoryMachine(start(rnd))
	}
	if err != nil {
		return err
	}
	defer m.end()
	l := newLife(r, rnd, m)
	for i := range jumpsPerLife {
		if err := l.turn(); err != nil {
			return fmt.Errorf("jump %d: %w", i, err)
		}
		if r.Over() {
			return nil
		}
		r.Done(1)
	}
	if err := l.finish(); err != nil {
		return fmt.Errorf("the end: %w", err)
	}
	r.Count("jobs", int64(len(l.all)))
	r.Count("deliveries", int64(l.delivered))
	r.Count("late acks", int64(l.lateAcks))
	r.Count("superseded tokens refused", int64(l.refused))
	return nil
}

// start is a time within a century around now, but not now.
func start(rnd *rand.Rand) time.Time {
	return time.Date(2080, 1, 1, 0, 0, 0, 0, time.UTC).Add(-between(rnd, time.Hour, 30*year))
}

const year = 365 * 24 * time.Hour

// between returns a duration, in microseconds, whose magnitude is what is random.
func between(rnd *rand.Rand, least, most time.Duration) time.Duration {
	ratio := float64(most) / float64(least)
	return time.Duration(float64(least) * math.Pow(ratio, rnd.Float64())).Truncate(time.Microsecond)
}
