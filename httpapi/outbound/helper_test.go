package outbound_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// A tripwire is a listener on loopback that counts who connects.
type tripwire struct {
	addr  netip.AddrPort
	count atomic.Int64
}

// newTripwire listens on an address until the test ends; nil if the machine does not have it.
func newTripwire(t *testing.T, host string) *tripwire {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return nil
	}
	w := &tripwire{addr: netip.MustParseAddrPort(l.Addr().String())}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			w.count.Add(1)
			go func() {
				defer c.Close()
				http.ReadRequest(bufio.NewReader(c))
				io.WriteString(c, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
			}()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return w
}

// names is a server of names: what is asked is answered by fn, with addresses that may differ each time.
type names struct {
	fn   func(name string) []netip.Addr
	mu   sync.Mutex // guards what follows
	asks map[string]int
}

// resolver returns a resolver that asks this server alone.
func (n *names) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go n.serve(theirs)
		return ours, nil
	}}
}

// serve answers DNS messages (RFC 1035) as they are sent over a stream.
func (n *names) serve(c net.Conn) {
	defer c.Close()
	for {
		var size [2]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		ask := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(c, ask); err != nil {
			return
		}
		answer := n.answer(ask)
		c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
	}
}

func (n *names) answer(ask []byte) []byte {
	const header, typeA, typeAAAA = 12, 1, 28
	var labels []string
	i := header
	for ask[i] != 0 {
		l := int(ask[i])
		labels = append(labels, string(ask[i+1:i+1+l]))
		i += 1 + l
	}
	kind := binary.BigEndian.Uint16(ask[i+1:])
	name, question := strings.Join(labels, "."), ask[header:i+5]
	n.mu.Lock()
	if n.asks == nil {
		n.asks = make(map[string]int)
	}
	n.asks[name]++
	n.mu.Unlock()
	var records []byte
	count := 0
	for _, a := range n.fn(name) {
		if a.Is4() && kind == typeA || a.Is6() && kind == typeAAAA {
			count++
			records = append(records, 0xc0, header, 0, byte(kind), 0, 1, 0, 0, 0, 0) // the name asked for, class IN, to be forgotten at once
			records = binary.BigEndian.AppendUint16(records, uint16(a.BitLen()/8))
			records = append(records, a.AsSlice()...)
		}
	}
	out := append([]byte{ask[0], ask[1], 0x81, 0x80, 0, 1, 0, byte(count), 0, 0, 0, 0}, question...)
	return append(out, records...)
}

func nobody(string) []netip.Addr { return nil }

var discard = log.New(io.Discard, "", 0)
