// Package trace runs a process and decides on each of its system calls that change files, before it happens: let it be, kill the process,
// have the call fail, do less, or wait. The calls of all threads are counted as one sequence, which strace, whose counts are per thread,
// cannot do for a Go program.
//
// The process takes part: it calls Watch when what is to be decided on begins. Then the kernel's seccomp filter stops it at the calls of
// interest and at no others, so that a traced life takes little longer than another.
package trace

import (
	"syscall"
	"time"
)

// A Call is a system call that a process is about to make.
type Call struct {
	N    int    // its number among all that were watched, from 1
	Kind string // "pwrite64"
	Nth  int    // its number among those of its kind, from 1
	Args [6]uint64
}

// A Decision says what becomes of a call. The zero Decision lets it be.
type Decision struct {
	Kill  bool          // the process dies before the call
	Error syscall.Errno // the call does nothing and returns it
	Short bool          // a write writes only half of what it was to
	Delay time.Duration // it waits before
}

// Length returns how many bytes a call is to write.
func (c *Call) Length() int { return int(c.Args[2]) }

// Ledger is the descriptor that the first of a process's extra files gets.
const Ledger = 3

// ToLedger reports whether it is a write to that descriptor.
func (c *Call) ToLedger() bool { return c.Kind == "write" && c.Args[0] == Ledger }
