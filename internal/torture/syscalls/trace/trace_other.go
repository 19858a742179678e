//go:build !(linux && amd64)

package trace

import (
	"context"
	"errors"
	"os"
	"syscall"
)

// Supported says whether processes can be traced here.
const Supported = false

var errUnsupported = errors.New("processes are traced on Linux and amd64 only")

// Watch has nothing to watch for here.
func Watch() error { return errUnsupported }

// Run cannot run anything here.
func Run(context.Context, string, []string, []string, []*os.File, func(*Call) Decision) (syscall.WaitStatus, error) {
	return 0, errUnsupported
}
