package histories

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/pollackq/pollack/internal/torture/model"
	"github.com/pollackq/pollack/internal/torture/model/drive"
	"github.com/pollackq/pollack/jobqueue"
)

// A moment is a state that the queue may be in.
type moment struct {
	q     *model.Queue
	due   bool   // the clock has moved and what is due is not done yet
	taken []loan // by receives whose callers left
}

// A loan is what such a receive took: the job, if it did.
type loan struct {
	mark int
	id   jobqueue.ID // zero if it took none
}

func (m *moment) equal(o *moment) bool {
	return m.due == o.due && slices.Equal(m.taken, o.taken) && m.q.Equal(o.q)
}

// with returns the moment with another state of the queue.
func (m *moment) with(q *model.Queue) *moment { return &moment{q: q, due: m.due, taken: m.taken} }

// specification is the model as the checker takes it: all moments that may follow one by a call with its answer.
func specification(s model.Settings) porcupine.Model {
	m := porcupine.NondeterministicModel{
		Init: func() []any { return []any{&moment{q: model.NewQueue(s, drive.Zero)}} },
		Step: func(state, input, output any) []any {
			return follow(state.(*moment), input.(*call), output.(*model.Answer))
		},
		Equal: func(a, b any) bool { return a.(*moment).equal(b.(*moment)) },
	}
	return m.ToModel()
}

func follow(m *moment, c *call, got *model.Answer) []any {
	switch c.how {
	case answered:
		if c.op.Kind == model.Receive && c.op.Wait > 0 && got.Err == model.Empty {
			return []any{m} // it may not have looked: where others sleep, who comes now stands behind them, and what there is goes to them first
		}
		var next []any
		for _, m := range m.inParts(c.op, got) {
			q, want := m.q.Do(c.op, got)
			if want.Same(got) || refusedAll(m, c.op, got) {
				next = append(next, m.with(q))
			}
		}
		return next
	case open:
		return m.maybe(c.op)
	case acked:
		op := model.Op{Kind: model.AckMany, Acks: c.op.Acks}
		q, want := m.q.Do(&op, &model.Answer{Wire: got.Wire})
		if !slices.Equal(want.Acks, got.Acks) {
			return nil
		}
		return []any{m.with(q)}
	case took:
		return m.take(c)
	case gave:
		return m.give(c)
	case moved:
		if m.due {
			return nil
		}
		q, _ := m.q.Do(c.op, got)
		next := m.with(q)
		next.due = true
		return []any{next}
	case worked:
		if !m.due {
			return nil
		}
		q, _ := m.q.Do(&model.Op{Kind: model.Work}, got)
		next := m.with(q)
		next.due = false
		return []any{next}
	}
	panic("histories: a call of no kind")
}

// inParts returns the moments at which a call may have found the queue, if what had become due was being done: where others do the same, part
// by part. Which jobs had been done can mostly be told from the answer.
func (m *moment) inParts(op *model.Op, got *model.Answer) []*moment {
	all := []*moment{m}
	if !m.due || !op.Busy {
		return all
	}
	told := make(map[uint64]jobqueue.State)
	for _, j := range got.Jobs {
		told[j.Position] = j.State
	}
	for _, d := range got.Deliveries {
		told[d.Position] = jobqueue.Pending
	}
	var done []*model.Job
	due := m.q.Due()
	for _, j := range due {
		if state, ok := told[j.Position]; ok && state != j.State || !ok && op.Kind == model.List || op.Kind == model.Status && j.ID == op.ID && !ok {
			done = append(done, j)
		}
	}
	if len(done) > 0 {
		all = append(all, m.with(m.q.Worked(done)))
	}
	const most = 10 // jobs that a count tells of
	if op.Kind == model.Info && len(due) <= most {
		for set := 1; set < 1<<len(due); set++ {
			done = done[:0]
			for i, j := range due {
				if set&(1<<i) != 0 {
					done = append(done, j)
				}
			}
			all = append(all, m.with(m.q.Worked(done)))
		}
	}
	return all
}

// refusedAll reports whether an enqueue of several jobs could have been refused for a later one because the first ones were to go into the
// hands of receivers that waited, and so took no place in the backlog: the answer does not tell.
func refusedAll(m *moment, op *model.Op, got *model.Answer) bool {
	if op.Kind != model.Enqueue || got.Err == "" {
		return false
	}
	free := model.Answer{Wire: got.Wire}
	for range len(op.New) - 1 {
		free.Jobs = append(free.Jobs, model.Told{State: jobqueue.Running})
		if _, want := m.q.Do(op, &free); want.Same(got) {
			return true
		}
	}
	return false
}

// maybe returns what may have come of a call whose outcome nobody knows: nothing, or what it was to do. New jobs may have been leased to
// receivers that waited, who then never learned of them.
func (m *moment) maybe(op *model.Op) []any {
	next := []any{m}
	add := func(got *model.Answer) {
		if q, want := m.q.Do(op, got); want.Err == "" || len(want.Acks) > 0 {
			next = append(next, m.with(q))
		}
	}
	add(&model.Answer{})
	if op.Busy && (op.Kind == model.Receive || op.Kind == model.AckReceive) {
		for _, j := range m.q.Jobs {
			if j.State == jobqueue.Pending {
				add(m.hidden(op, j))
			}
		}
	}
	handed := &model.Answer{}
	for range op.New {
		handed.Jobs = append(handed.Jobs, model.Told{State: jobqueue.Running})
		add(&model.Answer{Jobs: slices.Clone(handed.Jobs)})
	}
	return next
}

// hidden is the answer that a receive would have got, had it been told, if it took a job.
func (m *moment) hidden(op *model.Op, j *model.Job) *model.Answer {
	return &model.Answer{Deliveries: []model.Delivery{{Told: model.Told{ID: j.ID, Position: j.Position}, Token: op.Hidden}}}
}

// take returns what may have come of the first part of a receive whose caller left: it leased nothing, or the next job, or it was handed one.
func (m *moment) take(c *call) []any {
	lend := func(q *model.Queue, id jobqueue.ID) *moment {
		next := m.with(q)
		next.taken = append(slices.Clone(m.taken), loan{c.mark, id})
		return next
	}
	next := []any{lend(m.q, jobqueue.ID{})}
	first := m.q.First()
	for _, j := range m.q.Jobs {
		if j == first || c.op.Busy && j.State == jobqueue.Pending {
			if q, want := m.q.Do(c.op, m.hidden(c.op, j)); want.Err == "" {
				next = append(next, lend(q, want.Deliveries[0].ID))
			}
		}
	}
	for _, j := range m.q.Jobs {
		if j.Handed {
			q, _ := m.q.Do(c.op, &model.Answer{Deliveries: []model.Delivery{{Told: model.Told{Position: j.Position}, Token: c.op.Hidden}}})
			next = append(next, lend(q, j.ID))
		}
	}
	return next
}

// give returns what comes of its second part, once there was the first: a job that it took is given back uncounted, if it is still its own.
func (m *moment) give(c *call) []any {
	i := slices.IndexFunc(m.taken, func(l loan) bool { return l.mark == c.mark })
	if i < 0 {
		return nil
	}
	next := *m
	next.taken = slices.Delete(slices.Clone(m.taken), i, i+1)
	if id := m.taken[i].id; id != (jobqueue.ID{}) {
		op := model.Op{Kind: model.Release, ID: id, Token: c.op.Hidden, Uncounted: true}
		next.q, _ = m.q.Do(&op, &model.Answer{})
	}
	return []any{&next}
}

// patience is how long the checker may look for an order of one queue's calls.
const patience = 20 * time.Second

// check looks for an order in which the calls could have been done one by one. It returns what is wrong, "" if there is one.
func check(s model.Settings, ops []porcupine.Operation) (wrong string, undecided bool) {
	spec := specification(s)
	switch porcupine.CheckOperationsTimeout(spec, ops, patience) {
	case porcupine.Ok:
		return "", false
	case porcupine.Unknown:
		return "", true
	}
	_, info := porcupine.CheckOperationsVerbose(spec, ops, patience)
	return explain(spec, s, ops, info), false
}

// explain tells how far an order could be found, and what then did not fit.
func explain(spec porcupine.Model, s model.Settings, ops []porcupine.Operation, info porcupine.LinearizationInfo) string {
	var best []int
	for _, partition := range info.PartialLinearizations() {
		for _, order := range partition {
			if len(order) > len(best) {
				best = order
			}
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "no order of %d calls explains their answers, settings %+v; these fit, up to", len(ops), s)
	state := spec.Init()
	done := make(map[int]bool)
	for i, n := range best {
		done[n] = true
		_, state = spec.Step(state, ops[n].Input, ops[n].Output)
		if i >= len(best)-6 {
			fmt.Fprintf(&b, "\n    %v", show(ops[n]))
		}
	}
	end := int64(forever)
	for n, op := range ops {
		if !done[n] {
			end = min(end, op.Return)
		}
	}
	b.WriteString("\n  and none of these comes next")
	for n, op := range ops {
		if done[n] || op.Call > end {
			continue
		}
		fmt.Fprintf(&b, "\n    %v", show(op))
		if c := op.Input.(*call); c.how == answered {
			for _, m := range moments(state) {
				_, want := m.q.Do(c.op, op.Output.(*model.Answer))
				fmt.Fprintf(&b, "\n      want %v", want)
				break
			}
		}
	}
	return b.String()
}

// moments are those of the checker's state.
func moments(state any) []*moment {
	var out []*moment
	if all, ok := state.([]any); ok {
		for _, s := range all {
			out = append(out, s.(*moment))
		}
	}
	return out
}

func show(op porcupine.Operation) string {
	c, a := op.Input.(*call), op.Output.(*model.Answer)
	switch c.how {
	case answered, acked:
		return fmt.Sprintf("[%d,%d] %v: %v", op.Call, op.Return, c.op, a)
	case open:
		return fmt.Sprintf("[%d, ...) %v: outcome unknown", op.Call, c.op)
	}
	return fmt.Sprintf("[%d,%d] %v, part %d", op.Call, op.Return, c.op, c.how)
}
