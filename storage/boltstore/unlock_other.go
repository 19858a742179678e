//go:build !unix || aix || solaris || android

package boltstore

import "os"

// unlock does nothing: there closing the file lets go of its lock.
func unlock(*os.File) {}
