package storagetest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pollackq/pollack/storage"
)

// Benchmark measures cycles: a job with a payload of 256 bytes is added, the first ready one is leased, and deleted, each in an Update
// of its own. Callers are goroutines that do so at the same time; waiting is how many other jobs are ready behind. The figure to
// compare is cycles/s.
func Benchmark(b *testing.B, open func(t testing.TB) storage.Store) {
	for _, callers := range []int{1, 64, 512} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) { benchmark(b, open, callers, 0, "") })
	}
	b.Run("callers=64/keys", func(b *testing.B) { benchmark(b, open, 64, 0, "key ") })
	for _, waiting := range []int{1000, 100000} {
		b.Run(fmt.Sprintf("callers=64/waiting=%d", waiting), func(b *testing.B) { benchmark(b, open, 64, waiting, "") })
	}
}

func benchmark(b *testing.B, open func(t testing.TB) storage.Store, callers, waiting int, keys string) {
	store := open(b)
	defer store.Close()
	payload := make([]byte, 256)
	err := store.Update(context.Background(), storage.Reads{}, func(tx storage.Tx) error {
		return tx.PutQueue(&storage.Queue{QueueName: q1, Created: tx.Now()})
	})
	for left := waiting; left > 0 && err == nil; left -= 1000 {
		err = store.Update(context.Background(), storage.Reads{}, func(tx storage.Tx) error {
			for range min(left, 1000) {
				if _, err := tx.AddJob(pending(tx.Now(), ""), payload); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	var begun atomic.Int64
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for {
				n := begun.Add(1)
				if n > int64(b.N) {
					return
				}
				key := ""
				if keys != "" {
					key = fmt.Sprint(keys, n)
				}
				if err := cycle(store, key, payload); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "cycles/s")
}

func pending(now time.Time, key string) *storage.Job {
	return &storage.Job{
		Spec:   &storage.Spec{ID: storage.NewID(now), Queue: q1, Account: q1.Account, Key: key, Created: now, Size: 256},
		Status: storage.Status{State: storage.Pending, Version: 1},
	}
}

// cycle adds a job, leases one and deletes it.
func cycle(store storage.Store, key string, payload []byte) error {
	ctx := context.Background()
	j := pending(time.Now(), key)
	err := store.Update(ctx, storage.Reads{Queues: []storage.QueueName{q1}}, func(tx storage.Tx) error {
		_, err := tx.AddJob(j, payload)
		return err
	})
	if err != nil {
		return err
	}
	var leased *storage.Job
	for leased == nil { // a store of several processes leaves out jobs that are busy
		err = store.Update(ctx, storage.Reads{Queues: []storage.QueueName{q1}, Ready: 1, Payloads: true}, func(tx storage.Tx) error {
			leased = nil
			ready, err := tx.Ready(q1, 1)
			if err != nil || len(ready) == 0 {
				return err
			}
			s := ready[0].Status
			s.State, s.Version, s.Due = storage.Running, s.Version+1, tx.Now().Add(5*time.Minute)
			leased = ready[0].With(s)
			if _, err := tx.Payload(leased); err != nil {
				return err
			}
			return tx.SetJob(leased)
		})
		if err != nil {
			return err
		}
	}
	return store.Update(ctx, storage.Reads{Jobs: []storage.ID{leased.ID}}, func(tx storage.Tx) error { return tx.DeleteJob(leased) })
}
