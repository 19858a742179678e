package pgstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pollackq/pollack/storage"
)

// A Store keeps jobs in the tables of a schema. It is made by New, and safe for concurrent use. It implements storage.Store,
// storage.Notifier and storage.Checker.
type Store struct {
	opts   Options
	schema string // as SQL has it
	sql    statements
	pool   *pgxpool.Pool // the store's own
	clock  clock
	counts folds
	memory memory
	hub    *hub
	shut   shut

	views   *lane
	updates [lanes]*lane
	singles chan struct{} // holds one for each transaction that runs alone
	running sync.WaitGroup
	life    context.Context // ends when all calls have been answered
	end     context.CancelFunc
	closing sync.Once

	mutedUntil atomic.Int64 // no notifications until then, in nanoseconds since 1970

	trips, groups, calls, alones, reruns atomic.Uint64
}

var (
	_ storage.Store    = (*Store)(nil)
	_ storage.Checker  = (*Store)(nil)
	_ storage.Notifier = (*Store)(nil)
	_ storage.Tx       = (*txn)(nil)
)

// New opens the store in the database that pool leads to. It takes over the pool's configuration, hooks included, and opens connections of its
// own, at most Options.Connections and one that listens: whoever holds all of the pool's may still enqueue. Unless Options.NoMigrate
// is set it brings the schema up to date first. The caller closes the store before the pool.
func New(ctx context.Context, pool *pgxpool.Pool, o *Options) (*Store, error) {
	opts, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if pool == nil {
		return nil, errors.New("pgstore: no pool")
	}
	err = pool.AcquireFunc(ctx, func(c *pgxpool.Conn) error { return openSchema(ctx, c.Conn(), opts) })
	if err != nil {
		return nil, err
	}
	config := pool.Config()
	config.MaxConns, config.MinConns, config.MinIdleConns = int32(opts.Connections), 0, 0
	if config.ConnConfig.DefaultQueryExecMode == pgx.QueryExecModeSimpleProtocol {
		config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	}
	if t := config.ConnConfig.ConnectTimeout; t == 0 || t > patience/2 {
		config.ConnConfig.ConnectTimeout = patience / 2
	}
	if t := config.PingTimeout; t == 0 || t > patience/8 {
		config.PingTimeout = patience / 8 // all idle connections may have been forgotten by the network at once
	}
	tune := config.AfterConnect
	config.AfterConnect = func(ctx context.Context, c *pgx.Conn) error {
		if tune != nil {
			if err := tune(ctx, c); err != nil {
				return err
			}
		}
		if opts.NoListen {
			return nil // each transaction has them
		}
		// Not by way of c.Exec, which refuses to send text while standard_conforming_strings is off.
		return c.PgConn().Exec(ctx, setAll(opts, false)).Close()
	}
	s := &Store{opts: opts, schema: quoted(opts.Schema), sql: newStatements(quoted(opts.Schema))}
	s.sql.settings = setAll(opts, true)
	if s.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, fmt.Errorf("pgstore: %w", err)
	}
	s.singles = make(chan struct{}, max(1, opts.Connections-3))
	s.life, s.end = context.WithCancel(context.Background())
	s.hub = newHub(s)
	if err := s.hub.start(ctx); err != nil {
		s.end()
		s.pool.Close()
		return nil, err
	}
	s.views = newLane(s.view)
	for i := range s.updates {
		s.updates[i] = newLane(s.update)
	}
	return s, nil
}

// View runs fn on one snapshot, which calls that wait together share.
func (s *Store) View(ctx context.Context, r storage.Reads, fn func(storage.Reader) error) error {
	return s.views.do(ctx, r, func(t *txn) error { return fn(t) })
}

// Updates stand in one of two lanes: those that have to look for something, a ready job or a key, and those that know what they are about and
// mostly need one trip only. So one group is read while another waits for the disk, and they seldom want the same rows: nobody receives, or
// enqueues without a key, in both.
const (
	looking = iota
	knowing
	lanes
)

func laneOf(r storage.Reads) int {
	if r.Ready > 0 || len(r.Keys) > 0 {
		return looking
	}
	return knowing
}

// Update runs fn in a transaction, which calls that wait together share.
func (s *Store) Update(ctx context.Context, r storage.Reads, fn func(storage.Tx) error) error {
	return s.updates[laneOf(r)].do(ctx, r, func(t *txn) error { return fn(t) })
}

// Close waits for the transactions under way and closes the store's connections. The pool that New was given stays open. While the database
// is out of reach that takes half a minute at most.
func (s *Store) Close() error {
	s.closing.Do(func() {
		defer time.AfterFunc(patience, s.end).Stop()
		for _, l := range s.updates {
			l.close()
		}
		s.views.close()
		s.running.Wait()
		s.hub.stop()
		s.end()
		s.pool.Close()
	})
	return nil
}

// Stats count what a store has done since New.
type Stats struct {
	Calls  uint64 // of View and Update that were run
	Groups uint64 // transactions that calls shared
	Alone  uint64 // transactions of one call that needed one of its own
	Reruns uint64 // of transactions, since another node was quicker or the connection was lost
	Trips  uint64 // round trips to the database
}

// Stats returns what the store has done.
func (s *Store) Stats() Stats {
	return Stats{Calls: s.calls.Load(), Groups: s.groups.Load(), Alone: s.alones.Load(), Reruns: s.reruns.Load(), Trips: s.trips.Load()}
}

// acquire gets a connection for calls, whose callers may withdraw them while it tries. It returns nil when all calls have been answered.
func (s *Store) acquire(calls []*call) (*pgxpool.Conn, []*call) {
	ctx, cancel := patient(s.life)
	defer cancel()
	for pause := 10 * time.Millisecond; ; pause *= 2 {
		conn, err := s.pool.Acquire(ctx)
		if err == nil {
			return conn, calls
		}
		if judge(err) == final || !s.rest(ctx, pause) {
			for _, c := range calls {
				c.fail(told(err))
			}
			return nil, nil
		}
		if calls = present(calls); len(calls) == 0 {
			return nil, nil
		}
	}
}

// present returns the calls whose callers still wait, and answers those that were begun and whose context has ended since.
func present(calls []*call) []*call {
	var there []*call
	for _, c := range calls {
		if err := c.ctx.Err(); err != nil {
			c.fail(err)
			continue
		}
		there = append(there, c)
	}
	return there
}

// rest waits for a while, and reports whether ctx is not over.
func (s *Store) rest(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(min(d, time.Second))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// start notes when calls were begun.
func start(calls []*call) {
	now := time.Now()
	for _, c := range calls {
		if c.since.IsZero() {
			c.since = now
		}
	}
}

// view runs calls on one snapshot.
func (s *Store) view(calls []*call) {
	start(calls)
	for len(calls) > 0 {
		conn, left := s.acquire(calls)
		if conn == nil {
			return
		}
		again, each := s.viewOnce(conn, left)
		for _, c := range each {
			s.view([]*call{c})
		}
		calls = again
	}
}

// viewOnce returns the calls that are to be run once more, together and each by itself.
func (s *Store) viewOnce(conn *pgxpool.Conn, calls []*call) (again, each []*call) {
	ctx, cancel := patient(s.life)
	defer cancel()
	s.groups.Add(1)
	t := s.newTxn(ctx, conn, viewing)
	err := t.prefetch("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY", calls)
	for i, c := range calls {
		if err != nil {
			again = calls[i:]
			break
		}
		if !c.take() {
			continue
		}
		s.calls.Add(1)
		r := t.call(c)
		if err = t.lost(); err != nil {
			again = calls[i:]
			break
		}
		c.result = r
		c.answer()
	}
	s.finish(conn, err)
	if err != nil && judge(err) == final && len(calls) > 1 {
		return nil, again
	}
	return s.retry(again, err), nil
}

// finish ends a transaction that is not to be committed, and gives the connection back, or up.
func (s *Store) finish(conn *pgxpool.Conn, err error) {
	if err == nil || judge(err) != lost {
		ctx, cancel := patient(s.life)
		defer cancel()
		s.trips.Add(1)
		if _, err := conn.Exec(ctx, "ROLLBACK"); err == nil {
			conn.Release()
			return
		}
	}
	s.drop(conn)
}

// drop gives a connection up.
func (s *Store) drop(conn *pgxpool.Conn) {
	c := conn.Hijack()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = c.Close(ctx)
}

// most is how often a call is run again because others were quicker.
const most = 10

// retry sorts out calls whose transaction had certainly no effect: it returns those that are to be run again and answers the others.
func (s *Store) retry(calls []*call, err error) (again []*call) {
	if err == nil || len(calls) == 0 {
		return nil
	}
	s.reruns.Add(1)
	v := judge(err)
	var losses int
	for _, c := range calls {
		over := false
		switch waited := time.Since(c.since); v {
		case final:
			over = true
		case locked:
			over = waited >= s.opts.LockTimeout
		case lost:
			c.losses++
			losses = max(losses, c.losses)
			over = waited >= 3*patience
		default:
			c.rivals++
			over = c.rivals > most
			c.fresh, c.strict = true, c.strict || v == exists
		}
		switch {
		case c.ctx.Err() != nil:
			c.fail(c.ctx.Err())
		case over:
			c.fail(told(err))
		default:
			again = append(again, c)
		}
	}
	if len(again) > 0 && losses > 1 {
		s.rest(s.life, 10*time.Millisecond<<min(losses, 6))
	}
	return again
}

// retryEach is retry for calls that shared a transaction. What is the fault of one of them must not be the others': each gets a transaction of
// its own.
func (s *Store) retryEach(calls []*call, err error) (again []*call) {
	if v := judge(err); v != final && v != locked || len(calls) < 2 {
		return s.retry(calls, err)
	}
	for _, c := range calls {
		c.put = true
	}
	return calls
}

// prefetch begins a transaction and reads what calls say they are going to read.
func (t *txn) prefetch(begin string, calls []*call) error {
	t.begin = begin
	fresh := t.mode != shared
	for _, c := range calls {
		t.strict = t.strict || c.strict
		fresh = fresh || c.fresh || c.strict
	}
	if !fresh && t.s.memory.recall(t, calls) {
		return nil
	}
	r := request{clock: true}
	var ids map[storage.ID]bool
	var names map[storage.QueueName]bool
	var keys map[storage.Key]bool
	for _, c := range calls {
		for _, id := range c.reads.Jobs {
			if g := t.jobs[id]; g == nil {
				add(&ids, &r.ids, id)
			} else if name := g.was.job.Queue; c.reads.Ends {
				add(&names, &r.queues, name)
			}
		}
		for _, k := range c.reads.Keys {
			if k.Name != "" {
				add(&keys, &r.keys, k)
			}
		}
		for i, q := range c.reads.Queues {
			add(&names, &r.queues, q)
			if i == 0 && c.reads.Ready > 0 {
				if r.ready == nil {
					r.ready = make(map[storage.QueueName]int)
				}
				r.ready[q] += c.reads.Ready
			}
		}
		r.payloads = r.payloads || c.reads.Payloads
		r.results = r.results || c.reads.Results
		r.ends = r.ends || c.reads.Ends
	}
	for _, q := range r.queues {
		if t.s.counts.wanted(q) {
			r.countsOf = append(r.countsOf, q)
		}
	}
	if err := t.fetch(r); err != nil {
		return err
	}
	return t.prefetchEnds(r)
}

// prefetchEnds reads what the ends of jobs concern besides: the jobs that they tell of, and the queues that are told of them.
func (t *txn) prefetchEnds(r request) error {
	if !r.ends {
		return nil
	}
	var more request
	var ids map[storage.ID]bool
	var names map[storage.QueueName]bool
	for _, id := range r.ids {
		k := t.jobs[id]
		if k == nil || k.now.job == nil {
			continue
		}
		if o := k.now.job.Origin; o != (storage.ID{}) && t.jobs[o] == nil {
			add(&ids, &more.ids, o)
		}
		for _, name := range k.now.job.Outbox {
			if q := (storage.QueueName{Name: name}); t.queues[q] == nil {
				add(&names, &more.queues, q)
			}
		}
	}
	if len(more.ids) == 0 && len(more.queues) == 0 {
		return nil
	}
	more.ends = true
	return t.fetch(more)
}

// add appends what is not yet there.
func add[K comparable](seen *map[K]bool, list *[]K, k K) {
	if *seen == nil {
		*seen = make(map[K]bool)
	}
	if !(*seen)[k] {
		(*seen)[k] = true
		*list = append(*list, k)
	}
}

// lost returns why the transaction cannot go on, if it cannot.
func (t *txn) lost() error {
	if t.err != nil && !errors.Is(t.err, errAlone) {
		return t.err
	}
	return nil
}

// size of what is not yet flushed that makes a group end early, in bytes.
const fullGroup = 32 << 20

// update runs calls in one transaction, and those that need one of their own in others.
func (s *Store) update(calls []*call) {
	start(calls)
	for len(calls) > 0 {
		var group []*call
		for _, c := range calls {
			switch {
			case c.held:
				s.await(c)
			case c.put || c.rivals > 2 || c.reads.Due > 0:
				s.launch(c)
			default:
				group = append(group, c)
			}
		}
		if calls = group; len(calls) == 0 {
			return
		}
		conn, left := s.acquire(calls)
		if conn == nil {
			return
		}
		calls = s.updateOnce(conn, left, shared)
	}
}

// launch runs a call in a transaction of its own, which may wait for others.
func (s *Store) launch(c *call) {
	s.running.Add(1)
	c.elsewhere = true
	go func() {
		defer s.running.Done()
		defer func() {
			if c.inside {
				c.fail(errExit)
			}
		}()
		select {
		case s.singles <- struct{}{}:
		case <-c.ctx.Done():
			c.fail(c.ctx.Err())
			return
		}
		defer func() { <-s.singles }()
		for calls := []*call{c}; len(calls) > 0; {
			conn, left := s.acquire(calls)
			if conn == nil {
				return
			}
			s.alones.Add(1)
			calls = s.updateOnce(conn, left, alone)
			if c.held && len(calls) > 0 && !s.pause(c) {
				return
			}
		}
	}()
}

// await has a call run again that wants what others have locked, after a while: neither a connection nor the lane waits with it. It is the
// lane that keeps Close waiting.
func (s *Store) await(c *call) {
	c.elsewhere = true
	lane := c.lane
	lane.leave()
	go func() {
		if !s.pause(c) {
			c = nil
		}
		lane.comeBack(c)
	}()
}

// pause waits a while for what a call wants that others have locked. It reports whether to try again; otherwise it has answered.
func (s *Store) pause(c *call) bool {
	if time.Since(c.since) >= s.opts.LockTimeout {
		c.fail(fmt.Errorf("%w: %w", storage.ErrBusy, errHeld))
		return false
	}
	c.held, c.waits = false, c.waits+1
	if !s.rest(c.ctx, min(time.Millisecond<<min(c.waits, 6), s.opts.LockTimeout)) {
		c.fail(c.ctx.Err())
		return false
	}
	return true
}

// updateOnce runs calls in one transaction, answers those that are done, and returns those that are to be run again.
func (s *Store) updateOnce(conn *pgxpool.Conn, calls []*call, m mode) (again []*call) {
	ctx, cancel := patient(s.life)
	defer cancel()
	t := s.newTxn(ctx, conn, m)
	if m == shared {
		s.groups.Add(1)
		t.shut = s.shut.still(ctx, s, conn)
	}
	if err := t.prefetch("BEGIN", calls); err != nil {
		s.finish(conn, err)
		return s.retry(calls, err)
	}
	var done []*call
	wrote := false
	for i, c := range calls {
		if t.size > fullGroup {
			again = append(again, calls[i:]...)
			break
		}
		if !c.take() {
			continue
		}
		s.calls.Add(1)
		r := t.call(c)
		if err := t.lost(); err != nil {
			s.memory.forget(t)
			s.finish(conn, err)
			return s.retryEach(append(append(again, done...), calls[i:]...), err)
		}
		c.result = r
		if r.put || r.held {
			c.strict = c.strict || t.guess
			again = append(again, c)
			continue
		}
		wrote = wrote || r.wrote
		done = append(done, c)
	}
	undone := m == alone && !wrote // what it did write the database undoes
	if undone || !wrote && !t.unflushed() {
		if t.begin != "" { // nothing was sent
			conn.Release()
			for _, c := range done {
				c.answer()
			}
			return again
		}
		held := t.holds()
		if held { // whoever calls next is not to find what it wants locked
			s.finish(conn, nil)
		}
		for _, c := range done {
			c.answer()
		}
		if !held {
			s.finish(conn, nil)
		}
		return again
	}
	err := t.flush(func(b *pgx.Batch) {
		if time.Now().UnixNano() > s.mutedUntil.Load() {
			for _, p := range s.hub.payloads(&t.told) {
				b.Queue(s.sql.notify, s.hub.channel, p)
			}
		}
		if t.begin != "" && !s.opts.NoListen { // what is sent in one trip is a transaction without being called one
			t.begin = ""
			return
		}
		b.Queue("COMMIT").Exec(func(tag pgconn.CommandTag) error {
			if tag.String() != "COMMIT" {
				return errUndone
			}
			return nil
		})
	})
	switch {
	case err == nil:
		conn.Release()
		for _, c := range done {
			c.answer()
		}
		s.hub.committed(&t.told)
		return again
	case certain(err):
		if judge(err) == mute {
			s.opts.Logger.Warn("the server takes no more notifications: a node does not read its own; for a minute none are sent", "err", err)
			s.mutedUntil.Store(time.Now().Add(time.Minute).UnixNano())
		}
		s.memory.forget(t)
		s.finish(conn, err)
		if m == shared && judge(err) == locked && (guessedAny(t.dirty) || s.findShut(t)) {
			return append(again, done...) // those that want what is locked will find that out, and wait by themselves
		}
		return append(again, s.retryEach(done, err)...)
	}
	// The connection ended before the answer came. Those who wrote nothing can be run again.
	s.drop(conn)
	for _, c := range done {
		if c.wrote {
			c.result = result{err: fmt.Errorf("%w: %w", storage.ErrOutcomeUnknown, err)}
			c.answer()
		} else {
			again = append(again, s.retry([]*call{c}, err)...)
		}
	}
	return again
}

// call runs a call's function.
func (t *txn) call(c *call) result {
	c.inside = true
	defer func() {
		if conn, ok := t.db.(*pgxpool.Conn); ok && c.inside { // see errExit
			t.s.drop(conn)
		}
	}()
	r := t.run(c.fn)
	c.inside = false
	return r
}

// holds reports whether the transaction has locked anything.
func (t *txn) holds() bool {
	for _, r := range t.jobs {
		if r.was.job != nil {
			return true
		}
	}
	return t.flushd
}
