package jobqueue_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/boltstore"
	"github.com/pollackq/pollack/storage/memstore"
	"github.com/pollackq/pollack/storage/storagetest"
)

// A rule is a sentence of the contract and a program that would fail if it did not hold.
type rule struct {
	name string
	opts *jobqueue.Options
	run  func(l *lab)
}

// rules runs each rule on each kind of store.
func rules(t *testing.T, all []rule) {
	for _, one := range all {
		t.Run(one.name, func(t *testing.T) {
			eachStore(t, func(t *testing.T, open opener) { one.run(open(one.opts)) })
		})
	}
}

// An opener makes a broker on a new, empty store.
type opener func(o *jobqueue.Options) *lab

// A lab is a broker on a store of some kind, in a bubble of its own.
type lab struct {
	*testing.T
	ctx   context.Context
	base  storage.Store            // the backend
	fault *storagetest.FaultyStore // on the backend
	spy   *spy                     // on the faulty store
	b     *jobqueue.Broker         // on the spy
	o     *jobqueue.Options        // of b
	path  string                   // of boltstore's file; "" in memory
	usual func(storagetest.Call) storagetest.Fault
}

// eachStore runs fn, in a bubble, on each kind of store: in memory, in memory with every transaction run twice (as a store may), and in a file. When fn is over,
// the broker is shut down and the store checked.
func eachStore(t *testing.T, fn func(t *testing.T, open opener)) {
	rerun := func(storagetest.Call) storagetest.Fault { return storagetest.Fault{Kind: storagetest.Rerun} }
	for _, kind := range []struct {
		name  string
		usual func(storagetest.Call) storagetest.Fault
	}{{"memstore", nil}, {"memstore twice", rerun}, {"boltstore", nil}} {
		t.Run(kind.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fn(t, func(o *jobqueue.Options) *lab {
					l := &lab{T: t, ctx: t.Context(), o: o, usual: kind.usual}
					if kind.name == "boltstore" {
						l.path = filepath.Join(t.TempDir(), "jobs.db")
					}
					l.start()
					t.Cleanup(l.stop)
					return l
				})
			})
		})
	}
}

// start opens the store, in its file if it has one, and makes the broker.
func (l *lab) start() {
	l.Helper()
	l.base = memstore.New(nil)
	if l.path != "" {
		s, err := boltstore.Open(l.path, nil)
		l.must(err)
		l.base = s
	}
	l.over(l.base)
}

// over makes the broker on a store.
func (l *lab) over(s storage.Store) {
	l.Helper()
	l.base, l.fault = s, storagetest.Faulty(s, l.usual)
	l.spy = &spy{Store: l.fault}
	b, err := jobqueue.New(l.spy, l.o)
	l.must(err)
	l.b = b
	synctest.Wait()
}

// stop shuts the broker down, checks the store and closes it.
func (l *lab) stop() {
	l.Helper()
	l.fault.Set(nil)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := l.b.Shutdown(ctx); err != nil {
		l.Errorf("Shutdown: got %v, want nil", err)
	}
	if err := l.base.(storage.Checker).Check(ctx); err != nil {
		l.Errorf("the store disagrees with itself: %v", err)
	}
	if err := l.base.Close(); err != nil {
		l.Errorf("closing the store: %v", err)
	}
}

// crash goes on with the file as it is on the disk at this moment, as after a kill; downtime passes before it is opened again. ends are
// called where the process would have been killed, to end what the test has under way.
func (l *lab) crash(downtime time.Duration, ends ...func()) {
	l.Helper()
	synctest.Wait()
	image, err := os.ReadFile(l.path)
	l.must(err)
	for _, end := range ends {
		end()
	}
	l.stop()
	l.path = filepath.Join(l.TempDir(), "crashed.db")
	l.must(os.WriteFile(l.path, image, 0o600))
	time.Sleep(downtime)
	l.start()
}

func (l *lab) must(err error) {
	l.Helper()
	if err != nil {
		l.Fatalf("got error %v, want none", err)
	}
}

// pass lets time pass, and what it sets off happen.
func (l *lab) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// until lets time pass until a moment.
func (l *lab) until(at time.Time) { l.pass(time.Until(at)) }

func (l *lab) add(queue string, j jobqueue.NewJob) *jobqueue.Job {
	l.Helper()
	out, err := l.b.Queue(queue).Enqueue(l.ctx, j)
	if err != nil {
		l.Fatalf("Enqueue: got error %v, want none", err)
	}
	return out
}

// take receives a job that must be there.
func (l *lab) take(queue string) *jobqueue.Delivery {
	l.Helper()
	d, err := l.b.Queue(queue).TryReceive(l.ctx, nil)
	if err != nil {
		l.Fatalf("TryReceive: got error %v, want a job", err)
	}
	return d
}

// none demands that nothing can be received.
func (l *lab) none(queue string) {
	l.Helper()
	if d, err := l.b.Queue(queue).TryReceive(l.ctx, nil); !errors.Is(err, jobqueue.ErrEmpty) {
		l.Errorf("TryReceive: got %v, %v, want %v", d, err, jobqueue.ErrEmpty)
	}
}

func (l *lab) job(id jobqueue.ID) *jobqueue.Job {
	l.Helper()
	j, err := l.b.Job(l.ctx, id)
	if err != nil {
		l.Fatalf("Job: got error %v, want none", err)
	}
	return j
}

// state demands that a job is in a state.
func (l *lab) state(id jobqueue.ID, want jobqueue.State) *jobqueue.Job {
	l.Helper()
	j := l.job(id)
	if j.State != want {
		l.Errorf("state of the job: got %v, want %v", j.State, want)
	}
	return j
}

// failed demands that a job has failed with a code.
func (l *lab) failed(id jobqueue.ID, code string) {
	l.Helper()
	if j := l.state(id, jobqueue.Failed); j.Failure == nil || j.Failure.Code != code {
		l.Errorf("failure: got %+v, want code %q", j.Failure, code)
	}
}

// absent demands that asking for a job gives ErrGone or ErrNotFound.
func (l *lab) absent(id jobqueue.ID, want error) {
	l.Helper()
	if j, err := l.b.Job(l.ctx, id); !errors.Is(err, want) {
		l.Errorf("Job: got %v, %v, want %v", j, err, want)
	}
}

func (l *lab) info(queue string) *jobqueue.QueueInfo {
	l.Helper()
	info, err := l.b.Queue(queue).Info(l.ctx)
	if err != nil {
		l.Fatalf("Info: got error %v, want none", err)
	}
	return info
}

// equal compares what was got with what was wanted.
func equal[T comparable](l *lab, what string, got, want T) {
	l.Helper()
	if got != want {
		l.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// invalid demands an InvalidError for a field.
func (l *lab) invalid(what string, err error, field string) {
	l.Helper()
	var e *jobqueue.InvalidError
	if !errors.As(err, &e) || e.Field != field || !errors.Is(err, jobqueue.ErrInvalid) || e.Problem == "" {
		l.Errorf("%s: got %v, want an InvalidError for %q", what, err, field)
	}
}

// contents returns all records of the store as text, to see that nothing has changed.
func (l *lab) contents() string {
	l.Helper()
	var out strings.Builder
	l.must(l.base.View(l.ctx, storage.Reads{}, func(r storage.Reader) error {
		out.Reset()
		queues, err := r.Queues(storage.QueueName{}, 1<<20)
		for _, q := range queues {
			counts, _ := r.Counts(q.QueueName)
			next, _ := r.NextPosition(q.QueueName)
			fmt.Fprintln(&out, *q, counts, next)
			jobs, _, err := r.Jobs(q.QueueName, 0, storage.ID{}, 1<<20)
			if err != nil {
				return err
			}
			for _, j := range jobs {
				st := j.Status
				st.Progress = nil // a pointer
				fmt.Fprintln(&out, *j.Spec, st)
			}
		}
		return err
	}))
	return out.String()
}

// chunks returns how many chunks are left of all the blobs that were ever begun.
func (l *lab) chunks() int {
	l.Helper()
	n := 0
	l.must(l.base.View(l.ctx, storage.Reads{}, func(r storage.Reader) error {
		n = 0
		for _, blob := range l.spy.seen() {
			for i := uint32(0); ; i++ {
				_, err := r.Chunk(blob, i)
				if errors.Is(err, storage.ErrNotFound) {
					break
				}
				if err != nil {
					return err
				}
				n++
			}
		}
		return nil
	}))
	return n
}

// staged returns how many uploads that nobody has adopted are in a queue of the house.
func (l *lab) staged(queue string) int64 {
	l.Helper()
	var n int64
	l.must(l.base.View(l.ctx, storage.Reads{}, func(r storage.Reader) error {
		counts, err := r.Counts(storage.QueueName{Name: queue})
		n = counts[storage.Staged]
		return err
	}))
	return n
}

// A spy remembers the blobs that were written, and calls a function before transactions.
type spy struct {
	storage.Store
	mu    sync.Mutex // guards what follows
	blobs []storage.ID
	hook  func()
}

// Unwrap lets storage.As see the store itself.
func (s *spy) Unwrap() storage.Store { return s.Store }

func (s *spy) seen() []storage.ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.blobs)
}

// before has fn called before each call of the store.
func (s *spy) before(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = fn
}

func (s *spy) call() {
	s.mu.Lock()
	hook := s.hook
	s.mu.Unlock()
	if hook != nil {
		hook()
	}
}

func (s *spy) View(ctx context.Context, r storage.Reads, fn func(storage.Reader) error) error {
	s.call()
	return s.Store.View(ctx, r, fn)
}

func (s *spy) Update(ctx context.Context, r storage.Reads, fn func(storage.Tx) error) error {
	s.call()
	return s.Store.Update(ctx, r, func(tx storage.Tx) error { return fn(&spyTx{tx, s}) })
}

type spyTx struct {
	storage.Tx
	s *spy
}

func (t *spyTx) PutChunk(blob storage.ID, n uint32, p []byte) error {
	t.s.mu.Lock()
	if !slices.Contains(t.s.blobs, blob) {
		t.s.blobs = append(t.s.blobs, blob)
	}
	t.s.mu.Unlock()
	return t.Tx.PutChunk(blob, n, p)
}

// later calls fn in a goroutine and returns once that waits for something; the function it returns demands the answer.
func later[T any](l *lab, fn func() T) (now func() T) {
	l.Helper()
	out := make(chan T, 1)
	go func() { out <- fn() }()
	synctest.Wait()
	return func() T {
		l.Helper()
		synctest.Wait()
		select {
		case v := <-out:
			return v
		default:
			l.Fatal("the call still waits; want it answered")
			panic("unreachable")
		}
	}
}

// answer is what a Receive, or a wait for a job, returned.
type answer struct {
	d   *jobqueue.Delivery
	j   *jobqueue.Job
	err error
}

// parked has a receiver wait.
func (l *lab) parked(queue string) (now func() answer) {
	l.Helper()
	return later(l, func() answer {
		d, err := l.b.Queue(queue).Receive(l.ctx, nil)
		return answer{d: d, err: err}
	})
}

// watched has somebody wait for the end of a job.
func (l *lab) watched(id jobqueue.ID) (now func() answer) {
	l.Helper()
	return later(l, func() answer {
		j, err := l.b.WaitEnd(l.ctx, id)
		return answer{j: j, err: err}
	})
}
