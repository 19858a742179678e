package clocks

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/boltstore"
	"github.com/pollackq/pollack/storage/memstore"
)

// limit is how long anything may take that takes no time.
const limit = 30 * time.Second

// A machine has a queue, and a clock that can be made to jump.
type machine interface {
	broker() *jobqueue.Broker
	store() storage.Store
	// jump has the machine's time jump to t, or as near as it can. trusted says that the store takes the wall clock as it is, and so may go back.
	jump(t time.Time, trusted bool) error
	// glitch has the wall clock jump without anybody having a reason to look at it.
	glitch(t time.Time)
	exact() bool // time stands still between jumps
	end()
}

// A fileMachine is one that is switched off and on again at each jump.
type fileMachine struct {
	path string
	wall atomic.Pointer[time.Time]
	s    *boltstore.Store
	b    *jobqueue.Broker
}

func newFileMachine(dir string, n int, at time.Time) (*fileMachine, error) {
	m := &fileMachine{path: filepath.Join(dir, fmt.Sprintf("%d.db", n))}
	m.wall.Store(&at)
	return m, m.on(false)
}

func (m *fileMachine) on(trusted bool) (err error) {
	m.s, err = boltstore.Open(m.path, &boltstore.Options{
		WallClock: func() time.Time { return *m.wall.Load() }, TrustWallClock: trusted, Timeout: limit,
	})
	if err != nil {
		return err
	}
	m.b, err = jobqueue.New(m.s, nil)
	return err
}

func (m *fileMachine) off() error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return errors.Join(m.b.Shutdown(ctx), m.s.Close())
}

func (m *fileMachine) broker() *jobqueue.Broker { return m.b }
func (m *fileMachine) store() storage.Store     { return m.s }
func (m *fileMachine) exact() bool              { return false }
func (m *fileMachine) glitch(t time.Time)       { m.wall.Store(&t) }

func (m *fileMachine) jump(t time.Time, trusted bool) error {
	if err := m.off(); err != nil {
		return err
	}
	m.wall.Store(&t)
	return m.on(trusted)
}

func (m *fileMachine) end() {
	m.off()
	os.Remove(m.path)
}

// A memoryMachine goes on while its clock is moved, which can only be forward.
type memoryMachine struct {
	clock *memstore.Clock
	s     *memstore.Store
	b     *jobqueue.Broker
}

func newMemoryMachine(at time.Time) (m *memoryMachine, err error) {
	m = &memoryMachine{clock: memstore.NewClock(at)}
	m.s = memstore.New(&memstore.Options{Clock: m.clock})
	m.b, err = jobqueue.New(m.s, nil)
	return m, err
}

func (m *memoryMachine) broker() *jobqueue.Broker { return m.b }
func (m *memoryMachine) store() storage.Store     { return m.s }
func (m *memoryMachine) exact() bool              { return true }
func (m *memoryMachine) glitch(time.Time)         {}

func (m *memoryMachine) jump(t time.Time, _ bool) error {
	m.clock.Advance(max(0, t.Sub(m.clock.Now())))
	return nil
}

func (m *memoryMachine) end() {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	m.b.Shutdown(ctx)
	m.s.Close()
}
