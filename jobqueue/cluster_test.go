package jobqueue_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/memstore"
)

// lookEvery is how often a node of a cluster looks for what it was not told.
const lookEvery = 2 * time.Second

// A cluster is several processes on one store in memory, each a broker, in one bubble.
type cluster struct {
	t     *testing.T
	ctx   context.Context
	mem   *memstore.Store
	nodes []*node
}

// A node is the store as one process of a cluster has it: it tells the others what that process commits, and looks from time to time.
type node struct {
	storage.Store
	c    *cluster
	b    *jobqueue.Broker
	q    *jobqueue.Queue // "work"
	stop func()          // the broker

	mu       sync.Mutex // guards what follows
	listener storage.Listener
	mute     bool          // what it commits is told to nobody
	lag      time.Duration // see Notifier
	fails    error         // what every transaction fails with
	waits    map[storage.QueueName]int
	watches  []storage.ID
	updates  int
	onView   func() // called before a View
	onCommit func() // called when an Update has succeeded and not returned yet
}

// withCluster runs fn with n nodes, and checks the store when that is over.
func withCluster(t *testing.T, n int, o *jobqueue.Options, fn func(c *cluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{t: t, ctx: t.Context(), mem: memstore.New(nil)}
		for range n {
			one := &node{Store: c.mem, c: c, waits: map[storage.QueueName]int{}}
			c.nodes = append(c.nodes, one)
			b, err := jobqueue.New(one, o)
			if err != nil {
				t.Fatal(err)
			}
			one.b, one.q = b, b.Queue("work")
			looks, end := context.WithCancel(context.Background())
			go one.look(looks)
			one.stop = sync.OnceFunc(func() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				if err := b.Shutdown(ctx); err != nil {
					t.Errorf("Shutdown: %v", err)
				}
				end()
				synctest.Wait()
				if receivers, idlers, watches := b.Left(); receivers+idlers+watches != 0 {
					t.Errorf("left behind: %d receivers, %d that wait for idleness, %d watched jobs", receivers, idlers, watches)
				}
			})
		}
		synctest.Wait()
		fn(c)
		for _, one := range c.nodes {
			one.stop()
		}
		if err := c.mem.Check(c.ctx); err != nil {
			t.Errorf("the store disagrees with itself: %v", err)
		}
		c.mem.Close()
	})
}

// eachHint runs fn with two nodes that tell each other at once, and with two that only look.
func eachHint(t *testing.T, o *jobqueue.Options, fn func(c *cluster, a, b *node, late time.Duration)) {
	for _, kind := range []struct {
		name string
		late time.Duration // how late a node learns at most
	}{{"told", 0}, {"told nothing", lookEvery}} {
		t.Run(kind.name, func(t *testing.T) {
			withCluster(t, 2, o, func(c *cluster) {
				for _, one := range c.nodes {
					one.mute = kind.late > 0
				}
				fn(c, c.nodes[0], c.nodes[1], kind.late)
			})
		})
	}
}

// The methods of a storage.Notifier.

func (n *node) Notify(l storage.Listener) (stop func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.listener = l
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.listener = nil
	}
}

func (n *node) Waits(q storage.QueueName) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.waits[q]++
}

func (n *node) Watches(id storage.ID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.watches = append(n.watches, id)
}

func (n *node) Lag() time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.lag
}

// hear tells the node's broker something.
func (n *node) hear(ch storage.Change) (woken int) {
	n.mu.Lock()
	l := n.listener
	n.mu.Unlock()
	if l != nil {
		woken = l.Changed(ch)
	}
	return woken
}

// set changes what a node's mutex guards.
func (n *node) set(change func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change()
}

func (n *node) View(ctx context.Context, r storage.Reads, fn func(storage.Reader) error) error {
	n.mu.Lock()
	before := n.onView
	n.mu.Unlock()
	if before != nil {
		before()
	}
	return n.Store.View(ctx, r, fn)
}

func (n *node) Update(ctx context.Context, r storage.Reads, fn func(storage.Tx) error) error {
	n.mu.Lock()
	err, mute, after := n.fails, n.mute, n.onCommit
	n.updates++
	n.mu.Unlock()
	if err != nil {
		return err
	}
	var tx recorder
	err = n.Store.Update(ctx, r, func(t storage.Tx) error {
		tx = recorder{Tx: t, ready: map[storage.QueueName]int{}}
		return fn(&tx)
	})
	if err == nil && after != nil {
		after()
	}
	if err != nil || mute {
		return err
	}
	changes := tx.changes
	for q, k := range tx.ready {
		changes = append(changes, storage.Change{Queue: q, Ready: k})
	}
	for _, ch := range changes {
		for _, other := range n.c.nodes {
			if other != n {
				other.hear(ch)
			}
		}
	}
	return nil
}

// look looks as long as ctx lasts.
func (n *node) look(ctx context.Context) {
	known := map[storage.ID]uint64{}
	closed := map[storage.QueueName]time.Time{}
	timer := time.NewTimer(lookEvery)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			timer.Reset(lookEvery)
		}
		n.mu.Lock()
		l := n.listener
		n.mu.Unlock()
		if l == nil {
			return
		}
		a := l.Awaits()
		var found []storage.Change
		for _, q := range a.Ends {
			found = append(found, storage.Change{Queue: q, Ended: true})
		}
		err := n.View(ctx, storage.Reads{}, func(r storage.Reader) error {
			for q, k := range a.Receivers {
				var since time.Time
				if rec, err := r.Queue(q); err == nil {
					since = rec.Closed
				}
				was, ok := closed[q]
				closed[q] = since
				jobs, _ := r.Ready(q, k)
				switch {
				case ok && !was.Equal(since):
					found = append(found, storage.Change{Queue: q})
				case !ok || len(jobs) > 0: // one may have missed what was before the first look
					found = append(found, storage.Change{Queue: q, Ready: max(len(jobs), 1)})
				}
			}
			for _, id := range a.Jobs {
				version := uint64(0)
				if j, err := r.Job(id); err == nil {
					version = j.Version
				}
				if was, ok := known[id]; !ok || was != version {
					found = append(found, storage.Change{Job: id})
				}
				known[id] = version
			}
			due, err := r.NextDue()
			if !due.IsZero() {
				found = append(found, storage.Change{Due: due, Now: r.Now()})
			}
			return err
		})
		if err != nil {
			n.c.t.Errorf("look: %v", err)
		}
		for _, ch := range found {
			l.Changed(ch)
		}
	}
}

// A recorder notes what a transaction changes.
type recorder struct {
	storage.Tx
	ready   map[storage.QueueName]int
	changes []storage.Change
}

func (r *recorder) note(j *storage.Job) {
	if j.State == storage.Pending {
		r.ready[j.Queue]++
	}
	r.changes = append(r.changes, storage.Change{Job: j.ID})
	if q, err := r.Queue(j.Queue); err == nil && !q.Closed.IsZero() && j.State.Ended() {
		r.changes = append(r.changes, storage.Change{Queue: j.Queue, Ended: true})
	}
}

func (r *recorder) AddJob(j *storage.Job, payload []byte) (*storage.Job, error) {
	j, err := r.Tx.AddJob(j, payload)
	if err == nil {
		r.note(j)
	}
	return j, err
}

func (r *recorder) SetJob(j *storage.Job) error {
	r.note(j)
	return r.Tx.SetJob(j)
}

func (r *recorder) DeleteJob(j *storage.Job) error {
	r.changes = append(r.changes, storage.Change{Job: j.ID})
	if q, err := r.Queue(j.Queue); err == nil && !q.Closed.IsZero() {
		r.changes = append(r.changes, storage.Change{Queue: j.Queue, Ended: true})
	}
	return r.Tx.DeleteJob(j)
}

func (r *recorder) PutQueue(q *storage.Queue) error {
	if !q.Closed.IsZero() {
		r.changes = append(r.changes, storage.Change{Queue: q.QueueName})
	}
	return r.Tx.PutQueue(q)
}

func (r *recorder) DeleteQueue(q storage.QueueName) error {
	r.changes = append(r.changes, storage.Change{Queue: q})
	return r.Tx.DeleteQueue(q)
}

// add enqueues on a node.
func (n *node) add(j jobqueue.NewJob) *jobqueue.Job {
	n.c.t.Helper()
	out, err := n.q.Enqueue(n.c.ctx, j)
	if err != nil {
		n.c.t.Fatalf("Enqueue: %v", err)
	}
	return out
}

// take receives, on a node, a job that is there.
func (n *node) take() *jobqueue.Delivery {
	n.c.t.Helper()
	d, err := n.q.TryReceive(n.c.ctx, nil)
	if err != nil {
		n.c.t.Fatalf("TryReceive: %v", err)
	}
	return d
}

// An answered is the answer to a call beside the test, and when it came.
type answered struct {
	d   *jobqueue.Delivery
	j   *jobqueue.Job
	err error
	at  time.Time
}

// beside makes a call beside the test, and returns once it waits.
func beside(call func() answered) <-chan answered {
	out := make(chan answered, 1)
	go func() {
		l := call()
		l.at = time.Now()
		out <- l
	}()
	synctest.Wait()
	return out
}

// receive has a receiver of a node wait.
func (n *node) receive() <-chan answered {
	return beside(func() answered {
		d, err := n.q.Receive(n.c.ctx, nil)
		return answered{d: d, err: err}
	})
}

// within returns the answer, which has to come within a time from now; it may be there already.
func (c *cluster) within(d time.Duration, what string, l <-chan answered) answered {
	c.t.Helper()
	synctest.Wait()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case got := <-l:
		return got
	default:
	}
	select {
	case got := <-l:
		return got
	case <-timer.C:
	}
	synctest.Wait()
	select {
	case got := <-l:
		return got
	default:
		c.t.Fatalf("%s: nothing within %v", what, d)
		return answered{}
	}
}

func (c *cluster) silent(what string, l <-chan answered) {
	c.t.Helper()
	synctest.Wait()
	if len(l) > 0 {
		got := <-l
		c.t.Fatalf("%s: got %v, %v, %v; want it to wait", what, got.d, got.j, got.err)
	}
}

func TestAJobOfOneNodeWakesAReceiverOfAnother(t *testing.T) {
	eachHint(t, nil, func(c *cluster, a, b *node, late time.Duration) {
		first, second := b.receive(), b.receive()
		j := a.add(jobqueue.NewJob{})
		if got := c.within(late, "the first receiver", first); got.err != nil || got.d.ID != j.ID {
			t.Errorf("got %v, %v; want job %v", got.d, got.err, j.ID)
		}
		c.silent("the second receiver", second)
		jobs, err := a.q.EnqueueMany(c.ctx, make([]jobqueue.NewJob, 2))
		if err != nil {
			t.Fatal(err)
		}
		if got := c.within(late, "the second receiver", second); got.err != nil || got.d.ID != jobs[0].ID {
			t.Errorf("got %v, %v; want job %v", got.d, got.err, jobs[0].ID)
		}
		if d := a.take(); d.ID != jobs[1].ID {
			t.Errorf("left over is %v, want job %v", d.ID, jobs[1].ID)
		}
	})
}

func TestAHintSaysHowManyItHasWoken(t *testing.T) {
	withCluster(t, 1, nil, func(c *cluster) {
		n := c.nodes[0]
		work := n.q.Name()
		if got := n.hear(storage.Change{Queue: work, Ready: 2}); got != 0 {
			t.Errorf("nobody waits: got %d woken, want 0", got)
		}
		all := []<-chan answered{n.receive(), n.receive(), n.receive()}
		if got := n.hear(storage.Change{Queue: work, Ready: 2}); got != 2 {
			t.Errorf("of three: got %d woken, want 2", got)
		}
		synctest.Wait()
		if got := n.hear(storage.Change{Queue: work, Ready: 5}); got != 3 {
			t.Errorf("of three: got %d woken, want 3", got)
		}
		synctest.Wait()
		if got := n.listener.Receivers(work); got != 3 {
			t.Errorf("got %d receivers, want 3", got)
		}
		n.set(func() {
			n.onCommit = func() {
				if got := n.listener.Receivers(work); got != 2 {
					t.Errorf("one is about to be given a job: got %d receivers, want 2", got)
				}
			}
		})
		n.add(jobqueue.NewJob{})
		n.set(func() { n.onCommit = nil })
		n.add(jobqueue.NewJob{})
		n.add(jobqueue.NewJob{})
		for _, l := range all {
			c.within(0, "a receiver", l)
		}
		if got := n.listener.Receivers(work); got != 0 {
			t.Errorf("got %d receivers, want 0", got)
		}
	})
}

func TestAStoreIsToldOfReceiversThatSleep(t *testing.T) {
	withCluster(t, 1, nil, func(c *cluster) {
		n := c.nodes[0]
		told := func(after string, want int) {
			t.Helper()
			synctest.Wait()
			n.mu.Lock()
			defer n.mu.Unlock()
			if got := n.waits[n.q.Name()]; got != want {
				t.Errorf("after %s: told %d times, want %d", after, got, want)
			}
		}
		n.q.TryReceive(c.ctx, nil)
		told("a TryReceive in vain", 0)
		first := n.receive()
		told("the first sleeps", 1)
		second := n.receive()
		told("the second sleeps", 2)
		n.hear(storage.Change{Queue: n.q.Name(), Ready: 1})
		told("one was woken in vain", 3)
		n.add(jobqueue.NewJob{})
		c.within(0, "the first", first)
		told("the first got a job", 3)
		n.add(jobqueue.NewJob{})
		c.within(0, "the second", second)
		n.add(jobqueue.NewJob{})
		c.within(0, "a receiver that need not wait", n.receive())
		told("it did not wait", 3)
	})
}

func TestAnotherNodeEndsTheLastJobOfAClosedQueue(t *testing.T) {
	for _, retention := range []time.Duration{0, -1} {
		eachHint(t, &jobqueue.Options{Retention: retention}, func(c *cluster, a, b *node, late time.Duration) {
			a.add(jobqueue.NewJob{})
			d := a.take()
			var waiting []<-chan answered
			for range 3 {
				waiting = append(waiting, b.receive())
			}
			idle := beside(func() answered { return answered{err: b.q.Idle(c.ctx)} })
			if err := a.q.Close(c.ctx); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * lookEvery)
			for _, l := range waiting {
				c.silent("a receiver, while a job runs", l)
			}
			c.silent("Idle, while a job runs", idle)
			if err := d.Ack(c.ctx); err != nil {
				t.Fatal(err)
			}
			for _, l := range waiting {
				wants(t, "a receiver", c.within(late, "a receiver", l).err, jobqueue.ErrDone)
			}
			wants(t, "Idle", c.within(late, "Idle", idle).err, nil)
		})
	}
}

// Nobody tells of every job that ends: who waits for a queue to have none finds it by looking.
func TestIdleSeesTheEndsOfOtherNodes(t *testing.T) {
	eachHint(t, nil, func(c *cluster, a, b *node, _ time.Duration) {
		a.add(jobqueue.NewJob{})
		d := a.take()
		idle := beside(func() answered { return answered{err: b.q.Idle(c.ctx)} })
		c.silent("Idle", idle)
		d.Ack(c.ctx)
		wants(t, "Idle", c.within(lookEvery, "Idle", idle).err, nil)
	})
}

func TestWaitSeesTheChangesOfOtherNodes(t *testing.T) {
	for name, retention := range map[string]time.Duration{"kept": 0, "not kept": -1} {
		t.Run(name, func(t *testing.T) {
			eachHint(t, &jobqueue.Options{Retention: retention}, func(c *cluster, a, b *node, late time.Duration) {
				j := a.add(jobqueue.NewJob{})
				if _, err := b.b.Wait(c.ctx, j.ID, 0); err != nil {
					t.Fatal(err)
				}
				next := beside(func() answered {
					got, err := b.b.Wait(c.ctx, j.ID, j.Version)
					return answered{j: got, err: err}
				})
				end := beside(func() answered {
					got, err := b.b.WaitEnd(c.ctx, j.ID)
					return answered{j: got, err: err}
				})
				b.set(func() {
					if !slices.Equal(b.watches, []storage.ID{j.ID, j.ID}) {
						t.Errorf("the store was told of %v, want %v twice: one of three did not have to wait", b.watches, j.ID)
					}
				})
				d := a.take()
				if got := c.within(late, "Wait", next); got.err != nil || got.j.State != jobqueue.Running {
					t.Errorf("Wait: got %v, %v; want the job running", got.j, got.err)
				}
				time.Sleep(2 * lookEvery)
				c.silent("WaitEnd", end)
				if err := d.Complete(c.ctx, jobqueue.NewResult{Data: []byte("42")}); err != nil {
					t.Fatal(err)
				}
				got := c.within(late, "WaitEnd", end)
				if retention < 0 {
					wants(t, "WaitEnd", got.err, jobqueue.ErrNotFound)
				} else if got.err != nil || got.j.State != jobqueue.Succeeded || string(got.j.Result.Data) != "42" {
					t.Errorf("WaitEnd: got %v, %v; want the result", got.j, got.err)
				}
			})
		})
	}
}

// A hint about an earlier change does not make an end of this process's own look like another's.
func TestAnEndOfThisProcessIsToldAfterAHint(t *testing.T) {
	withCluster(t, 2, &jobqueue.Options{Retention: -1}, func(c *cluster) {
		a, b := c.nodes[0], c.nodes[1]
		j := a.add(jobqueue.NewJob{})
		end := beside(func() answered {
			got, err := b.b.WaitEnd(c.ctx, j.ID)
			return answered{j: got, err: err}
		})
		d := a.take() // which is hinted
		synctest.Wait()
		read, tell := make(chan struct{}), make(chan struct{})
		b.set(func() { b.onView = func() { <-read } })
		if _, err := b.b.Progress(c.ctx, d.ID, d.Token, jobqueue.Progress{}); err != nil { // the watcher is about to read the job
			t.Fatal(err)
		}
		b.set(func() { b.onCommit = func() { <-tell } })
		acked := beside(func() answered {
			_, err := b.b.Ack(c.ctx, d.ID, d.Token)
			return answered{err: err}
		})
		close(read) // the job has gone, and nobody has been told of its end
		c.silent("WaitEnd", end)
		close(tell)
		wants(t, "Ack", c.within(0, "Ack", acked).err, nil)
		if got := c.within(0, "WaitEnd", end); got.err != nil || got.j.State != jobqueue.Succeeded {
			t.Errorf("got %v, %v; want the job succeeded", got.j, got.err)
		}
	})
}

func TestACancelOnOneNodeEndsTheHandlerOnAnother(t *testing.T) {
	for _, c := range []struct {
		name      string
		retention time.Duration
		key       string
		want      jobqueue.Reason
	}{
		{"kept", 0, "", jobqueue.JobCanceled},
		{"not kept", -1, "", jobqueue.JobGone},
		{"not kept, with a tombstone", -1, "k", jobqueue.JobGone},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachHint(t, &jobqueue.Options{Retention: c.retention}, func(cl *cluster, a, b *node, late time.Duration) {
				began := make(chan struct{})
				over := make(chan answered, 1)
				ctx, cancel := context.WithCancel(cl.ctx)
				consumer := beside(func() answered {
					return answered{err: b.q.Consume(ctx, func(ctx context.Context, _ *jobqueue.Delivery) error {
						close(began)
						<-ctx.Done()
						over <- answered{err: context.Cause(ctx), at: time.Now()}
						return ctx.Err()
					}, nil)}
				})
				j := a.add(jobqueue.NewJob{Key: c.key})
				<-began
				time.Sleep(time.Minute) // the lease is extended meanwhile
				if _, err := a.b.Cancel(cl.ctx, j.ID); err != nil {
					t.Fatal(err)
				}
				lost(t, "the handler's context", cl.within(late+time.Second, "the handler", over).err, c.want)
				cancel()
				wants(t, "Consume", cl.within(0, "Consume", consumer).err, nil)
			})
		})
	}
}

// A handler that settles its job itself goes on undisturbed, kept or not.
func TestAHandlerThatSettlesItsJobKeepsItsContext(t *testing.T) {
	for name, settle := range map[string]func(c *cluster, n *node, d *jobqueue.Delivery) error{
		"by the delivery": func(c *cluster, n *node, d *jobqueue.Delivery) error { return d.Ack(c.ctx) },
		"by the broker": func(c *cluster, n *node, d *jobqueue.Delivery) error {
			_, err := n.b.Ack(c.ctx, d.ID, d.Token)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			withCluster(t, 1, &jobqueue.Options{Retention: -1}, func(c *cluster) {
				n := c.nodes[0]
				over := make(chan answered, 1)
				ctx, cancel := context.WithCancel(c.ctx)
				consumer := beside(func() answered {
					return answered{err: n.q.Consume(ctx, func(ctx context.Context, d *jobqueue.Delivery) error {
						err := settle(c, n, d)
						time.Sleep(time.Minute)
						over <- answered{err: errors.Join(err, context.Cause(ctx))}
						return nil
					}, nil)}
				})
				n.add(jobqueue.NewJob{})
				wants(t, "the handler's context after a minute", c.within(2*time.Minute, "the handler", over).err, nil)
				cancel()
				c.within(0, "Consume", consumer)
			})
		})
	}
}

// What is due is done on time by whoever set it, and soon after by another if that one has died.
func TestADueJobOutlivesItsNode(t *testing.T) {
	const lag = 500 * time.Millisecond
	for _, dies := range []bool{false, true} {
		withCluster(t, 2, nil, func(c *cluster) {
			a, b := c.nodes[0], c.nodes[1]
			b.lag = lag
			at := time.Now().Add(time.Minute)
			j := a.add(jobqueue.NewJob{RunAt: at})
			time.Sleep(lookEvery) // b finds it
			if dies {
				a.stop()
			}
			time.Sleep(time.Until(at) - 1)
			state := func() jobqueue.State {
				synctest.Wait()
				got, err := b.b.Job(c.ctx, j.ID)
				if err != nil {
					t.Fatal(err)
				}
				return got.State
			}
			want := func(when string, want jobqueue.State) {
				t.Helper()
				if got := state(); got != want {
					t.Errorf("its node died: %t; %s it is %v, want %v", dies, when, got, want)
				}
			}
			want("before its time", jobqueue.Scheduled)
			time.Sleep(time.Nanosecond)
			if dies {
				want("at its time", jobqueue.Scheduled)
			} else {
				want("at its time", jobqueue.Pending)
			}
			time.Sleep(lag)
			want("a little later", jobqueue.Pending)
		})
	}
}

// A keeper that finds no record may only be too early to hear that the handler has settled the job.
func TestAHandlersOwnEndIsToldAfterAHint(t *testing.T) {
	withCluster(t, 1, &jobqueue.Options{Retention: -1}, func(c *cluster) {
		n := c.nodes[0]
		over := make(chan answered, 1)
		ctx, cancel := context.WithCancel(c.ctx)
		consumer := beside(func() answered {
			return answered{err: n.q.Consume(ctx, func(ctx context.Context, d *jobqueue.Delivery) error {
				n.set(func() {
					n.onCommit = func() {
						n.hear(storage.Change{Job: d.ID})
						time.Sleep(time.Millisecond)
					}
				})
				err := d.Ack(c.ctx)
				n.set(func() { n.onCommit = nil })
				time.Sleep(time.Minute)
				over <- answered{err: errors.Join(err, context.Cause(ctx))}
				return nil
			}, nil)}
		})
		n.add(jobqueue.NewJob{})
		wants(t, "the handler's context after a minute", c.within(2*time.Minute, "the handler", over).err, nil)
		cancel()
		c.within(0, "Consume", consumer)
	})
}

// Of many nodes one does what is due, and the others do not all look at each of its times.
func TestALaggingNodeLeavesWhatIsDueToTheOther(t *testing.T) {
	const n = 50
	withCluster(t, 2, nil, func(c *cluster) {
		a, b := c.nodes[0], c.nodes[1]
		b.lag = time.Second
		at := time.Now().Add(time.Minute)
		for i := range n {
			a.add(jobqueue.NewJob{RunAt: at.Add(time.Duration(i) * 50 * time.Millisecond)})
		}
		time.Sleep(time.Until(at) - 1)
		var before, after int
		b.set(func() { before = b.updates })
		time.Sleep(n * 50 * time.Millisecond)
		synctest.Wait()
		b.set(func() { after = b.updates })
		if took := after - before; took > n/10 {
			t.Errorf("%d times at which something is due took the other node %d transactions", n, took)
		}
		if counts, err := a.q.Info(c.ctx); err != nil || counts.Counts[jobqueue.Pending] != n {
			t.Errorf("got %v, %v; want all %d pending", counts.Counts, err, n)
		}
	})
}

func TestALaggingNodeIsOnTimeForWhatItSetItself(t *testing.T) {
	withCluster(t, 2, nil, func(c *cluster) {
		b := c.nodes[1]
		b.lag = time.Second
		next := b.receive()
		at := time.Now().Add(time.Minute)
		b.add(jobqueue.NewJob{RunAt: at})
		if got := c.within(time.Minute, "the receiver", next); !got.at.Equal(at) {
			t.Errorf("got it %v late", got.at.Sub(at))
		}
	})
}

// A store that others share may refuse work for a while and come back by itself.
func TestTheTimelineAndWorkersComeBackWithTheStore(t *testing.T) {
	withCluster(t, 1, nil, func(c *cluster) {
		n := c.nodes[0]
		done := make(chan answered, 2)
		ctx, cancel := context.WithCancel(c.ctx)
		consumer := beside(func() answered {
			return answered{err: n.q.Consume(ctx, func(context.Context, *jobqueue.Delivery) error { done <- answered{}; return nil }, nil)}
		})
		fail := func(err error) { n.set(func() { n.fails = err }) }
		n.add(jobqueue.NewJob{Delay: time.Second})
		fail(storage.ErrFailed)
		n.hear(storage.Change{}) // every worker looks
		time.Sleep(time.Minute)
		c.silent("the consumer of a store that fails", consumer)
		fail(nil)
		c.within(time.Minute, "the delayed job", done)
		n.add(jobqueue.NewJob{})
		c.within(time.Minute, "another job", done)

		fail(storage.ErrClosed)
		n.hear(storage.Change{})
		wants(t, "Consume on a closed store", c.within(time.Minute, "Consume", consumer).err, jobqueue.ErrStoreFailed)
		fail(nil)
		cancel()
	})
}

func TestAwaitsIsWhatTheProcessWaitsFor(t *testing.T) {
	withCluster(t, 1, nil, func(c *cluster) {
		n := c.nodes[0]
		if a := n.listener.Awaits(); len(a.Receivers)+len(a.Ends)+len(a.Jobs) != 0 {
			t.Errorf("nobody waits: got %+v", a)
		}
		j := n.b.Queue("other")
		added, err := j.Enqueue(c.ctx, jobqueue.NewJob{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(c.ctx)
		var all sync.WaitGroup
		for _, wait := range []func(){
			func() { n.q.Receive(ctx, nil) },
			func() { n.q.Receive(ctx, nil) },
			func() { n.b.WaitEnd(ctx, added.ID) },
			func() { j.Idle(ctx) },
		} {
			all.Go(wait)
		}
		synctest.Wait()
		a := n.listener.Awaits()
		if !maps.Equal(a.Receivers, map[storage.QueueName]int{n.q.Name(): 2}) || !slices.Equal(a.Ends, []storage.QueueName{j.Name()}) ||
			!slices.Equal(a.Jobs, []storage.ID{added.ID}) {
			t.Errorf("got %+v", a)
		}
		cancel()
		all.Wait()
		if a := n.listener.Awaits(); len(a.Receivers)+len(a.Ends)+len(a.Jobs) != 0 {
			t.Errorf("nobody waits any more: got %+v", a)
		}
	})
}
