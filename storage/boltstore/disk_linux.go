package boltstore

import (
	"errors"
	"os"
	"syscall"
)

// fallocate gets blocks for a part of a file, which does not become longer.
func fallocate(f *os.File, from, size int64) error {
	const keepSize = 1 // FALLOC_FL_KEEP_SIZE
	for {
		if err := syscall.Fallocate(int(f.Fd()), keepSize, from, size); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
