package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
)

// A measurer is a child that measures when it is asked, in a process where nothing else has grown heap and stacks. A question and its answer
// are JSON.
type measurer struct {
	name    string
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers *json.Decoder
}

func startMeasurer(name string, args ...string) (*measurer, error) {
	m := &measurer{name: name, cmd: newChild(name, args...)}
	var err error
	if m.in, err = m.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	m.answers = json.NewDecoder(out)
	return m, m.cmd.Start()
}

// ask kills the child if ctx ends before the answer has come.
func (m *measurer) ask(ctx context.Context, question, answer any) error {
	stop := context.AfterFunc(ctx, m.kill)
	defer stop()
	if err := json.NewEncoder(m.in).Encode(question); err != nil {
		return fmt.Errorf("child %s: %w", m.name, errors.Join(err, ctx.Err()))
	}
	if err := m.answers.Decode(answer); err != nil {
		return fmt.Errorf("child %s gave no answer: %w", m.name, errors.Join(err, ctx.Err()))
	}
	return nil
}

// close lets the child end and returns what it failed with.
func (m *measurer) close() error {
	m.in.Close()
	if err := m.cmd.Wait(); err != nil {
		return fmt.Errorf("child %s: %w", m.name, err)
	}
	return nil
}

func (m *measurer) kill() { m.cmd.Process.Kill() }

// measureIn asks one question of a new child.
func measureIn[A any](ctx context.Context, name string, question any) (A, error) {
	var a A
	m, err := startMeasurer(name)
	if err != nil {
		return a, err
	}
	err = m.ask(ctx, question, &a)
	return a, errors.Join(err, m.close())
}

// answer is the child's side: it has fn answer one question after the other until there are no more.
func answer[Q, A any](fn func(Q) (A, error)) error {
	return profiled(func() error { return answerAll(fn) })
}

func answerAll[Q, A any](fn func(Q) (A, error)) error {
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var q Q
		if err := in.Decode(&q); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		a, err := fn(q)
		if err != nil {
			return err
		}
		if err := out.Encode(a); err != nil {
			return err
		}
	}
}
