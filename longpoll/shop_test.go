package longpoll_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/pollackq/pollack/longpoll"
)

var (
	errClosed = errors.New("closed")
	errLook   = errors.New("look failed")
)

// A shop has a bag of things, of which each look takes one.
type shop struct {
	lines longpoll.Lines[string, *int]

	mu    sync.Mutex // guards what follows
	bag   int
	looks int   // since newLooks
	order []int // who took something or was told to go, by the order of that
	errs  map[int]error
}

// wait has waiter number n wait for key in a goroutine of its own, and returns once it stands in line.
func (s *shop) wait(ctx context.Context, key string, n int) {
	go func() {
		_, err := s.lines.Wait(ctx, key, &n, s.look)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.order = append(s.order, n)
		if s.errs == nil {
			s.errs = make(map[int]error)
		}
		s.errs[n] = err
	}()
	synctest.Wait()
}

func (s *shop) look() (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looks++
	if s.bag == 0 {
		return false, nil
	}
	s.bag--
	return true, nil
}

// put adds n things and signals as many.
func (s *shop) put(key string, n int) {
	s.mu.Lock()
	s.bag += n
	s.mu.Unlock()
	s.lines.Signal(key, n)
}

// newLooks returns how many looks there were since it was called last, once all is quiet.
func (s *shop) newLooks() int {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.looks
	s.looks = 0
	return n
}

func (s *shop) done() []int {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.order)
}

func (s *shop) err(n int) error {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.errs[n]
}

func wantLooks(t *testing.T, s *shop, want int) {
	t.Helper()
	if got := s.newLooks(); got != want {
		t.Errorf("looks: got %d, want %d", got, want)
	}
}

func wantDone(t *testing.T, s *shop, want ...int) {
	t.Helper()
	if got := s.done(); !slices.Equal(got, want) {
		t.Errorf("waits ended: got %v, want %v", got, want)
	}
}
