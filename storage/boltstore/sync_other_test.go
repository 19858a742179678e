//go:build !linux

package boltstore_test

import "os"

func fdatasync(f *os.File) error { return f.Sync() }
