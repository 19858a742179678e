package soak

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pollackq/pollack/internal/torture/attack"
	"github.com/pollackq/pollack/storage/boltstore"
)

// limits are how much each figure may grow besides a fifth: what a load that comes and goes makes it swing by.
var limits = map[string]int64{
	"goroutines":          30,
	"bytes in use":        16 << 20,
	"bytes resident":      64 << 20,
	"open files":          20,
	"bytes of the file":   4 << 20,
	"records of the file": 300,
	"records in memory":   300,
	"records of queues":   60,
}

// A meter reads the figures from time to time.
type meter struct {
	file    string
	stacks  []*stack
	before  int64 // bytes in use before the load
	samples []map[string]int64
	span    time.Duration // from the first sample to the last
}

// slowest is a figure that is steady only after a while, and how long that takes: a queue that is done is known for a minute.
const (
	slowest      = "records of queues"
	slowestAfter = 2 * time.Minute
)

// watch reads until the context ends.
func (m *meter) watch(ctx context.Context, r *attack.Run, span time.Duration) error {
	timer := time.NewTicker(max(span/80, 100*time.Millisecond))
	defer timer.Stop()
	begun, told := time.Now(), 0
	defer func() { m.span = time.Since(begun) }()
	tell := func() {
		if seconds := int(time.Since(begun) / time.Second); seconds > told {
			r.Done(seconds - told)
			told = seconds
		}
	}
	defer tell()
	for {
		select {
		case <-timer.C:
			s, err := m.read()
			if err != nil {
				return err
			}
			m.samples = append(m.samples, s)
			tell()
			for _, s := range m.stacks {
				if err := s.failed(); err != nil {
					return err
				}
			}
		case <-ctx.Done():
			return nil
		case <-r.Context().Done():
			return nil
		}
	}
}

func (m *meter) read() (map[string]int64, error) {
	s := map[string]int64{"goroutines": int64(runtime.NumGoroutine())}
	s["bytes in use"] = inUse()
	info, err := os.Stat(m.file)
	if err != nil {
		return nil, err
	}
	s["bytes of the file"] = info.Size()
	if b, err := os.ReadFile("/proc/self/statm"); err == nil {
		if fields := strings.Fields(string(b)); len(fields) > 2 {
			pages, _ := strconv.ParseInt(fields[1], 10, 64)
			shared, _ := strconv.ParseInt(fields[2], 10, 64) // the mapped file among them
			s["bytes resident"] = (pages - shared) * int64(os.Getpagesize())
		}
	}
	if entries, err := os.ReadDir("/proc/self/fd"); err == nil {
		s["open files"] = int64(len(entries))
	}
	for i, name := range []string{"records of the file", "records in memory"} {
		records, queues, err := m.stacks[i].records()
		if err != nil {
			return nil, err
		}
		s[name] = records
		s["records of queues"] += queues
		s[strings.Replace(name, "records", "operations", 1)] = m.stacks[i].ops.Load()
	}
	return s, nil
}

// inUse returns how many bytes of memory are, after a collection.
func inUse() int64 {
	var mem runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&mem)
	return int64(mem.HeapAlloc)
}

// judge compares the last quarter with the second. Where the machine let more be done in the last, more is there of what is kept for a while.
func (m *meter) judge(r *attack.Run) {
	n := len(m.samples)
	if n < 12 {
		r.Count("samples, too few to judge", int64(n))
		return
	}
	busier := max(1, min(2, m.rate(n-n/4, n)/m.rate(n/4, n/2)))
	for name, swing := range limits {
		second, last := middle(m.samples[n/4:n/2], name), middle(m.samples[n-n/4:], name)
		r.Highest(name, last)
		if name == slowest && m.span/4 < slowestAfter {
			continue
		}
		if most := int64(1.2*busier*float64(second)) + swing; last > most {
			r.Bad("%s: %d in the second quarter of the time, %d in the last; at most %d is taken for steady", name, second, last, most)
		}
	}
}

// rate returns how much more a stack did between two samples than it did on the whole: that of the stack for which it is most.
func (m *meter) rate(from, to int) float64 {
	most := 0.0
	for _, name := range []string{"operations of the file", "operations in memory"} {
		did := float64(m.samples[to-1][name] - m.samples[from][name])
		most = max(most, did/float64(max(1, m.samples[len(m.samples)-1][name])))
	}
	return most / float64(to-from)
}

// middle returns the median of a figure.
func middle(samples []map[string]int64, name string) int64 {
	var all []int64
	for _, s := range samples {
		all = append(all, s[name])
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// atTheEnd looks at what is left once all is empty.
func (m *meter) atTheEnd(r *attack.Run, store *boltstore.Store) error {
	inUse()                     // what pools hold outlives one collection
	const mostMemory = 10 << 20 // the store's overlay of the latest jobs, which may have most of that, connections, maps that do not shrink
	left := inUse() - m.before
	if r.Highest("bytes in use, emptied", left); left > mostMemory {
		r.Bad("when all is emptied %d bytes more are in use than before the load, want at most %d", left, mostMemory)
	}
	if err := store.Check(context.Background()); err != nil {
		return fmt.Errorf("the file at the end: %w", err)
	}
	compact := filepath.Join(filepath.Dir(m.file), "compact.db")
	if err := store.Compact(compact); err != nil {
		return err
	}
	info, err := os.Stat(compact)
	if err != nil {
		return err
	}
	const most = 1 << 20 // of a file that has queues, but no jobs
	if r.Highest("bytes of the file without free pages, emptied", info.Size()); info.Size() > most {
		r.Bad("a file without jobs has %d bytes that are no free pages, want at most %d", info.Size(), most)
	}
	return os.Remove(compact)
}

func stacks() string {
	var text strings.Builder
	pprof.Lookup("goroutine").WriteTo(&text, 1)
	return text.String()[:min(text.Len(), 3000)]
}
