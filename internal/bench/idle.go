package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/boltstore"
)

func init() { children["idle"] = func([]string) error { return answer(measureIdle) } }

// idle shows what a process does in which many wait and nothing happens.
func idle(r *run) (*table, error) {
	waiters := r.size(1_000, 20)
	t := newTable("Idle", fmt.Sprintf("What a process does in a second in which nothing happens: an empty one (which shows what counting costs, and the noise), one with a broker on "+
		"boltstore with %s waiting and as many jobs scheduled for tomorrow.", number(float64(waiters))),
		"CPU, us", "commits", "store calls", "read calls", "bytes written")
	kinds := []struct{ kind, name, side string }{
		{"empty", "an empty process", inProcess},
		{"receivers", fmt.Sprintf("%s in Receive", number(float64(waiters))), inProcess},
		{"polls", fmt.Sprintf("%s polls", number(float64(waiters))), overHTTP},
	}
	rows := map[string]*row{}
	span := time.Duration(r.size(int(5*time.Second), int(200*time.Millisecond)))
	for _, k := range kinds {
		row := t.row(k.name, k.side, "-", "each second")
		rows[k.kind] = row
		for _, column := range t.columns {
			row.cell(column)
		}
		t.step(k.name, func(ctx context.Context) error {
			dir, remove, err := r.temp()
			if err != nil {
				return err
			}
			defer remove()
			a, err := measureIn[idleAnswer](ctx, "idle", idleQuestion{Kind: k.kind, Dir: dir, Waiters: waiters, Span: span})
			if err != nil {
				return err
			}
			for column, n := range map[string]int64{
				"CPU, us": a.CPU.Microseconds(), "commits": a.Commits, "store calls": a.Calls, "read calls": a.Reads, "bytes written": a.Written,
			} {
				row.cell(column).add(float64(n) / span.Seconds())
			}
			return nil
		})
	}
	const noise = 200 // microseconds of CPU in a second, 0.02 %: the getrusage of an empty process varies as much
	for _, k := range kinds[1:] {
		row := rows[k.kind]
		above := func(column string) value {
			return func(rep int) float64 { return row.cell(column).value(rep) - rows["empty"].cell(column).value(rep) }
		}
		t.ask("commits, "+k.name, atMost(0), row.cell("commits").value)
		t.ask("store calls, "+k.name, atMost(0), row.cell("store calls").value)
		t.ask("read calls in a second above an empty process, "+k.name, atMost(1), above("read calls"))
		t.ask("us of CPU in a second above an empty process, "+k.name, atMost(noise), above("CPU, us"))
	}
	return t, nil
}

type idleQuestion struct {
	Kind, Dir string
	Waiters   int
	Span      time.Duration
}

type idleAnswer struct {
	CPU            time.Duration
	Commits, Calls int64
	Reads, Written int64 // system calls that read, and bytes, as Linux counts them
}

func measureIdle(q idleQuestion) (a idleAnswer, err error) {
	sum := func() idleAnswer { return idleAnswer{} }
	if q.Kind != "empty" {
		store, err := boltstore.Open(filepath.Join(q.Dir, "jobs.db"), nil)
		if err != nil {
			return a, err
		}
		counting := &countingStore{Store: store}
		p, err := newPollack(counting, noRetention, func() {})
		if err != nil {
			return a, err
		}
		var c crowd = crowdOn(p)
		if q.Kind == "polls" {
			if c, err = pollCrowdOn(p, counting.calls.Load); err != nil {
				return a, err
			}
		}
		defer func() { err = errors.Join(err, c.end()) }()
		if err := p.schedule(q.Waiters); err != nil {
			return a, err
		}
		if err := c.park(q.Waiters); err != nil {
			return a, err
		}
		sum = func() idleAnswer {
			return idleAnswer{Commits: int64(store.Stats().Commits), Calls: int64(counting.calls.Load())}
		}
	}
	memory() // collects now what would be collected while nothing is to happen
	time.Sleep(q.Span / 10)
	before := sum()
	before.CPU, before.Reads, before.Written = cpuTime(), procIO("syscr"), procIO("write_bytes")
	time.Sleep(q.Span)
	a = sum()
	return idleAnswer{
		CPU: cpuTime() - before.CPU, Commits: a.Commits - before.Commits, Calls: a.Calls - before.Calls,
		Reads: procIO("syscr") - before.Reads, Written: procIO("write_bytes") - before.Written,
	}, nil
}

// schedule enqueues jobs for tomorrow.
func (p *pollack) schedule(n int) error {
	jobs := make([]jobqueue.NewJob, n)
	for i := range jobs {
		jobs[i] = jobqueue.NewJob{Payload: make([]byte, payloadSize), Delay: 24 * time.Hour}
	}
	_, err := p.queue.EnqueueMany(context.Background(), jobs)
	return err
}

// A countingStore counts the transactions of a store.
type countingStore struct {
	storage.Store
	calls atomic.Uint64
}

// View implements storage.Store.
func (s *countingStore) View(ctx context.Context, r storage.Reads, fn func(storage.Reader) error) error {
	s.calls.Add(1)
	return s.Store.View(ctx, r, fn)
}

// Update implements storage.Store.
func (s *countingStore) Update(ctx context.Context, r storage.Reads, fn func(storage.Tx) error) error {
	s.calls.Add(1)
	return s.Store.Update(ctx, r, fn)
}

// Unwrap returns the store that is counted.
func (s *countingStore) Unwrap() storage.Store { return s.Store }
