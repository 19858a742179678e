package storagetest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/memstore"
	"github.com/pollackq/pollack/storage/storagetest"
)

// A planted fault is a way to be wrong that the suite must find.
type planted struct {
	name   string
	quiet  bool // Compare need not find it: it is about what histories do not do
	tx     func(s *broken, tx storage.Tx) storage.Tx
	update func(s *broken, ctx context.Context, fn func(storage.Tx) error) error
	reopen func(t testing.TB, closed storage.Store) storage.Store
}

// broken is a memstore with a planted fault.
type broken struct {
	*memstore.Store
	fault planted
	kept  map[string]any // what the fault remembers
}

func plant(f planted) *broken {
	return &broken{Store: memstore.New(nil), fault: f, kept: make(map[string]any)}
}

// A plainStore hides that a broken store can check itself: the suite must find faults without.
type plainStore struct{ storage.Store }

func (s *broken) View(ctx context.Context, r storage.Reads, fn func(storage.Reader) error) error {
	return s.Store.View(ctx, r, func(r storage.Reader) error { return fn(s.wrap(readOnly{Reader: r})) })
}

func (s *broken) Update(ctx context.Context, r storage.Reads, fn func(storage.Tx) error) error {
	run := func(tx storage.Tx) error { return fn(s.wrap(tx)) }
	if s.fault.update != nil {
		return s.fault.update(s, ctx, run)
	}
	return s.Store.Update(ctx, r, run)
}

func (s *broken) wrap(tx storage.Tx) storage.Tx {
	if s.fault.tx == nil {
		return tx
	}
	return s.fault.tx(s, tx)
}

// readOnly makes a Tx of a Reader, so that a fault in a reading method is written once.
type readOnly struct {
	storage.Reader
	writer
}

type writer interface {
	AddJob(j *storage.Job, payload []byte) (*storage.Job, error)
	SetJob(j *storage.Job) error
	SetResult(j *storage.Job, p []byte) error
	DeleteResult(j *storage.Job) error
	DeletePayload(j *storage.Job) error
	DeleteJob(j *storage.Job) error
	PutQueue(q *storage.Queue) error
	DeleteQueue(q storage.QueueName) error
	PutChunk(blob storage.ID, n uint32, p []byte) error
	DeleteBlob(blob storage.ID) error
}

func TestPlantedFaultsAreFoundByCompare(t *testing.T) {
	for _, f := range faults {
		if f.quiet {
			continue
		}
		t.Run(f.name, func(t *testing.T) {
			for seed := range uint64(30) {
				if failsCompare(t, plainStore{plant(f)}, seed) {
					return
				}
			}
			t.Error("30 histories did not find it")
		})
	}
}

func TestASoundStoreIsNotBlamed(t *testing.T) {
	if failsCompare(t, plainStore{plant(planted{})}, 1) {
		t.Error("Compare failed on a store without a fault")
	}
}

// A verdict stands in for a test that is expected to fail.
type verdict struct{ testing.TB }

type failed struct{ why string }

func (verdict) Helper() {}

func (verdict) Fatalf(format string, args ...any) { panic(failed{fmt.Sprintf(format, args...)}) }

func failsCompare(t *testing.T, s storage.Store, seed uint64) (found bool) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case failed:
			if found = true; !strings.Contains(p.why, fmt.Sprintf("seed %d", seed)) || !strings.Contains(p.why, "step ") {
				t.Errorf("the message names no seed and step: %s", p.why)
			}
		default:
			panic(p)
		}
	}()
	storagetest.Compare(verdict{t}, memstore.New(nil), s, seed, 100)
	return false
}

// A failing law fails the test that runs it, so each fault is run in a process of its own.
const faultEnv = "POLLACK_STORAGETEST_FAULT"

func TestPlantedFaultsAreFoundByRun(t *testing.T) {
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestRunOfAPlantedFault$", "-test.failfast", "-test.timeout=60s")
			cmd.Env = append(os.Environ(), faultEnv+"="+f.name)
			out, err := cmd.CombinedOutput()
			if err == nil {
				t.Error("all laws passed")
			} else if !strings.Contains(string(out), "--- FAIL: TestRunOfAPlantedFault/") {
				t.Errorf("it ended with %v, and not by a law that failed:\n%.2000s", err, out)
			}
		})
	}
}

func TestRunOfAPlantedFault(t *testing.T) {
	name := os.Getenv(faultEnv)
	i := slices.IndexFunc(faults, func(f planted) bool { return f.name == name })
	if i < 0 {
		t.Skip("run by TestPlantedFaultsAreFoundByRun")
	}
	open := func(testing.TB) storage.Store { return plainStore{plant(faults[i])} }
	storagetest.RunWith(t, open, storagetest.RunOptions{Reopen: faults[i].reopen})
}

// errLost is a planted error.
var errLost = errors.New("lost")

var faults = []planted{
	{name: "an error does not undo", update: func(s *broken, ctx context.Context, fn func(storage.Tx) error) error {
		var err error
		if e := s.Store.Update(ctx, storage.Reads{}, func(tx storage.Tx) error { err = fn(tx); return nil }); e != nil {
			return e
		}
		return err
	}},
	{name: "a panic does not undo", update: func(s *broken, ctx context.Context, fn func(storage.Tx) error) error {
		var p any
		err := s.Store.Update(ctx, storage.Reads{}, func(tx storage.Tx) (err error) {
			defer func() { p = recover() }()
			return fn(tx)
		})
		if p != nil {
			panic(p)
		}
		return err
	}},
	{name: "a panic is swallowed", update: func(s *broken, ctx context.Context, fn func(storage.Tx) error) (err error) {
		defer func() {
			if recover() != nil {
				err = errLost
			}
		}()
		return s.Store.Update(ctx, storage.Reads{}, fn)
	}},
	{name: "results are not undone", tx: func(s *broken, tx storage.Tx) storage.Tx { return lasting{tx, s} },
		update: func(s *broken, ctx context.Context, fn func(storage.Tx) error) error {
			delete(s.kept, "result")
			err := s.Store.Update(ctx, storage.Reads{}, fn)
			if id, ok := s.kept["result"].(storage.ID); ok && err != nil {
				_ = s.Store.Update(ctx, storage.Reads{}, func(tx storage.Tx) error {
					if j, err := tx.Job(id); err == nil {
						_ = tx.SetResult(j, []byte("not undone"))
					}
					return nil
				})
			}
			return err
		}},
	{name: "a failed transaction uses up a position", update: func(s *broken, ctx context.Context, fn func(storage.Tx) error) error {
		var added []storage.QueueName
		err := s.Store.Update(ctx, storage.Reads{}, func(tx storage.Tx) error { return fn(watching{tx, &added}) })
		if err != nil {
			_ = s.Store.Update(ctx, storage.Reads{}, func(tx storage.Tx) error {
				for _, q := range added {
					j := &storage.Job{Spec: &storage.Spec{ID: storage.NewID(time.Now()), Queue: q}, Status: storage.Status{State: storage.Pending}}
					if j, err := tx.AddJob(j, nil); err == nil {
						_ = tx.DeleteJob(j)
					}
				}
				return nil
			})
		}
		return err
	}},
	{name: "the function's error is wrapped", quiet: true, update: func(s *broken, ctx context.Context, fn func(storage.Tx) error) error {
		if err := s.Store.Update(ctx, storage.Reads{}, fn); err != nil {
			return fmt.Errorf("update: %w", err)
		}
		return nil
	}},
	{name: "the context is ignored", update: func(s *broken, _ context.Context, fn func(storage.Tx) error) error {
		return s.Store.Update(context.Background(), storage.Reads{}, fn)
	}},
	{name: "transactions interleave", quiet: true, update: func(s *broken, ctx context.Context, fn func(storage.Tx) error) error {
		// What is read comes from before: as if the job were read without a lock.
		return s.Store.Update(ctx, storage.Reads{}, func(tx storage.Tx) error { return fn(stale{tx, s}) })
	}},
	{name: "Ready forgets priorities", tx: func(_ *broken, tx storage.Tx) storage.Tx { return byPosition{tx} }},
	{name: "Ready returns running jobs", tx: func(_ *broken, tx storage.Tx) storage.Tx { return readyRunning{tx} }},
	{name: "Due misses running jobs", tx: func(_ *broken, tx storage.Tx) storage.Tx { return dueWithout{tx} }},
	{name: "Due is a microsecond late", tx: func(_ *broken, tx storage.Tx) storage.Tx { return dueLate{tx} }},
	{name: "NextDue is not moved", tx: func(s *broken, tx storage.Tx) storage.Tx { return nextDueStuck{tx, s} }},
	{name: "Counts leave out tombstones", tx: func(_ *broken, tx storage.Tx) storage.Tx { return countless{tx} }},
	{name: "keys are not freed", tx: func(s *broken, tx storage.Tx) storage.Tx { return keysStay{tx, s} }},
	{name: "keys forget the account", tx: func(_ *broken, tx storage.Tx) storage.Tx { return keysAlike{tx} }},
	{name: "payloads are shared with the reader", tx: func(s *broken, tx storage.Tx) storage.Tx { return sharing{tx, s} }},
	{name: "payloads are shared with the writer", tx: func(s *broken, tx storage.Tx) storage.Tx { return keeping{tx, s} }},
	{name: "jobs are changed in place", tx: func(_ *broken, tx storage.Tx) storage.Tx { return inPlace{tx} }},
	{name: "progress is lost", tx: func(_ *broken, tx storage.Tx) storage.Tx { return noProgress{tx} }},
	{name: "times are cut to milliseconds", tx: func(_ *broken, tx storage.Tx) storage.Tx { return coarse{tx} }},
	{name: "Jobs leaves one out between pages", tx: func(_ *broken, tx storage.Tx) storage.Tx { return skipping{tx} }},
	{name: "OldestPending looks at the first only", tx: func(_ *broken, tx storage.Tx) storage.Tx { return firstOnly{tx} }},
	{name: "DeleteBlob forgets a chunk", tx: func(_ *broken, tx storage.Tx) storage.Tx { return leftover{tx} }},
	{name: "DeleteQueue takes tombstones along", tx: func(_ *broken, tx storage.Tx) storage.Tx { return ruthless{tx} }},
	{name: "a queue created again goes on counting", tx: func(s *broken, tx storage.Tx) storage.Tx { return counting{tx, s} }},
	{name: "an empty payload is none", tx: func(_ *broken, tx storage.Tx) storage.Tx { return emptyIsNone{tx} }},
	{name: "Now changes within a run", quiet: true, tx: func(_ *broken, tx storage.Tx) storage.Tx { return restless{tx} }},
	{name: "everything is forgotten at the end", quiet: true, reopen: func(testing.TB, storage.Store) storage.Store { return memstore.New(nil) }},
	{name: "Now is local", quiet: true, tx: func(_ *broken, tx storage.Tx) storage.Tx { return local{tx} }},
}
