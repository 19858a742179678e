package jobqueue_test

import (
	"bytes"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/boltstore"
	"github.com/pollackq/pollack/storage/storagetest"
)

func TestUploadsOfEverySizeBecomeResults(t *testing.T) {
	for _, size := range sizes {
		want := pattern(size)
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			eachStore(t, func(t *testing.T, open opener) {
				l := open(nil)
				u := l.sent(want, jobqueue.NewUpload{ContentType: "x/y"})
				c, err := l.b.OpenUpload(l.ctx, u.ID)
				l.must(err)
				equal(l, "content type", c.ContentType(), "x/y")
				l.reads(c, want)
				d := l.held(jobqueue.NewJob{})
				l.must(d.Progress(l.ctx, 1, "done"))
				chunks := l.chunks()
				ended := l.watched(d.ID)
				out, err := l.b.Complete(l.ctx, d.ID, d.Token, with(u))
				l.must(err)
				l.unknown(l.b, u)
				for _, j := range []*jobqueue.Job{l.state(d.ID, jobqueue.Succeeded), out.Job, ended().j} {
					if j.Result == nil || j.Result.Size != int64(size) || j.Result.ContentType != "x/y" {
						l.Fatalf("result: got %+v, want one of %d bytes", j.Result, size)
					}
					equal(l, "result comes along", bytes.Equal(j.Result.Data, want) && j.Result.Data != nil, size <= jobqueue.InlineLimit)
					equal(l, "message", j.ProgressMessage, "done")
				}
				c, err = l.b.Result(l.ctx, d.ID)
				l.must(err)
				equal(l, "content type", c.ContentType(), "x/y")
				l.reads(c, want)
				equal(l, "chunks, which were not copied", l.chunks(), chunks)
				l.pass(23 * time.Hour)
				equal(l, "chunks", l.chunks(), chunks)
				l.pass(time.Hour)
				l.clean()
			})
		})
	}
}

func TestResultsThatAreUploads(t *testing.T) {
	rules(t, []rule{
		{name: "a repeated call does not miss the upload, and an ack repeats it, too", run: func(l *lab) {
			d, u := l.held(jobqueue.NewJob{}), l.sent(pattern(1<<20), jobqueue.NewUpload{})
			l.must(d.Complete(l.ctx, with(u)))
			for _, r := range []jobqueue.NewResult{with(u), with(&jobqueue.Upload{ID: storage.NewID(time.Now())}), {Data: []byte("x")}} {
				out, err := l.b.Complete(l.ctx, d.ID, d.Token, r)
				l.must(err)
				equal(l, "repeated", out.Repeated, true)
			}
			l.must(d.Ack(l.ctx))
			c, err := l.b.Result(l.ctx, d.ID)
			l.must(err)
			l.reads(c, pattern(1<<20))
		}},
		{name: "an upload is used once", run: func(l *lab) {
			first, u := l.held(jobqueue.NewJob{}), l.sent(pattern(1<<20), jobqueue.NewUpload{})
			l.must(first.Complete(l.ctx, with(u)))
			second := l.held(jobqueue.NewJob{})
			wants(l.T, "Complete", second.Complete(l.ctx, with(u)), jobqueue.ErrNotFound)
			l.state(second.ID, jobqueue.Running)
			l.must(second.Ack(l.ctx))
		}},
		{name: "of several jobs that are completed with it at once one is", run: func(l *lab) {
			u := l.sent(pattern(1<<20), jobqueue.NewUpload{})
			var all sync.WaitGroup
			var mu sync.Mutex
			won := 0
			for range 20 {
				d := l.held(jobqueue.NewJob{})
				all.Go(func() {
					err := d.Complete(l.ctx, with(u))
					mu.Lock()
					defer mu.Unlock()
					if err == nil {
						won++
					} else {
						wants(l.T, "Complete", err, jobqueue.ErrNotFound)
					}
				})
			}
			all.Wait()
			equal(l, "jobs completed", won, 1)
			equal(l, "chunks", l.chunks(), 16)
		}},
		{name: "an upload that has not been written is in the wrong state, and the job goes on", run: func(l *lab) {
			d, u := l.held(jobqueue.NewJob{}), l.prepare("u", jobqueue.NewUpload{})
			before := l.contents()
			wants(l.T, "Complete", d.Complete(l.ctx, with(u)), jobqueue.ErrWrongState)
			equal(l, "contents", l.contents(), before)
		}},
		{name: "an upload of another account is not found, that of its own account and the house's workers use it", run: func(l *lab) {
			alice, bob := l.b.In("alice"), l.b.In("bob")
			u, err := alice.Queue("u").Prepare(l.ctx, jobqueue.NewUpload{Size: 1})
			l.must(err)
			l.unknown(bob, u)
			_, err = alice.PutUpload(l.ctx, u.ID, zeros(1))
			l.must(err)
			l.unknown(bob, u)
			leased := func(b *jobqueue.Broker) *jobqueue.Delivery {
				_, err := b.Queue("q").Enqueue(l.ctx, jobqueue.NewJob{})
				l.must(err)
				d, err := b.Queue("q").TryReceive(l.ctx, nil)
				l.must(err)
				return d
			}
			d := leased(bob)
			_, err = bob.Complete(l.ctx, d.ID, d.Token, with(u))
			wants(l.T, "Complete by bob", err, jobqueue.ErrNotFound)
			d = leased(alice)
			_, err = alice.Complete(l.ctx, d.ID, d.Token, with(u))
			l.must(err)
			u, err = bob.Queue("u").Prepare(l.ctx, jobqueue.NewUpload{Size: 1})
			l.must(err)
			l.must(l.put(u.ID, zeros(1)))
			l.must(l.held(jobqueue.NewJob{}).Complete(l.ctx, with(u)))
		}},
		{name: "an upload larger than a result may be is refused, and stays", opts: &jobqueue.Options{MaxResult: 1 << 20}, run: func(l *lab) {
			d, u := l.held(jobqueue.NewJob{}), l.sent(pattern(1<<20+1), jobqueue.NewUpload{})
			before := l.contents()
			wants(l.T, "Complete", d.Complete(l.ctx, with(u)), jobqueue.ErrTooLarge)
			equal(l, "contents", l.contents(), before)
			l.must(d.Complete(l.ctx, with(l.sent(pattern(1<<20), jobqueue.NewUpload{}))))
		}},
		{name: "a job that cannot be completed leaves the upload as it is", run: func(l *lab) {
			d, u := l.held(jobqueue.NewJob{}), l.sent(pattern(1<<20), jobqueue.NewUpload{})
			l.must(d.Release(l.ctx, nil))
			lost(l.T, "Complete", d.Complete(l.ctx, with(u)), jobqueue.LeaseReleased)
			d = l.take("q")
			l.must(d.Ack(l.ctx))
			lost(l.T, "Complete after an ack", d.Complete(l.ctx, with(u)), jobqueue.JobSucceeded)
			_, err := l.b.Complete(l.ctx, u.ID, jobqueue.AnyToken, with(u))
			wants(l.T, "Complete of the upload itself", err, jobqueue.ErrNotFound)
			c, err := l.b.OpenUpload(l.ctx, u.ID)
			l.must(err)
			l.reads(c, pattern(1<<20))
		}},
		{name: "its type is the upload's unless another is given", run: func(l *lab) {
			d, u := l.held(jobqueue.NewJob{}), l.sent([]byte(`{"a":1}`), jobqueue.NewUpload{ContentType: "text/plain"})
			l.must(d.Complete(l.ctx, jobqueue.NewResult{Upload: u, ContentType: "application/json"}))
			j := l.job(d.ID)
			equal(l, "content type", j.Result.ContentType, "application/json")
			p, err := j.MarshalJSON()
			l.must(err)
			equal(l, "result in the job's JSON", bytes.Contains(p, []byte(`"result":{"a":1}`)), true)
		}},
		{name: "where nothing is retained the content goes with the job", opts: &jobqueue.Options{Retention: -1}, run: func(l *lab) {
			for _, size := range []int{100, 3 << 20} {
				d, u := l.held(jobqueue.NewJob{}), l.sent(pattern(size), jobqueue.NewUpload{})
				ended := l.watched(d.ID)
				l.must(d.Complete(l.ctx, with(u)))
				equal(l, "size that whoever waited learns", ended().j.Result.Size, int64(size))
				l.clean()
			}
		}},
		{name: "a large upload that is being read can be read on when it has become a result", run: func(l *lab) {
			d, u := l.held(jobqueue.NewJob{}), l.sent(pattern(1<<20), jobqueue.NewUpload{})
			c, err := l.b.OpenUpload(l.ctx, u.ID)
			l.must(err)
			l.must(d.Complete(l.ctx, with(u)))
			l.reads(c, pattern(1<<20))
		}},
		{name: "a full store refuses uploads, and a job is still completed with what is there", run: func(l *lab) {
			if l.usual != nil {
				l.Skip("the store has faults already")
			}
			full := func(storagetest.Call) storagetest.Fault {
				return storagetest.Fault{Kind: storagetest.Undone, Err: storage.ErrFull}
			}
			d, u := l.held(jobqueue.NewJob{}), l.prepare("u", jobqueue.NewUpload{Size: 3 << 20})
			l.fault.Set(full)
			_, err := l.b.Queue("u").Prepare(l.ctx, jobqueue.NewUpload{})
			wants(l.T, "Prepare", err, jobqueue.ErrStoreFull)
			wants(l.T, "PutUpload", l.put(u.ID, zeros(3<<20)), jobqueue.ErrStoreFull)
			l.fault.Set(nil)
			l.must(l.put(u.ID, zeros(3<<20)))
			l.must(d.Complete(l.ctx, with(u)))
		}},
	})
}

// The reserve of a full store is for what ends jobs, and uploads have no part in it.
func TestUploadsDoNotFillAStoresReserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &lab{T: t, ctx: t.Context()}
		s, err := boltstore.Open(filepath.Join(t.TempDir(), "jobs.db"), &boltstore.Options{MaxSize: 8 << 20})
		l.must(err)
		l.over(s)
		defer l.stop()
		var uploads []jobqueue.ID
		for range 50 {
			uploads = append(uploads, l.prepare("u", jobqueue.NewUpload{Size: -1}).ID)
		}
		d := l.held(jobqueue.NewJob{})
		for size := 100 << 10; size >= 0; {
			if _, err := l.b.Queue("q").Enqueue(l.ctx, jobqueue.NewJob{Payload: make([]byte, size)}); err != nil {
				wants(l.T, "Enqueue", err, jobqueue.ErrStoreFull)
				size -= 10 << 10
			}
		}
		for _, id := range uploads {
			wants(l.T, "PutUpload", l.put(id, zeros(200<<10)), jobqueue.ErrStoreFull)
		}
		l.must(d.Complete(l.ctx, jobqueue.NewResult{Data: make([]byte, 100<<10)}))
		for range 20 {
			l.must(l.take("q").Ack(l.ctx))
		}
		l.must(l.put(uploads[0], zeros(200<<10)))
	})
}

// What a kill of the process leaves of uploads. A kill is a copy of the file as it stands.
func TestACrashKeepsUploads(t *testing.T) {
	crashed := func(name string, run func(l *lab)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &lab{T: t, ctx: t.Context(), path: filepath.Join(t.TempDir(), "jobs.db")}
				l.start()
				defer func() { l.stop() }()
				run(l)
			})
		})
	}
	restart := func(l *lab, downtime time.Duration, ends ...func()) {
		blobs := l.spy.seen()
		l.crash(downtime, ends...)
		l.spy.blobs = blobs
	}
	crashed("what is prepared, written and used stays so", func(l *lab) {
		u, d := l.prepare("u", jobqueue.NewUpload{Size: 1 << 20}), l.held(jobqueue.NewJob{})
		restart(l, time.Minute)
		l.must(l.put(u.ID, bytes.NewReader(pattern(1<<20))))
		restart(l, time.Minute)
		_, err := l.b.Complete(l.ctx, d.ID, d.Token, with(u))
		l.must(err)
		restart(l, time.Minute)
		l.unknown(l.b, u)
		out, err := l.b.Complete(l.ctx, d.ID, d.Token, with(u))
		l.must(err)
		equal(l, "repeated", out.Repeated, true)
		c, err := l.b.Result(l.ctx, d.ID)
		l.must(err)
		l.reads(c, pattern(1<<20))
		l.pass(25 * time.Hour)
		l.clean()
	})
	crashed("what was being written is gone after an hour, and can be written again at once", func(l *lab) {
		u, stop := l.prepare("u", jobqueue.NewUpload{Size: 5 << 20, Expires: 24 * time.Hour}), make(chan struct{})
		writing := later(l, func() error { return l.put(u.ID, &stalls{n: 3 << 20, stop: stop}) })
		restart(l, 0, func() {
			close(stop)
			wants(l.T, "PutUpload", writing(), errStalled)
		})
		equal(l, "uploads, and what is left of one", l.staged("u"), 2)
		l.must(l.put(u.ID, zeros(5<<20)))
		l.pass(time.Hour)
		equal(l, "uploads", l.staged("u"), 1)
		equal(l, "chunks", l.chunks(), 80)
	})
	crashed("what expired meanwhile has", func(l *lab) {
		u := l.sent(pattern(1<<20), jobqueue.NewUpload{})
		restart(l, 2*time.Hour)
		l.unknown(l.b, u)
		l.clean()
	})
}

// An upload is prepared, written and used, with a fault at each call of the store in turn.
func TestAFaultAtEveryPlaceOfAnUpload(t *testing.T) {
	for _, f := range []struct {
		name string
		kind storagetest.FaultKind
		ever bool // the store stays so
	}{
		{"the call does not happen", storagetest.Before, false},
		{"the call is undone", storagetest.Undone, false},
		{"the store is away from then on", storagetest.Before, true},
		{"the outcome is unknown", storagetest.After, false},
	} {
		t.Run(f.name, func(t *testing.T) {
			eachStore(t, func(t *testing.T, open opener) {
				l := open(nil)
				if l.usual != nil {
					l.Skip("the store has faults already")
				}
				for n := uint64(1); ; n++ {
					d := l.held(jobqueue.NewJob{})
					before := l.fault.Calls()
					l.fault.Set(func(c storagetest.Call) storagetest.Fault {
						if c.N == before+n || f.ever && c.N > before+n {
							return storagetest.Fault{Kind: f.kind, Err: map[bool]error{true: errDisk}[f.ever]}
						}
						return storagetest.Fault{}
					})
					var err error
					u, prepared := l.b.Queue("u").Prepare(l.ctx, jobqueue.NewUpload{Size: 2 << 20})
					if err = prepared; err == nil {
						if err = l.put(u.ID, bytes.NewReader(pattern(2<<20))); err == nil {
							err = d.Complete(l.ctx, with(u))
						}
					}
					l.fault.Set(nil)
					if err == nil && l.fault.Calls() < before+n {
						if n < 6 {
							l.Errorf("all of it took %d calls, want at least 6", n-1)
						}
						return
					}
					if err == nil {
						l.Errorf("a fault at call %d was not told", n)
					}
					if prepared == nil { // whoever asks again comes to an end
						if err := l.put(u.ID, bytes.NewReader(pattern(2<<20))); err != nil && l.job(d.ID).State == jobqueue.Running {
							wants(l.T, "PutUpload once more", err, jobqueue.ErrWrongState)
						}
						l.must(d.Complete(l.ctx, with(u)))
						c, err := l.b.Result(l.ctx, d.ID)
						l.must(err)
						l.reads(c, pattern(2<<20))
					} else {
						l.must(d.Ack(l.ctx))
					}
					l.pass(2 * time.Hour) // what could not be cleaned up is by the timeline
					equal(l, fmt.Sprintf("uploads after a fault at call %d", n), l.staged("u"), 0)
					l.pass(24 * time.Hour)
					equal(l, fmt.Sprintf("chunks after a fault at call %d", n), l.chunks(), 0)
				}
			})
		})
	}
}
