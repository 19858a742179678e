package boltstore

import (
	"encoding/binary"
	"time"

	"github.com/pollackq/pollack/internal/record"
	"github.com/pollackq/pollack/storage"
)

// appendQueue encodes a queue's settings behind its number.
func appendQueue(b, key []byte, number uint64, q *storage.Queue) []byte {
	from := len(b)
	b = append(b, version)
	b = binary.AppendUvarint(b, number)
	return seal(record.AppendQueue(b, q), from, key)
}

// splitQueue returns the number in a record of a queue, and its encoded settings.
func splitQueue(key, rec []byte) (number uint64, settings []byte, err error) {
	body, err := unseal(key, rec)
	if err != nil {
		return 0, nil, err
	}
	n, k := binary.Uvarint(body)
	if k <= 0 || n == 0 {
		return 0, nil, record.ErrMalformed
	}
	return n, body[k:], nil
}

func decodeQueue(name storage.QueueName, key, rec []byte) (*storage.Queue, error) {
	_, settings, err := splitQueue(key, rec)
	if err != nil {
		return nil, err
	}
	return record.Queue(settings, name)
}

// queueNumber reads only the number.
func queueNumber(key, rec []byte) (uint64, error) {
	number, _, err := splitQueue(key, rec)
	return number, err
}

const countersLen = 1 + (storage.States+1)*binary.MaxVarintLen64 + sumLen

func appendCounters(b, key []byte, next uint64, counts *storage.Counts) []byte {
	from := len(b)
	b = append(b, version)
	b = binary.AppendUvarint(b, next)
	for _, n := range counts {
		b = binary.AppendVarint(b, n)
	}
	return seal(b, from, key)
}

func decodeCounters(key, rec []byte) (next uint64, counts storage.Counts, err error) {
	body, err := unseal(key, rec)
	if err != nil {
		return 0, counts, err
	}
	d := record.NewLentDecoder(body)
	next = d.Uvarint()
	for i := range counts {
		counts[i] = d.Varint()
	}
	return next, counts, d.End()
}

// A meta is what the store as a whole remembers. It is written with every commit.
type meta struct {
	commits uint64
	time    time.Time // of the last commit
	queues  uint64    // the last number given to a queue
	large   uint64    // the last number given to a large value
}

func (m *meta) append(b []byte) []byte {
	from := len(b)
	b = append(b, version)
	b = binary.AppendUvarint(b, m.commits)
	b = record.AppendOptionalTime(b, m.time)
	b = binary.AppendUvarint(b, m.queues)
	b = binary.AppendUvarint(b, m.large)
	return seal(b, from, metaKey)
}

func (m *meta) decode(rec []byte) error {
	body, err := unseal(metaKey, rec)
	if err != nil {
		return err
	}
	d := record.NewLentDecoder(body)
	*m = meta{commits: d.Uvarint(), time: d.OptionalTime(), queues: d.Uvarint(), large: d.Uvarint()}
	return d.End()
}
