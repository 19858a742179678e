package steps

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/pollackq/pollack/internal/torture/model"
	"github.com/pollackq/pollack/internal/torture/model/drive"
	"github.com/pollackq/pollack/jobqueue"
)

// A lane is one queue and one client of it, held against the model call by call.
type lane struct {
	name   string
	rnd    *rand.Rand
	broker *jobqueue.Broker
	caller drive.Broker
	model  *model.Queue
	tokens []jobqueue.Ack // of earlier deliveries, some of them superseded
	next   int            // request
	last   []string
	bad    string // what differed, "" while nothing has

	queues int
}

// newLane begins with a queue that does not exist yet.
func newLane(ctx context.Context, name string, b *jobqueue.Broker, rnd *rand.Rand, now model.Time) (*lane, error) {
	l := &lane{name: name, rnd: rnd, broker: b}
	return l, l.begin(ctx, now)
}

// begin goes on with a new queue of other settings.
func (l *lane) begin(ctx context.Context, now model.Time) error {
	s := l.settings()
	l.queues++
	q := l.broker.Queue(fmt.Sprintf("%s-%d", l.name, l.queues))
	l.caller = drive.Broker{B: l.broker, Q: q}
	l.model, l.tokens = model.NewQueue(s, now), nil
	_, _, err := q.Configure(ctx, drive.Settings(s))
	return err
}

func (l *lane) settings() model.Settings {
	pick := func(of ...int) int { return of[l.rnd.IntN(len(of))] }
	return model.Settings{
		Lease:         time.Duration(pick(1, 10, 60)) * time.Second,
		MaxDeliveries: pick(0, 0, 1, 2, 3),
		Retention:     time.Duration(pick(-1, 5, 100, 10_000)) * time.Second,
		Tombstone:     time.Duration(pick(-1, 5, 100, 10_000)) * time.Second,
		Backlog:       pick(0, 0, 0, 3, 20),
	}
}

// use has the lane go on with another broker on the same store.
func (l *lane) use(b *jobqueue.Broker) {
	l.broker, l.caller = b, drive.Broker{B: b, Q: b.Queue(l.caller.Q.Name().Name)}
}

// step does one call on both. It reports whether they agree.
func (l *lane) step(ctx context.Context) bool {
	if l.model.Forgotten {
		if err := l.begin(ctx, l.model.Now); err != nil {
			l.bad = "Configure: " + err.Error()
			return false
		}
	}
	op := l.choose()
	got := l.caller.Do(ctx, op)
	next, want := l.model.Do(op, &got)
	l.model = next
	for _, d := range got.Deliveries {
		if l.tokens = append(l.tokens, jobqueue.Ack{ID: d.ID, Token: d.Token}); len(l.tokens) > 40 {
			l.tokens = l.tokens[1:]
		}
	}
	if want.Same(&got) {
		if l.last = append(l.last, fmt.Sprint(op.Kind, " ", op.ID)); len(l.last) > 12 {
			l.last = l.last[1:]
		}
		return true
	}
	l.bad = fmt.Sprintf("queue %s at %v, settings %+v: %v\n  got  %v\n  want %v\n  after %q", l.caller.Q.Name().Name, l.model.Now, l.model.Settings, op, got, want, l.last)
	return false
}

// moved has the model follow the clock.
func (l *lane) moved(d time.Duration) {
	for _, op := range []model.Op{{Kind: model.Advance, For: d}, {Kind: model.Work}} {
		l.model, _ = l.model.Do(&op, &model.Answer{})
	}
}

// choose draws the next call: most of what it names is there, and some of it is not.
func (l *lane) choose() *model.Op {
	r := l.rnd
	op := new(model.Op)
	full := 0 // the fuller the queue the fewer new jobs
	if len(l.model.Jobs) > 30 {
		full = 12
	}
	switch n := r.IntN(100); {
	case n < 18-full:
		op.Kind = model.Enqueue
		op.New = []model.NewJob{l.job()}
		if r.IntN(6) == 0 {
			op.New = append(op.New, l.job(), l.job())
		}
	case n < 36:
		op.Kind = model.Receive
		op.Max, op.For, op.Wait = 1+r.IntN(3)*r.IntN(2), l.lease(), -1
	case n < 42:
		op.Kind = model.AckReceive
		op.Acks, op.Max, op.For, op.Wait = l.acks(2), 1+r.IntN(2), l.lease(), -1
	case n < 45:
		op.Kind, op.Acks = model.AckMany, l.acks(3)
	case n < 66:
		l.withToken(op)
	case n < 69:
		op.Kind, op.ID = model.Cancel, l.id()
	case n < 73:
		op.Kind, op.ID = model.Redrive, l.id()
	case n < 84:
		op.Kind, op.ID = model.Status, l.id()
	case n < 87:
		op.Kind, op.Key = model.ByKey, l.key()
	case n < 91:
		op.Kind = model.List
		op.State = []jobqueue.State{0, 0, jobqueue.Pending, jobqueue.Running, jobqueue.Failed}[r.IntN(5)]
	case n < 97:
		op.Kind = model.Info
	case n < 99:
		op.Kind, op.Settings = model.Configure, l.settings()
	default:
		op.Kind = []model.Kind{model.Purge, model.Purge, model.Info, model.Close, model.Delete}[r.IntN(5)]
		if op.Kind == model.Close && r.IntN(3) > 0 {
			op.Kind = model.Info
		}
	}
	return op
}

// withToken draws a call that needs a token.
func (l *lane) withToken(op *model.Op) {
	r := l.rnd
	a := l.token()
	op.ID, op.Token = a.ID, a.Token
	switch r.IntN(8) {
	case 0, 1:
		op.Kind = model.Ack
	case 2:
		op.Kind, op.Text = model.Complete, fmt.Sprintf(`"result %d"`, r.IntN(1000))
	case 3:
		op.Kind, op.Text = model.Fail, "broken"
	case 4, 5:
		op.Kind, op.Uncounted = model.Release, r.IntN(4) == 0
		if r.IntN(3) == 0 {
			op.For = time.Duration(1+r.IntN(20)) * time.Second
		}
	case 6:
		op.Kind, op.For = model.Extend, l.lease()
	case 7:
		op.Kind, op.Fraction, op.Text = model.Progress, float64(r.IntN(5))/4, []string{"", "half", "nearly"}[r.IntN(3)]
	}
}

// lease draws a window, 0 for the usual one.
func (l *lane) lease() time.Duration {
	return time.Duration(l.rnd.IntN(3)*l.rnd.IntN(30)) * time.Second
}

func (l *lane) job() model.NewJob {
	r := l.rnd
	n := model.NewJob{Request: l.next, Priority: r.IntN(3) - 1, Once: r.IntN(8) == 0}
	l.next++
	if r.IntN(4) == 0 {
		n.Key = l.key()
		n.Request = -r.IntN(2) // so that some are the same
		n.Priority = 0
		return n
	}
	if r.IntN(5) == 0 {
		n.Delay = time.Duration(1+r.IntN(20)) * time.Second
	}
	if r.IntN(8) == 0 {
		n.Deadline = l.model.Now + time.Duration(r.IntN(60)-1)*time.Second
	}
	if r.IntN(8) == 0 {
		n.MaxDeliveries = 1 + r.IntN(2)
	}
	return n
}

func (l *lane) key() string { return []string{"a", "b", "c", "d", "e", "f", "g", "h"}[l.rnd.IntN(8)] }

// id draws a job that there is, mostly.
func (l *lane) id() jobqueue.ID {
	if n := len(l.model.Jobs); n > 0 && l.rnd.IntN(12) > 0 {
		return l.model.Jobs[l.rnd.IntN(n)].ID
	}
	if len(l.tokens) > 0 {
		return l.tokens[l.rnd.IntN(len(l.tokens))].ID
	}
	return jobqueue.ID{1}
}

// token draws a delivery: mostly the latest of a job, else an earlier one, another job's token, or any.
func (l *lane) token() jobqueue.Ack {
	r := l.rnd
	if len(l.tokens) == 0 || r.IntN(12) == 0 {
		return jobqueue.Ack{ID: l.id(), Token: jobqueue.AnyToken}
	}
	n := len(l.tokens)
	a := l.tokens[n-1-r.IntN(min(n, 8))]
	switch r.IntN(12) {
	case 0:
		a.ID = l.id()
	case 1, 2:
		a = l.tokens[r.IntN(n)]
	}
	return a
}

func (l *lane) acks(most int) []jobqueue.Ack {
	out := make([]jobqueue.Ack, 1+l.rnd.IntN(most))
	for i := range out {
		out[i] = l.token()
	}
	return out
}
