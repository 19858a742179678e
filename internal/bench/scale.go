package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/boltstore"
	"github.com/pollackq/pollack/storage/memstore"
)

func init() {
	children["fill"] = func([]string) error { return answer(fillFile) }
	children["scale"] = func([]string) error { return answer(measureScale) }
	children["reopen"] = func([]string) error { return answer(measureReopen) }
}

const (
	scaleCallers    = 64
	mixedPriorities = 10
)

// scale shows what a cycle costs when many jobs are ready.
func scale(r *run) (*table, error) {
	few, many := r.size(1_000, 200), r.size(1_000_000, 5_000)
	t := newTable("Scale", scaleAbout, readyColumn(few), readyColumn(many))
	s := &scaling{run: r, table: t, sizes: []int{few, many}}
	one := s.on("boltstore, one priority", true, 1)
	mixed := s.on(fmt.Sprintf("boltstore, %d priorities", mixedPriorities), true, mixedPriorities)
	mem := s.on("memstore, one priority", false, 1)
	t.step("all", s.measure)
	s.askGrowth(one, 1.15)
	s.askGrowth(mixed, 1.5)
	s.askGrowth(mem, 2)
	return t, nil
}

// hugeScale is scale for a file of many gigabytes.
func hugeScale(r *run) (*table, error) {
	few, many := r.size(1_000, 200), r.size(10_000_000, 20_000)
	t := newTable("Huge", scaleAbout, readyColumn(few), readyColumn(many))
	s := &scaling{run: r, table: t, sizes: []int{few, many}}
	one := s.on("boltstore, one priority", true, 1)
	t.step("all", s.measure)
	t.ask("MB of anonymous memory, "+t.columns[1], atMost(64), one.anonymous.cell(t.columns[1]).value)
	t.ask("ms to open after a clean close, "+t.columns[1], atMost(100), one.openClean.cell(t.columns[1]).value)
	return t, nil
}

var scaleAbout = fmt.Sprintf("Cycles by %d callers on one queue with so many jobs ready, which each cycle adds one to and takes the first from; retention off. CPU is all that the process "+
	"used, the kernel's included, and ends with a garbage collection. Each figure is from a new process, which filled its memory, or opened a file that is in the page "+
	"cache; anonymous memory is what it has after the cycles. The process that is killed was doing cycles.", scaleCallers)

func readyColumn(n int) string { return number(float64(n)) + " ready" }

// A scaling measures its subjects at several sizes. Their files are filled once.
type scaling struct {
	run      *run
	table    *table
	sizes    []int
	subjects []*scaled
	files    map[string]string // by subject and size
	remove   []func()
	rep      int
}

// A scaled subject has rows for what it costs; those of files are nil for a store in memory.
type scaled struct {
	name                                             string
	priorities                                       int
	cpu, rate                                        *row
	syncs, written, anonymous, openClean, openKilled *row
}

func (s *scaling) on(name string, file bool, priorities int) *scaled {
	add := func(durable, unit string) *row {
		row := s.table.row(name, inProcess, durable, unit)
		for _, n := range s.sizes {
			row.cell(readyColumn(n))
		}
		return row
	}
	durable := "-"
	if file {
		durable = "all"
	}
	c := &scaled{name: name, priorities: priorities, cpu: add(durable, "CPU, us/cycle"), rate: add(durable, "cycles/s")}
	if file {
		c.syncs = add(durable, "syncs/cycle")
		c.written = add(durable, "bytes written/cycle")
		c.anonymous = add(durable, "anonymous memory, MB")
		c.openClean = add(durable, "open after a clean close, ms")
		c.openKilled = add(durable, "open after kill -9, ms")
	}
	s.subjects = append(s.subjects, c)
	return c
}

func (s *scaling) askGrowth(c *scaled, most float64) {
	few, many := readyColumn(s.sizes[0]), readyColumn(s.sizes[1])
	s.table.ask(fmt.Sprintf("CPU of a cycle on %s, %s against %s", c.name, many, few), atMost(most), ratio(c.cpu.cell(many), c.cpu.cell(few)))
}

// measure does one repetition. The first fills the files, the last removes them.
func (s *scaling) measure(ctx context.Context) (err error) {
	s.rep++
	defer func() {
		if err != nil || s.rep == s.run.reps {
			for _, remove := range s.remove {
				remove()
			}
		}
	}()
	type one struct {
		*scaled
		ready int
	}
	var all []one
	for _, c := range s.subjects {
		for _, n := range s.sizes {
			all = append(all, one{c, n})
			if err := s.fill(ctx, c, n); err != nil {
				return err
			}
		}
	}
	for _, i := range rand.Perm(len(all)) {
		if err := s.measureOne(ctx, all[i].scaled, all[i].ready); err != nil {
			return fmt.Errorf("%s, %d ready: %w", all[i].name, all[i].ready, err)
		}
	}
	return nil
}

func fileKey(c *scaled, ready int) string { return fmt.Sprint(c.name, ready) }

// fill makes the file of a subject unless it is there.
func (s *scaling) fill(ctx context.Context, c *scaled, ready int) error {
	key := fileKey(c, ready)
	if c.written == nil || s.files[key] != "" {
		return nil
	}
	dir, remove, err := s.run.temp()
	if err != nil {
		return err
	}
	s.remove = append(s.remove, remove)
	if s.files == nil {
		s.files = map[string]string{}
	}
	s.files[key] = filepath.Join(dir, "jobs.db")
	a, err := measureIn[fillAnswer](ctx, "fill", fillQuestion{Path: s.files[key], Ready: ready, Priorities: c.priorities})
	if err == nil && ready == s.sizes[len(s.sizes)-1] {
		s.table.note("%s: filled with %s jobs by EnqueueMany of %d within %v; the file has %s MB.",
			c.name, number(float64(ready)), jobqueue.MaxBatch, a.Took.Round(100*time.Millisecond), number(float64(a.Size)/1e6))
	}
	return err
}

func (s *scaling) measureOne(ctx context.Context, c *scaled, ready int) error {
	column, path := readyColumn(ready), s.files[fileKey(c, ready)]
	q := scaleQuestion{Path: path, Ready: ready, Priorities: c.priorities, Span: s.run.span}
	a, err := measureIn[scaleAnswer](ctx, "scale", q)
	if err != nil {
		return err
	}
	c.cpu.cell(column).add(a.CPU)
	c.rate.cell(column).add(a.Rate)
	if c.written == nil {
		return nil
	}
	c.syncs.cell(column).add(a.Syncs)
	c.written.cell(column).add(a.Written)
	c.anonymous.cell(column).add(a.Anonymous)
	c.openClean.cell(column).add(a.Open)
	if err := killAtWork(ctx, q); err != nil {
		return err
	}
	opened, err := measureIn[reopenAnswer](ctx, "reopen", q)
	if err == nil {
		c.openKilled.cell(column).add(opened.Open)
	}
	return err
}

// killAtWork kills a process that does cycles.
func killAtWork(ctx context.Context, q scaleQuestion) error {
	m, err := startMeasurer("scale")
	if err != nil {
		return err
	}
	q.Lease, q.Span = jobqueue.MinLease, 50*time.Millisecond
	var a scaleAnswer
	if err := m.ask(ctx, q, &a); err != nil { // now it is warm
		return errors.Join(err, m.close())
	}
	q.Span = time.Minute
	asked, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	if m.ask(asked, q, &a) == nil {
		return errors.Join(errors.New("the process to be killed ended"), m.close())
	}
	if m.close() == nil {
		return errors.New("the killed process ended well")
	}
	return ctx.Err()
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

type scaleAnswer struct {
	CPU       float64 // microseconds a cycle
	Rate      float64 // cycles a second
	Written   float64 // bytes a cycle
	Syncs     float64 // a cycle
	Anonymous float64 // MB
	Open      float64 // milliseconds
}

func measureScale(q scaleQuestion) (a scaleAnswer, err error) {
	var p *pollack
	if q.Path == "" {
		if p, err = newPollack(memstore.New(nil), noRetention, func() {}); err != nil {
			return a, err
		}
		if err := p.fill(q.Ready, q.Priorities); err != nil {
			return a, err
		}
	} else if p, a.Open, err = openTimed(q.Path); err != nil {
		return a, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	if _, err := p.cycles(q, q.Span/5); err != nil { // warms up
		return a, err
	}
	got, err := p.cycles(q, q.Span)
	if err != nil {
		return a, err
	}
	a.CPU, a.Rate, a.Written, a.Syncs = got.CPU, got.Rate, got.Written, got.Syncs
	a.Anonymous = float64(procFigure("/proc/self/status", "RssAnon")) * 1024 / 1e6
	info, err := p.queue.Info(context.Background())
	if err == nil && (info.Counts[jobqueue.Pending] != int64(q.Ready) || info.Counts.Total() != int64(q.Ready)) {
		err = fmt.Errorf("the cycles left %v, want %d pending and nothing else", info.Counts, q.Ready)
	}
	return a, err
}

func openTimed(path string) (p *pollack, ms float64, err error) {
	begun := time.Now()
	store, err := boltstore.Open(path, nil)
	ms = float64(time.Since(begun).Nanoseconds()) / 1e6
	if err != nil {
		return nil, 0, err
	}
	if p, err = newPollack(store, noRetention, func() {}); err == nil {
		p.bolt = store
	}
	return p, ms, err
}

// cycles has all callers do cycles for a while, and then until a garbage collection has ended: where the heap is large one takes seconds to come,
// and before the first the heap grows into memory that the kernel has to clear.
func (p *pollack) cycles(q scaleQuestion, span time.Duration) (a scaleAnswer, err error) {
	var done atomic.Int64
	errs := make(chan error, scaleCallers+1)
	written := func() int64 {
		if p.bolt == nil {
			return 0
		}
		return p.bolt.Stats().Written
	}
	var stop atomic.Bool
	var all sync.WaitGroup
	cpu, syncs, bytes, begun := cpuTime(), p.syncs(), written(), time.Now()
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
	time.Sleep(span)
	if err := until(collected()); err != nil {
		errs <- err
	}
	stop.Store(true)
	all.Wait()
	n := float64(done.Load())
	a = scaleAnswer{
		CPU:     float64((cpuTime() - cpu).Nanoseconds()) / 1e3 / n,
		Rate:    n / time.Since(begun).Seconds(),
		Written: float64(written()-bytes) / n,
		Syncs:   float64(p.syncs()-syncs) / n,
	}
	if len(errs) > 0 {
		return a, <-errs
	}
	return a, nil
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

type reopenAnswer struct{ Open float64 }

// measureReopen opens the file of a process that was killed, sees whether what that did is there, and does what it held.
func measureReopen(q scaleQuestion) (a reopenAnswer, err error) {
	p, ms, err := openTimed(q.Path)
	if err != nil {
		return a, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	ctx := context.Background()
	info, err := p.queue.Info(ctx)
	if err != nil {
		return a, err
	}
	extra := info.Counts.Unfinished() - int64(q.Ready)
	if extra < 0 || extra > scaleCallers || info.Counts.Total() != info.Counts.Unfinished() {
		return a, fmt.Errorf("after kill -9 there are %v, want %d to %d jobs that have not ended", info.Counts, q.Ready, q.Ready+scaleCallers)
	}
	for info.Counts[jobqueue.Running] > 0 { // until the leases of the killed process lapse
		time.Sleep(10 * time.Millisecond)
		if info, err = p.queue.Info(ctx); err != nil {
			return a, err
		}
	}
	for range extra {
		if err := takeAndAck(ctx, p.queue); err != nil {
			return a, err
		}
	}
	return reopenAnswer{ms}, nil
}
