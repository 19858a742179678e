package main

import (
	"context"
	"encoding/binary"
	"errors"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"

	"go.etcd.io/bbolt"
)

// A rawBolt is the least that durable work in bbolt can cost: one put a caller, those of callers that wait together in one transaction. It
// is set up and gathers as boltstore does. A lone caller has a db.Update to itself. Its keys go round, so that the file has a bound.
type rawBolt struct {
	db     *bbolt.DB
	lone   bool
	last   uint64 // the last key used
	remove func()

	mu      sync.Mutex // guards pending, idle and closed
	pending []*rawPut
	idle    bool
	closed  bool
	waiting atomic.Int64
	wake    chan struct{} // has room for one
	stopped chan struct{}
	puts    sync.Pool
}

type rawPut struct {
	value []byte
	done  chan error // has room for one
}

const (
	rawKeys  = 1 << 20
	rawBatch = 1024 // puts of one transaction, as boltstore's
)

var rawBucket = []byte("puts")

func newRawBolt(r *run, callers int) (*rawBolt, error) {
	dir, remove, err := r.temp()
	if err != nil {
		return nil, err
	}
	db, err := bbolt.Open(filepath.Join(dir, "raw.db"), 0o600, &bbolt.Options{
		NoFreelistSync: true, FreelistType: bbolt.FreelistMapType, InitialMmapSize: 1 << 30,
	})
	if err != nil {
		remove()
		return nil, err
	}
	b := &rawBolt{db: db, lone: callers == 1, remove: remove, wake: make(chan struct{}, 1), stopped: make(chan struct{})}
	b.puts.New = func() any { return &rawPut{done: make(chan error, 1)} }
	err = db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucket(rawBucket)
		return err
	})
	go b.commitLoop()
	if err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

func (b *rawBolt) cycle(_ context.Context, c *caller) error {
	value := c.next()
	if err := c.got(value); err != nil { // nothing is received here
		return err
	}
	if b.lone {
		return b.db.Update(func(tx *bbolt.Tx) error { return b.put(b.bucket(tx), value) })
	}
	p := b.puts.Get().(*rawPut)
	defer b.puts.Put(p)
	p.value = value
	b.mu.Lock()
	b.pending = append(b.pending, p)
	b.waiting.Add(1)
	if b.idle {
		b.idle = false
		b.wake <- struct{}{}
	}
	b.mu.Unlock()
	return <-p.done
}

func (b *rawBolt) bucket(tx *bbolt.Tx) *bbolt.Bucket {
	bucket := tx.Bucket(rawBucket)
	bucket.FillPercent = 0.95 // keys grow
	return bucket
}

func (b *rawBolt) put(bucket *bbolt.Bucket, value []byte) error {
	b.last++
	return bucket.Put(binary.BigEndian.AppendUint64(nil, b.last%rawKeys), value)
}

func (b *rawBolt) commitLoop() {
	defer close(b.stopped)
	var batch []*rawPut
	for {
		b.mu.Lock()
		if len(b.pending) == 0 {
			if b.closed {
				b.mu.Unlock()
				return
			}
			b.idle = true
			b.mu.Unlock()
			<-b.wake
			continue
		}
		b.mu.Unlock()
		batch = b.take(batch[:0])
		err := b.db.Update(func(tx *bbolt.Tx) error {
			bucket := b.bucket(tx)
			for i := 0; i < len(batch); i++ {
				if err := b.put(bucket, batch[i].value); err != nil {
					return err
				}
				if i == len(batch)-1 && i+1 < rawBatch {
					b.gather()
					batch = b.take(batch)
				}
			}
			return nil
		})
		for _, p := range batch {
			p.done <- err
		}
	}
}

// gather yields until the number waiting stops growing.
func (b *rawBolt) gather() {
	for n := b.waiting.Load(); n < rawBatch; {
		runtime.Gosched()
		m := b.waiting.Load()
		if m == n {
			return
		}
		n = m
	}
}

// take moves what waits into the batch.
func (b *rawBolt) take(batch []*rawPut) []*rawPut {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := min(len(b.pending), rawBatch-len(batch))
	batch = append(batch, b.pending[:n]...)
	b.pending = append(b.pending[:0], b.pending[n:]...)
	b.waiting.Add(int64(-n))
	return batch
}

func (b *rawBolt) close() error {
	b.mu.Lock()
	b.closed = true
	if b.idle {
		b.idle = false
		b.wake <- struct{}{}
	}
	b.mu.Unlock()
	<-b.stopped
	defer b.remove()
	return b.db.Close()
}
