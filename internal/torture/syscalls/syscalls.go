// Package syscalls kills a process at each of its system calls that change files, one life for each call.
//
// The life is a scripted one of 200 operations by one caller: the first open of a file that is not there, a mixed load, close, open again,
// more load, close. It is counted once, then lived again and again, each time a call longer. After each death the file is opened here:
// there is either none, and a new store is made, or it is whole; the ledger must agree with it (I1, I2, I3, I4, I16), bbolt's pages and
// all records must be sound, and a job must go through it.
//
// The calls are counted over all threads. Where threads race a point may be met a call earlier or later than counted; two lives differ by
// a handful of calls at the end, so a few of the last points are not met and are counted apart. What was not synced is not lost by a kill:
// that is the power technique's to find.
package syscalls

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/pollackq/pollack/internal/torture/attack"
	"github.com/pollackq/pollack/internal/torture/life"
	"github.com/pollackq/pollack/internal/torture/syscalls/ram"
	"github.com/pollackq/pollack/internal/torture/syscalls/trace"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/boltstore"
)

const techniqueName = "syscalls"

// Technique kills at every system call.
var Technique = &attack.Technique{
	Name:    techniqueName,
	Promise: "killed at any system call, the first open included, the next open finds a whole store or none, and all that was acknowledged (I1-I4, I16)",
	Unit:    "points",
	CI:      300,
	Release: 5000, // more than there are: every one
	Control: 150,
	Minutes: 2,
	Run:     run,
	Child:   child,
}

// patience is how long a life may take.
const patience = 60 * time.Second

func run(r *attack.Run) {
	if !trace.Supported {
		r.Count("only on Linux and amd64", 1)
		return
	}
	dir, remove := ram.Dir(r)
	defer remove()
	total := 0
	if status := liveTraced(r, filepath.Join(dir, "count"), 0, &total); r.Over() {
		return
	} else if !status.Exited() || status.ExitStatus() != 0 {
		r.Bad("the life that is only counted ended with %v", status)
		return
	}
	r.Count("points there are", int64(total))
	points := Choose(total, r.N, r.Rand(-1))
	r.N = len(points)
	r.Each(2, func(unit int, _ *rand.Rand) {
		point(r, filepath.Join(dir, fmt.Sprint("point", unit)), points[unit])
	})
}

// Choose returns so many points of 1 to total, all if there are no more than that, else spread evenly from a random one on.
func Choose(total, n int, rnd *rand.Rand) []int {
	n = min(n, total)
	points := make([]int, n)
	from := rnd.Float64()
	for i := range points {
		points[i] = 1 + int((float64(i)+from)*float64(total)/float64(n))
	}
	return points
}

// liveTraced lives a life in a folder, which it makes, and kills it before the call of that number. It counts the calls.
func liveTraced(r *attack.Run, dir string, kill int, calls *int) syscall.WaitStatus {
	ctx, stop := context.WithTimeout(r.Context(), patience)
	defer stop()
	if err := os.Mkdir(dir, 0o700); err != nil {
		r.Bad("%v", err)
		return 0
	}
	ledger, err := os.OpenFile(ledgerOf(dir), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		r.Bad("%v", err)
		return 0
	}
	defer ledger.Close()
	cmd := attack.Command(ctx, techniqueName, fileOf(dir), fmt.Sprint(r.Seed))
	status, err := trace.Run(ctx, cmd.Path, cmd.Args[1:], append(cmd.Env, "GOMAXPROCS=1"), []*os.File{nil, nil, os.Stderr, ledger},
		func(c *trace.Call) trace.Decision {
			*calls = c.N
			return trace.Decision{Kill: c.N == kill}
		})
	if err != nil {
		r.Bad("tracing: %v", err)
	}
	return status
}

func fileOf(dir string) string   { return filepath.Join(dir, "jobs.db") }
func ledgerOf(dir string) string { return filepath.Join(dir, "ledger") }

// point kills a life and looks at what it left.
func point(r *attack.Run, dir string, n int) {
	defer os.RemoveAll(dir)
	calls := 0
	status := liveTraced(r, dir, n, &calls)
	switch {
	case r.Over():
		return
	case status.Exited() && status.ExitStatus() == 0 && calls < n:
		r.Count("points not met", 1)
	case !status.Signaled() || status.Signal() != syscall.SIGKILL || calls < n:
		r.Bad("point %d: the process ended with %v after %d calls, not by being killed", n, status, calls)
		return
	}
	for _, what := range Inspect(r.Context(), fileOf(dir), ledgerOf(dir), options) {
		r.Bad("killed before call %d: %s", n, what)
	}
}

// Inspect opens a file that a process left, and says what of it does not agree with the process's ledger, is unsound or does not work.
func Inspect(ctx context.Context, file, ledgerFile string, o *jobqueue.Options) (bad []string) {
	f, err := os.Open(ledgerFile)
	if err != nil {
		return []string{err.Error()}
	}
	defer f.Close()
	ledger, err := life.Read(f)
	if err != nil {
		return []string{"the ledger: " + err.Error()}
	}
	if _, err := os.Stat(file); err == nil {
		if err := boltstore.Verify(file); err != nil {
			bad = append(bad, err.Error())
		}
	}
	store, err := boltstore.Open(file, nil)
	if err != nil {
		return append(bad, err.Error())
	}
	bad = append(bad, ledger.Audit(ctx, store, o)...)
	if err := errors.Join(works(ctx, store, o), store.Close()); err != nil {
		bad = append(bad, err.Error())
	}
	if ctx.Err() != nil {
		return nil
	}
	return bad
}

// works has a job go through a store.
func works(ctx context.Context, store *boltstore.Store, o *jobqueue.Options) error {
	b, err := jobqueue.New(store, o)
	if err != nil {
		return err
	}
	q := b.Queue("works")
	_, err = q.Enqueue(ctx, jobqueue.NewJob{Payload: []byte("works")})
	if err != nil {
		return fmt.Errorf("enqueue: %w", err)
	}
	d, err := q.TryReceive(ctx, nil)
	if err != nil {
		return fmt.Errorf("receive: %w", err)
	}
	return errors.Join(d.Ack(ctx), b.Shutdown(ctx))
}
