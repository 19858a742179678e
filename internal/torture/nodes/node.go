package nodes

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pollackq/pollack/internal/torture/attack"
)

// A node is a process.
type node struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	stderr *bytes.Buffer
	ended  chan struct{} // closed when the process has
}

// startNode starts a process that tells in the book.
func startNode(ctx context.Context, number int, o order, b *book) (*node, error) {
	o.Number = number
	arg, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	n := &node{cmd: attack.Command(ctx, killName, string(arg)), stderr: new(bytes.Buffer), ended: make(chan struct{})}
	n.cmd.Stderr = n.stderr
	n.cmd.ExtraFiles = []*os.File{b.out}
	if n.in, err = n.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	b.forget(number)
	if err := n.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { // ends with the process
		err := n.cmd.Wait()
		if !n.killed() {
			b.fail(fmt.Errorf("node %d was not killed, but ended with %v: %s", number, err, n.stderr.String()[:min(n.stderr.Len(), 3000)]))
		}
		close(n.ended)
	}()
	return n, nil
}

func (n *node) say(line string) error {
	_, err := io.WriteString(n.in, line+"\n")
	return err
}

func (n *node) kill() {
	n.cmd.Process.Kill()
	<-n.ended
}

// killed reports whether the process was.
func (n *node) killed() bool { return strings.HasPrefix(n.cmd.ProcessState.String(), "signal: killed") }

// A book takes down what all nodes tell on one pipe, in which the lines are in the order in which they were written.
type book struct {
	in, out *os.File
	read    chan struct{} // closed when all is read

	mu      sync.Mutex // guards what follows
	changed chan struct{}
	err     error
	lines   strings.Builder
	n       int                     // lines taken down since number was called
	first   int                     // the first number of an operation
	done    map[int]int             // by node: operations that were done since they were asked for
	stands  map[string]map[int]bool // which nodes have said a word
}

func newBook() (*book, error) {
	b := &book{read: make(chan struct{}), changed: make(chan struct{}), done: make(map[int]int), stands: make(map[string]map[int]bool)}
	var err error
	if b.in, b.out, err = os.Pipe(); err != nil {
		return nil, err
	}
	go b.follow() // ends when the last writer has closed the pipe
	return b, nil
}

// close is called when all nodes have ended.
func (b *book) close() {
	b.out.Close()
	<-b.read
	b.in.Close()
}

func (b *book) follow() {
	defer close(b.read)
	in := bufio.NewReader(b.in)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		b.note(line)
	}
}

func (b *book) note(line string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	fields := strings.Fields(line)
	number := 0
	if len(fields) > 1 {
		number, _ = strconv.Atoi(fields[1])
	}
	switch fields[0] {
	case "b", "e":
		b.lines.WriteString(line)
		b.n++
		if fields[0] == "e" && fields[2] == "ok" {
			b.done[(number-b.first)/opsOfNode]++
		}
	default:
		if b.stands[fields[0]] == nil {
			b.stands[fields[0]] = make(map[int]bool)
		}
		b.stands[fields[0]][number] = true
	}
	b.changeLocked()
}

func (b *book) changeLocked() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// fail has all who await anything give up.
func (b *book) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = err
	}
	b.changeLocked()
}

// number begins a round whose operations are numbered from first on.
func (b *book) number(first int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.first, b.n = first, 0
	clear(b.done)
	delete(b.stands, "paused")
}

// forget forgets what a node has said.
func (b *book) forget(number int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, who := range b.stands {
		delete(who, number)
	}
}

// take returns the lines since it was called last.
func (b *book) take() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.lines.String()
	b.lines.Reset()
	return s
}

// until waits until something is so, which is asked with mu held.
func (b *book) until(ctx context.Context, what func() string) error {
	patience := time.NewTimer(limit)
	defer patience.Stop()
	for {
		b.mu.Lock()
		missing, err, changed := what(), b.err, b.changed
		b.mu.Unlock()
		if missing == "" || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-patience.C:
			return fmt.Errorf("for %v %s", limit, missing)
		}
	}
}

// await waits for so many lines of the round.
func (b *book) await(ctx context.Context, n int) error {
	return b.until(ctx, func() string {
		if b.n < n {
			return "the nodes tell nothing"
		}
		return ""
	})
}

// awaitAll waits until all nodes have said a word.
func (b *book) awaitAll(ctx context.Context, word string, nodes []int) error {
	return b.until(ctx, func() string {
		for _, i := range nodes {
			if !b.stands[word][i] {
				return fmt.Sprintf("node %d is not %s", i, word)
			}
		}
		return ""
	})
}

// awaitDone waits until all nodes have done so many operations from now on.
func (b *book) awaitDone(ctx context.Context, nodes []int, n int) error {
	b.mu.Lock()
	clear(b.done)
	b.mu.Unlock()
	return b.until(ctx, func() string {
		for _, i := range nodes {
			if b.done[i] < n {
				return fmt.Sprintf("node %d, which was left, did not go on (I8)", i)
			}
		}
		return ""
	})
}
