package requests

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"time"
)

// patience is how long a connection may take at most. What is sent is all there at once, so that only a server that hangs takes it.
const patience = 30 * time.Second

// A wire is a server on a socket of this machine, as net/http makes it.
type wire struct {
	world  *world
	server *http.Server
	addr   string
	done   chan struct{}
}

func (w *world) listen() (*wire, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &wire{world: w, addr: l.Addr().String(), done: make(chan struct{})}
	s.server = &http.Server{Handler: w, ErrorLog: w.complaints(), ReadHeaderTimeout: patience, MaxHeaderBytes: 16 << 10}
	go func() {
		defer close(s.done)
		s.server.Serve(l)
	}()
	return s, nil
}

func (s *wire) close() {
	s.server.Close()
	<-s.done
}

// send sends bytes, all there will be, and reads the answers to their end.
func (s *wire) send(p []byte) {
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.world.bad("the server does not accept connections: %v", err)
		return
	}
	c := conn.(*net.TCPConn)
	c.SetLinger(0) // or all ports are used up soon
	c.SetDeadline(time.Now().Add(patience))
	sent := make(chan struct{})
	defer func() { <-sent }()
	defer c.Close() // which ends the writing, too
	go func() {
		defer close(sent)
		c.Write(p) // an error is no matter: the server need not read all
		c.CloseWrite()
	}()
	if err := s.read(c); err != nil && !errors.Is(err, syscall.ECONNRESET) {
		s.world.bad("%v: %s", err, s.world.now())
	}
}

// read reads answers until the server closes the connection.
func (s *wire) read(c net.Conn) error {
	b := bufio.NewReader(c)
	for {
		if _, err := b.Peek(1); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return fmt.Errorf("the connection is still open after %v", patience)
			}
			if err == io.EOF {
				return nil
			}
			return err
		}
		resp, err := http.ReadResponse(b, nil)
		if err != nil {
			return fmt.Errorf("what came is no answer: %w", err)
		}
		method := resp.Header.Get(handledBy)
		if method == "" && resp.StatusCode >= 200 {
			if err := ofNetHTTP(resp); err != nil {
				return err
			}
		}
		if method == http.MethodHead {
			continue
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			return fmt.Errorf("the answer %d is cut: %w", resp.StatusCode, err)
		}
	}
}

// ofNetHTTP demands that net/http itself may have answered so: it refuses what is not HTTP, and serves OPTIONS *.
func ofNetHTTP(resp *http.Response) error {
	switch resp.StatusCode {
	case http.StatusOK, http.StatusBadRequest, http.StatusExpectationFailed, http.StatusRequestHeaderFieldsTooLarge, http.StatusNotImplemented,
		http.StatusHTTPVersionNotSupported:
		return nil
	}
	return fmt.Errorf("net/http by itself answers %s", resp.Status)
}

// ask makes a good request over the socket.
func (s *wire) ask(method, target, body string, header ...string) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	r, err := http.NewRequest(method, "http://"+s.addr+target, strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	if strings.HasPrefix(body, "{") {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, h := range header {
		k, v, _ := strings.Cut(h, ": ")
		r.Header.Set(k, v)
	}
	r.Close = true
	resp, err := (&http.Client{Timeout: patience}).Do(r)
	if err != nil {
		s.world.bad("the server does not serve any more: %v", err)
		return rec
	}
	defer resp.Body.Close()
	rec.Code = resp.StatusCode
	io.Copy(rec.Body, resp.Body)
	return rec
}
