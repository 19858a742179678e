package power

import (
	"bytes"
	"hash/maphash"
	"maps"
	"slices"
)

// pageSize is the size of the pieces in which contents are kept here. It is no promise of any disk: see sectors.
const pageSize = 4096

// An image is the content of a file.
type image struct {
	flat []byte // whole pages; all behind them are zeros
	size int64
	hash uint64 // of all pages
}

var hashSeed = maphash.MakeSeed()

var zeros [pageSize]byte

// hashPage returns what a page adds to the hash of its image; pages of zeros add nothing.
func hashPage(number int64, page []byte) uint64 {
	if bytes.Equal(page, zeros[:]) {
		return 0
	}
	var h maphash.Hash
	h.SetSeed(hashSeed)
	maphash.WriteComparable(&h, number)
	h.Write(page)
	return h.Sum64()
}

// page returns a page, which is not to be changed.
func (m *image) page(number int64) []byte {
	if from := number * pageSize; from < int64(len(m.flat)) {
		return m.flat[from : from+pageSize]
	}
	return zeros[:]
}

// set replaces a page.
func (m *image) set(number int64, page []byte) {
	m.hash ^= hashPage(number, m.page(number)) ^ hashPage(number, page)
	if short := (number+1)*pageSize - int64(len(m.flat)); short > 0 {
		m.flat = append(m.flat, make([]byte, short)...)
	}
	copy(m.flat[number*pageSize:], page)
}

// A layer is what lies over an image: the pages that differ from it, and the size. It is what a loss of power leaves beyond what was synced.
type layer struct {
	under *image
	pages map[int64][]byte
	size  int64
}

func newLayer(under *image, size int64) *layer {
	return &layer{under: under, pages: make(map[int64][]byte), size: size}
}

// write lays bytes over. What is beyond the size is on no disk.
func (l *layer) write(off int64, data []byte) {
	data = data[:max(0, min(int64(len(data)), l.size-off))]
	for len(data) > 0 {
		number, from := off/pageSize, int(off%pageSize)
		n := min(len(data), pageSize-from)
		page := l.pages[number]
		if page == nil {
			page = make([]byte, pageSize)
			copy(page, l.under.page(number))
			l.pages[number] = page
		}
		copy(page[from:], data[:n])
		data, off = data[n:], off+int64(n)
	}
}

// shrink forgets what a smaller size cuts off.
func (l *layer) shrink() {
	if l.size >= l.under.size {
		return
	}
	for number := l.size / pageSize; number*pageSize < int64(len(l.under.flat)); number++ {
		page := l.pages[number]
		if page == nil {
			page = slices.Clone(l.under.page(number))
		}
		clear(page[max(0, l.size-number*pageSize):])
		l.pages[number] = page
	}
}

// tidy leaves out the pages that are like those below.
func (l *layer) tidy() {
	for number, page := range l.pages {
		if bytes.Equal(page, l.under.page(number)) {
			delete(l.pages, number)
		}
	}
}

// hash is that of the whole content.
func (l *layer) hash() uint64 {
	h := l.under.hash
	for number, page := range l.pages {
		h ^= hashPage(number, l.under.page(number)) ^ hashPage(number, page)
	}
	var m maphash.Hash
	m.SetSeed(hashSeed)
	maphash.WriteComparable(&m, [2]uint64{h, uint64(l.size)})
	return m.Sum64()
}

// settle makes the layer part of the image below. It returns the pages that changed.
func (l *layer) settle() []int64 {
	l.shrink()
	l.tidy()
	for number, page := range l.pages {
		l.under.set(number, page)
	}
	l.under.size = l.size
	return slices.Collect(maps.Keys(l.pages))
}

// A disk is a folder as the model has it: what is durable, and what was asked for and may be durable or not.
type disk struct {
	files   map[*file]*onDisk
	names   map[string]*file // durable
	pending []*op            // changes of names that are not
}

// onDisk is a file.
type onDisk struct {
	durable *image
	pending []*op // writes and sizes that are not durable for certain, in their order
}

func newDisk(t *trace) *disk {
	d := &disk{files: make(map[*file]*onDisk), names: maps.Clone(t.names)}
	for _, f := range t.files {
		m := &image{size: int64(len(t.contents[f]))}
		for n := int64(0); n*pageSize < m.size; n++ {
			var page [pageSize]byte
			copy(page[:], t.contents[f][n*pageSize:])
			m.set(n, page[:])
		}
		d.files[f] = &onDisk{durable: m}
	}
	return d
}

// A change is what became durable.
type change struct {
	file  *file
	pages []int64
}

// do plays an event. It returns what became durable of a file, nil if nothing did.
func (d *disk) do(e event) *change {
	switch {
	case !e.ended && (e.kind == opWrite || e.kind == opSize):
		f := d.files[e.file]
		f.pending = append(f.pending, e.op)
	case !e.ended && (e.kind == opCreate || e.kind == opLink || e.kind == opRename || e.kind == opUnlink):
		d.pending = append(d.pending, e.op)
	case e.ended && e.kind == opSync:
		f := d.files[e.file]
		done, rest := split(f.pending, e.begin)
		if len(done) == 0 {
			return nil
		}
		l := newLayer(f.durable, sizeAfter(f.durable.size, done))
		for _, o := range done {
			if o.kind == opWrite {
				l.write(o.off, o.data)
			}
		}
		f.pending = rest
		return &change{e.file, l.settle()}
	case e.ended && e.kind == opSyncDir:
		done, rest := split(d.pending, e.begin)
		d.names, d.pending = after(d.names, done), rest
	}
	return nil
}

// split tells the ops that were over before a sync began, which it covers, from those of which nobody knows.
func split(pending []*op, begin int) (done, rest []*op) {
	for _, o := range pending {
		if o.end < begin {
			done = append(done, o)
		} else {
			rest = append(rest, o)
		}
	}
	return done, rest
}

// sizeAfter is the size of a file after some ops.
func sizeAfter(size int64, ops []*op) int64 {
	for _, o := range ops {
		if o.kind == opSize {
			size = o.size
		} else {
			size = max(size, o.off+int64(len(o.data)))
		}
	}
	return size
}

// after returns names as some changes leave them. A change of a name that is not there is none.
func after(names map[string]*file, changes []*op) map[string]*file {
	if len(changes) == 0 {
		return names
	}
	names = maps.Clone(names)
	for _, o := range changes {
		switch o.kind {
		case opCreate:
			names[o.name] = o.file
		case opLink:
			names[o.to] = o.file
		case opRename:
			if names[o.name] == o.file {
				delete(names, o.name)
				names[o.to] = o.file
			}
		case opUnlink:
			if names[o.name] == o.file {
				delete(names, o.name)
			}
		}
	}
	return names
}
