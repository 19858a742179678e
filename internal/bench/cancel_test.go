package main_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/pollackq/pollack/longpoll"
)

// BenchmarkCancel measures how long it takes until all of n waiters have gone, canceled one after the other. Beside longpoll stands a
// sync.Cond with context.AfterFunc, as the example of that function has it: there each cancellation wakes all.
func BenchmarkCancel(b *testing.B) {
	for _, n := range []int{10, 100, 1_000} {
		b.Run(fmt.Sprintf("waiters=%d/longpoll", n), func(b *testing.B) {
			var lines longpoll.Lines[int, int]
			cancelAll(b, n, func() int { return lines.Waiting() }, func(ctx context.Context) {
				lines.Wait(ctx, 1, 0, func() (bool, error) { return false, nil })
			})
		})
		b.Run(fmt.Sprintf("waiters=%d/cond", n), func(b *testing.B) {
			var mu sync.Mutex
			cond := sync.NewCond(&mu)
			waiting := 0
			count := func() int {
				mu.Lock()
				defer mu.Unlock()
				return waiting
			}
			cancelAll(b, n, count, func(ctx context.Context) {
				stop := context.AfterFunc(ctx, func() {
					mu.Lock()
					defer mu.Unlock()
					cond.Broadcast()
				})
				defer stop()
				mu.Lock()
				defer mu.Unlock()
				waiting++
				for ctx.Err() == nil {
					cond.Wait()
				}
				waiting--
			})
		})
	}
}

func cancelAll(b *testing.B, n int, waiting func() int, wait func(context.Context)) {
	for b.Loop() {
		b.StopTimer()
		var left sync.WaitGroup
		cancels := make([]func(), n)
		for i := range cancels {
			ctx, cancel := context.WithCancel(b.Context())
			cancels[i] = cancel
			left.Go(func() { wait(ctx) })
		}
		for waiting() < n {
			runtime.Gosched()
		}
		b.StartTimer()
		for i, cancel := range cancels {
			cancel()
			for waiting() > n-i-1 {
				runtime.Gosched()
			}
		}
		left.Wait()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/cancel")
}
