// Package planted has faults to be found: each is a change to one of Pollack's own source files, which the compiler puts in its place while
// it builds a program to be attacked (go build -overlay), so that no switch for them is in the library itself.
package planted

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A Fault replaces text of one file, which has to stand there exactly once.
type Fault struct {
	Name  string // words joined by hyphens
	What  string // in a line, with the invariants it breaks
	File  string // from the top of the repository
	Old   string
	New   string
	Slow  bool     // it takes a while to be found: a release alone looks for it
	Apart bool     // each change looks for it in another step of CI, where it is named
	By    []string // what must find it: techniques, or packages whose tests do, as "./longpoll TestHistories"
}

// root is the top of the repository, seen from the folder of the torture.
const root = "../.."

// Plant builds the torture with the fault, has attack run each technique that is to find it, and runs the tests that are to. It returns how
// each found it, and an error for each that did not.
func (f *Fault) Plant(ctx context.Context, attack func(program, technique string) (string, error)) (found []string, errs []error) {
	dir, err := os.MkdirTemp("", "planted-")
	if err != nil {
		return nil, []error{err}
	}
	defer os.RemoveAll(dir)
	overlay, err := f.overlay(dir)
	if err != nil {
		return nil, []error{err}
	}
	program := ""
	for _, by := range f.By {
		var how string
		var err error
		if pkg, test, ok := strings.Cut(by, " "); ok {
			how, err = runTest(ctx, overlay, pkg, test)
		} else {
			if program == "" {
				program = filepath.Join(dir, "torture")
				told := "-X github.com/pollackq/pollack/internal/torture/attack.Overlay=" + overlay
				if out, err := exec.CommandContext(ctx, "go", "build", "-overlay", overlay, "-ldflags", told, "-o", program, ".").CombinedOutput(); err != nil {
					return found, append(errs, fmt.Errorf("build: %w\n%s", err, out))
				}
			}
			how, err = attack(program, by)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		found = append(found, by+" ("+how+")")
	}
	return found, errs
}

// overlay writes the changed file, and what tells the compiler of it.
func (f *Fault) overlay(dir string) (string, error) {
	original, err := filepath.Abs(filepath.Join(root, f.File))
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(original)
	if err != nil {
		return "", err
	}
	if n := strings.Count(string(text), f.Old); n != 1 {
		return "", fmt.Errorf("%s: the text to be changed stands there %d times: mend the fault %s", f.File, n, f.Name)
	}
	changed := filepath.Join(dir, filepath.Base(f.File))
	if err := os.WriteFile(changed, []byte(strings.Replace(string(text), f.Old, f.New, 1)), 0o600); err != nil {
		return "", err
	}
	b, err := json.Marshal(map[string]any{"Replace": map[string]string{original: changed}})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, b, 0o600)
}

// runTest expects a test of the library to fail.
func runTest(ctx context.Context, overlay, pkg, test string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-count=1", "-overlay", overlay, "-run", test, ".")
	cmd.Dir = filepath.Join(root, pkg) // some are in modules of their own
	out, err := cmd.CombinedOutput()
	switch {
	case err == nil:
		return "", fmt.Errorf("%s %s passed", pkg, test)
	case !strings.Contains(string(out), "--- FAIL") && !strings.Contains(string(out), "panic: ") && !strings.Contains(string(out), "fatal error: "):
		return "", fmt.Errorf("%s %s: %w\n%s", pkg, test, err, out)
	}
	return "failed", nil
}
