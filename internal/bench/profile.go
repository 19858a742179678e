package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
)

// profileVariable names a folder to which each measuring child writes profiles of CPU and allocations. contentionVariable, set to anything, adds
// those of mutexes and blocking, which slow down what they watch.
const (
	profileVariable    = "POLLACK_BENCH_PROFILES"
	contentionVariable = "POLLACK_BENCH_CONTENTION"
)

// profiled runs fn and writes its profiles if the environment says where to.
func profiled(fn func() error) error {
	dir := os.Getenv(profileVariable)
	if dir == "" {
		return fn()
	}
	create := func(kind string) (*os.File, error) {
		return os.Create(filepath.Join(dir, fmt.Sprintf("%s-%d-%s.pprof", os.Getenv(childVariable), os.Getpid(), kind)))
	}
	kinds := []string{"allocs", "heap"}
	if os.Getenv(contentionVariable) != "" {
		runtime.SetMutexProfileFraction(10)
		runtime.SetBlockProfileRate(100_000) // one event for so many nanoseconds of waiting
		kinds = append(kinds, "mutex", "block")
	}
	cpu, err := create("cpu")
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(cpu); err != nil {
		return err
	}
	err = fn()
	pprof.StopCPUProfile()
	err = errors.Join(err, cpu.Close())
	for _, kind := range kinds {
		f, e := create(kind)
		if e == nil {
			e = errors.Join(pprof.Lookup(kind).WriteTo(f, 0), f.Close())
		}
		err = errors.Join(err, e)
	}
	return err
}
