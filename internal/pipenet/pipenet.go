// Package pipenet is a network inside the process: a listener whose connections are pipes. A goroutine that reads from a real socket keeps
// the time of a testing/synctest bubble from moving; one that reads from a pipe does not. So tests of hours of HTTP run in no time.
package pipenet

import (
	"context"
	"net"
	"net/http"
	"sync"
)

// A Listener is a net.Listener that accepts what its own Dial connects.
type Listener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

// Listen returns a listener. Its owner closes it, as http.Server does with those it serves.
func Listen() *Listener {
	return &Listener{conns: make(chan net.Conn), done: make(chan struct{})}
}

// Accept returns the other end of the next Dial; net.ErrClosed after Close.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case <-l.done:
		return nil, net.ErrClosed
	default:
	}
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close ends Accept and Dial. Connections stay.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

// Addr returns an address that says only what the network is.
func (l *Listener) Addr() net.Addr { return addr{} }

// Dial connects, once somebody accepts.
func (l *Listener) Dial(ctx context.Context) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case l.conns <- theirs:
		return ours, nil
	case <-l.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Client returns an HTTP client that connects to the listener whatever the host in the URL. It follows no redirects. The caller calls its
// CloseIdleConnections before the bubble ends.
func (l *Listener) Client() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return l.Dial(ctx) },
			DisableCompression: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

type addr struct{}

func (addr) Network() string { return "pipe" }
func (addr) String() string  { return "pipe" }
