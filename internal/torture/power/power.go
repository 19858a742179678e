// Package power cuts the power, as far as a program can: it traces the writes and the syncs of a store, and builds from them the files that
// a loss of power at any moment may leave.
//
// A script, a process of its own, plays a life on a new file under strace. The trace has each write to the file, each sync, each change of a
// name in the folder, and each line of the ledger that the script's callers keep. So it is known for each moment what had to be durable, what
// may have been, and what had been promised. A state is drawn for a moment: what was synced, and of what was not a prefix, a subset, or
// pieces of 512, 2048 or 4096 bytes; file sizes and names as of then or later. A sync covers what was over before it began. Each state
// is put into a file and opened. It must pass the store's check and the audit with the ledger as it stood, deliver nothing that had ended, and go on working.
//
// Found is what is promised before it is durable, what is written in the wrong order, and what does not bear to be torn. Not found is what a
// disk does against its word: sectors that rot, syncs that do nothing, blocks that show older contents of other files. Names follow
// POSIX: they are durable when the folder has been synced, though most file systems do better.
package power

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/pollackq/pollack/internal/torture/attack"
	"github.com/pollackq/pollack/internal/torture/life"
)

// Technique cuts the power at moments of a trace.
var Technique = &attack.Technique{
	Name:    "power",
	Promise: "what was acknowledged survives a loss of power, whole and consistent, from the first open on (I1, I2, I3, I4, I16)",
	Unit:    "states",
	CI:      20_000,
	Release: 1_000_000,
	Control: 4_000,
	Minutes: 16,
	Needs:   []string{"strace"},
	Run:     run,
	Child: func(args []string) int {
		do := map[string]func([]string) error{"script": script, "check": check}[args[0]]
		if err := do(args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, "power:", args[0]+":", err)
			return 1
		}
		return 0
	},
}

const (
	// workers is how many workloads are looked at at a time.
	workers = 2
	// patience is how long one state may take. It is long, since the machine may be busy.
	patience = time.Minute
)

func run(r *attack.Run) {
	count := max(4, min(50, r.N/20_000))
	dir := r.Dir
	if shm, err := fast(); err == nil {
		defer os.RemoveAll(shm)
		dir = shm
	}
	next := make(chan workload, count)
	for _, w := range plan(count, r.N, func(i int) uint64 { return r.Rand(i).Uint64() }) {
		next <- w
	}
	close(next)
	ended := make(chan struct{})
	for range workers {
		go func() {
			for w := range next {
				if r.Over() {
					break
				}
				one(r, &w, filepath.Join(dir, fmt.Sprint("workload-", w.Number)))
			}
			ended <- struct{}{}
		}()
	}
	for range workers {
		<-ended
	}
}

// fast returns a folder in memory, if there is room: states are many, and none needs a disk.
func fast() (string, error) {
	const room = 1 << 30
	var fs syscall.Statfs_t
	if err := syscall.Statfs("/dev/shm", &fs); err != nil || int64(fs.Bavail)*fs.Bsize < room {
		return "", errors.New("no room in memory")
	}
	return os.MkdirTemp("/dev/shm", "torture-power-")
}

// one records a workload and looks at its states.
func one(r *attack.Run, w *workload, dir string) {
	defer os.RemoveAll(dir)
	start := time.Now()
	if err := record(r.Context(), w, dir); err != nil {
		if !r.Over() {
			r.Bad("workload %d (%s, seed %d) cannot be recorded: %v", w.Number, w.Name, w.Seed, err)
		}
		return
	}
	r.Count("ms to record", time.Since(start).Milliseconds())
	r.Count("workloads", 1)
	lookAt(r, w, dir)
}

// lookAt looks at the states of a workload that was recorded.
func lookAt(r *attack.Run, w *workload, dir string) {
	skip := 0
	for !r.Over() {
		at, what, why := watch(r, w, dir, skip)
		if why == "" || r.Over() {
			return
		}
		// The state ended the process that looked at it: go on behind it.
		r.Count("states that ended a process", 1)
		r.Bad("workload %d (%s, seed %d), state %d, %s: %s", w.Number, w.Name, w.Seed, at, what, why)
		if at <= skip {
			return // it did not come to any state
		}
		skip = at
	}
}

// record runs the script of a workload under strace.
func record(ctx context.Context, w *workload, dir string) error {
	store, before := filepath.Join(dir, "store"), filepath.Join(dir, "before")
	if err := errors.Join(os.MkdirAll(store, 0o700), os.MkdirAll(before, 0o700)); err != nil {
		return err
	}
	first, err := begun(w, dir, store, before)
	if err != nil {
		return err
	}
	var files []*os.File
	for _, name := range []string{"ledger", "marks"} {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		defer f.Close()
		files = append(files, f)
	}
	cmd := attack.Command(ctx, "power", "script", store, w.encode(), fmt.Sprint(first))
	strace, err := exec.LookPath("strace")
	if err != nil {
		return err
	}
	cmd.Args = append([]string{strace, "-f", "--seccomp-bpf", "-qq", "-xx", "-s", "100000000", "-e", "signal=none", "-e", "trace=" + calls,
		"-o", filepath.Join(dir, "trace"), cmd.Path}, cmd.Args[1:]...)
	cmd.Path = strace
	cmd.ExtraFiles = files // the script's descriptors 3 and 4
	return cmd.Run()
}

// begun makes the file that is there before the trace, if there is to be one, and returns the number of the script's first operation.
func begun(w *workload, dir, store, before string) (int, error) {
	ledger, err := os.Create(filepath.Join(dir, "ledger-before"))
	if err != nil {
		return 0, err
	}
	defer ledger.Close()
	if !w.Begun {
		return 0, nil
	}
	if err := w.prepare(store, ledger); err != nil {
		return 0, err
	}
	there, err := contents(store)
	for name, b := range there {
		err = errors.Join(err, os.WriteFile(filepath.Join(before, name), b, 0o600))
	}
	if err != nil {
		return 0, err
	}
	if _, err := ledger.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	l, err := life.Read(ledger)
	if err != nil {
		return 0, err
	}
	return l.Last() + 1, nil
}

// watch has a process look at the states behind the first so many. It returns at which state that process ended, and why, "" if it was done.
func watch(r *attack.Run, w *workload, dir string, skip int) (at int, what, why string) {
	ctx, stop := context.WithCancel(r.Context())
	defer stop()
	cmd := attack.Command(ctx, "power", "check", dir, w.encode(), fmt.Sprint(skip))
	stderr := new(strings.Builder)
	cmd.Stderr = stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, "", err.Error()
	}
	if err := cmd.Start(); err != nil {
		return 0, "", err.Error()
	}
	hung := time.AfterFunc(patience, stop)
	at = skip
	in := bufio.NewReader(out)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			break
		}
		hung.Reset(patience)
		word, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		switch word {
		case "at":
			if at > skip {
				r.Done(1)
			}
			var number string
			number, what, _ = strings.Cut(rest, " ")
			fmt.Sscan(number, &at)
		case "bad":
			r.Bad("workload %d (%s, seed %d), state %d, %s: %s", w.Number, w.Name, w.Seed, at, what, rest)
		case "is":
			name, n := "", int64(0)
			fmt.Sscan(rest, &name, &n)
			r.Count(figures[name], n)
		}
	}
	waited := cmd.Wait()
	alive := hung.Stop()
	if r.Over() {
		return at, what, ""
	}
	if at > skip {
		r.Done(1)
	}
	switch {
	case !alive:
		return at, what, fmt.Sprintf("it took longer than %v", patience)
	case waited != nil:
		return at, what, fmt.Sprintf("the process that looked at it ended: %v\n%s", waited, head(stderr.String()))
	}
	return at, what, ""
}

// figures are what a process says that there was.
var figures = map[string]string{
	"alike": "skipped since alike", "contents": "different contents", "copies": "copies of Compact", "events": "events traced",
}

func head(s string) string { return s[:min(len(s), 3000)] }
