// Package backup takes copies of a store that is at work, and looks at what is in them (I25).
//
// Callers play a mixed load on a broker. In the middle of it a copy is taken, by Backup into a writer that lets the load go on between its
// writes, or by Compact. The copy must pass Verify and Check, and hold the store as it was at one instant between the beginning of the copy
// and its end: all that was told to be done before it began, and nothing that was begun after it ended, nothing twice, no ack undone; and if
// it holds an enqueue, then also those that were answered before that one was begun.
//
// It finds copies that are torn, late or incomplete. The load is of one process and a few hundred operations: files of gigabytes, and maps that
// have to grow, are not tried.
package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/pollackq/pollack/internal/torture/attack"
	"github.com/pollackq/pollack/internal/torture/life"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/boltstore"
)

// Technique takes copies.
var Technique = &attack.Technique{
	Name: "backup", Promise: "a copy taken under load opens and holds one instant: all that was told before, nothing begun after (I25, I1, I3, I4)", Unit: "copies",
	CI: 30, Release: 500, Control: 60, Minutes: 3,
	Run: run,
}

func run(r *attack.Run) {
	r.Each(2, func(unit int, rnd *rand.Rand) {
		dir := filepath.Join(r.Dir, fmt.Sprint(unit))
		if err := os.Mkdir(dir, 0o700); err != nil {
			r.Bad("%v", err)
			return
		}
		defer os.RemoveAll(dir)
		u := &copying{Run: r, unit: unit, rnd: rnd, dir: dir, compact: unit%3 == 2}
		if err := u.take(); err != nil && !r.Over() {
			r.Bad("unit %d: %v", unit, err)
		}
	})
}

// A copying is one unit.
type copying struct {
	*attack.Run
	unit    int
	rnd     *rand.Rand
	dir     string
	compact bool
}

func (u *copying) take() error {
	store, err := boltstore.Open(filepath.Join(u.dir, "jobs.db"), nil)
	if err != nil {
		return err
	}
	defer store.Close()
	if u.rnd.IntN(2) == 0 { // else all is young, and in the journal
		if err := u.past(store); err != nil {
			return err
		}
	}
	b, err := jobqueue.New(store, nil)
	if err != nil {
		return err
	}
	defer b.Shutdown(context.Background())
	k := newBook()
	ctx, stop := context.WithCancel(u.Context())
	defer stop()
	played := make(chan error, 1)
	load := life.Load{Seed: u.rnd.Uint64(), Callers: 8, Large: u.rnd.IntN(4) == 0, First: 1_000_000}
	go func() {
		err := life.Play(ctx, b, load, k)
		k.end()
		played <- err
	}()
	k.await(50 + u.rnd.IntN(400))
	path := filepath.Join(u.dir, "copy.db")
	before := k.text()
	if u.compact {
		err = store.Compact(path)
		u.Count("by Compact", 1)
	} else {
		err = u.backup(store, path, k)
	}
	after := k.text()
	u.Count("answers given while copying", int64(bytes.Count(after[len(before):], []byte("\ne "))))
	k.await(bytes.Count(after, []byte("\n")) + 20) // the load goes on behind it
	stop()
	if err := errors.Join(err, ofPlay(<-played)); err != nil {
		return err
	}
	return u.audit(path, before, after)
}

// past fills the trees before the load begins. What it leaves is in queues of its own, which the audit does not look at.
func (u *copying) past(store *boltstore.Store) error {
	b, err := jobqueue.New(store, nil)
	if err != nil {
		return err
	}
	defer b.Shutdown(context.Background())
	jobs := make([]jobqueue.NewJob, 500)
	for i := range jobs {
		jobs[i].Payload = life.Fill(i, 0, u.rnd.IntN(1000))
	}
	for range 10 { // more than the overlay holds
		if _, err := b.Queue("past").EnqueueMany(u.Context(), jobs); err != nil {
			return err
		}
	}
	return nil
}

// backup writes a copy so slowly that the load changes much meanwhile.
func (u *copying) backup(store *boltstore.Store, path string, k *book) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	u.Count("by Backup", 1)
	return errors.Join(store.Backup(&slow{f, k, u.rnd}), f.Close())
}

type slow struct {
	w   io.Writer
	k   *book
	rnd *rand.Rand
}

func (s *slow) Write(p []byte) (int, error) {
	if s.rnd.IntN(3) == 0 {
		s.k.await(s.k.count() + 1 + s.rnd.IntN(40))
	}
	return s.w.Write(p)
}

// audit looks at a copy that was taken between two moments of the ledger.
func (u *copying) audit(path string, before, after []byte) error {
	if err := boltstore.Verify(path); err != nil {
		u.Bad("unit %d: Verify of the copy: %v", u.unit, err)
	}
	copied, err := boltstore.Open(path, nil)
	if err != nil {
		u.Bad("unit %d: the copy does not open: %v", u.unit, err)
		return nil
	}
	defer copied.Close()
	// What was answered while the copy was taken may be in it or not, as if it had never been answered.
	known := bytes.Clone(before)
	for line := range bytes.Lines(after[len(before):]) {
		if bytes.HasPrefix(line, []byte("b ")) {
			known = append(known, line...)
		}
	}
	l, err := life.Read(bytes.NewReader(known))
	if err != nil {
		return err
	}
	for _, what := range l.Audit(context.Background(), copied, nil) {
		u.Bad("unit %d: %s", u.unit, what)
	}
	b, err := jobqueue.New(copied, nil)
	if err != nil {
		return err
	}
	defer b.Shutdown(context.Background())
	if err := u.instant(b, string(after)); err != nil {
		return err
	}
	for _, what := range l.Drain(context.Background(), b) {
		u.Bad("unit %d: %s", u.unit, what)
	}
	return nil
}

// instant expects that what was answered before something in the copy was begun is in the copy too.
func (u *copying) instant(b *jobqueue.Broker, ledger string) error {
	there := make(map[string]bool)
	queues, err := b.Queues(context.Background(), "", jobqueue.MaxBatch)
	if err != nil {
		return err
	}
	for _, q := range queues {
		for o := (jobqueue.ListOptions{Limit: jobqueue.MaxBatch}); ; {
			jobs, next, err := b.Queue(q.Name.Name).Jobs(context.Background(), o)
			if err != nil {
				return err
			}
			for _, j := range jobs {
				there[j.Name] = true
			}
			if o.After = next; next == (jobqueue.ID{}) {
				break
			}
		}
	}
	latest := -1 // the line that begins the last enqueue in the copy
	answered := make(map[string]int)
	for n, line := range strings.Split(ledger, "\n") {
		switch f := strings.Fields(line); {
		case len(f) < 3:
		case f[0] == "b" && f[2] == "enqueue":
			answered[f[1]] = -1
			if there[f[1]+".0"] {
				latest = n
			}
		case f[0] == "e" && f[2] == "ok" && answered[f[1]] != 0:
			answered[f[1]] = n
		}
	}
	for op, n := range answered {
		if n >= 0 && n < latest && !there[op+".0"] {
			u.Bad("unit %d: the copy has an enqueue that began after enqueue %s had been answered, but not that: it is of no instant", u.unit, op)
		}
	}
	return nil
}

// ofPlay returns an error of the load that is not just its end.
func ofPlay(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// A book is a ledger that can be waited for.
type book struct {
	mu    sync.Mutex // guards what follows
	more  sync.Cond
	b     []byte
	lines int
	over  bool
}

func newBook() *book {
	k := new(book)
	k.more.L = &k.mu
	return k
}

func (k *book) Write(p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.b = append(k.b, p...)
	k.lines++
	k.more.Broadcast()
	return len(p), nil
}

// end says that no more is going to be written.
func (k *book) end() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.over = true
	k.more.Broadcast()
}

// await returns when so many lines were written, or no more will be.
func (k *book) await(lines int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for k.lines < lines && !k.over {
		k.more.Wait()
	}
}

func (k *book) count() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.lines
}

func (k *book) text() []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	return bytes.Clone(k.b)
}
