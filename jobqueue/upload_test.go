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
	"github.com/pollackq/pollack/storage/storagetest"
)

// prepare announces an upload in a queue of the house.
func (l *lab) prepare(queue string, u jobqueue.NewUpload) *jobqueue.Upload {
	l.Helper()
	out, err := l.b.Queue(queue).Prepare(l.ctx, u)
	if err != nil {
		l.Fatalf("Prepare: got error %v, want none", err)
	}
	return out
}

// sent prepares an upload in queue "u" and writes it.
func (l *lab) sent(content []byte, u jobqueue.NewUpload) *jobqueue.Upload {
	l.Helper()
	u.Size = int64(len(content))
	out, err := l.b.PutUpload(l.ctx, l.prepare("u", u).ID, bytes.NewReader(content))
	if err != nil {
		l.Fatalf("PutUpload: got error %v, want none", err)
	}
	return out
}

// put writes an upload.
func (l *lab) put(id jobqueue.ID, body io.Reader) error {
	_, err := l.b.PutUpload(l.ctx, id, body)
	return err
}

// unknown demands that there is no such upload for a broker, whatever is asked.
func (l *lab) unknown(b *jobqueue.Broker, u *jobqueue.Upload) {
	l.Helper()
	for what, ask := range map[string]func() error{
		"Upload":      func() error { _, err := b.Upload(l.ctx, u.ID); return err },
		"UploadByKey": func() error { _, err := b.UploadByKey(l.ctx, u.Queue, u.Key); return err },
		"PutUpload":   func() error { _, err := b.PutUpload(l.ctx, u.ID, zeros(u.Size)); return err },
		"OpenUpload":  func() error { _, err := b.OpenUpload(l.ctx, u.ID); return err },
		"KeepUpload":  func() error { _, err := b.KeepUpload(l.ctx, u.ID, time.Hour); return err },
	} {
		wants(l.T, what, ask(), jobqueue.ErrNotFound)
	}
}

// clean demands that of all uploads, and what was written for them, nothing is left.
func (l *lab) clean() {
	l.Helper()
	equal(l, "chunks", l.chunks(), 0)
	equal(l, "uploads", l.staged("u"), 0)
}

// with completes a delivery with an upload.
func with(u *jobqueue.Upload) jobqueue.NewResult { return jobqueue.NewResult{Upload: u} }

func TestUploads(t *testing.T) {
	rules(t, []rule{
		{name: "an upload is found by its id and its key, as it was prepared", run: func(l *lab) {
			tags := map[string]string{"a": "b"}
			u := l.prepare("u", jobqueue.NewUpload{Key: "k", Name: "n", ContentType: "x/y", Size: 7, Tags: tags, Account: "acme", Expires: time.Minute})
			tags["a"] = "c"
			now := time.Now()
			if u.Queue.Name != "u" || u.Account != "acme" || u.Key != "k" || u.Name != "n" || u.ContentType != "x/y" || u.Size != 7 || u.Tags["a"] != "b" ||
				!u.Created.Equal(now) || !u.Expires.Equal(now.Add(time.Minute)) || u.Written {
				l.Errorf("got %+v", u)
			}
			same := func(got *jobqueue.Upload, err error) {
				l.Helper()
				l.must(err)
				equal(l, "upload", fmt.Sprint(*got), fmt.Sprint(*u))
			}
			same(l.b.Upload(l.ctx, u.ID))
			same(l.b.In("acme").Upload(l.ctx, u.ID))
			same(l.b.In("acme").UploadByKey(l.ctx, u.Queue, "k"))
			_, err := l.b.UploadByKey(l.ctx, u.Queue, "k")
			wants(l.T, "UploadByKey of the house's own", err, jobqueue.ErrNotFound)
		}},
		{name: "without a key its id is its key, and it is kept for an hour", run: func(l *lab) {
			u := l.prepare("u", jobqueue.NewUpload{Size: -1})
			equal(l, "key", u.Key, u.ID.String())
			equal(l, "time", u.Expires.Sub(u.Created), time.Hour)
			_, err := l.b.UploadByKey(l.ctx, u.Queue, u.Key)
			l.must(err)
		}},
		{name: "an upload is no job, written or not", opts: &jobqueue.Options{Backlog: 1}, run: func(l *lab) {
			next := l.parked("u")
			u := l.prepare("u", jobqueue.NewUpload{Key: "k", Size: 1})
			for range 2 {
				for what, ask := range byID {
					wants(l.T, what, ask(l, l.b, u.ID), jobqueue.ErrNotFound)
				}
				_, err := l.b.JobByKey(l.ctx, u.Queue, "k")
				wants(l.T, "JobByKey", err, jobqueue.ErrNotFound)
				jobs, _, err := l.b.Queue("u").Jobs(l.ctx, jobqueue.ListOptions{})
				l.must(err)
				equal(l, "jobs listed", len(jobs), 0)
				info := l.info("u")
				equal(l, "unfinished", info.Counts.Unfinished(), 0)
				equal(l, "waiting", info.Counts.Waiting(), 0)
				equal(l, "next position", info.Next, 0)
				equal(l, "counted as enqueued", l.b.Stats().Enqueued, 0)
				l.must(l.b.Queue("u").Idle(l.ctx))
				if !u.Written {
					u, err = l.b.PutUpload(l.ctx, u.ID, zeros(1))
					l.must(err)
				}
			}
			j := l.add("u", jobqueue.NewJob{})
			equal(l, "what the one who waited got", now(l, next).ID, j.ID)
		}},
		{name: "a key that names something names no upload, and that of an upload nothing else", run: func(l *lab) {
			refused := func(key string) {
				l.Helper()
				before := l.contents()
				_, err := l.b.Queue("u").Prepare(l.ctx, jobqueue.NewUpload{Key: key})
				wants(l.T, "Prepare", err, jobqueue.ErrKeyReused)
				equal(l, "contents", l.contents(), before)
			}
			l.add("u", jobqueue.NewJob{Key: "job"})
			refused("job")
			l.must(l.take("u").Ack(l.ctx))
			l.pass(25 * time.Hour)
			refused("job") // its tombstone
			l.prepare("u", jobqueue.NewUpload{Key: "upload"})
			refused("upload")
			for _, j := range []jobqueue.NewJob{{Key: "upload"}, {Key: "upload", AnyRequest: true}, {Key: "upload", Body: zeros(1 << 20)}} {
				_, err := l.b.Queue("u").Enqueue(l.ctx, j)
				wants(l.T, "Enqueue", err, jobqueue.ErrKeyReused)
			}
			equal(l, "chunks", l.chunks(), 0)
			l.pass(time.Hour)
			l.add("u", jobqueue.NewJob{Key: "upload"})
			l.pass(7 * 24 * time.Hour)
			l.prepare("u", jobqueue.NewUpload{Key: "job"})
			l.prepare("v", jobqueue.NewUpload{Key: "job"}) // in another queue
			l.prepare("u", jobqueue.NewUpload{Key: "job", Account: "acme"})
		}},
		{name: "it is written once, whoever comes later", run: func(l *lab) {
			u := l.prepare("u", jobqueue.NewUpload{Size: 3})
			_, err := l.b.OpenUpload(l.ctx, u.ID)
			wants(l.T, "OpenUpload", err, jobqueue.ErrWrongState)
			l.must(l.put(u.ID, bytes.NewReader([]byte("one"))))
			read := &lazy{r: bytes.NewReader([]byte("two"))}
			wants(l.T, "PutUpload", l.put(u.ID, read), jobqueue.ErrWrongState)
			equal(l, "bytes read", read.n, 0)
			c, err := l.b.OpenUpload(l.ctx, u.ID)
			l.must(err)
			l.reads(c, []byte("one"))
		}},
		{name: "what is more or less than was prepared leaves nothing, and the right content can still come", run: func(l *lab) {
			for _, size := range []int64{0, 1, 100, 256 << 10, 256<<10 + 1, 3 << 20} {
				u := l.prepare("u", jobqueue.NewUpload{Size: size})
				wants(l.T, fmt.Sprintf("a byte more than %d", size), l.put(u.ID, zeros(size+1)), jobqueue.ErrTooLarge)
				wants(l.T, "an endless body", l.put(u.ID, zeroReader{}), jobqueue.ErrTooLarge)
				if size > 0 {
					l.invalid(fmt.Sprintf("a byte less than %d", size), l.put(u.ID, zeros(size-1)), "size")
					l.invalid("nothing", l.put(u.ID, zeros(0)), "size")
				}
				equal(l, "chunks", l.chunks(), 0)
				l.must(l.put(u.ID, zeros(size)))
				l.pass(time.Hour)
				l.clean()
			}
		}},
		{name: "an upload of any size may have as much as a payload", opts: &jobqueue.Options{MaxPayload: 1 << 20}, run: func(l *lab) {
			for _, size := range []int64{0, 5, 1 << 20} {
				u := l.prepare("u", jobqueue.NewUpload{Size: -1})
				equal(l, "size", u.Size, -1)
				wants(l.T, "too much", l.put(u.ID, zeros(1<<20+1)), jobqueue.ErrTooLarge)
				u, err := l.b.PutUpload(l.ctx, u.ID, zeros(size))
				l.must(err)
				equal(l, "size", u.Size, size)
				equal(l, "written", u.Written, true)
			}
			_, err := l.b.Queue("u").Prepare(l.ctx, jobqueue.NewUpload{Size: 1<<20 + 1})
			wants(l.T, "Prepare", err, jobqueue.ErrTooLarge)
		}},
		{name: "a body that breaks leaves nothing, wherever it does, and the upload as it was", run: func(l *lab) {
			u := l.prepare("u", jobqueue.NewUpload{Size: 5 << 20})
			before := l.contents()
			for _, n := range []int64{0, 1, 256 << 10, 1 << 20, 2<<20 + 5, 5<<20 - 1, 5 << 20} {
				wants(l.T, fmt.Sprintf("%d bytes and an error", n), l.put(u.ID, io.MultiReader(zeros(n), iotest.ErrReader(errStalled))), errStalled)
				equal(l, "contents", l.contents(), before)
				equal(l, "chunks", l.chunks(), 0)
			}
			l.must(l.put(u.ID, zeros(5<<20)))
		}},
		{name: "of many that write at once one does, whole, and the others leave nothing", run: func(l *lab) {
			const size = 3<<20 + 1
			u := l.prepare("u", jobqueue.NewUpload{Size: size})
			got := make(chan int, 8)
			for i := range cap(got) {
				go func() {
					body := &lazy{r: bytes.NewReader(bytes.Repeat([]byte{byte(i)}, size)), every: 1 << 20, nap: time.Duration(i%3+1) * time.Second}
					if err := l.put(u.ID, body); err != nil {
						wants(l.T, "PutUpload", err, jobqueue.ErrWrongState)
						i = -1
					}
					got <- i
				}()
			}
			winner := -1
			for range cap(got) {
				if i := <-got; i >= 0 {
					equal(l, "a winner before", winner, -1)
					winner = i
				}
			}
			c, err := l.b.OpenUpload(l.ctx, u.ID)
			l.must(err)
			l.reads(c, bytes.Repeat([]byte{byte(winner)}, size))
			equal(l, "chunks", l.chunks(), 49)
			l.pass(time.Hour)
			l.clean()
		}},
		{name: "when it expires it is gone with its content, at that moment", run: func(l *lab) {
			open := l.prepare("u", jobqueue.NewUpload{Key: "a", Size: 10})
			small, large := l.sent(pattern(100), jobqueue.NewUpload{Key: "b"}), l.sent(pattern(3<<20), jobqueue.NewUpload{Key: "c"})
			d := l.held(jobqueue.NewJob{Limits: jobqueue.Limits{Lease: 2 * time.Hour}})
			l.until(large.Expires.Add(-time.Microsecond))
			for _, u := range []*jobqueue.Upload{open, small, large} {
				_, err := l.b.Upload(l.ctx, u.ID)
				l.must(err)
			}
			c, err := l.b.OpenUpload(l.ctx, large.ID)
			l.must(err)
			l.pass(time.Microsecond)
			for _, u := range []*jobqueue.Upload{open, small, large} {
				l.unknown(l.b, u)
				wants(l.T, "Complete", d.Complete(l.ctx, with(u)), jobqueue.ErrNotFound)
			}
			_, err = c.Read(make([]byte, 1))
			wants(l.T, "reading on", err, jobqueue.ErrPayloadGone)
			l.clean()
			l.state(d.ID, jobqueue.Running)
			l.prepare("u", jobqueue.NewUpload{Key: "c"})
		}},
		{name: "one that has expired is gone though the timeline has not come to it", run: func(l *lab) {
			u := l.sent(pattern(1<<20), jobqueue.NewUpload{Key: "k"})
			l.fault.Set(func(c storagetest.Call) storagetest.Fault {
				if c.Update {
					return storagetest.Fault{Kind: storagetest.Before, Err: storage.ErrBusy}
				}
				return storagetest.Fault{}
			})
			l.until(u.Expires)
			equal(l, "uploads in the store", l.staged("u"), 1)
			_, err := l.b.Upload(l.ctx, u.ID)
			wants(l.T, "Upload", err, jobqueue.ErrNotFound)
			_, err = l.b.UploadByKey(l.ctx, u.Queue, "k")
			wants(l.T, "UploadByKey", err, jobqueue.ErrNotFound)
			_, err = l.b.OpenUpload(l.ctx, u.ID)
			wants(l.T, "OpenUpload", err, jobqueue.ErrNotFound)
			wants(l.T, "PutUpload", l.put(u.ID, zeros(1<<20)), jobqueue.ErrNotFound)
			l.fault.Set(nil)
			l.prepare("u", jobqueue.NewUpload{Key: "k", Expires: time.Minute})
			l.pass(time.Minute)
			l.clean()
		}},
		{name: "it can be kept for longer, never shorter", run: func(l *lab) {
			u := l.sent(pattern(1<<20), jobqueue.NewUpload{Expires: time.Hour})
			kept, err := l.b.KeepUpload(l.ctx, u.ID, 30*time.Minute)
			l.must(err)
			equal(l, "expires", kept.Expires, u.Expires)
			l.pass(45 * time.Minute)
			kept, err = l.b.KeepUpload(l.ctx, u.ID, 30*time.Minute)
			l.must(err)
			equal(l, "expires", kept.Expires, u.Expires.Add(15*time.Minute))
			l.until(kept.Expires.Add(-time.Microsecond))
			c, err := l.b.OpenUpload(l.ctx, u.ID)
			l.must(err)
			l.reads(c, pattern(1<<20))
			l.pass(time.Microsecond)
			l.unknown(l.b, u)
			l.clean()
		}},
		{name: "a body that is still coming when the upload expires is read no further, and leaves nothing", run: func(l *lab) {
			for _, size := range []int64{1000, 9 << 20} {
				u := l.prepare("u", jobqueue.NewUpload{Size: size, Expires: 10 * time.Minute})
				body := &lazy{r: zeros(size), every: int(min(size/2, 1<<20)), nap: 6 * time.Minute}
				wants(l.T, "PutUpload", l.put(u.ID, body), jobqueue.ErrNotFound)
				if body.n > 4<<20 {
					l.Errorf("bytes read: got %d, want at most those of 20 minutes", body.n)
				}
				l.clean()
			}
		}},
		{name: "a body may take longer than an hour as long as the upload is kept", run: func(l *lab) {
			u := l.prepare("u", jobqueue.NewUpload{Size: 5 << 20, Expires: 24 * time.Hour})
			l.must(l.put(u.ID, &lazy{r: bytes.NewReader(pattern(5 << 20)), every: 1 << 20, nap: 50 * time.Minute}))
			c, err := l.b.OpenUpload(l.ctx, u.ID)
			l.must(err)
			l.reads(c, pattern(5<<20))
		}},
		{name: "a closed queue takes no new uploads, but those prepared go on, and it is forgotten after the last", opts: &jobqueue.Options{Tombstone: time.Second}, run: func(l *lab) {
			one, two := l.prepare("u", jobqueue.NewUpload{Size: 3 << 20}), l.prepare("u", jobqueue.NewUpload{Size: 1})
			body := &lazy{r: zeros(3 << 20), every: 1 << 20, nap: time.Minute}
			writing := later(l, func() error { return l.put(one.ID, body) })
			l.must(l.b.Queue("u").Close(l.ctx))
			_, err := l.b.Queue("u").Prepare(l.ctx, jobqueue.NewUpload{})
			wants(l.T, "Prepare", err, jobqueue.ErrQueueClosed)
			l.pass(10 * time.Minute)
			l.must(writing())
			d := l.held(jobqueue.NewJob{})
			l.must(d.Complete(l.ctx, with(one)))
			l.until(two.Expires.Add(-time.Microsecond))
			equal(l, "closed", l.info("u").Closed.IsZero(), false)
			l.pass(time.Microsecond)
			_, err = l.b.Queue("u").Info(l.ctx)
			wants(l.T, "Info", err, jobqueue.ErrNotFound)
		}},
		{name: "the last upload of a closed queue that is done takes the queue along when it is used", run: func(l *lab) {
			u := l.sent(pattern(1<<20), jobqueue.NewUpload{Expires: 30 * 24 * time.Hour})
			l.must(l.b.Queue("u").Close(l.ctx))
			l.pass(8 * 24 * time.Hour)
			l.must(l.held(jobqueue.NewJob{}).Complete(l.ctx, with(u)))
			_, err := l.b.Queue("u").Info(l.ctx)
			wants(l.T, "Info", err, jobqueue.ErrNotFound)
			equal(l, "chunks", l.chunks(), 16)
		}},
		{name: "a body that is still coming when its queue is deleted leaves nothing, and makes no new queue", run: func(l *lab) {
			for _, size := range []int64{1000, 5 << 20} {
				u := l.prepare("u", jobqueue.NewUpload{Size: size})
				writing := later(l, func() error {
					return l.put(u.ID, &lazy{r: zeros(size), every: int(min(size/2, 1<<20)), nap: time.Minute})
				})
				l.must(l.b.Queue("u").Close(l.ctx))
				l.must(l.b.Queue("u").Delete(l.ctx))
				l.pass(10 * time.Minute)
				wants(l.T, "PutUpload", writing(), jobqueue.ErrNotFound)
				l.clean()
				_, err := l.b.Queue("u").Info(l.ctx)
				wants(l.T, "Info", err, jobqueue.ErrNotFound)
			}
		}},
		{name: "a deleted queue takes its uploads along", run: func(l *lab) {
			u := l.sent(pattern(3<<20), jobqueue.NewUpload{})
			l.must(l.b.Queue("u").Close(l.ctx))
			l.must(l.b.Queue("u").Delete(l.ctx))
			l.unknown(l.b, u)
			l.clean()
		}},
		{name: "an upload in a queue that must be created explicitly is not found", opts: &jobqueue.Options{ExplicitQueues: true}, run: func(l *lab) {
			_, err := l.b.Queue("u").Prepare(l.ctx, jobqueue.NewUpload{})
			wants(l.T, "Prepare", err, jobqueue.ErrNotFound)
			equal(l, "contents", l.contents(), "")
			_, _, err = l.b.Queue("u").Configure(l.ctx, jobqueue.Settings{})
			l.must(err)
			l.sent(pattern(1<<20), jobqueue.NewUpload{})
		}},
		{name: "a broker that is shutting down prepares nothing, and takes what is being written until it is down", run: func(l *lab) {
			u := l.prepare("u", jobqueue.NewUpload{Size: 1})
			l.must(l.b.Shutdown(l.ctx))
			_, err := l.b.Queue("u").Prepare(l.ctx, jobqueue.NewUpload{})
			wants(l.T, "Prepare", err, jobqueue.ErrShutdown)
			wants(l.T, "PutUpload", l.put(u.ID, zeros(1)), jobqueue.ErrShutdown)
			_, err = l.b.Upload(l.ctx, u.ID)
			l.must(err)
		}},
	})
}

// now returns the delivery that a parked receiver got.
func now(l *lab, next func() answer) *jobqueue.Delivery {
	l.Helper()
	a := next()
	l.must(a.err)
	return a.d
}

func TestBoundsOfANewUpload(t *testing.T) {
	long := string(bytes.Repeat([]byte("n"), 256))
	for _, c := range []struct {
		field string
		u     jobqueue.NewUpload
	}{
		{"name", jobqueue.NewUpload{Name: long}},
		{"name", jobqueue.NewUpload{Name: "a\nb"}},
		{"name", jobqueue.NewUpload{Name: "\xff"}},
		{"content_type", jobqueue.NewUpload{ContentType: long}},
		{"key", jobqueue.NewUpload{Key: long}},
		{"key", jobqueue.NewUpload{Key: "\x00"}},
		{"account", jobqueue.NewUpload{Account: long}},
		{"tags", jobqueue.NewUpload{Tags: map[string]string{"": "x"}}},
		{"size", jobqueue.NewUpload{Size: -2}},
		{"expires", jobqueue.NewUpload{Expires: -1}},
		{"expires", jobqueue.NewUpload{Expires: 1}},
		{"expires", jobqueue.NewUpload{Expires: 101 * 365 * 24 * time.Hour}},
	} {
		t.Run(c.field, func(t *testing.T) {
			eachStore(t, func(t *testing.T, open opener) {
				l := open(nil)
				_, err := l.b.Queue("u").Prepare(l.ctx, c.u)
				l.invalid("Prepare", err, c.field)
				equal(l, "contents", l.contents(), "")
			})
		})
	}
	rules(t, []rule{
		{name: "other arguments", run: func(l *lab) {
			_, err := l.b.Queue("").Prepare(l.ctx, jobqueue.NewUpload{})
			l.invalid("Prepare in no queue", err, "queue")
			_, err = l.b.In("alice").Queue("u").Prepare(l.ctx, jobqueue.NewUpload{Account: "bob"})
			l.invalid("Prepare for another account", err, "account")
			_, err = l.b.UploadByKey(l.ctx, jobqueue.QueueName{}, "k")
			l.invalid("UploadByKey in no queue", err, "queue")
			_, err = l.b.UploadByKey(l.ctx, jobqueue.QueueName{Name: "u"}, long)
			l.invalid("UploadByKey of a long key", err, "key")
			u := l.prepare("u", jobqueue.NewUpload{})
			for _, d := range []time.Duration{-1, 1, 101 * 365 * 24 * time.Hour} {
				_, err = l.b.KeepUpload(l.ctx, u.ID, d)
				l.invalid("KeepUpload", err, "expires")
			}
			d := l.held(jobqueue.NewJob{})
			l.invalid("Complete with an upload and data", d.Complete(l.ctx, jobqueue.NewResult{Upload: u, Data: []byte{}}), "result")
			l.invalid("Complete with an upload and a body", d.Complete(l.ctx, jobqueue.NewResult{Upload: u, Body: zeros(0)}), "result")
			l.state(d.ID, jobqueue.Running)
			_, err = l.b.Upload(l.ctx, d.ID)
			wants(l.T, "Upload of a job", err, jobqueue.ErrNotFound)
			_, err = l.b.Upload(l.ctx, storage.NewID(time.Now()))
			wants(l.T, "Upload of nothing", err, jobqueue.ErrNotFound)
		}},
	})
}
