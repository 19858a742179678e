package cuts

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/pollackq/pollack/internal/torture/life"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/boltstore"
)

const (
	storeName = "jobs.db"
	ledgerFD  = 3
)

func notify(c chan os.Signal) { signal.Notify(c, syscall.SIGUSR1) }

// load plays on a store until power is lost. Where an outcome is unknown it does as the documentation says: it closes the store and opens it again.
func load(dir string, seed uint64, first, callers int) error {
	const most = 3 // times that the store is opened
	ledger := os.NewFile(ledgerFD, "ledger")
	for range most {
		s, err := boltstore.Open(filepath.Join(dir, storeName), nil)
		if err != nil {
			return err
		}
		b, err := jobqueue.New(s, nil)
		if err != nil {
			return err
		}
		err = life.Play(context.Background(), b, life.Load{Seed: seed, Callers: callers, Large: seed%4 == 0, First: first}, ledger)
		if !errors.Is(err, jobqueue.ErrOutcomeUnknown) {
			return err
		}
		first, seed = first+1_000_000, seed+1 // no number of an operation twice
		if err := errors.Join(b.Shutdown(context.Background()), s.Close()); err != nil {
			fmt.Fprintln(os.Stderr, "load: close:", err)
		}
	}
	return nil
}

// audit opens what a loss of power left, and prints what is broken, and the number of the next operation.
func audit(dir, ledger string) error {
	f, err := os.Open(ledger)
	if err != nil {
		return err
	}
	defer f.Close()
	l, err := life.Read(f)
	if err != nil {
		return err
	}
	s, err := boltstore.Open(filepath.Join(dir, storeName), nil)
	if err != nil {
		fmt.Printf("bad open: %v (I1, I16)\n", err)
		return nil
	}
	for _, bad := range l.Audit(context.Background(), s, nil) {
		fmt.Printf("bad %q\n", bad)
	}
	if err := s.Close(); err != nil {
		fmt.Printf("bad close: %v\n", err)
	}
	fmt.Println("next", l.Last()+1)
	return nil
}
