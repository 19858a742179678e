package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A run is how all tables of one call of the command are measured.
type run struct {
	reps  int           // how often everything is measured
	span  time.Duration // how long one measurement of a rate lasts
	smoke bool          // only see whether all works: sizes are small, and what comes out is no figure to quote
	dir   string        // where durable files lie
}

// size returns full, or small in a smoke test.
func (r *run) size(full, small int) int {
	if r.smoke {
		return small
	}
	return full
}

// temp makes a folder below dir for the files of one measurement, which calls remove at its end.
func (r *run) temp() (dir string, remove func(), err error) {
	dir, err = os.MkdirTemp(r.dir, "pollack-bench-")
	return dir, func() { os.RemoveAll(dir) }, err
}

// A table has rows with a figure in each column they have something for, steps that measure these figures, and what the figures are asked
// to be. A file that has a table has a function that makes it, and a line in tables.go:
//
//	func durable(r *run) (*table, error) {
//		t := newTable("Durable", "What returned is fsynced.", "1 caller", "64 callers")
//		limit := t.row("raw bbolt", inProcess, "all", "puts/s").cell("64 callers")
//		bolt := t.row("boltstore", inProcess, "jobs, leases, acks", "cycles/s").cell("64 callers")
//		t.step("boltstore, 64 callers", func(ctx context.Context) error {
//			rate, err := ...
//			bolt.add(rate)
//			return err
//		})
//		t.step("raw bbolt, 64 callers", ...)
//		t.ask("boltstore against raw bbolt, 64 callers", atLeast(0.45), ratio(bolt, limit))
//		return t, nil
//	}
//
// A step may add to several cells, also of several rows: once to each in every repetition.
type table struct {
	title, about string
	columns      []string
	rows         []*row
	steps        []step
	asks         []ask
	notes        []string
	ends         []func() error
}

// Where a row's work is done.
const (
	inProcess = "in process"
	overTCP   = "over TCP"
	overHTTP  = "over HTTP"
)

// A row is one subject with one kind of figure.
type row struct {
	name    string
	side    string // inProcess, overTCP, overHTTP
	durable string // what of it survives a loss of power; "-" if the table is not about that
	unit    string // "cycles/s", "p50 in us"
	table   *table
	cells   map[string]*cell // by column
}

// A cell gets one sample per repetition.
type cell struct {
	row     *row
	column  string
	samples []float64
}

type step struct {
	group   string
	name    string
	measure func(context.Context) error
}

// An ask is what the figures of a table should come to.
type ask struct {
	name  string
	limit limit
	value value
}

// A value is computed for each repetition by itself, from samples of that repetition.
type value func(rep int) float64

// A limit is what a value has to reach, or may reach.
type limit struct {
	bound float64
	most  bool
}

func atLeast(bound float64) limit { return limit{bound: bound} }
func atMost(bound float64) limit  { return limit{bound: bound, most: true} }

func newTable(title, about string, columns ...string) *table {
	return &table{title: title, about: about, columns: columns}
}

func (t *table) row(name, side, durable, unit string) *row {
	r := &row{name: name, side: side, durable: durable, unit: unit, table: t, cells: map[string]*cell{}}
	t.rows = append(t.rows, r)
	return r
}

// cell returns the row's cell in a column, which then has to be measured.
func (r *row) cell(column string) *cell {
	if !slices.Contains(r.table.columns, column) {
		panic(fmt.Sprintf("table %q has no column %q", r.table.title, column))
	}
	c := r.cells[column]
	if c == nil {
		c = &cell{row: r, column: column}
		r.cells[column] = c
	}
	return c
}

func (c *cell) add(sample float64) { c.samples = append(c.samples, sample) }

func (c *cell) value(rep int) float64 { return c.samples[rep] }

// step has fn measured once in each repetition. fn's context ends when it has taken far too long.
func (t *table) step(name string, fn func(context.Context) error) {
	t.stepIn("", name, fn)
}

// stepIn is step for one of a group, which is measured in one go in each repetition: what is to be compared is best measured within seconds.
func (t *table) stepIn(group, name string, fn func(context.Context) error) {
	t.steps = append(t.steps, step{group, name, fn})
}

func (t *table) ask(name string, l limit, v value) {
	t.asks = append(t.asks, ask{name, l, v})
}

// note prints a line below the table, such as what is missing and why.
func (t *table) note(format string, args ...any) {
	t.notes = append(t.notes, fmt.Sprintf(format, args...))
}

// atEnd has fn called when all has been measured, or could not be.
func (t *table) atEnd(fn func() error) {
	t.ends = append(t.ends, fn)
}

// ratio divides a cell by the highest of others in the same repetition.
func ratio(of *cell, by ...*cell) value {
	return func(rep int) float64 { return of.value(rep) / best(by...)(rep) }
}

// best is the highest of some cells in one repetition.
func best(cells ...*cell) value {
	return func(rep int) float64 {
		highest := math.Inf(-1)
		for _, c := range cells {
			highest = max(highest, c.value(rep))
		}
		return highest
	}
}

// stepTime bounds a measurement, so that one that hangs is an error.
const stepTime = 10 * time.Minute

// measure does all steps once in each repetition, in another order each time, so that what disturbs the machine for a while does not meet
// one row alone.
func (t *table) measure(ctx context.Context, r *run) (err error) {
	defer func() {
		for _, end := range t.ends {
			err = errors.Join(err, end())
		}
	}()
	for rep := range r.reps {
		for _, s := range t.shuffled() {
			if err := t.do(ctx, s); err != nil {
				return fmt.Errorf("%s, repetition %d: %w", s.name, rep+1, err)
			}
			runtime.GC()
		}
	}
	return t.complete(r.reps)
}

// shuffled returns the steps in some order that keeps groups together.
func (t *table) shuffled() []step {
	steps := slices.Clone(t.steps)
	rand.Shuffle(len(steps), func(i, j int) { steps[i], steps[j] = steps[j], steps[i] })
	first := map[string]int{} // where a group's first step is
	for i, s := range slices.Backward(steps) {
		first[s.group] = i
	}
	slices.SortStableFunc(steps, func(a, b step) int { return first[a.group] - first[b.group] })
	return steps
}

func (t *table) do(ctx context.Context, s step) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, stepTime)
	defer cancel()
	return s.measure(ctx)
}

// complete reports a figure that has not come out. There may be no rows if a note says why.
func (t *table) complete(reps int) error {
	if len(t.rows) == 0 && len(t.notes) == 0 {
		return fmt.Errorf("table %q has no rows", t.title)
	}
	for _, r := range t.rows {
		if len(r.cells) == 0 {
			return fmt.Errorf("row %q is empty", r.name)
		}
		for _, c := range r.cells {
			if len(c.samples) != reps {
				return fmt.Errorf("row %q, %s: got %d samples, want %d", r.name, c.column, len(c.samples), reps)
			}
		}
	}
	return nil
}

// print writes the table as Markdown: the figures, then what was asked.
func (t *table) print(w io.Writer, reps int) {
	fmt.Fprintf(w, "## %s\n\n", t.title)
	if t.about != "" {
		fmt.Fprintf(w, "%s\n\n", t.about)
	}
	durable := slices.ContainsFunc(t.rows, func(r *row) bool { return r.durable != "-" })
	head := []string{"what", "side"}
	if durable {
		head = append(head, "durable")
	}
	if len(t.rows) > 0 {
		heading(w, append(append(head, "figure"), t.columns...))
	}
	for _, r := range t.rows {
		line := []string{r.name, r.side}
		if durable {
			line = append(line, r.durable)
		}
		line = append(line, r.unit)
		for _, column := range t.columns {
			text := ""
			if c := r.cells[column]; c != nil {
				text = spread(c.samples)
			}
			line = append(line, text)
		}
		printLine(w, line)
	}
	fmt.Fprintln(w)
	for _, note := range t.notes {
		fmt.Fprintf(w, "%s\n\n", note)
	}
	if len(t.asks) == 0 {
		return
	}
	heading(w, []string{"what is asked", "limit", "is", "met"})
	for _, a := range t.asks {
		values := make([]float64, reps)
		for rep := range values {
			values[rep] = a.value(rep)
		}
		met := "no"
		if a.limit.met(median(values)) {
			met = "yes"
		}
		printLine(w, []string{a.name, a.limit.String(), spread(values), met})
	}
	fmt.Fprintln(w)
}

func heading(w io.Writer, names []string) {
	printLine(w, names)
	fmt.Fprintf(w, "|%s\n", strings.Repeat("---|", len(names)))
}

func printLine(w io.Writer, texts []string) {
	fmt.Fprintf(w, "| %s |\n", strings.Join(texts, " | "))
}

func (l limit) met(v float64) bool {
	if l.most {
		return v <= l.bound
	}
	return v >= l.bound
}

func (l limit) String() string {
	if l.most {
		return "at most " + number(l.bound)
	}
	return "at least " + number(l.bound)
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// spread shows a median, and the lowest and the highest of the values.
func spread(values []float64) string {
	if len(values) == 1 {
		return number(values[0])
	}
	return fmt.Sprintf("%s (%s to %s)", number(median(values)), number(slices.Min(values)), number(slices.Max(values)))
}

// number shows three significant digits: 0.0123, 4.56, 61,200.
func number(v float64) string {
	digits := 3
	if v != 0 {
		digits = 2 - int(math.Floor(math.Log10(math.Abs(v))))
	}
	if digits > 0 {
		text := strconv.FormatFloat(v, 'f', digits, 64)
		return cmp.Or(strings.TrimRight(strings.TrimRight(text, "0"), "."), "0")
	}
	unit := math.Pow10(-digits)
	text := strconv.FormatFloat(math.Round(v/unit)*unit, 'f', 0, 64)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
