package memstore_test

import (
	"testing"
	"time"

	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/memstore"
)

func BenchmarkCycle(b *testing.B) {
	for _, waiting := range []int{0, 1000, 1000000} {
		b.Run("waiting="+map[int]string{0: "0", 1000: "1000", 1000000: "1000000"}[waiting], func(b *testing.B) {
			s := memstore.New(nil)
			ctx := b.Context()
			q := storage.QueueName{Account: "a", Name: "q"}
			payload := make([]byte, 256)
			add := func() {
				id := storage.NewID(time.Now())
				if err := s.Update(ctx, storage.Reads{}, func(tx storage.Tx) error {
					now := tx.Now()
					_, err := tx.AddJob(&storage.Job{Spec: &storage.Spec{ID: id, Queue: q, Created: now}, Status: storage.Status{State: storage.Pending}}, payload)
					return err
				}); err != nil {
					b.Fatal(err)
				}
			}
			s.Update(ctx, storage.Reads{}, func(tx storage.Tx) error { return tx.PutQueue(&storage.Queue{QueueName: q}) })
			for range waiting {
				add()
			}
			b.ReportAllocs()
			for b.Loop() {
				add()
				var got *storage.Job
				if err := s.Update(ctx, storage.Reads{}, func(tx storage.Tx) error {
					jobs, err := tx.Ready(q, 1)
					if err != nil {
						return err
					}
					st := jobs[0].Status
					st.State = storage.Running
					st.Due = tx.Now().Add(time.Minute)
					got = jobs[0].With(st)
					return tx.SetJob(got)
				}); err != nil {
					b.Fatal(err)
				}
				if err := s.Update(ctx, storage.Reads{}, func(tx storage.Tx) error { return tx.DeleteJob(got) }); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "cycles/s")
		})
	}
}
