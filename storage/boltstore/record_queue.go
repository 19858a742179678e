package boltstore

import (
	"encoding/binary"
	"time"

	"github.com/pollackq/pollack/storage"
)

func queueLen(q *storage.Queue) int {
	n := specBase + len(q.Status)
	for k, v := range q.Tags {
		n += len(k) + len(v) + 6
	}
	return n
}

// appendQueue encodes a queue's number and settings.
func appendQueue(b, key []byte, number uint64, q *storage.Queue) []byte {
	from := len(b)
	b = append(b, version)
	b = binary.AppendUvarint(b, number)
	b = appendLimits(b, q.Limits)
	b = binary.AppendVarint(b, int64(q.Backlog))
	b = appendTags(b, q.Tags)
	b = appendString(b, q.Status)
	b = appendOptionalTime(b, q.Created)
	b = appendOptionalTime(b, q.Closed)
	return seal(b, from, key)
}

func decodeQueue(name storage.QueueName, key, rec []byte) (*storage.Queue, error) {
	body, err := unseal(key, rec)
	if err != nil {
		return nil, err
	}
	d := decoder{s: string(body)}
	d.uvarint() // the number
	q := &storage.Queue{QueueName: name}
	q.Limits = d.limits()
	q.Backlog = int(d.varint())
	if q.Tags = d.tags(); len(q.Tags) == 0 {
		q.Tags = nil
	}
	q.Status = d.string()
	q.Created = d.optionalTime()
	q.Closed = d.optionalTime()
	return q, d.end()
}

// queueNumber reads only the number.
func queueNumber(key, rec []byte) (uint64, error) {
	body, err := unseal(key, rec)
	if err != nil {
		return 0, err
	}
	n, l := binary.Uvarint(body)
	if l <= 0 || n == 0 {
		return 0, errShort
	}
	return n, nil
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
	d := decoder{s: lent(body)}
	next = d.uvarint()
	for i := range counts {
		counts[i] = d.varint()
	}
	return next, counts, d.end()
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
	b = appendOptionalTime(b, m.time)
	b = binary.AppendUvarint(b, m.queues)
	b = binary.AppendUvarint(b, m.large)
	return seal(b, from, metaKey)
}

func (m *meta) decode(rec []byte) error {
	body, err := unseal(metaKey, rec)
	if err != nil {
		return err
	}
	d := decoder{s: lent(body)}
	*m = meta{commits: d.uvarint(), time: d.optionalTime(), queues: d.uvarint(), large: d.uvarint()}
	return d.end()
}

func appendOptionalTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(b, 0)
	}
	return appendTimeField(append(b, 1), t)
}

func (d *decoder) optionalTime() time.Time {
	if d.byte() == 0 {
		return time.Time{}
	}
	return d.time()
}
