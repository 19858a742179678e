package storagetest

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/pollackq/pollack/storage"
)

// RunOptions are the settings of [RunWith].
type RunOptions struct {
	// RealTime runs the laws outside of synctest bubbles, for stores that reach out of the process, such as a database. The laws that
	// would have to wait for time to pass are then skipped.
	RealTime bool
	// Reopen, for durable stores, opens again what a store was that has been closed. The laws that are about this are skipped without it.
	Reopen func(t testing.TB, closed storage.Store) storage.Store
}

// Run checks the laws of package storage on the stores that open returns, each in a synctest bubble with an empty store of its own.
// Run checks (where the store is a storage.Checker) and closes the store; what else is to be done goes into t.Cleanup. The store's
// clock must be the process's.
func Run(t *testing.T, open func(t testing.TB) storage.Store) {
	RunWith(t, open, RunOptions{})
}

// RunWith is Run with options.
func RunWith(t *testing.T, open func(t testing.TB) storage.Store, o RunOptions) {
	for _, laws := range [][]law{txLaws, undoLaws, concurrentLaws, timeLaws, jobLaws, valueLaws, queueLaws, orderLaws, pageLaws, durableLaws} {
		for _, l := range laws {
			t.Run(l.name, func(t *testing.T) {
				if l.reopens && o.Reopen == nil {
					t.Skip("needs RunOptions.Reopen")
				}
				if !o.RealTime {
					synctest.Test(t, func(t *testing.T) { runLaw(t, open, l, o) })
					return
				}
				if l.waits {
					t.Skip("waits for time to pass")
				}
				runLaw(t, open, l, o)
			})
		}
	}
}

// A law is one sentence of the contract and how to see that it holds.
type law struct {
	name  string
	run   func(e *env)
	waits bool // time.Sleep is used

	reopens bool // RunOptions.Reopen is used
}

// runLaw runs one law on a new store, and then looks whether the store agrees with itself.
func runLaw(t *testing.T, open func(t testing.TB) storage.Store, l law, o RunOptions) {
	e := &env{T: t, store: open(t), reopen: o.Reopen}
	defer func() {
		if err := e.store.Close(); err != nil {
			t.Errorf("Close: got %v, want nil", err)
		}
	}()
	l.run(e)
	if e.closed || t.Failed() {
		return
	}
	e.state()
	if c, ok := storage.As[storage.Checker](e.store); ok {
		if err := c.Check(context.Background()); err != nil {
			t.Errorf("Check: %v", err)
		}
	}
}
