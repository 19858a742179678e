package full

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pollackq/pollack/internal/torture/attack"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/boltstore"
)

// An order is a unit, as JSON in a child's only argument.
type order struct {
	Dir     string // an empty folder
	Kind    string // of the disk
	Size    int64  // of the disk
	Payload int    // bytes
	Callers int
	Many    bool // jobs are received and acked many at a time
	Kept    bool // ended jobs are kept for a while
	Die     int  // kill yourself after so many acks on the full disk; 0 is never. Another process goes on
	Second  bool // be the one that dies, on a disk that is there
}

// A telling is what a child found.
type telling struct {
	Bad    []string
	Counts map[string]int64
}

const (
	retention = 3 * time.Second  // in a file at its MaxSize, where only that makes room
	patience  = 30 * time.Second // for what must come to be
	again     = 20 * time.Millisecond
	least     = 64 // bytes that a job takes
)

// A filler fills a disk, and works on it while it is full.
type filler struct {
	order
	disk    disk
	path    string
	store   *boltstore.Store
	broker  *jobqueue.Broker
	q       *jobqueue.Queue
	journal *os.File // what was accepted, delivered and acked, for whoever goes on after a kill

	bytes atomic.Int64 // of jobs that were accepted, at least

	mu       sync.Mutex // guards what follows
	accepted map[jobqueue.ID]bool
	held     map[jobqueue.ID]jobqueue.Token
	acked    map[jobqueue.ID]bool
	asked    map[jobqueue.ID]bool // acks that nobody was told the end of
	refused  int                  // receives and acks that found no room
	roomy    bool                 // there is room again
	telling
}

// child does a unit and prints what it found.
func child(args []string) int {
	f := &filler{accepted: map[jobqueue.ID]bool{}, held: map[jobqueue.ID]jobqueue.Token{}, acked: map[jobqueue.ID]bool{}, asked: map[jobqueue.ID]bool{}}
	f.Counts = make(map[string]int64)
	err := json.Unmarshal([]byte(args[0]), &f.order)
	ctx := context.Background()
	if err == nil {
		err = f.do(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "child:", err)
		return 1
	}
	if json.NewEncoder(os.Stdout).Encode(f.telling) != nil {
		return 1
	}
	return 0
}

func (f *filler) bad(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.Bad) < 5 {
		f.Bad = append(f.Bad, fmt.Sprintf(format, args...))
	}
}

func (f *filler) do(ctx context.Context) (err error) {
	f.disk = disk{kind: f.Kind, size: f.Size}
	f.path = filepath.Join(f.Dir, "disk", "jobs.db")
	if f.journal, err = os.OpenFile(filepath.Join(f.Dir, "journal"), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600); err != nil {
		return err
	}
	if f.Second {
		if f.Kind == limit {
			err = f.disk.limitFiles(f.Size)
		}
		if err = errors.Join(err, f.open()); err == nil {
			f.fill(ctx)
			f.drain(ctx)
			die() // there were fewer acks
		}
		return err
	}
	if err := f.disk.prepare(ctx, f.Dir); err != nil {
		return err
	}
	if f.Kind == ext4 {
		if err := f.disk.leave(f.Size / 2); err != nil {
			return err
		}
	}
	if f.Die > 0 {
		if err := f.predecessor(ctx); err != nil {
			return err
		}
	}
	if err := f.open(); err != nil {
		return fmt.Errorf("open on the full disk: %w", err)
	}
	if f.Die == 0 {
		f.fill(ctx)
		if f.Kind == growing {
			f.grows(ctx)
		}
	}
	f.accounts(ctx)
	f.drain(ctx)
	f.accounts(ctx)
	f.makeRoom(ctx)
	return f.end(ctx)
}

// predecessor lets another process fill the disk, ack some jobs and kill itself, and takes over its journal.
func (f *filler) predecessor(ctx context.Context) error {
	o := f.order
	o.Second = true
	arg, err := json.Marshal(o)
	if err != nil {
		return err
	}
	err = attack.Command(ctx, techniqueName, string(arg)).Run()
	if err == nil || !strings.Contains(err.Error(), "killed") {
		return fmt.Errorf("the predecessor ended with %w", err)
	}
	in := bufio.NewScanner(f.journal)
	for in.Scan() {
		w := strings.Fields(in.Text())
		id, err := jobqueue.ParseID(w[1])
		if err != nil {
			return err
		}
		switch w[0] {
		case "accepted":
			f.accepted[id] = true
		case "held":
			if f.held[id], err = jobqueue.ParseToken(w[2]); err != nil {
				return err
			}
		case "acks":
			f.asked[id] = true
		case "acked":
			f.acked[id] = true
			delete(f.asked, id)
			delete(f.held, id)
		}
	}
	return in.Err()
}

func (f *filler) open() (err error) {
	o := &boltstore.Options{}
	if f.Kind == maxSize {
		o.MaxSize = f.Size
	}
	if f.store, err = boltstore.Open(f.path, o); err != nil {
		return err
	}
	b := &jobqueue.Options{Retention: -1, Tombstone: -1, Lease: time.Hour}
	switch {
	case f.Kept && f.disk.real():
		b.Retention = time.Hour
	case f.Kept:
		b.Retention = retention
	}
	f.broker, err = jobqueue.New(f.store, b)
	if err == nil {
		f.q = f.broker.Queue("q")
	}
	return err
}

// note writes into the journal.
func (f *filler) note(what string, args ...any) {
	fmt.Fprintln(f.journal, append([]any{what}, args...)...)
}

// fill enqueues until nothing fits, not even a job without a payload.
func (f *filler) fill(ctx context.Context) {
	f.together(func() {
		for _, size := range []int{f.Payload, 0} {
			for f.enqueue(ctx, size) {
				if f.bytes.Add(int64(size)+least) > 4*f.Size {
					f.bad("more jobs were accepted than a disk of %d bytes can hold (I1, I14)", f.Size)
					return
				}
			}
		}
	})
}

// together has all callers do the same at once.
func (f *filler) together(do func()) {
	var wg sync.WaitGroup
	for range f.Callers {
		wg.Go(do)
	}
	wg.Wait()
}

// enqueue enqueues a job, or many at once, and reports whether they fitted.
func (f *filler) enqueue(ctx context.Context, size int) bool {
	jobs := []jobqueue.NewJob{{Payload: make([]byte, size)}}
	if f.Many {
		for range 9 {
			jobs = append(jobs, jobs[0])
		}
	}
	added, err := f.q.EnqueueMany(ctx, jobs)
	if err != nil {
		if !errors.Is(err, jobqueue.ErrStoreFull) {
			f.bad("an enqueue on a full disk was told %v", err)
		}
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, j := range added {
		f.accepted[j.ID] = true
		f.note("accepted", j.ID)
	}
	return true
}

// grows makes the disk larger while enqueues go on being refused, and waits until one fits.
func (f *filler) grows(ctx context.Context) {
	f.roomAgain(ctx)
	f.fill(ctx)
}

// roomAgain makes room and waits until an enqueue fits, in the same store.
func (f *filler) roomAgain(ctx context.Context) {
	if err := f.disk.room(); err != nil {
		f.bad("%v", err)
		return
	}
	over := time.Now().Add(patience)
	for !f.enqueue(ctx, f.Payload) {
		if time.Now().After(over) {
			f.bad("there is room again, and after %v no enqueue fits (I14)", patience)
			return
		}
		time.Sleep(again) // until a second after the last refusal the store does not try
	}
}

// drain receives and acks all there is, and what a predecessor held. On a real disk some of that may not fit: it is tried for a while.
func (f *filler) drain(ctx context.Context) {
	for id, token := range f.held {
		f.ack(ctx, []jobqueue.Ack{{ID: id, Token: token}})
	}
	f.together(func() {
		for refusals := 0; refusals < 20; {
			n := 1
			if f.Many {
				n = 10
			}
			ds, err := f.q.ReceiveMany(ctx, n, &jobqueue.ReceiveOptions{Wait: -1})
			switch {
			case errors.Is(err, jobqueue.ErrEmpty):
				return
			case errors.Is(err, jobqueue.ErrStoreFull):
				refusals++
				f.refuse("a receive")
				continue
			case err != nil:
				f.bad("a receive on a full disk was told %v", err)
				return
			}
			acks := make([]jobqueue.Ack, len(ds))
			f.mu.Lock()
			for i, d := range ds {
				acks[i] = jobqueue.Ack{ID: d.ID, Token: d.Token}
				if f.acked[d.ID] {
					f.Bad = append(f.Bad, fmt.Sprintf("job %v was acked, and is delivered again (I3)", d.ID))
				}
				f.held[d.ID] = d.Token
				f.note("held", d.ID, d.Token)
			}
			f.mu.Unlock()
			f.ack(ctx, acks)
		}
	})
	if left := f.left(ctx); left > 0 {
		if !f.roomy {
			f.Counts["jobs left until there was room, "+f.Kind] += int64(left)
		}
		if f.Kind != limit { // where the process alone may write no more, the disk gives blocks that are good for nothing
			f.bad("%d of %d jobs could not be received and acked on a full %s (I14)", left, len(f.accepted), f.Kind)
		}
	}
}

// left returns how many jobs were accepted and not acked, but for those of which a predecessor died before it could tell their tokens.
func (f *filler) left(ctx context.Context) (n int) {
	for id := range f.accepted {
		if f.acked[id] {
			continue
		}
		if f.Die > 0 && f.held[id] == (jobqueue.Token{}) {
			if j, err := f.broker.Job(ctx, id); err == nil && j.State == jobqueue.Running {
				f.Counts["jobs leased to the dead"]++
				continue
			}
		}
		n++
	}
	return n
}

// refuse counts what did not fit. There is a reserve for it.
func (f *filler) refuse(what string) {
	f.mu.Lock()
	f.refused++
	f.Counts["acks and receives refused, "+f.Kind]++
	f.mu.Unlock()
	if f.Kind != limit {
		f.bad("%s found no room on a full %s (I14)", what, f.Kind)
	}
}

// ack acks what is held.
func (f *filler) ack(ctx context.Context, acks []jobqueue.Ack) {
	for _, a := range acks {
		f.note("acks", a.ID)
	}
	results, err := f.broker.AckMany(ctx, acks)
	f.mu.Lock()
	if err == nil {
		for _, r := range results {
			if r.Err != nil {
				err = r.Err
			}
		}
	}
	if err == nil {
		for _, a := range acks {
			f.acked[a.ID] = true
			delete(f.held, a.ID)
			f.note("acked", a.ID)
		}
		if f.Second && len(f.acked) >= f.Die {
			die()
		}
	}
	f.mu.Unlock()
	switch {
	case err == nil:
	case errors.Is(err, jobqueue.ErrStoreFull):
		f.refuse("an ack")
	case f.Die > 0 && f.asked[acks[0].ID] && !f.Kept && errors.Is(err, jobqueue.ErrNotFound): // it was acked, and nobody was told
		f.mu.Lock()
		f.acked[acks[0].ID] = true
		delete(f.held, acks[0].ID)
		f.mu.Unlock()
	default:
		f.bad("an ack on a full disk was told %v", err)
	}
}

func die() {
	syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// accounts compares the store with what was told.
func (f *filler) accounts(ctx context.Context) {
	if err := f.store.Check(ctx); err != nil {
		f.bad("check: %v", err)
	}
	here := make(map[jobqueue.ID]jobqueue.State)
	o := jobqueue.ListOptions{Limit: jobqueue.MaxBatch}
	for {
		jobs, next, err := f.q.Jobs(ctx, o)
		if err != nil && !errors.Is(err, jobqueue.ErrNotFound) {
			f.bad("list: %v", err)
		}
		for _, j := range jobs {
			here[j.ID] = j.State
		}
		if o.After = next; next == (jobqueue.ID{}) || err != nil {
			break
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for id := range f.accepted {
		state, ok := here[id]
		switch {
		case f.acked[id] && ok && state != jobqueue.Succeeded:
			f.Bad = append(f.Bad, fmt.Sprintf("job %v was acked, and is %v (I3)", id, state))
		case !f.acked[id] && !f.asked[id] && (!ok || state.Ended()):
			f.Bad = append(f.Bad, fmt.Sprintf("job %v was accepted, not acked, and is %v, there %t (I1)", id, state, ok))
		}
	}
	unknown := 0
	for id := range here {
		if !f.accepted[id] {
			unknown++
		}
	}
	if unknown > 0 && (f.Die == 0 || unknown > 10*f.Callers) { // a kill may come before what was accepted is told
		f.Bad = append(f.Bad, fmt.Sprintf("%d jobs are there that were refused (I2)", unknown))
	}
}

// makeRoom makes room, by the acks or outside, after which enqueues are to fit again, in the same store, and what was left is acked.
func (f *filler) makeRoom(ctx context.Context) {
	f.Counts["filled"]++
	f.Counts["jobs"] += int64(len(f.accepted))
	f.roomAgain(ctx)
	f.roomy = true
	if f.disk.real() {
		f.drain2(ctx)
	}
}

// drain2 acks what was left, now that there is room.
func (f *filler) drain2(ctx context.Context) {
	over := time.Now().Add(patience)
	for {
		refused := f.refused
		f.drain(ctx)
		if f.refused == refused && len(f.held) == 0 {
			return
		}
		if time.Now().After(over) {
			f.bad("there is room again, and after %v not all can be acked (I14)", patience)
			return
		}
	}
}

// end closes the store and opens it once more.
func (f *filler) end(ctx context.Context) error {
	f.accounts(ctx)
	if err := errors.Join(f.broker.Shutdown(ctx), f.store.Close()); err != nil {
		return err
	}
	if info, err := os.Stat(f.path); err != nil {
		return err
	} else if f.Kind == maxSize && info.Size() > f.Size {
		f.bad("the file has %d bytes, MaxSize is %d", info.Size(), f.Size)
	}
	if err := boltstore.Verify(f.path); err != nil {
		f.bad("%v", err)
	}
	if err := f.open(); err != nil {
		return err
	}
	f.accounts(ctx)
	return errors.Join(f.broker.Shutdown(ctx), f.store.Close())
}
