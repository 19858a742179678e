package main

import (
	"context"
	"fmt"
	"time"

	"github.com/pollackq/pollack/jobqueue"
)

const batchSize = 100

// batches is the table of jobs that are enqueued, received and acked many at once.
func batches(r *run) (*table, error) {
	t := newTable("Batches, durable", "EnqueueMany, ReceiveMany and AckMany, 100 jobs each.", columnOf(1), columnOf(16))
	syncs := newSubject(r, t, "sync: 4 KiB overwritten in place, fdatasync", inProcess, "the block", "syncs/s",
		func(context.Context, int) (queue, error) { return newSyncer(r) })
	syncs.measure(1)
	for _, retention := range []struct {
		name string
		time time.Duration
	}{{"default retention", defaultRetention}, {"retention off", noRetention}} {
		s := newSubject(r, t, "boltstore, "+retention.name, inProcess, allDurable, "jobs/s", func(context.Context, int) (queue, error) {
			p, err := newPollackOnBolt(r, retention.time)
			return batchQueue{p}, err
		})
		s.each = batchSize
		s.measure(1, 16)
		t.ask("jobs for each sync, "+retention.name+", "+columnOf(1), atLeast(6), ratio(s.at(1), syncs.at(1)))
		t.ask("jobs for each sync, "+retention.name+", "+columnOf(16), atLeast(12), ratio(s.at(16), syncs.at(1)))
	}
	return t, nil
}

// A batchQueue's cycle is that of a batch.
type batchQueue struct{ *pollack }

func (b batchQueue) cycle(ctx context.Context, c *caller) error {
	if _, err := b.queue.EnqueueMany(ctx, newJobs(c, batchSize)); err != nil {
		return err
	}
	ds, err := b.queue.ReceiveMany(ctx, batchSize, nil)
	if err != nil {
		return err
	}
	if len(ds) != batchSize {
		return fmt.Errorf("got %d jobs, want %d", len(ds), batchSize)
	}
	acks := make([]jobqueue.Ack, len(ds))
	for i, d := range ds {
		payload, _ := d.Inline()
		if err := c.got(payload); err != nil {
			return err
		}
		acks[i] = jobqueue.Ack{ID: d.ID, Token: d.Token}
	}
	results, err := b.broker.AckMany(ctx, acks)
	if err != nil {
		return err
	}
	for _, r := range results {
		if r.Err != nil {
			return r.Err
		}
	}
	return nil
}

// newJobs returns n jobs with payloads of their own.
func newJobs(c *caller, n int) []jobqueue.NewJob {
	jobs := make([]jobqueue.NewJob, n)
	payloads := make([]byte, 0, n*payloadSize)
	for i := range jobs {
		payloads = append(payloads, c.next()...)
		jobs[i].Payload = payloads[i*payloadSize:]
	}
	return jobs
}
