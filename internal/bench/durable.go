package main

import (
	"context"
	"time"
)

// What of a peer survives a loss of power once a call has returned.
const (
	allDurable = "jobs, leases, acks"
	noLeases   = "jobs, acks"
)

func durable(r *run) (*table, error) {
	t := newTable("Durable", "Enqueue, receive under a lease, ack: whole cycles, by so many callers at once. What returned is fsynced.", callerColumns...)
	add := func(name, side, durable, unit string, open opener) *subject {
		return newSubject(r, t, name, side, durable, unit, open)
	}

	syncs := add("sync: 4 KiB overwritten in place, fdatasync", inProcess, "the block", "syncs/s",
		func(context.Context, int) (queue, error) { return newSyncer(r) })
	raw := add("raw bbolt: group commit of one put a caller", inProcess, "the put", "puts/s",
		func(_ context.Context, callers int) (queue, error) { return newRawBolt(r, callers) })
	syncs.measure(1)
	raw.measure(allCallers...)

	kept := newBoltSubject(r, t, "boltstore, default retention", defaultRetention)
	off := newBoltSubject(r, t, "boltstore, retention off", noRetention)

	var embedded, served []*subject
	if missing := sqliteMissing(); missing != "" {
		t.note("Without the queues on SQLite: %s.", missing)
	} else {
		embedded = append(embedded,
			add("goqite", inProcess, allDurable, "cycles/s", func(context.Context, int) (queue, error) { return newGoqite(r) }),
			add("backlite", inProcess, allDurable, "cycles/s", func(_ context.Context, callers int) (queue, error) { return newBacklite(r, callers) }),
			add("SQLite, a table with leases", inProcess, allDurable, "cycles/s", func(context.Context, int) (queue, error) { return newLeaseTable(r, false) }),
		)
	}
	embedded = append(embedded,
		add("JetStream, embedded", inProcess, noLeases, "cycles/s", func(ctx context.Context, _ int) (queue, error) { return newJetStream(ctx, r, false) }))
	if beanstalkdVersion() == "" {
		t.note("Without beanstalkd, which is not installed.")
	} else {
		served = append(served,
			add("beanstalkd -f0", overTCP, noLeases, "cycles/s", func(ctx context.Context, callers int) (queue, error) { return newBeanstalkd(ctx, r, false, callers) }))
	}
	if redisVersion() == "" {
		t.note("Without a Redis stream: redis-server is not installed.")
	} else {
		served = append(served,
			add("Redis stream, appendfsync always", overTCP, allDurable, "cycles/s", func(ctx context.Context, callers int) (queue, error) { return newRedis(ctx, r, false, callers) }))
	}
	peers := append(embedded, served...)
	for _, p := range peers {
		p.measure(allCallers...)
	}

	t.ask("default retention against raw bbolt, 1 caller: 0.9 of a third", atLeast(0.3), ratio(kept.at(1), raw.at(1)))
	t.ask("retention off against raw bbolt, 1 caller: 0.9 of a third", atLeast(0.3), ratio(off.at(1), raw.at(1)))
	for _, n := range []struct {
		callers                             int
		kept, off, syncs, any, bestEmbedded float64
	}{
		{64, 0.45, 0.60, 0.11, 2, 10},
		{512, 0.30, 0.35, 0.013, 3.5, 25},
	} {
		column := columnOf(n.callers)
		t.ask("default retention against raw bbolt, "+column, atLeast(n.kept), ratio(kept.at(n.callers), raw.at(n.callers)))
		t.ask("retention off against raw bbolt, "+column, atLeast(n.off), ratio(off.at(n.callers), raw.at(n.callers)))
		t.ask("syncs a cycle with default retention, "+column, atMost(n.syncs), kept.syncs.cell(column).value)
		t.ask("syncs a cycle with retention off, "+column, atMost(n.syncs), off.syncs.cell(column).value)
		for _, ours := range []struct { // the peers keep nothing that was acked
			name string
			of   *subject
		}{{"default retention", kept}, {"retention off", off}} {
			t.ask(ours.name+" against the best peer, "+column, atLeast(n.any), ratio(ours.of.at(n.callers), cellsOf(peers, n.callers)...))
			t.ask(ours.name+" against the best embedded peer, "+column, atLeast(n.bestEmbedded), ratio(ours.of.at(n.callers), cellsOf(embedded, n.callers)...))
		}
	}
	return t, nil
}

func newBoltSubject(r *run, t *table, name string, retention time.Duration) *subject {
	s := newSubject(r, t, name, inProcess, allDurable, "cycles/s", func(context.Context, int) (queue, error) { return newPollackOnBolt(r, retention) })
	s.countSyncs("syncs/cycle")
	s.measure(allCallers...)
	return s
}
