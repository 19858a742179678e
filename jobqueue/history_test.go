package jobqueue_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/jobqueue"
)

// Whatever happens, once it is quiet nothing deliverable waits while somebody waits for it.
func TestNoWakeUpIsLost(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			withRig(t, &jobqueue.Options{Lease: 20 * time.Second, Retention: -1}, func(r *rig) {
				newHistory(r, seed).play(400)
			})
		})
	}
}

// A history is a random one of one queue: jobs, receivers, and all that can happen to them.
type history struct {
	r       *rig
	rand    *rand.Rand
	waiting map[int]context.CancelFunc
	next    int
	gone    chan int                    // numbers of receivers that were answered
	held    chan *jobqueue.Delivery     // what they were given
	holding map[*jobqueue.Delivery]bool // what is in somebody's hands, or was
}

func newHistory(r *rig, seed uint64) *history {
	return &history{
		r: r, rand: rand.New(rand.NewPCG(seed, 0)), waiting: map[int]context.CancelFunc{},
		gone: make(chan int, 1000), held: make(chan *jobqueue.Delivery, 1000), holding: map[*jobqueue.Delivery]bool{},
	}
}

func (h *history) play(steps int) {
	slow := func(context.Context) error { time.Sleep(time.Millisecond); return nil }
	for step := range steps {
		if step%40 == 0 { // a store that takes its time, now and then: things overlap
			h.r.store.onUpdate([]func(context.Context) error{nil, slow}[h.rand.IntN(2)])
		}
		for range 1 + h.rand.IntN(4) {
			h.step()
		}
		if h.rand.IntN(3) == 0 {
			time.Sleep(time.Duration(h.rand.IntN(30_000)) * time.Microsecond)
		}
		if h.rand.IntN(20) == 0 {
			time.Sleep(time.Duration(h.rand.IntN(30)) * time.Second)
		}
		if h.rand.IntN(4) == 0 {
			h.quiet(step)
		}
	}
	for _, cancel := range h.waiting {
		cancel()
	}
	time.Sleep(time.Second)
	synctest.Wait()
	h.collect()
	if len(h.waiting) != 0 || h.r.b.Stats().Receivers != 0 {
		h.r.t.Errorf("at the end %d receivers are left, Stats says %d", len(h.waiting), h.r.b.Stats().Receivers)
	}
}

// step does one thing, beside what is under way.
func (h *history) step() {
	q, ctx := h.r.q, h.r.ctx
	switch h.rand.IntN(10) {
	case 0, 1:
		n := 1 + h.rand.IntN(2)*h.rand.IntN(4)
		jobs := make([]jobqueue.NewJob, n)
		for i := range jobs {
			jobs[i].Priority = h.rand.IntN(2)
			if h.rand.IntN(4) == 0 {
				jobs[i].Delay = time.Duration(1+h.rand.IntN(2000)) * time.Millisecond
			}
			if h.rand.IntN(8) == 0 {
				jobs[i].Deadline = time.Now().Add(time.Duration(1+h.rand.IntN(3000)) * time.Millisecond)
			}
		}
		go q.EnqueueMany(ctx, jobs)
	case 2:
		jobs := make([]jobqueue.NewJob, 2)
		c, cancel := context.WithTimeout(ctx, time.Duration(h.rand.IntN(1500))*time.Microsecond)
		go func() { defer cancel(); q.EnqueueMany(c, jobs) }()
	case 3, 4:
		h.park()
	case 5:
		for id, cancel := range h.waiting {
			cancel()
			delete(h.waiting, id)
			break
		}
	default:
		h.collect()
		for d := range h.holding {
			delete(h.holding, d)
			h.settle(d)
			break
		}
	}
}

func (h *history) settle(d *jobqueue.Delivery) {
	ctx := h.r.ctx
	switch h.rand.IntN(6) {
	case 0, 1:
		go d.Ack(ctx)
	case 2:
		go d.Release(ctx, nil)
	case 3:
		delay := time.Duration(h.rand.IntN(100)) * time.Millisecond
		go d.Release(ctx, &jobqueue.ReleaseOptions{Delay: delay})
	case 4:
		go h.r.b.Cancel(ctx, d.ID)
	case 5: // forgotten: it lapses
	}
}

func (h *history) park() {
	o := &jobqueue.ReceiveOptions{}
	if h.rand.IntN(2) == 0 {
		o.Wait = time.Duration(1+h.rand.IntN(20_000)) * time.Millisecond
	}
	max := 1 + h.rand.IntN(3)
	id := h.next
	h.next++
	ctx, cancel := context.WithCancel(h.r.ctx)
	h.waiting[id] = cancel
	go func() {
		defer cancel()
		ds, _ := h.r.q.ReceiveMany(ctx, max, o)
		for _, d := range ds {
			h.held <- d
		}
		h.gone <- id
	}()
}

func (h *history) collect() {
	for {
		select {
		case id := <-h.gone:
			delete(h.waiting, id)
		case d := <-h.held:
			h.holding[d] = true
		default:
			return
		}
	}
}

// quiet waits until nothing is under way and checks the promise.
func (h *history) quiet(step int) {
	time.Sleep(50 * time.Millisecond) // more than all transactions that a slow store may have in line
	synctest.Wait()
	h.collect()
	info, err := h.r.q.Info(h.r.ctx)
	if err != nil {
		return // nothing was ever put into it
	}
	if n := info.Counts[jobqueue.Pending]; n > 0 && len(h.waiting) > 0 {
		h.r.t.Fatalf("step %d: %d jobs are pending while %d receivers wait", step, n, len(h.waiting))
	}
	if got := h.r.b.Stats().Receivers; got < len(h.waiting) {
		h.r.t.Fatalf("step %d: Stats counts %d receivers, %d wait", step, got, len(h.waiting))
	}
}
