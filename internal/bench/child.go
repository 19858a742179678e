package main

import (
	"fmt"
	"os"
	"os/exec"
)

// children are what the command does in processes of its own, such as clients whose memory is not to be counted with the server's. A file
// that has one puts it here in an init function; it gets the arguments given to newChild, and the process ends when it returns.
var children = map[string]func(args []string) error{}

const childVariable = "POLLACK_BENCH_CHILD"

// newChild returns a command that runs a child in a copy of this process, be it the command or its test.
func newChild(name string, args ...string) *exec.Cmd {
	program, err := os.Executable()
	if err != nil {
		program = os.Args[0]
	}
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), childVariable+"="+name)
	cmd.Stderr = os.Stderr
	return cmd
}

// runChild does not return in a process that is a child.
func runChild() {
	name := os.Getenv(childVariable)
	if name == "" {
		return
	}
	child, ok := children[name]
	err := fmt.Errorf("there is no child %q", name)
	if ok {
		err = child(os.Args[1:])
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench, child %s: %v\n", name, err)
		os.Exit(1)
	}
	os.Exit(0)
}
