package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/metrics"
	"strings"
	"syscall"
	"time"
)

// cpuTime returns how much CPU this process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// memory returns how much heap and stack are in use when everything superfluous has been collected. A collection halves each stack that is
// too large, and the next one frees the other half; so it takes several until nothing changes any more.
func memory() uint64 {
	var m runtime.MemStats
	for range 6 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// collected returns a function that reports whether a garbage collection has ended since.
func collected() func() bool {
	cycles := []metrics.Sample{{Name: "/gc/cycles/total:gc-cycles"}}
	metrics.Read(cycles)
	before := cycles[0].Value.Uint64()
	return func() bool {
		time.Sleep(time.Millisecond)
		metrics.Read(cycles)
		return cycles[0].Value.Uint64() > before
	}
}

// until waits for something that other goroutines do, without sleeping.
func until(ok func() bool) error {
	for begun := time.Now(); !ok(); runtime.Gosched() {
		if time.Since(begun) > time.Minute {
			return errors.New("it did not happen within a minute")
		}
	}
	return nil
}

// procIO returns one of the figures that Linux keeps of this process's reads and writes, such as write_bytes; 0 elsewhere.
func procIO(name string) int64 { return procFigure("/proc/self/io", name) }

func procFigure(path, name string) int64 {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		var n int64
		if _, err := fmt.Sscanf(line, name+": %d", &n); err == nil {
			return n
		}
	}
	return 0
}

// needFiles sees to it that this process may have so many files open. Go has raised the soft limit already; only root may raise the hard one.
func needFiles(n uint64) error {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return err
	}
	if l.Cur >= n {
		return nil
	}
	l.Cur, l.Max = n, max(l.Max, n)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return fmt.Errorf("%d files have to be open at once: ulimit -n: %w", n, err)
	}
	return nil
}
