package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

func init() { children["crowd"] = func([]string) error { return answer(measureCrowd) } }

// A crowd is a number of waiters of one kind.
type crowd interface {
	// park has n wait, and returns when they do.
	park(n int) error
	// wake wakes one, and returns how long it took from the beginning of the call until the waiter had what it waited for.
	wake() (time.Duration, error)
	// settle returns when the one that was woken waits again.
	settle() error
	// end sees whether nothing was lost, and lets all go.
	end() error
}

// crowds make what the tables compare, in processes of their own.
var crowds = map[string]func() (crowd, error){
	"channel":   newChannelCrowd,
	"select":    newSelectCrowd,
	"receivers": newReceiverCrowd,
	"jetstream": newJetStreamCrowd,
	"polls":     newPollCrowd,
	"bare":      newBareCrowd,
}

type crowdQuestion struct {
	Kind           string
	Waiters, Wakes int
}

type crowdAnswer struct {
	Memory   float64 // bytes per waiter
	P50, P99 float64 // of a wake, in microseconds
}

func measureCrowd(q crowdQuestion) (a crowdAnswer, err error) {
	open := crowds[q.Kind]
	if open == nil {
		return a, fmt.Errorf("there are no waiters of the kind %q", q.Kind)
	}
	c, err := open()
	if err != nil {
		return a, err
	}
	defer func() { err = errors.Join(err, c.end()) }()
	before := memory()
	if err := c.park(q.Waiters); err != nil {
		return a, err
	}
	a.Memory = (float64(memory()) - float64(before)) / float64(q.Waiters)
	took := make([]time.Duration, 0, q.Wakes)
	for i := range q.Wakes + q.Wakes/10 { // the first do not count
		d, err := c.wake()
		if err == nil {
			err = c.settle()
		}
		if err != nil {
			return a, err
		}
		if i >= q.Wakes/10 {
			took = append(took, d)
		}
	}
	a.P50, a.P99 = quantile(took, 0.5), quantile(took, 0.99)
	return a, nil
}

// quantile returns a quantile of some durations in microseconds.
func quantile(ds []time.Duration, q float64) float64 {
	slices.Sort(ds)
	i := int(math.Ceil(q*float64(len(ds)))) - 1
	return float64(ds[max(i, 0)].Nanoseconds()) / 1e3
}

func waiting(r *run) (*table, error) {
	sizes := []int{1, 1_000, 10_000, 100_000}
	if r.smoke {
		sizes = []int{1, 10, 100, 1_000}
	}
	columns := make([]string, len(sizes))
	for i, n := range sizes {
		columns[i] = number(float64(n)) + " waiting"
	}
	t := newTable("Waiting", "So many wait, and one new job (or message) wakes one: how long from the beginning of the call that brings it until the waiter has it, "+
		"and how much heap and stack of the serving process each waiter takes after garbage collections. Every figure comes from a new process. Clients over HTTP are in "+
		"another one.", columns...)
	wakes, slowWakes := r.size(20_000, 20), r.size(2_000, 20)
	kinds := []struct {
		kind, name, side string
		waiters          []int
		wakes            int
	}{
		{"channel", "goroutines on a channel each", inProcess, sizes, wakes},
		{"select", "goroutines on a channel each and one context", inProcess, sizes, wakes},
		{"receivers", "Receive on memstore", inProcess, sizes, wakes},
		{"jetstream", "pull requests of one message, JetStream in memory, client included", inProcess, sizes[:3], slowWakes},
		{"bare", "parked handlers of net/http", overHTTP, sizes[:3], slowWakes},
		{"polls", "polls of httpapi on memstore", overHTTP, sizes[:3], slowWakes},
	}
	cells := map[string]map[int]*waitingCells{}
	for _, k := range kinds {
		cells[k.kind] = map[int]*waitingCells{}
		p50, p99 := t.row(k.name, k.side, "-", "wake p50, us"), t.row(k.name, k.side, "-", "wake p99, us")
		memory := t.row(k.name, k.side, "-", "memory each, bytes")
		for i, n := range k.waiters {
			c := &waitingCells{p50: p50.cell(columns[i]), p99: p99.cell(columns[i])}
			if n > 1 { // one alone does not show above what the rest does
				c.memory = memory.cell(columns[i])
			}
			cells[k.kind][n] = c
			t.step(fmt.Sprintf("%s, %d", k.name, n), func(ctx context.Context) error {
				a, err := measureIn[crowdAnswer](ctx, "crowd", crowdQuestion{Kind: k.kind, Waiters: n, Wakes: k.wakes})
				if err == nil {
					c.add(a)
				}
				return err
			})
		}
	}
	for i, n := range sizes[1:] {
		t.ask("memory of a receiver against a goroutine on a channel, "+columns[i+1], atMost(1.3), ratio(cells["receivers"][n].memory, cells["channel"][n].memory))
	}
	for i, n := range sizes[1:3] {
		t.ask("memory of a poll against a parked handler, "+columns[i+1], atMost(1.2), ratio(cells["polls"][n].memory, cells["bare"][n].memory))
	}
	most := sizes[len(sizes)-1]
	t.ask(fmt.Sprintf("wake p50 of one of %s receivers against one of 1", number(float64(most))), atMost(1.5), ratio(cells["receivers"][most].p50, cells["receivers"][1].p50))
	return t, nil
}

type waitingCells struct{ p50, p99, memory *cell }

func (c *waitingCells) add(a crowdAnswer) {
	c.p50.add(a.P50)
	c.p99.add(a.P99)
	if c.memory != nil {
		c.memory.add(a.Memory)
	}
}
