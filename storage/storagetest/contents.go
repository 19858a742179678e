package storagetest

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/pollackq/pollack/storage"
)

// farFuture is later than every time that the tests use.
var farFuture = time.Date(9999, 12, 31, 23, 59, 59, 999999000, time.UTC)

// contents are all that a store holds, as its methods tell it.
type contents struct {
	Queues  []queueContents
	Due     []*storage.Job
	NextDue time.Time
	Chunks  []string // of the blobs that were asked for
}

type queueContents struct {
	Record *storage.Queue
	Next   uint64
	Counts storage.Counts
	Oldest time.Time
	Jobs   []jobContents
	Ready  []*storage.Job
}

type jobContents struct {
	*storage.Job
	HasPayload, HasResult bool
	Payload, Result       string
}

// readAll reads all that a store holds and returns an error where its answers contradict each other: orders, keys and counts are
// derived from the records alone, so they are made again and compared.
func readAll(r storage.Reader, blobs []storage.ID) (*contents, error) {
	c := new(contents)
	var after storage.QueueName
	var all []*storage.Job
	for {
		queues, err := r.Queues(after, 10)
		if err != nil {
			return nil, fmt.Errorf("method Queues: %w", err)
		}
		for _, record := range queues {
			if after != (storage.QueueName{}) && compareNames(record.QueueName, after) <= 0 {
				return nil, fmt.Errorf("method Queues: %q comes after %q", record.QueueName, after)
			}
			after = record.QueueName
			q, err := readQueue(r, record)
			if err != nil {
				return nil, fmt.Errorf("queue %q: %w", record.QueueName, err)
			}
			c.Queues = append(c.Queues, *q)
			for _, j := range q.Jobs {
				if !j.Due.IsZero() {
					all = append(all, j.Job)
				}
			}
		}
		if len(queues) < 10 {
			break
		}
	}
	var err error
	if c.Due, err = r.Due(farFuture, len(all)+10); err != nil {
		return nil, fmt.Errorf("method Due: %w", err)
	}
	if len(c.Due) == 0 {
		c.Due = nil // nil and empty are the same: law 16
	}
	slices.SortFunc(all, func(a, b *storage.Job) int { return cmp.Or(a.Due.Compare(b.Due), a.ID.Compare(b.ID)) })
	if err := sameJobs("Due", c.Due, all); err != nil {
		return nil, err
	}
	if c.NextDue, err = r.NextDue(); err != nil {
		return nil, fmt.Errorf("method NextDue: %w", err)
	}
	if len(all) == 0 && !c.NextDue.IsZero() || len(all) > 0 && c.NextDue != all[0].Due {
		return nil, fmt.Errorf("method NextDue: got %v, and Due is %v", c.NextDue, ids(all))
	}
	for _, b := range blobs {
		for n := uint32(0); ; n++ {
			p, err := r.Chunk(b, n)
			if errors.Is(err, storage.ErrNotFound) {
				break
			}
			if err != nil {
				return nil, fmt.Errorf("method Chunk(%v, %d): %w", b, n, err)
			}
			c.Chunks = append(c.Chunks, fmt.Sprintf("%v/%d: %s", b, n, p))
			poison(p)
		}
	}
	return c, nil
}

func readQueue(r storage.Reader, record *storage.Queue) (*queueContents, error) {
	name := record.QueueName
	q := &queueContents{Record: record}
	got, err := r.Queue(name)
	if err != nil {
		return nil, fmt.Errorf("method Queue: %w", err)
	}
	if !reflect.DeepEqual(got, record) {
		return nil, fmt.Errorf("method Queue: got %+v, and Queues has %+v", got, record)
	}
	if q.Next, err = r.NextPosition(name); err != nil {
		return nil, fmt.Errorf("method NextPosition: %w", err)
	}
	if q.Counts, err = r.Counts(name); err != nil {
		return nil, fmt.Errorf("method Counts: %w", err)
	}
	if q.Oldest, err = r.OldestPending(name); err != nil {
		return nil, fmt.Errorf("method OldestPending: %w", err)
	}
	jobs, err := listJobs(r, name, 0, 64)
	if err != nil {
		return nil, err
	}
	for _, j := range jobs {
		jc, err := readJob(r, j)
		if err != nil {
			return nil, fmt.Errorf("job %v: %w", j.ID, err)
		}
		q.Jobs = append(q.Jobs, *jc)
	}
	if q.Ready, err = r.Ready(name, len(jobs)+10); err != nil {
		return nil, fmt.Errorf("method Ready: %w", err)
	}
	if len(q.Ready) == 0 {
		q.Ready = nil
	}
	return q, q.audit()
}

// audit makes what is derived from the records again and compares it.
func (q *queueContents) audit() error {
	var counts storage.Counts
	var ready []*storage.Job
	positions := make(map[uint64]storage.ID)
	for _, j := range q.Jobs {
		counts[j.State]++
		if j.State == storage.Pending {
			ready = append(ready, j.Job)
		}
		if !j.State.Positioned() {
			continue
		}
		if other, taken := positions[j.Position]; taken {
			return fmt.Errorf("position %d: both %v and %v have it", j.Position, other, j.ID)
		}
		if positions[j.Position] = j.ID; j.Position >= q.Next {
			return fmt.Errorf("method NextPosition: got %d, and job %v has position %d", q.Next, j.ID, j.Position)
		}
	}
	if q.Counts != counts {
		return fmt.Errorf("method Counts: got %v, want %v", q.Counts, counts)
	}
	slices.SortFunc(ready, func(a, b *storage.Job) int {
		return cmp.Or(cmp.Compare(b.Priority, a.Priority), cmp.Compare(a.Position, b.Position))
	})
	if err := sameJobs("Ready", q.Ready, ready); err != nil {
		return err
	}
	var oldest time.Time
	for i, j := range ready {
		if i == 0 || j.Priority != ready[i-1].Priority && j.Created.Before(oldest) {
			oldest = j.Created
		}
	}
	if q.Oldest != oldest {
		return fmt.Errorf("method OldestPending: got %v, want %v", q.Oldest, oldest)
	}
	return nil
}

// readJob reads a job by its id and by its key, and what is kept beside it.
func readJob(r storage.Reader, j *storage.Job) (*jobContents, error) {
	byID, err := r.Job(j.ID)
	if err != nil {
		return nil, fmt.Errorf("method Job: %w", err)
	}
	if !reflect.DeepEqual(byID, j) {
		return nil, fmt.Errorf("method Job: got %s, and Jobs has %s", show(byID), show(j))
	}
	if j.Key != "" {
		byKey, err := r.JobByKey(j.KeyOf())
		if err != nil {
			return nil, fmt.Errorf("method JobByKey(%q): %w", j.KeyOf(), err)
		}
		if !reflect.DeepEqual(byKey, j) {
			return nil, fmt.Errorf("method JobByKey(%q): got %s, and Jobs has %s", j.KeyOf(), show(byKey), show(j))
		}
	}
	c := &jobContents{Job: j}
	p, err := r.Payload(j)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return nil, fmt.Errorf("method Payload: %w", err)
	}
	c.HasPayload, c.Payload = err == nil, string(p)
	poison(p)
	p, err = r.Result(j)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return nil, fmt.Errorf("method Result: %w", err)
	}
	c.HasResult, c.Result = err == nil, string(p)
	poison(p)
	return c, nil
}

// listJobs lists all jobs of a queue, page by page.
func listJobs(r storage.Reader, q storage.QueueName, state storage.State, page int) ([]*storage.Job, error) {
	return listJobsAfter(r, q, state, storage.ID{}, page)
}

// listJobsAfter is listJobs from after the given id.
func listJobsAfter(r storage.Reader, q storage.QueueName, state storage.State, after storage.ID, page int) ([]*storage.Job, error) {
	var all []*storage.Job
	for {
		jobs, next, err := r.Jobs(q, state, after, page)
		if err != nil {
			return nil, fmt.Errorf("method Jobs: %w", err)
		}
		if len(jobs) > page {
			return nil, fmt.Errorf("method Jobs: got %d, asked for %d", len(jobs), page)
		}
		for _, j := range jobs {
			if j.ID.Compare(after) <= 0 {
				return nil, fmt.Errorf("method Jobs: %v comes after %v", j.ID, after)
			}
			after = j.ID
		}
		all = append(all, jobs...)
		if next == (storage.ID{}) {
			return all, nil
		}
		if next.Compare(after) < 0 || len(jobs) == 0 && next == after {
			return nil, fmt.Errorf("method Jobs: goes on from %v after %v", next, after)
		}
		after = next
	}
}

// sameJobs compares the answer of an order with the records.
func sameJobs(what string, got, want []*storage.Job) error {
	for i := range min(len(got), len(want)) {
		if !reflect.DeepEqual(got[i], want[i]) {
			return fmt.Errorf("%s: number %d is\n\t%s, by the records\n\t%s", what, i, show(got[i]), show(want[i]))
		}
	}
	if len(got) != len(want) {
		return fmt.Errorf("%s: got %v, by the records %v", what, ids(got), ids(want))
	}
	return nil
}

func compareNames(a, b storage.QueueName) int {
	return cmp.Or(strings.Compare(a.Account, b.Account), strings.Compare(a.Name, b.Name))
}

func ids(jobs []*storage.Job) []storage.ID {
	l := make([]storage.ID, 0, len(jobs))
	for _, j := range jobs {
		l = append(l, j.ID)
	}
	return l
}

func sortNames(names []storage.QueueName) { slices.SortFunc(names, compareNames) }
