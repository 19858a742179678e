package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pollackq/pollack/internal/pgserver"
)

// A counted is a queue that counts syncs or transactions.
type counted interface {
	queue
	syncing
}

// BenchmarkCycle is the work of the tables for benchstat: enqueue, receive, ack, on stores of ours. On PostgreSQL it counts transactions for syncs.
func BenchmarkCycle(b *testing.B) {
	var server *postgres // started when it is first needed
	b.Cleanup(func() {
		if server != nil {
			if err := server.close(); err != nil {
				b.Error(err)
			}
		}
	})
	for _, retention := range []struct {
		name string
		time time.Duration
	}{{"default", defaultRetention}, {"off", noRetention}} {
		for _, store := range []struct {
			name string
			open func(*testing.B, time.Duration) (counted, error)
		}{
			{"memory", func(_ *testing.B, retention time.Duration) (counted, error) { return newPollackInMemory(retention) }},
			{"bolt", func(b *testing.B, retention time.Duration) (counted, error) {
				return newPollackOnBolt(&run{dir: b.TempDir()}, retention)
			}},
			{"postgres", func(b *testing.B, retention time.Duration) (_ counted, err error) {
				if server == nil {
					server, err = newPostgres(b.Context(), &run{dir: os.TempDir()})
				}
				if errors.Is(err, pgserver.ErrNone) {
					b.Skip(err)
				}
				if err != nil {
					return nil, err
				}
				return newNodes(b.Context(), server, 1, retention)
			}},
		} {
			for _, callers := range allCallers {
				b.Run(fmt.Sprintf("store=%s/retention=%s/callers=%d", store.name, retention.name, callers), func(b *testing.B) {
					p, err := store.open(b, retention.time)
					if err != nil {
						b.Fatal(err)
					}
					b.ReportAllocs()
					b.ResetTimer()
					if err := cycleAll(b.Context(), p, callers, b.N); err != nil {
						b.Error(err)
					}
					b.StopTimer()
					b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "cycles/s")
					b.ReportMetric(float64(p.syncs())/float64(b.N), "syncs/op")
					if err := p.close(); err != nil {
						b.Error(err)
					}
				})
			}
		}
	}
}

// cycleAll has callers do n cycles together.
func cycleAll(ctx context.Context, q queue, callers, n int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var left atomic.Int64
	left.Store(int64(n))
	var running sync.WaitGroup
	for i := range callers {
		running.Go(func() {
			c := newCaller(i)
			for ctx.Err() == nil && left.Add(-1) >= 0 {
				if err := q.cycle(ctx, c); err != nil {
					cancel(err)
				}
			}
		})
	}
	running.Wait()
	return context.Cause(ctx)
}

// A forger is a queue that gives back what was not put in.
type forger struct{ forge func([]byte) []byte }

func (f forger) cycle(_ context.Context, c *caller) error { return c.got(f.forge(c.next())) }
func (f forger) close() error                             { return nil }

func TestPaceNoticesWhatIsLost(t *testing.T) {
	var first []byte
	for _, c := range []struct {
		name  string
		forge func([]byte) []byte
		bad   bool
	}{
		{"nothing", func(p []byte) []byte { return p }, false},
		{"a byte", func(p []byte) []byte { return p[:len(p)-1] }, true},
		{"another payload", func(p []byte) []byte { return make([]byte, len(p)) }, true},
		{"one payload, over and over", func(p []byte) []byte {
			if first == nil {
				first = append(first, p...)
			}
			return first
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &run{reps: 1, span: time.Millisecond}
			if _, err := r.pace(t.Context(), forger{c.forge}, 1); (err != nil) != c.bad {
				t.Errorf("got error %v, want one: %t", err, c.bad)
			}
		})
	}
}
