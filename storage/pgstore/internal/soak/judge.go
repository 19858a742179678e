package main

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// A bound says how much a figure may change from the first part of the time to the last.
type bound struct {
	figure string
	times  float64 // of what it was
	plus   float64 // and so much besides: what a load that comes and goes makes it swing by
	least  bool    // it may not have become less than times as much
	// highest compares the highest values, for what goes up and down with each vacuum. Else it is the values in the middle.
	highest bool
	made    bool // there is more of it where more is done: it may grow as cycles/s do
}

var bounds = []bound{
	{figure: cycles, times: 0.5, least: true},
	{figure: enqueueP50, times: 2, plus: 5},
	{figure: receiveP50, times: 2, plus: 5},
	{figure: ackP50, times: 2, plus: 5},
	{figure: enqueueP99, times: 2, plus: 100},
	{figure: receiveP99, times: 2, plus: 100},
	{figure: ackP99, times: 2, plus: 100},
	{figure: dead, times: 1.5, plus: 10_000, highest: true, made: true},
	{figure: tableSize, times: 1.2, plus: 8, highest: true},
	{figure: indexSize, times: 1.2, plus: 8, highest: true},
	{figure: buffers, times: 2, plus: 200, highest: true},
	{figure: pending, times: 1.05, plus: 1_000, highest: true},
	{figure: kept, times: 1.5, plus: 5_000, highest: true, made: true},
	{figure: heap, times: 1.3, plus: 16, highest: true},
	{figure: goroutines, times: 1.2, plus: 20, highest: true},
}

// fewest is how many samples each part needs.
const fewest = 5

// judge compares the quarter of the time after the first fifth with the last quarter, and returns what is not flat.
func judge(samples []sample, span time.Duration) error {
	var first, last []sample
	for _, s := range samples {
		switch part := float64(s.at) / float64(span); {
		case part > 0.2 && part <= 0.45:
			first = append(first, s)
		case part > 0.75:
			last = append(last, s)
		}
	}
	if len(first) < fewest || len(last) < fewest {
		return fmt.Errorf("%d samples of the first part and %d of the last are too few to judge", len(first), len(last))
	}
	rate := bound{figure: cycles}
	busier := max(1, rate.of(last)/rate.of(first))
	fmt.Print("\n| figure | first | last | bound | |\n|---|---|---|---|---|\n")
	var errs []error
	for _, b := range bounds {
		was, is := b.of(first), b.of(last)
		limit := b.times*was + b.plus
		if b.made {
			limit *= busier
		}
		bad := is > limit
		if b.least {
			bad = is < limit
		}
		word := "ok"
		if bad {
			word = "NOT FLAT"
			errs = append(errs, fmt.Errorf("%s: %.1f, then %.1f, with a bound of %.1f", b.figure, was, is, limit))
		}
		fmt.Printf("| %s | %.1f | %.1f | %.1f | %s |\n", b.figure, was, is, limit, word)
	}
	return errors.Join(errs...)
}

// of returns the value of a part that counts.
func (b bound) of(part []sample) float64 {
	var all []float64
	for _, s := range part {
		all = append(all, s.figures[b.figure])
	}
	slices.Sort(all)
	if b.highest {
		return all[len(all)-1]
	}
	return all[len(all)/2]
}
