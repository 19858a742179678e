package boltstore

import (
	"os"

	"go.etcd.io/bbolt"
)

// TinyOverlay returns the options with an overlay that has hardly any room, so that jobs are written back all the time.
func TinyOverlay(o *Options) *Options {
	var tiny Options
	if o != nil {
		tiny = *o
	}
	tiny.limits = limits{jobs: 3, bytes: 1 << 20, records: 5, journal: 1 << 20, quantum: 1}
	return &tiny
}

// OnDisk returns options with which files get their blocks from that function.
func OnDisk(allocate func(f *os.File, from, size int64) error) *Options {
	return &Options{allocate: allocate}
}

// PagesEnd returns how far the pages of a store's file reach.
func PagesEnd(s *Store) (end int64) {
	s.db.View(func(btx *bbolt.Tx) error {
		end = btx.Size()
		return nil
	})
	return end
}
