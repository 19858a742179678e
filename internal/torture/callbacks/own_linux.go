package callbacks

import "syscall"

// ownNetwork has a process begin in a network that has nothing in it.
func ownNetwork() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
}
