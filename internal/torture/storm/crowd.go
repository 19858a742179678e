package storm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
)

// streams is how many polls share a connection of HTTP/2.
const streams = 100

// A crowd is clients of which each has one request parked, and will vanish.
type crowd struct {
	on        *server
	path      string // to poll
	bystander string // to wait at for a job's status
	statuses  int    // how many do that

	clients []client
	http2   []*http.Client
	shared  int            // requests over HTTP/2
	left    sync.WaitGroup // goroutines of clients
}

// A client vanishes in its own way.
type client struct{ vanish func() }

// requests that are parked, in HTTP/1.
var requests = []string{
	"GET %s HTTP/1.1\r\nHost: x\r\n\r\n",
	"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
	"POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
}

// What a request goes over.
const (
	socket = iota
	pipe
	stream // of HTTP/2
)

// park opens n requests: a tenth are streams of HTTP/2, and a tenth and what goes beyond the limit of open files comes over pipes. One in fifty waits for a
// status. It does not wait until they are parked.
func (c *crowd) park(n int, rnd *rand.Rand) error {
	over := make([]int, n)
	for i := range over {
		switch {
		case i < n/10:
			over[i] = stream
		case i < n/10+n/10:
			over[i] = pipe
		}
	}
	for i := n/10 + n/10 + sockets(n-n/10-n/10); i < n; i++ {
		over[i] = pipe
	}
	rnd.Shuffle(n, func(i, j int) { over[i], over[j] = over[j], over[i] })
	c.clients = make([]client, n)
	type request struct {
		i      int
		status bool
		way    uint64
	}
	next := make(chan request)
	var dialing sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for range 32 {
		dialing.Go(func() {
			for q := range next {
				if err := c.parkHTTP1(q.i, q.status, over[q.i] == pipe, q.way); err != nil {
					mu.Lock()
					errs = append(errs, err)
					mu.Unlock()
				}
			}
		})
	}
	for i := range n {
		q := request{i, rnd.IntN(50) == 0, rnd.Uint64()}
		if q.status {
			c.statuses++
		}
		if over[i] == stream {
			c.parkHTTP2(i, q.status)
		} else {
			next <- q
		}
	}
	close(next)
	dialing.Wait()
	return errors.Join(errs...)
}

func (c *crowd) parkHTTP1(i int, status, pipe bool, way uint64) error {
	conn, err := c.on.dial(context.Background(), pipe)
	if err != nil {
		return err
	}
	c.clients[i].vanish = func() { conn.Close() }
	text, path := requests[way%uint64(len(requests))], c.path
	if status {
		text, path = requests[0], c.bystander
	}
	if _, err := fmt.Fprintf(conn, text, path); err != nil {
		return err
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil
	}
	switch way >> 8 % 4 {
	case 0: // closes
	case 1: // resets
		c.clients[i].vanish = func() {
			tcp.SetLinger(0)
			tcp.Close()
		}
	case 2: // closes its half, and reads what comes then
		c.clients[i].vanish = func() {
			tcp.CloseWrite()
			c.left.Go(func() {
				io.Copy(io.Discard, tcp)
				tcp.Close()
			})
		}
	case 3: // goes while it reads its answer
		c.left.Go(func() { tcp.Read(make([]byte, 100)) })
	}
	return nil
}

// parkHTTP2 sends a request that shares its connection with others, and resets its stream in the end.
func (c *crowd) parkHTTP2(i int, status bool) {
	path := c.path
	if status {
		path = c.bystander
	}
	if c.shared%streams == 0 {
		p := new(http.Protocols)
		p.SetUnencryptedHTTP2(true)
		c.http2 = append(c.http2, &http.Client{Transport: &http.Transport{Protocols: p, DisableCompression: true}})
	}
	c.shared++
	h := c.http2[len(c.http2)-1]
	ctx, cancel := context.WithCancel(context.Background())
	c.clients[i].vanish = cancel
	c.left.Go(func() {
		req, err := http.NewRequestWithContext(ctx, "GET", "http://"+c.on.addr+path, nil)
		if err != nil {
			return
		}
		resp, err := h.Do(req)
		if err != nil {
			return
		}
		<-ctx.Done() // the answer came, and nobody reads it
		resp.Body.Close()
	})
}

// vanish has all go, a few at a time: in the order in which they came, which is that in which they get jobs, or in any.
func (c *crowd) vanish(rnd *rand.Rand, inOrder bool) {
	if !inOrder {
		rnd.Shuffle(len(c.clients), func(i, j int) { c.clients[i], c.clients[j] = c.clients[j], c.clients[i] })
	}
	next := make(chan client)
	var leaving sync.WaitGroup
	for range 4 {
		leaving.Go(func() {
			for v := range next {
				v.vanish()
			}
		})
	}
	for _, v := range c.clients {
		next <- v
	}
	close(next)
	leaving.Wait()
}

// close ends what is left of the clients, also of those that have not vanished.
func (c *crowd) close() {
	for _, v := range c.clients {
		if v.vanish != nil {
			v.vanish()
		}
	}
	c.on.http.Close() // clients that closed their half wait for this
	c.left.Wait()
	for _, h := range c.http2 {
		h.CloseIdleConnections()
	}
}

// field returns a string of a JSON object.
func field(body []byte, name string) string {
	var m map[string]any
	if json.Unmarshal(body, &m) != nil {
		return ""
	}
	s, _ := m[name].(string)
	return s
}
