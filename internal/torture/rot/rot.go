// Package rot flips single bits in files of boltstore, and looks at what is served of them (I15).
//
// A file is made and closed cleanly, in one of several shapes, or left as a kill leaves it, with a journal. One bit of it is flipped, and a
// child process opens it, checks it, reads everything, receives, acks, enqueues, discards what is damaged, closes, opens and reads it again.
// Each answer must be the right one or an error that names damage, Check must have told of the damage before anything was missing, and
// nobody may die or hang. Where a journal makes bbolt scan the file at open, in a goroutine of its own, a damaged page can end the process:
// such deaths are counted apart, and then Verify, in a child of its own, must find the damage or die of it too.
//
// bbolt has no checksums on its pages, and some flips have it die or hang by itself: these are figures of their own, beside what is broken, and
// the documentation of boltstore names them.
//
// It finds what a single flipped bit does to files of a few hundred kilobytes. It does not find what several do together, and what happens to
// files that are damaged while they are open.
package rot

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pollackq/pollack/internal/torture/attack"
)

// Technique flips bits.
var Technique = &attack.Technique{
	Name: name, Promise: "no flipped bit makes a wrong byte be served, a process die or hang; what is damaged is named (I15)", Unit: "flips",
	CI: 1000, Release: 100_000, Control: 1500, Minutes: 20,
	Run: run, Child: child,
}

const (
	name     = "rot"
	workers  = 2
	patience = 5 * time.Second // what takes longer hangs; a flip takes milliseconds
	perChild = 1000            // flips that a child looks at
)

// A flip is what a child is asked to look at.
type flip struct {
	Unit  int
	Shape string // the name of the file
	Bit   int64  // from its beginning

	List   bool // it is in the list of free pages
	Branch bool // it is in a page that leads to others
	Newest bool // it is in the newest meta page of a file that was not closed
}

// A finding is what came of it. Stage is sent ahead, so that a death has a place.
type finding struct {
	Stage string         `json:",omitempty"`
	Bad   []string       `json:",omitempty"`
	Seen  map[string]int `json:",omitempty"` // what happened, for the figures
	Done  bool           `json:",omitempty"`

	Leaves bool `json:",omitempty"` // something that may end the process later: it is to look at nothing more
}

func run(r *attack.Run) {
	files := make(map[string]file)
	for _, s := range shapes {
		made, err := s.make(r.Dir)
		if err != nil {
			r.Bad("the file %q cannot be made: %v", s.name, err)
			return
		}
		files[s.name] = made
	}
	idle := make(chan *inspector, workers)
	for n := range workers {
		idle <- &inspector{r: r, dir: r.Dir, name: fmt.Sprint("work-", n)}
	}
	r.Each(workers, func(unit int, rnd *rand.Rand) {
		s := shapes[unit%len(shapes)]
		on := files[s.name]
		f := flip{Unit: unit, Shape: s.name, Bit: rnd.Int64N(on.size * 8)}
		f.Branch = slices.ContainsFunc(on.branches, func(s span) bool { return s.has(f.Bit / 8) })
		f.List, f.Newest = on.list.has(f.Bit/8), s.killed && on.newest.has(f.Bit/8)
		i := <-idle
		i.inspect(f, s.killed)
		idle <- i
	})
	close(idle)
	for i := range idle {
		i.stop()
	}
}

// An inspector has a child look at flips, one after the other, and starts another one when it has died.
type inspector struct {
	r         *attack.Run
	dir, name string
	did       int

	cmd    *exec.Cmd
	in     io.WriteCloser
	out    chan finding // closed when the child has ended
	stderr *tail
}

func (i *inspector) inspect(f flip, killed bool) {
	if i.did++; i.did%perChild == 0 {
		i.stop()
	}
	if i.cmd == nil {
		if err := i.start(); err != nil {
			i.r.Bad("the child cannot be started: %v", err)
			return
		}
	}
	ask, err := json.Marshal(f)
	if err != nil {
		i.r.Bad("flip %+v: %v", f, err)
		return
	}
	if _, err := i.in.Write(append(ask, '\n')); err != nil {
		i.r.Bad("flip %+v: the child does not listen: %v", f, err)
		i.stop()
		return
	}
	stage := "begin"
	start := time.Now()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	defer func() { i.r.Highest("slowest, ms", time.Since(start).Milliseconds()) }()
	for {
		select {
		case got, ok := <-i.out:
			if !ok {
				i.died(f, stage, killed)
				return
			}
			if !got.Done {
				stage = got.Stage
				continue
			}
			for what, n := range got.Seen {
				i.r.Count(what, int64(n))
			}
			for _, what := range got.Bad {
				i.r.Bad("unit %d, shape %s, bit %d: %s", f.Unit, f.Shape, f.Bit, what)
			}
			if got.Leaves {
				i.stop()
			}
			return
		case <-timer.C:
			i.cmd.Process.Signal(syscall.SIGQUIT) // it says where it hangs
			for range i.out {
			}
			i.cmd.Wait() // then all of it is there
			i.ended(f, stage, killed, "hangs")
			i.cmd = nil
			return
		case <-i.r.Context().Done():
			i.stop()
			return
		}
	}
}

// died tells of a child that has ended.
func (i *inspector) died(f flip, stage string, killed bool) {
	i.cmd.Wait()
	i.cmd = nil
	i.ended(f, stage, killed, "died")
}

// ended tells of a process that died, or hung. What bbolt does in a scan of a file that was not closed, or after a commit that failed, over
// the length of a page or key that it believes, and over pages that lead in a circle, is out of our hands: it is counted apart.
func (i *inspector) ended(f flip, stage string, killed bool, how string) {
	switch scan := i.stderr.contains("bbolt.(*DB).freepages"); {
	case i.r.Over():
	case scan && killed && stage == "open":
		i.r.Count(how+" in bbolt's scan at open", 1)
		i.verify(f)
	case scan && (killed || strings.HasSuffix(stage, afterGivingUp)):
		i.r.Count(how+" in bbolt's scan at open, after a commit that damage made fail", 1)
	case scan && stage == "close", i.stderr.contains("bbolt.(*Tx).rollback"):
		i.r.Count(how+" in bbolt's scan after a commit that damage made fail", 1)
	case i.stderr.contains("bbolt.(*Tx).Commit("):
		i.r.Count(how+" in bbolt's commit over a damaged length", 1)
	case i.stderr.contains("bbolt.(*Cursor).searchPage(") && i.stderr.contains("bbolt.(*Cursor).search("):
		i.r.Count(how+" in bbolt over pages that lead in a circle", 1)
	case i.stderr.contains("marked free object"), i.stderr.contains("found bad pointer"), i.stderr.contains("found pointer to free object"):
		i.r.Count("died of memory that bbolt wrote over, believing a length", 1)
	case how == "hangs" && strings.HasSuffix(stage, afterGivingUp):
		i.r.Count("hangs after the store gave up", 1)
	case how == "hangs" && i.stderr.contains("stack unavailable"): // it copies or clears so much that it cannot even be interrupted
		i.r.Count("hangs in one huge copy", 1)
	default:
		i.r.Bad("unit %d, shape %s, bit %d: %s at %q\n%s", f.Unit, f.Shape, f.Bit, how, stage, i.stderr)
	}
}

// verify expects Verify to find damage, in a process of its own.
func (i *inspector) verify(f flip) {
	path := filepath.Join(i.dir, i.name+"-verify")
	defer os.Remove(path)
	if err := damage(filepath.Join(i.dir, f.Shape), path, f.Bit); err != nil {
		i.r.Bad("unit %d: %v", f.Unit, err)
		return
	}
	cmd := attack.Command(i.r.Context(), name, "verify", path)
	cmd.Stderr = nil
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err == nil {
		i.r.Bad("unit %d, shape %s, bit %d: Open dies, and Verify finds nothing", f.Unit, f.Shape, f.Bit)
	}
	i.r.Count("found by Verify", 1)
}

func (i *inspector) start() error {
	cmd := attack.Command(i.r.Context(), name, "inspect", i.dir, i.name)
	cmd.Env = append(cmd.Env, "GOTRACEBACK=crash") // where it hangs is said of all threads
	i.stderr = new(tail)
	cmd.Stderr = i.stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	out := make(chan finding, 100)
	go func() {
		defer close(out)
		d := json.NewDecoder(bufio.NewReader(stdout))
		for {
			var f finding
			if d.Decode(&f) != nil {
				return
			}
			out <- f
		}
	}()
	i.cmd, i.in, i.out = cmd, in, out
	return nil
}

func (i *inspector) stop() {
	if i.cmd == nil {
		return
	}
	i.in.Close()
	i.cmd.Process.Kill()
	for range i.out {
	}
	i.cmd.Wait()
	i.cmd = nil
}

// damage copies a file with one bit flipped.
func damage(from, to string, bit int64) error {
	p, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if bit/8 >= int64(len(p)) {
		return errors.New("there is no such bit")
	}
	p[bit/8] ^= 1 << (bit % 8)
	return os.WriteFile(to, p, 0o600)
}

// A tail keeps the beginning and the end of what is written to it.
type tail struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.b.Len() < 1<<20 {
		t.b.Write(p)
	}
	return len(p), nil
}

func (t *tail) contains(s string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return bytes.Contains(t.b.Bytes(), []byte(s))
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.b.String()
	if len(s) > 3000 {
		s = s[:1500] + "\n...\n" + s[len(s)-1500:]
	}
	return s
}
