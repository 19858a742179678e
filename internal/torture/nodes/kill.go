package nodes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pollackq/pollack/internal/pgserver"
	"github.com/pollackq/pollack/internal/torture/attack"
	"github.com/pollackq/pollack/internal/torture/life"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/pgstore"
)

const killName = "nodekill"

// Kill kills nodes and their server (SIGKILL). Two to four processes, each a node of its own on one schema, play a mixed load and tell one ledger of it: the mix
// of package life, with enqueues in transactions of the user's own. At a random moment of each round
//
//   - a node is killed, sometimes all of them; or
//   - all processes of the PostgreSQL server are killed, and it starts again on what they left; or
//   - the server is stopped, which cuts everybody off, and starts again.
//
// No process but the killed ones may end. Every node that is left has to go on by itself, and no operation may return much later than its context
// ends. Then the load pauses. What is due has to be done by the nodes that are left, the leases of the killed ones among it (I8), and the schema is compared with the
// ledgers of all rounds (I1-I6, see life.Audit): leases are judged by the times that the database's clock gave them. Where ended jobs are kept, the positions of
// each queue are those from 0 to the next one, none missing and none twice (promise 5); and a row of a user's is there if the job is that was enqueued
// with it, and only then.
//
// After some rounds all that is left is received, and a new schema begun. Half of these keep what has ended, a quarter does for a second, a quarter does not; in a
// third of the rounds leases last a second, and lapse. A kill leaves to the disk what processes wrote, synced or not.
var Kill = &attack.Technique{
	Name:    killName,
	Promise: "nodes, or their PostgreSQL, killed at any moment under load: nothing acknowledged is lost, nothing ended comes back, no lease is granted twice, who is left goes on (I1-I6, I8)",
	Unit:    "rounds",
	CI:      12,
	Release: 500,
	Control: 30,
	Minutes: 12,
	Needs:   []string{"postgres"},
	Apart:   true,
	Run:     runKill,
	Child:   child,
}

const (
	roundsOfSchema = 6
	callersOfNode  = 6
	opsOfNode      = 1 << 20 // numbers that a node may use in a round
)

func runKill(r *attack.Run) {
	server, err := Start(r, nil)
	if err != nil {
		r.Bad("server: %v", err)
		return
	}
	defer server.Kill()
	for _, figure := range []string{lost, phantom, resurrected, double} {
		r.Count(figure, 0)
	}
	for first := 0; first < r.N && !r.Over(); first += roundsOfSchema {
		c, err := newCluster(r, server, first)
		if err != nil {
			r.Bad("rounds from %d on: %v", first, err)
			return
		}
		c.rounds(min(roundsOfSchema, r.N-first))
		c.close()
	}
}

// The figures beside.
const lost, phantom, resurrected, double, others = "lost", "not asked for", "resurrected", "double", "otherwise broken"

// A cluster is some nodes on one schema.
type cluster struct {
	*attack.Run
	first  int // round
	rnd    *rand.Rand
	server *pgserver.Server
	schema string
	pool   *pgxpool.Pool
	order  order
	book   *book
	ledger *life.Ledger
	nodes  []*node // nil: killed
}

func newCluster(r *attack.Run, server *pgserver.Server, first int) (*cluster, error) {
	c := &cluster{Run: r, first: first, rnd: r.Rand(first), server: server, schema: fmt.Sprint("kill_", first)}
	c.ledger, _ = life.Read(strings.NewReader(""))
	c.nodes = make([]*node, 2+c.rnd.IntN(3))
	c.order = order{DSN: server.DSN(), Schema: c.schema, Keep: c.rnd.IntN(len(retentions))}
	var err error
	if c.pool, err = Pool(server.DSN(), "torture", nil); err != nil {
		return nil, err
	}
	if err := pgstore.Migrate(r.Context(), c.pool, &pgstore.Options{Schema: c.schema}); err != nil {
		return nil, err
	}
	if _, err := c.pool.Exec(r.Context(), "CREATE TABLE "+c.schema+".side (id uuid PRIMARY KEY)"); err != nil {
		return nil, err
	}
	c.book, err = newBook()
	return c, err
}

func (c *cluster) close() {
	for _, n := range c.nodes {
		if n != nil {
			n.kill()
		}
	}
	c.book.close()
	c.pool.Close()
	if err := Execute(c.server.DSN(), "DROP SCHEMA "+c.schema+" CASCADE"); err != nil {
		c.Bad("%v", err)
	}
}

// rounds does so many.
func (c *cluster) rounds(n int) {
	for round := c.first; round < c.first+n && !c.Over(); round++ {
		bad := c.round(round, round == c.first+n-1)
		if c.Over() {
			return
		}
		for _, what := range bad {
			c.broken(round, what)
		}
		if len(bad) > 0 {
			return
		}
		c.Done(1)
	}
}

// broken tells of a broken promise, and counts it by its kind.
func (c *cluster) broken(round int, what string) {
	kind := others
	for figure, word := range map[string]string{lost: "(I1)", phantom: "(I2)", resurrected: "(I3)", double: "(I6)"} {
		if strings.Contains(what, word) {
			kind = figure
		}
	}
	if strings.Contains(what, "(I5)") {
		kind = double
	}
	c.Count(kind, 1)
	c.Bad("round %d (%d of its schema, %d nodes, ended jobs kept for %v): %s", round, round-c.first+1, len(c.nodes), retentions[c.order.Keep], what)
}

// round plays, breaks something, has the load pause, and compares.
func (c *cluster) round(round int, last bool) []string {
	if err := c.begin(); err != nil {
		return []string{err.Error()}
	}
	if err := c.book.await(c.Context(), 1+c.rnd.IntN(500)); err != nil {
		return []string{err.Error()}
	}
	if err := c.strike(); err != nil {
		return []string{err.Error()}
	}
	if err := c.goOn(); err != nil {
		return []string{err.Error()}
	}
	if err := c.pause(); err != nil {
		return []string{err.Error()}
	}
	lines := c.book.take()
	c.Count("operations answered", int64(strings.Count(lines, "\ne ")))
	if _, err := c.ledger.ReadFrom(strings.NewReader(lines)); err != nil {
		return []string{err.Error()}
	}
	if err := c.overdue(); err != nil {
		return []string{err.Error()}
	}
	return c.audit(last)
}

// begin starts the nodes that are not there, and has all play.
func (c *cluster) begin() error {
	load := life.Load{Callers: callersOfNode, Large: c.rnd.IntN(4) == 0, Unsure: true, Patience: 5 * time.Second}
	if c.rnd.IntN(3) == 0 {
		load.Lease = jobqueue.MinLease
	}
	for i, n := range c.nodes {
		if n == nil {
			var err error
			if c.nodes[i], err = startNode(c.Context(), i, c.order, c.book); err != nil {
				return err
			}
		}
	}
	if err := c.book.awaitAll(c.Context(), "ready", c.living()); err != nil {
		return err
	}
	first := c.ledger.Last() + 1
	c.book.number(first)
	for i, n := range c.nodes {
		l := load
		l.Seed, l.First = c.rnd.Uint64(), first+i*opsOfNode
		text, err := json.Marshal(l)
		if err != nil {
			return err
		}
		if err := n.say("play " + string(text)); err != nil {
			return err
		}
	}
	return nil
}

// living returns which nodes there are.
func (c *cluster) living() (there []int) {
	for i, n := range c.nodes {
		if n != nil {
			there = append(there, i)
		}
	}
	return there
}

// strike breaks something, and mends what does not mend itself.
func (c *cluster) strike() error {
	outage := time.Duration(c.rnd.Int64N(int64(400 * time.Millisecond)))
	switch k := c.rnd.IntN(10); {
	case k < 4:
		victims := []int{c.rnd.IntN(len(c.nodes))}
		if c.rnd.IntN(5) == 0 {
			victims = c.living()
		}
		for _, i := range victims {
			c.nodes[i].kill()
			c.nodes[i] = nil
			c.Count("nodes killed", 1)
		}
		c.Count("rounds with nodes killed", 1)
		return nil
	case k < 8:
		c.server.Kill()
		c.Count("rounds with the server killed", 1)
	default:
		if err := c.server.Stop(); err != nil {
			return err
		}
		c.Count("rounds with the server stopped", 1)
	}
	c.wait(outage)
	return c.server.Restart()
}

// wait is the length of an outage.
func (c *cluster) wait(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.Context().Done():
	}
}

// goOn waits until each node that is left has done something more.
func (c *cluster) goOn() error { return c.book.awaitDone(c.Context(), c.living(), 3) }

// pause ends the plays.
func (c *cluster) pause() error {
	for _, i := range c.living() {
		if err := c.nodes[i].say("pause"); err != nil {
			return err
		}
	}
	return c.book.awaitAll(c.Context(), "paused", c.living())
}

// overdue waits until no transaction of a killed node is under way any more, and then until the nodes that are left have done what is due.
func (c *cluster) overdue() error {
	ctx, cancel := context.WithTimeout(c.Context(), limit)
	defer cancel()
	for what, query := range map[string]string{
		"a transaction goes on": "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = '" + c.schema + "' AND xact_start < clock_timestamp() - interval '200 ms')",
		"what was due 2 s ago is not done, or a job has no position yet (I8)": "SELECT EXISTS (SELECT FROM " + c.schema + ".job WHERE state = 2 OR due < clock_timestamp() - interval '2 s')",
	} {
		if strings.Contains(what, "I8") && len(c.living()) == 0 {
			continue // the audit does it
		}
		for on := true; on; {
			// The server has just started: connections that the pool knows may be of the one before.
			if err := c.pool.QueryRow(ctx, query).Scan(&on); err != nil && ctx.Err() == nil {
				c.pool.Reset()
				on = true
			}
			if ctx.Err() != nil {
				if c.Over() {
					return nil
				}
				return fmt.Errorf("for %v %s", limit, what)
			}
		}
	}
	return nil
}

// audit compares the schema with the ledger.
func (c *cluster) audit(last bool) []string {
	store, err := pgstore.New(c.Context(), c.pool, &pgstore.Options{Schema: c.schema})
	if err != nil {
		return []string{err.Error()}
	}
	defer store.Close()
	o := c.order.options()
	bad := c.ledger.Audit(c.Context(), store, o)
	if err := c.rows(); err != nil {
		bad = append(bad, err.Error())
	}
	if !last || c.Over() {
		return bad
	}
	b, err := jobqueue.New(store, o)
	if err != nil {
		return append(bad, err.Error())
	}
	defer b.Shutdown(context.WithoutCancel(c.Context()))
	return append(bad, c.ledger.Drain(c.Context(), b)...)
}

// rows looks at what only the database shows: each query returns what is wrong, a line for each.
func (c *cluster) rows() error {
	queries := []string{
		"SELECT 'job ' || {s}.ulid(j.id) || ' is there, and the row that was to commit with it is not (I2)' FROM {s}.job AS j" +
			" WHERE j.key LIKE '" + beside + "%' AND NOT EXISTS (SELECT FROM {s}.side WHERE side.id = j.id)",
	}
	if retentions[c.order.Keep] == 0 {
		queries = append(queries,
			"SELECT 'job ' || {s}.ulid(side.id) || ' is lost, and the row that committed with it is there (I1)' FROM {s}.side"+
				" WHERE NOT EXISTS (SELECT FROM {s}.job AS j WHERE j.id = side.id)",
			"SELECT 'queue ' || q.name || ' has ' || count(j.id) || ' jobs on ' || count(DISTINCT j.position) || ' positions up to ' || coalesce(max(j.position), -1) ||"+
				" ', and the next is ' || q.next FROM {s}.queue AS q LEFT JOIN {s}.job AS j ON j.qid = q.qid AND j.state NOT IN (1, 2) GROUP BY q.qid"+
				" HAVING count(j.id) <> q.next OR count(DISTINCT j.position) <> q.next OR coalesce(max(j.position), -1) <> q.next - 1")
	}
	for _, query := range queries {
		rows, err := c.pool.Query(c.Context(), strings.ReplaceAll(query, "{s}", c.schema))
		if err != nil {
			return err
		}
		wrong, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		if len(wrong) > 0 {
			return errors.New(strings.Join(wrong, "; "))
		}
	}
	return nil
}
