package steps

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/pollackq/pollack/internal/torture/attack"
	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/boltstore"
	"github.com/pollackq/pollack/storage/memstore"
	"github.com/pollackq/pollack/storage/storagetest"
)

// Stores is the technique below the brokers: random transactions on boltstore and memstore, a part of them failing or panicking at their
// end, whose every answer must be the same, and from time to time all that the stores hold (I4, I23). Many of these files are another
// program's own, and some are closed and opened again in between; storagetest makes the transactions.
var Stores = &attack.Technique{
	Name:    "stores",
	Promise: "boltstore answers any transactions as memstore does, and its orders, keys and counts agree with its records (I4, I23)",
	Unit:    "transactions",
	CI:      40_000,
	Release: 2_000_000,
	Control: 20_000,
	Minutes: 4,
	Run:     runStores,
}

// life is how many transactions a pair of stores lives.
const life = 400

func runStores(r *attack.Run) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 4 { // commits are waited for
		wg.Go(func() {
			for !r.Over() {
				n := int(next.Add(1)) - 1
				if n*life >= r.N {
					return
				}
				oneLife(r, n)
			}
		})
	}
	wg.Wait()
}

// oneLife compares a pair of stores.
func oneLife(r *attack.Run, n int) {
	path := filepath.Join(r.Dir, fmt.Sprintf("stores-%d.db", n))
	defer os.Remove(path)
	rnd := r.Rand(n)
	t := &judge{}
	over := make(chan struct{})
	go func() { // of its own, so that Fatalf can end it
		defer close(over)
		t.compare(path, rnd)
	}()
	<-over
	if t.bad != "" {
		r.Bad("pair %d: %s", n, t.bad)
		return
	}
	r.Done(life)
}

// compare plays histories on a pair. What is read at an opening is what the last one left: the model stays as it is.
func (t *judge) compare(path string, rnd *rand.Rand) {
	model := memstore.New(nil)
	defer model.Close()
	const openings = 4
	for range openings {
		s, closeAll, err := opens[rnd.IntN(len(opens))](path)
		if err != nil {
			t.Fatalf("open: %v", err)
		}
		storagetest.Compare(t, model, s, rnd.Uint64(), life/openings)
		if err := closeAll(); err != nil {
			t.Fatalf("Close: %v", err)
		}
	}
}

// opens are ways to open the file. Where its size is bounded, jobs are written back from the overlay to the trees all the time, and not only
// when it is closed.
var opens = []func(path string) (s storage.Store, closeAll func() error, err error){
	func(path string) (storage.Store, func() error, error) { return own(path, nil) },
	func(path string) (storage.Store, func() error, error) {
		return own(path, &boltstore.Options{MaxSize: small})
	},
	users,
}

// small is a size of which some hundred kilobytes are for the journal; what a history makes has room in the rest.
const small = 6 << 20

func own(path string, o *boltstore.Options) (storage.Store, func() error, error) {
	b, err := boltstore.Open(path, o)
	if err != nil {
		return nil, nil, err
	}
	return b, b.Close, nil
}

// users opens a user's own file with a store in it.
func users(path string) (storage.Store, func() error, error) {
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		return nil, nil, err
	}
	b, err := boltstore.Wrap(db, nil)
	if err != nil {
		return nil, nil, err
	}
	return b, func() error {
		if err := b.Close(); err != nil {
			return err
		}
		return db.Close()
	}, nil
}

// A judge takes what storagetest finds, as a test would.
type judge struct {
	testing.TB
	bad string
}

func (t *judge) Helper() {}

func (t *judge) Fatalf(format string, args ...any) {
	t.bad = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func (t *judge) Errorf(format string, args ...any) { t.bad = fmt.Sprintf(format, args...) }
