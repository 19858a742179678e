package soak

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pollackq/pollack/httpapi"
	"github.com/pollackq/pollack/httpapi/client"
	"github.com/pollackq/pollack/internal/torture/attack"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage"
)

// A stack is a store, its broker, a server over it and those who call them.
type stack struct {
	run    *attack.Run
	number int
	store  storage.Store
	b      *jobqueue.Broker
	h      *httpapi.Handler
	server *http.Server
	served chan struct{}
	url    string

	ops     atomic.Int64
	callers sync.WaitGroup
	recent  ids // of jobs, for those who watch and cancel

	mu  sync.Mutex // guards err
	err error
}

func newStack(r *attack.Run, store storage.Store, number int) (*stack, error) {
	b, err := jobqueue.New(store, &jobqueue.Options{
		Retention: time.Second, Tombstone: time.Second, Lease: 2 * time.Second, MaxDeliveries: 5, Backlog: 200,
	})
	if err != nil {
		return nil, err
	}
	h, err := httpapi.New(b, &httpapi.Options{AllowAnonymous: true})
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &stack{run: r, number: number, store: store, b: b, h: h, server: &http.Server{Handler: h}, served: make(chan struct{}), url: "http://" + l.Addr().String()}
	s.server.RegisterOnShutdown(h.Drain)
	go func() {
		defer close(s.served)
		s.server.Serve(l)
	}()
	return s, nil
}

// close ends the server and the broker; the store's owner closes it.
func (s *stack) close() {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if s.server.Shutdown(ctx) != nil {
		s.server.Close()
	}
	<-s.served
	if err := s.b.Shutdown(ctx); err != nil {
		s.run.Bad("shutting down: %v", err)
	}
}

// start begins the load, which goes on until the context ends.
func (s *stack) start(ctx context.Context) {
	n := 0
	for _, group := range []struct {
		callers int
		call    func(c *caller, ctx context.Context)
	}{
		{2, (*caller).produce}, {1, (*caller).consume}, {2, (*caller).receive}, {2, (*caller).watch}, {1, (*caller).upload}, {1, (*caller).session},
		{1, (*caller).submit}, {2, (*caller).poll}, {1, (*caller).leave}, {1, (*caller).listen},
	} {
		for range group.callers {
			n++
			c := &caller{stack: s, rnd: s.run.Rand(100*s.number + n), number: n}
			s.callers.Go(func() { group.call(c, ctx) })
		}
	}
}

// A caller is one of those who use the queue.
type caller struct {
	*stack
	rnd    *rand.Rand
	number int
}

// chance is true so often, of 100.
func (c *caller) chance(percent int) bool { return c.rnd.IntN(100) < percent }

// did counts an operation, and takes an error for what it says: most are part of the game.
func (s *stack) did(err error) bool {
	s.ops.Add(1)
	var refused *client.Error
	switch {
	case err == nil:
		return true
	case errors.Is(err, jobqueue.ErrStoreFailed), errors.Is(err, jobqueue.ErrOutcomeUnknown), errors.Is(err, jobqueue.ErrCorrupt), errors.Is(err, jobqueue.ErrStoreFull),
		errors.As(err, &refused) && refused.Status >= 500:
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.err == nil {
			s.err = fmt.Errorf("in the midst of the load: %w", err)
		}
	}
	return false
}

func (s *stack) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// records returns how many jobs, tombstones, uploads and queues the store keeps.
func (s *stack) records() (records, queues int64, err error) {
	err = s.store.View(context.Background(), storage.Reads{}, func(r storage.Reader) error {
		records, queues = 0, 0
		all, err := r.Queues(storage.QueueName{}, 1<<20)
		if err != nil {
			return err
		}
		for _, q := range all {
			counts, err := r.Counts(q.QueueName)
			if err != nil {
				return err
			}
			for _, n := range counts {
				records += n
			}
			queues++
		}
		return nil
	})
	return records, queues, err
}

// empty ends all jobs, and demands that in time no record is left of any. Queues that are closed keep one of their own for a minute.
func (s *stack) empty() error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	for {
		infos, err := s.b.Queues(ctx, "", jobqueue.MaxBatch)
		if err != nil {
			return err
		}
		left := int64(0)
		for _, info := range infos {
			if err := s.end(ctx, info); err != nil {
				return err
			}
			if info.Closed.IsZero() {
				for _, n := range info.Counts {
					left += n
				}
			}
		}
		if left == 0 {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("when all was ended, and its time was over, %d records were left of the jobs of %d queues", left, len(infos))
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// end ends what is left in a queue.
func (s *stack) end(ctx context.Context, info *jobqueue.QueueInfo) error {
	if info.Counts.Unfinished() == 0 {
		return nil
	}
	q := s.b.Queue(info.Name.Name)
	if _, err := q.Purge(ctx); err != nil && ctx.Err() == nil {
		return err
	}
	jobs, _, err := q.Jobs(ctx, jobqueue.ListOptions{State: jobqueue.Running, Limit: jobqueue.MaxBatch})
	for _, j := range jobs {
		s.b.Cancel(ctx, j.ID)
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// ids are the latest of very many.
type ids struct {
	mu  sync.Mutex // guards what follows
	all [64]jobqueue.ID
	n   int
}

func (l *ids) add(id jobqueue.ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all[l.n%len(l.all)] = id
	l.n++
}

// any returns one of them; the zero ID at the beginning.
func (l *ids) any(rnd *rand.Rand) jobqueue.ID {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all[rnd.IntN(len(l.all))]
}
