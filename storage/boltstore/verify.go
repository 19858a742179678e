package boltstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"
)

// Verify checks a file that no Store has open: its pages by bbolt's own check, and all records as Check does. It changes nothing, and
// returns what it found, joined with errors.Join.
//
// It is meant for a process of its own: bbolt reads the pages in a goroutine where a damaged one can end the process, or keep it busy for
// ever. Give that process a time limit, and take its death for a finding.
func Verify(path string) error {
	if err := verify(path); err != nil {
		return fmt.Errorf("boltstore: verify %s: %w", path, err)
	}
	return nil
}

func verify(path string) error {
	// Without this a file that is cut short would kill us for sure.
	if err := probe(path, time.Second); err != nil {
		return err
	}
	db, _, err := openFile(path, &bbolt.Options{Timeout: time.Second, ReadOnly: true, PreLoadFreelist: true, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return err
	}
	defer db.Close()
	var errs []error
	err = guarded(func() error {
		return db.View(func(btx *bbolt.Tx) error {
			for err := range btx.Check() {
				if len(errs) < maxErrors { // but read on: the check waits for its reader
					errs = append(errs, err)
				}
			}
			var r reader
			if err := r.begin(btx, time.Time{}, new(overlays)); err != nil {
				return err
			}
			return r.check(context.Background())
		})
	})
	return errors.Join(append(errs, err)...)
}
