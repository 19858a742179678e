package full

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// A disk is what gets full: a file system of its own, a bound on the store's file, or a limit of the process.
type disk struct {
	kind    string
	dir     string // where the store's file is
	ballast string // a file that is removed to make room
	size    int64
}

// The kinds of disks.
const (
	maxSize = "MaxSize" // the store's own bound
	limit   = "limit"   // RLIMIT_FSIZE: EFBIG
	tmpfs   = "tmpfs"
	ext4    = "ext4"
	xfs     = "xfs"
	growing = "growing tmpfs" // gets larger while work goes on, as when somebody's quota is raised
)

// real reports whether the bound is not the store's, so that it learns of it by an error.
func (d *disk) real() bool { return d.kind != maxSize }

// mounted reports whether it is a file system of its own, which takes root.
func (d *disk) mounted() bool { return d.real() && d.kind != limit }

// prepare makes the disk in an empty folder. What is mounted is seen by this process and its children only, and ends with them.
func (d *disk) prepare(ctx context.Context, dir string) error {
	d.dir = filepath.Join(dir, "disk")
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return err
	}
	image := filepath.Join(dir, "image")
	switch d.kind {
	case limit:
		return d.limitFiles(d.size)
	case tmpfs, growing:
		return syscall.Mount("tmpfs", d.dir, "tmpfs", 0, fmt.Sprintf("size=%d", d.size))
	case ext4:
		return errors.Join(d.image(image, d.size), command(ctx, "mkfs.ext4", "-q", "-F", "-m", "0", image), command(ctx, "mount", "-o", "loop", image, d.dir))
	case xfs:
		const least = 300 << 20 // mkfs.xfs makes no smaller ones
		if err := errors.Join(d.image(image, least), command(ctx, "mkfs.xfs", "-q", "-f", image), command(ctx, "mount", "-o", "loop", image, d.dir)); err != nil {
			return err
		}
		return d.leave(d.size)
	}
	return nil
}

func (d *disk) image(path string, size int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(size), f.Close())
}

// leave fills the disk but for so much.
func (d *disk) leave(room int64) error {
	var s syscall.Statfs_t
	if err := syscall.Statfs(d.dir, &s); err != nil {
		return err
	}
	d.ballast = filepath.Join(d.dir, "ballast")
	f, err := os.Create(d.ballast)
	if err != nil {
		return err
	}
	return errors.Join(syscall.Fallocate(int(f.Fd()), 0, 0, int64(s.Bavail)*s.Bsize-room), f.Close())
}

// room makes room: as much again as there was.
func (d *disk) room() error {
	switch d.kind {
	case limit:
		return d.limitFiles(2 * d.size)
	case tmpfs, growing:
		d.size *= 2
		return syscall.Mount("tmpfs", d.dir, "tmpfs", syscall.MS_REMOUNT, fmt.Sprintf("size=%d", d.size))
	case ext4, xfs:
		return os.Remove(d.ballast)
	}
	return nil
}

func (d *disk) limitFiles(size int64) error {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &l); err != nil {
		return err
	}
	l.Cur = uint64(size)
	return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &l)
}

func command(ctx context.Context, name string, args ...string) error {
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}
