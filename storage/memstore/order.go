package memstore

import (
	"iter"
	"slices"
)

// chunkMax bounds the chunks of an order: large enough that a million elements have few chunks, small enough that moving the elements
// of one is cheap.
const chunkMax = 128

// An order is a sorted set, kept in chunks. Inserting at the end and removing the first, which is what queues do, cost the same however
// many there are; anywhere else it costs two binary searches and moves a chunk's elements.
type order[K any] struct {
	less   func(a, b K) bool
	chunks [][]K // sorted, none empty, the last of each before the first of the next
	spare  []K   // an empty chunk for next time
	len    int
}

// insert adds k, which is not there yet.
func (o *order[K]) insert(k K) {
	o.len++
	if n := len(o.chunks); n == 0 || o.less(o.chunks[n-1][len(o.chunks[n-1])-1], k) {
		if n == 0 || len(o.chunks[n-1]) == chunkMax {
			o.chunks = append(o.chunks, o.newChunk())
			n++
		}
		o.chunks[n-1] = append(o.chunks[n-1], k)
		return
	}
	c, i := o.seek(k)
	if len(o.chunks[c]) == chunkMax {
		low, high := o.chunks[c][:chunkMax/2], o.chunks[c][chunkMax/2:]
		o.chunks = slices.Insert(o.chunks, c+1, append(o.newChunk(), high...))
		clear(high)
		o.chunks[c] = low
		if i > len(low) {
			c, i = c+1, i-len(low)
		}
	}
	o.chunks[c] = slices.Insert(o.chunks[c], i, k)
}

// remove removes what stands where k does, and reports whether there was anything.
func (o *order[K]) remove(k K) bool {
	c, i := o.seek(k)
	if c == len(o.chunks) || o.less(k, o.chunks[c][i]) {
		return false
	}
	o.len--
	chunk := slices.Delete(o.chunks[c], i, i+1)
	o.chunks[c] = chunk
	switch {
	case len(chunk) == 0:
		o.dropChunk(c)
	case len(chunk) < chunkMax/4 && c+1 < len(o.chunks) && len(chunk)+len(o.chunks[c+1]) <= chunkMax/2:
		o.chunks[c] = append(chunk, o.chunks[c+1]...)
		clear(o.chunks[c+1])
		o.dropChunk(c + 1)
	}
	return true
}

// all returns the elements in order.
func (o *order[K]) all() iter.Seq[*K] {
	return func(yield func(*K) bool) { o.walk(0, 0, yield) }
}

// from returns the elements from where k stands, or would stand.
func (o *order[K]) from(k K) iter.Seq[*K] {
	return func(yield func(*K) bool) {
		c, i := o.seek(k)
		o.walk(c, i, yield)
	}
}

// first returns the first element, nil if there is none.
func (o *order[K]) first() *K {
	if len(o.chunks) == 0 {
		return nil
	}
	return &o.chunks[0][0]
}

// next returns the first element from where k stands, or would stand; nil if there is none.
func (o *order[K]) next(k K) *K {
	c, i := o.seek(k)
	if c == len(o.chunks) {
		return nil
	}
	return &o.chunks[c][i]
}

// find returns the element that stands where k does, nil if there is none.
func (o *order[K]) find(k K) *K {
	c, i := o.seek(k)
	if c == len(o.chunks) || o.less(k, o.chunks[c][i]) {
		return nil
	}
	return &o.chunks[c][i]
}

// walk yields the elements from the i-th of chunk c on.
func (o *order[K]) walk(c, i int, yield func(*K) bool) {
	for ; c < len(o.chunks); c, i = c+1, 0 {
		for ; i < len(o.chunks[c]); i++ {
			if !yield(&o.chunks[c][i]) {
				return
			}
		}
	}
}

// seek finds the first element that is not less than k: the chunk and the place in it; the chunk is one past the last if there is none.
func (o *order[K]) seek(k K) (c, i int) {
	if len(o.chunks) == 0 || !o.less(o.chunks[0][0], k) {
		return 0, 0
	}
	high := len(o.chunks)
	for c < high { // the first chunk whose last element is not less
		mid := int(uint(c+high) / 2)
		if o.less(o.chunks[mid][len(o.chunks[mid])-1], k) {
			c = mid + 1
		} else {
			high = mid
		}
	}
	if c == len(o.chunks) {
		return c, 0
	}
	chunk := o.chunks[c]
	for high = len(chunk); i < high; {
		mid := int(uint(i+high) / 2)
		if o.less(chunk[mid], k) {
			i = mid + 1
		} else {
			high = mid
		}
	}
	return c, i
}

// newChunk returns an empty chunk. The first of an order grows as needed, so that small queues stay small.
func (o *order[K]) newChunk() []K {
	if c := o.spare; c != nil {
		o.spare = nil
		return c
	}
	if len(o.chunks) == 0 {
		return nil
	}
	return make([]K, 0, chunkMax)
}

// dropChunk removes chunk c, whose elements have been cleared. It moves the shorter side: queues are emptied from the front.
func (o *order[K]) dropChunk(c int) {
	o.spare = o.chunks[c][:0]
	if c > len(o.chunks)/2 || len(o.chunks) == 1 {
		o.chunks = slices.Delete(o.chunks, c, c+1)
		return
	}
	copy(o.chunks[1:], o.chunks[:c])
	o.chunks[0] = nil
	o.chunks = o.chunks[1:]
}
