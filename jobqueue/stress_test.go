package jobqueue_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/boltstore"
	"github.com/pollackq/pollack/storage/memstore"
)

// Two consumers and three producers, leases that lapse, releases and cancels at random, late and repeated acks: every job ends exactly once,
// and the promises of the package documentation hold for all that was seen.
func TestEveryJobEndsExactlyOnce(t *testing.T) {
	for _, c := range []struct {
		name string
		jobs int
		open func(t *testing.T) storage.Store
	}{
		{"memstore", 10_000, func(*testing.T) storage.Store { return memstore.New(nil) }},
		{"boltstore", 1_000, func(t *testing.T) storage.Store {
			s, err := boltstore.Open(filepath.Join(t.TempDir(), "jobs"), nil)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := c.open(t)
				s := newStress(t, store, rand.Uint64())
				s.run(c.jobs)
				s.audit()
				if err := s.b.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
				if err := store.(storage.Checker).Check(t.Context()); err != nil {
					t.Error(err)
				}
				store.Close()
			})
		})
	}
}

const (
	stressLease      = 5 * time.Second
	stressDeliveries = 6
)

type stress struct {
	t    *testing.T
	ctx  context.Context
	seed uint64
	b    *jobqueue.Broker
	q    *jobqueue.Queue
	seen tally
	late sync.WaitGroup // those that come back to a delivery after its time

	mu    sync.Mutex // guards what follows
	trace map[jobqueue.ID]*life
	ids   []jobqueue.ID // in the order they were added
}

// life is what was seen of one job.
type life struct {
	grants    []*grant // in the order they were seen
	uncounted int      // releases
	ends      int      // calls that ended it
	canceled  bool
}

// grant is one delivery: it was good from started until over.
type grant struct {
	d    *jobqueue.Delivery
	over time.Time
}

// tally counts what the observer is told.
type tally struct {
	jobqueue.NopObserver
	enqueued, delivered, lapsed atomic.Int64
	ended                       [storage.States]atomic.Int64
}

func (o *tally) Enqueued(_ jobqueue.QueueName, n int)                          { o.enqueued.Add(int64(n)) }
func (o *tally) Delivered(jobqueue.QueueName, time.Duration)                   { o.delivered.Add(1) }
func (o *tally) Ended(_ jobqueue.QueueName, s jobqueue.State, _ time.Duration) { o.ended[s].Add(1) }
func (o *tally) Lapsed(jobqueue.QueueName)                                     { o.lapsed.Add(1) }

func newStress(t *testing.T, store storage.Store, seed uint64) *stress {
	s := &stress{t: t, ctx: t.Context(), seed: seed, trace: map[jobqueue.ID]*life{}}
	t.Logf("seed %d", seed) // the goroutines still interleave as they like
	var err error
	s.b, err = jobqueue.New(store, &jobqueue.Options{Lease: stressLease, MaxDeliveries: stressDeliveries, Observer: &s.seen})
	if err != nil {
		t.Fatal(err)
	}
	s.q = s.b.Queue("work")
	return s
}

func (s *stress) rand(who uint64) *rand.Rand { return rand.New(rand.NewPCG(s.seed, who)) }

func (s *stress) run(jobs int) {
	var producers, consumers sync.WaitGroup
	var left atomic.Int64
	left.Store(int64(jobs))
	for i := range uint64(3) {
		producers.Go(func() { s.produce(s.rand(i), &left) })
	}
	for i := range uint64(2) {
		consumers.Go(func() { s.consume(s.rand(10 + i)) })
	}
	stop := make(chan struct{})
	consumers.Go(func() { s.cancel(s.rand(20), stop) })
	producers.Wait()
	if err := s.q.Close(s.ctx); err != nil {
		s.t.Error(err)
	}
	if err := s.q.Idle(s.ctx); err != nil {
		s.t.Error(err)
	}
	close(stop)
	consumers.Wait()
	s.late.Wait()
}

func (s *stress) produce(r *rand.Rand, left *atomic.Int64) {
	for {
		jobs := make([]jobqueue.NewJob, 1+r.IntN(20))
		for i := range jobs {
			jobs[i].Priority = r.IntN(3)
			if r.IntN(10) == 0 {
				jobs[i].Delay = time.Duration(r.IntN(10_000)) * time.Millisecond
			}
		}
		twice := r.IntN(5) == 0
		if twice { // two submit the same at once
			jobs = jobs[:1]
			jobs[0].Key = fmt.Sprint(r.Uint64())
		}
		if over := -left.Add(-int64(len(jobs))); over >= int64(len(jobs)) {
			return
		} else if over > 0 {
			jobs = jobs[over:]
		}
		var both sync.WaitGroup
		if twice {
			both.Go(func() { s.add(jobs) })
		}
		s.add(jobs)
		both.Wait()
		time.Sleep(time.Duration(r.IntN(50)) * time.Millisecond)
	}
}

func (s *stress) add(jobs []jobqueue.NewJob) {
	out, err := s.q.EnqueueMany(s.ctx, jobs)
	if err != nil {
		s.t.Errorf("EnqueueMany: %v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, j := range out {
		if !j.Replayed {
			s.ids = append(s.ids, j.ID)
		}
	}
}

// cancel cancels jobs at random, none twice.
func (s *stress) cancel(r *rand.Rand, stop <-chan struct{}) {
	done := map[jobqueue.ID]bool{}
	for {
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(r.IntN(10)) * time.Millisecond):
		}
		s.mu.Lock()
		var id jobqueue.ID
		if n := len(s.ids); n > 0 {
			id = s.ids[max(0, n-1-r.IntN(200))]
		}
		s.mu.Unlock()
		if id == (jobqueue.ID{}) || done[id] {
			continue
		}
		done[id] = true
		_, err := s.b.Cancel(s.ctx, id)
		switch {
		case err == nil:
			s.note(id, func(l *life) { l.ends++; l.canceled = true })
		case !errors.Is(err, jobqueue.ErrWrongState):
			s.t.Errorf("Cancel: %v", err)
		}
	}
}

// consume receives until the queue is done.
func (s *stress) consume(r *rand.Rand) {
	for {
		ds, err := s.q.ReceiveMany(s.ctx, 1+r.IntN(8), nil)
		if errors.Is(err, jobqueue.ErrDone) {
			return
		}
		if err != nil {
			s.t.Errorf("ReceiveMany: %v", err)
			return
		}
		for _, d := range ds {
			g := &grant{d: d, over: d.LeaseExpires}
			s.note(d.ID, func(l *life) { l.grants = append(l.grants, g) })
			s.work(r, g)
		}
	}
}

// note changes what is known of a job.
func (s *stress) note(id jobqueue.ID, fn func(*life)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.trace[id]
	if l == nil {
		l = new(life)
		s.trace[id] = l
	}
	fn(l)
}

// work does to a delivery one of the things that consumers do.
func (s *stress) work(r *rand.Rand, g *grant) {
	d := g.d
	late := func(after time.Duration, fn func()) {
		s.late.Go(func() { time.Sleep(after); fn() })
	}
	ack := func() { s.ended(g, func() (jobqueue.Outcome, error) { return s.b.Ack(s.ctx, d.ID, d.Token) }) }
	switch n := r.IntN(100); {
	case n < 50:
		time.Sleep(time.Duration(r.IntN(4)) * time.Millisecond)
		ack()
	case n < 55: // twice at once
		late(0, ack)
		ack()
	case n < 60:
		s.ended(g, func() (jobqueue.Outcome, error) {
			return s.b.Complete(s.ctx, d.ID, d.Token, jobqueue.NewResult{Data: []byte("42")})
		})
	case n < 65:
		s.ended(g, func() (jobqueue.Outcome, error) { return s.b.Fail(s.ctx, d.ID, d.Token, jobqueue.Failure{Code: "own"}) })
	case n < 75:
		o := &jobqueue.ReleaseOptions{Uncounted: r.IntN(4) == 0}
		if r.IntN(2) == 0 {
			o.Delay = time.Duration(r.IntN(3000)) * time.Millisecond
		}
		if err := d.Release(s.ctx, o); s.allowed("Release", err) {
			s.note(d.ID, func(l *life) {
				g.over = time.Now()
				if o.Uncounted {
					l.uncounted++
				}
			})
		}
	case n < 80:
		j, err := s.b.Extend(s.ctx, d.ID, d.Token, time.Duration(1+r.IntN(8))*time.Second)
		if s.allowed("Extend", err) {
			s.note(d.ID, func(*life) { g.over = j.LeaseExpires })
		}
		late(time.Duration(r.IntN(12_000))*time.Millisecond, ack)
	case n < 90: // late, or too late
		late(time.Duration(r.IntN(15_000))*time.Millisecond, ack)
	default: // forgotten
	}
}

// ended ends a job, twice.
func (s *stress) ended(g *grant, end func() (jobqueue.Outcome, error)) {
	for range 2 {
		out, err := end()
		if !s.allowed("the end", err) {
			return
		}
		s.note(g.d.ID, func(l *life) {
			g.over = time.Now()
			if !out.Repeated {
				l.ends++
			}
		})
	}
}

// allowed reports whether a call succeeded; all it may fail with is that the lease is lost.
func (s *stress) allowed(what string, err error) bool {
	if err != nil && !errors.Is(err, jobqueue.ErrLeaseLost) {
		s.t.Errorf("%s: %v", what, err)
	}
	return err == nil
}

// jobs lists all jobs of the queue.
func (s *stress) jobs() []*jobqueue.Job {
	var all []*jobqueue.Job
	for after := (jobqueue.ID{}); ; {
		page, next, err := s.q.Jobs(s.ctx, jobqueue.ListOptions{After: after, Limit: jobqueue.MaxBatch})
		if err != nil {
			s.t.Fatal(err)
		}
		all = append(all, page...)
		if after = next; next == (jobqueue.ID{}) {
			return all
		}
	}
}

func (s *stress) audit() {
	t, jobs := s.t, s.jobs()
	if len(jobs) != len(s.ids) || s.seen.enqueued.Load() != int64(len(jobs)) {
		t.Errorf("%d jobs are there, %d were added, the observer was told of %d", len(jobs), len(s.ids), s.seen.enqueued.Load())
	}
	tokens := map[jobqueue.Token]bool{}
	positions := map[uint64]bool{}
	states := map[jobqueue.State]int64{}
	var grants, lapses int64
	for _, j := range jobs {
		l := s.trace[j.ID]
		if l == nil {
			t.Errorf("job %v ended as %v, and nobody has seen it", j.ID, j.State)
			continue
		}
		s.auditJob(j, l)
		for _, g := range l.grants {
			if tokens[g.d.Token] {
				t.Errorf("token %v was given twice", g.d.Token)
			}
			tokens[g.d.Token] = true
		}
		if positions[j.Position] || j.Position >= uint64(len(jobs)) {
			t.Errorf("position %d of %d is there twice, or too high", j.Position, len(jobs))
		}
		positions[j.Position] = true
		states[j.State]++
		grants += int64(len(l.grants))
		lapses += int64(j.Lapses)
	}
	for _, state := range []jobqueue.State{jobqueue.Succeeded, jobqueue.Failed, jobqueue.Canceled} {
		if told := s.seen.ended[state].Load(); told != states[state] || told == 0 {
			t.Errorf("%d jobs are %v, the observer was told of %d", states[state], state, told)
		}
	}
	if grants != s.seen.delivered.Load() || lapses != s.seen.lapsed.Load() || lapses == 0 {
		t.Errorf("%d deliveries and %d lapses were seen, the observer was told of %d and %d", grants, lapses, s.seen.delivered.Load(), s.seen.lapsed.Load())
	}
	t.Logf("%d jobs, %d deliveries, %d lapses, %v", len(jobs), grants, lapses, states)
}

func (s *stress) auditJob(j *jobqueue.Job, l *life) {
	t := s.t
	ends := l.ends
	if j.Failure != nil && j.Failure.Code == jobqueue.CodeDeliveries {
		ends++ // the broker's own doing
		if j.Deliveries != stressDeliveries {
			t.Errorf("job %v failed for want of deliveries after %d", j.ID, j.Deliveries)
		}
	}
	if ends != 1 || !j.State.Ended() {
		t.Errorf("job %v is %v and was ended %d times", j.ID, j.State, ends)
	}
	if l.canceled != (j.State == jobqueue.Canceled) {
		t.Errorf("job %v is %v; its cancel succeeded: %v", j.ID, j.State, l.canceled)
	}
	if j.Deliveries != len(l.grants)-l.uncounted || j.Deliveries > stressDeliveries {
		t.Errorf("job %v counts %d deliveries of %d seen, %d of them uncounted", j.ID, j.Deliveries, len(l.grants), l.uncounted)
	}
	s.auditLeases(j, l.grants)
}

// auditLeases demands that no two leases overlap, none begins after the end, and no token but the last is good for anything.
func (s *stress) auditLeases(j *jobqueue.Job, grants []*grant) {
	slices.SortFunc(grants, func(a, b *grant) int { return cmp.Compare(a.d.Version, b.d.Version) })
	for i, g := range grants {
		if g.d.Started.After(j.Finished) || g.d.Version >= j.Version || g.d.Deliveries > stressDeliveries {
			s.t.Errorf("job %v was delivered at %v as number %d, and had ended at %v", j.ID, g.d.Started, g.d.Deliveries, j.Finished)
		}
		if i+1 == len(grants) {
			break
		}
		if next := grants[i+1].d; next.Started.Before(g.over) {
			s.t.Errorf("job %v: one lease from %v to %v, the next from %v", j.ID, g.d.Started, g.over, next.Started)
		}
		if err := g.d.Ack(s.ctx); !errors.Is(err, jobqueue.ErrLeaseLost) {
			s.t.Errorf("job %v: a superseded token: got %v, want a lost lease", j.ID, err)
		}
	}
}
