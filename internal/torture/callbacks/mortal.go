package callbacks

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/storagetest"
)

// A mortal store is that of one process: its calls fail at random, and from a random one on all do, when the process is dead.
type mortal struct {
	*storagetest.FaultyStore
	last  uint64 // the last call before the death
	calls atomic.Uint64
	gone  atomic.Bool
	dead  chan struct{}
	once  sync.Once
	mu    sync.RWMutex // held shared by each call that is under way
}

func newMortal(inner storage.Store, rnd *rand.Rand) *mortal {
	m := &mortal{last: uint64(5 + rnd.IntN(200)), dead: make(chan struct{})}
	seed, every := rnd.Uint64(), uint64(10+rnd.IntN(40))
	m.FaultyStore = storagetest.Faulty(inner, func(c storagetest.Call) storagetest.Fault {
		chance := rand.New(rand.NewPCG(seed, c.N))
		if c.N == m.last { // the process dies before or after the effect
			return storagetest.Fault{Kind: one(chance, storagetest.Before, storagetest.Undone, storagetest.After, storagetest.After)}
		}
		if chance.Uint64()%every != 0 {
			return storagetest.Fault{}
		}
		return storagetest.Fault{Kind: one(chance, storagetest.Rerun, storagetest.Rerun, storagetest.Before, storagetest.Undone, storagetest.After),
			Err: one(chance, nil, storage.ErrBusy)}
	})
	return m
}

// begin lets a call begin, unless the process is dead.
func (m *mortal) begin() (end func(), err error) {
	m.mu.RLock()
	if m.gone.Load() {
		m.mu.RUnlock()
		return nil, storage.ErrFailed
	}
	if m.calls.Add(1) > m.last {
		m.die()
		m.mu.RUnlock()
		return nil, storage.ErrFailed
	}
	return m.mu.RUnlock, nil
}

func (m *mortal) die() {
	m.gone.Store(true)
	m.once.Do(func() { close(m.dead) })
}

// kill ends the process, and returns when none of its calls is under way.
func (m *mortal) kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.die()
}

func (m *mortal) isDead() bool { return m.gone.Load() }

// View implements storage.Store.
func (m *mortal) View(ctx context.Context, r storage.Reads, fn func(storage.Reader) error) error {
	end, err := m.begin()
	if err != nil {
		return err
	}
	defer end()
	return m.FaultyStore.View(ctx, r, fn)
}

// Update implements storage.Store.
func (m *mortal) Update(ctx context.Context, r storage.Reads, fn func(storage.Tx) error) error {
	end, err := m.begin()
	if err != nil {
		return err
	}
	defer end()
	return m.FaultyStore.Update(ctx, r, fn)
}

// Unwrap implements what storage.As looks for.
func (m *mortal) Unwrap() storage.Store { return m.FaultyStore }
