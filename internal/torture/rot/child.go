package rot

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/pollackq/pollack/internal/torture/life"
	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/boltstore"
)

// child runs Verify, or looks at the flips that it reads from standard input.
func child(args []string) int {
	if args[0] == "verify" {
		if err := boltstore.Verify(args[1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	}
	dir, path := args[1], filepath.Join(args[1], args[2])
	if shm, err := os.MkdirTemp("/dev/shm", "rot-"); err == nil { // what a sync costs is no matter here
		defer os.RemoveAll(shm)
		path = filepath.Join(shm, args[2])
	}
	out := json.NewEncoder(os.Stdout)
	truths := make(map[string]*truth)
	for in := json.NewDecoder(bufio.NewReader(os.Stdin)); ; {
		var f flip
		if in.Decode(&f) != nil {
			return 0
		}
		if truths[f.Shape] == nil {
			text, err := os.ReadFile(filepath.Join(dir, f.Shape+".json"))
			t := new(truth)
			if err := errors.Join(err, json.Unmarshal(text, t)); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
			truths[f.Shape] = t
		}
		e := &examination{truth: truths[f.Shape], path: path, list: f.List, branch: f.Branch, newest: f.Newest, seen: map[string]int{}, stage: func(s string) { out.Encode(finding{Stage: s}) }}
		os.Remove(path) // what an earlier one may still hold open is another file
		if err := damage(filepath.Join(dir, f.Shape), path, f.Bit); err != nil {
			e.wrong("%v", err)
		} else {
			e.examine(context.Background())
		}
		out.Encode(finding{Bad: e.bad, Seen: e.seen, Done: true, Leaves: e.leaves})
	}
}

// An examination looks at one damaged file.
type examination struct {
	*truth
	path  string
	store *boltstore.Store
	b     *jobqueue.Broker
	stage func(string)
	now   string // the stage

	list    bool                   // the bit is in the list of free pages, which nothing checks
	branch  bool                   // the bit is in a page that leads to others
	wrote   bool                   // something was written since
	newest  bool                   // the bit is in the newest meta page of a file that was not closed
	damaged bool                   // Check said so, or Close
	stages  string                 // what is added to the names of stages
	failed  bool                   // the store refuses work
	unclean bool                   // its last commit, that of Close, did not happen
	errs    map[jobqueue.ID]bool   // jobs that are quarantined
	got     map[jobqueue.ID]bool   // delivered
	acked   map[jobqueue.ID]bool   // told to be acked
	added   map[jobqueue.ID][]byte // enqueued here: the payload
	leaves  bool                   // an Open failed: bbolt's scan may still be under way
	bad     []string
	seen    map[string]int
}

func (e *examination) begin(stage string) { e.now = stage + e.stages; e.stage(e.now) }

func (e *examination) wrong(format string, args ...any) {
	if len(e.bad) < 3 {
		e.bad = append(e.bad, fmt.Sprintf("at %q: ", e.now)+fmt.Sprintf(format, args...))
	}
}

// old is called when something is as it was before a change that was told to be done. Where Check has told that the trees are damaged a write
// may hide behind what it replaced; and nobody can tell a damaged meta page from one that was torn by a loss of power.
func (e *examination) old(format string, args ...any) {
	switch {
	case e.newest:
		e.seen["files that went back by a commit, since its meta page is damaged"] = 1
	case e.list:
		e.seen["files that lost something to a damaged list of free pages"] = 1
	case e.branch:
		e.seen["files that served an old state behind a damaged page that leads to others"] = 1
	case e.damaged:
		e.seen["damaged files that served an old state after writing"] = 1
	default:
		e.wrong(format, args...)
	}
}

// refusals are errors that name damage, or say that the store gave up over it.
var refusals = []error{jobqueue.ErrCorrupt, storage.ErrCorrupt, jobqueue.ErrStoreFailed, storage.ErrFailed, jobqueue.ErrOutcomeUnknown, storage.ErrOutcomeUnknown}

// ofOpen are what Open says of a file that it does not take.
var ofOpen = []error{boltstore.ErrDamaged, boltstore.ErrForeign, boltstore.ErrTruncated, boltstore.ErrFormat, storage.ErrCorrupt}

func is(err error, any []error) bool {
	return slices.ContainsFunc(any, func(target error) bool { return errors.Is(err, target) })
}

// refused expects an error to name damage, or that something is not there any more, if Check has told of damage.
func (e *examination) refused(what string, err error) {
	switch {
	case errors.Is(err, jobqueue.ErrStoreFailed) || errors.Is(err, jobqueue.ErrOutcomeUnknown):
		e.failed = true
		e.seen["stores that gave up"] = 1
	case is(err, refusals):
		e.seen["files with damage that was named"] = 1
	case e.damaged && (errors.Is(err, jobqueue.ErrNotFound) || errors.Is(err, jobqueue.ErrPayloadGone)):
		e.seen["files with records that are gone, and Check says so"] = 1
	case e.branch && e.wrote && errors.Is(err, jobqueue.ErrNotFound):
		e.seen["files that lost something behind a damaged page that leads to others"] = 1
	case e.list && errors.Is(err, jobqueue.ErrNotFound):
		e.seen["files that lost something to a damaged list of free pages"] = 1
	default:
		e.wrong("%s: %v, and Check found damage: %t", what, err, e.damaged)
	}
}

// fewer is called when something is missing in an order.
func (e *examination) fewer(format string, args ...any) {
	if !e.damaged && !e.failed && !e.list && !(e.branch && e.wrote) {
		e.wrong("%s, and Check found no damage", fmt.Sprintf(format, args...))
	}
}

func (e *examination) examine(ctx context.Context) {
	e.errs, e.got, e.acked = map[jobqueue.ID]bool{}, map[jobqueue.ID]bool{}, map[jobqueue.ID]bool{}
	e.added = map[jobqueue.ID][]byte{}
	if !e.open(ctx, "open") {
		e.seen["files that Open refused"] = 1
		return
	}
	e.begin("read")
	e.readAll(ctx)
	e.begin("deliver")
	e.wrote = true
	for queue, counts := range e.Counts {
		e.deliver(ctx, queue, int(counts[jobqueue.Pending]))
	}
	e.begin("ack")
	e.settle(ctx)
	e.begin("enqueue")
	e.enqueue(ctx)
	e.begin("discard")
	for id := range e.errs {
		err := e.store.Discard(ctx, id)
		if err == nil {
			e.seen["jobs discarded"]++
		} else if !errors.Is(err, boltstore.ErrNotDamaged) && !errors.Is(err, storage.ErrNotFound) && !is(err, refusals) {
			e.wrong("Discard of job %v: %v", id, err)
		}
	}
	e.begin("read again")
	e.readAll(ctx)
	e.begin("close")
	e.close(ctx)
	if e.unclean {
		e.stages = afterGivingUp
	}
	if !e.open(ctx, "open again") {
		e.fewer("it was opened once and not again")
		return
	}
	e.begin("read a last time")
	e.readAll(ctx)
	for queue, counts := range e.Counts {
		e.deliver(ctx, queue, int(counts[jobqueue.Pending])-len(e.got))
	}
	e.close(ctx)
}

// afterGivingUp is added to the stages of a file whose store met damage in the middle of a commit, so that it was not closed cleanly.
const afterGivingUp = " after the store gave up"

// open opens the file, if it can be, and checks it.
func (e *examination) open(ctx context.Context, stage string) bool {
	e.begin(stage)
	var err error
	if e.store, err = boltstore.Open(e.path, options()); err != nil {
		if !is(err, ofOpen) {
			e.wrong("Open: %v", err)
		}
		e.unlocked("an Open that failed")
		e.leaves = true
		return false
	}
	e.begin("check")
	if e.store.Check(ctx) != nil {
		e.damaged = true
		e.seen["files that Check found damaged"] = 1
	}
	if e.b, err = jobqueue.New(e.store, nil); err != nil {
		e.wrong("New: %v", err)
		e.store.Close()
		return false
	}
	return true
}

func (e *examination) close(ctx context.Context) {
	err := errors.Join(e.b.Shutdown(ctx), e.store.Close())
	e.unclean = e.failed || err != nil
	if is(err, refusals) {
		e.damaged = true
	}
	if err != nil && !e.damaged && !e.failed {
		e.wrong("Close: %v, and Check found no damage", err)
	}
	e.unlocked("Close")
}

// unlocked expects nobody to have the file locked.
func (e *examination) unlocked(after string) {
	f, err := os.Open(e.path)
	if err == nil {
		defer f.Close()
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	if err != nil {
		e.wrong("after %s the file is still locked: %v", after, err)
	}
}

// readAll compares each job with what it was, or is now.
func (e *examination) readAll(ctx context.Context) {
	for text, want := range e.Jobs {
		id, err := jobqueue.ParseID(text)
		if err != nil {
			e.wrong("%v", err)
			continue
		}
		got, err := factOf(ctx, e.b, id)
		if err != nil {
			e.refused("job "+text, err)
			if errors.Is(err, jobqueue.ErrCorrupt) {
				e.errs[id] = true
			}
		}
		if got == nil {
			continue
		}
		touched := e.got[id] || want.State == jobqueue.Running
		if !touched && got.JSON != want.JSON && !e.known(want, got) {
			e.old("job %s is %s, was %s", text, got.JSON, want.JSON)
		}
		if e.acked[id] && got.State != jobqueue.Succeeded {
			e.old("job %s was acked and is %v", text, got.State)
		}
		if got.Payload != nil && !bytes.Equal(got.Payload, want.Payload) {
			e.wrong("the payload of job %s is wrong: %d bytes, %d were written", text, len(got.Payload), len(want.Payload))
		}
		if got.Result != nil && !bytes.Equal(got.Result, want.Result) {
			e.wrong("the result of job %s is wrong: %d bytes, %d were written", text, len(got.Result), len(want.Result))
		}
	}
	for id, want := range e.added {
		if got, err := factOf(ctx, e.b, id); err != nil {
			e.refused(fmt.Sprintf("new job %v", id), err)
		} else if !bytes.Equal(got.Payload, want) {
			e.wrong("the payload of new job %v is wrong", id)
		}
	}
	if len(e.got)+len(e.acked)+len(e.added) > 0 {
		return // the counts are others
	}
	for queue, want := range e.Counts {
		info, err := e.b.Queue(queue).Info(ctx)
		if err != nil {
			e.refused("queue "+queue, err)
		} else if info.Counts != want {
			e.old("queue %s has counts %v, had %v", queue, info.Counts, want)
		}
		jobs, _, err := e.b.Queue(queue).Jobs(ctx, jobqueue.ListOptions{Limit: jobqueue.MaxBatch})
		if err != nil {
			e.refused("list of queue "+queue, err)
			continue
		}
		for _, j := range jobs {
			if f := e.Jobs[j.ID.String()]; f == nil || f.Queue != queue {
				e.wrong("queue %s lists job %v, which is not there", queue, j.ID)
			}
		}
		if n := want.Total() - want[jobqueue.Gone]; int64(len(jobs)) != n {
			e.fewer("queue %s lists %d jobs, not %d", queue, len(jobs), n)
		}
	}
}

// known reports whether a job differs only in what could not be read: a job whose result is damaged is shown without it.
func (e *examination) known(want, got *fact) bool {
	return e.damaged && got.State == want.State && want.JSON != got.JSON && want.Result == nil == (got.Result == nil)
}

// deliver receives all there is in a queue, at least so many if nothing is damaged.
func (e *examination) deliver(ctx context.Context, queue string, least int) {
	n := 0
	for {
		d, err := e.b.Queue(queue).TryReceive(ctx, nil)
		if errors.Is(err, jobqueue.ErrEmpty) {
			break
		}
		if err != nil {
			e.refused("receive from "+queue, err)
			return
		}
		if n++; n > 10_000 {
			e.wrong("queue %s delivers without end", queue)
			return
		}
		f, fresh := e.Jobs[d.ID.String()], e.added[d.ID] != nil
		switch {
		case e.acked[d.ID]:
			e.old("job %v was acked, and is delivered again (I3)", d.ID)
		case e.got[d.ID]:
			e.wrong("job %v is delivered twice", d.ID)
		case queue == "events" && f == nil && strings.HasPrefix(d.Name, "job."):
			continue // it tells of an ack of this life
		case !fresh && (f == nil || f.Queue != queue || f.State != jobqueue.Pending):
			e.old("job %v is delivered from %s, where none is pending", d.ID, queue)
		}
		e.got[d.ID] = true
		want := e.added[d.ID]
		if f != nil {
			want = f.Payload
		}
		if p, err := d.Payload(ctx); err != nil {
			e.refused(fmt.Sprintf("payload of delivered job %v", d.ID), err)
			e.errs[d.ID] = true
		} else if !bytes.Equal(p, want) {
			e.wrong("the payload of delivered job %v is wrong", d.ID)
		}
	}
	if n < least {
		e.fewer("queue %s delivered %d of %d jobs", queue, n, least)
	}
}

// settle acks what was delivered, and what was running.
func (e *examination) settle(ctx context.Context) {
	ids := make(map[jobqueue.ID]bool)
	for id := range e.got {
		ids[id] = true
	}
	for text, f := range e.Jobs {
		if id, err := jobqueue.ParseID(text); err == nil && f.State == jobqueue.Running {
			ids[id] = true
		}
	}
	for id := range ids {
		if _, err := e.b.Ack(ctx, id, jobqueue.AnyToken); err != nil {
			e.refused(fmt.Sprintf("ack of job %v", id), err)
		} else {
			e.acked[id] = true
		}
	}
}

// enqueue adds jobs of several sizes.
func (e *examination) enqueue(ctx context.Context) {
	n := 1000
	for queue := range e.Counts {
		if n++; n > 1004 {
			return
		}
		p := life.Fill(n, 0, 30*(n-1000)*(n-1000)*(n-1000)*(n-1000))
		j, err := e.b.Queue(queue).Enqueue(ctx, jobqueue.NewJob{Payload: p})
		if err != nil {
			e.refused("enqueue to "+queue, err)
			continue
		}
		e.added[j.ID] = p
	}
}
