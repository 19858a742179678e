package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/boltstore"
)

const largeSize = 64 << 20

// large sends a payload of 64 MiB in and out over HTTP and prints the most memory that took and how much was written per byte.
func large() error {
	dir, err := os.MkdirTemp("", "pollack-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	store, err := boltstore.Open(filepath.Join(dir, "large.db"), nil)
	if err != nil {
		return err
	}
	defer store.Close()
	broker, err := jobqueue.New(store, nil)
	if err != nil {
		return err
	}
	defer broker.Shutdown(context.Background())
	url, stop, err := serve(broker)
	if err != nil {
		return err
	}
	defer stop()

	peak, done := watchMemory()
	written := writtenBytes()
	begun := time.Now()
	id, err := submit(url)
	if err != nil {
		return err
	}
	in := time.Since(begun)
	perByte := float64(writtenBytes()-written) / largeSize
	begun = time.Now()
	if err := fetch(url, id, "", 0, largeSize); err != nil {
		return err
	}
	out := time.Since(begun)
	if err := fetch(url, id, fmt.Sprintf("bytes=%d-%d", largeSize/2+5, largeSize/2+5+99_999), largeSize/2+5, 100_000); err != nil {
		return err
	}
	close(done)
	fmt.Printf("64 MiB in within %v and out within %v, a range of 100,000 bytes read\n", in.Round(time.Millisecond), out.Round(time.Millisecond))
	fmt.Printf("%.3f bytes written to the disk per byte of payload; at most %.1f MiB of heap in use, client included\n", perByte, float64(peak.Load())/(1<<20))
	if perByte > 1.3 {
		return errors.New("more than 1.3 bytes were written per byte")
	}
	return nil
}

func submit(url string) (string, error) {
	resp, err := http.Post(url+"/v1/queues/bench/jobs", "application/octet-stream", io.LimitReader(&pattern{}, largeSize))
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		return "", errors.New(resp.Status)
	}
	var job struct{ ID string }
	err = json.NewDecoder(resp.Body).Decode(&job)
	return job.ID, err
}

// fetch reads a payload, or a range of it, and compares every byte.
func fetch(url, id, byteRange string, from, length int64) error {
	req, err := http.NewRequest("GET", url+"/v1/jobs/"+id+"/payload", nil)
	if err != nil {
		return err
	}
	if byteRange != "" {
		req.Header.Set("Range", byteRange)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	buf := make([]byte, 64<<10)
	at := from
	for {
		n, err := resp.Body.Read(buf)
		for _, b := range buf[:n] {
			if b != byteAt(at) {
				return fmt.Errorf("byte %d is wrong", at)
			}
			at++
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	if at-from != length {
		return fmt.Errorf("got %d bytes, want %d", at-from, length)
	}
	return nil
}

// watchMemory looks at the heap every few milliseconds until done is closed.
func watchMemory() (peak *atomic.Uint64, done chan struct{}) {
	peak, done = new(atomic.Uint64), make(chan struct{})
	go func() {
		ticker := time.NewTicker(5 * time.Millisecond)
		defer ticker.Stop()
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak.Store(max(peak.Load(), m.HeapInuse))
			select {
			case <-ticker.C:
			case <-done:
				return
			}
		}
	}()
	return peak, done
}

// writtenBytes returns what this process has had written to disks, as Linux counts it; 0 elsewhere.
func writtenBytes() int64 {
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		var n int64
		if _, err := fmt.Sscanf(line, "write_bytes: %d", &n); err == nil {
			return n
		}
	}
	return 0
}

// pattern is an endless reader of bytes that can be told from their place.
type pattern struct{ at int64 }

func (p *pattern) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byteAt(p.at + int64(i))
	}
	p.at += int64(len(b))
	return len(b), nil
}

func byteAt(n int64) byte { return byte(n>>16) ^ byte(n*31) }
