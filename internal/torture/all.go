package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/pollackq/pollack/internal/torture/attack"
	"github.com/pollackq/pollack/internal/torture/planted"
)

// all looks whether the planted faults are found, and then runs the techniques one after the other, each in a process of its own.
func all(ctx context.Context, chosen []*attack.Technique, faults []*planted.Fault, o options, out io.Writer) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "seed %d, commit %s\n", o.seed, commit(ctx))
	if o.ci {
		faults = covering(faults)
	}
	start := time.Now()
	missed, err := controls(ctx, faults, o, out)
	if err != nil {
		return err
	}
	left := o.span - time.Since(start)
	t := newTable(out, o.ci)
	broken := 0
	for i, technique := range chosen {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		n := technique.Release
		if o.ci {
			n = technique.CI
		}
		if o.n > 0 {
			n = o.n
		}
		start := time.Now()
		r := run(ctx, program, technique, o, n, share(chosen[i:], o.ci, left), false)
		left -= time.Since(start)
		broken += len(r.Bad)
		t.row(technique, n, r)
	}
	t.end()
	switch {
	case broken > 0:
		return fmt.Errorf("%d promises broken", broken)
	case missed > 0:
		return fmt.Errorf("%d planted faults not found", missed)
	}
	return nil
}

// share is how much of the time that is left the first of the techniques may take: its part of what all of them are expected to.
func share(rest []*attack.Technique, ci bool, left time.Duration) time.Duration {
	if ci {
		return max(left, time.Second) // what CI does is little, and chosen; the last takes what is left
	}
	sum := 0.0
	for _, t := range rest {
		sum += t.Minutes
	}
	return max(time.Duration(float64(left)*rest[0].Minutes/sum), time.Second)
}

// patience is how long a technique may take to end when its time is over.
const patience = time.Minute

// run runs one technique in a process of its own, whose death is a finding, and so is that it does not end.
func run(ctx context.Context, program string, t *attack.Technique, o options, n int, span time.Duration, control bool) attack.Result {
	if why := attack.Missing(ctx, t); why != "" {
		return attack.Result{Name: t.Name, Skipped: why}
	}
	fmt.Fprintf(os.Stderr, "%s: %d %s, at most %v\n", t.Name, n, t.Unit, span.Round(time.Second))
	start := time.Now()
	var stdout, stderr bytes.Buffer
	ctx, stop := context.WithTimeout(ctx, span+patience)
	defer stop()
	cmd := exec.CommandContext(ctx, program, "-inside", "-n", fmt.Sprint(n), "-seed", fmt.Sprint(o.seed), "-for", span.String(), "-dir", o.dir,
		fmt.Sprintf("-control=%t", control), t.Name)
	cmd.Stdout = &stdout
	cmd.Stderr = &stderr
	if !control {
		cmd.Stderr = io.MultiWriter(os.Stderr, &stderr)
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	err := cmd.Run()
	var r attack.Result
	if jsonErr := json.Unmarshal(stdout.Bytes(), &r); err != nil || jsonErr != nil {
		return attack.Result{Name: t.Name, Seed: o.seed, Seconds: time.Since(start).Seconds(), Died: true,
			Bad: []string{fmt.Sprintf("the technique's process died: %v\n%s", errors.Join(err, jsonErr), tail(stderr.String()))}}
	}
	return r
}

func tail(s string) string {
	const most = 4000
	if len(s) > most {
		s = s[:most/2] + "\n...\n" + s[len(s)-most/2:]
	}
	return s
}

// covering chooses faults such that each technique has one to find, but for those that take long: what a change has time for.
func covering(faults []*planted.Fault) (some []*planted.Fault) {
	covered := make(map[string]bool)
	for _, f := range faults {
		if !f.Slow && slices.ContainsFunc(f.By, func(by string) bool { return !covered[by] && !strings.Contains(by, " ") }) {
			some = append(some, f)
			for _, by := range f.By {
				covered[by] = true
			}
		}
	}
	return some
}

// controls plants each fault and looks whether what is to find it does.
func controls(ctx context.Context, faults []*planted.Fault, o options, out io.Writer) (missed int, err error) {
	if len(faults) == 0 {
		return 0, nil
	}
	fmt.Fprintf(out, "\n| planted fault | what | found by |\n|---|---|---|\n")
	for _, f := range faults {
		start := time.Now()
		found, errs := f.Plant(ctx, func(program, technique string) (string, error) {
			for _, t := range techniques {
				if t.Name != technique {
					continue
				}
				r := run(ctx, program, t, o, t.Control, time.Minute, true)
				switch {
				case r.Skipped != "":
					return "skipped: " + r.Skipped, nil
				case len(r.Bad) == 0 && r.Done == 0:
					return "skipped: nothing could be done here", nil
				case len(r.Bad) == 0:
					return "", fmt.Errorf("%s did not find it in %d %s, seed %d", t.Name, r.Done, t.Unit, o.seed)
				case r.Died:
					return "its process died", nil
				}
				return fmt.Sprintf("after %d %s", r.Done, t.Unit), nil
			}
			return "", fmt.Errorf("there is no technique %q", technique)
		})
		fmt.Fprintf(os.Stderr, "%s: %v\n", f.Name, time.Since(start).Round(time.Second))
		fmt.Fprintf(out, "| %s | %s | %s |\n", f.Name, f.What, strings.Join(found, "; "))
		for _, err := range errs {
			missed++
			fmt.Fprintf(os.Stderr, "MISSED: %s: %v\n", f.Name, err)
			fmt.Fprintf(out, "| %s | | **missed**: %v |\n", f.Name, err)
		}
	}
	return missed, ctx.Err()
}

func commit(ctx context.Context) string {
	b, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty", "--abbrev=12").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(b))
}
