package boltstore

import (
	"errors"
	"os"
	"syscall"
)

// A disk keeps blocks for the pages that a file is going to have. A file is made longer than its pages are, and what has no blocks yet is a
// hole: if others fill the disk, or new jobs take its last blocks, the acks of what was accepted have none. So nothing new is let in before
// the file has blocks for the end of all that is in it. Whoever runs calls has it.
type disk struct {
	file      *os.File
	allocate  func(f *os.File, from, size int64) error // fallocate, but in tests
	allocated int64                                    // up to here the file has blocks
	unable    error                                    // why none can be kept any more
}

const (
	leastStep = 1 << 20  // by which the blocks are ahead, in bytes
	mostStep  = 16 << 20 // a store that fills up a disk leaves less than that to others
)

// able reports whether blocks can be kept. They cannot in a user's own file, nor on file systems and systems that do not do so.
func (d *disk) able() bool { return d.file != nil }

// extend gets blocks up to a place in the file, and some more if there are: fewer calls are needed then. A file of a MaxSize, which is not 0 then,
// gets none beyond that. It returns false if the disk is full.
func (d *disk) extend(to, maxSize int64) bool {
	most := to + mostStep
	if maxSize > 0 {
		most = maxSize
	}
	if to = min(to, most); to <= d.allocated {
		return true
	}
	for _, end := range []int64{min(to+min(max(to/8, leastStep), mostStep), most), to} {
		err := d.allocate(d.file, d.allocated, end-d.allocated)
		switch {
		case err == nil:
			d.allocated = end
			return true
		case !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT):
			d.file, d.unable = nil, err // the reserve is only as large as the free pages of the file, then
			return true
		}
	}
	return false
}
