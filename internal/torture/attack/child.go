package attack

import (
	"context"
	"fmt"
	"os"
	"os/exec"
)

const childVariable = "POLLACK_TORTURE_CHILD"

// Command returns a process of this program that does what the technique's Child does, with standard error shared. It is killed when ctx ends.
func Command(ctx context.Context, technique string, args ...string) *exec.Cmd {
	program, err := os.Executable()
	if err != nil {
		program = os.Args[0]
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), childVariable+"="+technique)
	cmd.Stderr = os.Stderr
	return cmd
}

// RunChild does not return in a process that Command made.
func RunChild(techniques []*Technique) {
	name := os.Getenv(childVariable)
	if name == "" {
		return
	}
	for _, t := range techniques {
		if t.Name == name && t.Child != nil {
			os.Exit(t.Child(os.Args[1:]))
		}
	}
	fmt.Fprintf(os.Stderr, "torture: there is no child %q\n", name)
	os.Exit(2)
}
