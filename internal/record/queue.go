package record

import (
	"encoding/binary"

	"github.com/pollackq/pollack/storage"
)

// QueueLen bounds how many bytes AppendQueue appends, and leaves room for what a store puts around them.
func QueueLen(q *storage.Queue) int { return base + len(q.Status) + tagsLen(q.Tags) }

// AppendQueue appends a queue's settings: all but its name.
func AppendQueue(b []byte, q *storage.Queue) []byte {
	b = appendLimits(b, q.Limits)
	b = binary.AppendVarint(b, int64(q.Backlog))
	b = appendTags(b, q.Tags)
	b = appendText(b, q.Status)
	b = AppendOptionalTime(b, q.Created)
	return AppendOptionalTime(b, q.Closed)
}

// Queue reads what AppendQueue appended, and no more. Its texts share one copy of p.
func Queue(p []byte, name storage.QueueName) (*storage.Queue, error) {
	d := NewDecoder(string(p))
	q := &storage.Queue{QueueName: name}
	q.Limits = d.limits()
	q.Backlog = d.int()
	q.Tags = d.tags()
	q.Status = d.Text()
	q.Created = d.OptionalTime()
	q.Closed = d.OptionalTime()
	if err := d.End(); err != nil {
		return nil, err
	}
	return q, nil
}
