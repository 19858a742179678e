package memstore

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pollackq/pollack/storage"
)

// Whatever disagrees with the records is reported. The damage can only be done from inside.
func TestCheckFindsWhatDisagrees(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(s *Store, q *queue, rec *record)
		want   string
	}{
		{"nothing", func(*Store, *queue, *record) {}, ""},
		{"a job under another id", func(s *Store, _ *queue, rec *record) { s.jobs[storage.ID{9}] = rec }, "its record is another's"},
		{"a queue that is gone", func(s *Store, q *queue, _ *record) { delete(s.queues, q.record.QueueName) }, "is not there"},
		{"no place by id", func(_ *Store, q *queue, rec *record) { q.ids.remove(idPlace{id: rec.job.ID}) }, "not in its place by id"},
		{"no place in Ready", func(_ *Store, q *queue, rec *record) { q.ready.remove(readyAt(rec.job)) }, "place in Ready false"},
		{"a place in Ready too many", func(_ *Store, q *queue, _ *record) { q.ready.insert(readyPlace{position: 99}) }, "places in Ready"},
		{"a state that is not ready", func(_ *Store, _ *queue, rec *record) {
			rec.job = rec.job.With(storage.Status{State: storage.Running, Due: rec.job.Due})
		}, "place in Ready true"},
		{"no place in Due", func(s *Store, _ *queue, rec *record) { at, _ := dueAt(rec.job); s.due.remove(at) }, "not in Due"},
		{"a place in Due too many", func(s *Store, _ *queue, _ *record) { s.due.insert(duePlace{at: 1}) }, "places in Due"},
		{"no key", func(s *Store, _ *queue, rec *record) { delete(s.keys, rec.job.KeyOf()) }, "not found by its key"},
		{"a key too many", func(s *Store, _ *queue, rec *record) { s.keys[storage.Key{Name: "stray"}] = rec }, "keys"},
		{"a count", func(_ *Store, q *queue, _ *record) { q.counts[storage.Running]++ }, "counts are"},
		{"no place by name", func(s *Store, q *queue, _ *record) { s.names.remove(q.record.QueueName) }, "not in its place by name"},
		{"a name too many", func(s *Store, _ *queue, _ *record) { s.names.insert(storage.QueueName{Name: "stray"}) }, "places by name"},
		{"an order out of order", func(_ *Store, q *queue, _ *record) {
			c := q.ids.chunks[0]
			c[0], c[1] = c[1], c[0]
		}, "places by id"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := New(nil)
			name := storage.QueueName{Account: "acme", Name: "mail"}
			err := s.Update(t.Context(), storage.Reads{}, func(tx storage.Tx) error {
				errs := []error{tx.PutQueue(&storage.Queue{QueueName: name})}
				for i := range byte(3) {
					j := &storage.Job{
						Spec:   &storage.Spec{ID: storage.ID{1 + i}, Queue: name, Key: string('a' + rune(i))},
						Status: storage.Status{State: storage.Pending, Due: time.Unix(int64(100+i), 0).UTC()},
					}
					_, err := tx.AddJob(j, nil)
					errs = append(errs, err)
				}
				return errors.Join(errs...)
			})
			if err != nil {
				t.Fatal(err)
			}
			c.damage(s, s.queues[name], s.jobs[storage.ID{2}])
			err = s.Check(context.Background())
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want something of %q", err, c.want)
			}
		})
	}
}

func TestCheckEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := New(nil).Check(ctx); err != context.Canceled {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}
