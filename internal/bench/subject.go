package main

import (
	"context"
	"errors"
	"fmt"
)

// A subject is a row whose queue is measured at several numbers of callers, each time with a new one.
type subject struct {
	*row
	syncs *row // how often it syncs for a cycle, nil if that is not counted
	run   *run
	open  opener
	each  int // how many of what the row counts a cycle has
}

// An opener makes a queue for so many callers.
type opener func(ctx context.Context, callers int) (queue, error)

var (
	allCallers    = []int{1, 64, 512}
	callerColumns = []string{columnOf(1), columnOf(64), columnOf(512)}
)

func columnOf(callers int) string {
	if callers == 1 {
		return "1 caller"
	}
	return fmt.Sprintf("%d callers", callers)
}

func newSubject(r *run, t *table, name, side, durable, unit string, open opener) *subject {
	return &subject{row: t.row(name, side, durable, unit), run: r, open: open, each: 1}
}

// countSyncs adds a row for the syncs of a queue that counts them.
func (s *subject) countSyncs(unit string) {
	s.syncs = s.table.row(s.name, s.side, s.durable, unit)
}

func (s *subject) at(callers int) *cell { return s.cell(columnOf(callers)) }

// cellsOf returns what several subjects have at a number of callers.
func cellsOf(subjects []*subject, callers int) []*cell {
	var cells []*cell
	for _, s := range subjects {
		cells = append(cells, s.at(callers))
	}
	return cells
}

// measure has cycles of so many callers measured.
func (s *subject) measure(callers ...int) {
	for _, n := range callers {
		rate := s.at(n)
		var syncs *cell
		if s.syncs != nil {
			syncs = s.syncs.cell(rate.column)
		}
		s.table.stepIn(rate.column, s.name+", "+rate.column, func(ctx context.Context) error {
			q, err := s.open(ctx, n)
			if err != nil {
				return err
			}
			p, err := s.run.pace(ctx, q, n)
			rate.add(p.rate * float64(s.each))
			if syncs != nil {
				syncs.add(p.syncs / float64(s.each))
			}
			return errors.Join(err, q.close())
		})
	}
}
