package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/rueidis"
)

// A redisStream is a stream of a server of its own, with one consumer group. Its client sends what callers ask for at the same time in one
// go. To ack is to take a message from the list of those pending and from the stream.
type redisStream struct {
	server *serverProcess
	client rueidis.Client
	remove func()
}

func newRedis(ctx context.Context, r *run, inMemory bool, callers int) (*redisStream, error) {
	dir, remove, err := r.temp()
	if err != nil {
		return nil, err
	}
	s := &redisStream{remove: remove}
	s.server, err = startServer(ctx, "redis-server", func(port string) []string {
		args := []string{"--bind", "127.0.0.1", "--port", port, "--dir", dir, "--save", ""}
		if !inMemory {
			args = append(args, "--appendonly", "yes", "--appendfsync", "always")
		}
		return args
	})
	if err != nil {
		remove()
		return nil, err
	}
	o := rueidis.ClientOption{InitAddress: []string{s.server.addr}, DisableCache: true}
	if callers > 1 { // one connection, whose writes are put together
		o.AlwaysPipelining, o.PipelineMultiplex, o.MaxFlushDelay = true, -1, 20*time.Microsecond
	}
	s.client, err = rueidis.NewClient(o)
	if err == nil {
		err = s.client.Do(ctx, s.client.B().XgroupCreate().Key("bench").Group("g").Id("0").Mkstream().Build()).Error()
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *redisStream) cycle(ctx context.Context, c *caller) error {
	if err := s.client.Do(ctx, s.client.B().Xadd().Key("bench").Id("*").FieldValue().FieldValue("p", rueidis.BinaryString(c.next())).Build()).Error(); err != nil {
		return err
	}
	streams, err := s.client.Do(ctx, s.client.B().Xreadgroup().Group("g", "c").Count(1).Streams().Key("bench").Id(">").Build()).AsXRead()
	if err != nil {
		return err
	}
	if len(streams["bench"]) != 1 {
		return fmt.Errorf("got %d messages, want 1", len(streams["bench"]))
	}
	m := streams["bench"][0]
	if err := c.got([]byte(m.FieldValues["p"])); err != nil {
		return err
	}
	for _, reply := range s.client.DoMulti(ctx,
		s.client.B().Xack().Key("bench").Group("g").Id(m.ID).Build(),
		s.client.B().Xdel().Key("bench").Id(m.ID).Build(),
	) {
		if n, err := reply.AsInt64(); err != nil || n != 1 {
			return fmt.Errorf("an ack answers %d, %w", n, err)
		}
	}
	return nil
}

func (s *redisStream) close() error {
	defer s.remove()
	if s.client != nil {
		s.client.Close()
	}
	return s.server.stop()
}
