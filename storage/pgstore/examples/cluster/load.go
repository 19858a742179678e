package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pollackq/pollack/httpapi/client"
)

const (
	producers = 4  // at each node
	consumers = 4  // at each node
	batch     = 10 // jobs that a consumer takes at once
	stuck     = 30 * time.Second
)

// load enqueues the jobs of the ledger at all nodes and has them consumed, until each has ended.
func load(ctx context.Context, nodes []*client.Client, known *ledger) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(stuck, func() { cancel(fmt.Errorf("nothing was acked for %v", stuck)) })
	defer watch.Stop()
	if _, err := nodes[0].Configure(ctx, queue, client.Settings{Lease: lease}); err != nil {
		return err
	}

	var next atomic.Int64
	var producing, consuming sync.WaitGroup
	spawn := func(g *sync.WaitGroup, each int, work func(*worker) error) {
		for i := range each * len(nodes) {
			g.Go(func() {
				if err := work(&worker{ctx: ctx, nodes: nodes, at: i % len(nodes), known: known}); err != nil {
					cancel(err)
				}
			})
		}
	}
	spawn(&consuming, consumers, func(w *worker) error { return w.consume(watch) })
	spawn(&producing, producers, func(w *worker) error { return w.produce(&next) })
	producing.Wait()
	// A closed queue tells its consumers, at whichever node, when they are done.
	closer := &worker{ctx: ctx, nodes: nodes, known: known}
	if err := closer.call(func(api *client.Client) error { return api.Close(ctx, queue) }); err != nil {
		cancel(err)
	}
	consuming.Wait()
	return context.Cause(ctx)
}

// A worker is a client that stays with one node until that fails it.
type worker struct {
	ctx   context.Context
	nodes []*client.Client
	at    int // its node
	known *ledger
}

// call makes a call, and makes it again at the next node where the answer does not say what became of it. All calls here can be repeated: submits have
// a key, acks a token, and what a poll took without anybody's knowing comes back.
func (w *worker) call(fn func(*client.Client) error) error {
	const rounds = 10
	for tries := 1; ; tries++ {
		err := fn(w.nodes[w.at])
		if err == nil || w.ctx.Err() != nil || !unanswered(err) {
			return err
		}
		if tries == rounds*len(w.nodes) {
			return fmt.Errorf("no node answers: %w", err)
		}
		w.known.lostAnswer(w.at)
		w.at = (w.at + 1) % len(w.nodes)
		if tries%len(w.nodes) == 0 { // all have been asked
			select {
			case <-time.After(time.Second / 2):
			case <-w.ctx.Done():
			}
		}
	}
}

// unanswered reports whether an error says nothing about what was asked for: the network's, or that of a server that is in trouble.
func unanswered(err error) bool {
	var refused *client.Error
	if errors.As(err, &refused) {
		return refused.Temporary()
	}
	return !errors.Is(err, client.ErrEmpty)
}

// produce enqueues jobs until there are enough.
func (w *worker) produce(next *atomic.Int64) error {
	for {
		i := int(next.Add(1)) - 1
		if i >= w.known.jobs {
			return nil
		}
		err := w.call(func(api *client.Client) error {
			j, err := api.Submit(w.ctx, queue, client.NewJob{Key: fmt.Sprint("job ", i), Payload: fmt.Appendf(nil, "payload %d", i)})
			if err == nil {
				w.known.enqueued(w.at, i, j)
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("job %d: %w", i, err)
		}
	}
}

// consume takes jobs and acks them, until the queue is done.
func (w *worker) consume(watch *time.Timer) error {
	for {
		var taken []*client.Delivery
		err := w.call(func(api *client.Client) (err error) {
			taken, err = api.Poll(w.ctx, queue, &client.PollOptions{Max: batch, Wait: 10 * time.Second})
			return err
		})
		switch {
		case errors.Is(err, client.ErrDone):
			return nil
		case errors.Is(err, client.ErrEmpty):
			continue
		case err != nil:
			return fmt.Errorf("poll: %w", err)
		}
		var acks []client.Ack
		for _, d := range taken {
			w.known.delivered(w.at, d)
			acks = append(acks, client.Ack{ID: d.ID, Token: d.LeaseToken})
		}
		if w.at == victim && w.known.reached(w.known.jobs/3) {
			w.known.kill()
			return nil // this consumer is dead, too, with jobs in its hands
		}
		err = w.call(func(api *client.Client) error {
			results, err := api.AckMany(w.ctx, acks)
			if err != nil {
				return err
			}
			for i, r := range results {
				if err := w.known.acked(w.at, acks[i], r); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("ack: %w", err)
		}
		if w.known.reached(w.known.jobs * 2 / 3) { // the victim's consumers have not got any jobs for a while
			w.known.kill()
		}
		watch.Reset(stuck)
	}
}
