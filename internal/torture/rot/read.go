package rot

import (
	"context"
	"encoding/json"
	"errors"
	"io"

	"github.com/pollackq/pollack/jobqueue"
)

// read reads all that a file holds, which is whole.
func read(ctx context.Context, b *jobqueue.Broker) (*truth, error) {
	t := &truth{Jobs: make(map[string]*fact), Counts: make(map[string]jobqueue.Counts)}
	queues, err := b.Queues(ctx, "", jobqueue.MaxBatch)
	if err != nil {
		return nil, err
	}
	for _, q := range queues {
		t.Counts[q.Name.Name] = q.Counts
		jobs, _, err := b.Queue(q.Name.Name).Jobs(ctx, jobqueue.ListOptions{Limit: jobqueue.MaxBatch})
		if err != nil {
			return nil, err
		}
		for _, j := range jobs {
			f, err := factOf(ctx, b, j.ID)
			if err != nil {
				return nil, err
			}
			t.Jobs[j.ID.String()] = f
		}
	}
	return t, nil
}

// factOf reads a job by its id. What could be read is returned with an error, too.
func factOf(ctx context.Context, b *jobqueue.Broker, id jobqueue.ID) (*fact, error) {
	j, err := b.Job(ctx, id)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(j)
	if err != nil {
		return nil, err
	}
	f := &fact{Queue: j.Queue.Name, State: j.State, JSON: string(text)}
	c, err := b.Payload(ctx, id)
	if f.Payload, err = all(c, err); errors.Is(err, jobqueue.ErrPayloadGone) {
		err = nil
	}
	if j.Result != nil {
		c, errResult := b.Result(ctx, id)
		f.Result, errResult = all(c, errResult)
		err = errors.Join(err, errResult)
	}
	return f, err
}

// all reads what there is; nil after an error.
func all(c *jobqueue.Content, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	defer c.Close()
	p, err := io.ReadAll(c)
	if err != nil {
		return nil, err
	}
	return append([]byte{}, p...), nil
}
