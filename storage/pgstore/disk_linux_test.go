package pgstore_test

import (
	"fmt"
	"os"
	"syscall"
	"testing"
)

// smallDisk returns a folder with room for so many bytes, owned as the one it is in. It takes root, else the test is skipped.
func smallDisk(t *testing.T, in string, size int) string {
	t.Helper()
	dir, err := os.MkdirTemp(in, "disk-")
	if err != nil {
		t.Skipf("no folder for a small disk: %v", err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", size)); err != nil {
		t.Skipf("a small disk cannot be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	info, err := os.Stat(in)
	if err != nil {
		t.Fatal(err)
	}
	owner := info.Sys().(*syscall.Stat_t)
	if err := os.Chown(dir, int(owner.Uid), int(owner.Gid)); err != nil {
		t.Fatal(err)
	}
	return dir
}
