package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/pollackq/pollack/jobqueue"
	"github.com/pollackq/pollack/storage/boltstore"
)

func init() { children["large"] = func([]string) error { return answer(measureLarge) } }

const mebibyte = 1 << 20

// large shows what large payloads cost a durable store.
func large(r *run) (*table, error) {
	stream, single := r.size(64, 4), r.size(64, 4)
	t := newTable("Large payloads", "Payloads on boltstore by one caller, every byte of them compared with what was sent. Bytes written are those that Linux had the process write to the "+
		"disk; where it does not count them (tmpfs, other systems) those of the pages that the store wrote. Over HTTP the client is in the same process.", "written per byte", "in, MB/s", "out, MB/s", "most heap, MB")
	kinds := []struct {
		kind string
		row  *row
		size int
	}{
		{"single", t.row(fmt.Sprintf("%d payloads of 1 MiB: Enqueue, Receive, Payload", single), inProcess, "all", "see above"), single},
		{"stream", t.row(fmt.Sprintf("one payload of %d MiB: POST, GET, a range of it", stream), overHTTP, "all", "see above"), stream},
	}
	for _, k := range kinds {
		for _, column := range t.columns {
			k.row.cell(column)
		}
		t.step(k.row.name, func(ctx context.Context) error {
			dir, remove, err := r.temp()
			if err != nil {
				return err
			}
			defer remove()
			a, err := measureIn[largeAnswer](ctx, "large", largeQuestion{Kind: k.kind, Dir: dir, Size: int64(k.size) * mebibyte})
			if err != nil {
				return err
			}
			size := float64(k.size) * mebibyte
			k.row.cell("written per byte").add(float64(a.Written) / size)
			k.row.cell("in, MB/s").add(size / 1e6 / a.In.Seconds())
			k.row.cell("out, MB/s").add(size / 1e6 / a.Out.Seconds())
			k.row.cell("most heap, MB").add(float64(a.Heap) / 1e6)
			return nil
		})
		t.ask("bytes written per byte, "+k.row.name, atMost(1.2), k.row.cell("written per byte").value)
	}
	return t, nil
}

type largeQuestion struct {
	Kind, Dir string
	Size      int64
}

type largeAnswer struct {
	Written int64
	In, Out time.Duration
	Heap    uint64
}

func measureLarge(q largeQuestion) (a largeAnswer, err error) {
	store, err := boltstore.Open(filepath.Join(q.Dir, "large.db"), nil)
	if err != nil {
		return a, err
	}
	p, err := newPollack(store, defaultRetention, func() {})
	if err != nil {
		return a, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	p.bolt = store
	peak, done := watchMemory()
	if q.Kind == "single" {
		a, err = single(p, q.Size)
	} else {
		a, err = stream(p, q.Size)
	}
	close(done)
	a.Heap = peak.Load()
	return a, err
}

// written is how much has been written so far, as Linux and the store count it.
type written struct{ disk, pages int64 }

func (p *pollack) written() written {
	return written{procIO("write_bytes"), p.bolt.Stats().Written}
}

func (w written) since(before written) int64 { return max(w.disk-before.disk, w.pages-before.pages) }

// single enqueues payloads of 1 MiB, and then receives them.
func single(p *pollack, size int64) (a largeAnswer, err error) {
	ctx := context.Background()
	payload, got := make([]byte, mebibyte), &pattern{}
	sent := &pattern{}
	written, begun := p.written(), time.Now()
	for sent.at < size {
		sent.Read(payload)
		if _, err := p.queue.Enqueue(ctx, jobqueue.NewJob{Payload: payload}); err != nil {
			return a, err
		}
	}
	a.In, a.Written = time.Since(begun), p.written().since(written)
	begun = time.Now()
	for got.at < size {
		d, err := p.queue.TryReceive(ctx, nil)
		if err != nil {
			return a, err
		}
		got.Read(payload)
		if back, err := d.Payload(ctx); err != nil || !bytes.Equal(back, payload) {
			return a, fmt.Errorf("payload %d came back as another, %v", d.Position, err)
		}
		if err := d.Ack(ctx); err != nil {
			return a, err
		}
	}
	a.Out = time.Since(begun)
	return a, nil
}

// stream sends one payload in and out over HTTP.
func stream(p *pollack, size int64) (a largeAnswer, err error) {
	url, stop, err := serve(p.broker)
	if err != nil {
		return a, err
	}
	defer stop()
	written, begun := p.written(), time.Now()
	id, err := submit(url, size)
	if err != nil {
		return a, err
	}
	a.In, a.Written = time.Since(begun), p.written().since(written)
	begun = time.Now()
	if err := fetch(url, id, "", 0, size); err != nil {
		return a, err
	}
	a.Out = time.Since(begun)
	const part = 100_000
	from := size/2 + 5
	return a, fetch(url, id, fmt.Sprintf("bytes=%d-%d", from, from+part-1), from, part)
}

func submit(url string, size int64) (string, error) {
	resp, err := http.Post(url+"/v1/queues/bench/jobs", "application/octet-stream", io.LimitReader(&pattern{}, size))
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
