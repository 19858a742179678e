// Package soak keeps a queue under load for as long as it is told, and looks whether anything grows.
package soak

import (
	"context"
	"errors"
	"path/filepath"
	"runtime"
	"time"

	"github.com/pollackq/pollack/internal/torture/attack"
	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/boltstore"
	"github.com/pollackq/pollack/storage/memstore"
)

// Technique runs a mixed load on a queue in a bbolt file and on one in memory, through jobqueue and through HTTP: jobs small and large, with keys, delays,
// deadlines and outboxes, acked, failed, released, forgotten, canceled and watched; uploads used and abandoned; queues made for a session; clients
// that go away. What has ended is kept for a second and its name for another, so that after the first few seconds as much goes as comes.
//
// It reads goroutines, memory in use after a collection, resident memory, open files, the size of the file and the records of the stores all the while, and
// compares the last quarter of the time with the second: none may have grown by more than a fifth and what is set down in limits. At the end all queues are
// emptied: no record and no goroutine may be left, not much more memory may be in use than at the beginning, and a copy without the free pages says how much
// of the file is.
//
// What grows more slowly than the limits allow in the time it has, it cannot find: it is meant to be run for long, too, as "go run . -for 1h soak".
var Technique = &attack.Technique{
	Name:    "soak",
	Promise: "nothing grows under a steady load: goroutines, memory, open files, file, records (I11, I19)",
	Unit:    "seconds",
	CI:      10,
	Release: 3600,
	Control: 16,
	Minutes: 8,
	Run:     run,
}

// limit is how long anything may take that takes no time.
const limit = 30 * time.Second

func run(r *attack.Run) {
	before := runtime.NumGoroutine()
	if err := soak(r); err != nil {
		r.Bad("%v", err)
		return
	}
	for begun := time.Now(); runtime.NumGoroutine() > before; time.Sleep(10 * time.Millisecond) {
		if time.Since(begun) > limit {
			r.Bad("when all is over %d goroutines are left, there were %d before:\n%s", runtime.NumGoroutine(), before, stacks())
			return
		}
	}
}

func soak(r *attack.Run) error {
	file, err := boltstore.Open(filepath.Join(r.Dir, "soak.db"), nil)
	if err != nil {
		return err
	}
	defer file.Close()
	memory := memstore.New(nil)
	defer memory.Close()
	var all []*stack
	for i, store := range []storage.Store{file, memory} {
		s, err := newStack(r, store, i)
		if err != nil {
			return err
		}
		defer s.close()
		all = append(all, s)
	}
	span := span(r)
	ctx, stop := context.WithTimeout(context.Background(), span)
	defer stop()
	for _, s := range all {
		s.start(ctx)
	}
	m := &meter{file: filepath.Join(r.Dir, "soak.db"), stacks: all, before: inUse()}
	if err := m.watch(ctx, r, span); err != nil {
		stop()
		err = errors.Join(err, wait(all))
		return err
	}
	stop()
	if err := wait(all); err != nil {
		return err
	}
	m.judge(r)
	if r.Control && r.Over() {
		return nil
	}
	for _, s := range all {
		r.Count("operations", s.ops.Load())
		if err := s.empty(); err != nil {
			return err
		}
	}
	return m.atTheEnd(r, file)
}

// span is how long the load is to run: so many seconds, or until shortly before the time of the run is up.
func span(r *attack.Run) time.Duration {
	d := time.Duration(r.N) * time.Second
	if end, ok := r.Context().Deadline(); ok {
		left := time.Until(end)
		d = min(d, left-min(left/5, 15*time.Second))
	}
	return d
}

func wait(all []*stack) (err error) {
	for _, s := range all {
		s.callers.Wait()
		err = errors.Join(err, s.failed())
	}
	return err
}
