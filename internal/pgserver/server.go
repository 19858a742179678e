package pgserver

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// limit is how long a server may take to start, with the recovery after a kill, and to stop.
const limit = time.Minute

// A Server is a PostgreSQL server that this process has started. It ends with the process, however that ends, as far as the system can do that:
// Linux can.
type Server struct {
	dir      string
	programs string // the folder of initdb and postgres
	port     string
	settings map[string]string
	owner    owner

	pid   int
	ended chan struct{} // closed when the process has ended
	err   error         // of the process, once ended
}

// Start starts a server whose files lie in dir: data, log and socket. It makes dir if it is not there, and the data if dir has none yet; to remove
// dir is up to the caller. Where this process is root's, the server is the user postgres's, as it refuses to be root's, and gets dir as its own; the
// folders above dir must be open to that user, which those of testing.T.TempDir are not.
//
// Anybody on this machine may connect, as user postgres and without a password. There may be 700 connections, or as many as settings say; all
// else is as PostgreSQL has it, but for settings. An error that is ErrNone says why there can be no server here.
func Start(dir string, settings map[string]string) (*Server, error) {
	programs, err := findPrograms()
	if err != nil {
		return nil, err
	}
	owner, err := findOwner()
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := owner.own(dir); err != nil {
		return nil, err
	}
	s := &Server{dir: dir, programs: programs, owner: owner, settings: maps.Clone(settings)}
	if _, err := os.Stat(s.data()); errors.Is(err, os.ErrNotExist) {
		if err := s.initialise(); err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, err
	}
	for range 3 { // somebody else may take the port first
		if s.port, err = freePort(); err != nil {
			return nil, err
		}
		if err = s.start(); err == nil {
			return s, nil
		}
	}
	return nil, err
}

// DSN returns what pgx and libpq connect by. It stays the same when the server is started again.
func (s *Server) DSN() string {
	return fmt.Sprintf("host=127.0.0.1 port=%s user=postgres dbname=postgres sslmode=disable", s.port)
}

// Env returns the same as variables of an environment, for other programs.
func (s *Server) Env() []string {
	return []string{"PGHOST=127.0.0.1", "PGPORT=" + s.port, "PGUSER=postgres", "PGDATABASE=postgres", "PGSSLMODE=disable"}
}

// Stop ends the server in good order: it cuts its clients off and leaves data that needs no recovery. It returns nil if the server was stopped or
// killed before.
func (s *Server) Stop() error {
	if s.pid == 0 {
		return nil
	}
	select {
	case <-s.ended:
		s.pid = 0
		return s.failed("ended by itself")
	default:
	}
	kill := time.AfterFunc(limit, func() { s.signal(syscall.SIGKILL) })
	defer kill.Stop()
	s.signal(syscall.SIGINT)
	<-s.ended
	s.pid = 0
	if s.err != nil {
		return s.failed("did not stop well")
	}
	return nil
}

// Kill ends all processes of the server at once, as kill -9 does, and returns when they are gone.
func (s *Server) Kill() {
	if s.pid == 0 {
		return
	}
	s.signal(freeze) // it starts no more of them
	children := childrenOf(s.pid)
	s.signal(syscall.SIGKILL)
	for _, pid := range children {
		kill(pid, syscall.SIGKILL)
	}
	<-s.ended
	s.pid = 0
	for slices.ContainsFunc(children, runs) { // while one of them has the shared memory, no other server gets it
		time.Sleep(time.Millisecond)
	}
}

// Restart starts a server that was stopped or killed on the same data and the same port; one that runs it stops first.
func (s *Server) Restart() error {
	if err := s.Stop(); err != nil {
		return err
	}
	return s.start()
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) logName() string { return filepath.Join(s.dir, "log") }

func (s *Server) initialise() error {
	// What initdb does not sync, the server syncs before it has use for it: this is for speed alone.
	cmd := exec.Command(filepath.Join(s.programs, "initdb"), "-D", s.data(), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions")
	cmd.Dir = s.dir
	cmd.SysProcAttr = attributes(s.owner)
	out, err := cmd.CombinedOutput()
	if errors.Is(err, os.ErrPermission) && s.owner.other {
		return fmt.Errorf("initdb: %w: user postgres has to be let pass through the folders above %s", err, s.dir)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("initdb: %w\n%s", err, out), os.RemoveAll(s.data()))
	}
	return nil
}

// start returns when the server takes connections.
func (s *Server) start() error {
	settings := map[string]string{
		"listen_addresses":        "127.0.0.1",
		"unix_socket_directories": s.dir,
		"max_connections":         "700",
	}
	maps.Copy(settings, s.settings)
	settings["port"] = s.port
	cmd := exec.Command(filepath.Join(s.programs, "postgres"), "-D", s.data())
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		cmd.Args = append(cmd.Args, "-c", name+"="+settings[name])
	}
	cmd.Dir = s.dir
	cmd.SysProcAttr = attributes(s.owner)
	dieWithUs(cmd.SysProcAttr)
	log, err := os.OpenFile(s.logName(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	ended, started := make(chan struct{}), make(chan error)
	go func() { // ends with the server
		runtime.LockOSThread() // Linux takes the end of the thread that started the server for the end of this process
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			s.err = cmd.Wait()
			close(ended)
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	s.pid, s.ended = cmd.Process.Pid, ended
	return s.awaitReady()
}

func (s *Server) awaitReady() error {
	for late := time.Now().Add(limit); !s.ready(); {
		select {
		case <-s.ended:
			s.pid = 0
			return s.failed("ended as it began")
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(late) {
			s.Kill()
			return s.failed("did not come to take connections")
		}
	}
	return nil
}

// ready reads what the server writes about itself: its process in the first line, its state in the eighth.
func (s *Server) ready() bool {
	text, err := os.ReadFile(filepath.Join(s.data(), "postmaster.pid"))
	lines := strings.Split(string(text), "\n")
	return err == nil && len(lines) >= 8 && lines[0] == strconv.Itoa(s.pid) && strings.TrimSpace(lines[7]) == "ready"
}

// signal is for a process whose end nobody has waited for: cmd.Wait has not returned while ended is open.
func (s *Server) signal(sig syscall.Signal) {
	select {
	case <-s.ended:
	default:
		kill(s.pid, sig)
	}
}

// failed is an error with the end of the log.
func (s *Server) failed(what string) error {
	const most = 2000
	text, err := os.ReadFile(s.logName())
	text = bytes.TrimSpace(text[max(0, len(text)-most):])
	return fmt.Errorf("the PostgreSQL server %s: %w\n%s", what, errors.Join(s.err, err), text)
}
