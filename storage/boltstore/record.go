package boltstore

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/pollackq/pollack/internal/record"
)

// A record is a version byte, a body, and a CRC32C over the record's key and both. What the fields in a body look like says package record.
const (
	version = 1
	sumLen  = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func sum(key, body []byte) uint32 {
	return crc32.Update(crc32.Update(0, castagnoli, key), castagnoli, body)
}

// seal completes the record that begins at b[from:].
func seal(b []byte, from int, key []byte) []byte {
	return binary.LittleEndian.AppendUint32(b, sum(key, b[from:]))
}

// unseal returns the body of a record.
func unseal(key, rec []byte) ([]byte, error) {
	if len(rec) < 1+sumLen {
		return nil, record.ErrMalformed
	}
	body := rec[:len(rec)-sumLen]
	if binary.LittleEndian.Uint32(rec[len(body):]) != sum(key, body) {
		return nil, errSum
	}
	if body[0] != version {
		return nil, errVersion
	}
	return body[1:], nil
}

// A place in an order is a key with nothing but its checksum.
func appendPlace(b, key []byte) []byte {
	from := len(b)
	return seal(append(b, version), from, key)
}

// An arena hands out memory that stays as it is until reset: bbolt keeps the values it is given until the commit.
type arena struct{ free []byte }

const slab = 64 << 10

// next returns room for n bytes at least: append to it, then call took.
func (a *arena) next(n int) []byte {
	if cap(a.free)-len(a.free) < n {
		a.free = make([]byte, 0, max(n, min(2*cap(a.free), 16*slab), slab)) // in the end one is enough for a batch
	}
	return a.free[len(a.free):len(a.free):cap(a.free)]
}

// took keeps what was appended to the result of next.
func (a *arena) took(b []byte) []byte {
	if len(b) > cap(a.free)-len(a.free) {
		return b // outgrew the slab: it is the heap's now
	}
	a.free = a.free[:len(a.free)+len(b)]
	return b[:len(b):len(b)]
}
