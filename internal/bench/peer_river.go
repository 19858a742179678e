package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

// A riverQueue is a queue of River's. Its consumers are workers of its own, to which a producer hands what it has fetched, many jobs at once; and
// what they have done is settled in the background, many jobs at once as well. So a caller inserts a job, and takes one that a worker hands over. It
// does not wait for the settling, which makes its cycle less than others', and finished jobs stay in the table for as long as the measurement lasts.
type riverQueue struct {
	pool   *pgxpool.Pool
	client *river.Client[pgx.Tx]
	table  string
	handed chan []byte
	errors errorLog
	drop   func() error
}

// riverArgs are JSON, in which a payload of 256 bytes takes 344.
type riverArgs struct{ Payload []byte }

func (riverArgs) Kind() string { return "bench" }

// A riverWorker hands jobs over.
type riverWorker struct {
	river.WorkerDefaults[riverArgs]
	handed chan<- []byte
}

func (w *riverWorker) Work(ctx context.Context, j *river.Job[riverArgs]) error {
	select {
	case w.handed <- j.Args.Payload:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// riverConnections are as many as help it: with two cores, 32, 64 and 128 were no faster.
const riverConnections = 16

func newRiver(ctx context.Context, p *postgres, callers int) (_ *riverQueue, err error) {
	schema, drop, err := p.schema(ctx)
	if err != nil {
		return nil, err
	}
	r := &riverQueue{table: schema + ".river_job", handed: make(chan []byte), drop: drop}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
		}
	}()
	if r.pool, err = p.pool(ctx, riverConnections); err != nil {
		return nil, err
	}
	driver := riverpgxv5.New(r.pool)
	logger := slog.New(&r.errors)
	migrator, err := rivermigrate.New(driver, &rivermigrate.Config{Schema: schema, Logger: logger})
	if err != nil {
		return nil, err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return nil, err
	}
	workers := river.NewWorkers()
	river.AddWorker(workers, &riverWorker{handed: r.handed})
	client, err := river.NewClient(driver, &river.Config{
		FetchCooldown:     river.FetchCooldownMin,
		FetchPollInterval: river.FetchPollIntervalMin,
		Logger:            logger,
		Queues:            map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: workersFor(callers)}},
		Schema:            schema,
		Workers:           workers,
	})
	if err != nil {
		return nil, err
	}
	if err := client.Start(context.Background()); err != nil { // ends with Stop
		return nil, err
	}
	r.client = client
	return r, nil
}

func (r *riverQueue) cycle(ctx context.Context, c *caller) error {
	if _, err := r.client.Insert(ctx, riverArgs{c.next()}, nil); err != nil {
		return err
	}
	select {
	case payload := <-r.handed:
		return c.got(payload)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *riverQueue) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var errs []error
	if r.client != nil {
		errs = append(errs, r.client.Stop(ctx))
		var left int
		err := r.pool.QueryRow(ctx, "SELECT count(*) FROM "+r.table+" WHERE state <> 'completed'").Scan(&left)
		if left > 0 {
			err = fmt.Errorf("%d jobs were not completed", left)
		}
		errs = append(errs, err)
	}
	if r.pool != nil {
		r.pool.Close()
	}
	return errors.Join(append(errs, r.errors.err(), r.drop())...)
}

// An errorLog is a log that keeps what went wrong.
type errorLog struct {
	mu   sync.Mutex // guards errs
	errs []error
}

func (l *errorLog) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelError }

func (l *errorLog) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	r.Attrs(func(a slog.Attr) bool {
		text += " " + a.String()
		return true
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errs = append(l.errs, errors.New(text))
	return nil
}

func (l *errorLog) WithAttrs([]slog.Attr) slog.Handler { return l }
func (l *errorLog) WithGroup(string) slog.Handler      { return l }

func (l *errorLog) err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(l.errs...)
}
