package histories

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/pollackq/pollack/internal/torture/model"
	"github.com/pollackq/pollack/internal/torture/model/drive"
	"github.com/pollackq/pollack/jobqueue"
)

// clients share a history, and do so many calls together.
const (
	clients = 8
	calls   = 200
)

// A line is one queue of a history, and what its clients know of it together.
type line struct {
	settings model.Settings
	callers  []drive.Caller // one for each node

	mu     sync.Mutex // guards what follows
	ids    []jobqueue.ID
	tokens []jobqueue.Ack // of all deliveries, the latest last
}

func (l *line) learn(a *model.Answer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, j := range a.Jobs {
		l.ids = append(l.ids, j.ID)
	}
	for _, d := range a.Deliveries {
		l.tokens = append(l.tokens, jobqueue.Ack{ID: d.ID, Token: d.Token})
	}
}

// id draws a job that somebody knows of: one of the latest, mostly.
func (l *line) id(r *rand.Rand) jobqueue.ID {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.ids); n > 0 {
		return l.ids[n-1-r.IntN(min(n, 1+r.IntN(20)))]
	}
	return jobqueue.ID{1}
}

// token draws a delivery that somebody knows of.
func (l *line) token(r *rand.Rand) jobqueue.Ack {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.tokens); n > 0 {
		return l.tokens[n-1-r.IntN(min(n, 1+r.IntN(12)))]
	}
	return jobqueue.Ack{ID: jobqueue.ID{1}, Token: jobqueue.Token{1}}
}

// A client does calls, one after the other.
type client struct {
	h    *history
	n    int
	rnd  *rand.Rand
	mine map[*line][]jobqueue.Ack // what it holds, it thinks
	line *line                    // of the call it does
	late bool                     // the history comes to its end
	made int                      // calls
}

func (c *client) run(ctx context.Context) {
	for i := range calls / clients {
		c.late = i > calls/clients*4/5
		k := c.rnd.IntN(len(c.h.lines))
		c.line = c.h.lines[k]
		if c.h.times && c.rnd.IntN(40) == 0 {
			c.h.g.advance(ctx, c.rnd)
			continue
		}
		c.do(ctx, k, c.choose())
	}
}

// do does a call and notes it.
func (c *client) do(ctx context.Context, k int, op *model.Op) {
	c.made++
	mark := c.n*1000 + c.made
	op.Hidden = jobqueue.Token{0xee, byte(mark >> 16), byte(mark >> 8), byte(mark)}
	leaving, leave := context.WithCancel(ctx)
	defer leave()
	leaves := op.Kind == model.Receive && op.Wait == 0
	if leaves {
		turns := c.rnd.IntN(30)
		go func() {
			for range turns {
				runtime.Gosched()
			}
			leave()
		}()
	}
	caller := c.line.callers[0]
	if n := len(c.line.callers); n > 1 {
		caller = c.line.callers[c.rnd.IntN(n)]
	}
	begun := c.h.pen.now.Add(1)
	a := caller.Do(leaving, op)
	as := &call{op: op, mark: mark}
	switch {
	case leaves && strings.HasSuffix(a.Err, context.Canceled.Error()):
		end := c.h.pen.now.Add(1)
		c.h.pen.noteAt(k, &call{op: op, mark: mark, how: took}, &a, begun, end)
		c.h.pen.noteAt(k, &call{op: op, mark: mark, how: gave}, &a, begun, end)
		c.h.count("receives whose caller left")
		return
	case a.Err == model.Unknown && c.h.faulty:
		as.how = open
		c.h.count("calls of unknown outcome")
	case strings.HasPrefix(a.Err, model.Nothing) && len(a.Acks) > 0 && c.h.faulty:
		as.how = acked
	case strings.HasPrefix(a.Err, model.Nothing) && (c.h.faulty || strings.HasSuffix(a.Err, drive.Pages)):
		return // nothing has happened: if it has, the others show it
	}
	c.h.pen.note(k, as, &a, begun)
	c.line.learn(&a)
	for _, d := range a.Deliveries {
		c.mine[c.line] = append(c.mine[c.line], jobqueue.Ack{ID: d.ID, Token: d.Token})
	}
}

// choose draws the next call.
func (c *client) choose() *model.Op {
	r := c.rnd
	op := new(model.Op)
	switch n := r.IntN(100); {
	case n < 22:
		op.Kind, op.New = model.Enqueue, []model.NewJob{c.job()}
		if !c.h.wire && r.IntN(8) == 0 {
			op.New = append(op.New, c.job())
		}
	case n < 44:
		op.Kind, op.Max, op.Wait = model.Receive, 1+r.IntN(3)/2*r.IntN(3), -1
		if c.h.shared() && c.h.faulty {
			op.Max = 1 // it might have taken any
		}
		waits := !c.h.wire && !c.h.deadlines
		if waits && r.IntN(3) == 0 {
			op.Wait = time.Duration(1+r.IntN(2000)) * time.Microsecond
		}
		if waits && !c.h.faulty && r.IntN(8) == 0 {
			op.Max, op.Wait = 1, 0 // until it leaves
		}
	case n < 52:
		op.Kind, op.Acks, op.Max, op.Wait = model.AckReceive, []jobqueue.Ack{c.hold()}, 1, -1
		if r.IntN(4) == 0 {
			op.Acks = append(op.Acks, c.hold())
		}
	case n < 54:
		op.Kind, op.Acks = model.AckMany, []jobqueue.Ack{c.hold(), c.line.token(r)}
	case n < 80:
		c.withToken(op)
	case n < 83:
		op.Kind, op.ID = model.Cancel, c.line.id(r)
	case n < 86:
		op.Kind, op.ID = model.Redrive, c.line.id(r)
	case n < 93:
		op.Kind, op.ID = model.Status, c.line.id(r)
	case n < 95 && !c.h.wire:
		op.Kind = model.List
	case c.late && n == 99:
		op.Kind = model.Close
	default:
		op.Kind = model.Info
	}
	return op
}

func (c *client) withToken(op *model.Op) {
	r := c.rnd
	a := c.hold()
	if !c.h.wire && r.IntN(20) == 0 {
		a.Token = jobqueue.AnyToken
	}
	op.ID, op.Token = a.ID, a.Token
	switch r.IntN(8) {
	case 0, 1, 2:
		op.Kind = model.Ack
	case 3:
		op.Kind, op.Text = model.Complete, fmt.Sprintf(`"result %d"`, r.IntN(1000))
	case 4:
		op.Kind, op.Text = model.Fail, "broken"
	case 5:
		op.Kind, op.Uncounted = model.Release, r.IntN(4) == 0
		if r.IntN(4) == 0 {
			op.For = c.seconds(5)
		}
	case 6:
		op.Kind = model.Extend
		if r.IntN(2) == 0 {
			op.For = c.seconds(10)
		}
	case 7:
		op.Kind, op.Fraction, op.Text = model.Progress, float64(r.IntN(5))/4, []string{"", "half"}[r.IntN(2)]
	}
}

// hold draws a delivery: mostly one of its own that it has not drawn before, else any that somebody knows of.
func (c *client) hold() jobqueue.Ack {
	mine := c.mine[c.line]
	n := len(mine)
	if n == 0 || c.rnd.IntN(4) == 0 {
		return c.line.token(c.rnd)
	}
	a := mine[n-1]
	if c.rnd.IntN(3) > 0 {
		c.mine[c.line] = mine[:n-1]
	}
	return a
}

// seconds draws a duration of up to so many seconds.
func (c *client) seconds(most int) time.Duration {
	if c.h.shared() {
		return time.Duration(c.rnd.IntN(3))*tick + tick/2
	}
	return time.Duration(1+c.rnd.IntN(most)) * time.Second
}

func (c *client) job() model.NewJob {
	r := c.rnd
	n := model.NewJob{Request: c.n*1000 + c.made, Priority: r.IntN(4) / 3, Once: !c.h.wire && r.IntN(10) == 0}
	switch r.IntN(8) {
	case 0, 1:
		n = model.NewJob{Request: -r.IntN(2), Key: string(rune('a' + r.IntN(6)))}
	case 2:
		n.Delay = c.seconds(5)
	case 3:
		if c.h.deadlines {
			n.Deadline = drive.Zero + time.Duration(1+r.IntN(40))*time.Second
		}
	}
	return n
}
