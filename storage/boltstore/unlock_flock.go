//go:build unix && !aix && !solaris && !android

package boltstore

import (
	"os"
	"syscall"
)

// unlock lets go of bbolt's lock on a file.
func unlock(f *os.File) { _ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }
