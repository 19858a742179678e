package jobqueue

import (
	"context"
	"errors"
	"io"

	"github.com/pollackq/pollack/storage"
)

// A Content reads a payload or result: an io.ReadSeekCloser that holds at most one chunk (64 KiB), or what is kept with the job (at
// most 256 KiB), in memory. It looks each chunk up in a transaction of its own, so a slow reader holds nothing up; if the job is
// deleted meanwhile, reading fails with ErrPayloadGone. It is not safe for concurrent use.
type Content struct {
	ctx         context.Context // of the call that opened it, which bounds its reads
	c           *core
	contentType string
	size        int64
	blob        ID // zero if all is in chunk
	chunk       []byte
	number      int64 // of chunk; -1 for none
	offset      int64
	closed      bool
}

// Size returns the number of bytes.
func (c *Content) Size() int64 { return c.size }

// ContentType returns the type its writer gave, "" if none.
func (c *Content) ContentType() string { return c.contentType }

// Read reads the next bytes.
func (c *Content) Read(p []byte) (int, error) {
	if c.closed {
		return 0, errors.New("content is closed")
	}
	if c.offset >= c.size {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	at := c.offset
	if c.blob != (ID{}) {
		if err := c.load(c.offset / storage.ChunkSize); err != nil {
			return 0, err
		}
		at %= storage.ChunkSize
	}
	if at >= int64(len(c.chunk)) {
		return 0, io.ErrUnexpectedEOF
	}
	n := copy(p, c.chunk[at:])
	c.offset += int64(n)
	return n, nil
}

// Seek sets where the next Read begins.
func (c *Content) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += c.offset
	case io.SeekEnd:
		offset += c.size
	}
	if offset < 0 || whence < 0 || whence > 2 {
		return 0, errors.New("seek: no such place")
	}
	c.offset = offset
	return offset, nil
}

// Close frees what it holds.
func (c *Content) Close() error {
	c.closed, c.chunk, c.number = true, nil, -1
	return nil
}

func (c *Content) load(number int64) error {
	if c.number == number {
		return nil
	}
	err := c.c.view(c.ctx, storage.Reads{}, func(r storage.Reader) (err error) {
		c.chunk, err = r.Chunk(c.blob, uint32(number))
		return err
	})
	if errors.Is(err, ErrNotFound) {
		err = ErrPayloadGone
	}
	c.number = number
	if err != nil {
		c.number = -1
	}
	return err
}

// Payload opens what the job was enqueued with. Errors: ErrNotFound; ErrGone and ErrPayloadGone when it is no longer kept.
func (b *Broker) Payload(ctx context.Context, id ID) (*Content, error) {
	c := &Content{ctx: ctx, c: b.core, number: -1}
	err := b.view(ctx, storage.Reads{Jobs: []ID{id}, Payloads: true}, func(r storage.Reader) error {
		j, err := b.find(r, id)
		if err != nil {
			return err
		}
		if j.NoPayload {
			return ErrPayloadGone
		}
		c.contentType, c.size, c.blob, c.chunk = j.ContentType, j.Size, j.Blob, nil
		if c.blob == (ID{}) {
			c.chunk, err = r.Payload(j)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Result opens what the job was completed with. A job that has not succeeded, or without a result, is ErrNotFound.
func (b *Broker) Result(ctx context.Context, id ID) (*Content, error) {
	c := &Content{ctx: ctx, c: b.core, number: -1}
	err := b.view(ctx, storage.Reads{Jobs: []ID{id}, Results: true}, func(r storage.Reader) error {
		j, err := b.find(r, id)
		if err != nil {
			return err
		}
		kept, err := readBeside(r, j)
		if err != nil {
			return err
		}
		if j.State != Succeeded || !kept.hasResult {
			return ErrNotFound
		}
		c.contentType, c.size, c.blob, c.chunk = kept.contentType, j.ResultSize, j.ResultBlob, kept.result
		return nil
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}
