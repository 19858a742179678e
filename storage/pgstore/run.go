package pgstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pollackq/pollack/storage"
)

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
	s.updates.leave()
	go func() {
		if !s.pause(c) {
			c = nil
		}
		s.updates.comeBack(c)
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
