package pollack_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

const (
	module = "github.com/pollackq/pollack"
	bbolt  = "go.etcd.io/bbolt"
	ulid   = "github.com/oklog/ulid/v2"
)

// mayImport says, for each package of the library, which others it may import besides the standard library: ours by their folders, foreign ones
// by their paths. Imports only point down. What stands in a folder of free, and not in the table because a package of the library imports it, may
// import all of ours and of the module's requirements.
var mayImport = map[string][]string{
	".":                   {},
	"longpoll":            {},
	"storage":             {ulid},
	"storage/memstore":    {"storage"},
	"storage/boltstore":   {"storage", "internal/record", bbolt},
	"storage/storagetest": {"storage", "storage/memstore"},
	"jobqueue":            {"storage", "longpoll"},
	"httpapi":             {"jobqueue"},
	"httpapi/outbound":    {},
	"httpapi/client":      {"httpapi", "httpapi/outbound", "jobqueue"},
	"httpapi/callback":    {"httpapi/outbound", "jobqueue"},
	"httpapi/statuspoll":  {"httpapi", "httpapi/outbound", "jobqueue"},
	"internal/record":     {"storage"},
}

var (
	free       = []string{"examples", "internal"}
	topFolders = []string{"examples", "httpapi", "internal", "jobqueue", "longpoll", "storage"}
	noNames    = []string{"common", "models", "types", "util"}
	noTime     = []string{"NewTicker", "Sleep", "Tick"} // of package time, in the library
	bubbles    = []string{"storage/storagetest"}        // they are tests, whose sleep is in virtual time
)

// A rule is what holds of the module's files, with the ways to break it.
type rule struct {
	name   string
	check  func(fs.FS) ([]string, error)
	breaks []string // a file and its content, each breaking the rule in the house that TestTheRulesNotice builds
}

var rules = []rule{
	{"imports only point down", checkImports, []string{
		"longpoll/x.go: package longpoll; import _ \"" + module + "/storage\"",
		"jobqueue/x.go: package jobqueue; import _ \"" + module + "/storage/memstore\"",
		"jobqueue/x.go: package jobqueue; import _ \"" + bbolt + "\"",
		"httpapi/x.go: package httpapi; import _ \"" + module + "/storage\"",
		"httpapi/client/x.go: package client; import _ \"" + module + "/storage\"",
		"storage/x.go: package storage; import _ \"" + module + "/internal/x\"",
		"internal/record/x.go: package record; import _ \"" + module + "/jobqueue\"",
		"storage/newstore/x.go: package newstore",
	}},
	{"every package has exactly one package comment", checkComments, []string{
		"longpoll/x.go: // Package longpoll has two.\npackage longpoll",
		"examples/x/main.go: package main",
		"httpapi/x.go: package httpapi",
		"storage/doc.go: // It begins with other words.\npackage storage",
	}},
	{"the library neither sleeps nor ticks", checkTime, []string{
		"longpoll/x.go: package longpoll; import \"time\"; func f() { time.Sleep(1) }",
		"longpoll/x.go: package longpoll; import clock \"time\"; var f = clock.NewTicker",
		"longpoll/x.go: package longpoll; import . \"time\"",
		"jobqueue/x.go: package jobqueue; import \"time\"; func f() { for range time.Tick(1) { } }",
	}},
	{"no package has a name that says nothing", checkNames, []string{
		"internal/util/x.go: package util",
		"internal/x/x.go: package types",
		"storage/common/x_test.go: package x",
	}},
	{"no folder is at the top unexpectedly", checkFolders, []string{
		"pkg/x.txt: x",
		"cmd/x/main.go: package main",
	}},
	{"the module requires little", checkModule, []string{
		"go.mod: module x\nrequire (\n\t" + bbolt + " v1\n\ta/a v1\n\ta/b v1\n\ta/c v1\n)",
		"go.mod: module x\nrequire a/a v1\nrequire a/b v1\nrequire a/c v1",
		"go.mod: module x\nreplace a/a => ../a",
	}},
	{"tests and techniques that documents name exist", checkNamed, []string{
		"README.md: | what | `TestThatIsNowhere` |",
		"README.md: see `TestNow...`",
		"RELIABILITY.md: `torture nothing`",
	}},
	{"every invariant has its line", checkInvariants, []string{
		"RELIABILITY.md: | I1 | nothing is lost | `torture kill` |",
	}},
}

func TestArchitecture(t *testing.T) {
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			faults, err := r.check(os.DirFS("."))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range faults {
				t.Error(f)
			}
		})
	}
}

func TestTheRulesNotice(t *testing.T) {
	for _, r := range rules {
		house := fstest.MapFS{
			"go.mod":             {Data: []byte("module x\n\nrequire (\n\t" + bbolt + " v1\n\ta/a v1\n\ta/b v1\n\ta/c v1 // indirect\n)")},
			"longpoll/doc.go":    {Data: []byte("// Package longpoll waits.\npackage longpoll\nimport \"time\"\nvar _ = time.Second")},
			"longpoll/a.go":      {Data: []byte("package longpoll")},
			"longpoll/a_test.go": {Data: []byte("package longpoll_test\nimport (\n\"time\"\n_ \"" + module + "/storage\"\n)\nfunc f() { time.Sleep(1) }")},
			"examples/a/main.go": {Data: []byte("// The a example does a.\npackage main\nimport _ \"" + bbolt + "\"")},
			"internal/b/go.mod":  {Data: []byte("module nested")},
			"internal/b/b.go":    {Data: []byte("package util\nimport _ \"a/z\"")},
			".ci/run":            {},
		}
		if faults, err := r.check(house); err != nil || len(faults) > 0 {
			t.Errorf("%s: got %v, %v, want no fault in a house without", r.name, faults, err)
		}
		for _, b := range r.breaks {
			house := maps.Clone(house)
			name, content, _ := strings.Cut(b, ": ")
			house[name] = &fstest.MapFile{Data: []byte(content)}
			if faults, err := r.check(house); err != nil || len(faults) == 0 {
				t.Errorf("%s: got no fault (%v) in a house with\n%s", r.name, err, b)
			}
		}
	}
}

func checkImports(fsys fs.FS) (faults []string, err error) {
	return faults, eachFile(fsys, func(dir, name string, f *ast.File) {
		allowed, known := mayImport[dir]
		if isTest(name) || isFree(dir) && !known {
			return
		}
		if !known {
			faults = append(faults, fmt.Sprintf("%s: package %s is not in the table of imports", name, dir))
			return
		}
		for _, spec := range f.Imports {
			p, _ := strconv.Unquote(spec.Path.Value)
			p, ours := strings.CutPrefix(p, module+"/")
			first, _, _ := strings.Cut(p, "/")
			standard := !ours && !strings.Contains(first, ".")
			if !standard && !slices.ContainsFunc(allowed, func(a string) bool { return p == a || !ours && within(p, a) }) {
				faults = append(faults, fmt.Sprintf("%s imports %s; it may import %q", name, p, allowed))
			}
		}
	})
}

func checkComments(fsys fs.FS) (faults []string, err error) {
	comments := make(map[string]int)
	err = eachFile(fsys, func(dir, name string, f *ast.File) {
		if isTest(name) {
			return
		}
		comments[dir] += 0
		if f.Doc == nil {
			return
		}
		comments[dir]++
		if want := "Package " + f.Name.Name + " "; f.Name.Name != "main" && !strings.HasPrefix(f.Doc.Text(), want) {
			faults = append(faults, fmt.Sprintf("%s: the package comment does not begin with %q", name, want))
		}
	})
	for _, dir := range slices.Sorted(maps.Keys(comments)) {
		if n := comments[dir]; n != 1 {
			faults = append(faults, fmt.Sprintf("package %s has %d package comments, want 1", dir, n))
		}
	}
	return faults, err
}

func checkTime(fsys fs.FS) (faults []string, err error) {
	return faults, eachFile(fsys, func(dir, name string, f *ast.File) {
		if isTest(name) || isFree(dir) || slices.Contains(bubbles, dir) {
			return
		}
		for _, spec := range f.Imports {
			if spec.Path.Value != `"time"` {
				continue
			}
			local := "time"
			if spec.Name != nil {
				local = spec.Name.Name
			}
			if local == "." {
				faults = append(faults, name+" imports all names of time")
			}
			ast.Inspect(f, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok && slices.Contains(noTime, s.Sel.Name) {
					if x, ok := s.X.(*ast.Ident); ok && x.Name == local {
						faults = append(faults, fmt.Sprintf("%s uses time.%s", name, s.Sel.Name))
					}
				}
				return true
			})
		}
	})
}

func checkNames(fsys fs.FS) (faults []string, err error) {
	return faults, eachFile(fsys, func(dir, name string, f *ast.File) {
		if slices.Contains(noNames, strings.TrimSuffix(f.Name.Name, "_test")) || slices.Contains(noNames, path.Base(dir)) {
			faults = append(faults, fmt.Sprintf("%s: package %s in %s", name, f.Name.Name, dir))
		}
	})
}

func checkFolders(fsys fs.FS) (faults []string, err error) {
	entries, err := fs.ReadDir(fsys, ".")
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") && !slices.Contains(topFolders, e.Name()) {
			faults = append(faults, fmt.Sprintf("folder %s; there are to be %q", e.Name(), topFolders))
		}
	}
	return faults, err
}

// checkModule counts the direct requirements: bbolt, ulid and two more.
func checkModule(fsys fs.FS) (faults []string, err error) {
	text, err := fs.ReadFile(fsys, "go.mod")
	var more []string
	block := ""
	for line := range strings.Lines(string(text)) {
		code, comment, _ := strings.Cut(line, "//")
		words := strings.Fields(code)
		switch {
		case len(words) == 0:
			continue
		case words[0] == ")":
			block = ""
			continue
		case len(words) == 2 && words[1] == "(":
			block = words[0]
			continue
		case block != "":
			words = append([]string{block}, words...)
		}
		switch words[0] {
		case "require":
			if p := words[1]; p != bbolt && p != ulid && strings.TrimSpace(comment) != "indirect" {
				more = append(more, p)
			}
		case "replace":
			faults = append(faults, "go.mod replaces "+words[1]+", which importers do not get")
		}
	}
	if len(more) > 2 {
		faults = append(faults, fmt.Sprintf("go.mod requires %q besides bbolt and ulid; two are allowed", more))
	}
	return faults, err
}

// eachFile calls fn for every Go file of this module, nested modules and hidden folders left out; dir is its folder.
func eachFile(fsys fs.FS, fn func(dir, name string, f *ast.File)) error {
	return fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != ".":
			_, err := fs.Stat(fsys, path.Join(name, "go.mod"))
			if err == nil || d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") || strings.HasPrefix(d.Name(), "_") {
				return fs.SkipDir
			}
			return nil
		case d.IsDir() || path.Ext(name) != ".go":
			return nil
		}
		text, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ParseComments)
		if err != nil {
			return err
		}
		fn(path.Dir(name), name, f)
		return nil
	})
}

func isTest(name string) bool { return strings.HasSuffix(name, "_test.go") }

func isFree(dir string) bool {
	first, _, _ := strings.Cut(dir, "/")
	return slices.Contains(free, first)
}

// within reports whether a package is the one named or lies below it: a foreign module is allowed with all its packages.
func within(p, parent string) bool { return p == parent || strings.HasPrefix(p, parent+"/") }
