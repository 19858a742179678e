package main

import "context"

func inMemory(r *run) (*table, error) {
	t := newTable("In memory", "The same cycles where nothing is to last.", callerColumns...)
	add := func(name, side string, open opener) *subject {
		s := newSubject(r, t, name, side, "-", "cycles/s", open)
		s.measure(allCallers...)
		return s
	}
	ch := add("Go channel of 1,024, no leases, no acks", inProcess, func(context.Context, int) (queue, error) { return newChannel(), nil })
	off := add("memstore, retention off", inProcess, func(context.Context, int) (queue, error) { return newPollackInMemory(noRetention) })
	add("memstore, default retention", inProcess, func(context.Context, int) (queue, error) { return newPollackInMemory(defaultRetention) })

	var peers []*subject
	if missing := sqliteMissing(); missing != "" {
		t.note("Without SQLite: %s.", missing)
	} else {
		peers = append(peers, add("SQLite :memory:, a table with leases", inProcess, func(context.Context, int) (queue, error) { return newLeaseTable(r, true) }))
	}
	peers = append(peers, add("JetStream, embedded, memory storage", inProcess, func(ctx context.Context, _ int) (queue, error) { return newJetStream(ctx, r, true) }))
	if beanstalkdVersion() == "" {
		t.note("Without beanstalkd, which is not installed.")
	} else {
		peers = append(peers, add("beanstalkd", overTCP, func(ctx context.Context, callers int) (queue, error) { return newBeanstalkd(ctx, r, true, callers) }))
	}
	if redisVersion() == "" {
		t.note("Without a Redis stream: redis-server is not installed.")
	} else {
		peers = append(peers, add("Redis stream, no persistence", overTCP, func(ctx context.Context, callers int) (queue, error) { return newRedis(ctx, r, true, callers) }))
	}

	for _, n := range []int{64, 512} {
		t.ask("memstore, retention off, against a Go channel, "+columnOf(n), atLeast(0.25), ratio(off.at(n), ch.at(n)))
		t.ask("memstore, retention off, against the best peer, "+columnOf(n), atLeast(10), ratio(off.at(n), cellsOf(peers, n)...))
	}
	return t, nil
}
