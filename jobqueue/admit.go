package jobqueue

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pollackq/pollack/storage"
)

// admit asks for admission of what is new. Those who submit one key at once take turns, each until its job has been added or refused:
// so the others find the job of the first, and are not refused for want of what that has taken.
func (e *enqueue) admit(ctx context.Context) error {
	ask := e.q.b.opts.Admit
	if ask == nil {
		return nil
	}
	if err := e.takeTurns(ctx); err != nil {
		return err
	}
	for i := range e.drafts {
		d := &e.drafts[i]
		if err := e.look(ctx, d); err != nil {
			return err
		}
		if d.known || d.Key != "" && slices.ContainsFunc(e.drafts[:i], func(o draft) bool { return e.keyOf(&o) == e.keyOf(d) }) {
			continue // a replay, of one before it maybe
		}
		j := &storage.Job{Spec: d.record, Status: storage.Status{State: Pending}}
		j.Created = stored(time.Now()) // until the store says when
		if err := ask(ctx, jobOf(j, beside{})); err != nil {
			return fmt.Errorf("%w: %w", ErrRefused, err)
		}
		d.admitted = true
	}
	return nil
}

// takeTurns waits for the turns of all keys. All take them in the same order, so that no two wait for each other.
func (e *enqueue) takeTurns(ctx context.Context) error {
	var keys []storage.Key
	for i := range e.drafts {
		if d := &e.drafts[i]; d.Key != "" && !d.known {
			keys = append(keys, e.keyOf(d))
		}
	}
	slices.SortFunc(keys, func(a, b storage.Key) int {
		return cmp.Or(strings.Compare(a.Account, b.Account), strings.Compare(a.Name, b.Name)) // they are of one queue
	})
	for _, k := range slices.Compact(keys) {
		if err := e.q.b.turns.take(ctx, k, e.q.b.drained); err != nil {
			return err
		}
		e.turns = append(e.turns, k)
	}
	return nil
}

// passTurns lets those go on who wait for theirs.
func (e *enqueue) passTurns() {
	for _, k := range e.turns {
		e.q.b.turns.pass(k)
	}
}

// turns has those who come with one key go one after the other, in the order of their coming. Nothing is kept of keys that nobody has.
type turns struct {
	mu   sync.Mutex // guards what follows
	keys map[storage.Key]*turn
}

type turn struct {
	free chan struct{} // holds one while it is nobody's
	n    int           // so many have it or wait for it
}

// take waits until it is the caller's turn, who passes it on afterwards, or until ctx ends or over is closed, which is ErrShutdown.
func (t *turns) take(ctx context.Context, k storage.Key, over <-chan struct{}) error {
	t.mu.Lock()
	at := t.keys[k]
	if at == nil {
		if t.keys == nil {
			t.keys = make(map[storage.Key]*turn)
		}
		at = &turn{free: make(chan struct{}, 1)}
		at.free <- struct{}{}
		t.keys[k] = at
	}
	at.n++
	t.mu.Unlock()
	err := ErrShutdown
	select {
	case <-at.free:
		return nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-over:
	}
	t.leave(k)
	return err
}

// pass ends a turn that was taken.
func (t *turns) pass(k storage.Key) { t.leave(k).free <- struct{}{} }

func (t *turns) leave(k storage.Key) *turn {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := t.keys[k]
	if at.n--; at.n == 0 {
		delete(t.keys, k)
	}
	return at
}
