package boltstore_test

import (
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/boltstore"
)

// A narrow disk has so many bytes for a file.
type narrowDisk struct {
	size atomic.Int64
	last atomic.Int64 // how far the file has blocks
}

func (d *narrowDisk) allocate(_ *os.File, from, size int64) error {
	if from+size > d.size.Load() {
		return syscall.ENOSPC
	}
	d.last.Store(max(d.last.Load(), from+size))
	return nil
}

// On a disk that is full what was accepted can be delivered and ended in the blocks that the file has; what is new is accepted again once
// there is room (I14).
func TestOnAFullDiskWhatWasAcceptedCanBeEnded(t *testing.T) {
	for _, payload := range []int{100, 3000} {
		f := filling{mib: 4, payload: payload, many: 3, keys: true}
		t.Run(f.String(), func(t *testing.T) {
			var d narrowDisk
			d.size.Store(4 << 20)
			s := reopen(t, filepath.Join(t.TempDir(), "jobs.db"), boltstore.OnDisk(d.allocate))
			b, err := jobqueue.New(s, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer b.Shutdown(t.Context())
			accepted := f.fill(t, b)
			if least := f.mib << 20 / (3*f.payload + 1600); accepted < least {
				t.Errorf("%d jobs fit, want %d at least", accepted, least)
			}
			if ended, refused := f.end(t, b); ended != accepted || refused > 0 {
				t.Fatalf("%d of %d jobs ended, %d calls were refused", ended, accepted, refused)
			}
			if used, blocks := boltstore.PagesEnd(s), d.last.Load(); used > blocks {
				t.Errorf("the pages reach to %d, the file has blocks up to %d", used, blocks)
			}
			check(t, s)
			d.size.Store(8 << 20)
			if more := f.fill(t, b); more < accepted/2 {
				t.Errorf("with twice the disk %d more jobs fit, %d before", more, accepted)
			}
			t.Logf("%d jobs", accepted)
		})
	}
}

// A file of a MaxSize gets no blocks beyond that.
func TestAFileOfAMaxSizeHasNoMoreBlocks(t *testing.T) {
	const maxSize = 2 << 20
	var d narrowDisk
	d.size.Store(1 << 40)
	o := boltstore.OnDisk(d.allocate)
	o.MaxSize = maxSize
	b, err := jobqueue.New(reopen(t, filepath.Join(t.TempDir(), "jobs.db"), o), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Shutdown(t.Context())
	f := filling{mib: 2, payload: 1000, many: 1}
	accepted := f.fill(t, b)
	if ended, refused := f.end(t, b); ended != accepted || refused > 0 {
		t.Errorf("%d of %d jobs ended, %d calls were refused", ended, accepted, refused)
	}
	if blocks := d.last.Load(); blocks == 0 || blocks > maxSize {
		t.Errorf("the file has blocks for %d bytes, want %d at most", blocks, maxSize)
	}
}

// Where no blocks can be kept the store works as well.
func TestADiskThatKeepsNoBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		s := reopen(t, filepath.Join(t.TempDir(), "jobs.db"), boltstore.OnDisk(func(*os.File, int64, int64) error {
			asked++
			return errors.ErrUnsupported
		}))
		update(t, s, func(tx storage.Tx) error { return tx.PutQueue(&storage.Queue{QueueName: queueA}) })
		for range 10 {
			update(t, s, add(storage.NewID(time.Now())))
		}
		time.Sleep(time.Minute)
		update(t, s, add(storage.NewID(time.Now())))
		if asked != 1 {
			t.Errorf("it was asked %d times, want 1", asked)
		}
	})
}
