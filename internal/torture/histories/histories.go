// Package histories lets eight clients loose on a broker and then asks whether what they saw could have come from the model, had their calls
// been done one by one, each at some moment between its beginning and its end: linearizability, checked by porcupine (I22). With it go that
// no two unlapsed leases of a job exist (I5), that a superseded token changes nothing (I6), that one call ends a job (I7), that a receive
// whose caller left holds nothing (I11), and the order of deliveries (I12): whatever the model says, while others do the same.
//
// A history has two hundred calls on one to three queues, each of which is checked by itself; nothing else is shared between queues. The
// mix, in units of a hundred: on memory and bbolt, over HTTP, with the clock moved meanwhile, so that leases lapse, and ten with calls of
// the store that fail before or after their effect, after which what was called is left open: it may have happened at any later time, or
// never.
//
// It cannot find what shows only across a crash, nor what needs time that runs by itself; nor a wake-up that is lost: that a receive which
// waited found nothing is always believed (the techniques parked and duel are for that).
package histories

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pollackq/pollack/internal/torture/attack"
	"github.com/pollackq/pollack/internal/torture/model"
	"github.com/pollackq/pollack/internal/torture/model/drive"
	"github.com/pollackq/pollack/jobqueue"
)

// Technique is histories.
var Technique = &attack.Technique{
	Name:    "histories",
	Promise: "what eight clients see could have come from one after the other (I5, I6, I7, I11, I12, I22)",
	Unit:    "histories",
	CI:      2_000,
	Release: 100_000,
	Control: 1_000,
	Minutes: 9,
	Run:     run,
}

// A kind of histories. Those of a group share a store.
type kind struct {
	bolt, wire, times, faulty bool
	nodes                     int // on PostgreSQL, 0 elsewhere
	size                      int // of a group
	groups                    int // in a hundred histories
}

// shared reports whether the store is one of those on which transactions pass over what others are busy with.
func (k kind) shared() bool { return k.nodes > 0 }

var kinds = []kind{
	{size: 5, groups: 5},
	{times: true, size: 4, groups: 6},
	{bolt: true, size: 12, groups: 2},
	{bolt: true, times: true, size: 4, groups: 1},
	{wire: true, size: 4, groups: 1},
	{bolt: true, wire: true, size: 4, groups: 1},
	{faulty: true, size: 4, groups: 1},
	{faulty: true, bolt: true, size: 4, groups: 1},
	{faulty: true, wire: true, size: 2, groups: 1},
}

// A task is one group to be done.
type task struct {
	kind
	first int // unit
}

func run(r *attack.Run) { runKinds(r, kinds, "") }

// runKinds does histories of the kinds. The dsn is that of the server for those that need one.
func runKinds(r *attack.Run, kinds []kind, dsn string) {
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // much is made here, and little of it kept
	var tasks []task
	for unit := 0; unit < r.N; {
		for _, k := range kinds {
			for range k.groups {
				if unit < r.N {
					tasks = append(tasks, task{k, unit})
					unit += k.size
				}
			}
		}
	}
	queue := make(chan task, len(tasks))
	for _, t := range tasks {
		queue <- t
	}
	close(queue)
	var wg sync.WaitGroup
	for range 4 { // those on bbolt wait for commits, and many receivers for jobs
		wg.Go(func() {
			for t := range queue {
				if r.Over() {
					return
				}
				doGroup(r, t, dsn)
			}
		})
	}
	wg.Wait()
}

// A group is histories that share a store, all under way at once.
type group struct {
	r    *attack.Run
	task task
	*stage
	now atomic.Int64 // counts the beginnings and ends of calls

	mu    sync.Mutex // held while the clock moves; guards what follows
	spent time.Duration
	moves []move
}

// A move of the clock concerns all histories of a group.
type move struct {
	d          time.Duration
	begun, end int64
}

// A history is what the clients of some queues did.
type history struct {
	kind
	g     *group
	unit  int
	lines []*line
	pen   pen

	// Some jobs have deadlines. Then no receive waits: one that finds only jobs whose deadlines have passed has these fail, and goes on to wait,
	// which are two moments.
	deadlines bool
}

func (h *history) count(figure string) { h.g.r.Count(figure, 1) }

func doGroup(r *attack.Run, t task, dsn string) {
	g := &group{r: r, task: t}
	bad := func(format string, args ...any) {
		r.Bad("histories from %d on: %s", t.first, fmt.Sprintf(format, args...))
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // generous: no call waits that long
	defer cancel()
	var err error
	if t.shared() {
		g.stage, err = openNodes(ctx, r, t, dsn)
	} else {
		g.stage, err = openStage(r, t)
	}
	if err != nil {
		bad("open: %v", err)
		return
	}
	var hs []*history
	for unit := t.first; unit < min(t.first+t.size, r.N); unit++ {
		h, err := g.newHistory(unit)
		if err != nil {
			bad("Configure: %v", err)
			return
		}
		hs = append(hs, h)
	}
	if t.faulty {
		g.fail()
	}
	var wg sync.WaitGroup
	for _, h := range hs {
		rnd := r.Rand(h.unit)
		for n := range clients {
			c := &client{h: h, n: n + 1, mine: make(map[*line][]jobqueue.Ack), rnd: rand.New(rand.NewPCG(rnd.Uint64(), rnd.Uint64()))}
			wg.Go(func() { c.run(ctx) })
		}
	}
	wg.Wait()
	if err := g.heal(ctx); err != nil {
		bad("%v", err)
	}
	for _, h := range hs {
		h.look(ctx)
	}
	if ctx.Err() != nil {
		bad("some call did not return within a minute")
	}
	cancel()
	if err := g.close(); err != nil {
		bad("%v", err)
	}
	for _, h := range hs {
		if !r.Over() {
			h.judge()
		}
	}
}

// newHistory begins with queues that have no jobs.
func (g *group) newHistory(unit int) (*history, error) {
	h := &history{kind: g.task.kind, g: g, unit: unit, pen: pen{now: &g.now}}
	rnd := g.r.Rand(unit)
	h.deadlines = h.times && !h.shared() && rnd.IntN(2) == 0
	pick := func(of ...int) int { return of[rnd.IntN(len(of))] }
	for k := range 1 + rnd.IntN(3) {
		s := model.Settings{Lease: 5 * time.Minute, Retention: 24 * time.Hour, Tombstone: 24 * time.Hour, MaxDeliveries: pick(0, 0, 2, 3), Backlog: pick(0, 0, 0, 4)}
		if h.times {
			s.Lease, s.Retention = time.Duration(pick(1, 3, 10))*time.Second, time.Duration(pick(5, 30, 10_000))*time.Second
			s.Tombstone = time.Duration(pick(-1, 5, 10_000)) * time.Second
		}
		if !h.wire && rnd.IntN(5) == 0 {
			s.Retention = -1
		}
		if h.shared() {
			s = h.coarse(s, rnd)
		}
		l := &line{settings: s}
		for _, b := range g.brokers {
			q := b.Queue(fmt.Sprintf("history-%d-%d", unit, k))
			if _, _, err := q.Configure(context.Background(), drive.Settings(s)); err != nil {
				return nil, err
			}
			var c drive.Caller = drive.Broker{B: b, Q: q}
			switch {
			case h.shared():
				c = steady{c}
			case g.server != nil:
				c = drive.Wire{C: g.server.Client, Queue: q.Name().Name}
			}
			l.callers = append(l.callers, c)
		}
		h.lines = append(h.lines, l)
	}
	return h, nil
}

// longest is how far the clock moves in all: less than it takes until a closed queue is forgotten.
const longest = 50 * time.Second

// advance moves the clock, for all histories of the group.
func (g *group) advance(ctx context.Context, rnd *rand.Rand) {
	d := time.Duration(1+rnd.IntN(4000)) * time.Millisecond
	if g.task.shared() {
		d = time.Duration(1+rnd.IntN(3)) * tick
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.spent+d > longest {
		return
	}
	g.spent += d
	m := move{d: d, begun: g.now.Add(1)}
	if err := g.timer.Advance(ctx, d); err != nil {
		g.r.Bad("histories from %d on: after the clock moved by %v: %v", g.task.first, d, err)
	}
	m.end = g.now.Add(1)
	g.moves = append(g.moves, m)
}

// look reads all at the end, when nothing is under way.
func (h *history) look(ctx context.Context) {
	for k, l := range h.lines {
		c := &client{h: h, n: clients + 1 + k, rnd: h.g.r.Rand(h.unit), mine: make(map[*line][]jobqueue.Ack), line: l}
		c.do(ctx, k, &model.Op{Kind: model.Info})
		if !h.wire {
			c.do(ctx, k, &model.Op{Kind: model.List})
		}
		if h.shared() { // where a receive may have passed over what others were busy with: now nobody is
			c.do(ctx, k, &model.Op{Kind: model.Receive, Max: jobqueue.MaxBatch, Wait: -1})
		}
	}
}

// judge checks each queue of the history by itself.
func (h *history) judge() {
	for k, l := range h.lines {
		for i, m := range h.g.moves {
			op := &model.Op{Kind: model.Advance, For: m.d}
			for _, c := range []call{{op: op, how: moved, mark: i}, {op: op, how: worked, mark: i}} {
				h.pen.noteAt(k, &c, &model.Answer{}, m.begun, m.end)
			}
		}
		if h.shared() {
			markBusy(h.pen.lines[k], h.faulty)
		}
		wrong, undecided := check(l.settings, h.pen.lines[k])
		if undecided {
			h.count("not decided in time")
		}
		if wrong != "" {
			h.g.r.Bad("history %d, queue %d, %s: %s", h.unit, k, h.kind, wrong)
			return
		}
	}
	h.g.r.Done(1)
	h.count("histories " + h.kind.String())
}

func (k kind) String() string {
	s := "on memory"
	switch {
	case k.bolt:
		s = "on bbolt"
	case k.shared():
		s = fmt.Sprintf("on %d nodes", k.nodes)
	}
	if k.wire {
		s += " over HTTP"
	}
	if k.times {
		s += " with a clock that moves"
	}
	if k.faulty {
		s += " with faults"
	}
	return s
}
