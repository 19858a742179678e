package pipenet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
)

// A Network has a Listener for each of several hosts. Its zero value is ready.
type Network struct {
	mu    sync.Mutex // guards hosts
	hosts map[string]*Listener
}

// Listen returns a listener for a host, "receiver.example", at all its ports. A host has one at a time; when that is closed, its place can be taken.
func (n *Network) Listen(host string) (*Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if l := n.hosts[host]; l != nil && !l.closed() {
		return nil, fmt.Errorf("pipenet: somebody listens on %s", host)
	}
	if n.hosts == nil {
		n.hosts = make(map[string]*Listener)
	}
	n.hosts[host] = Listen()
	return n.hosts[host], nil
}

// Dial connects to host:port, whatever the port.
func (n *Network) Dial(ctx context.Context, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	l := n.hosts[host]
	n.mu.Unlock()
	if l == nil || l.closed() {
		return nil, &net.OpError{Op: "dial", Net: "pipe", Err: errors.New("connection refused")}
	}
	return l.Dial(ctx)
}

// Client returns an HTTP client that connects to the hosts of the network, for https URLs too: there is no TLS in it. It follows no redirects. The
// caller calls its CloseIdleConnections before the bubble ends.
func (n *Network) Client() *http.Client {
	dial := func(ctx context.Context, _, address string) (net.Conn, error) { return n.Dial(ctx, address) }
	return &http.Client{
		Transport:     &http.Transport{DialContext: dial, DialTLSContext: dial, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func (l *Listener) closed() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}
