// Package kill kills processes (SIGKILL) under load, and stops clients for longer than their leases.
//
// Technique kill: a child plays a mixed load on one file, by 1, 8 or 100 callers, who keep a ledger on a pipe; or it serves HTTP, and the
// callers and their ledger are here. It is killed at a random moment, also while it opens the file. Then the file is opened here and
// compared with the ledgers of all its lives, and the next life goes on with it: nothing that was acknowledged is lost (I1), nothing is
// there that nobody asked for (I2), nothing that had ended comes back (I3), the indexes agree with the jobs (I4), and no two leases or
// settlements of one delivery stand beside each other (I5, I6). After ten lives a file is drained and a new one begun, so that a ledger
// stays small. Half of the files keep what has ended; in a third of the lives leases last a second, and lapse.
//
// A kill leaves to the disk what the process wrote, synced or not: what a loss of power leaves is the power technique's to find. The moments
// are random; package syscalls has them all, for one caller.
//
// Technique stale: see stale.go.
package kill

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pollackq/pollack/internal/torture/attack"
	"github.com/pollackq/pollack/internal/torture/life"
	"github.com/pollackq/pollack/internal/torture/syscalls/ram"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/boltstore"
)

const techniqueName = "kill"

// Technique kills processes at random moments.
var Technique = &attack.Technique{
	Name:    techniqueName,
	Promise: "killed at any moment under load: nothing acknowledged is lost, nothing ended comes back, no lease is granted twice (I1-I6)",
	Unit:    "rounds",
	CI:      120,
	Release: 10_000,
	Control: 150,
	Minutes: 10,
	Run:     run,
	Child:   child,
}

const (
	livesOfFile = 10
	patience    = 30 * time.Second // for a child to begin, and to tell
)

func run(r *attack.Run) {
	memory, remove := ram.Dir(r)
	defer remove()
	for _, figure := range []string{lost, phantom, resurrected, double} {
		r.Count(figure, 0)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	next := 0 // the first round of the next file
	for range 2 {
		wg.Go(func() {
			for {
				mu.Lock()
				first := next
				next += livesOfFile
				mu.Unlock()
				if first >= r.N || r.Over() {
					return
				}
				f := newFile(r, first, memory)
				f.rounds(min(livesOfFile, r.N-first))
				os.RemoveAll(f.dir)
			}
		})
	}
	wg.Wait()
}

// The figures beside.
const lost, phantom, resurrected, double, others = "lost", "not asked for", "resurrected", "double", "otherwise broken"

// A file lives several lives.
type file struct {
	*attack.Run
	first   int // round
	rnd     *rand.Rand
	dir     string
	path    string
	ledger  *life.Ledger
	callers int
	kept    bool
	serve   bool
	large   bool
}

func newFile(r *attack.Run, first int, memory string) *file {
	f := &file{Run: r, first: first, rnd: r.Rand(first)}
	f.ledger, _ = life.Read(strings.NewReader(""))
	f.callers = []int{1, 8, 100}[f.rnd.IntN(3)]
	f.kept, f.large, f.serve = f.rnd.IntN(2) == 0, f.rnd.IntN(5) == 0, f.rnd.IntN(6) == 0
	where := memory
	if f.rnd.IntN(6) == 0 {
		where = r.Dir
	}
	f.dir = filepath.Join(where, fmt.Sprint("kill", first))
	f.path = filepath.Join(f.dir, "jobs.db")
	return f
}

// broken tells of a broken promise, and counts it by its kind.
func (f *file) broken(round int, what string) {
	kind := others
	for figure, word := range map[string]string{lost: "(I1)", phantom: "(I2)", resurrected: "(I3)", double: "(I6)"} {
		if strings.Contains(what, word) {
			kind = figure
		}
	}
	if strings.Contains(what, "(I5)") {
		kind = double
	}
	f.Count(kind, 1)
	f.Bad("round %d (life %d of its file, %d callers, kept %t, HTTP %t): %s", round, round-f.first+1, f.callers, f.kept, f.serve, what)
}

// rounds lives so many lives and ends each.
func (f *file) rounds(n int) {
	if err := os.Mkdir(f.dir, 0o700); err != nil {
		f.Bad("%v", err)
		return
	}
	for round := f.first; round < f.first+n && !f.Over(); round++ {
		if !f.round(round, round == f.first+n-1) {
			return
		}
		f.Done(1)
	}
}

// round lives one life, kills it and audits the file. It reports whether another one makes sense.
func (f *file) round(round int, last bool) bool {
	o := order{File: f.path, Kept: f.kept, Serve: f.serve}
	o.Load = life.Load{Seed: f.rnd.Uint64(), Callers: f.callers, Large: f.large, First: f.ledger.Last() + 1}
	if f.rnd.IntN(3) == 0 {
		o.Load.Lease = jobqueue.MinLease
	}
	ledger, why := f.live(o)
	if f.Over() {
		return false
	}
	if why != "" {
		f.broken(round, why)
		return false
	}
	f.Count("operations answered", int64(bytes.Count(ledger.Bytes(), []byte("\ne "))))
	if ledger.Len() == 0 {
		f.Count("killed before the first operation", 1)
	}
	if f.serve {
		f.Count("rounds over HTTP", 1)
	}
	if _, err := f.ledger.ReadFrom(ledger); err != nil {
		f.broken(round, err.Error())
		return false
	}
	bad := f.audit(o.options(), last)
	if f.Context().Err() != nil {
		return false // what was under way is not to be counted
	}
	for _, what := range bad {
		f.broken(round, what)
	}
	return len(bad) == 0
}

// audit opens the file that was left.
func (f *file) audit(o *jobqueue.Options, last bool) []string {
	store, err := boltstore.Open(f.path, nil)
	if err != nil {
		return []string{err.Error()}
	}
	defer store.Close()
	bad := f.ledger.Audit(f.Context(), store, o)
	if !last {
		return bad
	}
	b, err := jobqueue.New(store, o)
	if err != nil {
		return append(bad, err.Error())
	}
	defer b.Shutdown(context.WithoutCancel(f.Context()))
	return append(bad, f.ledger.Drain(f.Context(), b)...)
}

// A moment is when a life ends: so long after it has begun, or after it told so much, when that is more than nothing.
type moment struct {
	lines int
	then  time.Duration
}

func (f *file) moment() moment {
	if f.rnd.IntN(5) == 0 {
		return moment{then: time.Duration(f.rnd.Int64N(int64(6 * time.Millisecond)))} // about as long as an open takes
	}
	return moment{lines: 1 + f.rnd.IntN(40+8*f.callers), then: time.Duration(f.rnd.Int64N(int64(time.Millisecond)))}
}

// live lives one life and returns its ledger, or why it did not end by being killed.
func (f *file) live(o order) (ledger *bytes.Buffer, why string) {
	arg, err := json.Marshal(o)
	if err != nil {
		return nil, err.Error()
	}
	in, out, err := os.Pipe()
	if err != nil {
		return nil, err.Error()
	}
	defer in.Close()
	cmd := attack.Command(f.Context(), techniqueName, string(arg))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	cmd.ExtraFiles = []*os.File{out}
	err = cmd.Start()
	out.Close()
	if err != nil {
		return nil, err.Error()
	}
	late := time.AfterFunc(patience, func() { cmd.Process.Kill() })
	defer late.Stop()
	told := bufio.NewReader(in)
	line, _ := told.ReadString('\n')
	when := f.moment()
	kept := new(bytes.Buffer)
	if line == begun {
		if f.serve {
			f.clients(told, o.Load, when, cmd, kept)
		} else {
			listen(told, when, cmd, kept)
		}
	}
	err = cmd.Wait()
	if !killed(err) {
		return nil, fmt.Sprintf("the process was not killed, but ended with %v: %s", err, stderr.String()[:min(stderr.Len(), 2000)])
	}
	if !late.Stop() {
		return nil, fmt.Sprintf("it told nothing for %v", patience)
	}
	return kept, ""
}

// listen takes down the ledger that a child tells, and kills it at its moment.
func listen(told *bufio.Reader, when moment, cmd *exec.Cmd, ledger *bytes.Buffer) {
	end := func() { time.AfterFunc(when.then, func() { cmd.Process.Kill() }) }
	if when.lines == 0 {
		end()
	}
	for n := 1; ; n++ {
		line, err := told.ReadString('\n')
		ledger.WriteString(line)
		if err != nil {
			return
		}
		if n == when.lines {
			end()
		}
	}
}

// killed reports whether an error of Wait says that the process was killed.
func killed(err error) bool {
	exit, ok := err.(*exec.ExitError)
	if !ok {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}
