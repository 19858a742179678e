package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/pollackq/pollack/internal/torture/life"
	"github.com/pollackq/pollack/internal/torture/syscalls/trace"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/boltstore"
)

// The life is one of two stores on one file, the first of which makes it. After an error there are some more operations.
const (
	firstOps, secondOps = 140, 60
	crowdOps            = 8 // of each of many callers
	moreOps             = 20
	stride              = 100_000 // between the numbers of the operations of two loads
)

var options = &jobqueue.Options{}

// report is the descriptor, after the ledger's, of what a child has to tell beside: a line for each error, "where class text".
const report = trace.Ledger + 1

// The classes of errors.
const (
	full    = "full"
	unknown = "unknown"
	other   = "other"
	refuses = "broken" // something that the child itself found to be wrong
)

// A victim lives a life in which one system call fails.
type victim struct {
	path    string
	load    life.Load
	ledger  *os.File
	report  *os.File
	played  int
	store   *boltstore.Store
	broker  *jobqueue.Broker
	tooMany int // errors
}

// child lives the life: its arguments are the file, the seed and how many callers there are.
func child(args []string) int {
	seed, err := strconv.ParseUint(args[1], 10, 64)
	callers, err2 := strconv.Atoi(args[2])
	v := &victim{path: args[0], ledger: os.NewFile(trace.Ledger, "ledger"), report: os.NewFile(report, "report")}
	v.load = life.Load{Seed: seed, Callers: callers}
	if err := errors.Join(err, err2, trace.Watch()); err != nil {
		fmt.Fprintln(os.Stderr, "child:", err)
		return 2
	}
	first, second := firstOps, secondOps
	if callers > 1 {
		first, second = crowdOps, crowdOps
	}
	if v.live(first) && v.live(second) {
		return 0
	}
	return 1
}

// tell reports an error, and whether the life may go on.
func (v *victim) tell(where string, err error) bool {
	class := other
	switch {
	case errors.Is(err, jobqueue.ErrOutcomeUnknown), errors.Is(err, jobqueue.ErrStoreFailed):
		class = unknown
	case errors.Is(err, jobqueue.ErrStoreFull):
		class = full
	}
	v.line(where, class, err)
	v.tooMany++
	return v.tooMany < 10 // there was but one fault
}

func (v *victim) line(where, class string, what any) {
	fmt.Fprintln(v.report, where, class, strings.ReplaceAll(fmt.Sprint(what), "\n", "; "))
}

// live opens the file, plays, and closes it, whatever fails on the way.
func (v *victim) live(ops int) bool {
	if !v.open() {
		return false
	}
	v.load.GoOn = false
	for {
		v.load.Ops, v.load.First = ops, v.played*stride
		v.load.Seed++
		v.played++
		err := life.Play(context.Background(), v.broker, v.load, v.ledger)
		if err == nil {
			return v.close()
		}
		if !v.tell("play", err) {
			return false
		}
		ops = moreOps
		if errors.Is(err, jobqueue.ErrStoreFull) {
			v.load.GoOn = true // the same store does, without what is new for a second
			continue
		}
		v.mustRefuse()
		if !v.close() || !v.open() {
			return false
		}
	}
}

// open opens the file, again if it does not go the first time.
func (v *victim) open() bool {
	for {
		var err error
		if v.store, err = boltstore.Open(v.path, nil); err == nil {
			v.broker, err = jobqueue.New(v.store, options)
			if err == nil {
				return true
			}
		}
		if !v.tell("open", err) {
			return false
		}
	}
}

func (v *victim) close() bool {
	if err := errors.Join(v.broker.Shutdown(context.Background()), v.store.Close()); err != nil {
		return v.tell("close", err)
	}
	return true
}

// mustRefuse reports what a store that has failed still does (I13).
func (v *victim) mustRefuse() {
	ctx := context.Background()
	q := v.broker.Queue("q0")
	_, err := q.Enqueue(ctx, jobqueue.NewJob{})
	_, err2 := q.TryReceive(ctx, nil)
	_, err3 := q.Info(ctx)
	for _, err := range []error{err, err2, err3} {
		if !errors.Is(err, jobqueue.ErrStoreFailed) {
			v.line("play", refuses, fmt.Sprintf("a store whose outcome is unknown answered %v", err))
		}
	}
}
