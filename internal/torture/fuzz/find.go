package fuzz

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// A pkg is a package with fuzz targets.
type pkg struct {
	dir     string // absolute
	folder  string // from the top of the repository
	targets []string
	program string // its tests, once they are built
	cache   string // the folder for what is found to be interesting
}

// find returns the packages below a folder that have fuzz targets, nested modules included.
func find(root string) ([]*pkg, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	found := make(map[string]*pkg)
	var packages []*pkg
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		name := d.Name()
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (name == "testdata" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_")):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, "_test.go"):
			return nil
		}
		names, err := targetsIn(path)
		if err != nil || len(names) == 0 {
			return err
		}
		dir := filepath.Dir(path)
		p := found[dir]
		if p == nil {
			folder, err := filepath.Rel(root, dir)
			if err != nil {
				return err
			}
			p = &pkg{dir: dir, folder: folder}
			found[dir] = p
			packages = append(packages, p)
		}
		p.targets = append(p.targets, names...)
		return nil
	})
	for _, p := range packages {
		slices.Sort(p.targets)
	}
	return packages, err
}

// targetsIn returns the names of the fuzz targets in a file.
func targetsIn(path string) (names []string, err error) {
	f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Fuzz") {
			names = append(names, fn.Name.Name)
		}
	}
	return names, nil
}
