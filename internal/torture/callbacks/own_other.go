//go:build !linux

package callbacks

import "syscall"

// ownNetwork is not to be had: ip, which the technique needs, is not there either.
func ownNetwork() *syscall.SysProcAttr { return nil }
