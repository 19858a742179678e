package main

import (
	"github.com/pollackq/pollack/internal/torture/attack"
	"github.com/pollackq/pollack/internal/torture/backup"
	"github.com/pollackq/pollack/internal/torture/callbacks"
	"github.com/pollackq/pollack/internal/torture/clocks"
	"github.com/pollackq/pollack/internal/torture/cuts"
	"github.com/pollackq/pollack/internal/torture/faults"
	"github.com/pollackq/pollack/internal/torture/full"
	"github.com/pollackq/pollack/internal/torture/fuzz"
	"github.com/pollackq/pollack/internal/torture/histories"
	"github.com/pollackq/pollack/internal/torture/kill"
	"github.com/pollackq/pollack/internal/torture/nodes"
	"github.com/pollackq/pollack/internal/torture/power"
	"github.com/pollackq/pollack/internal/torture/requests"
	"github.com/pollackq/pollack/internal/torture/rot"
	"github.com/pollackq/pollack/internal/torture/soak"
	"github.com/pollackq/pollack/internal/torture/steps"
	"github.com/pollackq/pollack/internal/torture/storm"
	"github.com/pollackq/pollack/internal/torture/syscalls"
	"github.com/pollackq/pollack/internal/torture/tenants"
)

// techniques are all there are, in the order in which they run.
var techniques = []*attack.Technique{
	histories.Technique,
	histories.Nodes,
	steps.Technique,
	steps.Stores,
	storm.Parked,
	storm.Duel,
	storm.Slow,
	storm.Proxy,
	kill.Technique,
	kill.Stale,
	kill.Second,
	nodes.Kill,
	syscalls.Technique,
	faults.Technique,
	full.Technique,
	power.Technique,
	cuts.Technique,
	rot.Technique,
	backup.Technique,
	requests.Technique,
	tenants.Technique,
	callbacks.Addresses,
	callbacks.Told,
	clocks.Jumps,
	clocks.Century,
	soak.Technique,
	fuzz.Technique, // in CI it takes the time that is left
}
