package main

import (
	"context"
	"errors"
	"time"

	"github.com/beanstalkd/go-beanstalk"
)

// A beanstalkdQueue is a tube of a server of its own, with a connection for each caller.
type beanstalkdQueue struct {
	server *serverProcess
	conns  []*beanstalk.Conn
	remove func()
}

func newBeanstalkd(ctx context.Context, r *run, inMemory bool, callers int) (*beanstalkdQueue, error) {
	dir, remove, err := r.temp()
	if err != nil {
		return nil, err
	}
	b := &beanstalkdQueue{remove: remove}
	b.server, err = startServer(ctx, "beanstalkd", func(port string) []string {
		args := []string{"-l", "127.0.0.1", "-p", port}
		if !inMemory {
			args = append(args, "-b", dir, "-f0")
		}
		return args
	})
	if err != nil {
		remove()
		return nil, err
	}
	for range callers {
		conn, err := beanstalk.Dial("tcp", b.server.addr)
		if err != nil {
			return nil, errors.Join(err, b.close())
		}
		b.conns = append(b.conns, conn)
	}
	return b, nil
}

func (b *beanstalkdQueue) cycle(_ context.Context, c *caller) error {
	conn := b.conns[c.number]
	if _, err := conn.Put(c.next(), 0, 0, time.Minute); err != nil {
		return err
	}
	id, payload, err := conn.Reserve(time.Minute)
	if err != nil {
		return err
	}
	if err := c.got(payload); err != nil {
		return err
	}
	return conn.Delete(id)
}

func (b *beanstalkdQueue) close() error {
	defer b.remove()
	var errs []error
	for _, conn := range b.conns {
		errs = append(errs, conn.Close())
	}
	return errors.Join(append(errs, b.server.stop())...)
}
