package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/pollackq/pollack/internal/torture/attack"
)

// A table is printed row by row, as Markdown.
type table struct {
	out io.Writer
	bad []string
}

func newTable(out io.Writer, ci bool) *table {
	column := "release"
	if ci {
		column = "CI"
	}
	fmt.Fprintf(out, "| technique | what must hold | %s | done | broken | beside | seconds | seed |\n|---|---|---|---|---|---|---|---|\n", column)
	return &table{out: out}
}

func (t *table) row(technique *attack.Technique, asked int, r attack.Result) {
	done, broken := fmt.Sprintf("%d %s", r.Done, technique.Unit), fmt.Sprint(len(r.Bad))
	if r.Skipped != "" {
		done, broken = "skipped: "+r.Skipped, "-"
	}
	var beside []string
	for _, name := range slices.Sorted(maps.Keys(r.Figures)) {
		beside = append(beside, fmt.Sprintf("%s: %d", name, r.Figures[name]))
	}
	fmt.Fprintf(t.out, "| %s | %s | %d | %s | %s | %s | %.0f | %d |\n",
		technique.Name, technique.Promise, asked, done, broken, strings.Join(beside, ", "), r.Seconds, r.Seed)
	for _, what := range r.Bad {
		t.bad = append(t.bad, technique.Name+": "+what)
	}
}

// end prints what was broken.
func (t *table) end() {
	if len(t.bad) == 0 {
		return
	}
	fmt.Fprintf(t.out, "\nbroken:\n\n")
	for _, what := range t.bad {
		fmt.Fprintf(t.out, "- %s\n", what)
	}
}
