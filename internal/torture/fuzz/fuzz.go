// Package fuzz gives each fuzz target of the repository its share of the time.
//
// It finds the targets by itself, in all modules of the repository, so that a new one cannot be forgotten; builds the tests of each package
// that has some once, instrumented for coverage; and runs one target after the other on all processors. They begin with the committed corpus
// (f.Add and testdata/fuzz) and what Go's build cache has kept of earlier runs, and leave there what they find to be interesting; an input
// that breaks a target goes into testdata/fuzz of its package, where every plain go test runs it from then on. Package keep, below, takes over
// from the cache what is worth committing.
//
// It finds what one call with bad bytes in it can break: panics, hangs, and whatever the target holds its result against. How good that is each
// target says. It does not find what takes several calls in an order that bytes do not give, or load, and its inputs do not follow from the
// seed: a finding is repeated by its file.
package fuzz

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/pollackq/pollack/internal/torture/attack"
)

// Technique fuzzes all targets. N is for how many seconds each, if the time is enough for that.
var Technique = &attack.Technique{
	Name:    "fuzz",
	Promise: "any bytes in a record, token, id, header, body, form, URL, signature, template or answer are refused, or taken as a second reading takes them (I2, I15; promise 9; threats: URL tricks, Memory blow-up, Forged callback, Path traversal, Stored XSS)",
	Unit:    "seconds each",
	CI:      2,
	Release: 600,
	Control: 5,
	Minutes: 8,
	Run:     run,
}

// root is the top of the repository, seen from the folder of the torture.
const root = "../.."

// least is how long a target is run if that is all the time there is: workers have to start.
const least = time.Second

// ending is what is left of the time for what follows on the last target.
const ending = 3 * time.Second

func run(r *attack.Run) {
	packages, err := find(root)
	if err != nil {
		r.Bad("the targets cannot be listed: %v", err)
		return
	}
	if r.Control {
		packages = besideTheFault(packages)
	}
	left := 0
	for _, p := range packages {
		left += len(p.targets)
	}
	most := time.Duration(r.N) * time.Second
	shortest := most
	for _, p := range packages {
		if err := p.build(r.Context(), r.Dir); err != nil {
			if !r.Over() && !r.Control { // what does not compile is no planted fault that was found
				r.Bad("%v", err)
			}
			continue
		}
		for _, name := range p.targets {
			span := share(r.Context(), most, left)
			if r.Over() || span < least {
				break
			}
			left--
			shortest = min(shortest, span)
			did := p.fuzz(r.Context(), name, span, r.Control)
			fmt.Fprintf(os.Stderr, "  %-40s %8d execs, %4d new, %v\n", p.folder+" "+name, did.execs, did.interesting, span.Round(time.Second/10))
			r.Count("targets", 1)
			r.Count("execs", did.execs)
			r.Count("new interesting", did.interesting)
			if did.bad != "" {
				r.Bad("%s", did.bad)
			}
		}
	}
	if left > 0 { // the time was up, or enough was found
		r.Count("targets not run", int64(left))
		return
	}
	r.Done(int(shortest / time.Second))
}

// share is for how long the next of so many targets may run.
func share(ctx context.Context, most time.Duration, left int) time.Duration {
	end, ok := ctx.Deadline()
	if !ok {
		return most
	}
	return min(most, (time.Until(end)-ending)/time.Duration(left))
}

// besideTheFault returns the package in whose file the planted fault is: it has to be found there, by those targets.
func besideTheFault(packages []*pkg) []*pkg {
	var overlay struct{ Replace map[string]string }
	text, err := os.ReadFile(attack.Overlay)
	if err != nil || json.Unmarshal(text, &overlay) != nil {
		return packages
	}
	var out []*pkg
	for file := range overlay.Replace {
		for _, p := range packages {
			if p.dir == filepath.Dir(file) {
				out = append(out, p)
			}
		}
	}
	slices.SortFunc(out, func(a, b *pkg) int { return cmp.Compare(a.folder, b.folder) })
	return out
}
