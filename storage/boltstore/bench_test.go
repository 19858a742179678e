package boltstore_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pollackq/pollack/storage"
)

// BenchmarkCycle measures whole lives of a job: added pending, delivered with a lease, deleted, each in an Update of its own. The metrics
// are cycles a second, and their ratio to how often 4 KiB can be overwritten and synced in a file by one caller, measured in the same run.
func BenchmarkCycle(b *testing.B) {
	for _, callers := range []int{1, 64, 512} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			syncs := syncRate(b)
			s, _ := open(b, nil)
			payload := make([]byte, 256)
			var left atomic.Int64
			left.Store(int64(b.N))
			var wg sync.WaitGroup
			b.ReportAllocs()
			b.ResetTimer()
			for range callers {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						if err := cycle(b, s, payload); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			rate := float64(b.N) / b.Elapsed().Seconds()
			b.ReportMetric(rate, "cycles/s")
			b.ReportMetric(rate/syncs, "cycles/sync")
			stats := s.Stats()
			b.ReportMetric(float64(stats.Updates)/float64(stats.Commits), "updates/commit")
			b.ReportMetric(float64(stats.Written)/float64(b.N), "written-B/op")
		})
	}
}

func cycle(b *testing.B, s storage.Store, payload []byte) error {
	ctx := b.Context()
	id := storage.NewID(time.Now())
	if err := s.Update(ctx, storage.Reads{}, func(tx storage.Tx) error {
		_, err := tx.AddJob(&storage.Job{
			Spec:   &storage.Spec{ID: id, Queue: queueA, Created: tx.Now(), Size: int64(len(payload))},
			Status: storage.Status{State: storage.Pending},
		}, payload)
		return err
	}); err != nil {
		return err
	}
	var got storage.ID
	if err := s.Update(ctx, storage.Reads{}, func(tx storage.Tx) error {
		jobs, err := tx.Ready(queueA, 1)
		if err != nil {
			return err
		}
		if len(jobs) == 0 {
			return fmt.Errorf("no job is ready")
		}
		got = jobs[0].ID
		st := jobs[0].Status
		now := tx.Now()
		st.State, st.Lease, st.Deliveries, st.Token = storage.Running, storage.Held, 1, storage.Token(got)
		st.Due, st.Started = now.Add(time.Minute), now
		st.LeaseExpires = st.Due
		return tx.SetJob(jobs[0].With(st))
	}); err != nil {
		return err
	}
	return s.Update(ctx, storage.Reads{}, func(tx storage.Tx) error {
		j, err := tx.Job(got)
		if err != nil {
			return err
		}
		return tx.DeleteJob(j)
	})
}

// syncRate measures how often a second 4 KiB of a file can be overwritten in place and synced.
func syncRate(b *testing.B) float64 {
	b.Helper()
	f, err := os.Create(filepath.Join(b.TempDir(), "sync"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	page := make([]byte, 4096)
	for i := range 256 {
		if _, err := f.WriteAt(page, int64(i)*4096); err != nil {
			b.Fatal(err)
		}
	}
	if err := f.Sync(); err != nil {
		b.Fatal(err)
	}
	const n = 500
	begin := time.Now()
	for i := range n {
		if _, err := f.WriteAt(page, int64(i%256)*4096); err != nil {
			b.Fatal(err)
		}
		if err := fdatasync(f); err != nil {
			b.Fatal(err)
		}
	}
	return n / time.Since(begin).Seconds()
}

// BenchmarkLarge measures how many bytes are written for each byte of a large value.
func BenchmarkLarge(b *testing.B) {
	chunk := func(per int) func(s storage.Store, i int) (int, error) {
		blob := storage.NewID(time.Now())
		p := make([]byte, storage.ChunkSize)
		return func(s storage.Store, i int) (int, error) {
			return per * len(p), s.Update(b.Context(), storage.Reads{}, func(tx storage.Tx) error {
				for n := range per {
					if err := tx.PutChunk(blob, uint32(i*per+n), p); err != nil {
						return err
					}
				}
				return nil
			})
		}
	}
	payload := func(size int) func(s storage.Store, i int) (int, error) {
		p := make([]byte, size)
		return func(s storage.Store, i int) (int, error) {
			return size, s.Update(b.Context(), storage.Reads{}, func(tx storage.Tx) error {
				_, err := tx.AddJob(newJob(storage.NewID(time.Now())), p)
				return err
			})
		}
	}
	for name, write := range map[string]func(s storage.Store, i int) (int, error){
		"chunks,1 per Update": chunk(1), "chunks,4 per Update": chunk(4), "chunks,16 per Update": chunk(16),
		"payloads,64 KiB": payload(64 << 10), "payloads,256 KiB": payload(256 << 10), "payloads,1 MiB": payload(1 << 20),
		"payloads,2 KiB": payload(2 << 10), "payloads,4 KiB": payload(4 << 10), "payloads,5 KiB": payload(5 << 10),
	} {
		b.Run(name, func(b *testing.B) {
			s, _ := open(b, nil)
			before := s.Stats().Written
			size := 0
			for i := range b.N {
				n, err := write(s, i)
				if err != nil {
					b.Fatal(err)
				}
				size += n
			}
			b.SetBytes(int64(size / b.N))
			b.ReportMetric(float64(s.Stats().Written-before)/float64(size), "written/B")
		})
	}
}
