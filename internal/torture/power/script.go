package power

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"sync"

	"go.etcd.io/bbolt"

	"github.com/pollackq/pollack/internal/torture/life"
	"github.com/pollackq/pollack/jobqueue"
)

const (
	storeName  = "jobs.db"
	userQueue  = "user"
	copyPrefix = "copy-"
)

var userBucket = []byte("user")

// prepare makes the file that is there before the trace.
func (w *workload) prepare(dir string, ledger io.Writer) error {
	path := filepath.Join(dir, storeName)
	if w.Wrapped { // bbolt's own making of a file is not safe, which is its user's matter
		db, err := bbolt.Open(path, 0o600, nil)
		if err != nil {
			return err
		}
		return db.Close()
	}
	s, err := w.open(path)
	if err != nil {
		return err
	}
	if err := errors.Join(w.play(context.Background(), s, 0, 40, ledger), s.close()); err != nil || !w.Old {
		return err
	}
	// Format 1 had no journal, and said so.
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		top, format := tx.Bucket([]byte("pollack")), []byte("format")
		rec := []byte{1, 1}
		sum := crc32.Update(crc32.Checksum(format, castagnoli), castagnoli, rec)
		rec = append(rec, byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24))
		return errors.Join(top.DeleteBucket([]byte("journal")), top.Put(format, rec))
	})
	return errors.Join(err, db.Close())
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// script is the life that is traced. Its process ends without closing the file.
func script(args []string) error {
	var w workload
	if err := json.Unmarshal([]byte(args[1]), &w); err != nil {
		return err
	}
	dir, first := args[0], 0
	fmt.Sscan(args[2], &first)
	ledger, marks := os.NewFile(ledgerFD, "ledger"), os.NewFile(markFD, "marks")
	path := filepath.Join(dir, storeName)
	ctx := context.Background()
	for l := range w.Lives {
		s, err := w.open(path)
		if err != nil {
			return err
		}
		if l == 0 && w.Many {
			if err := many(ctx, s, ledger, &first); err != nil {
				return err
			}
		}
		each := max(1, w.Ops/w.Lives/w.Callers)
		var wg sync.WaitGroup
		var errs [2]error
		if w.Copies {
			wg.Go(func() { errs[0] = backup(s, filepath.Join(dir, fmt.Sprint("backup-", l))) })
		}
		if w.Wrapped {
			wg.Go(func() { errs[1] = w.transactions(ctx, s, l, marks) })
		}
		err = w.play(ctx, s, first, each, ledger)
		wg.Wait()
		if err := errors.Join(err, errs[0], errs[1]); err != nil {
			return err
		}
		first += each * w.Callers
		if w.Copies {
			if err := compacted(s, dir, l, marks); err != nil {
				return err
			}
		}
		if l == w.Lives-1 {
			break // the last life ends by a loss of power
		}
		if err := s.close(); err != nil {
			return err
		}
		if w.Copies && l%2 == 1 {
			if err := replace(dir, l); err != nil {
				return err
			}
		}
	}
	return nil
}

// play plays so many operations of each caller.
func (w *workload) play(ctx context.Context, s *held, first, ops int, ledger io.Writer) error {
	b, err := jobqueue.New(s.Store, w.broker())
	if err != nil {
		return err
	}
	err = life.Play(ctx, b, life.Load{
		Seed: w.Seed + uint64(first), Callers: w.Callers, Ops: ops, Large: w.Large, First: first, GoOn: w.MaxSize > 0,
	}, ledger)
	return errors.Join(err, b.Shutdown(ctx))
}

// many enqueues thousands of jobs, more than the journal's overlay takes.
func many(ctx context.Context, s *held, ledger io.Writer, first *int) error {
	const calls, jobs = 60, 100
	b, err := jobqueue.New(s.Store, nil)
	if err != nil {
		return err
	}
	for range calls {
		n := *first
		*first++
		if _, err := fmt.Fprintf(ledger, "b %d enqueue q0 %d 50 0 - 0 0 0\n", n, jobs); err != nil {
			return err
		}
		list := make([]jobqueue.NewJob, jobs)
		for i := range list {
			list[i] = jobqueue.NewJob{Name: fmt.Sprintf("%d.%d", n, i), Payload: life.Fill(n, i, 50)}
		}
		out, err := b.Queue("q0").EnqueueMany(ctx, list)
		if err != nil {
			return err
		}
		ids := ""
		for _, j := range out {
			ids += " " + j.ID.String()
		}
		if _, err := fmt.Fprintf(ledger, "e %d ok%s\n", n, ids); err != nil {
			return err
		}
	}
	return b.Shutdown(ctx)
}

// transactions are those of a user, who keeps a record of their own for each job, written with it. Marks tell which are over.
func (w *workload) transactions(ctx context.Context, s *held, l int, marks io.Writer) error {
	b, err := jobqueue.New(s.Store, w.broker())
	if err != nil {
		return err
	}
	for i := range 30 {
		key := fmt.Sprintf("%d-%d", l, i)
		err := s.db.Update(func(btx *bbolt.Tx) error {
			own, err := btx.CreateBucketIfNotExists(userBucket)
			if err != nil {
				return err
			}
			if err := own.Put([]byte(key), life.Fill(i, 0, 1+i*50)); err != nil {
				return err
			}
			_, err = b.EnqueueTx(ctx, s.Tx(btx), userQueue, jobqueue.NewJob{Key: key, Payload: []byte(key)})
			return err
		})
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(marks, "told %s\n", key); err != nil {
			return err
		}
	}
	return b.Shutdown(ctx)
}

// backup copies the file under load. The copy is looked at elsewhere: here it is load.
func backup(s *held, path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	// Behind a plain writer, so that the bytes go through calls that the trace has.
	return errors.Join(s.Backup(struct{ io.Writer }{f}), f.Close(), os.Remove(path))
}

// compacted makes a copy while nobody calls. It must be whole wherever its name is.
func compacted(s *held, dir string, l int, marks io.Writer) error {
	name := fmt.Sprint(copyPrefix, l)
	if _, err := fmt.Fprintf(marks, "copy %s\n", name); err != nil {
		return err
	}
	return s.Compact(filepath.Join(dir, name))
}

// replace puts a copy in the place of the file, as its documentation says.
func replace(dir string, l int) error {
	if err := os.Rename(filepath.Join(dir, fmt.Sprint(copyPrefix, l)), filepath.Join(dir, storeName)); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
