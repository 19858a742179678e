package pollack_test

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The documents say which test stands behind a promise. A test that was renamed or removed would leave the promise without one.

var (
	namesTest      = regexp.MustCompile("`((?:Test|Fuzz)[A-Z][A-Za-z0-9]*)(\\.\\.\\.)?`")
	namesTechnique = regexp.MustCompile("`torture ([a-z0-9-]+)`")
	testFunc       = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Z][A-Za-z0-9]*)\(`)
	techniqueName  = regexp.MustCompile(`(?i)name(?:\s*=|:)\s*"([a-z0-9-]+)"`)
	invariantLine  = regexp.MustCompile(`(?m)^\| I([0-9]+) \|`)
)

// invariants is how many there are: I1, I2 and so on.
const invariants = 25

// checkNamed looks for what documents at the top name: `TestX`, `FuzzX`, `TestX...` for all whose names begin so, `torture x`.
func checkNamed(fsys fs.FS) (faults []string, err error) {
	var tests, techniques []string
	err = fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Ext(name) != ".go" {
			return err
		}
		text, err := fs.ReadFile(fsys, name)
		if isTest(name) {
			tests = append(tests, matches(testFunc, text)...)
		}
		if within(path.Dir(name), "internal/torture") {
			techniques = append(techniques, matches(techniqueName, text)...)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return faults, eachDocument(fsys, func(doc string, text []byte) {
		for _, m := range namesTest.FindAllSubmatch(text, -1) {
			name, many := string(m[1]), len(m[2]) > 0
			if !slices.ContainsFunc(tests, func(t string) bool { return t == name || many && strings.HasPrefix(t, name) }) {
				faults = append(faults, fmt.Sprintf("%s names %s, and there is no such test", doc, m[0]))
			}
		}
		for _, name := range matches(namesTechnique, text) {
			if !slices.Contains(techniques, name) {
				faults = append(faults, fmt.Sprintf("%s names the technique %q of the torture, and there is none", doc, name))
			}
		}
	})
}

// checkInvariants demands that each invariant has a line in RELIABILITY.md's table, which says what tests it.
func checkInvariants(fsys fs.FS) (faults []string, err error) {
	return faults, eachDocument(fsys, func(doc string, text []byte) {
		if doc != "RELIABILITY.md" {
			return
		}
		there := matches(invariantLine, text)
		for i := range invariants {
			if n := strconv.Itoa(i + 1); !slices.Contains(there, n) {
				faults = append(faults, fmt.Sprintf("%s has no line for I%s", doc, n))
			}
		}
	})
}

func eachDocument(fsys fs.FS, fn func(doc string, text []byte)) error {
	docs, err := fs.Glob(fsys, "*.md")
	if err != nil {
		return err
	}
	for _, doc := range docs {
		text, err := fs.ReadFile(fsys, doc)
		if err != nil {
			return err
		}
		fn(doc, text)
	}
	return nil
}

// matches returns what the first group matched each time.
func matches(re *regexp.Regexp, text []byte) (out []string) {
	for _, m := range re.FindAllSubmatch(text, -1) {
		out = append(out, string(m[1]))
	}
	return out
}
