package fuzz

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Keep copies from Go's build cache into the packages' testdata/fuzz what earlier runs have found to be interesting and what covers statements that
// the committed corpus does not: of those that cover the same the shortest, and at most so many of a target. With names, only those targets.
func Keep(ctx context.Context, dir string, most int, names []string, out io.Writer) error {
	packages, err := find(root)
	if err != nil {
		return err
	}
	for _, p := range packages {
		if p.targets = slices.DeleteFunc(p.targets, func(name string) bool { return len(names) > 0 && !slices.Contains(names, name) }); len(p.targets) == 0 {
			continue
		}
		p.program = filepath.Join(dir, strings.ReplaceAll(p.folder, string(filepath.Separator), "-")+".cover")
		if text, err := p.goCommand(ctx, "test", "-c", "-cover", "-covermode=set", "-coverpkg=github.com/pollackq/pollack/...", "-o", p.program, "."); err != nil {
			return fmt.Errorf("%s: build: %w\n%s", p.folder, err, text)
		}
		if p.cache, err = p.cached(ctx); err != nil {
			return err
		}
		for _, target := range p.targets {
			kept, of, err := p.keepInteresting(ctx, target, most)
			if err != nil {
				return fmt.Errorf("%s %s: %w", p.folder, target, err)
			}
			fmt.Fprintf(out, "%-40s %3d of %d kept\n", p.folder+" "+target, kept, of)
		}
	}
	return nil
}

// keepInteresting returns how many inputs of how many it has copied.
func (p *pkg) keepInteresting(ctx context.Context, target string, most int) (kept, of int, err error) {
	found, err := bySize(filepath.Join(p.cache, target))
	if err != nil {
		return 0, 0, err
	}
	work := p.program + "." + target
	inputs := filepath.Join(work, corpus, target)
	committed := filepath.Join(p.dir, corpus, target)
	if err := os.CopyFS(inputs, os.DirFS(committed)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, 0, err
	}
	if err := os.MkdirAll(inputs, 0o755); err != nil {
		return 0, 0, err
	}
	already, err := os.ReadDir(inputs)
	if err != nil {
		return 0, 0, err
	}
	covered, err := p.coverage(ctx, work, "^"+target+"$")
	if err != nil {
		return 0, 0, err
	}
	for _, name := range found {
		if kept+len(already) >= most {
			break
		}
		text, err := os.ReadFile(filepath.Join(p.cache, target, name))
		if err != nil {
			return kept, len(found), err
		}
		if err := os.WriteFile(filepath.Join(inputs, name), text, 0o644); err != nil {
			return kept, len(found), err
		}
		blocks, err := p.coverage(ctx, work, "^"+target+"$/^"+name+"$")
		if err != nil {
			return kept, len(found), err
		}
		fresh := false
		for block := range blocks {
			fresh = fresh || !covered[block]
			covered[block] = true
		}
		if !fresh {
			continue
		}
		if err := os.MkdirAll(committed, 0o755); err != nil {
			return kept, len(found), err
		}
		if err := os.WriteFile(filepath.Join(committed, name), text, 0o644); err != nil {
			return kept, len(found), err
		}
		kept++
	}
	return kept, len(found), nil
}

// bySize returns the names of the files in a folder, the smallest first; none if there is no such folder.
func bySize(dir string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	sizes := make(map[string]int64)
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return nil, err
		}
		names = append(names, e.Name())
		sizes[e.Name()] = info.Size()
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(sizes[a], sizes[b]), strings.Compare(a, b)) })
	return names, err
}

// coverage runs a test and returns the blocks of statements that it covered.
func (p *pkg) coverage(ctx context.Context, work, test string) (map[string]bool, error) {
	profile := filepath.Join(work, "profile")
	cmd := exec.CommandContext(ctx, p.program, "-test.run="+test, "-test.coverprofile="+profile, "-test.timeout=1m")
	cmd.Dir = work
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", test, err, tail(string(out)))
	}
	text, err := os.ReadFile(profile)
	if err != nil {
		return nil, err
	}
	blocks := make(map[string]bool)
	for line := range strings.Lines(string(text)) {
		if block, count, ok := strings.Cut(line, " "); ok && strings.HasSuffix(strings.TrimSpace(count), " 1") {
			blocks[block] = true
		}
	}
	return blocks, nil
}
