package pgstore

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/pgstore/internal/pgtest"
)

// patienceOfTests is how long what is to happen at once may take.
const patienceOfTests = time.Minute

// never is a Fallback for tests of notifications: what they do not bring does not come.
const never = time.Hour

// A node is a process on a schema: a store and a broker.
type node struct {
	t     *testing.T
	ctx   context.Context
	store *Store
	b     *jobqueue.Broker
	q     *jobqueue.Queue // "work"
	stop  func()
}

// newNode makes a node, which the end of the test stops.
func newNode(t *testing.T, pool *pgxpool.Pool, o Options) *node {
	t.Helper()
	return newNodeWith(t, pool, o, nil)
}

func newNodeWith(t *testing.T, pool *pgxpool.Pool, o Options, broker *jobqueue.Options) *node {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	s, err := New(ctx, pool, &o)
	if err != nil {
		t.Fatal(err)
	}
	b, err := jobqueue.New(s, broker)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{t: t, ctx: ctx, store: s, b: b, q: b.Queue("work")}
	n.stop = sync.OnceFunc(func() {
		if err := errors.Join(b.Shutdown(ctx), s.Close()); err != nil {
			t.Errorf("stopping a node: %v", err)
		}
		cancel()
	})
	t.Cleanup(n.stop)
	return n
}

// newNodes makes nodes that know of each other.
func newNodesOf(t *testing.T, n int, pool *pgxpool.Pool, o Options) []*node {
	t.Helper()
	var all []*node
	for range n {
		all = append(all, newNode(t, pool, o))
	}
	for _, one := range all {
		one.until("it knows the others", func(h *hub) bool { return h.hearing && len(h.nodes.heard) == n-1 && time.Now().After(h.settled) })
	}
	return all
}

// until waits for a state of the node's hub.
func (n *node) until(what string, is func(h *hub) bool) {
	n.t.Helper()
	h := n.store.hub
	for limit := time.Now().Add(patienceOfTests); ; {
		h.mu.Lock()
		ok := is(h)
		h.mu.Unlock()
		if ok {
			return
		}
		if time.Now().After(limit) {
			n.t.Fatalf("not within %v: %s", patienceOfTests, what)
		}
		time.Sleep(time.Millisecond)
	}
}

func (n *node) add(j jobqueue.NewJob) *jobqueue.Job {
	n.t.Helper()
	out, err := n.q.Enqueue(n.ctx, j)
	if err != nil {
		n.t.Fatal(err)
	}
	return out
}

// parked has receivers of a node wait, and returns what they get.
func (n *node) parked(count int) <-chan *jobqueue.Delivery {
	n.t.Helper()
	out := make(chan *jobqueue.Delivery, count)
	want := n.b.Stats().Receivers + count
	for range count {
		go func() {
			d, err := n.q.Receive(n.ctx, nil)
			if err != nil && !errors.Is(err, jobqueue.ErrShutdown) && !errors.Is(err, jobqueue.ErrDone) {
				n.t.Errorf("Receive: %v", err)
			}
			if err == nil {
				out <- d
			}
		}()
	}
	n.until(fmt.Sprintf("%d wait", want), func(*hub) bool { return n.b.Stats().Receivers == want })
	return out
}

func get[T any](t *testing.T, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patienceOfTests):
		t.Fatalf("%s: nothing within %v", what, patienceOfTests)
	}
	return v
}

func TestAJobOfOneNodeWakesAReceiverOfAnother(t *testing.T) {
	all := newNodesOf(t, 2, pgtest.Pool(t), Options{Schema: pgtest.Schema(t), Fallback: never})
	a, b := all[0], all[1]
	got := make(chan *jobqueue.Delivery)
	go func() { // the next Receive begins while the next job is on its way
		for range 200 {
			d, err := b.q.Receive(b.ctx, nil)
			if err != nil {
				t.Errorf("Receive: %v", err)
				return
			}
			got <- d
		}
	}()
	for i := range 200 {
		j := a.add(jobqueue.NewJob{})
		if d := get(t, fmt.Sprintf("job %d", i), got); d.ID != j.ID {
			t.Fatalf("got %v, want %v", d.ID, j.ID)
		}
	}
}

func TestOneJobWakesOneReceiverOnOneNode(t *testing.T) {
	const jobs = 40
	all := newNodesOf(t, 3, pgtest.Pool(t), Options{Schema: pgtest.Schema(t), Fallback: never})
	a, b, c := all[0], all[1], all[2]
	fromB, fromC := b.parked(jobs), c.parked(jobs)
	knows := func(h *hub) bool {
		list := h.nodes.waits[a.q.Name()]
		return len(list) == 2 && list[0].n+list[1].n > 0
	}
	a.until("it knows who waits", knows)
	before := b.store.Stats().Calls + c.store.Stats().Calls
	var gotB, gotC int
	for range jobs {
		a.until("it knows who waits", knows)
		a.add(jobqueue.NewJob{})
		select {
		case <-fromB:
			gotB++
		case <-fromC:
			gotC++
		case <-time.After(patienceOfTests):
			t.Fatal("a job wakes nobody")
		}
	}
	if calls := b.store.Stats().Calls + c.store.Stats().Calls - before; calls != jobs {
		t.Errorf("%d jobs took %d looks", jobs, calls)
	}
	if gotB < jobs/4 || gotC < jobs/4 {
		t.Errorf("one got %d jobs, the other %d", gotB, gotC)
	}
}

func TestABurstWakesAsManyAsThereAreJobs(t *testing.T) {
	all := newNodesOf(t, 3, pgtest.Pool(t), Options{Schema: pgtest.Schema(t), Fallback: never})
	a, b, c := all[0], all[1], all[2]
	fromB, fromC := b.parked(20), c.parked(20)
	a.until("it knows who waits", func(h *hub) bool {
		list := h.nodes.waits[a.q.Name()]
		return len(list) == 2 && list[0].n+list[1].n == 40
	})
	if _, err := a.q.EnqueueMany(a.ctx, make([]jobqueue.NewJob, 40)); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		get(t, "a receiver of b", fromB)
		get(t, "a receiver of c", fromC)
	}
}

// notifications counts what is sent on a schema's channel, while fn runs.
func notifications(t *testing.T, pool *pgxpool.Pool, channel string, fn func()) (payloads []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patienceOfTests)
	defer cancel()
	conn, err := pool.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { conn.Hijack().Close(ctx) }()
	if _, err := conn.Exec(ctx, "LISTEN "+quoted(channel)); err != nil {
		t.Fatal(err)
	}
	fn()
	if _, err := conn.Exec(ctx, "SELECT pg_notify($1::text, 'end')", channel); err != nil {
		t.Fatal(err)
	}
	for {
		n, err := conn.Conn().WaitForNotification(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if n.Payload == "end" {
			return payloads
		}
		payloads = append(payloads, n.Payload)
	}
}

func TestASingleNodeSendsNothing(t *testing.T) {
	pool := pgtest.Pool(t)
	a := newNodesOf(t, 1, pool, Options{Schema: pgtest.Schema(t), Fallback: never})[0]
	got := notifications(t, pool, a.store.hub.channel, func() {
		for range 20 {
			j := a.add(jobqueue.NewJob{})
			a.b.Wait(a.ctx, j.ID, 0)
			d, err := a.q.TryReceive(a.ctx, nil)
			if err == nil {
				err = d.Ack(a.ctx)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		from := a.parked(1)
		a.add(jobqueue.NewJob{})
		get(t, "the receiver", from)
	})
	if len(got) > 0 {
		t.Errorf("got %d notifications: %+v", len(got), saysIn(t, got))
	}
}

// Two nodes that are busy, so that nobody sleeps, tell each other nothing either: a notification has all commits wait for each other.
func TestBusyNodesTellEachOtherNothing(t *testing.T) {
	pool := pgtest.Pool(t)
	all := newNodesOf(t, 2, pool, Options{Schema: pgtest.Schema(t), Fallback: never})
	got := notifications(t, pool, all[0].store.hub.channel, func() {
		for i := range 40 {
			all[i%2].add(jobqueue.NewJob{})
		}
		for i := range 40 {
			d, err := all[i%2].q.TryReceive(all[i%2].ctx, nil)
			if err == nil {
				err = d.Ack(all[0].ctx)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	})
	if len(got) > 0 {
		t.Errorf("got %d notifications: %+v", len(got), saysIn(t, got))
	}
}

func TestALostNotificationCostsNoMoreThanTheFallback(t *testing.T) {
	for name, o := range map[string]Options{
		"no listening":     {NoListen: true},
		"nothing is heard": {},
	} {
		t.Run(name, func(t *testing.T) {
			o.Schema, o.Fallback = pgtest.Schema(t), 100*time.Millisecond
			pool := pgtest.Pool(t)
			a, b := newNode(t, pool, o), newNode(t, pool, o)
			if !o.NoListen { // whatever it says
				for _, n := range []*node{a, b} {
					n.until("it hears", func(h *hub) bool { return h.hearing })
					n.store.mutedUntil.Store(time.Now().Add(time.Hour).UnixNano())
				}
			}
			from := b.parked(2)
			trips := b.store.Stats().Trips
			b.until("it has looked", func(*hub) bool { return b.store.Stats().Trips >= trips+3 })
			j := a.add(jobqueue.NewJob{})
			end := make(chan error, 1)
			go func() {
				_, err := a.b.WaitEnd(a.ctx, j.ID)
				end <- err
			}()
			d := get(t, "a receiver of b", from)
			if err := d.Ack(b.ctx); err != nil {
				t.Fatal(err)
			}
			if err := get(t, "WaitEnd on a", end); err != nil {
				t.Errorf("WaitEnd: %v", err)
			}
			idle := make(chan error, 1)
			go func() { idle <- b.q.Idle(b.ctx) }()
			if err := get(t, "Idle on b", idle); err != nil {
				t.Errorf("Idle: %v", err)
			}
			if err := a.q.Close(a.ctx); err != nil {
				t.Fatal(err)
			}
			b.until("the other receiver learns that the queue is done", func(*hub) bool { return b.b.Stats().Receivers == 0 })
		})
	}
}

// A node that was cut off comes back by itself, and misses nothing.
func TestAListenerWhoseConnectionIsEndedComesBack(t *testing.T) {
	pool := pgtest.Pool(t)
	all := newNodesOf(t, 2, pool, Options{Schema: pgtest.Schema(t), Fallback: never})
	a, b := all[0], all[1]
	for round := range 3 {
		b.until("it shows that it listens", func(*hub) bool { return listeners(t, pool, b) == 2 })
		from := b.parked(1)
		if round == 0 {
			a.until("it knows who waits", func(h *hub) bool { return len(h.nodes.waits) == 1 })
		}
		kill(t, pool, b)
		j := a.add(jobqueue.NewJob{}) // while nobody listens, or knows who waits
		if d := get(t, fmt.Sprintf("round %d", round), from); d.ID != j.ID {
			t.Errorf("got %v, want %v", d.ID, j.ID)
		}
		for _, n := range all {
			n.until("it hears again", func(h *hub) bool { return h.hearing && len(h.nodes.heard) == 1 })
		}
	}
}

const lockOfListeners = "FROM pg_locks WHERE locktype = 'advisory' AND objid = 0 AND objsubid = 2 AND classid = (hashtext($1)::bigint & 4294967295)::oid"

// listeners returns how many listen on a node's schema.
func listeners(t *testing.T, pool *pgxpool.Pool, n *node) (count int) {
	if err := pool.QueryRow(n.ctx, "SELECT count(*) "+lockOfListeners, n.store.hub.channel).Scan(&count); err != nil {
		t.Error(err)
	}
	return count
}

// kill ends all connections that listen on a node's schema.
func kill(t *testing.T, pool *pgxpool.Pool, n *node) {
	t.Helper()
	if _, err := pool.Exec(n.ctx, "SELECT pg_terminate_backend(pid) "+lockOfListeners, n.store.hub.channel); err != nil {
		t.Fatal(err)
	}
}

func TestANodeThatIsCutOffComesBack(t *testing.T) {
	pool := pgtest.Pool(t)
	proxy := pgtest.NewProxy(t, pgtest.DSN(t))
	through := pgtest.Connect(t, proxy.DSN())
	o := Options{Schema: pgtest.Schema(t), Fallback: 50 * time.Millisecond}
	a, b := newNode(t, pool, o), newNode(t, through, o)
	b.until("it hears", func(h *hub) bool { return h.hearing })
	from := b.parked(2)
	proxy.Cut()
	b.until("it does not hear", func(h *hub) bool { return !h.hearing })
	j := a.add(jobqueue.NewJob{})
	ctx, cancel := context.WithTimeout(b.ctx, 300*time.Millisecond)
	defer cancel()
	if _, err := b.q.Enqueue(ctx, jobqueue.NewJob{}); err == nil {
		t.Error("enqueued while it was cut off")
	}
	proxy.Heal()
	if d := get(t, "a receiver of b", from); d.ID != j.ID {
		t.Errorf("got %v, want %v", d.ID, j.ID)
	}
	b.until("it hears again", func(h *hub) bool { return h.hearing })
	b.add(jobqueue.NewJob{})
	get(t, "the other receiver", from)
}

// A tracer counts the statements of a pool.
type tracer struct {
	mu  sync.Mutex
	all []string
}

func (q *tracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, d pgx.TraceQueryStartData) context.Context {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.all = append(q.all, d.SQL)
	return ctx
}
func (q *tracer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}
func (q *tracer) TraceBatchStart(ctx context.Context, _ *pgx.Conn, d pgx.TraceBatchStartData) context.Context {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.all = append(q.all, "batch")
	return ctx
}
func (q *tracer) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}
func (q *tracer) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData)     {}

func (q *tracer) take() []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := q.all
	q.all = nil
	return all
}

func TestAnIdleNodeMakesOneQueryAFallback(t *testing.T) {
	const fallback, looks = 50 * time.Millisecond, 30
	pool := pgtest.Pool(t)
	config := pool.Config()
	trace := new(tracer)
	config.ConnConfig.Tracer = trace
	traced, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(traced.Close)
	a := newNode(t, traced, Options{Schema: pgtest.Schema(t), Fallback: fallback})
	held := a.b.Queue("held")
	if _, err := held.Enqueue(a.ctx, jobqueue.NewJob{Delay: time.Hour}); err != nil {
		t.Fatal(err)
	}
	j, err := held.Enqueue(a.ctx, jobqueue.NewJob{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := held.TryReceive(a.ctx, nil); err != nil {
		t.Fatal(err)
	}
	go a.b.WaitEnd(a.ctx, j.ID)
	a.parked(5)
	a.until("it is alone", func(h *hub) bool { return h.hearing && time.Now().After(h.settled) })
	seen := 0
	a.until("it has looked twice", func(*hub) bool { seen += len(trace.take()); return seen > 4 })
	begun := time.Now()
	trace.take()
	var all []string
	a.until("it has looked often", func(*hub) bool { all = append(all, trace.take()...); return len(all) >= looks })
	if took := time.Since(begun); took < (looks-2)*fallback {
		t.Errorf("%d queries within %v, one in %v is allowed", len(all), took, fallback)
	}
	for _, sql := range all {
		if !strings.Contains(sql, "unnest($1::text[], $2::text[], $3::bigint[])") {
			t.Errorf("not a look: %s", sql)
		}
	}
}

func TestATransactionOfTheUsersWakesReceivers(t *testing.T) {
	pool := pgtest.Pool(t)
	all := newNodesOf(t, 2, pool, Options{Schema: pgtest.Schema(t), Fallback: never})
	for i, receives := range all {
		from := receives.parked(1)
		tx, err := pool.Begin(receives.ctx)
		if err != nil {
			t.Fatal(err)
		}
		j, err := all[0].b.EnqueueTx(receives.ctx, all[0].store.Tx(tx), "work", jobqueue.NewJob{})
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-from:
			t.Error("received before the commit")
		default:
		}
		if err := tx.Commit(receives.ctx); err != nil {
			t.Fatal(err)
		}
		if d := get(t, fmt.Sprintf("a receiver of node %d", i), from); d.ID != j.ID {
			t.Errorf("got %v, want %v", d.ID, j.ID)
		}
	}
}

func TestAWaitSeesWhatAnotherNodeDoes(t *testing.T) {
	all := newNodesOf(t, 2, pgtest.Pool(t), Options{Schema: pgtest.Schema(t), Fallback: never})
	a, b := all[0], all[1]
	for i := range 100 {
		j := a.add(jobqueue.NewJob{})
		end := make(chan error, 1)
		go func() { // while the job is being done
			got, err := b.b.WaitEnd(b.ctx, j.ID)
			if err == nil && got.State != jobqueue.Succeeded {
				err = fmt.Errorf("the job is %v", got.State)
			}
			end <- err
		}()
		d, err := a.q.TryReceive(a.ctx, nil)
		if err == nil {
			err = d.Ack(a.ctx)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := get(t, fmt.Sprintf("job %d", i), end); err != nil {
			t.Fatal(err)
		}
	}
}

func TestACancelOnOneNodeEndsTheHandlerOnAnother(t *testing.T) {
	for _, c := range []struct {
		name      string
		retention time.Duration
		want      jobqueue.Reason
		waits     error
	}{
		{"kept", 0, jobqueue.JobCanceled, nil},
		{"not kept", -1, jobqueue.JobGone, jobqueue.ErrNotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			pool, o := pgtest.Pool(t), Options{Schema: pgtest.Schema(t), Fallback: 100 * time.Millisecond}
			a := newNodeWith(t, pool, o, &jobqueue.Options{Retention: c.retention})
			b := newNodeWith(t, pool, o, &jobqueue.Options{Retention: c.retention})
			ctx, cancel := context.WithCancel(b.ctx)
			began, over, consumed, waited := make(chan struct{}), make(chan error, 1), make(chan error, 1), make(chan error, 1)
			go func() {
				consumed <- b.q.Consume(ctx, func(ctx context.Context, _ *jobqueue.Delivery) error {
					close(began)
					<-ctx.Done()
					over <- context.Cause(ctx)
					return ctx.Err()
				}, nil)
			}()
			j := a.add(jobqueue.NewJob{})
			get(t, "the handler begins", began)
			b.until("the job is watched", func(*hub) bool { return len(b.store.hub.listener.Awaits().Jobs) == 1 })
			go func() {
				_, err := b.b.WaitEnd(b.ctx, j.ID)
				waited <- err
			}()
			trips := b.store.Stats().Trips
			b.until("it has looked", func(*hub) bool { return b.store.Stats().Trips >= trips+3 })
			if _, err := a.b.Cancel(a.ctx, j.ID); err != nil {
				t.Fatal(err)
			}
			var lost *jobqueue.LeaseLostError
			if err := get(t, "the handler's context ends", over); !errors.As(err, &lost) || lost.Reason != c.want {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if err := get(t, "WaitEnd", waited); !errors.Is(err, c.waits) {
				t.Errorf("WaitEnd: got %v, want %v", err, c.waits)
			}
			cancel()
			if err := get(t, "Consume", consumed); err != nil {
				t.Errorf("Consume: %v", err)
			}
		})
	}
}

func TestADueJobOutlivesItsNode(t *testing.T) {
	all := newNodesOf(t, 2, pgtest.Pool(t), Options{Schema: pgtest.Schema(t), Fallback: 50 * time.Millisecond})
	a, b := all[0], all[1]
	from := b.parked(1)
	j := a.add(jobqueue.NewJob{Delay: 300 * time.Millisecond})
	a.stop()
	if d := get(t, "the receiver", from); d.ID != j.ID {
		t.Errorf("got %v, want %v", d.ID, j.ID)
	}
}

func TestOneNodeOfAClusterDoesNotLag(t *testing.T) {
	all := newNodesOf(t, 3, pgtest.Pool(t), Options{Schema: pgtest.Schema(t), Fallback: never})
	punctual := func() (n int) {
		for _, one := range all {
			if one.store.Lag() == 0 {
				n++
			}
		}
		return n
	}
	if n := punctual(); n != 1 {
		t.Errorf("%d of 3 nodes do not lag", n)
	}
	for i, one := range all {
		if one.store.Lag() == 0 { // it goes: another takes its place
			one.stop()
			all = append(all[:i], all[i+1:]...)
			break
		}
	}
	all[0].until("one of the others does not lag", func(*hub) bool { return punctual() == 1 })
}

// A muffled connection passes no notifications on, as behind a pooler in transaction mode.
type muffled struct {
	net.Conn
	from *bufio.Reader
	left int // of the message that is being passed on
}

func (m *muffled) Read(p []byte) (int, error) {
	for m.left == 0 {
		head, err := m.from.Peek(5) // a message of the server's: its type, its length without that
		if err != nil {
			return 0, err
		}
		m.left = 1 + int(binary.BigEndian.Uint32(head[1:]))
		if head[0] == 'A' { // NotificationResponse
			_, err = m.from.Discard(m.left)
			m.left = 0
		}
		if err != nil {
			return 0, err
		}
	}
	n, err := m.from.Read(p[:min(len(p), m.left)])
	m.left -= n
	return n, err
}

// A pooler that does not pass notifications on is found out, whatever it says to LISTEN.
func TestANodeThatHearsNothingFallsBackToLooking(t *testing.T) {
	pool := pgtest.Pool(t)
	config := pool.Config()
	config.ConnConfig.TLSConfig, config.ConnConfig.Fallbacks = nil, nil
	dial := config.ConnConfig.DialFunc
	config.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &muffled{Conn: conn, from: bufio.NewReader(conn)}, nil
	}
	through, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(through.Close)
	o := Options{Schema: pgtest.Schema(t), Fallback: 50 * time.Millisecond}
	a, b := newNode(t, pool, o), newNode(t, through, o)
	b.until("it knows that it is deaf", func(h *hub) bool { return h.deaf })
	from := b.parked(1)
	j := a.add(jobqueue.NewJob{})
	if d := get(t, "a receiver of b", from); d.ID != j.ID {
		t.Errorf("got %v, want %v", d.ID, j.ID)
	}
	b.until("it looks whether somebody else listens", func(h *hub) bool { return h.crowd && !h.hearing })
	a.stop()
	b.until("nobody does", func(h *hub) bool { return !h.crowd && h.quiet.Load() })
}

// Who cannot listen still tells those who can.
func TestANodeThatDoesNotListenTellsThoseWhoDo(t *testing.T) {
	pool := pgtest.Pool(t)
	schema := pgtest.Schema(t)
	a := newNode(t, pool, Options{Schema: schema, Fallback: 20 * time.Millisecond, NoListen: true})
	a.until("nobody listens", func(h *hub) bool { return h.quiet.Load() })
	got := notifications(t, pool, a.store.hub.channel, func() { a.add(jobqueue.NewJob{}) })
	if len(got) > 0 {
		t.Errorf("nobody listens: got %+v", saysIn(t, got))
	}
	b := newNode(t, pool, Options{Schema: schema, Fallback: never})
	a.until("somebody listens", func(h *hub) bool { return !h.quiet.Load() })
	if _, err := b.q.TryReceive(b.ctx, nil); err != nil {
		t.Fatal(err)
	}
	from := b.parked(1)
	j := a.add(jobqueue.NewJob{})
	if d := get(t, "a receiver of b", from); d.ID != j.ID {
		t.Errorf("got %v, want %v", d.ID, j.ID)
	}
}

// A connection that is dead without knowing it is given up, since what the node says does not come back.
func TestAListenerWhoseConnectionIsSilentIsReplaced(t *testing.T) {
	a := newNodesOf(t, 1, pgtest.Pool(t), Options{Schema: pgtest.Schema(t), Fallback: never})[0]
	h := a.store.hub
	for _, silent := range []bool{true, false} {
		h.mu.Lock()
		settled := h.settled
		h.said, h.heardSelf, h.repeat = time.Now().Add(-repeatEvery), time.Now().Add(-2*repeatEvery), true
		if !silent {
			h.heardSelf = h.said.Add(time.Millisecond)
		}
		h.mu.Unlock()
		h.poke()
		if silent {
			a.until("it hears anew", func(h *hub) bool { return h.hearing && h.settled.After(settled) })
			continue
		}
		a.until("it has said that it is there", func(h *hub) bool { return time.Since(h.heardSelf) < repeatEvery })
		a.until("the connection has stayed", func(h *hub) bool { return h.hearing && h.settled.Equal(settled) })
	}
}

// However rarely it looks, a node is not forgotten by the others.
func TestANodeThatLooksRarelyIsStillHeardOf(t *testing.T) {
	all := newNodesOf(t, 2, pgtest.Pool(t), Options{Schema: pgtest.Schema(t), Fallback: never})
	a, b := all[0], all[1]
	b.parked(1)
	long := time.Now().Add(forgetAfter)
	a.until("it hears again that b is there, and waits", func(h *hub) bool {
		heard, list := h.nodes.heard[b.store.hub.self], h.nodes.waits[b.q.Name()]
		return heard.Add(forgetAfter).After(long.Add(repeatEvery/2)) && len(list) == 1 && list[0].until.After(long.Add(repeatEvery/2))
	})
}

// What a user does with notifications on connections of the pool's is no hindrance.
func TestAUsersOwnNotificationsAreLeftToThem(t *testing.T) {
	config := pgtest.Pool(t).Config()
	config.ConnConfig.OnNotification = func(*pgconn.PgConn, *pgconn.Notification) {}
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	all := newNodesOf(t, 2, pool, Options{Schema: pgtest.Schema(t), Fallback: never})
	from := all[1].parked(1)
	all[0].add(jobqueue.NewJob{})
	get(t, "a receiver", from)
}
