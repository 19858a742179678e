package boltstore

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"
)

func TestWhatCountsAsFull(t *testing.T) {
	for err, want := range map[error]bool{
		&os.PathError{Op: "write", Err: syscall.ENOSPC}:     true,
		&os.PathError{Op: "write", Err: syscall.EDQUOT}:     true,
		fmt.Errorf("file resize error: %s", syscall.EFBIG):  true, // as bbolt words it
		fmt.Errorf("file resize error: %w", syscall.ENOSPC): true,
		&os.PathError{Op: "write", Err: syscall.EIO}:        false,
		errors.New("database reached the moon"):             false,
	} {
		if got := isFull(err); got != want {
			t.Errorf("%v: got %v, want %v", err, got, want)
		}
	}
	if isFull(nil) {
		t.Error("nil: got true, want false")
	}
}
