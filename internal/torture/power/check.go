package power

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"go.etcd.io/bbolt"

	"github.com/pollackq/pollack/internal/torture/life"
	"github.com/pollackq/pollack/jobqueue"
)

// A checker looks at the states of one workload. It is a process of its own, since a state may be the end of it; it says on its standard
// output which state it is at ("at"), what is broken ("bad"), and in the end what there was ("is").
type checker struct {
	workload
	dir    string
	ctx    context.Context
	say    func(word, format string, args ...any)
	number int // of the state
	skip   int // states up to this one were looked at before

	stage  *stage
	ledger *life.Ledger
	lines  []byte // of the ledger
	user   map[string]bool
	copies map[string][]byte // what the ledger said when a copy was begun
	known  map[uint64]bool   // copies that were looked at
}

// check is the process.
func check(args []string) error {
	c := &checker{dir: args[0], ctx: context.Background(), say: func(word, format string, args ...any) {
		fmt.Println(word, strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", " ")) // unbuffered: the next state may be the end
	}}
	if err := json.Unmarshal([]byte(args[1]), &c.workload); err != nil {
		return err
	}
	fmt.Sscan(args[2], &c.skip)
	debug.SetGCPercent(400) // a file is opened a thousand times a second, and there is memory
	t, err := c.read()
	if err != nil {
		return err
	}
	return c.all(t)
}

// all looks at all states.
func (c *checker) all(t *trace) (failed error) {
	e := &enumeration{trace: t, seed: c.Seed, want: c.States, step: func(ev event, ch *change) {
		failed = errors.Join(failed, c.step(ev, ch))
	}, check: func(_ *disk, s *state) {
		failed = errors.Join(failed, c.state(s))
	}}
	e.run(func(d *disk) { failed = errors.Join(failed, c.begin(d)) }, func() bool { return failed != nil })
	c.say("is", "alike %d", e.alike)
	c.say("is", "contents %d", len(e.contents))
	c.say("is", "events %d", len(t.events))
	c.stage.close()
	return failed
}

// read reads what was recorded.
func (c *checker) read() (*trace, error) {
	there, err := contents(filepath.Join(c.dir, "before"))
	if err != nil {
		return nil, err
	}
	f, err := os.Open(filepath.Join(c.dir, "trace"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parse(f, filepath.Join(c.dir, "store"), there)
}

// contents reads the files of a folder.
func contents(dir string) (map[string][]byte, error) {
	entries, err := os.ReadDir(dir)
	there := make(map[string][]byte)
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		there[e.Name()] = b
	}
	return there, err
}

// begin begins a pass through the trace.
func (c *checker) begin(d *disk) (err error) {
	if c.stage != nil {
		c.stage.close()
	}
	dir := filepath.Join(c.dir, "stage")
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if c.stage, err = newStage(dir, d); err != nil {
		return err
	}
	if c.lines, err = os.ReadFile(filepath.Join(c.dir, "ledger-before")); err != nil {
		return err
	}
	c.user, c.copies, c.known = make(map[string]bool), make(map[string][]byte), make(map[uint64]bool)
	c.ledger, err = life.Read(bytes.NewReader(c.lines))
	return err
}

// step follows an event of the trace. What a ledger is told counts from the moment at which it begins to be written: by then the caller had
// its answer.
func (c *checker) step(e event, ch *change) error {
	if ch != nil {
		return c.stage.durable(ch)
	}
	if e.ended {
		return nil
	}
	switch e.kind {
	case opLedger:
		c.lines = append(c.lines, e.data...)
		_, err := c.ledger.ReadFrom(bytes.NewReader(e.data))
		return err
	case opMark:
		what, name, _ := strings.Cut(strings.TrimSpace(string(e.data)), " ")
		if what == "copy" {
			c.copies[name] = bytes.Clone(c.lines)
		} else {
			c.user[name] = true
		}
	}
	return nil
}

// state looks at a state.
func (c *checker) state(s *state) error {
	c.number++
	if c.number <= c.skip {
		return nil
	}
	c.say("at", "%d %s", c.number, s.what)
	if err := c.stage.put(s); err != nil {
		return err
	}
	for name := range s.names {
		if err := c.copied(name, s); err != nil {
			return err
		}
	}
	for _, bad := range c.look(filepath.Join(c.stage.dir, storeName), c.ledger, c.user) {
		c.say("bad", "%s", bad)
	}
	return c.stage.takeBack(s)
}

// copied looks at a copy that Compact made: where its name is, it is whole.
func (c *checker) copied(name string, s *state) error {
	lines, ok := c.copies[name]
	hash := s.left[s.names[name]].hash()
	if !ok || c.known[hash] {
		return nil
	}
	c.known[hash] = true
	l, err := life.Read(bytes.NewReader(lines))
	if err != nil {
		return err
	}
	c.say("is", "copies 1")
	for _, bad := range c.look(filepath.Join(c.stage.dir, name), l, nil) {
		c.say("bad", "%s: %s", name, bad)
	}
	return nil
}

// look opens a file and audits it. What it finds is opened, or refused, as any user's is.
func (c *checker) look(path string, l *life.Ledger, user map[string]bool) (bad []string) {
	defer func() {
		if p := recover(); p != nil {
			bad = append(bad, fmt.Sprintf("panic: %v", p))
		}
	}()
	s, err := c.open(path)
	if err != nil {
		return []string{fmt.Sprintf("open: %v (I1, I16)", err)}
	}
	bad = l.Audit(c.ctx, s.Store, c.broker())
	if c.Wrapped && user != nil {
		bad = append(bad, c.together(s, user)...)
	}
	if c.number%16 == 0 {
		bad = append(bad, c.goOn(s, l)...)
	}
	if err := s.close(); err != nil {
		bad = append(bad, fmt.Sprintf("close: %v", err))
	}
	if c.number%128 == 0 && len(bad) == 0 {
		bad = c.again(path)
	}
	return bad
}

// together looks whether the records of a user and the jobs committed with them are both there or both not, and those that were told of are (I1, I4).
func (c *checker) together(s *held, told map[string]bool) (bad []string) {
	own := make(map[string]bool)
	err := s.db.View(func(btx *bbolt.Tx) error {
		b := btx.Bucket(userBucket)
		if b == nil {
			return nil
		}
		return b.ForEach(func(k, _ []byte) error { own[string(k)] = true; return nil })
	})
	if err != nil {
		return []string{fmt.Sprintf("the user's records: %v", err)}
	}
	for key := range told {
		if !own[key] {
			bad = append(bad, fmt.Sprintf("the user's record %s is lost (I1)", key))
		}
	}
	b, err := jobqueue.New(s.Store, c.broker())
	if err != nil {
		return append(bad, fmt.Sprintf("broker: %v", err))
	}
	defer b.Shutdown(c.ctx)
	o, jobs := jobqueue.ListOptions{Limit: jobqueue.MaxBatch}, 0
	for {
		list, next, err := b.Queue(userQueue).Jobs(c.ctx, o)
		if err != nil && !errors.Is(err, jobqueue.ErrNotFound) {
			return append(bad, fmt.Sprintf("list %s: %v", userQueue, err))
		}
		for _, j := range list {
			jobs++
			if !own[j.Key] {
				bad = append(bad, fmt.Sprintf("job %s is there without the user's record (I4)", j.Key))
			}
		}
		if o.After = next; next == (jobqueue.ID{}) || err != nil {
			break
		}
	}
	if jobs != len(own) {
		bad = append(bad, fmt.Sprintf("%d jobs stand beside %d of the user's records (I4)", jobs, len(own)))
	}
	return bad
}

// goOn looks whether nothing that ended is delivered, and whether the store can be worked with: a job comes, is delivered and acked, and others go.
func (c *checker) goOn(s *held, l *life.Ledger) (bad []string) {
	b, err := jobqueue.New(s.Store, c.broker())
	if err != nil {
		return []string{fmt.Sprintf("broker: %v", err)}
	}
	defer b.Shutdown(c.ctx)
	bad = l.Drain(c.ctx, b)
	if c.MaxSize > 0 {
		return bad // it may be full
	}
	q := b.Queue("after")
	j, err := q.Enqueue(c.ctx, jobqueue.NewJob{Payload: []byte("after")})
	if err != nil {
		return append(bad, fmt.Sprintf("enqueue afterwards: %v", err))
	}
	d, err := q.TryReceive(c.ctx, nil)
	if err != nil || d.ID != j.ID {
		return append(bad, fmt.Sprintf("receive afterwards: %v", err))
	}
	if err := d.Ack(c.ctx); err != nil {
		bad = append(bad, fmt.Sprintf("ack afterwards: %v", err))
	}
	return bad
}

// again opens a file that was worked with and closed.
func (c *checker) again(path string) []string {
	s, err := c.open(path)
	if err != nil {
		return []string{fmt.Sprintf("open again: %v", err)}
	}
	if err := errors.Join(s.Check(c.ctx), s.close()); err != nil {
		return []string{fmt.Sprintf("check again: %v", err)}
	}
	return nil
}
