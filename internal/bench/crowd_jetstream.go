package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A jetStreamCrowd waits in pull requests of one message each at a NATS server in this process. The clients share a connection that needs no
// socket; what they take in memory is counted, too.
type jetStreamCrowd struct {
	server   *server.Server
	conn     *nats.Conn
	js       jetstream.JetStream
	stream   jetstream.Stream
	consumer jetstream.Consumer
	dir      string

	n       int
	ctx     context.Context
	cancel  context.CancelFunc
	woke    chan fetched
	failed  chan error
	running sync.WaitGroup
}

type fetched struct {
	message jetstream.Msg
	at      time.Time
}

func newJetStreamCrowd() (crowd, error) {
	dir, err := os.MkdirTemp("", "pollack-bench-")
	if err != nil {
		return nil, err
	}
	c := &jetStreamCrowd{dir: dir, woke: make(chan fetched, 1), failed: make(chan error, 1)}
	c.ctx, c.cancel = context.WithTimeout(context.Background(), stepTime) // without an end a request is one of 30 seconds
	c.server, err = server.NewServer(&server.Options{DontListen: true, NoSigs: true, NoLog: true, JetStream: true, StoreDir: dir})
	if err == nil {
		go c.server.Start() // until end
		err = c.connect()
	}
	if err != nil {
		return nil, errors.Join(err, c.end())
	}
	return c, nil
}

func (c *jetStreamCrowd) connect() (err error) {
	if !c.server.ReadyForConnections(time.Minute) {
		return errors.New("the NATS server does not start")
	}
	if c.conn, err = nats.Connect("", nats.InProcessServer(c.server)); err != nil {
		return err
	}
	if c.js, err = jetstream.New(c.conn); err != nil {
		return err
	}
	c.stream, err = c.js.CreateStream(c.ctx, jetstream.StreamConfig{
		Name: "BENCH", Subjects: []string{"bench"}, Retention: jetstream.WorkQueuePolicy, Storage: jetstream.MemoryStorage,
	})
	return err
}

func (c *jetStreamCrowd) park(n int) (err error) {
	c.n = n
	c.consumer, err = c.stream.CreateConsumer(c.ctx, jetstream.ConsumerConfig{
		Durable: "bench", AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Minute, MaxWaiting: n + 10,
	})
	if err != nil {
		return err
	}
	for range n {
		c.running.Go(c.wait)
	}
	return c.settle()
}

func (c *jetStreamCrowd) wait() {
	for c.ctx.Err() == nil {
		m, err := c.consumer.Next(jetstream.FetchContext(c.ctx))
		at := time.Now()
		if err != nil {
			if c.ctx.Err() == nil {
				select {
				case c.failed <- err:
				default:
				}
			}
			return
		}
		c.woke <- fetched{m, at}
	}
}

func (c *jetStreamCrowd) wake() (time.Duration, error) {
	begun := time.Now()
	if _, err := c.js.Publish(c.ctx, "bench", make([]byte, payloadSize)); err != nil {
		return 0, err
	}
	select {
	case got := <-c.woke:
		if len(got.message.Data()) != payloadSize {
			return 0, fmt.Errorf("a message of %d bytes came that nobody sent", len(got.message.Data()))
		}
		return got.at.Sub(begun), got.message.DoubleAck(c.ctx)
	case err := <-c.failed:
		return 0, err
	case <-time.After(time.Minute):
		return 0, errors.New("nobody got the message within a minute")
	}
}

func (c *jetStreamCrowd) settle() error {
	var failed error
	err := until(func() bool {
		info, err := c.consumer.Info(c.ctx)
		failed = err
		return err != nil || info.NumWaiting == c.n
	})
	return errors.Join(err, failed)
}

func (c *jetStreamCrowd) end() error {
	c.cancel()
	if c.conn != nil {
		c.conn.Close()
	}
	c.running.Wait()
	if c.server != nil {
		c.server.Shutdown()
		c.server.WaitForShutdown()
	}
	return os.RemoveAll(c.dir)
}
