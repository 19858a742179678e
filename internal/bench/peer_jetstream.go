package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A jetStream is a work queue of a NATS server in this process. Its callers share one connection that needs no socket and one pull consumer
// that fetches ahead. They wait until the server has taken what they publish and what they ack.
type jetStream struct {
	server   *server.Server
	conn     *nats.Conn
	js       jetstream.JetStream
	messages jetstream.MessagesContext
	remove   func()
}

func newJetStream(ctx context.Context, r *run, inMemory bool) (*jetStream, error) {
	dir, remove, err := r.temp()
	if err != nil {
		return nil, err
	}
	s, err := server.NewServer(&server.Options{DontListen: true, NoSigs: true, NoLog: true, JetStream: true, StoreDir: dir, SyncAlways: !inMemory})
	if err != nil {
		remove()
		return nil, err
	}
	go s.Start() // until close
	j := &jetStream{server: s, remove: remove}
	if err := j.connect(ctx, inMemory); err != nil {
		return nil, errors.Join(err, j.close())
	}
	return j, nil
}

func (j *jetStream) connect(ctx context.Context, inMemory bool) (err error) {
	if !j.server.ReadyForConnections(time.Minute) {
		return errors.New("the NATS server does not start")
	}
	if j.conn, err = nats.Connect("", nats.InProcessServer(j.server)); err != nil {
		return err
	}
	if j.js, err = jetstream.New(j.conn); err != nil {
		return err
	}
	storage := jetstream.FileStorage
	if inMemory {
		storage = jetstream.MemoryStorage
	}
	stream, err := j.js.CreateStream(ctx, jetstream.StreamConfig{
		Name: "BENCH", Subjects: []string{"bench"}, Retention: jetstream.WorkQueuePolicy, Storage: storage,
	})
	if err != nil {
		return err
	}
	consumer, err := stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		Durable: "bench", AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Minute, MaxAckPending: -1,
	})
	if err != nil {
		return err
	}
	j.messages, err = consumer.Messages(jetstream.PullMaxMessages(1024))
	return err
}

func (j *jetStream) cycle(ctx context.Context, c *caller) error {
	published, err := j.js.PublishAsync("bench", c.next()) // and waited for: that is faster than Publish
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	select {
	case <-published.Ok():
	case err := <-published.Err():
		return fmt.Errorf("publish: %w", err)
	case <-ctx.Done():
		return ctx.Err()
	}
	m, err := j.messages.Next(jetstream.NextContext(ctx))
	if err != nil {
		return fmt.Errorf("next: %w", err)
	}
	if err := c.got(m.Data()); err != nil {
		return err
	}
	if _, err := j.conn.Request(m.Reply(), []byte("+ACK"), time.Minute); err != nil { // is DoubleAck, faster
		return fmt.Errorf("ack: %w", err)
	}
	return nil
}

func (j *jetStream) close() error {
	defer j.remove()
	if j.messages != nil {
		j.messages.Stop()
	}
	if j.conn != nil {
		j.conn.Close()
	}
	j.server.Shutdown()
	j.server.WaitForShutdown()
	return nil
}
