package histories

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/pollackq/pollack/internal/torture/attack"
	"github.com/pollackq/pollack/internal/torture/model/drive"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/boltstore"
	"github.com/pollackq/pollack/storage/memstore"
	"github.com/pollackq/pollack/storage/storagetest"
)

// A stage is what the histories of a group play on.
type stage struct {
	brokers []*jobqueue.Broker // on one store, one for each node
	server  *drive.Server      // of the first one, if clients go through it
	timer   interface {        // moves the clock
		Advance(ctx context.Context, d time.Duration) error
	}
	fail  func()                      // begins to make calls of the store fail
	heal  func(context.Context) error // ends that
	close func() error
}

// openStage opens one on memory or bbolt.
func openStage(r *attack.Run, t task) (*stage, error) {
	var store storage.Store = memstore.New(nil)
	path := filepath.Join(r.Dir, fmt.Sprintf("histories-%d.db", t.first))
	if t.bolt {
		var err error
		if store, err = boltstore.Open(path, nil); err != nil {
			return nil, err
		}
	}
	faults := storagetest.Faulty(store, nil)
	timed := drive.NewTimed(faults, !t.bolt)
	b, err := jobqueue.New(timed, nil)
	if err != nil {
		return nil, err
	}
	s := &stage{brokers: []*jobqueue.Broker{b}, timer: timed}
	if t.wire {
		if s.server, err = drive.Serve(b); err != nil {
			return nil, err
		}
	}
	s.fail = func() { faults.Set(failing(r.Seed, uint64(t.first))) }
	s.heal = func(context.Context) error { faults.Set(nil); return nil }
	s.close = func() error {
		if s.server != nil {
			s.server.Close()
		}
		if t.bolt {
			defer os.Remove(path)
		}
		if err := b.Shutdown(context.Background()); err != nil {
			return fmt.Errorf("Shutdown: %w", err)
		}
		return store.Close()
	}
	return s, nil
}

// failing returns what fails one call of the store in thirty.
func failing(seed, n uint64) func(storagetest.Call) storagetest.Fault {
	return func(c storagetest.Call) storagetest.Fault {
		r := rand.New(rand.NewPCG(seed^n<<20, c.N))
		if r.IntN(30) > 0 {
			return storagetest.Fault{}
		}
		return []storagetest.Fault{
			{Kind: storagetest.Before, Err: storage.ErrBusy}, {Kind: storagetest.Before}, {Kind: storagetest.Undone, Err: storage.ErrFull}, {Kind: storagetest.Undone},
			{Kind: storagetest.Undone, Err: storage.ErrOutcomeUnknown}, {Kind: storagetest.After}, {Kind: storagetest.After}, {Kind: storagetest.Rerun},
		}[r.IntN(8)]
	}
}
