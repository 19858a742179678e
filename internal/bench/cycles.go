package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/boltstore"
	"github.com/pollackq/pollack/storage/memstore"
)

const (
	payloadSize = 256
	runFor      = 2 * time.Second
	rounds      = 5
)

// A contender is one row of the table: rate measures it once, in cycles a second.
type contender struct {
	name  string
	unit  string // the yardstick its rate is divided by
	least float64
	rate  func() (float64, error)
	rates []float64
}

// cycles prints rates in medians of interleaved rounds, and their ratios to the yardsticks of the same run.
func cycles() error {
	dir, err := os.MkdirTemp("", "pollack-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	table := []*contender{
		{name: "fdatasync, 4 KiB overwritten, 1 caller", rate: func() (float64, error) { return syncs(dir) }},
		{name: "Go channel of 1,024, 64 callers", rate: func() (float64, error) { return channel(64) }},
		{name: "Go channel of 1,024, 512 callers", rate: func() (float64, error) { return channel(512) }},
	}
	for _, callers := range []int{1, 64, 512} {
		for _, retention := range []time.Duration{jobqueue.DefaultRetention, -1} {
			kept := "default retention"
			if retention < 0 {
				kept = "retention off"
			}
			bolt := &contender{
				name: fmt.Sprintf("boltstore, %s, %d callers", kept, callers), unit: table[0].name,
				rate: func() (float64, error) { return onBolt(dir, callers, retention) },
			}
			mem := &contender{
				name: fmt.Sprintf("memstore, %s, %d callers", kept, callers), unit: table[2].name,
				rate: func() (float64, error) { return queue(memstore.New(nil), callers, retention) },
			}
			switch callers {
			case 64:
				bolt.least, mem.least, mem.unit = 3, 0.15, table[1].name
			case 512:
				bolt.least, mem.least = 8, 0.15
			}
			table = append(table, bolt, mem)
		}
	}
	for range rounds {
		for _, c := range table {
			rate, err := c.rate()
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			c.rates = append(c.rates, rate)
			runtime.GC()
		}
	}
	median := map[string]float64{}
	fmt.Printf("%s, %d CPUs, payload %d bytes, median of %d runs of %v (lowest to highest)\n\n", runtime.Version(), runtime.NumCPU(), payloadSize, rounds, runFor)
	fmt.Println("| what | per second | ratio | asked |\n|---|---|---|---|")
	for _, c := range table {
		slices.Sort(c.rates)
		median[c.name] = c.rates[len(c.rates)/2]
		ratio, asked := "", ""
		if c.unit != "" {
			ratio = fmt.Sprintf("%.2f x %s", median[c.name]/median[c.unit], c.unit)
		}
		if c.least > 0 {
			asked = fmt.Sprintf("%.2f", c.least)
		}
		fmt.Printf("| %s | %.0f (%.0f to %.0f) | %s | %s |\n", c.name, median[c.name], c.rates[0], c.rates[len(c.rates)-1], ratio, asked)
	}
	return nil
}

// repeat has callers do step over and over for a while and returns how many a second they did.
func repeat(callers int, step func() error) (float64, error) {
	var done atomic.Int64
	var stop atomic.Bool
	errs := make(chan error, callers)
	var all sync.WaitGroup
	begun := time.Now()
	for range callers {
		all.Go(func() {
			for !stop.Load() {
				if err := step(); err != nil {
					errs <- err
					return
				}
				done.Add(1)
			}
		})
	}
	timer := time.AfterFunc(runFor, func() { stop.Store(true) })
	defer timer.Stop()
	all.Wait()
	took := time.Since(begun)
	select {
	case err := <-errs:
		return 0, err
	default:
		return float64(done.Load()) / took.Seconds(), nil
	}
}

// syncs overwrites one block of a preallocated file.
func syncs(dir string) (float64, error) {
	f, err := os.Create(filepath.Join(dir, "sync"))
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	block := make([]byte, 4096)
	for range 256 {
		if _, err := f.Write(block); err != nil {
			return 0, err
		}
	}
	if err := f.Sync(); err != nil {
		return 0, err
	}
	return repeat(1, func() error {
		if _, err := f.WriteAt(block, 4096*7); err != nil {
			return err
		}
		return fdatasync(f)
	})
}

// channel sends and receives a copy of a payload per cycle.
func channel(callers int) (float64, error) {
	ch := make(chan []byte, 1024)
	payload := make([]byte, payloadSize)
	return repeat(callers, func() error {
		ch <- append([]byte(nil), payload...)
		if p := <-ch; len(p) != payloadSize {
			return errors.New("a payload was lost")
		}
		return nil
	})
}

func onBolt(dir string, callers int, retention time.Duration) (float64, error) {
	path := filepath.Join(dir, "bolt.db")
	defer os.Remove(path)
	store, err := boltstore.Open(path, nil)
	if err != nil {
		return 0, err
	}
	return queue(store, callers, retention)
}

// queue does full cycles on a broker: enqueue, receive, ack. It closes the store.
func queue(store storage.Store, callers int, retention time.Duration) (float64, error) {
	defer store.Close()
	broker, err := jobqueue.New(store, &jobqueue.Options{Retention: retention})
	if err != nil {
		return 0, err
	}
	ctx := context.Background()
	defer broker.Shutdown(ctx)
	q := broker.Queue("bench")
	payload := make([]byte, payloadSize)
	return repeat(callers, func() error {
		if _, err := q.Enqueue(ctx, jobqueue.NewJob{Payload: payload}); err != nil {
			return err
		}
		d, err := q.Receive(ctx, nil)
		if err != nil {
			return err
		}
		if p, ok := d.Inline(); !ok || len(p) != payloadSize {
			return errors.New("a payload was lost")
		}
		return d.Ack(ctx)
	})
}
