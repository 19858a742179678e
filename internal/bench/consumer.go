package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pollackq/pollack/jobqueue"
)

// consumers is the table of a lone consumer that finds jobs waiting.
func consumers(r *run) (*table, error) {
	t := newTable("A lone consumer, durable", "Jobs wait; one consumer takes each under a lease and acks it: by an ack and a receive, or by acks that take the next job along.",
		columnOf(1))
	raw := newSubject(r, t, "raw bbolt: a db.Update for each put", inProcess, "the put", "puts/s",
		func(_ context.Context, callers int) (queue, error) { return newRawBolt(r, callers) })
	raw.measure(1)
	for _, retention := range []struct {
		name string
		time time.Duration
	}{{"default retention", defaultRetention}, {"retention off", noRetention}} {
		for _, way := range []struct {
			name string
			next nextJob
		}{{"Ack, then Receive", ackThenReceive}, {"AckNext", ackNext}} {
			s := newSubject(r, t, way.name+", "+retention.name, inProcess, allDurable, "jobs/s",
				func(ctx context.Context, _ int) (queue, error) { return newConsumer(ctx, r, retention.time, way.next) })
			s.countSyncs("syncs/job")
			s.measure(1)
			if way.name == "AckNext" {
				t.ask("AckNext against raw bbolt, "+retention.name, atLeast(0.7), ratio(s.at(1), raw.at(1)))
			}
		}
	}
	return t, nil
}

// A consumer holds a job; its cycle gets the next one and acks the one before.
type consumer struct {
	*pollack
	held *jobqueue.Delivery
	next nextJob
	seen *caller // made the payloads in the order in which they have to come
}

// A nextJob acks a job and returns the next one.
type nextJob func(ctx context.Context, q *jobqueue.Queue, held *jobqueue.Delivery) (*jobqueue.Delivery, error)

var noWait = &jobqueue.ReceiveOptions{Wait: -1}

func ackNext(ctx context.Context, _ *jobqueue.Queue, held *jobqueue.Delivery) (*jobqueue.Delivery, error) {
	return held.AckNext(ctx, noWait)
}

func ackThenReceive(ctx context.Context, q *jobqueue.Queue, held *jobqueue.Delivery) (*jobqueue.Delivery, error) {
	if err := held.Ack(ctx); err != nil {
		return nil, err
	}
	return q.Receive(ctx, noWait)
}

func newConsumer(ctx context.Context, r *run, retention time.Duration, next nextJob) (*consumer, error) {
	p, err := newPollackOnBolt(r, retention)
	if err != nil {
		return nil, err
	}
	c := &consumer{pollack: p, next: next, seen: newCaller(0)}
	if err := c.fill(ctx, int(20_000*r.span.Seconds())); err != nil {
		return nil, errors.Join(err, p.close())
	}
	c.held, err = p.queue.Receive(ctx, noWait)
	if err == nil {
		err = c.check()
	}
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	return c, nil
}

// fill enqueues at least so many jobs.
func (c *consumer) fill(ctx context.Context, jobs int) error {
	producer := newCaller(0)
	for range jobs/jobqueue.MaxBatch + 1 {
		if _, err := c.queue.EnqueueMany(ctx, newJobs(producer, jobqueue.MaxBatch)); err != nil {
			return err
		}
	}
	return nil
}

func (c *consumer) cycle(ctx context.Context, _ *caller) (err error) {
	if c.held, err = c.next(ctx, c.queue, c.held); err != nil {
		return fmt.Errorf("the next job: %w", err)
	}
	return c.check()
}

func (c *consumer) check() error {
	payload, _ := c.held.Inline()
	if string(payload) != string(c.seen.next()) {
		return fmt.Errorf("job %d has another's payload, or comes out of turn", c.held.Position)
	}
	return nil
}
