//go:build unix

package pgserver

import "syscall"

const (
	supported = true
	freeze    = syscall.SIGSTOP
)

// attributes are those of a process that is the owner's.
func attributes(o owner) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{}
	if o.other {
		a.Credential = &syscall.Credential{Uid: uint32(o.uid), Gid: uint32(o.gid)}
	}
	return a
}

func kill(pid int, s syscall.Signal) { syscall.Kill(pid, s) }
