package boltstore_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/boltstore"
)

// holdings are all that a store holds, as the interface of storage shows it.
type holdings struct {
	Queues []goldenQueue
	Jobs   []goldenJob
	Due    []storage.ID // all that have a time, the soonest first
}

type goldenQueue struct {
	Queue  *storage.Queue
	Counts storage.Counts
	Next   uint64       // position
	Ready  []storage.ID // the next to deliver first
}

type goldenJob struct {
	Job     *storage.Job
	Payload *digest // nil if it has none
	Result  *digest // what Reader.Result returns
	Blobs   []blob
}

type blob struct {
	ID     storage.ID
	Chunks []digest
}

// A digest stands for bytes.
type digest struct {
	Size   int
	SHA256 string
}

func digestOf(p []byte) digest {
	sum := sha256.Sum256(p)
	return digest{len(p), hex.EncodeToString(sum[:])}
}

// describe reads all.
func describe(t *testing.T, s *boltstore.Store) (c holdings) {
	t.Helper()
	value := func(p []byte, err error) (*digest, error) {
		if errors.Is(err, storage.ErrNotFound) {
			return nil, nil
		}
		d := digestOf(p)
		return &d, err
	}
	one := func(r storage.Reader, j *storage.Job) (g goldenJob, err error) {
		g.Job = j
		if g.Payload, err = value(r.Payload(j)); err != nil {
			return g, err
		}
		if g.Result, err = value(r.Result(j)); err != nil {
			return g, err
		}
		for _, id := range slices.Compact([]storage.ID{j.Blob, j.ResultBlob, j.ID}) {
			b := blob{ID: id}
			for n := uint32(0); ; n++ {
				p, err := r.Chunk(id, n)
				if errors.Is(err, storage.ErrNotFound) {
					break
				}
				if err != nil {
					return g, err
				}
				b.Chunks = append(b.Chunks, digestOf(p))
			}
			if len(b.Chunks) > 0 {
				g.Blobs = append(g.Blobs, b)
			}
		}
		return g, nil
	}
	view(t, s, func(r storage.Reader) error {
		c = holdings{}
		queues, err := r.Queues(storage.QueueName{}, 1000)
		if err != nil {
			return err
		}
		for _, rec := range queues {
			q := goldenQueue{Queue: rec}
			name := rec.QueueName
			ready, err1 := r.Ready(name, 1000)
			for _, j := range ready {
				q.Ready = append(q.Ready, j.ID)
			}
			var err2, err3 error
			q.Counts, err2 = r.Counts(name)
			q.Next, err3 = r.NextPosition(name)
			if err := errors.Join(err1, err2, err3); err != nil {
				return err
			}
			c.Queues = append(c.Queues, q)
			for after, more := (storage.ID{}), true; more; {
				jobs, next, err := r.Jobs(name, 0, after, 1000)
				if err != nil {
					return err
				}
				for _, j := range jobs {
					g, err := one(r, j)
					if err != nil {
						return err
					}
					if byKey, err := r.JobByKey(j.KeyOf()); j.Key != "" && (err != nil || byKey.ID != j.ID) {
						t.Errorf("the key %q does not lead to job %v: %v", j.Key, j.ID, err)
					}
					c.Jobs = append(c.Jobs, g)
				}
				after, more = next, next != storage.ID{}
			}
		}
		due, err := r.Due(time.Unix(1<<40, 0), 10_000)
		for _, j := range due {
			c.Due = append(c.Due, j.ID)
		}
		return err
	})
	return c
}

// lines are the holdings as text, a line of JSON for each queue and job and one for what is due.
func (c holdings) lines(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	w := json.NewEncoder(&b)
	put := func(v any) {
		if err := w.Encode(v); err != nil {
			t.Fatal(err)
		}
	}
	for i := range c.Queues {
		put(line{Queue: &c.Queues[i]})
	}
	for i := range c.Jobs {
		put(line{Job: &c.Jobs[i]})
	}
	put(line{Due: c.Due})
	return b.Bytes()
}

type line struct {
	Queue *goldenQueue `json:",omitempty"`
	Job   *goldenJob   `json:",omitempty"`
	Due   []storage.ID `json:",omitempty"`
}

// readHoldings reads what lines wrote. Fields that have come since are zero.
func readHoldings(t *testing.T, path string) (c holdings) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for d := json.NewDecoder(bufio.NewReader(f)); ; {
		var l line
		if err := d.Decode(&l); err == io.EOF {
			return c
		} else if err != nil {
			t.Fatal(err)
		}
		switch {
		case l.Queue != nil:
			c.Queues = append(c.Queues, *l.Queue)
		case l.Job != nil:
			c.Jobs = append(c.Jobs, *l.Job)
		default:
			c.Due = l.Due
		}
	}
}

// golden unpacks a golden file.
func golden(t *testing.T, zipped string) (path string) {
	t.Helper()
	f, err := os.Open(zipped)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "jobs.db")
	out, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, r); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// Files of every format ever released open, hold what they held, and go on (I24). testdata has, for each format, a file that was closed and
// one that a kill left, with jobs in every state; beside each stands what it holds, as the version that wrote it read it.
// TestMakeGoldenFiles made them. A file is never replaced, and never removed.
func TestFilesOfEveryFormatOpenForEver(t *testing.T) {
	files, err := filepath.Glob("testdata/*.db.gz")
	if err != nil || len(files) < 4 {
		t.Fatalf("got %v, %v, want four files at least", files, err)
	}
	for _, zipped := range files {
		name := strings.TrimSuffix(filepath.Base(zipped), ".db.gz")
		want := readHoldings(t, strings.TrimSuffix(zipped, ".db.gz")+".jsonl")
		then := &boltstore.Options{WallClock: func() time.Time { return goldenTime }}
		same := func(t *testing.T, s *boltstore.Store) {
			t.Helper()
			check(t, s)
			got, want := bytes.Split(describe(t, s).lines(t), []byte("\n")), bytes.Split(want.lines(t), []byte("\n"))
			if len(got) != len(want) {
				t.Fatalf("got %d lines, want %d", len(got), len(want))
			}
			for i := range got {
				if !bytes.Equal(got[i], want[i]) {
					t.Errorf("line %d is\n%s\nwant\n%s", i+1, got[i], want[i])
				}
			}
		}
		t.Run(name+" holds what it held", func(t *testing.T) {
			path := golden(t, zipped)
			if killed := strings.HasSuffix(name, "-killed"); killed && name != "format1-killed" && !journaled(t, path) {
				t.Error("its journal is empty")
			}
			s := reopen(t, path, then)
			same(t, s)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if err := boltstore.Verify(path); err != nil {
				t.Error(err)
			}
			same(t, reopen(t, path, then))
		})
		t.Run(name+" goes on", func(t *testing.T) {
			path := golden(t, zipped)
			s := reopen(t, path, then)
			b, err := jobqueue.New(s, nil)
			if err != nil {
				t.Fatal(err)
			}
			goesOn(t, b, want)
			if err := errors.Join(b.Shutdown(t.Context()), s.Close()); err != nil {
				t.Fatal(err)
			}
			check(t, reopen(t, path, then))
		})
		t.Run(name+" goes on years later", func(t *testing.T) {
			s := reopen(t, golden(t, zipped), &boltstore.Options{WallClock: func() time.Time { return goldenTime.AddDate(3, 0, 0) }})
			b, err := jobqueue.New(s, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer b.Shutdown(t.Context())
			for overdue := true; overdue; runtime.Gosched() {
				view(t, s, func(r storage.Reader) error {
					due, err := r.NextDue()
					overdue = !due.IsZero() && !due.After(r.Now())
					return err
				})
			}
			for _, j := range describe(t, s).Jobs {
				if st := j.Job.State; st == storage.Running || st == storage.Scheduled || st == storage.Staged {
					t.Errorf("job %v of queue %v is still %v", j.Job.ID, j.Job.Queue, st)
				}
			}
			check(t, s)
		})
	}
}

// goesOn has all waiting jobs delivered in their order and acked, those that are running completed by the tokens they had, and results and
// uploads read.
func goesOn(t *testing.T, b *jobqueue.Broker, c holdings) {
	t.Helper()
	ctx := t.Context()
	jobs := map[storage.ID]goldenJob{}
	for _, j := range c.Jobs {
		jobs[j.Job.ID] = j
	}
	whole := func(what string, j goldenJob, size int64, open func() (*jobqueue.Content, error)) {
		t.Helper()
		content, err := open()
		if err != nil {
			t.Errorf("%s of %v: %v", what, j.Job.ID, err)
			return
		}
		defer content.Close()
		p, err := io.ReadAll(content)
		if err != nil || int64(len(p)) != size {
			t.Errorf("%s of %v: got %d bytes, %v, want %d", what, j.Job.ID, len(p), err, size)
		}
	}
	for _, q := range c.Queues {
		queue := b.In(q.Queue.Account).Queue(q.Queue.Name)
		if q.Queue.Account == "" {
			queue = b.Queue(q.Queue.Name)
		}
		for _, id := range q.Ready {
			d, err := queue.Receive(ctx, &jobqueue.ReceiveOptions{Wait: -1})
			if err != nil {
				t.Fatalf("queue %v: %v", q.Queue.QueueName, err)
			}
			if d.ID != id {
				t.Errorf("queue %v: got job %v, want %v", q.Queue.QueueName, d.ID, id)
			}
			p, err := d.Payload(ctx)
			if want := jobs[id].Payload; err != nil || jobs[id].Job.Blob == (storage.ID{}) && digestOf(p) != *want || int64(len(p)) != d.Size {
				t.Errorf("payload of %v: got %v, %v, want %v", id, digestOf(p), err, want)
			}
			if err := d.Ack(ctx); err != nil {
				t.Errorf("ack of %v: %v", id, err)
			}
		}
		if _, err := queue.Enqueue(ctx, jobqueue.NewJob{Payload: []byte("new")}); q.Queue.Closed.IsZero() != (err == nil) {
			t.Errorf("queue %v: Enqueue: got %v; it was closed at %v", q.Queue.QueueName, err, q.Queue.Closed)
		}
	}
	for _, j := range c.Jobs {
		id := j.Job.ID
		switch {
		case j.Job.State == storage.Running:
			if _, err := b.Complete(ctx, id, j.Job.Token, jobqueue.NewResult{Data: []byte("late")}); err != nil {
				t.Errorf("Complete of %v: %v", id, err)
			}
		case j.Job.State == storage.Scheduled:
			if _, err := b.Cancel(ctx, id); err != nil {
				t.Errorf("Cancel of %v: %v", id, err)
			}
		case j.Job.State == storage.Succeeded:
			if job, err := b.Job(ctx, id); err != nil {
				t.Errorf("job %v: %v", id, err)
			} else if job.Result != nil {
				whole("the result", j, job.Result.Size, func() (*jobqueue.Content, error) { return b.Result(ctx, id) })
			}
		case j.Job.State == storage.Staged && j.Job.Key != "" && !j.Job.Finished.IsZero():
			whole("the upload", j, j.Job.Size, func() (*jobqueue.Content, error) { return b.OpenUpload(ctx, id) })
		case j.Job.State == storage.Gone && j.Job.Key != "":
			if _, err := b.Job(ctx, id); !errors.Is(err, jobqueue.ErrGone) {
				t.Errorf("tombstone %v: got %v, want %v", id, err, jobqueue.ErrGone)
			}
		}
	}
}
