// Package ram finds a folder in memory, for techniques to which it does not matter whether a disk is slow: neither a kill nor a call that
// fails asks what has reached it.
package ram

import (
	"os"
	"syscall"

	"github.com/pollackq/pollack/internal/torture/attack"
)

const (
	memory = "/dev/shm"
	enough = 512 << 20 // bytes that must be free there; in containers it is often small
)

// Dir returns an empty folder in memory, the run's own where there is none, and what removes it.
func Dir(r *attack.Run) (dir string, remove func()) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(memory, &s); err != nil || s.Bavail*uint64(s.Bsize) < enough {
		return r.Dir, func() {}
	}
	dir, err := os.MkdirTemp(memory, "torture-")
	if err != nil {
		return r.Dir, func() {}
	}
	return dir, func() { os.RemoveAll(dir) }
}
