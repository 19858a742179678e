package clocks

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/pollackq/pollack/internal/torture/attack"
)

// Century lives a hundred years in virtual time: ten million windows of five minutes, one after the other, each with a lease that begins with it. Some
// leases lapse, with somebody waiting or nobody; some jobs are acked a microsecond before the end or after it, extended, released, or
// acked by whoever lost them. After each window the time, the counts and the tokens must be exactly what the rules say: not redelivered before
// five minutes are over, redelivered at once when they are and somebody waits (the promise is within a second), never twice. Two processes live fifty
// years each, in memory; a third lives three months with its jobs in a file.
//
// The years are testing/synctest's: a bubble's clock goes on when all its goroutines wait, so that "nothing happens before" can be seen, not only hoped
// for. What real timers do, and what a machine that sleeps does to them, it cannot see.
var Century = &attack.Technique{
	Name:    "century",
	Promise: "a lease of five minutes lapses after five minutes, not before, and who waits has the job within a second (I7, I8, I10)",
	Unit:    "windows",
	CI:      105_120, // a year
	Release: 10_512_000,
	Control: 5_000,
	Minutes: 4,
	Run:     runCentury,
	Child:   liveCentury,
}

// A report is what a child tells of its windows since the last one.
type report struct {
	Windows int
	Figures map[string]int64
	Bad     string
}

func runCentury(r *attack.Run) {
	inFile := r.N / 400
	var wg sync.WaitGroup
	for i, part := range []struct {
		windows int
		kind    string
	}{{(r.N - inFile) / 2, "memory"}, {r.N - inFile - (r.N-inFile)/2, "memory"}, {inFile, "file"}} {
		wg.Go(func() { century(r, i, part.windows, part.kind) })
	}
	wg.Wait()
}

// century has a child live so many windows, and takes down what it tells.
func century(r *attack.Run, i, windows int, kind string) {
	if windows == 0 {
		return
	}
	cmd := attack.Command(r.Context(), "century", strconv.FormatUint(r.Rand(i).Uint64(), 10), strconv.Itoa(windows), kind, r.Dir)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		r.Bad("start: %v", err)
		return
	}
	done := 0
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var told report
		if json.Unmarshal(lines.Bytes(), &told) != nil {
			continue // what package testing says
		}
		for name, n := range told.Figures {
			r.Count(name, n)
		}
		done += told.Windows
		r.Done(told.Windows)
		if told.Bad != "" {
			r.Bad("%s, the windows after %d of child %d: %s", kind, done, i, told.Bad)
		}
	}
	if err := cmd.Wait(); err != nil && !r.Over() {
		r.Bad("%s, child %d: %v after %d windows, see above", kind, i, err, done)
	}
}

// liveCentury is the child. A bubble needs a test, so that is what it runs: the process ends with it.
func liveCentury(args []string) int {
	if len(args) != 4 {
		return 2
	}
	seed, err := strconv.ParseUint(args[0], 10, 64)
	if err != nil {
		return 2
	}
	windows, err := strconv.Atoi(args[1])
	if err != nil {
		return 2
	}
	os.Args = os.Args[:1]
	out := json.NewEncoder(os.Stdout)
	tests := []testing.InternalTest{{Name: "Century", F: func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		const decade = 1_000_000 // windows of a bubble; a new one has a new store
		for windows > 0 && !t.Failed() {
			n := min(windows, decade)
			windows -= n
			synctest.Test(t, func(t *testing.T) {
				if err := liveWindows(rnd, n, args[2], args[3], out); err != nil {
					out.Encode(report{Bad: err.Error()})
					t.Error(err)
				}
			})
		}
	}}}
	testing.Main(func(pat, str string) (bool, error) { return true, nil }, tests, nil, nil)
	fmt.Fprintln(os.Stderr, "testing.Main returned")
	return 2
}
