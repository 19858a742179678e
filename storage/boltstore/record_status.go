package boltstore

import (
	"encoding/binary"

	"github.com/pollackq/pollack/internal/record"
	"github.com/pollackq/pollack/storage"
)

// appendStatus encodes a Status behind the number of its job's queue.
func appendStatus(b, key []byte, queue uint64, s *storage.Status) []byte {
	from := len(b)
	b = append(b, version)
	b = binary.AppendUvarint(b, queue)
	return seal(record.AppendStatus(b, s), from, key)
}

func decodeStatus(key, rec []byte, s *storage.Status) (queue uint64, err error) {
	body, err := unseal(key, rec)
	if err != nil {
		return 0, err
	}
	d := record.NewLentDecoder(body)
	queue = d.Uvarint()
	d.Status(s)
	return queue, d.End()
}
