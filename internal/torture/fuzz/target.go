package fuzz

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pollackq/pollack/internal/torture/attack"
)

// corpus is where go test looks for inputs of a package's targets, below its folder.
var corpus = filepath.Join("testdata", "fuzz")

// build compiles the package's tests, with the planted fault if there is one, and makes a folder to run them in.
func (p *pkg) build(ctx context.Context, dir string) error {
	name := strings.ReplaceAll(p.folder, string(filepath.Separator), "-")
	p.program = filepath.Join(dir, name+".test")
	args := []string{"test", "-c", "-vet=off", "-fuzz=.", "-ldflags=-s -w", "-o", p.program}
	if attack.Overlay != "" {
		args = append(args, "-overlay", attack.Overlay)
	}
	if out, err := p.goCommand(ctx, append(args, ".")...); err != nil {
		return fmt.Errorf("%s: build: %w\n%s", p.folder, err, out)
	}
	out, err := exec.CommandContext(ctx, p.program, "-test.list", "^Fuzz").Output()
	if err != nil {
		return fmt.Errorf("%s: list: %w", p.folder, err)
	}
	for line := range strings.Lines(string(out)) {
		if name := strings.TrimSpace(line); strings.HasPrefix(name, "Fuzz") && !slices.Contains(p.targets, name) {
			return fmt.Errorf("%s: the target %s has not been found in its files", p.folder, name)
		}
	}
	p.cache, err = p.cached(ctx)
	return err
}

// cached returns where go test -fuzz keeps what it finds interesting, or where there is a fault an empty folder: it has to be found from what is
// committed.
func (p *pkg) cached(ctx context.Context) (string, error) {
	if attack.Overlay != "" {
		return p.program + ".found", nil
	}
	out, err := p.goCommand(ctx, "env", "GOCACHE")
	if err != nil {
		return "", fmt.Errorf("%s: %w", p.folder, err)
	}
	path, err := p.goCommand(ctx, "list", "-f", "{{.ImportPath}}", ".")
	if err != nil {
		return "", fmt.Errorf("%s: %w", p.folder, err)
	}
	return filepath.Join(strings.TrimSpace(out), "fuzz", filepath.FromSlash(strings.TrimSpace(path))), nil
}

func (p *pkg) goCommand(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = p.dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return stderr.String(), err
	}
	return string(out), nil
}

// A score is what came of one target.
type score struct {
	execs, interesting int64
	bad                string
}

// grace is how long a target may take beyond its time: to start, to run the corpus, and to end.
const grace = 30 * time.Second

// fuzz runs a target, in a folder of its own with a copy of the committed corpus. What breaks it is copied back, unless that was a planted fault.
func (p *pkg) fuzz(ctx context.Context, target string, span time.Duration, control bool) score {
	work := p.program + "." + target
	if err := os.CopyFS(filepath.Join(work, corpus, target), os.DirFS(filepath.Join(p.dir, corpus, target))); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return score{bad: fmt.Sprintf("%s %s: %v", p.folder, target, err)}
	}
	if err := os.MkdirAll(work, 0o755); err != nil {
		return score{bad: fmt.Sprintf("%s %s: %v", p.folder, target, err)}
	}
	limited, stop := context.WithTimeout(ctx, span+grace)
	defer stop()
	cmd := exec.CommandContext(limited, p.program, "-test.run=^$", "-test.fuzz=^"+target+"$", "-test.fuzztime="+span.String(),
		"-test.fuzzminimizetime=10x", "-test.fuzzcachedir="+p.cache, "-test.timeout=0")
	cmd.Dir = work
	cmd.Env = append(os.Environ(), "POLLACK_LEAKS_IN_TEST=1") // workers are killed, and may leave what they like
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // its workers, too
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	s := read(string(out))
	switch {
	case err == nil:
	case ctx.Err() != nil && !failed(string(out)):
		// The time was up: nothing is known of it.
	case limited.Err() != nil:
		s.bad = fmt.Sprintf("%s %s: it hangs: %v after its time it had not ended\n%s", p.folder, target, grace, tail(string(out)))
	case ended(string(out)):
	default:
		s.bad = fmt.Sprintf("%s %s: %v\n%s", p.folder, target, err, tail(string(out)))
	}
	if s.bad != "" && !control {
		s.bad += p.keep(work, target, string(out))
	}
	return s
}

var (
	progress = regexp.MustCompile(`execs: (\d+) .*new interesting: (\d+)`)
	written  = regexp.MustCompile(`Failing input written to (\S+)`)
)

// read returns what the last line about its progress says.
func read(out string) (s score) {
	if all := progress.FindAllStringSubmatch(out, -1); all != nil {
		last := all[len(all)-1]
		s.execs, _ = strconv.ParseInt(last[1], 10, 64) // digits
		s.interesting, _ = strconv.ParseInt(last[2], 10, 64)
	}
	return s
}

func failed(out string) bool { return strings.Contains(out, "--- FAIL") }

// ended reports whether a target failed by nothing but the end of its time, which package testing takes for a failure now and then.
func ended(out string) bool {
	_, why, ok := strings.Cut(out, "--- FAIL: ")
	_, why, more := strings.Cut(why, "\n")
	return ok && more && strings.HasPrefix(strings.TrimSpace(why), "context deadline exceeded") && !strings.Contains(why, "---") && !written.MatchString(out)
}

// keep copies the input that a target failed with into the package's corpus, and says how it is run again.
func (p *pkg) keep(work, target, out string) string {
	found := written.FindStringSubmatch(out)
	if found == nil {
		return ""
	}
	text, err := os.ReadFile(filepath.Join(work, found[1]))
	if err == nil {
		err = os.MkdirAll(filepath.Join(p.dir, corpus, target), 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(p.dir, found[1]), text, 0o644)
	}
	if err != nil {
		return fmt.Sprintf("\nthe input could not be kept: %v", err)
	}
	return fmt.Sprintf("\nthe input is kept: in %s, go test -run '^%s$/^%s$' .", p.folder, target, filepath.Base(found[1]))
}

func tail(s string) string {
	const most = 3000
	if len(s) > most {
		s = "...\n" + s[len(s)-most:]
	}
	return s
}
