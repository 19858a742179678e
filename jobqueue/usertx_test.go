package jobqueue_test

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/boltstore"
)

var rows = []byte("rows")

// A shared is a lab on a bbolt file of the user's own, which has rows besides.
type shared struct {
	*lab
	db   *bbolt.DB
	bolt *boltstore.Store
}

// inOneFile runs a test in a bubble, and checks the store at its end.
func inOneFile(t *testing.T, name string, o *jobqueue.Options, run func(s *shared)) {
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			db, err := bbolt.Open(filepath.Join(t.TempDir(), "user.db"), 0o600, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			bolt, err := boltstore.Wrap(db, nil)
			if err != nil {
				t.Fatal(err)
			}
			s := &shared{lab: &lab{T: t, ctx: t.Context(), o: o}, db: db, bolt: bolt}
			s.over(bolt)
			defer s.stop()
			s.must(db.Update(func(tx *bbolt.Tx) error { _, err := tx.CreateBucket(rows); return err }))
			run(s)
		})
	})
}

// both puts a row and enqueues jobs in one transaction of the user's, which fails with err if that is not nil.
func (s *shared) both(err error, jobs ...jobqueue.NewJob) (out []*jobqueue.Job, _ error) {
	s.Helper()
	return out, s.db.Update(func(tx *bbolt.Tx) error {
		if err := tx.Bucket(rows).Put([]byte("row"), []byte("1")); err != nil {
			return err
		}
		for _, j := range jobs {
			added, err := s.b.EnqueueTx(s.ctx, s.bolt.Tx(tx), "q", j)
			if err != nil {
				return err
			}
			out = append(out, added)
		}
		return err
	})
}

func (s *shared) row() (there bool) {
	s.must(s.db.View(func(tx *bbolt.Tx) error {
		there = tx.Bucket(rows).Get([]byte("row")) != nil
		return nil
	}))
	return there
}

var errUser = errors.New("the user thought better of it")

func TestEnqueueInTheUsersOwnTransaction(t *testing.T) {
	inOneFile(t, "the row and the job are there together, and a receiver that waits is woken", nil, func(s *shared) {
		next := s.parked("q")
		jobs, err := s.both(nil, jobqueue.NewJob{Payload: []byte("p"), Key: "k"})
		s.must(err)
		equal(s.lab, "row", s.row(), true)
		got := next()
		s.must(got.err)
		equal(s.lab, "id", got.d.ID, jobs[0].ID)
		p, err := got.d.Payload(s.ctx)
		s.must(err)
		equal(s.lab, "payload", string(p), "p")
		s.must(got.d.Ack(s.ctx))
	})
	inOneFile(t, "two jobs wake two receivers, once there are two", nil, func(s *shared) {
		a, b, c := s.parked("q"), s.parked("q"), s.parked("q")
		_, err := s.both(nil, jobqueue.NewJob{}, jobqueue.NewJob{})
		s.must(err)
		s.must(a().err)
		s.must(b().err)
		s.add("q", jobqueue.NewJob{})
		s.must(c().err)
	})
	inOneFile(t, "after a rollback neither is there, nobody is woken, and no position is used", nil, func(s *shared) {
		next := s.parked("q")
		before := s.contents()
		_, err := s.both(errUser, jobqueue.NewJob{Key: "k"}, jobqueue.NewJob{Delay: time.Hour, Outbox: []string{"o"}})
		wants(s.T, "Update", err, errUser)
		equal(s.lab, "row", s.row(), false)
		equal(s.lab, "records", s.contents(), before)
		equal(s.lab, "jobs counted as enqueued", s.b.Stats().Enqueued, 0)
		equal(s.lab, "receivers that wait", s.b.Stats().Receivers, 1)
		j := s.add("q", jobqueue.NewJob{Key: "k"})
		equal(s.lab, "replayed", j.Replayed, false)
		equal(s.lab, "position", j.Position, 0)
		equal(s.lab, "id", next().d.ID, j.ID)
	})
	inOneFile(t, "a delayed job that was committed so becomes ready in time, and misses its deadline", nil, func(s *shared) {
		jobs, err := s.both(nil, jobqueue.NewJob{Delay: time.Minute}, jobqueue.NewJob{Deadline: time.Now().Add(time.Second)})
		s.must(err)
		next := s.parked("r")
		s.pass(time.Second)
		s.failed(jobs[1].ID, jobqueue.CodeDeadline)
		s.pass(59 * time.Second)
		s.state(jobs[0].ID, jobqueue.Pending)
		s.add("r", jobqueue.NewJob{})
		s.must(next().err)
	})
	inOneFile(t, "a key is as good there as elsewhere", nil, func(s *shared) {
		first := s.add("q", jobqueue.NewJob{Key: "k"})
		jobs, err := s.both(nil, jobqueue.NewJob{Key: "k"}, jobqueue.NewJob{Key: "new"}, jobqueue.NewJob{Key: "new"})
		s.must(err)
		equal(s.lab, "id", jobs[0].ID, first.ID)
		equal(s.lab, "replayed", jobs[0].Replayed, true)
		equal(s.lab, "replayed", jobs[1].Replayed, false)
		equal(s.lab, "replayed", jobs[2].Replayed, true)
		_, err = s.both(nil, jobqueue.NewJob{Key: "k", Name: "other"})
		wants(s.T, "EnqueueTx", err, jobqueue.ErrKeyReused)
	})
	inOneFile(t, "a job that is refused leaves the rest of the user's transaction", &jobqueue.Options{Backlog: 1}, func(s *shared) {
		s.must(s.db.Update(func(tx *bbolt.Tx) error {
			u := s.bolt.Tx(tx)
			first, err := s.b.EnqueueTx(s.ctx, u, "q", jobqueue.NewJob{})
			s.must(err)
			equal(s.lab, "position", first.Position, 0)
			broken := make(chan struct{})
			close(broken)
			for _, c := range []struct {
				job  jobqueue.NewJob
				want error
			}{
				{jobqueue.NewJob{}, jobqueue.ErrBacklogFull},
				{jobqueue.NewJob{Name: "\xff"}, jobqueue.ErrInvalid},
				{jobqueue.NewJob{Payload: make([]byte, storage.MaxValue+1)}, jobqueue.ErrTooLarge},
				{jobqueue.NewJob{Body: zeros(storage.MaxValue + 1)}, jobqueue.ErrTooLarge},
				{jobqueue.NewJob{Body: io.MultiReader(strings.NewReader("x"), &stalls{n: 1, stop: broken})}, errStalled},
			} {
				_, err := s.b.EnqueueTx(s.ctx, u, "q", c.job)
				wants(s.T, "EnqueueTx", err, c.want)
			}
			_, err = s.b.EnqueueTx(s.ctx, u, "", jobqueue.NewJob{})
			s.invalid("EnqueueTx", err, "queue")
			return tx.Bucket(rows).Put([]byte("row"), []byte("1"))
		}))
		equal(s.lab, "row", s.row(), true)
		equal(s.lab, "next position", s.info("q").Next, 1)
	})
	inOneFile(t, "a payload of the most that fits comes back", nil, func(s *shared) {
		want := pattern(storage.MaxValue)
		_, err := s.both(nil, jobqueue.NewJob{Payload: want}, jobqueue.NewJob{Body: strings.NewReader(string(want))})
		s.must(err)
		for range 2 {
			c, err := s.take("q").Open(s.ctx)
			s.must(err)
			s.reads(c, want)
		}
	})
	inOneFile(t, "a closed queue refuses it, an explicit one that is unknown too, and a broker that shuts down", &jobqueue.Options{ExplicitQueues: true}, func(s *shared) {
		_, err := s.both(nil, jobqueue.NewJob{})
		wants(s.T, "EnqueueTx", err, jobqueue.ErrNotFound)
		_, _, err = s.b.Queue("q").Configure(s.ctx, jobqueue.Settings{})
		s.must(err)
		s.must(s.b.Queue("q").Close(s.ctx))
		_, err = s.both(nil, jobqueue.NewJob{})
		wants(s.T, "EnqueueTx", err, jobqueue.ErrQueueClosed)
		s.must(s.b.Shutdown(s.ctx))
		_, err = s.both(nil, jobqueue.NewJob{})
		wants(s.T, "EnqueueTx", err, jobqueue.ErrShutdown)
		equal(s.lab, "row", s.row(), false)
	})
	inOneFile(t, "an account's broker puts it into the account's queue", nil, func(s *shared) {
		s.must(s.db.Update(func(tx *bbolt.Tx) error {
			j, err := s.b.In("acme").EnqueueTx(s.ctx, s.bolt.Tx(tx), "q", jobqueue.NewJob{})
			s.must(err)
			equal(s.lab, "account", j.Account, "acme")
			equal(s.lab, "queue", j.Queue, jobqueue.QueueName{Account: "acme", Name: "q"})
			return nil
		}))
		_, err := s.b.In("acme").Queue("q").TryReceive(s.ctx, nil)
		s.must(err)
	})
	inOneFile(t, "Admit is not asked", &jobqueue.Options{Admit: func(context.Context, *jobqueue.Job) error { return errUser }}, func(s *shared) {
		_, err := s.both(nil, jobqueue.NewJob{})
		s.must(err)
	})
	inOneFile(t, "positions go on without holes between the user's transactions and ours", nil, func(s *shared) {
		for i := range uint64(4) {
			jobs, err := s.both(nil, jobqueue.NewJob{})
			s.must(err)
			equal(s.lab, "position", jobs[0].Position, 2*i)
			_, err = s.both(errUser, jobqueue.NewJob{})
			wants(s.T, "Update", err, errUser)
			equal(s.lab, "position", s.add("q", jobqueue.NewJob{}).Position, 2*i+1)
		}
	})
	inOneFile(t, "a context that has ended enqueues nothing", nil, func(s *shared) {
		ctx, cancel := context.WithCancel(s.ctx)
		cancel()
		s.must(s.db.Update(func(tx *bbolt.Tx) error {
			_, err := s.b.EnqueueTx(ctx, s.bolt.Tx(tx), "q", jobqueue.NewJob{})
			if err != ctx.Err() {
				s.Errorf("EnqueueTx: got %v, want %v", err, ctx.Err())
			}
			return nil
		}))
		equal(s.lab, "contents", s.contents(), "")
	})
}
