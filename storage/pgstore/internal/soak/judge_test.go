package main

import (
	"testing"
	"time"
)

const span = time.Minute

// samples are of a run in which f gives each figure, by the part of the time that is over.
func samples(f func(figure string, part float64) float64) (all []sample) {
	for at := time.Second; at <= span; at += time.Second {
		s := sample{at: at, figures: make(map[string]float64)}
		for _, name := range columns {
			s.figures[name] = f(name, float64(at)/float64(span))
		}
		all = append(all, s)
	}
	return all
}

func TestWhatIsFlatPasses(t *testing.T) {
	err := judge(samples(func(figure string, part float64) float64 {
		saw := part*10 - float64(int(part*10)) // as vacuum makes it
		return 100_000 * (1 + saw/2) * min(1, part*6)
	}), span)
	if err != nil {
		t.Error(err)
	}
}

func TestEachFigureThatGrowsWithTimeIsFound(t *testing.T) {
	for _, b := range bounds {
		err := judge(samples(func(figure string, part float64) float64 {
			switch {
			case figure != b.figure:
				return 1000
			case b.least:
				return 1000 * (1 - part)
			}
			return 200_000 * part
		}), span)
		if err == nil {
			t.Errorf("%s: a change in proportion to the time passes", b.figure)
		}
	}
}

func TestTooFewSamplesAreNoProof(t *testing.T) {
	if err := judge(samples(func(string, float64) float64 { return 1 })[:30], span); err == nil {
		t.Error("a run that was broken off passes")
	}
}

func TestQuantiles(t *testing.T) {
	var h histogram
	for i := range 1000 {
		h.add(time.Duration(i) * time.Millisecond)
	}
	for i, got := range h.take(0.5, 0.99) {
		want := []time.Duration{500 * time.Millisecond, 990 * time.Millisecond}[i]
		if got < want*8/10 || got > want*12/10 {
			t.Errorf("got %v, want about %v", got, want)
		}
	}
	if got := h.take(0.5); got[0] != 0 {
		t.Errorf("got %v of nothing", got)
	}
}
