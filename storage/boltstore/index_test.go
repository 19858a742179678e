package boltstore

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

func (x *index) all() (all []item) {
	for w := x.from(spot{}); w.item() != nil; w.step() {
		all = append(all, *w.item())
	}
	return all
}

func TestAnIndexAgreesWithASortedMapAndItsSnapshotsStay(t *testing.T) {
	type snapshot struct {
		x    index
		want []item
	}
	compare := func(a, b item) int {
		switch {
		case a.at.less(b.at):
			return -1
		case b.at.less(a.at):
			return 1
		}
		return 0
	}
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 0))
		var x index
		model := map[spot]*job{}
		var taken []snapshot
		content := func() []item {
			var all []item
			for at, j := range maps.All(model) {
				all = append(all, item{at, j})
			}
			slices.SortFunc(all, compare)
			return all
		}
		for step := range 3000 {
			at := spot{uint64(r.IntN(2)), uint64(r.IntN(400)), uint64(r.IntN(2))}
			if grow := step/700%2 == 0; r.IntN(4) > 0 == grow {
				j := new(job)
				x.set(at, j)
				model[at] = j
			} else {
				x.remove(at)
				delete(model, at)
			}
			if got := x.get(at); got != model[at] || x.len != len(model) {
				t.Fatalf("seed %d, step %d: got %p of %d, want %p of %d", seed, step, got, x.len, model[at], len(model))
			}
			if r.IntN(100) == 0 {
				s := snapshot{x, content()}
				if len(taken) > 0 && r.IntN(4) == 0 { // go back to an earlier one, as after a commit that failed
					s = taken[r.IntN(len(taken))]
					x = s.x
					model = map[spot]*job{}
					for _, i := range s.want {
						model[i.at] = i.job
					}
				}
				taken = append(taken, s)
				x.edit()
			}
		}
		taken = append(taken, snapshot{x, content()})
		for n, s := range taken {
			if got := s.x.all(); !slices.Equal(got, s.want) {
				t.Fatalf("seed %d, snapshot %d: got %v, want %v", seed, n, got, s.want)
			}
			for range 10 {
				at := spot{uint64(r.IntN(2)), uint64(r.IntN(400)), uint64(r.IntN(2))}
				w := s.x.from(at)
				i, _ := slices.BinarySearchFunc(s.want, item{at: at}, compare)
				if got := w.item(); (got == nil) != (i == len(s.want)) || got != nil && *got != s.want[i] {
					t.Fatalf("seed %d, snapshot %d: from %v: got %v", seed, n, at, got)
				}
			}
		}
	}
}
