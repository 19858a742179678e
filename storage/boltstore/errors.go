package boltstore

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/pollackq/pollack/storage"
)

// Errors of Open, Wrap and Verify. They are wrapped: compare with errors.Is.
var (
	// ErrLocked says that another process, or another Store of this one, has the file open.
	ErrLocked = errors.New("file is in use by another process: close the store there, or wait longer (Options.Timeout)")
	// ErrForeign says that the file is not one of this package: not a bbolt file, or one without our bucket. It was not touched.
	ErrForeign = errors.New("file is not a job store: name another path, or use Wrap for a bbolt file of your own")
	// ErrTruncated says that the file is shorter than its own first pages say. It was not touched.
	ErrTruncated = errors.New("file is truncated: restore it from a backup")
	// ErrDamaged says that the file is one of ours, but cannot be read.
	ErrDamaged = errors.New("file is damaged: run Verify on it, or restore it from a backup")
	// ErrFormat says that the file was written by a version of this package that this one does not know. It was not touched.
	ErrFormat = errors.New("file has a format that this version does not know: use the version that wrote it, or a newer one")
	// ErrReadOnly says that the file, or the directory it is to be created in, cannot be written.
	ErrReadOnly = errors.New("file or directory is not writable: check its permissions and its file system")
)

// openError translates an error of bbolt's Open.
func openError(err error) error {
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return ErrLocked
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w (%w)", ErrReadOnly, err)
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrVersionMismatch):
		return fmt.Errorf("%w (%w)", ErrForeign, err)
	case errors.Is(err, bolterrors.ErrChecksum):
		return fmt.Errorf("%w (%w)", ErrDamaged, err)
	}
	return err
}

// isFull reports whether a commit failed for want of room.
func isFull(err error) bool {
	if errors.Is(err, bolterrors.ErrMaxSizeReached) {
		return true
	}
	for _, no := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		// bbolt formats the cause with %s where it grows the file, so that only its text is left.
		if errors.Is(err, no) || err != nil && strings.HasSuffix(err.Error(), no.Error()) {
			return true
		}
	}
	return false
}

// corrupt makes the error for a damaged record of a job.
func corrupt(id storage.ID, record string, err error) error {
	return &storage.CorruptError{Job: id, Record: record, Err: err}
}

var (
	errSum      = errors.New("checksum does not match")
	errMissing  = errors.New("record is missing")
	errVersion  = errors.New("record has an unknown version")
	errOverlaid = errors.New("its job has its places in the journal")
	errPlace    = errors.New("place does not agree with the record")
)
