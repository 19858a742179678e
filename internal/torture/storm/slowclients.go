package storm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"
)

// A kind of slow client.
type kind struct {
	what  string // it does
	first string // sent at once; %s is the id of a job with a large payload
	drip  string // sent again and again, a piece at a time, until the server ends the connection; "" for nothing
	piece int    // how much of it at a time
	read  int    // bytes of the answer that are read at a time; 0: whatever there is
	http2 func(ctx context.Context, on *server, id string) error
}

const endless = "abcdefghijklmnopqrstuvwxyz0123456789"

var kinds = []kind{
	{what: "sends nothing"},
	{what: "sends a header byte by byte", first: "GET /v1/queues HTTP/1.1\r\nHost: x\r\nX-Slow: ", drip: endless, piece: 1},
	{what: "sends header after header", first: "GET /v1/queues HTTP/1.1\r\nHost: x\r\n", drip: "X-" + endless + ": " + endless + "\r\n", piece: 40},
	{what: "sends a header without an end", first: "GET /v1/queues HTTP/1.1\r\nHost: x\r\nX: ", drip: strings.Repeat(endless, 200), piece: 7200},
	{what: "never sends its payload", first: "POST /v1/queues/q/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\nContent-Length: 1000\r\n\r\n"},
	{what: "never sends its payload, having asked whether to", first: "POST /v1/queues/q/jobs HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Type: a/b\r\nContent-Length: 1000\r\n\r\n"},
	{what: "sends a payload byte by byte", first: "POST /v1/queues/q/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\nContent-Length: 100000\r\n\r\n", drip: endless, piece: 1},
	{what: "sends JSON byte by byte", first: "POST /v1/acks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n", drip: endless, piece: 1},
	{what: "sends chunks byte by byte", first: "POST /v1/queues/q/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\nTransfer-Encoding: chunked\r\n\r\n", drip: "1\r\nx\r\n", piece: 1},
	{what: "sends the line of a chunk without an end", first: "POST /v1/queues/q/jobs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;", drip: endless, piece: 36},
	{what: "sends a payload without an end", first: "POST /v1/queues/q/jobs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
		drip: "10000\r\n" + strings.Repeat("x", 0x10000) + "\r\n", piece: 0x10000 + 9},
	{what: "sends JSON without an end", first: "POST /v1/queues/q/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n[[[[[[[[\r\n",
		drip: "10000\r\n" + strings.Repeat("[", 0x10000) + "\r\n", piece: 0x10000 + 9},
	{what: "sends the body of a poll byte by byte", first: "POST /v1/queues/q/poll HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n", drip: endless, piece: 1},
	{what: "never sends a body that nobody wants", first: "POST /v1/nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"},
	{what: "sends a body byte by byte that nobody wants", first: "PUT /v1/uploads/x/y HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n", drip: endless, piece: 1},
	{what: "never takes its answer", first: "GET /v1/jobs/%s/payload HTTP/1.1\r\nHost: x\r\n\r\n", read: -1},
	{what: "takes its answer byte by byte", first: "GET /v1/jobs/%s/payload HTTP/1.1\r\nHost: x\r\n\r\n", read: 1},
	{what: "asks again and again and takes no answer", first: "GET /v1/jobs/%s/payload HTTP/1.1\r\nHost: x\r\n\r\n",
		drip: "GET /v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n", piece: 42, read: -1},
	{what: "has been answered and stays", first: "GET /v1/queues HTTP/1.1\r\nHost: x\r\n\r\n"},
	{what: "begins with HTTP/2 and stays", first: http2Preface},
	{what: "sends a frame of HTTP/2 byte by byte", first: http2Preface + "\x00\x10\x00\x01\x04\x00\x00\x00\x01", drip: "\x82", piece: 1},
	{what: "never sends its payload (HTTP/2)", http2: func(ctx context.Context, on *server, _ string) error {
		silence, end := io.Pipe()
		defer end.Close()
		return askHTTP2(ctx, on, "/v1/queues/q/jobs", silence)
	}},
}

// slowPause is how long those that take their answers slowly do that.
const slowPause = 4 * slowTimes

// http2Preface is what a client begins with, and its empty settings.
const http2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"

// run is one such client, of which few dial at a time. It returns when the server has ended the connection, or an error if the server let it do far too
// much.
func (k *kind) run(ctx context.Context, on *server, pipe bool, dialing chan struct{}, step time.Duration, id string) error {
	if k.http2 != nil {
		return k.http2(ctx, on, id)
	}
	dialing <- struct{}{}
	conn, err := k.dial(ctx, on, pipe)
	<-dialing
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- k.take(ctx, conn, step) }()
	first := k.first
	if strings.Contains(first, "%s") {
		first = fmt.Sprintf(first, id)
	}
	_, err = io.WriteString(conn, first)
	began, sent := time.Now(), 0
	for at := 0; err == nil; {
		select {
		case err := <-ended:
			return err
		case <-time.After(step):
		}
		if k.drip == "" || k.read != 0 && time.Since(began) > slowPause/2 {
			continue
		}
		p := k.drip[at:min(at+k.piece, len(k.drip))]
		at = (at + len(p)) % len(k.drip)
		_, err = io.WriteString(conn, p)
		if sent += len(p); sent > 64*slowBody {
			return fmt.Errorf("could send %d bytes", sent)
		}
	}
	return <-ended
}

// dial connects. Clients that take their answers slowly have the kernel hold little of them.
func (k *kind) dial(ctx context.Context, on *server, pipe bool) (net.Conn, error) {
	if pipe || k.read == 0 {
		return on.dial(ctx, pipe)
	}
	d := &net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<10) })
	}}
	return d.DialContext(ctx, "tcp", on.addr)
}

// take reads, as slowly as this kind does, until the connection ends. After slowPause a slow one reads all that is still there: if that is the whole
// answer, nobody has ended it.
func (k *kind) take(ctx context.Context, conn net.Conn, step time.Duration) error {
	n := int64(0)
	if k.read != 0 {
		p := make([]byte, max(0, k.read))
		for began := time.Now(); time.Since(began) < slowPause; {
			if k.read > 0 {
				m, err := conn.Read(p)
				if n += int64(m); err != nil {
					return nil
				}
			}
			select {
			case <-time.After(step):
			case <-ctx.Done():
				return nil
			}
		}
	}
	m, _ := io.Copy(io.Discard, conn)
	if n+m > slowBody && k.read != 0 {
		return fmt.Errorf("could take the whole of its answer, %d bytes", n+m)
	}
	return nil
}

// askHTTP2 posts a body over HTTP/2 and reads the answer.
func askHTTP2(ctx context.Context, on *server, path string, body io.Reader) error {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: p}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, "POST", "http://"+on.addr+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "a/b")
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return nil // it was ended
	}
	defer resp.Body.Close()
	if _, err = io.Copy(io.Discard, resp.Body); err == nil && resp.StatusCode < 400 {
		return errors.New("was answered " + resp.Status)
	}
	return nil
}
