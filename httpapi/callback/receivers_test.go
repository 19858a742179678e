package callback_test

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pollackq/pollack/httpapi/callback"
	"github.com/pollackq/pollack/jobqueue"
)

// Whatever a receiver does, an attempt is over in time, and the job tells nothing of it.
func TestBadReceiversAreBounded(t *testing.T) {
	drip := func(text string) func(net.Conn) {
		return func(c net.Conn) {
			for err := error(nil); err == nil; time.Sleep(time.Second) {
				_, err = io.WriteString(c, text)
			}
		}
	}
	var wrote atomic.Int64
	pour := func(c net.Conn) {
		for {
			n, err := io.WriteString(c, strings.Repeat("x", 4096))
			if wrote.Add(int64(n)); err != nil {
				return
			}
		}
	}
	hang := func(c net.Conn) { io.Copy(io.Discard, c) }
	const ok = "HTTP/1.1 200 OK\r\n"
	for _, tt := range []struct {
		name    string
		answer  http.HandlerFunc
		problem string // "" for success
		took    time.Duration
	}{
		{"no answer", hijacks("", hang), "no answer in time", 15 * time.Second},
		{"a header that drips", hijacks(ok, drip("A: b\r\n")), "no answer in time", 15 * time.Second},
		{"a header without end", hijacks(ok+"A: ", pour), "no valid answer came", 0},
		{"an end without answer", hijacks("", nil), "no valid answer came", 0},
		{"no HTTP", hijacks("SSH-2.0-secret\r\n", nil), "no valid answer came", 0},
		{"another protocol, without end",
			hijacks("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", hang),
			"answered 101 Switching Protocols", 0},
		{"a body that drips", hijacks(ok+"Content-Length: 100000\r\n\r\n", drip("x")), "", 15 * time.Second},
		{"a body without end", hijacks(ok+"\r\n", pour), "", 0},
		{"a body that is cut", hijacks(ok+"Content-Length: 100000\r\n\r\nxx", nil), "", 0},
		{"a failure with a body without end", hijacks("HTTP/1.1 500 secret\r\n\r\n", pour), "answered 500 Internal Server Error", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inLab(t, func(l *lab) {
				wrote.Store(0)
				l.answers(tt.answer)
				l.client.Transport.(*http.Transport).MaxResponseHeaderBytes = 64 << 10
				l.send(callback.Options{Delays: []time.Duration{}})
				began := time.Now()
				state := "succeeded"
				if tt.problem != "" {
					state = callback.CodeFailed
				}
				job := l.ended(l.add(jobqueue.NewJob{}).ID, state)
				if job.Failure != nil && job.Failure.Message != tt.problem {
					l.Errorf("got %q, want %q", job.Failure.Message, tt.problem)
				}
				if took := time.Since(began); took != tt.took {
					l.Errorf("got it after %v, want %v", took, tt.took)
				}
				l.client.CloseIdleConnections()
				if n := wrote.Load(); n > 256<<10 {
					l.Errorf("got %d bytes taken", n)
				}
			})
		})
	}
}

func TestAnAttemptHasItsOwnTimeout(t *testing.T) {
	inLab(t, func(l *lab) {
		l.answers(hijacks("", func(c net.Conn) { io.Copy(io.Discard, c) }))
		l.send(callback.Options{Delays: []time.Duration{}, Timeout: time.Minute})
		began := time.Now()
		l.ended(l.add(jobqueue.NewJob{}).ID, callback.CodeFailed)
		if took := time.Since(began); took != time.Minute {
			l.Errorf("got %v, want 1m", took)
		}
	})
}

// The operator's log says what happened, without secrets and without the query of a URL.
func TestFailuresAreLogged(t *testing.T) {
	inLab(t, func(l *lab) {
		var out syncBuffer
		l.answers(hijacks("HTTP/1.1 200 OK\r\nodd header\r\n\r\n", nil))
		l.send(callback.Options{Delays: []time.Duration{time.Minute}, Logger: slog.New(slog.NewTextHandler(&out, nil))})
		job := l.ended(l.add(jobqueue.NewJob{}).ID, callback.CodeFailed)
		text := out.String()
		for _, want := range []string{
			"job=" + job.ID.String(), "attempt=1", "attempt=2", "host=receiver.test", "odd header", "tried again", "failed for good", "code=callback_failed",
		} {
			if !strings.Contains(text, want) {
				l.Errorf("got no %q in\n%s", want, text)
			}
		}
		for _, secret := range []string{string(l.secret), "who=acme"} {
			if strings.Contains(text, secret) {
				l.Errorf("got %q in\n%s", secret, text)
			}
		}
	})
}

type syncBuffer struct {
	mu sync.Mutex // guards b
	b  strings.Builder
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
