package main

import "context"

// A channel is the least that handing a payload from one goroutine to another can cost. It has no leases and no acks.
type channel chan []byte

func newChannel() channel { return make(channel, 1024) }

func (ch channel) cycle(_ context.Context, c *caller) error {
	ch <- append([]byte(nil), c.next()...)
	return c.got(<-ch)
}

func (ch channel) close() error { return nil }
