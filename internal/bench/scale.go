package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"time"

	"github.com/pollackq/pollack/jobqueue"
)

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
	for _, c := range s.subjects {
		for _, n := range s.sizes {
			if err := s.fill(ctx, c, n); err != nil {
				return err
			}
		}
	}
	for _, i := range rand.Perm(len(s.subjects)) {
		if err := s.compare(ctx, s.subjects[i]); err != nil {
			return fmt.Errorf("%s: %w", s.subjects[i].name, err)
		}
	}
	for _, c := range s.subjects {
		for _, n := range s.sizes {
			if c.openKilled == nil {
				continue
			}
			if err := s.kill(ctx, c, n); err != nil {
				return fmt.Errorf("%s, %d ready: %w", c.name, n, err)
			}
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

// compare measures a subject at all sizes, in turns, so that what disturbs the machine meets all of them.
func (s *scaling) compare(ctx context.Context, c *scaled) (err error) {
	turns := 4
	if c.written == nil {
		turns = 1 // the collections that end a turn take seconds to come
	}
	children := make([]*measurer, len(s.sizes))
	sums := make([]scaleAnswer, len(s.sizes))
	for i := range children {
		if children[i], err = startMeasurer("scale"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, children[i].close()) }()
	}
	for turn := range turns + 1 { // the first warms up and is not counted
		for i, n := range s.sizes {
			q := s.question(c, n)
			q.Span /= time.Duration(turns)
			var a scaleAnswer
			if err := children[i].ask(ctx, q, &a); err != nil {
				return err
			}
			if turn > 0 {
				sums[i].add(a)
			}
		}
	}
	for i, n := range s.sizes {
		c.add(readyColumn(n), sums[i])
	}
	return nil
}

func (s *scaling) question(c *scaled, ready int) scaleQuestion {
	return scaleQuestion{Path: s.files[fileKey(c, ready)], Ready: ready, Priorities: c.priorities, Span: s.run.span}
}

func (c *scaled) add(column string, a scaleAnswer) {
	n := float64(a.Cycles)
	c.cpu.cell(column).add(float64(a.CPU.Nanoseconds()) / 1e3 / n)
	c.rate.cell(column).add(n / a.Took.Seconds())
	if c.written != nil {
		c.syncs.cell(column).add(float64(a.Syncs) / n)
		c.written.cell(column).add(float64(a.Written) / n)
		c.anonymous.cell(column).add(float64(a.Anonymous) / 1e6)
		c.openClean.cell(column).add(milliseconds(a.Open))
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }

// kill has a process killed that does cycles on a file, and the file opened by another.
func (s *scaling) kill(ctx context.Context, c *scaled, ready int) error {
	q := s.question(c, ready)
	if err := killAtWork(ctx, q); err != nil {
		return err
	}
	opened, err := measureIn[time.Duration](ctx, "reopen", q)
	if err == nil {
		c.openKilled.cell(readyColumn(ready)).add(milliseconds(opened))
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
