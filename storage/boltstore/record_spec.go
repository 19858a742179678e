package boltstore

import (
	"encoding/binary"

	"github.com/pollackq/pollack/internal/record"
	"github.com/pollackq/pollack/storage"
)

// small is the largest payload or result, in bytes, that the overlay holds. Such a payload stands before its job's Spec in one record
// with it.
const small = 1 << 10

// appendSpec encodes all but the id, which is in the key, behind a small payload; nil if the payload is elsewhere, or gone.
func appendSpec(b, key []byte, s *storage.Spec, payload []byte) []byte {
	from := len(b)
	b = append(b, version)
	if payload == nil {
		b = append(b, 0)
	} else {
		b = append(binary.AppendUvarint(b, uint64(len(payload))+1), payload...)
	}
	return seal(record.AppendSpec(b, s), from, key)
}

// splitSpec returns the payload in a record of a Spec, nil if there is none, and the encoded Spec.
func splitSpec(key, rec []byte) (payload, spec []byte, err error) {
	body, err := unseal(key, rec)
	if err != nil {
		return nil, nil, err
	}
	n, k := binary.Uvarint(body)
	if k <= 0 || n > uint64(len(body)-k)+1 {
		return nil, nil, record.ErrMalformed
	}
	if body = body[k:]; n == 0 {
		return nil, body, nil
	}
	return body[: n-1 : n-1], body[n-1:], nil
}

// withoutPayload returns the record of a Spec without the payload in it.
func withoutPayload(b, key, spec []byte) []byte {
	from := len(b)
	return seal(append(append(b, version, 0), spec...), from, key)
}

func decodeSpec(key, rec []byte, id storage.ID) (*storage.Spec, error) {
	_, spec, err := splitSpec(key, rec)
	if err != nil {
		return nil, err
	}
	return record.Spec(spec, id)
}
