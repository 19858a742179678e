package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// compared are the modules whose versions matter to the figures.
var compared = []string{
	"go.etcd.io/bbolt",
	"maragu.dev/goqite",
	"github.com/mikestefanello/backlite",
	"github.com/mattn/go-sqlite3",
	"github.com/nats-io/nats-server/v2",
	"github.com/nats-io/nats.go",
	"github.com/beanstalkd/go-beanstalk",
	"github.com/redis/rueidis",
	"github.com/jackc/pgx/v5",
	"github.com/riverqueue/river",
}

// printMachine writes what was measured, on what, and how.
func printMachine(w io.Writer, r *run) error {
	dir, err := filepath.Abs(r.dir)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%s, %s, %s/%s, %s, %d cores, kernel %s, durable files on %s.\n",
		time.Now().UTC().Format("2006-01-02"), runtime.Version(), runtime.GOOS, runtime.GOARCH, processor(), runtime.NumCPU(), kernel(), filesystem(dir))
	fmt.Fprintf(w, "%s.\n", strings.Join(append(versions(), servers()...), ", "))
	fmt.Fprintf(w, "Payloads of %d bytes. Medians of %d repetitions of %v, in brackets the lowest and the highest; each repetition measures all rows in another "+
		"order, those of one column together. Ratios are taken within a repetition, and are medians of those.\n", payloadSize, r.reps, r.span)
	if r.smoke {
		fmt.Fprintln(w, "This is a smoke test: its figures say nothing.")
	}
	fmt.Fprintln(w)
	return nil
}

// versions names our commit and the modules that we are compared with.
func versions() []string {
	out := []string{"Pollack " + commit()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return out
	}
	for _, m := range info.Deps {
		if slices.Contains(compared, m.Path) {
			out = append(out, m.Path+" "+m.Version)
		}
	}
	return out
}

func commit() string {
	out, err := exec.Command("git", "describe", "--always", "--dirty", "--abbrev=10").Output()
	if err != nil {
		return "of an unknown commit"
	}
	return strings.TrimSpace(string(out))
}

// servers names the servers that are compared, as far as they are installed.
func servers() []string {
	return slices.DeleteFunc([]string{beanstalkdVersion(), redisVersion()}, func(v string) bool { return v == "" })
}

func processor() string {
	for line := range linesOf("/proc/cpuinfo") {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown processor"
}

func kernel() string {
	text, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(text))
}

// filesystem returns the kind of the file system that a folder is on: that of the longest mount point which leads to it.
func filesystem(dir string) string {
	kind, longest := "an unknown file system", ""
	for line := range linesOf("/proc/self/mountinfo") {
		mount, rest, ok := strings.Cut(line, " - ")
		fields, kinds := strings.Fields(mount), strings.Fields(rest)
		if !ok || len(fields) < 5 || len(kinds) == 0 {
			continue
		}
		point := fields[4]
		if (dir == point || strings.HasPrefix(dir, strings.TrimSuffix(point, "/")+"/")) && cmp.Compare(len(point), len(longest)) >= 0 {
			kind, longest = kinds[0], point
		}
	}
	return kind
}

// linesOf yields the lines of a file, none if there is no such file.
func linesOf(path string) func(func(string) bool) {
	text, _ := os.ReadFile(path)
	return strings.Lines(string(text))
}
