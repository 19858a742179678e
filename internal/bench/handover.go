package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/boltstore"
)

func init() { children["handover"] = func([]string) error { return answer(measureHandovers) } }

// handover shows what a job costs on a durable store that a consumer is waiting for already.
func handover(r *run) (*table, error) {
	t := newTable("Waiting, durable", "One producer and one consumer on boltstore: how long from the beginning of Enqueue until it has returned, or until the consumer has "+
		"the job, and how many commits that takes.", "p50", "p99", "commits a job")
	kinds := []string{"Enqueue, nobody waiting", "Enqueue, a consumer waiting, until it has the job", "Enqueue, then Receive"}
	rows := make([]*row, len(kinds))
	for i, name := range kinds {
		rows[i] = t.row(name, inProcess, "all", "us; commits")
		for _, column := range t.columns {
			rows[i].cell(column)
		}
	}
	t.step("handovers", func(ctx context.Context) error {
		dir, remove, err := r.temp()
		if err != nil {
			return err
		}
		defer remove()
		a, err := measureIn[handoverAnswer](ctx, "handover", handoverQuestion{Dir: dir, Jobs: r.size(2_000, 50)})
		if err != nil {
			return err
		}
		for i, f := range []handoverFigures{a.Alone, a.Waiting, a.Then} {
			rows[i].cell("p50").add(f.P50)
			rows[i].cell("p99").add(f.P99)
			rows[i].cell("commits a job").add(f.Commits)
		}
		return nil
	})
	t.ask("commits for a job that a consumer waits for", atMost(1), rows[1].cell("commits a job").value)
	t.ask("p50 until the consumer has it, against an Enqueue alone", atMost(1.5), ratio(rows[1].cell("p50"), rows[0].cell("p50")))
	return t, nil
}

type handoverQuestion struct {
	Dir  string
	Jobs int
}

type handoverAnswer struct{ Alone, Waiting, Then handoverFigures }

type handoverFigures struct{ P50, P99, Commits float64 }

// A timing collects what the jobs of one kind took.
type timing struct {
	store   *boltstore.Store
	took    []time.Duration
	commits uint64
}

// measure has fn do one job and say when it was over.
func (t *timing) measure(fn func() (time.Time, error)) error {
	before, begun := t.store.Stats().Commits, time.Now()
	ended, err := fn()
	t.took = append(t.took, ended.Sub(begun))
	t.commits += t.store.Stats().Commits - before
	return err
}

func (t *timing) figures() (handoverFigures, error) {
	if t.commits < uint64(len(t.took)) {
		return handoverFigures{}, fmt.Errorf("%d jobs took %d commits: some were not durable", len(t.took), t.commits)
	}
	return handoverFigures{quantile(t.took, 0.5), quantile(t.took, 0.99), float64(t.commits) / float64(len(t.took))}, nil
}

// measureHandovers does one job of each kind in turn, so that the disk's moods meet all alike.
func measureHandovers(q handoverQuestion) (a handoverAnswer, err error) {
	store, err := boltstore.Open(filepath.Join(q.Dir, "jobs.db"), nil)
	if err != nil {
		return a, err
	}
	p, err := newPollack(store, noRetention, func() {})
	if err != nil {
		return a, err
	}
	crowd := crowdOn(p)
	defer func() { err = errors.Join(err, crowd.end()) }()
	if err := crowd.park(1); err != nil {
		return a, err
	}
	ctx := context.Background()
	quiet := p.broker.Queue("quiet")
	job := jobqueue.NewJob{Payload: make([]byte, payloadSize)}
	alone, waiting, then := &timing{store: store}, &timing{store: store}, &timing{store: store}
	for range q.Jobs {
		err := alone.measure(func() (time.Time, error) {
			_, err := quiet.Enqueue(ctx, job)
			return time.Now(), err
		})
		if err != nil {
			return a, err
		}
		if err := takeAndAck(ctx, quiet); err != nil {
			return a, err
		}
		var got received
		err = waiting.measure(func() (time.Time, error) {
			j, err := p.queue.Enqueue(ctx, job)
			if err == nil {
				got, err = crowd.receive(j)
			}
			return got.at, err
		})
		if err == nil {
			err = errors.Join(got.delivery.Ack(ctx), crowd.settle())
		}
		if err != nil {
			return a, err
		}
		var d *jobqueue.Delivery
		err = then.measure(func() (time.Time, error) {
			_, err := quiet.Enqueue(ctx, job)
			if err == nil {
				d, err = quiet.TryReceive(ctx, nil)
			}
			return time.Now(), err
		})
		if err == nil {
			err = d.Ack(ctx)
		}
		if err != nil {
			return a, err
		}
	}
	var errs [3]error
	a.Alone, errs[0] = alone.figures()
	a.Waiting, errs[1] = waiting.figures()
	a.Then, errs[2] = then.figures()
	return a, errors.Join(errs[:]...)
}

func takeAndAck(ctx context.Context, q *jobqueue.Queue) error {
	d, err := q.TryReceive(ctx, nil)
	if err != nil {
		return err
	}
	return d.Ack(ctx)
}
