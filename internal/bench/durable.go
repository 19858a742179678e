package main

import (
	"context"
	"errors"
	"fmt"
)

// A subject is a queue to be measured at several numbers of callers, each time anew.
type subject struct {
	row  *row
	open func(context.Context) (queue, error)
}

func columnOf(callers int) string {
	if callers == 1 {
		return "1 caller"
	}
	return fmt.Sprintf("%d callers", callers)
}

var callerColumns = []string{columnOf(1), columnOf(64), columnOf(512)}

func (s *subject) at(callers int) *cell { return s.row.cell(columnOf(callers)) }

// steps has the subject measured with so many callers each.
func (s *subject) steps(r *run, callers ...int) {
	for _, n := range callers {
		cell := s.at(n)
		s.row.table.step(s.row.name+", "+cell.column, func(ctx context.Context) error {
			q, err := s.open(ctx)
			if err != nil {
				return err
			}
			rate, err := r.rate(ctx, q, n)
			cell.add(rate)
			return errors.Join(err, q.close())
		})
	}
}

func durable(r *run) (*table, error) {
	t := newTable("Durable", "Enqueue, receive under a lease, ack, by so many callers at once. What returned is fsynced.", callerColumns...)
	syncs := &subject{t.row("sync: 4 KiB overwritten in place, fdatasync", inProcess, "all", "syncs/s"), func(context.Context) (queue, error) { return newSyncer(r) }}
	syncs.steps(r, 1)
	return t, nil
}

func inMemory(r *run) (*table, error) {
	t := newTable("In memory", "", callerColumns...)
	ch := &subject{t.row("Go channel", inProcess, "-", "cycles/s"), func(context.Context) (queue, error) { return newChannel(), nil }}
	ch.steps(r, 1, 64, 512)
	mem := &subject{t.row("memstore", inProcess, "-", "cycles/s"), func(context.Context) (queue, error) { return newPollackInMemory(noRetention) }}
	mem.steps(r, 1, 64, 512)
	for _, n := range []int{64, 512} {
		t.ask(fmt.Sprintf("memstore, retention off, against a Go channel, %d callers", n), atLeast(0.25), ratio(mem.at(n), ch.at(n)))
	}
	return t, nil
}
