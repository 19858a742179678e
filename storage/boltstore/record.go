package boltstore

import (
	"encoding/binary"
	"hash/crc32"
	"time"
	"unsafe"

	"github.com/pollackq/pollack/storage"
)

// A record is a version byte, a body, and a CRC32C over the record's key and both.
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
		return nil, errShort
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

func appendTimeField(b []byte, t time.Time) []byte {
	return binary.BigEndian.AppendUint64(b, uint64(t.UnixMicro()))
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// lent views a body as a string without copying it, for decoders that keep none of it.
func lent(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// A decoder reads a body. It notes a body that is too short instead of failing at each step.
type decoder struct {
	s   string
	bad bool
}

func (d *decoder) take(n int) string {
	if n < 0 || n > len(d.s) {
		d.bad, d.s = true, ""
		return ""
	}
	p := d.s[:n]
	d.s = d.s[n:]
	return p
}

func (d *decoder) byte() byte {
	if p := d.take(1); p != "" {
		return p[0]
	}
	return 0
}

func (d *decoder) uvarint() uint64 {
	var x uint64
	for shift := 0; shift < 64; shift += 7 {
		b := d.byte()
		x |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return x
		}
	}
	d.bad = true
	return 0
}

func (d *decoder) varint() int64 {
	u := d.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

func (d *decoder) uint64() uint64 {
	p := d.take(8)
	if p == "" {
		return 0
	}
	_ = p[7]
	return uint64(p[7]) | uint64(p[6])<<8 | uint64(p[5])<<16 | uint64(p[4])<<24 |
		uint64(p[3])<<32 | uint64(p[2])<<40 | uint64(p[1])<<48 | uint64(p[0])<<56
}

func (d *decoder) time() time.Time { return time.UnixMicro(int64(d.uint64())).UTC() }

func (d *decoder) id() (id storage.ID) {
	copy(id[:], d.take(idLen))
	return id
}

func (d *decoder) string() string { return d.take(d.length()) }

// length reads the length of what is still to come, never more than there is.
func (d *decoder) length() int {
	n := d.uvarint()
	if n > uint64(len(d.s)) {
		d.bad, d.s = true, ""
		return 0
	}
	return int(n)
}

func (d *decoder) end() error {
	if d.bad || d.s != "" {
		return errShort
	}
	return nil
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
