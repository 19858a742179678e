package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/pollackq/pollack/internal/pgserver"
)

// onPostgres is the table of the store on PostgreSQL, with one node and with two. Its ratios mean something only while nothing else runs: a busy machine
// shares its processors among processes, of which the bare loop has one for each caller, and a node of ours one.
func onPostgres(r *run) (*table, error) {
	t := newTable("PostgreSQL", "The cycles of the table of durable stores, on one server over loopback, which shares the machine's cores with its "+
		"clients. Every figure comes from a schema of its own.", callerColumns...)
	server, err := newPostgres(context.Background(), r)
	if errors.Is(err, pgserver.ErrNone) {
		t.note("Without all of it: %v.", err)
		return t, nil
	}
	if err != nil {
		return nil, err
	}
	t.atEnd(server.close)
	t.note("%s.", server.about)
	t.note("A job of the bare loop is inserted, leased by UPDATE of what SELECT FOR UPDATE SKIP LOCKED finds, and deleted: three statements of one " +
		"connection for each caller, each its own commit. River's callers insert a job each and take one from a worker; that the job is done River writes " +
		"later, for many at once, which is not waited for, and it deletes it later still, which no measurement lasts long enough to see. It looks for jobs " +
		"as often as it can be made to (FetchCooldown and FetchPollInterval at 1 ms), with more workers than callers and as many connections as help it.")

	nodes := func(n int) opener {
		return func(ctx context.Context, _ int) (queue, error) { return newNodes(ctx, server, n, noRetention) }
	}
	add := func(name, durable string, open opener) *subject {
		return newSubject(r, t, name, overTCP, durable, "cycles/s", open)
	}
	one := add("pgstore, one node", allDurable, nodes(1))
	one.countSyncs("transactions/cycle")
	two := add("pgstore, two nodes on one queue", allDurable, nodes(2))
	bare := add("a table with SKIP LOCKED", allDurable, func(ctx context.Context, callers int) (queue, error) {
		return newSkipLocked(ctx, server, callers)
	})
	river := add("River", "jobs, leases", func(ctx context.Context, callers int) (queue, error) {
		return newRiver(ctx, server, callers)
	})
	const several = 64 // from so many callers on there may be as many nodes
	many := []int{several, 512}
	loops := slices.DeleteFunc(slices.Clone(allCallers), func(n int) bool { return n > server.most })
	if len(loops) < len(allCallers) {
		t.note("Without the bare loop of more callers than the server takes connections: %d.", server.most)
	}
	one.measure(allCallers...)
	two.measure(many...)
	bare.measure(loops...)
	river.measure(allCallers...)

	column := columnOf(1)
	commit := t.row("commit of one INSERT", overTCP, "the row", "p50 in us").cell(column)
	wake50 := t.row("wake across nodes: Enqueue at one, until Receive has it at the other", overTCP, allDurable, "p50 in us").cell(column)
	wake99 := t.row("the same", overTCP, allDurable, "p99 in us").cell(column)
	t.step("wakes", func(ctx context.Context) error {
		commits, wakes, err := measureWakes(ctx, server, r.size(500, 10))
		if err != nil {
			return err
		}
		commit.add(quantile(commits, 0.5))
		wake50.add(quantile(wakes, 0.5))
		wake99.add(quantile(wakes, 0.99))
		return nil
	})

	t.ask("one node against the bare loop, "+column, atLeast(0.65), ratio(one.at(1), bare.at(1)))
	for _, n := range many {
		column := columnOf(n)
		t.ask("one node against River, "+column, atLeast(5), ratio(one.at(n), river.at(n)))
		if slices.Contains(loops, n) {
			t.ask("one node against the bare loop, "+column, atLeast(3.5), ratio(one.at(n), bare.at(n)))
		}
		t.ask("two nodes against one, "+column, atLeast(0.9), ratio(two.at(n), one.at(n)))
	}
	t.ask("p50 of a wake across nodes, in commits", atMost(3), ratio(wake50, commit))
	return t, nil
}

// measureWakes has a consumer wait at one node for a job that the other enqueues, over and over, and commits rows in between: so the disk's moods
// meet both alike, and the consumer has waited for a while when the job comes. It returns how long each took.
func measureWakes(ctx context.Context, p *postgres, jobs int) (commits, wakes []time.Duration, err error) {
	const rows = 10 // for a job
	table, err := newSkipLocked(ctx, p, 1)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, table.close()) }()
	nodes, err := newNodes(ctx, p, 2, noRetention)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, nodes.close()) }()
	waiting := crowdOn(nodes.all[1])
	defer waiting.leave()
	if err := waiting.park(1); err != nil {
		return nil, nil, err
	}
	c := newCaller(0)
	for i := range jobs + jobs/10 {
		if i == jobs/10 {
			commits, wakes = nil, nil // the first do not count
		}
		for range rows {
			begun := time.Now()
			if _, err := table.conns[0].Exec(ctx, skipLockedEnqueue, c.next()); err != nil {
				return nil, nil, err
			}
			commits = append(commits, time.Since(begun))
		}
		woken, err := waiting.wakeFrom(ctx, nodes.all[0])
		if err == nil {
			err = waiting.settle()
		}
		if err != nil {
			return nil, nil, err
		}
		wakes = append(wakes, woken)
	}
	return commits, wakes, nil
}
