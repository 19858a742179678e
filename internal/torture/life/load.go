package life

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/pollackq/pollack/jobqueue"
)

// queues is over how many queues a load spreads its jobs: q0, q1, ... Outboxes lead to the queue named outbox.
const (
	queues = 3
	outbox = "out"
)

// A Load says what Play does.
type Load struct {
	Seed    uint64
	Callers int           // goroutines; one makes the same calls in the same order each time
	Ops     int           // operations of each caller; 0 is until the context ends
	Lease   time.Duration // of what is received; 0 is an hour
	Large   bool          // some payloads and results have up to 600 KB, and are written in chunks
	First   int           // no operation has a lower number, so that several lives of one file can share a ledger
	GoOn    bool          // go on when the store is full
	Unsure  bool          // go on when the outcome of an operation is unknown, or the store failed: its server comes back
	// Patience, if set, is when the context of each operation ends. One that returns much later ends the play.
	Patience time.Duration
	// Tx, if set, enqueues now and then, in a transaction of the user's. It may give the job a key.
	Tx func(ctx context.Context, queue string, j jobqueue.NewJob) (*jobqueue.Job, error) `json:"-"`
}

// lateness is how much later than its context an operation may return: once it may have been done its outcome is awaited.
const lateness = 25 * time.Second

// A player is one caller.
type player struct {
	Load
	b    *jobqueue.Broker
	rnd  *rand.Rand
	w    io.Writer
	n    int // number of the next operation
	held []*jobqueue.Delivery
	seen []jobqueue.ID
}

// Play plays a mixed load on a broker and keeps a ledger of it in w, whose Write may be called by several goroutines. It returns when all
// operations are done, the context ends, or an operation is told that the store cannot go on: its outcome is unknown, or the store failed
// or, unless the load is to go on, is full.
func Play(ctx context.Context, b *jobqueue.Broker, l Load, w io.Writer) error {
	if l.Lease == 0 {
		l.Lease = time.Hour
	}
	l.Callers = max(l.Callers, 1)
	errs := make([]error, l.Callers)
	var wg sync.WaitGroup
	for i := range l.Callers {
		wg.Go(func() {
			p := &player{Load: l, b: b, rnd: rand.New(rand.NewPCG(l.Seed, uint64(i))), w: w, n: l.First + i}
			for done := 0; (l.Ops == 0 || done < l.Ops) && ctx.Err() == nil; done++ {
				if errs[i] = p.step(ctx); errs[i] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// step does one operation.
func (p *player) step(ctx context.Context) error {
	if p.Patience > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, p.Patience)
		defer stop()
	}
	if len(p.held) > 0 && p.rnd.IntN(5) > 1 {
		return p.useDelivery(ctx)
	}
	switch k := p.rnd.IntN(20); {
	case k < 10 || len(p.seen) == 0:
		return p.enqueue(ctx)
	case k < 18:
		return p.receive(ctx)
	case k < 19:
		id := p.seen[p.rnd.IntN(len(p.seen))]
		return p.do("cancel", fmt.Sprint(id), func() (string, error) {
			_, err := p.b.Cancel(ctx, id)
			return "", err
		})
	}
	id := p.seen[p.rnd.IntN(len(p.seen))]
	return p.do("redrive", fmt.Sprint(id), func() (string, error) {
		_, err := p.b.Redrive(ctx, id)
		return "", err
	})
}

func (p *player) queue() string { return fmt.Sprint("q", p.rnd.IntN(queues)) }

func (p *player) size() int {
	switch k := p.rnd.IntN(40); {
	case k == 0 && p.Large:
		return p.rnd.IntN(600 << 10)
	case k < 4:
		return p.rnd.IntN(9000)
	case k < 8:
		return 0
	}
	return p.rnd.IntN(500)
}

func (p *player) enqueue(ctx context.Context) error {
	q, count, size, n := p.queue(), 1, p.size(), p.n
	j := jobqueue.NewJob{Priority: p.rnd.IntN(3)}
	key, boxes, delay := "-", 0, 0
	switch p.rnd.IntN(8) {
	case 0:
		key = fmt.Sprint("k", n)
		j.Key = key
	case 1:
		j.Outbox, boxes = []string{outbox}, 1
	case 2:
		delay = []int{1, 20, 3_600_000}[p.rnd.IntN(3)]
		j.Delay = time.Duration(delay) * time.Millisecond
	case 3:
		j.MaxDeliveries = 1 + p.rnd.IntN(3)
	case 4:
		count = 2 + p.rnd.IntN(8)
		size = min(size, 3000)
	}
	args := fmt.Sprintf("%s %d %d %d %s %d %d %d", q, count, size, j.Priority, key, boxes, delay, j.MaxDeliveries)
	return p.do("enqueue", args, func() (string, error) {
		jobs := make([]jobqueue.NewJob, count)
		for i := range jobs {
			jobs[i] = j
			jobs[i].Name, jobs[i].Payload = name(n, i), Fill(n, i, size)
		}
		var out []*jobqueue.Job
		var err error
		if count == 1 {
			var one *jobqueue.Job
			if p.Tx != nil && key == "-" && p.rnd.IntN(8) == 0 {
				one, err = p.Tx(ctx, q, jobs[0])
			} else {
				one, err = p.b.Queue(q).Enqueue(ctx, jobs[0])
			}
			out = append(out, one)
		} else {
			out, err = p.b.Queue(q).EnqueueMany(ctx, jobs)
		}
		if err != nil {
			return "", err
		}
		var ids strings.Builder
		for _, o := range out {
			fmt.Fprintf(&ids, " %v", o.ID)
			p.seen = append(p.seen, o.ID)
		}
		p.seen = p.seen[max(0, len(p.seen)-50):]
		return ids.String(), nil
	})
}

func (p *player) options() *jobqueue.ReceiveOptions {
	return &jobqueue.ReceiveOptions{Wait: -1, Lease: p.Lease}
}

func (p *player) receive(ctx context.Context) error {
	q := p.queue()
	return p.do("receive", q, func() (string, error) {
		d, err := p.b.Queue(q).Receive(ctx, p.options())
		return p.hold(d), err
	})
}

// hold takes a delivery in hand, and returns how a ledger tells of it.
func (p *player) hold(d *jobqueue.Delivery) string {
	if d == nil {
		return ""
	}
	p.held = append(p.held, d)
	return fmt.Sprintf(" %v %v %d %d %d", d.ID, d.Token, d.Deliveries, d.Started.UnixMicro(), d.LeaseExpires.UnixMicro())
}

// useDelivery does something with one of the deliveries in hand.
func (p *player) useDelivery(ctx context.Context) error {
	i := p.rnd.IntN(len(p.held))
	d := p.held[i]
	drop := func() { p.held = append(p.held[:i], p.held[i+1:]...) }
	args := fmt.Sprintf("%v %v", d.ID, d.Token)
	switch k := p.rnd.IntN(20); {
	case k < 6:
		drop()
		return p.do("ack", args, func() (string, error) { return "", d.Ack(ctx) })
	case k < 10:
		drop()
		return p.do("acknext", args, func() (string, error) {
			next, err := d.AckNext(ctx, p.options())
			switch {
			case errors.Is(err, jobqueue.ErrEmpty): // the ack is done
				return "", nil
			case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded): // it may be
				return "", fmt.Errorf("%w: %w", jobqueue.ErrOutcomeUnknown, err)
			}
			return p.hold(next), err
		})
	case k < 13:
		drop()
		size := p.size()
		n := p.n
		return p.do("complete", fmt.Sprintf("%s %d", args, size), func() (string, error) {
			return "", d.Complete(ctx, jobqueue.NewResult{Data: Fill(n, 0, size)})
		})
	case k < 14:
		drop()
		return p.do("fail", args, func() (string, error) { return "", d.Fail(ctx, "broken", "as the ledger has it") })
	case k < 16:
		drop()
		return p.do("release", args, func() (string, error) { return "", d.Release(ctx, nil) })
	case k < 18:
		return p.do("progress", args, func() (string, error) { return "", d.Progress(ctx, 0.5, "half") })
	case k < 19:
		return p.do("extend", args, func() (string, error) { return "", d.Extend(ctx, p.Lease) })
	}
	drop() // left to lapse
	return nil
}

// do does an operation between its two lines in the ledger.
func (p *player) do(kind, args string, op func() (string, error)) error {
	n := p.n
	p.n += p.Callers
	if _, err := fmt.Fprintf(p.w, "b %d %s %s\n", n, kind, args); err != nil {
		return err
	}
	begun := time.Now()
	told, err := op()
	took := time.Since(begun)
	word := "ok"
	switch {
	case errors.Is(err, jobqueue.ErrOutcomeUnknown):
		word = "unknown"
	case err != nil:
		const most = 500 // a line is written to a pipe in one go
		word, told = "no", " "+strings.ReplaceAll(err.Error(), "\n", " ")
		told = told[:min(len(told), most)]
	}
	if _, err := fmt.Fprintf(p.w, "e %d %s%s\n", n, word, told); err != nil {
		return err
	}
	switch {
	case p.Patience > 0 && took > p.Patience+lateness:
		return fmt.Errorf("operation %d, %s, returned after %v, and its context had ended after %v: %w", n, kind, took, p.Patience, err)
	case p.Unsure && (errors.Is(err, jobqueue.ErrOutcomeUnknown) || errors.Is(err, jobqueue.ErrStoreFailed)):
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded): // it is the caller that does not wait
	case errors.Is(err, jobqueue.ErrOutcomeUnknown), errors.Is(err, jobqueue.ErrStoreFailed), errors.Is(err, jobqueue.ErrStoreFull) && !p.GoOn:
		return fmt.Errorf("operation %d, %s: %w", n, kind, err)
	}
	return nil
}

func name(n, i int) string { return fmt.Sprintf("%d.%d", n, i) }

// Fill returns the bytes of job i of the enqueue with number n, or of a result.
func Fill(n, i, size int) []byte {
	if size == 0 {
		return nil
	}
	p := make([]byte, size)
	x := uint64(n)<<20 ^ uint64(i)<<1 | 1
	for rest := p; len(rest) > 0; {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		if len(rest) < 8 {
			copy(rest, binary.LittleEndian.AppendUint64(nil, x))
			break
		}
		binary.LittleEndian.PutUint64(rest, x)
		rest = rest[8:]
	}
	return p
}
