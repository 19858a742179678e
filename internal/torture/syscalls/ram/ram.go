// Package ram finds a folder in memory, for techniques to which it does not matter whether a disk is slow: neither a kill nor a call that
// fails asks what has reached it.
package ram

import (
	"os"

	"github.com/pollackq/pollack/internal/torture/attack"
)

// Dir returns an empty folder in memory, the run's own where there is none, and what removes it.
func Dir(r *attack.Run) (dir string, remove func()) {
	const memory = "/dev/shm"
	if dir, err := os.MkdirTemp(memory, "torture-"); err == nil {
		return dir, func() { os.RemoveAll(dir) }
	}
	return r.Dir, func() {}
}
