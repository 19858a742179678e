package boltstore

import (
	"encoding/binary"
	"hash/fnv"
	"os"
)

// wholeMetaPages counts the meta pages of a file whose checksum is right: two, or one if a loss of power tore the other, or if it was damaged
// since. Then bbolt goes on from the other, and nobody else would tell.
func wholeMetaPages(path string) (whole int) {
	const (
		header   = 16 // of a page
		pageSize = 8  // in a meta page, behind its header
		checksum = 56 // the same
	)
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	size := int64(os.Getpagesize())
	for n := range int64(2) {
		var b [checksum + 8]byte
		if _, err := f.ReadAt(b[:], n*size+header); err != nil {
			continue
		}
		h := fnv.New64a()
		h.Write(b[:checksum])
		if binary.NativeEndian.Uint64(b[checksum:]) == h.Sum64() {
			whole++
			size = int64(binary.NativeEndian.Uint32(b[pageSize:]))
		}
	}
	return whole
}
