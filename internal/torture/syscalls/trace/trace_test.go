package trace_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/pollackq/pollack/internal/torture/syscalls/trace"
)

const childVariable = "TRACE_TEST_FILE"

// TestMain is the traced process too: it writes ten bytes three times and syncs.
func TestMain(m *testing.M) {
	path := os.Getenv(childVariable)
	if path == "" {
		os.Exit(m.Run())
	}
	if err := trace.Watch(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(9)
	}
	f, err := os.Create(path)
	if err != nil {
		os.Exit(1)
	}
	for i := range int64(3) {
		if _, err := syscall.Pwrite(int(f.Fd()), bytes.Repeat([]byte{byte('a' + i)}, 10), 10*i); err != nil {
			os.Exit(2)
		}
	}
	if f.Sync() != nil {
		os.Exit(3)
	}
	os.Exit(0)
}

func TestACallIsLetBeKilledFailedHalvedAndDelayed(t *testing.T) {
	if !trace.Supported {
		t.Skip("processes are not traced here")
	}
	second := func(kind string, nth int, d trace.Decision) func(*trace.Call) trace.Decision {
		return func(c *trace.Call) trace.Decision {
			if c.Kind == kind && c.Nth == nth {
				return d
			}
			return trace.Decision{}
		}
	}
	const all = "aaaaaaaaaabbbbbbbbbbcccccccccc"
	for _, c := range []struct {
		name   string
		decide func(*trace.Call) trace.Decision
		status int // -1 if killed
		left   string
	}{
		{"nothing is done", second("", 0, trace.Decision{}), 0, all},
		{"killed before the second write", second("pwrite64", 2, trace.Decision{Kill: true}), -1, all[:10]},
		{"killed before the sync", second("fsync", 1, trace.Decision{Kill: true}), -1, all},
		{"killed before the file is there", second("openat", 1, trace.Decision{Kill: true}), -1, "none"},
		{"the third write fails", second("pwrite64", 3, trace.Decision{Error: syscall.EIO}), 2, all[:20]},
		{"the sync fails", second("fsync", 1, trace.Decision{Error: syscall.ENOSPC}), 3, all},
		{"the third write is short", second("pwrite64", 3, trace.Decision{Short: true}), 0, all[:25]},
		{"the first write is slow", second("pwrite64", 1, trace.Decision{Delay: time.Millisecond}), 0, all},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, stop := context.WithTimeout(t.Context(), time.Minute)
			defer stop()
			path := filepath.Join(t.TempDir(), "file")
			calls := 0
			status, err := trace.Run(ctx, os.Args[0], nil, append(os.Environ(), childVariable+"="+path), []*os.File{nil, nil, os.Stderr},
				func(call *trace.Call) trace.Decision {
					calls++
					return c.decide(call)
				})
			if err != nil {
				t.Fatal(err)
			}
			got := status.ExitStatus()
			if status.Signaled() && status.Signal() == syscall.SIGKILL {
				got = -1
			}
			if got != c.status {
				t.Errorf("got status %d (%v), want %d", got, status, c.status)
			}
			left, err := os.ReadFile(path)
			if err != nil {
				left = []byte("none")
			}
			if string(left) != c.left {
				t.Errorf("the file has %q, want %q", left, c.left)
			}
			if calls == 0 {
				t.Error("no call was seen")
			}
		})
	}
}
