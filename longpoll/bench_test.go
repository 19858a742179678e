package longpoll_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/pollackq/pollack/longpoll"
)

// sizes are numbers of waiters of one key.
var sizes = []int{1, 1_000, 100_000}

// BenchmarkWake measures the time from a signal until the waiter that it woke has looked, left with success and stands in line
// again, with a crowd of others asleep. Beside it stands the same with plain goroutines, each asleep on a channel of its own, woken in turn.
func BenchmarkWake(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprintf("waiters=%d/lines", n), func(b *testing.B) {
			var lines longpoll.Lines[int, int]
			ctx, cancel := context.WithCancel(b.Context())
			woken := make(chan struct{})
			var left sync.WaitGroup
			for range n {
				left.Go(func() {
					for back := false; ctx.Err() == nil; back = true {
						looks := 0
						lines.Wait(ctx, 1, 0, func() (bool, error) {
							if looks++; looks == 1 && back {
								woken <- struct{}{}
							}
							return looks > 1, nil
						})
					}
				})
			}
			settle(func() bool { return lines.Len(1) == n })
			for b.Loop() {
				lines.Signal(1, 1)
				<-woken
			}
			cancel()
			left.Wait()
		})
		b.Run(fmt.Sprintf("waiters=%d/channel", n), func(b *testing.B) {
			ctx, cancel := context.WithCancel(b.Context())
			woken := make(chan struct{})
			var left sync.WaitGroup
			wake := make([]chan struct{}, n)
			for i := range wake {
				wake[i] = make(chan struct{}, 1)
				left.Go(func() {
					for {
						select {
						case <-wake[i]:
							woken <- struct{}{}
						case <-ctx.Done():
							return
						}
					}
				})
			}
			settle(func() bool { return true })
			i := 0
			for b.Loop() {
				wake[i%n] <- struct{}{}
				<-woken
				i++
			}
			cancel()
			left.Wait()
		})
	}
}

// BenchmarkBroadcast measures how long it takes until all of a crowd have looked.
func BenchmarkBroadcast(b *testing.B) {
	for _, n := range sizes[1:] {
		b.Run(fmt.Sprintf("waiters=%d", n), func(b *testing.B) {
			var lines longpoll.Lines[int, int]
			ctx, cancel := context.WithCancel(b.Context())
			looked := make(chan struct{}, n)
			var left sync.WaitGroup
			for range n {
				left.Go(func() {
					lines.Wait(ctx, 1, 0, func() (bool, error) {
						looked <- struct{}{}
						return false, nil
					})
				})
			}
			for range n {
				<-looked
			}
			for b.Loop() {
				lines.Broadcast(1)
				for range n {
					<-looked
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/waiter")
			cancel()
			left.Wait()
		})
	}
}

// BenchmarkMemory reports what a waiter takes, its goroutine included, beside a goroutine asleep on a channel or its context. The
// runtime sizes new stacks by what earlier ones used, so the stacks are alike only in one run of all three.
func BenchmarkMemory(b *testing.B) {
	const n = 100_000
	var warm sync.WaitGroup // what the runtime keeps of goroutines that have ended must not be counted
	hold := make(chan struct{})
	for range n {
		warm.Go(func() { <-hold })
	}
	close(hold)
	warm.Wait()
	for _, c := range []struct {
		name string
		wait func(ctx context.Context, lines *longpoll.Lines[int, int], i int)
	}{
		{"waiters of one key", func(ctx context.Context, lines *longpoll.Lines[int, int], i int) {
			lines.Wait(ctx, 1, 0, func() (bool, error) { return false, nil })
		}},
		{"waiters of as many keys", func(ctx context.Context, lines *longpoll.Lines[int, int], i int) {
			lines.Wait(ctx, i, 0, func() (bool, error) { return false, nil })
		}},
		{"channel", func(ctx context.Context, _ *longpoll.Lines[int, int], _ int) {
			select {
			case <-make(chan struct{}, 1):
			case <-ctx.Done():
			}
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			var heap, stacks float64
			for b.Loop() {
				var lines longpoll.Lines[int, int]
				var left sync.WaitGroup
				heapBefore, stacksBefore := inUse()
				ctx, cancel := context.WithCancel(b.Context())
				var started sync.WaitGroup
				started.Add(n)
				for i := range n {
					left.Go(func() {
						started.Done()
						c.wait(ctx, &lines, i)
					})
				}
				started.Wait()
				settle(func() bool { return c.name == "channel" || lines.Waiting() == n })
				heapNow, stacksNow := inUse()
				heap += heapNow - heapBefore
				stacks += stacksNow - stacksBefore
				cancel()
				left.Wait()
			}
			b.ReportMetric(heap/float64(b.N)/n, "heap-B/waiter")
			b.ReportMetric(stacks/float64(b.N)/n, "stack-B/waiter")
		})
	}
}

// settle yields until the condition holds, and a while longer, so that whoever is about to sleep does.
func settle(holds func() bool) {
	for !holds() {
		runtime.Gosched()
	}
	for range 100 {
		runtime.Gosched()
	}
}

// inUse returns the bytes of heap and of stacks in use.
func inUse() (heap, stacks float64) {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc), float64(m.StackInuse)
}
