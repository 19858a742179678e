package pgserver_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pollackq/pollack/internal/leaks"
	"github.com/pollackq/pollack/internal/pgserver"
)

const childFolder = "POLLACK_TEST_PGSERVER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childFolder); dir != "" {
		child(dir)
	}
	leaks.Main(m)
}

// child starts a server and waits for its own death.
func child(dir string) {
	s, err := pgserver.Start(dir, nil)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(strings.Join(s.Env(), " "))
	select {}
}

// folder returns a folder for a server: not one of t.TempDir, which no other user may pass through. It skips the test where there can be no server.
func folder(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("no servers with -short")
	}
	dir, err := os.MkdirTemp("", "pgserver-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func start(t *testing.T, dir string, settings map[string]string) *pgserver.Server {
	t.Helper()
	s, err := pgserver.Start(dir, settings)
	if errors.Is(err, pgserver.ErrNone) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	return s
}

// query returns what psql prints for a statement.
func query(t *testing.T, s *pgserver.Server, statement string) string {
	t.Helper()
	psql, err := exec.LookPath("psql")
	if err != nil {
		t.Skip("no psql to ask the server with")
	}
	cmd := exec.Command(psql, "-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1", "-c", statement)
	cmd.Env = append(os.Environ(), s.Env()...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", statement, err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestAServerHasItsSettingsAndKeepsWhatWasCommittedOverAKill(t *testing.T) {
	s := start(t, folder(t), map[string]string{"work_mem": "5MB"})
	for setting, want := range map[string]string{"work_mem": "5MB", "max_connections": "700", "fsync": "on", "synchronous_commit": "on", "listen_addresses": "127.0.0.1"} {
		if got := query(t, s, "SHOW "+setting); got != want {
			t.Errorf("%s: got %q, want %q", setting, got, want)
		}
	}
	query(t, s, "CREATE TABLE kept (n int)")
	query(t, s, "INSERT INTO kept VALUES (7)")
	dsn := s.DSN()
	for _, end := range []struct {
		name string
		do   func() error
	}{
		{"a kill", func() error { s.Kill(); return nil }},
		{"a stop", s.Stop},
		{"nothing", func() error { return nil }},
	} {
		if err := end.do(); err != nil {
			t.Fatalf("%s: %v", end.name, err)
		}
		if err := s.Restart(); err != nil {
			t.Fatalf("after %s: %v", end.name, err)
		}
		if got := query(t, s, "SELECT n FROM kept"); got != "7" || s.DSN() != dsn {
			t.Errorf("after %s: got %q at %q, want 7 at %q", end.name, got, s.DSN(), dsn)
		}
	}
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
	if err := s.Stop(); err != nil {
		t.Errorf("a second stop: %v", err)
	}
}

func TestWhyAServerEndsIsInTheError(t *testing.T) {
	dir := folder(t)
	s, err := pgserver.Start(dir, map[string]string{"shared_buffers": "much"})
	if errors.Is(err, pgserver.ErrNone) {
		t.Skip(err)
	}
	if err == nil {
		s.Kill()
		t.Fatal("got a server with a setting that is none")
	}
	if !strings.Contains(err.Error(), `invalid value for parameter "shared_buffers"`) {
		t.Errorf("got %v, want the server's own words", err)
	}
	// The data are there by now, and as good as before.
	s = start(t, dir, nil)
	text, err := os.ReadFile(filepath.Join(dir, "data", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscan(string(text), &pid); err != nil {
		t.Fatal(err)
	}
	p, err := os.FindProcess(pid)
	if err == nil {
		err = p.Signal(syscall.SIGTERM)
	}
	if err != nil {
		t.Fatal(err)
	}
	<-s.Ended()
	if err := s.Stop(); err == nil || !strings.Contains(err.Error(), "ended by itself") || !strings.Contains(err.Error(), "shut down") {
		t.Errorf("a stop of a server that somebody else has stopped: got %v", err)
	}
}

func TestAServerEndsWithItsProcess(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("only Linux has a signal for the death of a parent")
	}
	dir := folder(t)
	start(t, dir, nil).Stop() // or skips
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), childFolder+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	cmd.Process.Kill()
	cmd.Wait()
	if err != nil {
		t.Fatal(err)
	}
	awaitRefusal(t, strings.Fields(line))
}

// awaitRefusal returns once nobody listens at the port that an environment names.
func awaitRefusal(t *testing.T, env []string) {
	t.Helper()
	var port string
	for _, v := range env {
		if value, ok := strings.CutPrefix(v, "PGPORT="); ok {
			port = value
		}
	}
	for late := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		conn, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err != nil {
			return
		}
		conn.Close()
		if time.Now().After(late) {
			t.Fatalf("the server at port %s still takes connections", port)
		}
	}
}

func TestNamed(t *testing.T) {
	for _, name := range []string{"PGHOST", "PGPORT", "PGDATABASE", "PGSERVICE"} {
		t.Setenv(name, "")
	}
	if pgserver.Named() {
		t.Error("an environment without variables names a server")
	}
	t.Setenv("PGDATABASE", "jobs")
	if !pgserver.Named() {
		t.Error("PGDATABASE names no server")
	}
}
