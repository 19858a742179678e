package soak

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pollackq/pollack/httpapi/client"
	"github.com/pollackq/pollack/jobqueue"
)

var errWork = errors.New("the work failed")

// rest is what a caller does that finds too much there, or nothing.
func rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// payload is small mostly, and now and then large enough to be written in chunks.
func (c *caller) payload() []byte {
	switch n := c.rnd.IntN(1000); {
	case n == 0:
		return make([]byte, 300<<10)
	case n < 10:
		return make([]byte, 20<<10)
	}
	return make([]byte, c.rnd.IntN(1500))
}

// produce enqueues jobs of all kinds.
func (c *caller) produce(ctx context.Context) {
	for i := 0; ctx.Err() == nil; i++ {
		j := jobqueue.NewJob{Payload: c.payload(), Priority: c.rnd.IntN(3)}
		if c.chance(30) {
			j.Key = fmt.Sprintf("%d-%d", c.number, c.rnd.IntN(1000))
			j.AnyRequest = true
		}
		switch c.rnd.IntN(10) {
		case 0:
			j.Delay = time.Duration(c.rnd.IntN(1000)) * time.Millisecond
		case 1:
			j.Deadline = time.Now().Add(time.Duration(100+c.rnd.IntN(1000)) * time.Millisecond)
		case 2:
			j.Outbox = []string{"told"}
		}
		out, err := c.b.Queue("work").Enqueue(ctx, j)
		if c.did(err) {
			c.recent.add(out.ID)
		} else {
			rest(ctx, 5*time.Millisecond)
		}
	}
}

// consume has workers of the process do the jobs, and fail some of them.
func (c *caller) consume(ctx context.Context) {
	c.b.Queue("work").Consume(ctx, func(ctx context.Context, d *jobqueue.Delivery) error {
		c.did(nil)
		switch n := d.Position % 20; {
		case n == 0:
			return jobqueue.Permanent("no", errWork)
		case n == 1:
			return jobqueue.RetryAfter(10*time.Millisecond, errWork)
		case n == 2:
			return d.Complete(ctx, jobqueue.NewResult{Data: make([]byte, 300)})
		case n == 3:
			_, err := d.Payload(ctx)
			return errors.Join(err, d.Progress(ctx, 0.5, "half"))
		}
		return nil
	}, &jobqueue.ConsumeOptions{Lease: time.Second})
}

// listen consumes what is told of ended jobs.
func (c *caller) listen(ctx context.Context) {
	c.b.Queue("told").Consume(ctx, func(context.Context, *jobqueue.Delivery) error { c.did(nil); return nil }, nil)
}

// receive takes jobs by hand, and does all that can be done with them; some it forgets.
func (c *caller) receive(ctx context.Context) {
	q := c.b.Queue("work")
	for ctx.Err() == nil {
		d, err := q.Receive(ctx, &jobqueue.ReceiveOptions{Lease: time.Second, Wait: 100 * time.Millisecond})
		if !c.did(err) {
			continue
		}
		switch c.rnd.IntN(30) {
		case 0: // let it lapse
		case 1:
			c.did(d.Release(ctx, &jobqueue.ReleaseOptions{Delay: 20 * time.Millisecond}))
		case 2:
			c.did(d.Extend(ctx, time.Second))
			c.did(d.Ack(ctx))
		case 3:
			size := 1 << 10
			if c.chance(20) {
				size = 300 << 10
			}
			c.did(d.Complete(ctx, jobqueue.NewResult{Data: make([]byte, size)}))
		case 4:
			c.did(d.Fail(ctx, "no", "text"))
			if _, err := c.b.Redrive(ctx, d.ID); c.chance(30) {
				c.did(err)
			}
		case 5:
			if next, err := d.AckNext(ctx, &jobqueue.ReceiveOptions{Lease: time.Second, Wait: -1}); c.did(err) {
				c.did(next.Ack(ctx))
			}
		default:
			c.did(d.Ack(ctx))
		}
	}
}

// watch waits for jobs to end, for as long as its patience lasts, and cancels some.
func (c *caller) watch(ctx context.Context) {
	for ctx.Err() == nil {
		id := c.recent.any(c.rnd)
		if c.chance(5) {
			_, err := c.b.Cancel(ctx, id)
			c.did(err)
			continue
		}
		patience, cancel := context.WithTimeout(ctx, time.Duration(c.rnd.IntN(5000))*time.Microsecond)
		_, err := c.b.WaitEnd(patience, id)
		cancel()
		if !c.did(err) && id == (jobqueue.ID{}) {
			rest(ctx, time.Millisecond)
		}
	}
}

// upload sends results ahead, uses some of them, cuts some and leaves some alone.
func (c *caller) upload(ctx context.Context) {
	q := c.b.Queue("uploads")
	for ctx.Err() == nil {
		u, err := q.Prepare(ctx, jobqueue.NewUpload{Size: -1, Expires: time.Second})
		if !c.did(err) {
			continue
		}
		if c.chance(20) {
			continue
		}
		size := c.rnd.IntN(300 << 10)
		if u, err = c.b.PutUpload(ctx, u.ID, bytes.NewReader(make([]byte, size))); !c.did(err) || c.chance(20) {
			continue
		}
		_, err = q.Enqueue(ctx, jobqueue.NewJob{})
		c.did(err)
		if d, err := q.TryReceive(ctx, nil); c.did(err) {
			c.did(d.Complete(ctx, jobqueue.NewResult{Upload: u}))
			if content, err := c.b.Result(ctx, d.ID); c.did(err) {
				content.Close()
			}
		}
		rest(ctx, 50*time.Millisecond)
	}
}

// session makes a queue for a few jobs, and closes it.
func (c *caller) session(ctx context.Context) {
	for i := 0; ctx.Err() == nil; i++ {
		q := c.b.Queue(fmt.Sprint("session-", i))
		_, err := q.EnqueueMany(ctx, make([]jobqueue.NewJob, 3))
		c.did(err)
		ds, err := q.ReceiveMany(ctx, 3, nil)
		c.did(err)
		for _, d := range ds {
			c.did(d.Ack(ctx))
		}
		c.did(q.Close(ctx))
		rest(ctx, 500*time.Millisecond) // each is known for a minute
	}
}

// client returns a client of the stack's server, and what ends it.
func (c *caller) client() (*client.Client, func()) {
	cl, err := client.New(c.url, &client.Options{Retries: -1})
	if err != nil {
		panic(err) // of a URL of our own
	}
	return cl, cl.CloseIdle
}

// submit enqueues over HTTP, and waits for some of the jobs.
func (c *caller) submit(ctx context.Context) {
	cl, end := c.client()
	defer end()
	for ctx.Err() == nil {
		j, err := cl.Submit(ctx, "work", client.NewJob{Payload: c.payload()})
		if !c.did(err) {
			rest(ctx, 5*time.Millisecond)
			continue
		}
		if c.chance(20) {
			patience, cancel := context.WithTimeout(ctx, time.Duration(c.rnd.IntN(20))*time.Millisecond)
			_, err := cl.Wait(patience, j.ID, nil)
			cancel()
			c.did(err)
		}
	}
}

// poll takes jobs over HTTP.
func (c *caller) poll(ctx context.Context) {
	cl, end := c.client()
	defer end()
	for ctx.Err() == nil {
		ds, err := cl.Poll(ctx, "work", &client.PollOptions{Wait: time.Second, Max: 2, Lease: time.Second})
		c.did(err)
		for _, d := range ds {
			switch c.rnd.IntN(20) {
			case 0: // let it lapse
			case 1:
				c.did(d.Release(ctx, nil))
			case 2:
				c.did(d.Fail(ctx, "no", "text"))
			case 3:
				c.did(d.Complete(ctx, map[string]int{"n": 1}))
			case 4:
				_, err := d.Bytes(ctx, 1<<20)
				c.did(err)
			default:
				c.did(d.Ack(ctx))
			}
		}
	}
}

// leave polls a queue without jobs, and goes away.
func (c *caller) leave(ctx context.Context) {
	cl, end := c.client()
	defer end()
	for ctx.Err() == nil {
		patience, cancel := context.WithTimeout(ctx, time.Duration(c.rnd.IntN(20))*time.Millisecond)
		_, err := cl.Poll(patience, fmt.Sprint("empty-", c.rnd.IntN(1000)), nil)
		cancel()
		c.did(err)
	}
}
