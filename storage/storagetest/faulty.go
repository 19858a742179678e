package storagetest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/pollackq/pollack/storage"
)

// A Call is one call of a [FaultyStore].
type Call struct {
	N      uint64 // its number among all calls of View and Update, from 1
	Update bool   // Update, not View
}

// A Fault is what becomes of a call. The zero Fault is none: the call goes through.
type Fault struct {
	Kind FaultKind
	Err  error // what the call returns; nil means what the kind says
}

// A FaultKind says when a call fails.
type FaultKind int

const (
	// None lets the call through.
	None FaultKind = iota
	// Before fails the call before its function runs. Nothing happens; the error is storage.ErrFailed unless set.
	Before
	// Undone runs the function and undoes what it wrote, as where a commit fails without effect; the error is storage.ErrFailed unless
	// set, and takes the place of the function's own, as law 2 has it. A View's function runs, too.
	Undone
	// After lets the call take its effect and reports an error nevertheless: storage.ErrOutcomeUnknown unless set. A View, and an Update
	// that wrote nothing or failed, has no effect that could be unknown: it is as with Undone.
	After
	// Rerun runs the function, undoes it, and runs it again, as law 3 allows at any time; Err is not used. A function that is not written
	// for this shows it.
	Rerun
)

// A FaultyStore passes calls on to the store it wraps, and makes some of them fail. It is safe for concurrent use if the store is.
type FaultyStore struct {
	store storage.Store
	calls atomic.Uint64
	fault atomic.Pointer[func(Call) Fault]
	twice sync.RWMutex // held for reading by a Rerun, so that Close does not come between its two runs
}

// Faulty wraps a store. fault says what is to become of each call; it may be called by several goroutines at once. With nil all go
// through. [Nth] and [Every] make such functions. Close always goes through.
//
// To see that a program survives a fault at every place, run it again and again with Nth(1, ...), Nth(2, ...) and so on until Calls is
// less than n.
func Faulty(store storage.Store, fault func(Call) Fault) *FaultyStore {
	f := &FaultyStore{store: store}
	f.Set(fault)
	return f
}

// Nth makes the n-th call, from 1, have the fault.
func Nth(n uint64, f Fault) func(Call) Fault {
	return func(c Call) Fault {
		if c.N == n {
			return f
		}
		return Fault{}
	}
}

// Every makes every n-th call have the fault; with 1 all calls.
func Every(n uint64, f Fault) func(Call) Fault {
	return func(c Call) Fault {
		if c.N%n == 0 {
			return f
		}
		return Fault{}
	}
}

// Set replaces the function that chooses, from the next call on; nil lets all through. The count of calls goes on.
func (f *FaultyStore) Set(fault func(Call) Fault) {
	if fault == nil {
		fault = func(Call) Fault { return Fault{} }
	}
	f.fault.Store(&fault)
}

// Calls returns how often View and Update were called.
func (f *FaultyStore) Calls() uint64 { return f.calls.Load() }

// Unwrap returns the store that is wrapped, for storage.As.
func (f *FaultyStore) Unwrap() storage.Store { return f.store }

// Close closes the store that is wrapped.
func (f *FaultyStore) Close() error {
	f.twice.Lock()
	defer f.twice.Unlock()
	return f.store.Close()
}

// errUndo makes the store undo what a function wrote.
var errUndo = errors.New("undo")

// View passes the call on, or fails.
func (f *FaultyStore) View(ctx context.Context, r storage.Reads, fn func(storage.Reader) error) error {
	fault := f.next(ctx, false)
	switch fault.Kind {
	case Before:
		return fault.or(storage.ErrFailed)
	case Undone, After:
		ran := false
		if err := f.store.View(ctx, r, func(r storage.Reader) error { ran = true; return fn(r) }); err != nil && !ran {
			return err
		}
		if errors.Is(fault.Err, storage.ErrOutcomeUnknown) {
			return storage.ErrFailed
		}
		return fault.or(storage.ErrFailed)
	case Rerun:
		var err error
		return f.store.View(ctx, r, func(r storage.Reader) error {
			if err = fn(r); err != nil {
				return err
			}
			return fn(r)
		})
	}
	return f.store.View(ctx, r, fn)
}

// Update passes the call on, or fails.
func (f *FaultyStore) Update(ctx context.Context, r storage.Reads, fn func(storage.Tx) error) error {
	fault := f.next(ctx, true)
	switch fault.Kind {
	case Before:
		return fault.or(storage.ErrFailed)
	case Undone:
		if err, ran := f.undo(ctx, r, fn); !ran {
			return err
		}
		return fault.or(storage.ErrFailed)
	case After:
		ran, wrote := false, false
		err := f.store.Update(ctx, r, func(tx storage.Tx) error {
			w := &writes{Tx: tx}
			ran = true
			defer func() { wrote = w.wrote }()
			return fn(w)
		})
		switch {
		case err != nil && !ran:
			return err
		case err == nil && wrote:
			return fault.or(storage.ErrOutcomeUnknown)
		case errors.Is(fault.Err, storage.ErrOutcomeUnknown):
			return storage.ErrFailed
		}
		return fault.or(storage.ErrFailed)
	case Rerun:
		f.twice.RLock()
		defer f.twice.RUnlock()
		if err, _ := f.undo(ctx, r, fn); err != nil {
			return err
		}
	}
	return f.store.Update(ctx, r, fn)
}

// undo runs a function, undoes what it wrote, and returns its error, or that of the store if it did not run.
func (f *FaultyStore) undo(ctx context.Context, r storage.Reads, fn func(storage.Tx) error) (err error, ran bool) {
	storeErr := f.store.Update(ctx, r, func(tx storage.Tx) error {
		ran = true
		if err = fn(tx); err != nil {
			return err
		}
		return errUndo
	})
	if err == nil && !errors.Is(storeErr, errUndo) {
		err = storeErr
	}
	return err, ran
}

// next counts a call and chooses its fault. A call whose context is over has none: law 2 says what it returns.
func (f *FaultyStore) next(ctx context.Context, update bool) Fault {
	c := Call{N: f.calls.Add(1), Update: update}
	fault := (*f.fault.Load())(c)
	if ctx.Err() != nil {
		return Fault{}
	}
	return fault
}

// or returns the fault's error, or another if it has none.
func (f Fault) or(err error) error {
	if f.Err != nil {
		return f.Err
	}
	return err
}

// writes is a Tx that knows whether anything was written.
type writes struct {
	storage.Tx
	wrote bool
}

func (w *writes) AddJob(j *storage.Job, payload []byte) (*storage.Job, error) {
	j, err := w.Tx.AddJob(j, payload)
	w.wrote = w.wrote || err == nil
	return j, err
}

func (w *writes) SetJob(j *storage.Job) error              { return w.note(w.Tx.SetJob(j)) }
func (w *writes) SetResult(j *storage.Job, p []byte) error { return w.note(w.Tx.SetResult(j, p)) }
func (w *writes) DeleteResult(j *storage.Job) error        { return w.note(w.Tx.DeleteResult(j)) }
func (w *writes) DeletePayload(j *storage.Job) error       { return w.note(w.Tx.DeletePayload(j)) }
func (w *writes) DeleteJob(j *storage.Job) error           { return w.note(w.Tx.DeleteJob(j)) }
func (w *writes) PutQueue(q *storage.Queue) error          { return w.note(w.Tx.PutQueue(q)) }
func (w *writes) DeleteQueue(q storage.QueueName) error    { return w.note(w.Tx.DeleteQueue(q)) }
func (w *writes) DeleteBlob(b storage.ID) error            { return w.note(w.Tx.DeleteBlob(b)) }
func (w *writes) PutChunk(b storage.ID, n uint32, p []byte) error {
	return w.note(w.Tx.PutChunk(b, n, p))
}

// note notes a write that succeeded.
func (w *writes) note(err error) error {
	w.wrote = w.wrote || err == nil
	return err
}
