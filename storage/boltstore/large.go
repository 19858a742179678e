package boltstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/pollackq/pollack/internal/record"
)

const (
	// inlineMax is the largest value that is kept in its own record.
	inlineMax = 4 << 10
	// pieceSize is the size of the pieces of a large value. With its key, checksum and headers one piece fills 16 pages of 4 KiB
	// exactly, and so do two, three and four in one leaf.
	pieceSize = 64<<10 - 16 - 16 - pieceLen - sumLen
	// tailMax is how much of the end of a large value may go into its record, where it saves a page.
	tailMax = 256
)

// The forms of a value's record.
const (
	formInline byte = iota // the value itself
	formLarge              // the number and size of a large value, and its last bytes
)

// readValue returns a copy of the value that a record holds or points to.
func (r *reader) readValue(key, rec []byte) ([]byte, error) {
	body, err := unseal(key, rec)
	if err != nil {
		return nil, err
	}
	if len(body) == 0 {
		return nil, record.ErrMalformed
	}
	if body[0] == formInline {
		return append([]byte{}, body[1:]...), nil
	}
	number, size, tail, err := decodeLarge(body)
	if err != nil {
		return nil, err
	}
	b := r.bucket(inLarge).Bucket(appendNumber(nil, number))
	if b == nil {
		return nil, errMissing
	}
	p := make([]byte, 0, size)
	for i, body := 0, size-len(tail); len(p) < body; i++ {
		key := pieceKey(number, i)
		piece := b.Get(key[largeLen:])
		if len(piece) <= sumLen || len(p)+len(piece)-sumLen > body {
			return nil, record.ErrMalformed
		}
		data := piece[:len(piece)-sumLen]
		if binary.LittleEndian.Uint32(piece[len(data):]) != sum(key, data) {
			return nil, errSum
		}
		p = append(p, data...)
	}
	return append(p, tail...), nil
}

func decodeLarge(body []byte) (number uint64, size int, tail []byte, err error) {
	d := record.NewLentDecoder(body[1:])
	number = d.Uvarint()
	n := d.Uvarint()
	if d.Err() != nil || body[0] != formLarge || n > math.MaxInt32 || uint64(d.Len()) > n {
		return 0, 0, nil, record.ErrMalformed
	}
	return number, int(n), body[len(body)-d.Len():], nil
}

// pieceKey is the key that a piece's checksum covers: the number of the value and that of the piece, which alone is its key in the bucket.
func pieceKey(number uint64, piece int) []byte {
	return binary.BigEndian.AppendUint16(appendNumber(nil, number), uint16(piece))
}

// largeOf returns the number of the large value that a record points to, 0 if it holds its value itself.
func largeOf(key, rec []byte) (uint64, error) {
	body, err := unseal(key, rec)
	if err != nil {
		return 0, err
	}
	if len(body) == 0 {
		return 0, record.ErrMalformed
	}
	if body[0] == formInline {
		return 0, nil
	}
	number, _, _, err := decodeLarge(body)
	return number, err
}

// putValue writes a value under a key that had the given record (nil if none).
func (t *txn) putValue(in int, key, p, old []byte) error {
	if old != nil {
		if err := t.dropLarge(key, old); err != nil {
			return err
		}
	}
	if len(p) <= inlineMax {
		return t.put(in, key, t.arena.took(appendInline(t.arena.next(len(p)+2+sumLen), key, p)), old)
	}
	tail := len(p) % pieceSize
	if tail > tailMax || len(p) < pieceSize {
		tail = 0
	}
	body, end := p[:len(p)-tail], p[len(p)-tail:]
	t.meta.large++
	number := t.meta.large
	name := appendNumber(nil, number)
	large, err := t.bucket(inLarge).CreateBucket(name)
	if err != nil {
		return t.fail(err)
	}
	t.undo = append(t.undo, undo{in: inLarge, key: name, bucket: true})
	t.wrote = true
	for i := 0; len(body) > 0; i++ {
		n := min(len(body), pieceSize)
		key := pieceKey(number, i)
		piece := append(make([]byte, 0, n+sumLen), body[:n]...)
		if err := large.Put(key[largeLen:], binary.LittleEndian.AppendUint32(piece, sum(key, piece))); err != nil {
			return t.fail(err)
		}
		body = body[n:]
	}
	b := append(t.arena.next(2+2*binary.MaxVarintLen64+tail+sumLen), version, formLarge)
	b = binary.AppendUvarint(b, number)
	b = binary.AppendUvarint(b, uint64(len(p)))
	b = append(b, end...)
	return t.put(in, key, t.arena.took(seal(b, 0, key)), old)
}

func appendInline(b, key, p []byte) []byte {
	from := len(b)
	b = append(append(b, version, formInline), p...)
	return seal(b, from, key)
}

// dropLarge has the large value that a record points to, if any, deleted once the call has succeeded.
func (t *txn) dropLarge(key, rec []byte) error {
	number, err := largeOf(key, rec)
	if number != 0 {
		t.drops = append(t.drops, number)
	}
	return err
}

// dropNow deletes the large values that the call no longer needs.
func (t *txn) dropNow() error {
	for _, number := range t.drops {
		if err := t.dropValue(number); err != nil {
			return t.fail(err)
		}
	}
	return nil
}

func (t *txn) dropValue(number uint64) error {
	err := t.bucket(inLarge).DeleteBucket(appendNumber(nil, number))
	if errors.Is(err, bolterrors.ErrBucketNotFound) {
		return nil
	}
	return err
}

// each calls fn for the records whose keys begin with a prefix; fn must not write.
func each(b *bbolt.Bucket, prefix []byte, fn func(k, v []byte) error) error {
	c := b.Cursor()
	for k, v := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, v = c.Next() {
		if err := fn(k, v); err != nil {
			return err
		}
	}
	return nil
}
