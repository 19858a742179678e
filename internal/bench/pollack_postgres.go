package main

import (
	"context"
	"errors"
	"time"

	"github.com/pollackq/pollack/storage/pgstore"
)

// A nodes is a number of brokers of ours that share a queue, each with a store and connections of its own, as processes would have.
type nodes struct {
	all    []*pollack
	stores []*pgstore.Store
	drop   func() error
}

func newNodes(ctx context.Context, p *postgres, count int, retention time.Duration) (_ *nodes, err error) {
	schema, drop, err := p.schema(ctx)
	if err != nil {
		return nil, err
	}
	n := &nodes{drop: drop}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.close())
		}
	}()
	for range count {
		pool, err := p.pool(ctx, 1) // a store opens its own connections
		if err != nil {
			return nil, err
		}
		store, err := pgstore.New(ctx, pool, &pgstore.Options{Schema: schema})
		if err != nil {
			pool.Close()
			return nil, err
		}
		broker, err := newPollack(store, retention, pool.Close)
		if err != nil {
			return nil, err
		}
		n.all, n.stores = append(n.all, broker), append(n.stores, store)
	}
	return n, nil
}

func (n *nodes) cycle(ctx context.Context, c *caller) error {
	return n.all[c.number%len(n.all)].cycle(ctx, c)
}

// syncs returns how many transactions there were.
func (n *nodes) syncs() uint64 {
	var sum uint64
	for _, s := range n.stores {
		stats := s.Stats()
		sum += stats.Groups + stats.Alone
	}
	return sum
}

func (n *nodes) close() error {
	var errs []error
	for _, p := range n.all {
		errs = append(errs, p.close())
	}
	return errors.Join(append(errs, n.drop())...)
}
