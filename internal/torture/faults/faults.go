// Package faults has each system call of a store on a disk fail once, one life for each call and way to fail.
//
// The life is a scripted one of 200 operations by one caller: the first open of a file that is not there, a mixed load, close, open again,
// more load, close. Its calls are counted once. Then it is lived again and again, and the Nth write fails with EIO or ENOSPC, or writes
// but half, or takes long; likewise the Nth sync, truncation, open, link. In other lives there are fifty callers who wait for one commit.
// The process that lives goes on as a server should: where the outcome is unknown it sees that the store refuses all work, closes it
// and opens the file again; where the store is full it goes on with the same one. What must hold (I13, I14):
//
//   - The process does not die or hang, and each caller gets an answer.
//   - A write or sync that failed with EIO is told to somebody; a commit's as an unknown outcome. A slow or short one is told to nobody.
//   - ENOSPC before the commit has taken effect is never an unknown outcome: it is full, or it fits at the second attempt.
//   - Afterwards the ledger agrees with the file: what was acknowledged is there, what was refused is not, what is unknown is either.
//
// What the disk forgets after a failed sync is not seen here, since the page cache keeps it: that is the power technique's to find. The
// kinds of failure that need a real disk at its limits are in package full.
package faults

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pollackq/pollack/internal/torture/attack"
	"github.com/pollackq/pollack/internal/torture/syscalls"
	"github.com/pollackq/pollack/internal/torture/syscalls/ram"
	"github.com/pollackq/pollack/internal/torture/syscalls/trace"
	"github.com/pollackq/pollack/jobqueue"
)

const techniqueName = "faults"

// Technique has every system call fail.
var Technique = &attack.Technique{
	Name: techniqueName,
	Promise: "any write, sync, truncate or open may fail (EIO, ENOSPC, short, slow): unknown is told as unknown, full as full, each caller is answered " +
		"and nothing acknowledged is lost (I13, I14)",
	Unit:    "points",
	CI:      100,
	Release: 20000, // more than there are: every one
	Control: 120,
	Minutes: 7,
	Run:     run,
	Child:   child,
}

const (
	patience    = 60 * time.Second // for a life
	crowd       = 50
	crowdPoints = 400
	slow        = 30 * time.Millisecond
)

// A point is a system call, and how it fails.
type point struct {
	callers int
	kind    string
	nth     int
	how     trace.Decision
	hit     bool
}

func (p *point) String() string {
	how := "writes half"
	switch {
	case p.how.Error != 0:
		how = p.how.Error.Error()
	case p.how.Delay != 0:
		how = "slow"
	}
	return fmt.Sprintf("%s %d of %d callers: %s", p.kind, p.nth, p.callers, how)
}

// failures are the ways in which calls fail.
var failures = map[string][]trace.Decision{
	"openat":    {{Error: syscall.EIO}, {Error: syscall.ENOSPC}, {Error: syscall.EMFILE}},
	"pwrite64":  {{Error: syscall.EIO}, {Error: syscall.ENOSPC}, {Short: true}},
	"fdatasync": {{Error: syscall.EIO}, {Error: syscall.ENOSPC}},
	"fsync":     {{Error: syscall.EIO}, {Error: syscall.ENOSPC}},
	"ftruncate": {{Error: syscall.EIO}, {Error: syscall.ENOSPC}, {Error: syscall.EFBIG}},
	"fallocate": {{Error: syscall.EIO}, {Error: syscall.ENOSPC}, {Error: syscall.EOPNOTSUPP}},
	"linkat":    {{Error: syscall.EIO}, {Error: syscall.ENOSPC}, {Error: syscall.EPERM}},
	"renameat":  {{Error: syscall.EIO}},
	"unlinkat":  {{Error: syscall.EIO}},
	"mmap":      {{Error: syscall.ENOMEM}},
	"flock":     {{Error: syscall.ENOLCK}},
}

func run(r *attack.Run) {
	if !trace.Supported {
		r.Count("only on Linux and amd64", 1)
		return
	}
	dir, remove := ram.Dir(r)
	defer remove()
	points := append(pointsOf(r, dir, 1), pointsOf(r, dir, crowd)...)
	if r.Over() {
		return
	}
	r.Count("points there are", int64(len(points)))
	chosen := syscalls.Choose(len(points), r.N, r.Rand(-1))
	r.N = len(chosen)
	r.Each(2, func(unit int, _ *rand.Rand) {
		p := points[chosen[unit]-1]
		try(r, filepath.Join(dir, fmt.Sprint("point", unit)), &p)
	})
}

// pointsOf lives a life in which nothing fails and returns the points it has; of many callers' so many drawn at random, since no two such
// lives are the same.
func pointsOf(r *attack.Run, dir string, callers int) []point {
	counts := make(map[string]int)
	none := &point{callers: callers}
	l := live(r, filepath.Join(dir, fmt.Sprint("count", callers)), none, counts)
	if r.Over() {
		return nil
	}
	if !l.status.Exited() || l.status.ExitStatus() != 0 || len(l.reports) > 0 {
		r.Bad("the life that is only counted ended with %v, %q", l.status, l.reports)
	}
	var points []point
	for _, kind := range slices.Sorted(maps.Keys(failures)) {
		for nth := range counts[kind] {
			for _, how := range failures[kind] {
				points = append(points, point{callers: callers, kind: kind, nth: nth + 1, how: how})
			}
			if (kind == "pwrite64" || kind == "fdatasync") && nth%8 == 0 {
				points = append(points, point{callers: callers, kind: kind, nth: nth + 1, how: trace.Decision{Delay: slow}})
			}
		}
	}
	if callers > 1 {
		r.Rand(-callers).Shuffle(len(points), func(i, k int) { points[i], points[k] = points[k], points[i] })
		points = points[:min(len(points), crowdPoints)]
	}
	return points
}

// A lived life is what it left.
type lived struct {
	status  syscall.WaitStatus
	late    bool
	reports []string
	stderr  string
}

func fileOf(dir string) string { return filepath.Join(dir, "jobs.db") }

// live lives a life in a folder, which it makes. The point's call fails; the calls are counted by kind.
func live(r *attack.Run, dir string, p *point, counts map[string]int) (l lived) {
	ctx, stop := context.WithTimeout(r.Context(), patience)
	defer stop()
	fail := func(err error) lived {
		r.Bad("%v: %v", p, err)
		return l
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fail(err)
	}
	files := []*os.File{nil, nil}
	for _, name := range []string{"stderr", "ledger", "report"} {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return fail(err)
		}
		defer f.Close()
		files = append(files, f)
	}
	cmd := attack.Command(ctx, techniqueName, fileOf(dir), fmt.Sprint(r.Seed), fmt.Sprint(p.callers))
	env := cmd.Env
	if p.callers == 1 {
		env = append(env, "GOMAXPROCS=1") // so that two lives are alike
	}
	var err error
	l.status, err = trace.Run(ctx, cmd.Path, cmd.Args[1:], env, files, func(c *trace.Call) trace.Decision {
		counts[c.Kind] = c.Nth
		if c.Kind == p.kind && c.Nth == p.nth {
			p.hit = true
			return p.how
		}
		return trace.Decision{}
	})
	if err != nil {
		return fail(err)
	}
	l.late = ctx.Err() != nil
	report, err := os.ReadFile(filepath.Join(dir, "report"))
	if err != nil {
		return fail(err)
	}
	l.reports = strings.Split(strings.TrimSuffix(string(report), "\n"), "\n")
	if len(report) == 0 {
		l.reports = nil
	}
	stderr, err := os.ReadFile(filepath.Join(dir, "stderr"))
	if err != nil {
		return fail(err)
	}
	l.stderr = string(stderr[:min(len(stderr), 2000)])
	return l
}

// try lives a life with a failure in it and looks at what it told and left.
func try(r *attack.Run, dir string, p *point) {
	defer os.RemoveAll(dir)
	l := live(r, dir, p, make(map[string]int))
	if r.Over() {
		return
	}
	if !p.hit {
		r.Count("points not met", 1)
	}
	if l.late {
		r.Bad("%v: after %v it had not ended; it told %q", p, patience, l.reports)
		return
	}
	if !l.status.Exited() || l.status.ExitStatus() != 0 {
		r.Bad("%v: it died: %v; it told %q; %s", p, l.status, l.reports, l.stderr)
	}
	for _, what := range judge(p, l.reports) {
		r.Bad("%v: %s; it told %q", p, what, l.reports)
	}
	for _, what := range syscalls.Inspect(r.Context(), fileOf(dir), filepath.Join(dir, "ledger"), options) {
		r.Bad("%v: %s; it told %q", p, what, l.reports)
	}
	for _, what := range answers(filepath.Join(dir, "ledger")) {
		r.Bad("%v: %s; it told %q", p, what, l.reports)
	}
	count(r, l.reports)
}

// judge says what is wrong with what was told of a failure.
func judge(p *point, reports []string) (bad []string) {
	// A fallocate that fails leaves the disk as it is: only what is full is anybody's business.
	writes := slices.Contains([]string{"pwrite64", "fdatasync", "fsync", "ftruncate"}, p.kind)
	if p.hit && writes && p.how.Error == syscall.EIO && len(reports) == 0 {
		bad = append(bad, "nobody was told (I13)")
	}
	if p.how.Error == 0 && len(reports) > 0 {
		bad = append(bad, "there was nothing to tell")
	}
	for _, line := range reports {
		where, rest, _ := strings.Cut(line, " ")
		class, _, _ := strings.Cut(rest, " ")
		switch {
		case class == refuses:
			bad = append(bad, line+" (I13)")
		case where == "play" && class == other:
			bad = append(bad, "an operation failed with no known error")
		case where == "play" && class == unknown && p.how.Error == syscall.ENOSPC && p.kind != "fdatasync":
			bad = append(bad, "what did not fit, and so had no effect, is an unknown outcome (I14)")
		case where == "play" && class == full && p.how.Error == syscall.EIO:
			bad = append(bad, "a disk that fails is taken for a full one (I13)")
		}
	}
	return bad
}

// answers says what is wrong with a ledger by itself: an operation that was not answered, though the process ended well, or was told that
// the store is full though it brings nothing new.
func answers(ledger string) (bad []string) {
	b, err := os.ReadFile(ledger)
	if err != nil {
		return []string{err.Error()}
	}
	open := make(map[string]string) // kinds by number
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if f[0] == "b" {
			open[f[1]] = f[2]
			continue
		}
		kind := open[f[1]]
		delete(open, f[1])
		if kind != "enqueue" && strings.Contains(line, jobqueue.ErrStoreFull.Error()) {
			bad = append(bad, fmt.Sprintf("operation %s, %s, was told that the store is full (I14)", f[1], kind))
		}
	}
	if len(open) > 0 {
		bad = append(bad, fmt.Sprintf("%d operations were not answered (I13)", len(open)))
	}
	return bad
}

func count(r *attack.Run, reports []string) {
	all := strings.Join(reports, "\n")
	for _, class := range []string{full, unknown} {
		if strings.Contains(all, "play "+class) {
			r.Count("told as "+class, 1)
		}
	}
	if strings.Contains(all, "open ") {
		r.Count("told by open", 1)
	}
	if strings.Contains(all, "close ") {
		r.Count("told by close", 1)
	}
}
