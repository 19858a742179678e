package pgtest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// A Proxy is the network between a node and its server, which can fail.
type Proxy struct {
	dsn      string
	listener net.Listener
	running  sync.WaitGroup // everything it has started

	mu      sync.Mutex // guards what follows
	links   map[*link]bool
	cut     bool          // connections are refused
	open    chan struct{} // closed while bytes pass
	request *trap
	answer  *trap
}

// A trap waits for a text, of up to longest bytes, among the bytes of a direction.
type trap struct {
	text   []byte
	sprung chan struct{}
}

// A link is a connection through the proxy.
type link struct {
	client net.Conn
	once   sync.Once
	gone   chan struct{}
}

// NewProxy returns a network to the server of dsn. It ends with the test.
func NewProxy(t testing.TB, dsn string) *Proxy {
	t.Helper()
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	network, address := pgconn.NetworkAddress(config.Host, config.Port)
	p := &Proxy{links: make(map[*link]bool), open: make(chan struct{})}
	close(p.open)
	if p.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	p.dsn = fmt.Sprintf("%s host=127.0.0.1 port=%d sslmode=disable", dsn, p.listener.Addr().(*net.TCPAddr).Port)
	p.running.Go(func() { p.accept(network, address) })
	t.Cleanup(func() {
		p.listener.Close()
		p.Cut()
		p.running.Wait()
	})
	return p
}

// DSN returns what connects through the proxy.
func (p *Proxy) DSN() string { return p.dsn }

// Drop breaks all connections off, as a router does that forgets them. New ones are made as before.
func (p *Proxy) Drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dropLocked()
}

// Cut breaks all connections off and lets nobody through, until Heal.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = true
	p.dropLocked()
}

// Stall keeps everything that is sent, either way, until Heal: nobody can tell that from a slow server. Connections stay, and new ones are accepted.
func (p *Proxy) Stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.open:
		p.open = make(chan struct{})
	default:
	}
}

// Heal ends Cut and Stall.
func (p *Proxy) Heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = false
	select {
	case <-p.open:
	default:
		close(p.open)
	}
}

// CutAtRequest breaks a connection off, once, when a client sends the text, which the server does not get: nothing has happened. The channel is
// closed when that was done.
func (p *Proxy) CutAtRequest(text string) <-chan struct{} { return p.set(&p.request, text) }

// CutAtAnswer breaks a connection off, once, when the server answers with the text, which the client does not get: it cannot know what has happened.
// The server says "COMMIT" when it has committed.
func (p *Proxy) CutAtAnswer(text string) <-chan struct{} { return p.set(&p.answer, text) }

func (p *Proxy) set(place **trap, text string) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	*place = &trap{[]byte(text), make(chan struct{})}
	return (*place).sprung
}

func (p *Proxy) dropLocked() {
	for l := range p.links {
		l.reset()
	}
}

func (p *Proxy) accept(network, address string) {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.running.Go(func() { p.connect(client, network, address) })
	}
}

// connect carries a connection until it ends.
func (p *Proxy) connect(client net.Conn, network, address string) {
	l := &link{client: client, gone: make(chan struct{})}
	p.mu.Lock()
	cut := p.cut
	p.links[l] = true
	p.mu.Unlock()
	defer func() {
		l.reset()
		p.mu.Lock()
		delete(p.links, l)
		p.mu.Unlock()
	}()
	if cut {
		return
	}
	server, err := net.Dial(network, address)
	if err != nil {
		return
	}
	defer server.Close()
	var both sync.WaitGroup
	both.Go(func() { p.carry(l, server, client, &p.request) })
	both.Go(func() { p.carry(l, client, server, &p.answer) })
	<-l.gone
	server.Close()
	both.Wait()
}

// carry copies one direction until the connection ends. Where a trap springs, what it waited for is not passed on.
func (p *Proxy) carry(l *link, to, from net.Conn, place **trap) {
	defer l.reset()
	buf := make([]byte, 32<<10)
	var passed []byte // the end of what was passed on, in which a text may begin
	for {
		n, err := from.Read(buf)
		if errors.Is(err, io.EOF) {
			l.close() // what was passed on still arrives
		}
		if err != nil {
			return
		}
		select {
		case <-p.gate():
		case <-l.gone:
			return
		}
		if trap := p.springs(place, passed, buf[:n]); trap != nil {
			l.reset()
			close(trap.sprung)
			return
		}
		passed = append(passed, buf[:n]...)
		passed = append([]byte(nil), passed[max(0, len(passed)-longest):]...)
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// longest bounds the text of a trap, in bytes.
const longest = 100

func (p *Proxy) gate() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open
}

// springs returns the trap that has waited for this, if there is one. A text that has been passed on as a whole is none that it waits for.
func (p *Proxy) springs(place **trap, passed, next []byte) *trap {
	p.mu.Lock()
	defer p.mu.Unlock()
	trap := *place
	if trap == nil {
		return nil
	}
	begun := passed[max(0, len(passed)-len(trap.text)+1):]
	if !bytes.Contains(append(bytes.Clone(begun), next...), trap.text) {
		return nil
	}
	*place = nil
	return trap
}

// reset breaks the connection off, as the client notices.
func (l *link) reset() {
	l.end(func() {
		if tcp, ok := l.client.(*net.TCPConn); ok {
			tcp.SetLinger(0)
		}
	})
}

// close ends the connection in good order.
func (l *link) close() { l.end(func() {}) }

func (l *link) end(first func()) {
	l.once.Do(func() {
		first()
		l.client.Close()
		close(l.gone)
	})
}
