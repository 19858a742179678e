package storagetest

import (
	"bytes"
	"fmt"
	"strings"
	"sync"

	"github.com/pollackq/pollack/storage"
)

// sizes are those at which stores tend to change how they keep a value.
var sizes = []int{0, 1, 2, 255, 256, 4095, 4096, 4097, storage.ChunkSize - 1, storage.ChunkSize, storage.ChunkSize + 1, storage.MaxValue}

// value returns n bytes that differ from those of other numbers.
func value(n int) string {
	if v, ok := values.Load(n); ok {
		return v.(string)
	}
	var b strings.Builder
	for b.Len() < n {
		fmt.Fprintf(&b, "%d of %d;\x00\xff", b.Len(), n)
	}
	v := b.String()[:n]
	values.Store(n, v)
	return v
}

var values sync.Map // from int to string: making large ones takes long

var valueLaws = []law{
	{name: "law 14: payloads and results of every size up to MaxValue", run: func(e *env) {
		jobs := make([]*storage.Job, len(sizes))
		for i := range sizes {
			jobs[i] = e.job(q1)
		}
		e.update(func(tx tx) {
			tx.put(q1)
			for i, size := range sizes {
				j := tx.add(jobs[i], value(size))
				tx.setResult(j, value(size))
				if tx.payload(j) != value(size) || tx.result(j) != value(size) {
					fail("%d bytes: another value is read in the transaction", size)
				}
			}
		})
		e.view(func(r reader) {
			for i, size := range sizes {
				if r.payload(jobs[i]) != value(size) || r.result(jobs[i]) != value(size) {
					fail("%d bytes: another value is read", size)
				}
			}
		})
		for i := range sizes { // results grow and shrink
			e.update(func(tx tx) { tx.setResult(tx.job(jobs[i].ID), value(sizes[len(sizes)-1-i])) })
		}
		e.view(func(r reader) {
			for i := range sizes {
				if want := value(sizes[len(sizes)-1-i]); r.result(jobs[i]) != want {
					fail("a result that replaced one of %d bytes with %d is another", sizes[i], len(want))
				}
			}
		})
	}},
	{name: "law 14: nil and empty are the same value, and a value", run: func(e *env) {
		for _, empty := range [][]byte{nil, {}} {
			j := e.job(q1)
			e.update(func(tx tx) {
				tx.put(q1)
				added, err := tx.AddJob(j, empty)
				must(err)
				must(tx.SetResult(added, empty))
				must(tx.PutChunk(j.ID, 0, empty))
			})
			e.view(func(r reader) {
				chunk, err := r.Chunk(j.ID, 0)
				must(err)
				if r.payload(j) != "" || r.result(j) != "" || len(chunk) != 0 {
					fail("something was read of nothing")
				}
			})
			e.update(func(tx tx) {
				must(tx.DeletePayload(j))
				must(tx.DeleteResult(j))
				_, err := tx.Payload(j)
				want("Payload after DeletePayload", err, storage.ErrNotFound)
				_, err = tx.Result(j)
				want("Result after DeleteResult", err, storage.ErrNotFound)
			})
		}
	}},
	{name: "law 14: a value one byte too large is ErrTooLarge", run: func(e *env) {
		j := e.job(q1)
		large := make([]byte, storage.MaxValue+1)
		e.update(func(tx tx) {
			tx.put(q1)
			_, err := tx.AddJob(e.job(q1), large)
			want("AddJob", err, storage.ErrTooLarge)
			added := tx.add(j, "p")
			tx.setResult(added, "r")
			want("SetResult", tx.SetResult(added, large), storage.ErrTooLarge)
			want("PutChunk", tx.PutChunk(j.ID, 0, large[:storage.ChunkSize+1]), storage.ErrTooLarge)
		})
		e.view(func(r reader) {
			if r.payload(j) != "p" || r.result(j) != "r" || r.next(q1) != 1 {
				fail("payload %q, result %q, next position %d", r.payload(j), r.result(j), r.next(q1))
			}
		})
	}},
	{name: "law 16: faults are looked for in their order", run: func(e *env) {
		large := make([]byte, storage.MaxValue+1)
		nowhere := queue("acme", "none")
		e.update(func(tx tx) {
			tx.put(q1)
			j := tx.add(e.job(q1, key("k")), "")
			_, err := tx.AddJob(&storage.Job{Spec: &storage.Spec{ID: j.ID, Queue: nowhere}, Status: j.Status}, large)
			want("AddJob too large, of no queue, of an id in use", err, storage.ErrTooLarge)
			_, err = tx.AddJob(&storage.Job{Spec: &storage.Spec{ID: j.ID, Queue: nowhere}, Status: j.Status}, nil)
			want("AddJob of no queue, of an id in use", err, storage.ErrNotFound)
			want("SetResult too large, of no job", tx.SetResult(e.job(q1), large), storage.ErrTooLarge)
			want("PutChunk too large, out of order", tx.PutChunk(e.id(), 5, large), storage.ErrTooLarge)
		})
	}},
	{name: "law 16: deleting a payload, result or blob that is not there is nothing", run: func(e *env) {
		j := e.job(q1)
		e.update(func(tx tx) { tx.put(q1); must(tx.DeletePayload(tx.add(j, "p"))) })
		before := e.state()
		e.update(func(tx tx) {
			must(tx.DeletePayload(j))
			must(tx.DeleteResult(j))
			must(tx.DeleteBlob(e.id()))
		})
		e.same(before)
	}},
	{name: "law 10: bytes given to a store may be reused, and those it returns belong to the caller", run: func(e *env) {
		j, blob := e.job(q1), e.id()
		payload, result, chunk := []byte("payload"), []byte("result"), []byte("chunk")
		e.update(func(tx tx) {
			copy(payload, "payload")
			copy(result, "result")
			copy(chunk, "chunk")
			tx.put(q1)
			added, err := tx.AddJob(j, payload)
			must(err)
			poison(payload)
			must(tx.SetResult(added, result))
			poison(result)
			must(tx.PutChunk(blob, 0, chunk))
			poison(chunk)
			readAndPoison(tx.reader, j, blob)
			readAndPoison(tx.reader, j, blob)
		})
		var kept [][]byte
		e.view(func(r reader) {
			kept = readAndPoison(r, j, blob)
			kept = readAndPoison(r, j, blob)
		})
		e.update(func(tx tx) { tx.delete(tx.job(j.ID)); must(tx.DeleteBlob(blob)); tx.add(e.job(q1), value(5000)) })
		for _, p := range kept {
			if !bytes.Equal(p, bytes.Repeat([]byte{0xdb}, len(p))) {
				e.Errorf("bytes that belong to the caller have changed to %q", p)
			}
		}
	}},
	{name: "PutChunk: blobs are written in order, replaced and deleted as a whole", run: func(e *env) {
		one, two := idOf(700), idOf(701)
		e.blobs = []storage.ID{one, two}
		e.update(func(tx tx) {
			for n := range uint32(5) {
				tx.chunk(one, n, value(storage.ChunkSize))
				tx.chunk(two, n, fmt.Sprint("two ", n))
			}
			tx.chunk(one, 5, "the rest")
		})
		e.update(func(tx tx) { tx.chunk(two, 3, "three, replaced"); tx.chunk(two, 5, "five") })
		e.view(func(r reader) {
			for n := range uint32(5) {
				p, err := r.Chunk(one, n)
				if must(err); string(p) != value(storage.ChunkSize) {
					fail("chunk %d differs", n)
				}
			}
			for n, w := range []string{"two 0", "two 1", "two 2", "three, replaced", "two 4", "five"} {
				p, err := r.Chunk(two, uint32(n))
				if must(err); string(p) != w {
					fail("chunk %d: got %q, want %q", n, p, w)
				}
			}
			_, err := r.Chunk(two, 6)
			want("Chunk after the last", err, storage.ErrNotFound)
			_, err = r.Chunk(two, 1<<32-1)
			want("the greatest Chunk", err, storage.ErrNotFound)
		})
		e.update(func(tx tx) {
			want("PutChunk that leaves one out", tx.PutChunk(two, 7, nil), storage.ErrNotFound)
			must(tx.DeleteBlob(two))
			for n := range uint32(7) {
				_, err := tx.Chunk(two, n)
				want("Chunk after DeleteBlob", err, storage.ErrNotFound)
			}
			want("PutChunk behind what was deleted", tx.PutChunk(two, 1, nil), storage.ErrNotFound)
			tx.chunk(two, 0, "new")
		})
		e.view(func(r reader) {
			_, err := r.Chunk(two, 1)
			want("Chunk of before DeleteBlob", err, storage.ErrNotFound)
			p, err := r.Chunk(one, 5)
			if must(err); string(p) != "the rest" {
				fail("the other blob: got %q", p)
			}
		})
	}},
}

// readAndPoison reads all values, looks that they are what was written, and overwrites what it got.
func readAndPoison(r reader, j *storage.Job, blob storage.ID) [][]byte {
	payload, err := r.Payload(j)
	must(err)
	result, err := r.Result(j)
	must(err)
	chunk, err := r.Chunk(blob, 0)
	must(err)
	if string(payload) != "payload" || string(result) != "result" || string(chunk) != "chunk" {
		fail("got %q, %q, %q", payload, result, chunk)
	}
	for _, p := range [][]byte{payload, result, chunk} {
		poison(p)
	}
	return [][]byte{payload, result, chunk}
}
