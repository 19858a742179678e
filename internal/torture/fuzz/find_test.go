package fuzz

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// What is not found is not fuzzed.
func TestTheTargetsOfARepositoryAreFound(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":                "module x",
		"a_test.go":             "package a\nfunc FuzzB(f *testing.F) {}\nfunc FuzzA(f *testing.F) {}\nfunc TestX(t *testing.T) {}",
		"sub/b_test.go":         "package b\n// func FuzzNo(f *testing.F) {}\nfunc (r) FuzzMethod(f *testing.F) {}",
		"sub/c.go":              "package b\nfunc Fuzz() {}",
		"sub/testdata/d.go":     "package d",
		"sub/_hidden/e.go":      "package e",
		"nested/go.mod":         "module nested",
		"nested/deep/f_test.go": "package f\nfunc FuzzF(f *testing.F) {}",
		".ci/g_test.go":         "package g\nfunc FuzzG(f *testing.F) {}",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	packages, err := find(dir)
	if err != nil || len(packages) != 2 {
		t.Fatalf("got %v, %v", packages, err)
	}
	if p := packages[0]; p.folder != "." || !slices.Equal(p.targets, []string{"FuzzA", "FuzzB"}) {
		t.Errorf("got %+v", p)
	}
	if p := packages[1]; p.folder != filepath.Join("nested", "deep") || !slices.Equal(p.targets, []string{"FuzzF"}) {
		t.Errorf("got %+v", p)
	}
}

func TestThisRepositoryHasMoreThanTenTargets(t *testing.T) {
	packages, err := find("../" + root)
	n := 0
	for _, p := range packages {
		n += len(p.targets)
	}
	if err != nil || n < 10 {
		t.Errorf("got %d, %v", n, err)
	}
}

// What go test says of a target is told apart: a finding, the end of its time, a crash.
func TestWhatATargetSaysIsRead(t *testing.T) {
	const found = "fuzz: elapsed: 3s, execs: 12 (4/sec), new interesting: 3 (total: 9)\nfuzz: elapsed: 6s, execs: 31461 (10/sec), new interesting: 92 (total: 115)\n"
	if s := read(found); s.execs != 31461 || s.interesting != 92 {
		t.Errorf("got %+v", s)
	}
	for out, want := range map[string]bool{
		"--- FAIL: FuzzX (10.08s)\n    context deadline exceeded\nFAIL\n":                                                                           true,
		"--- FAIL: FuzzX (0.02s)\n    --- FAIL: FuzzX (0.00s)\n        x_test.go:1: context deadline exceeded\nFAIL\n":                              false,
		"--- FAIL: FuzzX (0.02s)\n    fuzzing process hung or terminated unexpectedly: exit status 2\n    Failing input written to testdata/fuzz/x": false,
		"panic: x\n": false,
	} {
		if got := ended(out); got != want {
			t.Errorf("%q: got %v, want %v", out, got, want)
		}
	}
}
