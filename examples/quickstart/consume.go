package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"sync"
	"time"

	"github.com/pollackq/pollack/httpapi/client"
)

// A consumer fetches files over HTTP and nothing else: it could run on another machine.
type consumer struct {
	api   *client.Client
	queue string
	out   *log.Logger

	mu          sync.Mutex // guards what follows
	files       int
	bytes       int64
	redelivered int
	told        time.Time // when the last line was written
}

// drop takes a job and does nothing about it, like a consumer that crashes. When its lease has lapsed the job is delivered again.
func (c *consumer) drop(ctx context.Context) error {
	got, err := c.api.Poll(ctx, c.queue, &client.PollOptions{Lease: time.Second, NoPayload: true})
	switch {
	case errors.Is(err, client.ErrDone): // there are no files at all
		return nil
	case errors.Is(err, client.ErrEmpty): // nor yet
		return c.drop(ctx)
	case err != nil:
		return err
	}
	c.out.Printf("dropped %q on purpose: it will be delivered again when its lease has lapsed, in a second", got[0].Name)
	return nil
}

// consume polls and works until the queue is closed and everything in it is done.
func (c *consumer) consume(ctx context.Context) error {
	err := c.api.Consume(ctx, c.queue, c.deliver, &client.ConsumeOptions{NoPayload: true})
	if errors.Is(err, client.ErrDone) {
		return nil
	}
	return err
}

// deliver downloads one file, compares its digest and acknowledges it. After an error it would be delivered again.
func (c *consumer) deliver(ctx context.Context, d *client.Delivery) error {
	content, err := d.Open(ctx)
	if err != nil {
		return err
	}
	defer content.Close()
	digest := sha256.New()
	n, err := io.Copy(digest, content)
	if err != nil {
		return err
	}
	if sum := hex.EncodeToString(digest.Sum(nil)); sum != d.Tags["sha256"] {
		return client.Permanent("digest_mismatch", fmt.Errorf("SHA-256 is %s, not %s", sum, d.Tags["sha256"]))
	}
	if err := d.Ack(ctx); err != nil {
		return err
	}

	c.mu.Lock()
	defer c.mu.Unlock()
	c.files++
	c.bytes += n
	if d.Deliveries > 1 {
		c.redelivered++
		c.out.Printf("delivered %q at delivery %d", d.Name, d.Deliveries)
	}
	if time.Since(c.told) > time.Second {
		c.out.Printf("%d files, %d bytes so far", c.files, c.bytes)
		c.told = time.Now()
	}
	return nil
}

// report says how it ended. The server's own count must be what was enqueued and what was delivered.
func (c *consumer) report(ctx context.Context, files int, bytes int64) error {
	for j, err := range c.api.Jobs(ctx, c.queue, client.Failed) {
		if err != nil {
			return err
		}
		return fmt.Errorf("%q failed after %d deliveries: %s: %s", j.Name, j.Deliveries, j.Failure.Code, j.Failure.Message)
	}
	q, err := c.api.Queue(ctx, c.queue)
	if err != nil {
		return err
	}
	if q.Counts != (client.Counts{Succeeded: files}) || c.files != files || c.bytes != bytes {
		return fmt.Errorf("enqueued %d files, %d bytes; delivered %d, %d bytes; the queue has %+v", files, bytes, c.files, c.bytes, q.Counts)
	}
	c.out.Printf("delivered %d files, %d bytes, %d redelivered, all digests match", c.files, c.bytes, c.redelivered)
	return nil
}
