package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/pollackq/pollack/httpapi/client"
)

// A cluster is a number of nodes on one database.
type cluster struct{ nodes []*node }

// A node is a server in a process of its own.
type node struct {
	name   string
	url    string
	api    *client.Client
	cmd    *exec.Cmd
	input  io.Closer // the process ends when it is closed
	out    *bufio.Reader
	killed bool
}

// start starts nodes, all at once: whichever is first makes the schema. It returns when all listen.
func start(db *database, n int, token string) (*cluster, error) {
	c := &cluster{}
	for i := range n {
		node := &node{name: fmt.Sprintf("node %d", i+1)}
		if err := node.start(db, token); err != nil {
			return nil, errors.Join(err, c.stop())
		}
		c.nodes = append(c.nodes, node)
	}
	for _, node := range c.nodes {
		if err := node.listens(token); err != nil {
			return nil, errors.Join(err, c.stop())
		}
	}
	return c, nil
}

// start starts this very program once more.
func (n *node) start(db *database, token string) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	n.cmd = exec.Command(program)
	n.cmd.Env = append(os.Environ(), envNode+"="+n.name, envDSN+"="+db.dsn, envSchema+"="+db.schema, envToken+"="+token)
	n.cmd.Stderr = os.Stderr
	if n.input, err = n.cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := n.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	n.out = bufio.NewReader(out)
	return n.cmd.Start()
}

// listens waits until the node says its address.
func (n *node) listens(token string) error {
	line, err := n.out.ReadString('\n')
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if !ok {
		return fmt.Errorf("%s did not come to listen: %q, %w", n.name, line, err)
	}
	n.url = url
	// The client does not repeat anything by itself: it would do so at the same node.
	n.api, err = client.New(url, &client.Options{Token: token, Retries: -1})
	return err
}

// kill ends the process as kill -9 does: it has no time to say goodbye to anybody.
func (n *node) kill() error {
	n.killed = true
	if err := n.cmd.Process.Kill(); err != nil {
		return err
	}
	n.cmd.Wait() // says that it was killed
	return nil
}

// jobs asks for all jobs of the queue.
func (n *node) jobs(ctx context.Context) ([]*client.Job, error) {
	var jobs []*client.Job
	for j, err := range n.api.Jobs(ctx, queue, "") {
		if err != nil {
			return nil, err
		}
		jobs = append(jobs, j)
	}
	return jobs, nil
}

func (c *cluster) clients() []*client.Client {
	var all []*client.Client
	for _, n := range c.nodes {
		all = append(all, n.api)
	}
	return all
}

// stop ends all nodes in good order.
func (c *cluster) stop() (err error) {
	for _, n := range c.nodes {
		n.input.Close()
	}
	for _, n := range c.nodes {
		if n.api != nil {
			n.api.CloseIdle()
		}
		if n.killed {
			continue
		}
		if e := n.cmd.Wait(); e != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", n.name, e))
		}
	}
	return err
}
