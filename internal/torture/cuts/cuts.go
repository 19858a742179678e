// Package cuts cuts the power for real, as far as a process sees it: a store works on a disk that is a process of its own, mounted through
// FUSE. It keeps what is written in memory, and tells what was synced from what was not. At a change or sync chosen beforehand it loses
// power: of what was not synced it keeps some sectors or pages, at random, and from then on all fails. The load on it is killed, what is left is
// opened and audited with the ledger of the load's callers, and the next load goes on from there.
//
// In some rounds a sync fails before that, and the disk forgets what it was to write, as ext4 does: readers see it until power is lost. The
// load closes its store and opens it again, and goes on.
//
// Found is what package power finds, with real system calls, maps and page caches in place of a model; and what a failed sync leads to. A
// cut is between two requests to the disk, never within one.
package cuts

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pollackq/pollack/internal/torture/attack"
)

// Technique cuts the power of a disk.
var Technique = &attack.Technique{
	Name:    "cuts",
	Promise: "what was acknowledged survives real losses of power, and syncs that failed before them (I1, I2, I3, I4, I13, I16)",
	Unit:    "cuts",
	CI:      20,
	Release: 2_000,
	Control: 300,
	Minutes: 6,
	Root:    true,
	Files:   []string{"/dev/fuse"},
	Run:     run,
	Child: func(args []string) int {
		n := func(i int) int {
			v, _ := strconv.Atoi(args[i])
			return v
		}
		seed := func(i int) uint64 {
			v, _ := strconv.ParseUint(args[i], 10, 64)
			return v
		}
		var err error
		switch args[0] {
		case "disk":
			err = serve(args[1], args[2], args[3], seed(4), n(5), n(6))
		case "load":
			err = load(args[1], seed(2), n(3), n(4))
		case "audit":
			err = audit(args[1], args[2])
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "cuts: %s: %v\n", args[0], err)
			return 1
		}
		return 0
	},
}

// patience is how long a disk may take to begin, or a cut to come. It is long, since the machine may be busy.
const patience = time.Minute

// lookPatience is how long what was left is looked at, which takes milliseconds unless bbolt goes in circles.
const lookPatience = 20 * time.Second

// chain is how many cuts a file goes through before a new one is begun.
const chain = 10

func run(r *attack.Run) {
	chains := (r.N + chain - 1) / chain
	n := r.N
	r.N = chains
	defer func() { r.N = n }()
	r.Each(2, func(unit int, rnd *rand.Rand) {
		dir := filepath.Join(r.Dir, fmt.Sprint("chain-", unit))
		defer os.RemoveAll(dir)
		c := &cutter{r: r, dir: dir, rnd: rnd, unit: unit}
		if err := c.chain(min(chain, n-unit*chain)); err != nil && !r.Over() {
			r.Bad("chain %d: %v", unit, err)
		}
	})
}

// A cutter does the cuts of one file.
type cutter struct {
	r    *attack.Run
	dir  string
	rnd  *rand.Rand
	unit int
	next int // number of the next operation
}

func (c *cutter) path(name string) string { return filepath.Join(c.dir, name) }

func (c *cutter) chain(cuts int) error {
	for _, name := range []string{"mount", "left-0"} {
		if err := os.MkdirAll(c.path(name), 0o700); err != nil {
			return err
		}
	}
	for i := range cuts {
		bad, err := c.cut(i)
		if err != nil || c.r.Over() {
			return err
		}
		if i > 0 {
			c.r.Done(1) // Each counts the chain as one
		}
		for _, b := range bad {
			c.r.Bad("chain %d, cut %d: %s", c.unit, i, b)
		}
		if len(bad) > 0 {
			return nil
		}
	}
	return nil
}

// cut has a load work until power is lost, and looks at what is left.
func (c *cutter) cut(i int) (bad []string, err error) {
	from, left := c.path(fmt.Sprint("left-", i)), c.path(fmt.Sprint("left-", i+1))
	if err := os.MkdirAll(left, 0o700); err != nil {
		return nil, err
	}
	defer os.RemoveAll(from)
	ledger, err := os.OpenFile(c.path("ledger"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer ledger.Close()
	// Where in a life: while it begins, or later. In every third round a sync fails, and power goes soon after: that is when what
	// readers see and what the disk has may differ.
	cutAt, eioAt := 1+c.rnd.IntN([]int{40, 300, 1200}[c.rnd.IntN(3)]), 0
	if c.rnd.IntN(3) == 0 {
		cutAt, eioAt = 1+c.rnd.IntN(25), 1+c.rnd.IntN(60)
	}
	callers := []int{1, 2, 4, 16}[c.rnd.IntN(4)]
	seed := c.rnd.Uint64()
	if err := c.lose(from, left, ledger, seed, cutAt, eioAt, callers); err != nil {
		return nil, err
	}
	bad, err = c.look(left)
	how := fmt.Sprintf("power lost at change %d of %d callers", cutAt, callers)
	if eioAt > 0 {
		how += fmt.Sprintf(" after sync %d failed", eioAt)
		c.r.Count("failed syncs", 1)
	}
	for k := range bad {
		bad[k] = how + ": " + bad[k]
	}
	return bad, err
}

// lose runs a disk and a load on it until power is lost.
func (c *cutter) lose(from, left string, ledger *os.File, seed uint64, cutAt, eioAt, callers int) error {
	ctx, stop := context.WithTimeout(c.r.Context(), patience)
	defer stop()
	mount := c.path("mount")
	disk := attack.Command(ctx, "cuts", "disk", mount, from, left, fmt.Sprint(seed), fmt.Sprint(cutAt), fmt.Sprint(eioAt))
	out, err := disk.StdoutPipe()
	if err != nil {
		return err
	}
	if err := disk.Start(); err != nil {
		return err
	}
	defer func() {
		disk.Process.Signal(syscall.SIGUSR1)
		disk.Wait()
		syscall.Unmount(mount, syscall.MNT_DETACH) // in case it did not
	}()
	said := bufio.NewReader(out)
	if line, err := said.ReadString('\n'); err != nil || line != "ready\n" {
		return fmt.Errorf("the disk says %q: %w", line, err)
	}
	load := attack.Command(ctx, "cuts", "load", mount, fmt.Sprint(seed), fmt.Sprint(c.next), fmt.Sprint(callers))
	load.ExtraFiles = []*os.File{ledger}
	load.Stderr = io.Discard // that all fails is what is to be
	if err := load.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- load.Wait() }()
	line := make(chan string, 1)
	go func() {
		text, _ := said.ReadString('\n')
		line <- text
	}()
	select {
	case text := <-line:
		load.Process.Kill()
		<-ended
		if !strings.HasPrefix(text, "cut ") {
			return fmt.Errorf("the disk says %q", text)
		}
	case <-ended: // it gave up, as after many failed syncs: then power is lost now
		disk.Process.Signal(syscall.SIGUSR1)
		if text := <-line; !strings.HasPrefix(text, "cut ") {
			return fmt.Errorf("the disk says %q", text)
		}
		c.r.Count("loads that ended before", 1)
	}
	return ctx.Err()
}

// look has a process audit what is left, since that may be its end.
func (c *cutter) look(left string) (bad []string, err error) {
	if _, err := os.Stat(filepath.Join(left, storeName)); errors.Is(err, os.ErrNotExist) {
		c.r.Count("cuts before there was a file", 1)
	}
	ctx, stop := context.WithTimeout(c.r.Context(), lookPatience)
	defer stop()
	cmd := attack.Command(ctx, "cuts", "audit", left, c.path("ledger"))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if c.r.Over() {
		return nil, nil
	}
	for line := range strings.Lines(string(out)) {
		if text, ok := strings.CutPrefix(line, "bad "); ok {
			bad = append(bad, strings.TrimSuffix(text, "\n"))
		} else if n, ok := strings.CutPrefix(line, "next "); ok {
			fmt.Sscan(n, &c.next)
		}
	}
	if err != nil {
		bad = append(bad, fmt.Sprintf("the process that looked at what was left ended: %v\n%.2000s", err, stderr.String()))
	}
	return bad, nil
}
