package outbound_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/httpapi/outbound"
	"github.com/pollackq/pollack/internal/pipenet"
)

type ctx = context.Context

// closed is a body that knows whether it was closed.
type closed struct {
	io.Reader
	closed bool
}

func (c *closed) Close() error {
	c.closed = true
	return nil
}

// serve serves a handler over pipes until the test ends, and returns a client to which every host is that server.
func serve(t *testing.T, o *outbound.Options, h http.Handler) (*http.Client, *pipenet.Listener) {
	t.Helper()
	l := pipenet.Listen()
	srv := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() {
		defer close(done)
		srv.Serve(l)
	}()
	c := outbound.NewClient(o)
	outbound.DialWith(c, l.Dial)
	t.Cleanup(func() {
		c.CloseIdleConnections()
		srv.Close()
		<-done
	})
	return c, l
}

// raw has fn answer whoever connects and asks, and returns a client that does.
func raw(t *testing.T, o *outbound.Options, fn func(net.Conn)) *http.Client {
	t.Helper()
	l := pipenet.Listen()
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
					return
				}
				all.Go(func() { io.Copy(io.Discard, c) })
				fn(c)
			})
		}
	})
	c := outbound.NewClient(o)
	outbound.DialWith(c, l.Dial)
	t.Cleanup(func() {
		c.CloseIdleConnections()
		l.Close()
		all.Wait()
	})
	return c
}

// An answer that never ends, at whatever pace, is over when the time is.
func TestSlowAnswersAreBoundedInTime(t *testing.T) {
	drip := func(c net.Conn, text string) {
		for err := error(nil); err == nil; time.Sleep(time.Second) {
			_, err = io.WriteString(c, text)
		}
	}
	for _, tt := range []struct {
		name string
		fn   func(net.Conn)
	}{
		{"nothing", func(c net.Conn) { io.Copy(io.Discard, c) }},
		{"a status line that drips", func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 200 ")
			drip(c, "O")
		}},
		{"a header that drips", func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\n")
			drip(c, "A: b\r\n")
		}},
		{"provisional answers without end", func(c net.Conn) { drip(c, "HTTP/1.1 103 Early Hints\r\n\r\n") }},
		{"a body that drips", func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
			drip(c, "x")
		}},
		{"chunks that drip", func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
			drip(c, "1\r\nx\r\n")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := raw(t, &outbound.Options{AllowHTTP: true}, tt.fn)
				began := time.Now()
				_, _, err := outbound.Fetch(t.Context(), c, "http://public.test/", 1<<20)
				if got := outbound.Problem(err); got != "no answer in time" {
					t.Errorf("got %v (%s), want no answer in time", err, got)
				}
				if took := time.Since(began); took != 15*time.Second {
					t.Errorf("got it after %v, want 15s", took)
				}
			})
		})
	}
}

// An answer of any size takes little memory: the other side cannot even write it.
func TestLargeAnswersAreBoundedInSize(t *testing.T) {
	pour := func(wrote *atomic.Int64, c net.Conn, text string) {
		block := strings.Repeat(text, 1+4096/len(text))
		for {
			n, err := io.WriteString(c, block)
			if wrote.Add(int64(n)); err != nil {
				return
			}
		}
	}
	for _, tt := range []struct {
		name, begin, text string
		tooLarge          bool
	}{
		{"a status line without end", "HTTP/1.1 200 ", "O", false},
		{"a header without end", "HTTP/1.1 200 OK\r\n", "A: b\r\n", false},
		{"a header with a value without end", "HTTP/1.1 200 OK\r\nA: ", "b", false},
		{"provisional answers without end", "", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", false},
		{"a body that is said to be large", "HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n", "x", true},
		{"a body without end", "HTTP/1.1 200 OK\r\n\r\n", "x", true},
		{"chunks without end", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var wrote atomic.Int64
				c := raw(t, &outbound.Options{AllowHTTP: true}, func(c net.Conn) {
					io.WriteString(c, tt.begin)
					pour(&wrote, c, tt.text)
				})
				body, _, err := outbound.Fetch(t.Context(), c, "http://public.test/", 100_000)
				if body != nil || err == nil || errors.Is(err, outbound.ErrTooLarge) != tt.tooLarge {
					t.Errorf("got %d bytes, %v, want an error, ErrTooLarge %v", len(body), err, tt.tooLarge)
				}
				synctest.Wait()
				if n := wrote.Load(); n > 1<<20 {
					t.Errorf("got %d bytes written, want them not taken", n)
				}
			})
		})
	}
}

// What is small on the wire stays small.
func TestAnAnswerIsNotUncompressed(t *testing.T) {
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	io.CopyN(z, zeros{}, 64<<20)
	z.Close()
	c, _ := serve(t, &outbound.Options{AllowHTTP: true}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Accept-Encoding"); got != "" {
			t.Errorf("got Accept-Encoding %q, want none", got)
		}
		w.Header().Set("Content-Encoding", "gzip")
		w.Write(bomb.Bytes())
	}))
	body, _, err := outbound.Fetch(t.Context(), c, "http://public.test/", 1<<20)
	if err != nil || !bytes.Equal(body, bomb.Bytes()) {
		t.Errorf("got %d bytes, %v, want the %d that were sent", len(body), err, bomb.Len())
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestFetch(t *testing.T) {
	c, _ := serve(t, &outbound.Options{AllowHTTP: true}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/file":
			w.Header().Set("Content-Type", "image/png")
			io.WriteString(w, "0123456789")
		case "/chunks":
			io.WriteString(w, "01234")
			w.(http.Flusher).Flush()
			io.WriteString(w, "56789")
		case "/created":
			w.WriteHeader(http.StatusCreated)
		case "/odd":
			w.WriteHeader(799)
		case "/broken":
			w.Header().Set("Content-Length", "20")
			io.WriteString(w, "0123456789")
		default:
			http.Error(w, "secret", http.StatusNotFound)
		}
	}))
	body, contentType, err := outbound.Fetch(t.Context(), c, "http://public.test/file", 10)
	if string(body) != "0123456789" || contentType != "image/png" || err != nil {
		t.Errorf("got %q, %q, %v", body, contentType, err)
	}
	for _, tt := range []struct {
		url     string
		max     int64
		problem string
	}{
		{"http://public.test/file", 9, "answer is too large"},
		{"http://public.test/chunks", 9, "answer is too large"},
		{"http://public.test/created", 10, "answered 201 Created"},
		{"http://public.test/odd", 10, "answered status 799"},
		{"http://public.test/missing", 1 << 20, "answered 404 Not Found"},
		{"http://public.test/broken", 1 << 20, "no valid answer came"},
		{"http://public.test/#a", 10, "forbidden address: the URL has a fragment"},
		{"http://10.0.0.1/", 10, "forbidden address: the host has no public address"},
	} {
		body, _, err := outbound.Fetch(t.Context(), c, tt.url, tt.max)
		if body != nil || err == nil || outbound.Problem(err) != tt.problem {
			t.Errorf("%s: got %q, %v, want %s", tt.url, body, err, tt.problem)
		}
	}
	if body, _, err := outbound.Fetch(t.Context(), c, "http://public.test/chunks", 1<<63-1); string(body) != "0123456789" || err != nil {
		t.Errorf("without a bound: got %q, %v", body, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := outbound.Fetch(ended, c, "http://public.test/file", 10); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: got %v, want Canceled", err)
	}
}
