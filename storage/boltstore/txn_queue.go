package boltstore

import (
	"github.com/pollackq/pollack/internal/record"
	"github.com/pollackq/pollack/storage"
)

func (t *txn) PutQueue(rec *storage.Queue) (err error) {
	t.writing = true
	defer t.done(&err)
	defer t.guard(&err)
	q, err := t.queue(rec.QueueName)
	if err != nil {
		return err
	}
	number := q.number
	if number == 0 {
		if !t.room.take(record.QueueLen(rec)) {
			return storage.ErrFull
		}
		t.grew = true
		t.meta.queues++
		number = t.meta.queues
	} else if _, err := decodeQueue(q.name, q.key, q.rec); err != nil {
		return &storage.CorruptError{Queue: q.name, Record: "queue", Err: err}
	}
	t.change(q)
	if q.number == 0 {
		q.counters, q.loaded = counters{number: number}, true
	}
	b := appendQueue(make([]byte, 0, record.QueueLen(rec)), q.key, number, rec)
	old := q.rec
	q.rec, q.record = b, nil
	return t.put(inQueues, q.key, b, old)
}

func (t *txn) DeleteQueue(name storage.QueueName) (err error) {
	t.writing = true
	defer t.done(&err)
	defer t.guard(&err)
	q, err := t.counted(name)
	if err != nil {
		return err
	}
	if q.number == 0 {
		return storage.ErrNotFound
	}
	if q.counts.Total() > 0 {
		return storage.ErrInUse
	}
	t.change(q)
	if err := t.delete(inQueues, q.key); err != nil {
		return err
	}
	key := appendNumber(nil, q.number)
	if err := t.delete(inCounters, key); err != nil {
		return err
	}
	q.counters, q.rec, q.loaded, q.record = counters{}, nil, false, nil
	return nil
}

func (t *txn) PutChunk(blob storage.ID, n uint32, p []byte) (err error) {
	t.writing = true
	defer t.done(&err)
	defer t.guard(&err)
	if len(p) > storage.ChunkSize {
		return storage.ErrTooLarge
	}
	b := t.bucket(inBlobs)
	key := t.arena.took(appendChunkKey(t.arena.next(chunkLen), blob, n))
	old := b.Get(key)
	if old == nil && n > 0 && b.Get(appendChunkKey(t.key[:0], blob, n-1)) == nil {
		return storage.ErrNotFound
	}
	if !t.room.take(valueRoom(len(p)) + 64) {
		return storage.ErrFull
	}
	t.grew = true
	if err := t.putValue(inBlobs, key, p, old); err != nil {
		if t.lost != nil {
			return err
		}
		return corrupt(blob, "chunk", err)
	}
	return nil
}

func (t *txn) DeleteBlob(blob storage.ID) (err error) {
	t.writing = true
	defer t.done(&err)
	defer t.guard(&err)
	var keys [][]byte
	drops := len(t.drops)
	if err := each(t.bucket(inBlobs), blob[:], func(k, v []byte) error {
		if err := t.dropLarge(k, v); err != nil {
			return corrupt(blob, "chunk", err)
		}
		keys = append(keys, t.keep(k))
		return nil
	}); err != nil {
		t.drops = t.drops[:drops]
		return err
	}
	for _, key := range keys {
		if err := t.delete(inBlobs, key); err != nil {
			return err
		}
	}
	return nil
}
