package boltstore

import "slices"

// A spot is where a job stands in an index: three numbers that sort.
type spot [3]uint64

func (a spot) less(b spot) bool {
	if a[0] != b[0] {
		return a[0] < b[0]
	}
	if a[1] != b[1] {
		return a[1] < b[1]
	}
	return a[2] < b[2]
}

// chunkMax bounds the chunks of an index.
const chunkMax = 64

// An index is a sorted set of jobs in memory, kept in chunks. A copy of the struct is a snapshot at no cost: whoever changes an index
// first has to own it (see edit), and then copies what the snapshot shares with it, chunk by chunk.
type index struct {
	chunks []chunk // sorted, none empty, the last of each before the first of the next
	len    int
	epoch  uint64 // chunks of another epoch are shared
	outer  uint64 // the epoch in which the slice of chunks was made
}

type chunk struct {
	epoch uint64
	items []item
}

type item struct {
	at  spot
	job *job
}

// edit makes an index that may be changed out of a snapshot, which stays as it is.
func (x *index) edit() { x.epoch++ }

// seek finds the first item that is not before at: its chunk and place in it; the chunk is one past the last if there is none.
func (x *index) seek(at spot) (c, i int) {
	n := len(x.chunks)
	if n == 0 {
		return 0, 0
	}
	if last := x.chunks[n-1].items; last[len(last)-1].at.less(at) {
		return n, 0
	}
	for high := n - 1; c < high; { // the first chunk whose last item is not before at
		mid := int(uint(c+high) / 2)
		if items := x.chunks[mid].items; items[len(items)-1].at.less(at) {
			c = mid + 1
		} else {
			high = mid
		}
	}
	items := x.chunks[c].items
	for high := len(items); i < high; {
		mid := int(uint(i+high) / 2)
		if items[mid].at.less(at) {
			i = mid + 1
		} else {
			high = mid
		}
	}
	return c, i
}

// get returns the job that stands there, nil if there is none.
func (x *index) get(at spot) *job {
	c, i := x.seek(at)
	if c == len(x.chunks) || x.chunks[c].items[i].at != at {
		return nil
	}
	return x.chunks[c].items[i].job
}

// set has a job stand there, in place of whoever does.
func (x *index) set(at spot, j *job) {
	c, i := x.seek(at)
	if c < len(x.chunks) && x.chunks[c].items[i].at == at {
		x.own(c).items[i].job = j
		return
	}
	x.len++
	if c == len(x.chunks) {
		if c == 0 || len(x.chunks[c-1].items) == chunkMax {
			x.ownOuter()
			x.chunks = append(x.chunks, chunk{epoch: x.epoch, items: make([]item, 0, chunkMax)})
			c++
		}
		c--
		i = len(x.chunks[c].items)
	}
	k := x.own(c)
	if len(k.items) == chunkMax {
		high := append(make([]item, 0, chunkMax), k.items[chunkMax/2:]...)
		clear(k.items[chunkMax/2:])
		k.items = k.items[:chunkMax/2]
		x.chunks = slices.Insert(x.chunks, c+1, chunk{epoch: x.epoch, items: high})
		if i > chunkMax/2 {
			c, i = c+1, i-chunkMax/2
		}
		k = &x.chunks[c]
	}
	k.items = slices.Insert(k.items, i, item{at, j})
}

// remove removes whoever stands there, if anybody does.
func (x *index) remove(at spot) {
	c, i := x.seek(at)
	if c == len(x.chunks) || x.chunks[c].items[i].at != at {
		return
	}
	x.len--
	k := x.own(c)
	k.items = slices.Delete(k.items, i, i+1)
	switch {
	case len(k.items) == 0:
		x.chunks = slices.Delete(x.chunks, c, c+1)
	case len(k.items) < chunkMax/4 && c+1 < len(x.chunks) && len(k.items)+len(x.chunks[c+1].items) <= chunkMax/2:
		k.items = append(k.items, x.chunks[c+1].items...)
		x.chunks = slices.Delete(x.chunks, c+1, c+2)
	}
}

// own makes a chunk this index's alone.
func (x *index) own(c int) *chunk {
	x.ownOuter()
	k := &x.chunks[c]
	if k.epoch != x.epoch {
		k.epoch, k.items = x.epoch, append(make([]item, 0, chunkMax), k.items...)
	}
	return k
}

func (x *index) ownOuter() {
	if x.outer != x.epoch {
		x.outer, x.chunks = x.epoch, append(make([]chunk, 0, len(x.chunks)+4), x.chunks...)
	}
}

// from returns a walk that begins with the first item that is not before at.
func (x *index) from(at spot) walk {
	c, i := x.seek(at)
	return walk{x: x, c: c, i: i}
}

// A walk goes through an index, which must not change meanwhile.
type walk struct {
	x    *index
	c, i int
}

// item returns the item that the walk is at, nil at the end.
func (w *walk) item() *item {
	if w.c == len(w.x.chunks) {
		return nil
	}
	return &w.x.chunks[w.c].items[w.i]
}

// step goes to the next item.
func (w *walk) step() {
	if w.i++; w.i == len(w.x.chunks[w.c].items) {
		w.c, w.i = w.c+1, 0
	}
}
