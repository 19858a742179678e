package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/mikestefanello/backlite"
)

// A backliteQueue is a queue of backlite's. Its consumers are workers of its own, which claim tasks and settle them when a function
// returns; so a caller adds a task, and takes one that a worker hands over. It does not wait for the worker to settle that, which makes its
// cycle a little less work than others'.
type backliteQueue struct {
	db     *sql.DB
	client *backlite.Client
	cancel func()
	handed chan []byte
	remove func()

	mu       sync.Mutex // guards failed and stopping
	failed   []error
	stopping bool
}

type backliteTask struct{ Payload []byte }

func (backliteTask) Config() backlite.QueueConfig {
	return backlite.QueueConfig{Name: "bench", MaxAttempts: 3, Timeout: time.Minute}
}

// workersFor returns more workers than can be busy: backlite sleeps for 100 ms when it finds none idle.
func workersFor(callers int) int { return 2*callers + 4 }

func newBacklite(r *run, callers int) (*backliteQueue, error) {
	db, remove, err := openSQLite(r, false)
	if err != nil {
		return nil, err
	}
	b := &backliteQueue{db: db, handed: make(chan []byte), remove: remove}
	b.client, err = backlite.NewClient(backlite.ClientConfig{DB: db, Logger: b, NumWorkers: workersFor(callers), ReleaseAfter: time.Minute})
	if err == nil {
		err = b.client.Install()
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	b.client.Register(backlite.NewQueue(func(ctx context.Context, t backliteTask) error {
		select {
		case b.handed <- t.Payload:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}))
	ctx, cancel := context.WithCancel(context.Background())
	b.cancel = cancel
	b.client.Start(ctx)
	return b, nil
}

func (b *backliteQueue) cycle(ctx context.Context, c *caller) error {
	if _, err := b.client.Add(backliteTask{c.next()}).Save(); err != nil {
		return err
	}
	select {
	case payload := <-b.handed:
		return c.got(payload)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (b *backliteQueue) close() error {
	defer b.remove()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var errs []error
	if !b.client.Stop(ctx) {
		errs = append(errs, errors.New("workers did not end"))
	}
	b.mu.Lock()
	b.stopping = true
	b.mu.Unlock()
	b.cancel()
	var left int
	if err := b.db.QueryRow(`SELECT count(*) FROM backlite_tasks`).Scan(&left); err != nil {
		errs = append(errs, err)
	} else if left > 0 {
		errs = append(errs, fmt.Errorf("%d tasks were not settled", left))
	}
	errs = append(errs, b.db.Close())
	b.mu.Lock()
	defer b.mu.Unlock()
	return errors.Join(append(errs, b.failed...)...)
}

// Error is what backlite calls when it could not claim or settle a task. What is interrupted when all has been done is no failure.
func (b *backliteQueue) Error(message string, params ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.stopping {
		b.failed = append(b.failed, fmt.Errorf("%s %v", message, params))
	}
}

func (b *backliteQueue) Info(string, ...any) {}
