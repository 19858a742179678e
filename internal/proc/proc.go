// Package proc runs a program as processes of its own test: started, killed and started again, on loopback.
//
//	func TestMain(m *testing.M) { proc.Main(m, main) }
package proc

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pollackq/pollack/internal/leaks"
)

// Limit is how long anything may take that takes no time. It is not what a test measures.
const Limit = time.Minute

const inChild = "POLLACK_TEST_PROCESS"

// Main runs the tests, which may leave nothing behind (package leaks); or the program, in the processes that Start starts.
func Main(m *testing.M, program func()) {
	if os.Getenv(inChild) != "" {
		program()
		os.Exit(0)
	}
	leaks.Main(m)
}

// A Process is a program that listens.
type Process struct {
	URL   string // http://127.0.0.1:port
	Ready time.Time

	t      *testing.T
	cmd    *exec.Cmd
	ended  chan struct{}
	err    error // of the process, once ended
	stderr lines
}

// Start starts the program on a free port of loopback and returns once it says "listening on". It is killed when the test ends. With go test -short
// the test is skipped.
func Start(t *testing.T, args ...string) *Process {
	t.Helper()
	if testing.Short() {
		t.Skip("no processes with -short")
	}
	p := &Process{t: t, ended: make(chan struct{})}
	p.cmd = command(append([]string{"-addr", "127.0.0.1:0"}, args...))
	p.cmd.Stderr = &p.stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := make(chan string, 1)
	go func() {
		r := bufio.NewReader(out)
		line, _ := r.ReadString('\n')
		said <- line
		io.Copy(io.Discard, r)
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(p.Kill)
	kill := time.AfterFunc(Limit, func() { p.cmd.Process.Signal(syscall.SIGQUIT) }) // shows its stacks
	defer kill.Stop()
	url, ok := strings.CutPrefix(strings.TrimSpace(<-said), "listening on ")
	if !ok {
		p.Kill()
		t.Fatalf("the program did not come to listen: %v\n%s", p.err, p.stderr.String())
	}
	p.URL, p.Ready = url, time.Now()
	return p
}

// Kill ends the process as kill -9 does, and waits for its end. It may be repeated.
func (p *Process) Kill() {
	p.cmd.Process.Kill()
	<-p.ended
}

// Stop sends a signal and waits for a good end.
func (p *Process) Stop(s os.Signal) {
	p.t.Helper()
	kill := time.AfterFunc(Limit, func() { p.cmd.Process.Signal(syscall.SIGQUIT) })
	defer kill.Stop()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
	<-p.ended
	if p.err != nil {
		p.t.Errorf("after %v: %v, want exit status 0\n%s", s, p.err, p.stderr.String())
	}
}

// Stderr returns what the process has said there so far.
func (p *Process) Stderr() string { return p.stderr.String() }

// Run runs the program to its end and returns its exit status and what it said on stderr.
func Run(t *testing.T, args ...string) (status int, stderr string) {
	t.Helper()
	cmd := command(args)
	var text lines
	cmd.Stderr = &text
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(Limit, func() { cmd.Process.Signal(syscall.SIGQUIT) })
	defer kill.Stop()
	cmd.Wait()
	return cmd.ProcessState.ExitCode(), text.String()
}

func command(args []string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), inChild+"=1")
	return cmd
}

// lines keeps what a process says.
type lines struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
