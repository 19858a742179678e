package storage

import (
	"crypto/rand"
	"encoding/binary"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
)

// An ID names a job, or a blob. It is a ULID: 26 characters that sort by the millisecond of their making.
type ID = ulid.ULID

// latest is the id that this process made last.
var latest struct {
	sync.Mutex
	id ID
}

// NewID returns an id of the given time with 80 random bits. Those that a process makes for one millisecond ascend.
func NewID(t time.Time) ID {
	var id ID
	_ = id.SetTime(ulid.Timestamp(t)) // a time that does not fit leaves zero, and the id as unique

	var entropy [10]byte
	rand.Read(entropy[:]) // never fails
	_ = id.SetEntropy(entropy[:])

	latest.Lock()
	defer latest.Unlock()
	if id.Time() == latest.id.Time() {
		// The last id and a random step of up to 2^32, so that the next one cannot be told from it.
		low := binary.BigEndian.Uint64(latest.id[8:])
		next := low + 1 + uint64(binary.BigEndian.Uint32(entropy[:4]))
		if next > low { // else the 64 bits are used up: the new random ones will do
			id = latest.id
			binary.BigEndian.PutUint64(id[8:], next)
		}
	}
	latest.id = id
	return id
}
