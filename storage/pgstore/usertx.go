package pgstore

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/pollackq/pollack/storage"
)

// Tx lets jobs commit together with data of the user's own in the same database, for jobqueue's EnqueueTx. A job gets its position once
// the user's transaction has committed and a node's timeline has seen it, so that a long transaction makes nobody wait. A queue that is
// not there yet is made at once, in a transaction of the store's own, and stays even if the user's is rolled back. Errors of the
// database leave the user's transaction usable: what is done here is done behind a savepoint.
func (s *Store) Tx(tx pgx.Tx) storage.UserTx { return &userTx{s: s, tx: tx} }

type userTx struct {
	s  *Store
	tx pgx.Tx
}

// Update implements storage.UserTx.
func (u *userTx) Update(ctx context.Context, r storage.Reads, fn func(storage.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	strict := false
	for tries := 0; ; tries++ {
		err, again := u.once(ctx, r, fn, strict)
		if !again || tries == most {
			return err
		}
		strict = true
	}
}

func (u *userTx) once(ctx context.Context, r storage.Reads, fn func(storage.Tx) error, strict bool) (err error, again bool) {
	inner, err := u.tx.Begin(ctx)
	if err != nil {
		return told(err), false
	}
	kept := false
	defer func() {
		if !kept {
			_ = inner.Rollback(context.WithoutCancel(ctx))
		}
	}()
	t := u.s.newTxn(ctx, inner, users)
	c := &call{reads: r, strict: strict}
	if err := t.prefetch("", []*call{c}); err != nil {
		return told(err), false
	}
	res := t.run(func(t *txn) error { return fn(t) })
	switch {
	case res.panics:
		panic(res.panicked)
	case t.lost() != nil:
		v := judge(t.lost())
		return told(t.lost()), v == exists || v == stale
	case res.put && !strict: // it was told that an id or key is free, which may not be so
		return nil, true
	case res.err != nil:
		return res.err, false
	}
	err = t.flush(nil)
	if err == nil && t.flushd {
		b := &pgx.Batch{}
		t.told.user = true
		for _, p := range u.s.hub.payloads(&t.told) {
			b.Queue(u.s.sql.notify, u.s.hub.channel, p)
		}
		err = t.send(b)
	}
	if err == nil {
		err = inner.Commit(ctx)
	}
	if err != nil {
		v := judge(err)
		return told(err), v == exists || v == stale
	}
	kept = true
	return nil, false
}

// OnCommit does nothing: all nodes, this one too, are told by the database.
func (u *userTx) OnCommit(func()) {}

// Deferred is true: see Store.Tx.
func (u *userTx) Deferred() bool { return true }
