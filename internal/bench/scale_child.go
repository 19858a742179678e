package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/boltstore"
	"github.com/pollackq/pollack/storage/memstore"
)

func init() {
	children["fill"] = func([]string) error { return answer(fillFile) }
	children["scale"] = measureScale
	children["reopen"] = func([]string) error { return answer(measureReopen) }
}

type fillQuestion struct {
	Path              string
	Ready, Priorities int
}

type fillAnswer struct {
	Took time.Duration
	Size int64
}

func fillFile(q fillQuestion) (a fillAnswer, err error) {
	begun := time.Now()
	store, err := boltstore.Open(q.Path, nil)
	if err != nil {
		return a, err
	}
	p, err := newPollack(store, noRetention, func() {})
	if err == nil {
		err = errors.Join(p.fill(q.Ready, q.Priorities), p.close())
	}
	if err != nil {
		return a, err
	}
	info, err := os.Stat(q.Path)
	if err != nil {
		return a, err
	}
	return fillAnswer{time.Since(begun), info.Size()}, nil
}

func (p *pollack) fill(n, priorities int) error {
	jobs := make([]jobqueue.NewJob, 0, jobqueue.MaxBatch)
	for n > 0 {
		jobs = jobs[:0]
		for range min(n, jobqueue.MaxBatch) {
			jobs = append(jobs, jobqueue.NewJob{Payload: make([]byte, payloadSize), Priority: rand.IntN(priorities)})
		}
		if _, err := p.queue.EnqueueMany(context.Background(), jobs); err != nil {
			return err
		}
		n -= len(jobs)
	}
	return nil
}

type scaleQuestion struct {
	Path              string // "" for memory
	Ready, Priorities int
	Span              time.Duration
	Lease             time.Duration // 0 for the default
}

// A scaleAnswer is what some cycles took.
type scaleAnswer struct {
	Cycles    int64
	CPU, Took time.Duration
	Syncs     uint64
	Written   int64         // bytes
	Anonymous int64         // bytes of memory, at the end
	Open      time.Duration // what opening the file took
}

func (a *scaleAnswer) add(b scaleAnswer) {
	a.Cycles += b.Cycles
	a.CPU += b.CPU
	a.Took += b.Took
	a.Syncs += b.Syncs
	a.Written += b.Written
	a.Anonymous, a.Open = b.Anonymous, b.Open
}

// A scaleChild answers all questions with one broker.
type scaleChild struct {
	p     *pollack
	ready int
	open  time.Duration
}

func measureScale([]string) error {
	var c scaleChild
	return errors.Join(answer(c.measure), c.close())
}

func (c *scaleChild) measure(q scaleQuestion) (a scaleAnswer, err error) {
	if c.p == nil {
		if err := c.begin(q); err != nil {
			return a, err
		}
	}
	if a, err = c.p.cycles(q); err != nil {
		return a, err
	}
	a.Open, a.Anonymous = c.open, procFigure("/proc/self/status", "RssAnon")*1024
	return a, nil
}

func (c *scaleChild) begin(q scaleQuestion) (err error) {
	c.ready = q.Ready
	if q.Path != "" {
		c.p, c.open, err = openTimed(q.Path)
		return err
	}
	if c.p, err = newPollack(memstore.New(nil), noRetention, func() {}); err != nil {
		return err
	}
	return c.p.fill(q.Ready, q.Priorities)
}

// close sees whether as many jobs are ready as at the beginning.
func (c *scaleChild) close() error {
	if c.p == nil {
		return nil
	}
	info, err := c.p.queue.Info(context.Background())
	if err == nil && (info.Counts[jobqueue.Pending] != int64(c.ready) || info.Counts.Total() != int64(c.ready)) {
		err = fmt.Errorf("the cycles left %v, want %d pending and nothing else", info.Counts, c.ready)
	}
	return errors.Join(err, c.p.close())
}

func openTimed(path string) (p *pollack, took time.Duration, err error) {
	begun := time.Now()
	store, err := boltstore.Open(path, nil)
	took = time.Since(begun)
	if err != nil {
		return nil, 0, err
	}
	if p, err = newPollack(store, noRetention, func() {}); err == nil {
		p.bolt = store
	}
	return p, took, err
}

// cycles has all callers do cycles for a while, and then until a garbage collection has ended: where the heap is large one takes seconds to come,
// and before the first the heap grows into memory that the kernel has to clear.
func (p *pollack) cycles(q scaleQuestion) (a scaleAnswer, err error) {
	var done atomic.Int64
	var stop atomic.Bool
	errs := make(chan error, scaleCallers+1)
	var all sync.WaitGroup
	before, begun := p.spent(), time.Now()
	for range scaleCallers {
		all.Go(func() {
			for !stop.Load() {
				if err := p.cycleAmong(q); err != nil {
					errs <- err
					return
				}
				done.Add(1)
			}
		})
	}
	time.Sleep(q.Span)
	if err := until(collected()); err != nil {
		errs <- err
	}
	stop.Store(true)
	all.Wait()
	if len(errs) > 0 {
		return a, <-errs
	}
	a = p.spent()
	a.CPU -= before.CPU
	a.Syncs -= before.Syncs
	a.Written -= before.Written
	a.Cycles, a.Took = done.Load(), time.Since(begun)
	return a, nil
}

// spent is what this process has spent so far.
func (p *pollack) spent() scaleAnswer {
	a := scaleAnswer{CPU: cpuTime(), Syncs: p.syncs()}
	if p.bolt != nil {
		a.Written = p.bolt.Stats().Written
	}
	return a
}

// cycleAmong adds a job to those that are ready and does the first of them.
func (p *pollack) cycleAmong(q scaleQuestion) error {
	ctx := context.Background()
	job := jobqueue.NewJob{Payload: make([]byte, payloadSize), Priority: rand.IntN(q.Priorities)}
	if _, err := p.queue.Enqueue(ctx, job); err != nil {
		return err
	}
	d, err := p.queue.TryReceive(ctx, &jobqueue.ReceiveOptions{Lease: q.Lease})
	if err != nil {
		return err
	}
	if payload, ok := d.Inline(); !ok || len(payload) != payloadSize {
		return errors.New("a payload was lost")
	}
	return d.Ack(ctx)
}

// measureReopen opens the file of a process that was killed, sees whether what that did is there, and does what it held.
func measureReopen(q scaleQuestion) (took time.Duration, err error) {
	p, took, err := openTimed(q.Path)
	if err != nil {
		return took, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	ctx := context.Background()
	info, err := p.queue.Info(ctx)
	if err != nil {
		return took, err
	}
	extra := info.Counts.Unfinished() - int64(q.Ready)
	if extra < 0 || extra > scaleCallers || info.Counts.Total() != info.Counts.Unfinished() {
		return took, fmt.Errorf("after kill -9 there are %v, want %d to %d jobs that have not ended", info.Counts, q.Ready, q.Ready+scaleCallers)
	}
	for info.Counts[jobqueue.Running] > 0 { // until the leases of the killed process lapse
		time.Sleep(10 * time.Millisecond)
		if info, err = p.queue.Info(ctx); err != nil {
			return took, err
		}
	}
	for range extra {
		if err := takeAndAck(ctx, p.queue); err != nil {
			return took, err
		}
	}
	return took, nil
}
