package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// A serverProcess is a server that was started for one measurement, on a loopback port.
type serverProcess struct {
	cmd    *exec.Cmd
	addr   string
	output *bytes.Buffer
	ended  chan error
}

// startServer starts a program on a free port, given to it in the arguments that args makes, and waits until it takes connections.
func startServer(ctx context.Context, program string, args func(port string) []string) (*serverProcess, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	s := &serverProcess{cmd: exec.Command(program, args(port)...), addr: net.JoinHostPort("127.0.0.1", port), output: new(bytes.Buffer), ended: make(chan error, 1)}
	s.cmd.Stdout, s.cmd.Stderr = s.output, s.output
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { s.ended <- s.cmd.Wait() }()
	for {
		conn, err := net.Dial("tcp", s.addr)
		if err == nil {
			conn.Close()
			return s, nil
		}
		select {
		case err := <-s.ended:
			return nil, fmt.Errorf("%s ended as it began: %w\n%s", program, err, s.output)
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), s.stop())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// freePort returns a port that nobody has at this moment.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}

func (s *serverProcess) stop() error {
	select {
	case err := <-s.ended:
		return fmt.Errorf("the server ended by itself: %w\n%s", err, s.output)
	default:
	}
	if err := s.cmd.Process.Kill(); err != nil {
		return err
	}
	var exit *exec.ExitError
	if err := <-s.ended; !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		return fmt.Errorf("the server ended with %w\n%s", err, s.output)
	}
	return nil
}

// beanstalkdVersion and redisVersion return nothing if the server is not installed.
func beanstalkdVersion() string { return versionOf("beanstalkd", "-v") }
func redisVersion() string      { return versionOf("redis-server", "--version") }

// versionOf returns the name and version in what a program prints about itself.
func versionOf(program, flag string) string {
	out, err := exec.Command(program, flag).Output()
	if err != nil {
		return ""
	}
	for word := range strings.FieldsSeq(string(out)) {
		word = strings.TrimPrefix(word, "v=")
		if word[0] >= '0' && word[0] <= '9' {
			return program + " " + word
		}
	}
	return program + " of an unknown version"
}
