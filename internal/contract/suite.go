package contract

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/boltstore"
	"github.com/pollackq/pollack/storage/memstore"
)

// A Rule is one line of a system's contract.
type Rule struct{ ID, Says string }

// An Opener opens a new, empty store, which is closed when the test ends, after all that the test has put on it.
type Opener func(t testing.TB) storage.Store

// A Suite is the contract of one system: its rules, and the cases that show them.
type Suite struct {
	rules []Rule
	cases []testCase
}

type testCase struct {
	long  bool
	name  string
	rules []string
	run   func(t *testing.T, open Opener)
}

// New returns a Suite of rules that has no cases yet.
func New(rules ...Rule) *Suite {
	s := &Suite{rules: rules}
	for i, r := range rules {
		if slices.ContainsFunc(rules[:i], func(o Rule) bool { return o.ID == r.ID }) {
			panic("contract: two rules have the id " + r.ID)
		}
	}
	return s
}

// Case adds a case, a sentence, that shows the rules whose ids are given, separated by spaces.
func (s *Suite) Case(sentence, ids string, run func(t *testing.T, open Opener)) {
	c := testCase{name: sentence, rules: strings.Fields(ids), run: run}
	for _, id := range c.rules {
		if !slices.ContainsFunc(s.rules, func(r Rule) bool { return r.ID == id }) {
			panic("contract: there is no rule " + id)
		}
	}
	s.cases = append(s.cases, c)
}

// Long adds a case that takes long, and is not run with go test -short.
func (s *Suite) Long(sentence, ids string, run func(t *testing.T, open Opener)) {
	s.Case(sentence, ids, run)
	s.cases[len(s.cases)-1].long = true
}

// Run runs all cases, each in a bubble of its own, and logs the table of the rules. A rule that no case shows is an error.
func (s *Suite) Run(t *testing.T, open Opener) {
	shown, failed := make(map[string]int), make(map[string]bool)
	ran := true
	for _, c := range s.cases {
		if c.long && testing.Short() {
			for _, id := range c.rules {
				shown[id] += 0
			}
			continue
		}
		matched := false
		ok := t.Run(c.name+" ["+strings.Join(c.rules, " ")+"]", func(t *testing.T) {
			matched = true
			synctest.Test(t, func(t *testing.T) { c.run(t, open) })
		})
		ran = ran && matched // go test -run may have chosen some of them
		for _, id := range c.rules {
			shown[id]++
			failed[id] = failed[id] || !ok
		}
	}
	if !ran {
		return
	}
	var table strings.Builder
	for _, r := range s.rules {
		word := "held"
		switch n, known := shown[r.ID]; {
		case n == 0 && known:
			word = "not run"
		case n == 0:
			word = "NO TEST"
			t.Errorf("no case shows rule %s: %s", r.ID, r.Says)
		case failed[r.ID]:
			word = "NOT HELD"
		}
		fmt.Fprintf(&table, "\n%-6s  %-8s  %s", r.ID, word, r.Says)
	}
	t.Log("the rules:" + table.String())
}

// RunAll runs the suite on the stores of this module, memory and a bbolt file; with go test -short in memory only.
func RunAll(t *testing.T, run func(t *testing.T, open Opener)) {
	stores := map[string]Opener{"memstore": Memory, "boltstore": Bolt}
	if testing.Short() {
		delete(stores, "boltstore")
	}
	for _, name := range slices.Sorted(maps.Keys(stores)) {
		t.Run(name, func(t *testing.T) { run(t, stores[name]) })
	}
}

// Memory opens a memstore.
func Memory(t testing.TB) storage.Store { return closed(t, memstore.New(nil)) }

// Bolt opens a boltstore on a file of its own.
func Bolt(t testing.TB) storage.Store {
	s, err := boltstore.Open(filepath.Join(t.TempDir(), "jobs.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return closed(t, s)
}

func closed(t testing.TB, s storage.Store) storage.Store {
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}
