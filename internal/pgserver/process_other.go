//go:build !unix

package pgserver

import "syscall"

const (
	supported = false
	freeze    = syscall.SIGKILL
)

func attributes(owner) *syscall.SysProcAttr { return nil }

func dieWithUs(*syscall.SysProcAttr) {}

func kill(int, syscall.Signal) {}
