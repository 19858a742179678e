package main

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/boltstore"
	"github.com/pollackq/pollack/storage/memstore"
)

// A pollack is a broker of ours on a store.
type pollack struct {
	store  storage.Store
	bolt   *boltstore.Store // the same, if it is one
	broker *jobqueue.Broker
	queue  *jobqueue.Queue
	remove func()
}

// Retentions of the tables: as it is unless set, and off.
const (
	defaultRetention = time.Duration(0)
	noRetention      = time.Duration(-1)
)

func newPollackInMemory(retention time.Duration) (*pollack, error) {
	return newPollack(memstore.New(nil), retention, func() {})
}

func newPollackOnBolt(r *run, retention time.Duration) (*pollack, error) {
	dir, remove, err := r.temp()
	if err != nil {
		return nil, err
	}
	store, err := boltstore.Open(filepath.Join(dir, "jobs.db"), nil)
	if err != nil {
		remove()
		return nil, err
	}
	p, err := newPollack(store, retention, remove)
	if err != nil {
		return nil, err
	}
	p.bolt = store
	return p, nil
}

func newPollack(store storage.Store, retention time.Duration, remove func()) (*pollack, error) {
	broker, err := jobqueue.New(store, &jobqueue.Options{Retention: retention})
	if err != nil {
		store.Close()
		remove()
		return nil, err
	}
	return &pollack{store: store, broker: broker, queue: broker.Queue("bench"), remove: remove}, nil
}

func (p *pollack) cycle(ctx context.Context, c *caller) error {
	if _, err := p.queue.Enqueue(ctx, jobqueue.NewJob{Payload: c.next()}); err != nil {
		return err
	}
	d, err := p.queue.Receive(ctx, nil)
	if err != nil {
		return err
	}
	payload, ok := d.Inline()
	if !ok {
		return errors.New("a payload is not inline")
	}
	if err := c.got(payload); err != nil {
		return err
	}
	return d.Ack(ctx)
}

func (p *pollack) syncs() uint64 {
	if p.bolt == nil {
		return 0
	}
	return 2 * p.bolt.Stats().Commits // bbolt syncs twice a commit
}

func (p *pollack) close() error {
	defer p.remove()
	return errors.Join(p.broker.Shutdown(context.Background()), p.store.Close())
}
