package main

import (
	"github.com/pollackq/pollack/internal/torture/attack"
	"github.com/pollackq/pollack/internal/torture/clocks"
	"github.com/pollackq/pollack/internal/torture/faults"
	"github.com/pollackq/pollack/internal/torture/fuzz"
	"github.com/pollackq/pollack/internal/torture/kill"
	"github.com/pollackq/pollack/internal/torture/power"
	"github.com/pollackq/pollack/internal/torture/requests"
	"github.com/pollackq/pollack/internal/torture/steps"
	"github.com/pollackq/pollack/internal/torture/storm"
	"github.com/pollackq/pollack/internal/torture/syscalls"
)

// techniques are all there are, in the order in which they run.
var techniques = []*attack.Technique{
	steps.Technique,
	steps.Stores,
	storm.Parked,
	storm.Duel,
	kill.Technique,
	syscalls.Technique,
	faults.Technique,
	power.Technique,
	requests.Technique,
	fuzz.Technique,
	clocks.Jumps,
	clocks.Century,
}
