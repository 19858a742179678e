//go:build unix && !linux

package pgserver

import "syscall"

func dieWithUs(*syscall.SysProcAttr) {}
