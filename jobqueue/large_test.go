package jobqueue_test

import (
	"bytes"
	"fmt"
	"io"
	"testing"
	"testing/iotest"
	"time"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage"
)

// zeros reads n bytes of nothing.
func zeros(n int64) io.Reader { return io.LimitReader(zeroReader{}, n) }

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// uses reads, and in the midst of it enqueues into the queue named used.
type uses struct {
	io.Reader
	l     *lab
	queue string
	n     int
}

func (u *uses) Read(p []byte) (int, error) {
	n, err := u.Reader.Read(p)
	if u.n += n; u.n > 1<<20 && u.queue == "used" {
		u.queue = ""
		u.l.add("used", jobqueue.NewJob{})
	}
	return n, err
}

// pattern returns n bytes that tell their place.
func pattern(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i) ^ byte(i>>8) ^ byte(i>>16)
	}
	return p
}

// sizes are those at which something changes: how a value comes along, and how it is kept.
var sizes = []int{0, 1, 64<<10 - 1, 64 << 10, 64<<10 + 1, 256<<10 - 1, 256 << 10, 256<<10 + 1, 1 << 20, 1<<20 + 1, 5 << 20}

// reads demands that a content gives want: whole, in small pieces, and from any place.
func (l *lab) reads(c *jobqueue.Content, want []byte) {
	l.Helper()
	defer c.Close()
	equal(l, "size", c.Size(), int64(len(want)))
	got, err := io.ReadAll(c)
	l.must(err)
	if !bytes.Equal(got, want) {
		l.Errorf("content: got %d bytes, want %d, or they differ", len(got), len(want))
	}
	const chunk = storage.ChunkSize
	for _, at := range []int{0, 1, chunk - 1, chunk, chunk + 1, 4 * chunk, len(want) / 2, len(want) - 1, len(want), len(want) + 7} {
		if at < 0 {
			continue
		}
		for whence, from := range []int64{0, must(c.Seek(7, io.SeekStart)), c.Size()} {
			must(c.Seek(7, io.SeekStart))
			offset := int64(at) - from
			pos, err := c.Seek(offset, whence)
			l.must(err)
			if pos != int64(at) {
				l.Fatalf("Seek(%d, %d): got %d, want %d", offset, whence, pos, at)
			}
			p := make([]byte, 100)
			n, err := io.ReadFull(c, p)
			rest := want[min(at, len(want)):]
			if len(rest) == 0 && err != io.EOF {
				l.Fatalf("reading at %d of %d: got %v, want EOF", at, len(want), err)
			}
			if rest = rest[:min(100, len(rest))]; !bytes.Equal(p[:n], rest) {
				l.Fatalf("reading at %d of %d: got %d other bytes", at, len(want), n)
			}
		}
	}
	before := must(c.Seek(0, io.SeekCurrent))
	for _, bad := range []struct {
		offset int64
		whence int
	}{{-1, io.SeekStart}, {-int64(len(want)) - 1, io.SeekEnd}, {0, 3}, {0, -1}} {
		if _, err := c.Seek(bad.offset, bad.whence); err == nil {
			l.Errorf("Seek(%d, %d): got no error", bad.offset, bad.whence)
		}
	}
	equal(l, "place after a bad Seek", must(c.Seek(0, io.SeekCurrent)), before)
	l.must(c.Close())
	if _, err := c.Read(make([]byte, 1)); err == nil || err == io.EOF {
		l.Errorf("Read after Close: got %v, want an error", err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestPayloadsOfEverySize(t *testing.T) {
	for _, size := range sizes {
		want := pattern(size)
		for name, job := range map[string]func() jobqueue.NewJob{
			"bytes":    func() jobqueue.NewJob { return jobqueue.NewJob{Payload: want} },
			"a reader": func() jobqueue.NewJob { return jobqueue.NewJob{Body: bytes.NewReader(want)} },
			"a reader in halves": func() jobqueue.NewJob {
				return jobqueue.NewJob{Body: iotest.HalfReader(iotest.DataErrReader(bytes.NewReader(want)))}
			},
		} {
			t.Run(fmt.Sprintf("%d as %s", size, name), func(t *testing.T) {
				eachStore(t, func(t *testing.T, open opener) {
					l := open(nil)
					for _, parked := range []bool{false, true} {
						var now func() answer
						if parked {
							now = l.parked("q")
						}
						j := job()
						j.ContentType = "x/y"
						added := l.add("q", j)
						equal(l, "size", added.Size, int64(size))
						c, err := l.b.Payload(l.ctx, added.ID)
						l.must(err)
						equal(l, "content type", c.ContentType(), "x/y")
						l.reads(c, want)
						var d *jobqueue.Delivery
						if parked {
							d = now().d
						} else {
							d = l.take("q")
						}
						p, inline := d.Inline()
						equal(l, "inline", inline, size <= jobqueue.InlineLimit)
						if inline && !bytes.Equal(p, want) {
							l.Errorf("inline payload: got %d bytes, want %d, or they differ", len(p), size)
						}
						p, err = d.Payload(l.ctx)
						l.must(err)
						equal(l, "payload is what was enqueued", bytes.Equal(p, want), true)
						c, err = d.Open(l.ctx)
						l.must(err)
						l.reads(c, want)
						equal(l, "uploads", l.staged("q"), 0)
						l.must(d.Ack(l.ctx))
						_, err = l.b.Payload(l.ctx, d.ID)
						wants(l.T, "Payload after success", err, jobqueue.ErrPayloadGone)
						equal(l, "payload gone", l.job(d.ID).PayloadGone, true)
						equal(l, "size is still known", l.job(d.ID).Size, int64(size))
						equal(l, "chunks after success", l.chunks(), 0)
					}
				})
			})
		}
	}
}

func TestResultsOfEverySize(t *testing.T) {
	for _, size := range sizes {
		want := pattern(size)
		for name, result := range map[string]func() jobqueue.NewResult{
			"bytes":    func() jobqueue.NewResult { return jobqueue.NewResult{ContentType: "x/y", Data: want} },
			"a reader": func() jobqueue.NewResult { return jobqueue.NewResult{ContentType: "x/y", Body: bytes.NewReader(want)} },
		} {
			t.Run(fmt.Sprintf("%d as %s", size, name), func(t *testing.T) {
				eachStore(t, func(t *testing.T, open opener) {
					l := open(nil)
					d := l.held(jobqueue.NewJob{})
					l.must(d.Progress(l.ctx, 1, "done"))
					l.must(d.Complete(l.ctx, result()))
					j := l.state(d.ID, jobqueue.Succeeded)
					if j.Result == nil || j.Result.Size != int64(size) || j.Result.ContentType != "x/y" {
						l.Fatalf("result: got %+v, want one of %d bytes", j.Result, size)
					}
					equal(l, "result comes along", bytes.Equal(j.Result.Data, want) && j.Result.Data != nil, size <= jobqueue.InlineLimit)
					equal(l, "message", j.ProgressMessage, "done")
					c, err := l.b.Result(l.ctx, d.ID)
					l.must(err)
					equal(l, "content type", c.ContentType(), "x/y")
					l.reads(c, want)
					out, err := l.b.Complete(l.ctx, d.ID, d.Token, result())
					l.must(err)
					equal(l, "repeated", out.Repeated, true)
					equal(l, "uploads", l.staged("q"), 0)
					chunks := 0
					if size > 256<<10 {
						chunks = (size + storage.ChunkSize - 1) / storage.ChunkSize
					}
					equal(l, "chunks, after the repetition too", l.chunks(), chunks)
					l.pass(24 * time.Hour)
					equal(l, "chunks after the retention", l.chunks(), 0)
				})
			})
		}
	}
}

func TestLargeValues(t *testing.T) {
	small := &jobqueue.Options{MaxPayload: 1 << 20, MaxResult: 1 << 20}
	rules(t, []rule{
		{name: "a payload of the limit fits, one byte more does not and leaves nothing", opts: small, run: func(l *lab) {
			q := l.b.Queue("q")
			_, err := q.Enqueue(l.ctx, jobqueue.NewJob{Payload: make([]byte, 1<<20+1)})
			wants(l.T, "Enqueue of bytes", err, jobqueue.ErrTooLarge)
			equal(l, "contents", l.contents(), "")
			_, err = q.Enqueue(l.ctx, jobqueue.NewJob{Body: zeros(1<<20 + 1)})
			wants(l.T, "Enqueue of a reader", err, jobqueue.ErrTooLarge)
			_, err = q.Enqueue(l.ctx, jobqueue.NewJob{Body: zeroReader{}})
			wants(l.T, "Enqueue of an endless reader", err, jobqueue.ErrTooLarge)
			equal(l, "chunks", l.chunks(), 0)
			_, err = q.Info(l.ctx)
			wants(l.T, "Info of a queue that nothing went into", err, jobqueue.ErrNotFound)
			l.add("q", jobqueue.NewJob{Payload: make([]byte, 1<<20)})
			l.add("q", jobqueue.NewJob{Body: zeros(1 << 20)})
			equal(l, "chunks", l.chunks(), 32)
		}},
		{name: "a large payload that is refused takes no queue with it that is used or was created on purpose", opts: small, run: func(l *lab) {
			_, _, err := l.b.Queue("made").Configure(l.ctx, jobqueue.Settings{})
			l.must(err)
			for _, name := range []string{"made", "used"} {
				_, err := l.b.Queue(name).Enqueue(l.ctx, jobqueue.NewJob{Body: &uses{l: l, queue: name, Reader: zeros(1<<20 + 1)}})
				wants(l.T, "Enqueue", err, jobqueue.ErrTooLarge)
				l.info(name)
			}
		}},
		{name: "a replay with a payload beyond the limit is too large as well", opts: small, run: func(l *lab) {
			l.add("q", jobqueue.NewJob{Key: "k", Body: zeros(1 << 20)})
			_, err := l.b.Queue("q").Enqueue(l.ctx, jobqueue.NewJob{Key: "k", Body: zeros(1<<20 + 1)})
			wants(l.T, "Enqueue", err, jobqueue.ErrTooLarge)
		}},
		{name: "a limit below what is kept with a job holds", opts: &jobqueue.Options{MaxPayload: 10, MaxResult: 10}, run: func(l *lab) {
			for _, j := range []jobqueue.NewJob{{Payload: make([]byte, 11)}, {Body: zeros(11)}, {Body: zeroReader{}}} {
				_, err := l.b.Queue("q").Enqueue(l.ctx, j)
				wants(l.T, "Enqueue", err, jobqueue.ErrTooLarge)
			}
			d := l.held(jobqueue.NewJob{Body: zeros(10)})
			for _, r := range []jobqueue.NewResult{{Data: make([]byte, 11)}, {Body: zeros(11)}, {Body: zeroReader{}}} {
				wants(l.T, "Complete", d.Complete(l.ctx, r), jobqueue.ErrTooLarge)
			}
			l.state(d.ID, jobqueue.Running)
			l.must(d.Complete(l.ctx, jobqueue.NewResult{Body: zeros(10)}))
		}},
		{name: "a result of the limit fits, one byte more does not and leaves nothing", opts: small, run: func(l *lab) {
			d := l.held(jobqueue.NewJob{})
			before := l.contents()
			wants(l.T, "Complete", d.Complete(l.ctx, jobqueue.NewResult{Data: make([]byte, 1<<20+1)}), jobqueue.ErrTooLarge)
			wants(l.T, "Complete", d.Complete(l.ctx, jobqueue.NewResult{Body: zeroReader{}}), jobqueue.ErrTooLarge)
			equal(l, "records", l.contents(), before)
			equal(l, "chunks", l.chunks(), 0)
			l.must(d.Complete(l.ctx, jobqueue.NewResult{Body: zeros(1 << 20)}))
		}},
		{name: "a reader that fails leaves nothing, wherever it fails", run: func(l *lab) {
			d := l.held(jobqueue.NewJob{})
			for _, n := range []int64{0, 1, 100 << 10, 256 << 10, 1 << 20, 2<<20 - 1, 2 << 20, 3<<20 + 5} {
				for _, cause := range []error{errStalled, io.ErrUnexpectedEOF} { // the latter is how net/http says that a body was cut off
					broken := func() io.Reader { return io.MultiReader(zeros(n), iotest.ErrReader(cause)) }
					_, err := l.b.Queue("q").Enqueue(l.ctx, jobqueue.NewJob{Body: broken()})
					wants(l.T, fmt.Sprintf("Enqueue of %d bytes and an error", n), err, cause)
					wants(l.T, fmt.Sprintf("Complete of %d bytes and an error", n), d.Complete(l.ctx, jobqueue.NewResult{Body: broken()}), cause)
					equal(l, "chunks", l.chunks(), 0)
					equal(l, "uploads", l.staged("q"), 0)
				}
			}
			equal(l, "next position", l.info("q").Next, 1)
			l.must(d.Ack(l.ctx))
		}},
		{name: "a reader that goes on for more than an hour keeps its upload", run: func(l *lab) {
			j := l.add("q", jobqueue.NewJob{Body: &lazy{r: bytes.NewReader(pattern(5 << 20)), every: 1 << 20, nap: 50 * time.Minute}})
			c, err := l.b.Payload(l.ctx, j.ID)
			l.must(err)
			l.reads(c, pattern(5<<20))
		}},
		{name: "a reader that stops for more than an hour has lost its upload, which leaves nothing", run: func(l *lab) {
			_, err := l.b.Queue("q").Enqueue(l.ctx, jobqueue.NewJob{Body: &lazy{r: bytes.NewReader(pattern(5 << 20)), every: 1 << 20, nap: 61 * time.Minute}})
			if err == nil {
				l.Error("Enqueue: got no error")
			}
			equal(l, "chunks", l.chunks(), 0)
			equal(l, "uploads", l.staged("q"), 0)
		}},
		{name: "an upload of a process that was killed is deleted after an hour", run: func(l *lab) {
			if l.path == "" {
				l.Skip("memory does not survive")
			}
			stop := make(chan struct{})
			add := later(l, func() error {
				_, err := l.b.Queue("q").Enqueue(l.ctx, jobqueue.NewJob{Body: &stalls{n: 3 << 20, stop: stop}})
				return err
			})
			blobs := l.spy.seen()
			l.crash(0, func() {
				close(stop)
				wants(l.T, "Enqueue", add(), errStalled)
			})
			l.spy.blobs = blobs
			equal(l, "uploads", l.staged("q"), 1)
			l.pass(time.Hour)
			equal(l, "chunks", l.chunks(), 0)
			equal(l, "uploads", l.staged("q"), 0)
		}},
		{name: "a large result for a job that is gone, lost or not delivered is refused before it is read", run: func(l *lab) {
			read := &lazy{r: bytes.NewReader(pattern(1 << 20))}
			j := l.add("q", jobqueue.NewJob{})
			_, err := l.b.Complete(l.ctx, j.ID, storage.NewToken(), jobqueue.NewResult{Body: read})
			wants(l.T, "Complete", err, jobqueue.ErrNotDelivered)
			d := l.take("q")
			l.must(d.Release(l.ctx, nil))
			lost(l.T, "Complete", d.Complete(l.ctx, jobqueue.NewResult{Body: read}), jobqueue.LeaseReleased)
			equal(l, "bytes read", read.n, 0)
		}},
		{name: "a large payload for a queue that is closed is refused before it is read to its end", run: func(l *lab) {
			l.add("q", jobqueue.NewJob{})
			l.must(l.b.Queue("q").Close(l.ctx))
			read := &lazy{r: bytes.NewReader(pattern(5 << 20))}
			_, err := l.b.Queue("q").Enqueue(l.ctx, jobqueue.NewJob{Body: read})
			wants(l.T, "Enqueue", err, jobqueue.ErrQueueClosed)
			if read.n > 2<<20 {
				l.Errorf("bytes read: got %d, want at most 2 MiB", read.n)
			}
		}},
		{name: "a large result of a job that is lost while it is read leaves nothing", run: func(l *lab) {
			d := l.held(jobqueue.NewJob{})
			body := &lazy{r: bytes.NewReader(pattern(3 << 20)), every: 1 << 20, nap: 4 * time.Minute, then: func() { l.b.Queue("q").TryReceive(l.ctx, nil) }}
			lost(l.T, "Complete", d.Complete(l.ctx, jobqueue.NewResult{Body: body}), jobqueue.Redelivered)
			equal(l, "chunks", l.chunks(), 0)
			equal(l, "uploads", l.staged("q"), 0)
			l.state(d.ID, jobqueue.Running)
		}},
		{name: "payloads of failed and canceled jobs stay with the record, and go with it", run: func(l *lab) {
			d := l.held(jobqueue.NewJob{Body: zeros(1 << 20)})
			l.must(d.Fail(l.ctx, "", ""))
			_, err := l.b.Redrive(l.ctx, d.ID)
			l.must(err)
			p, err := l.take("q").Payload(l.ctx)
			l.must(err)
			equal(l, "payload after a redrive", len(p), 1<<20)
			_, err = l.b.Cancel(l.ctx, d.ID)
			l.must(err)
			equal(l, "chunks", l.chunks(), 16)
			l.pass(24 * time.Hour)
			equal(l, "chunks", l.chunks(), 0)
		}},
		{name: "reading a payload that is deleted meanwhile says that it is gone", run: func(l *lab) {
			l.add("q", jobqueue.NewJob{Body: zeros(1 << 20)})
			d := l.take("q")
			c, err := d.Open(l.ctx)
			l.must(err)
			_, err = io.ReadFull(c, make([]byte, storage.ChunkSize))
			l.must(err)
			l.must(d.Ack(l.ctx))
			_, err = c.Read(make([]byte, 1))
			wants(l.T, "Read", err, jobqueue.ErrPayloadGone)
			_, err = d.Payload(l.ctx)
			wants(l.T, "Payload", err, jobqueue.ErrPayloadGone)
		}},
		{name: "a job without a result has none, whatever its state", run: func(l *lab) {
			d := l.held(jobqueue.NewJob{})
			check := func() {
				l.Helper()
				_, err := l.b.Result(l.ctx, d.ID)
				wants(l.T, "Result", err, jobqueue.ErrNotFound)
			}
			check()
			l.must(d.Progress(l.ctx, 0.5, "a message is no result"))
			check()
			l.must(d.Fail(l.ctx, "nor is a failure", ""))
			check()
			d = l.held(jobqueue.NewJob{})
			l.must(d.Ack(l.ctx))
			check()
		}},
		{name: "a batch of large and small payloads is one transaction: all or none", run: func(l *lab) {
			q := l.b.Queue("q")
			_, err := q.EnqueueMany(l.ctx, []jobqueue.NewJob{{Body: zeros(1 << 20)}, {}, {Body: iotest.ErrReader(errStalled)}})
			wants(l.T, "EnqueueMany", err, errStalled)
			equal(l, "chunks", l.chunks(), 0)
			equal(l, "uploads", l.staged("q"), 0)
			jobs, err := q.EnqueueMany(l.ctx, []jobqueue.NewJob{{Body: zeros(1 << 20)}, {}, {Body: zeros(300 << 10)}})
			l.must(err)
			for i, j := range jobs {
				equal(l, "position", j.Position, uint64(i))
			}
			equal(l, "chunks", l.chunks(), 21)
		}},
		{name: "the caller may change its bytes once Enqueue has returned", run: func(l *lab) {
			p, tags, next := []byte("one"), map[string]string{"a": "b"}, l.parked("r")
			a := l.add("q", jobqueue.NewJob{Payload: p, Tags: tags})
			l.add("r", jobqueue.NewJob{Payload: p})
			copy(p, "two")
			tags["a"] = "c"
			for _, d := range []*jobqueue.Delivery{l.take("q"), next().d} {
				got, err := d.Payload(l.ctx)
				l.must(err)
				equal(l, "payload", string(got), "one")
			}
			equal(l, "tag", l.job(a.ID).Tags["a"], "b")
		}},
	})
}

// lazy is a reader that takes a nap, and then does something, each time another part of it has been read.
type lazy struct {
	r     io.Reader
	n     int
	every int
	nap   time.Duration
	then  func()
}

func (z *lazy) Read(p []byte) (int, error) {
	if z.every > 0 {
		if z.n > 0 && z.n%z.every == 0 {
			time.Sleep(z.nap)
			if z.then != nil {
				z.then()
			}
		}
		p = p[:min(len(p), z.every-z.n%z.every)]
	}
	n, err := z.r.Read(p)
	z.n += n
	return n, err
}
