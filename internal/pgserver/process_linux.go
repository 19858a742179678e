package pgserver

import "syscall"

// dieWithUs has a server shut down at once when this process ends.
func dieWithUs(a *syscall.SysProcAttr) { a.Pdeathsig = syscall.SIGQUIT }
