//go:build !linux

package pgstore_test

import "testing"

func smallDisk(t *testing.T, in string, size int) string {
	t.Helper()
	t.Skip("a small disk is mounted on Linux only")
	return ""
}
