package syscalls

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/pollackq/pollack/internal/torture/life"
	"github.com/pollackq/pollack/internal/torture/syscalls/trace"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/boltstore"
)

// The life is one of two stores on one file, the first of which makes it.
const (
	firstOps, secondOps = 140, 60
	secondNumber        = 1000 // of the second store's first operation
)

// options are those of the brokers, in the child and for the audit.
var options = &jobqueue.Options{}

// child lives the life: its arguments are the file and the seed.
func child(args []string) int {
	err := func() error {
		seed, err := strconv.ParseUint(args[1], 10, 64)
		if err != nil {
			return err
		}
		if err := trace.Watch(); err != nil {
			return err
		}
		ledger := os.NewFile(trace.Ledger, "ledger")
		if err := live(args[0], life.Load{Seed: seed, Ops: firstOps}, ledger); err != nil {
			return err
		}
		return live(args[0], life.Load{Seed: seed + 1, Ops: secondOps, First: secondNumber}, ledger)
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, "child:", err)
		return 1
	}
	return 0
}

// live opens the file, plays and closes it.
func live(path string, l life.Load, ledger *os.File) (err error) {
	store, err := boltstore.Open(path, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	broker, err := jobqueue.New(store, options)
	if err != nil {
		return err
	}
	ctx := context.Background()
	return errors.Join(life.Play(ctx, broker, l, ledger), broker.Shutdown(ctx))
}
