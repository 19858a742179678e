package nodes

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"
)

// Frail is a network on which connections break: before something is sent, or before it is answered, so that nobody knows what came of it.
type Frail struct {
	mu   sync.Mutex // guards what follows
	rnd  *rand.Rand
	each int // one in so many reads and writes breaks its connection; 0 is none
}

// NewFrail returns a network that is sound.
func NewFrail(rnd *rand.Rand) *Frail { return &Frail{rnd: rnd} }

// Break has one in so many reads and writes break its connection; 0 is none.
func (f *Frail) Break(each int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.each = each
}

func (f *Frail) breaks() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.each > 0 && f.rnd.IntN(f.each) == 0
}

func (f *Frail) dial(dial pgconn.DialFunc) pgconn.DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return frailConn{c, f}, nil
	}
}

type frailConn struct {
	net.Conn
	f *Frail
}

var errBroken = errors.New("the connection broke")

func (c frailConn) Write(p []byte) (int, error) {
	if c.f.breaks() {
		c.Close()
		return 0, errBroken
	}
	return c.Conn.Write(p)
}

// Read loses what has come, at times.
func (c frailConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && c.f.breaks() {
		c.Close()
		return 0, errBroken
	}
	return n, err
}
