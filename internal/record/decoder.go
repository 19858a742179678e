package record

import (
	"time"
	"unsafe"

	"github.com/pollackq/pollack/storage"
)

// A Decoder reads a record from its beginning. It notes that a record is malformed instead of failing at each step: from then on all that it
// reads is zero, and Err and End say so. Every text that it reads shares the memory of the string it was made of.
type Decoder struct {
	left string
	bad  bool
}

// NewDecoder returns a Decoder of s.
func NewDecoder(s string) Decoder { return Decoder{left: s} }

// NewLentDecoder returns a Decoder of b itself, not of a copy. The texts that it reads change with b: copy what is to be kept.
func NewLentDecoder(b []byte) Decoder {
	return Decoder{left: unsafe.String(unsafe.SliceData(b), len(b))}
}

// Len returns how many bytes are left.
func (d *Decoder) Len() int { return len(d.left) }

// Fail notes that the record is malformed.
func (d *Decoder) Fail() { d.bad, d.left = true, "" }

// Err returns ErrMalformed if the record has been found to be, else nil.
func (d *Decoder) Err() error {
	if d.bad {
		return ErrMalformed
	}
	return nil
}

// End returns ErrMalformed if the record has been found to be, or if something of it is left; else nil.
func (d *Decoder) End() error {
	if d.bad || d.left != "" {
		return ErrMalformed
	}
	return nil
}

// Take reads n bytes, or "" if there are not so many.
func (d *Decoder) Take(n int) string {
	if n < 0 || n > len(d.left) {
		d.Fail()
		return ""
	}
	p := d.left[:n]
	d.left = d.left[n:]
	return p
}

// Byte reads a byte.
func (d *Decoder) Byte() byte {
	if p := d.Take(1); p != "" {
		return p[0]
	}
	return 0
}

// Uvarint reads what binary.AppendUvarint wrote.
func (d *Decoder) Uvarint() uint64 {
	var x uint64
	for shift := 0; shift < 64; shift += 7 {
		b := d.Byte()
		if shift == 63 && b > 1 {
			break // more than 64 bits
		}
		x |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return x
		}
	}
	d.Fail()
	return 0
}

// Varint reads what binary.AppendVarint wrote.
func (d *Decoder) Varint() int64 {
	u := d.Uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

// Text reads a text.
func (d *Decoder) Text() string { return d.Take(d.length()) }

// ID reads an id.
func (d *Decoder) ID() (id storage.ID) {
	copy(id[:], d.Take(len(id)))
	return id
}

// OptionalTime reads what AppendOptionalTime wrote.
func (d *Decoder) OptionalTime() time.Time {
	switch d.Byte() {
	case 0:
	case 1:
		return d.time()
	default:
		d.Fail()
	}
	return time.Time{}
}

func (d *Decoder) time() time.Time { return time.UnixMicro(int64(d.uint64())).UTC() }

func (d *Decoder) uint64() uint64 {
	p := d.Take(8)
	if p == "" {
		return 0
	}
	_ = p[7]
	return uint64(p[7]) | uint64(p[6])<<8 | uint64(p[5])<<16 | uint64(p[4])<<24 |
		uint64(p[3])<<32 | uint64(p[2])<<40 | uint64(p[1])<<48 | uint64(p[0])<<56
}

// length reads how much is still to come, never more than there are bytes.
func (d *Decoder) length() int {
	n := d.Uvarint()
	if n > uint64(len(d.left)) {
		d.Fail()
		return 0
	}
	return int(n)
}

// mask reads which fields are present, of those that are known.
func (d *Decoder) mask(known uint64) uint64 {
	m := d.Uvarint()
	if m&^known != 0 {
		d.Fail()
		return 0
	}
	return m
}

func (d *Decoder) uint32() uint32 { return narrow[uint32](d, d.Uvarint()) }
func (d *Decoder) int16() int16   { return narrow[int16](d, d.Varint()) }
func (d *Decoder) int() int       { return narrow[int](d, d.Varint()) }

// narrow makes a number smaller, if it fits.
func narrow[To uint32 | int16 | int, From uint64 | int64](d *Decoder, n From) To {
	small := To(n)
	if From(small) != n {
		d.Fail()
		return 0
	}
	return small
}
