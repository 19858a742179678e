package power

import (
	"fmt"
	"hash/maphash"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
)

// A state is what a loss of power may leave of a disk.
type state struct {
	names map[string]*file
	left  map[*file]*layer // what names name
	what  string
}

// A way says how much of what was not synced is left.
type way int

const (
	nothing way = iota // exactly what was synced
	all                // everything, as after a kill
	prefix             // the first of what was done
	subset             // some of it
	torn               // some of it, and not all of that whole
	ways
)

var wayNames = [ways]string{"what was synced", "everything", "a prefix", "a subset", "torn writes"}

// sectors are the sizes of what a disk writes whole.
var sectors = []int{512, 512, 2048, 4096}

// lose returns a state in which power was lost now.
func (d *disk) lose(w way, rnd *rand.Rand) *state {
	s := &state{left: make(map[*file]*layer)}
	var what strings.Builder
	what.WriteString(wayNames[w])
	s.names = after(d.names, chooseNames(w, d.pending, rnd, &what))
	for _, name := range slices.Sorted(maps.Keys(s.names)) {
		f := s.names[name]
		if s.left[f] == nil {
			s.left[f] = d.files[f].lose(w, rnd, &what)
		}
	}
	s.what = what.String()
	return s
}

// chooseNames returns the changes of names that are left.
func chooseNames(w way, pending []*op, rnd *rand.Rand, what *strings.Builder) []*op {
	if len(pending) == 0 || w == nothing {
		return nil
	}
	var kept []*op
	switch k := rnd.IntN(4); {
	case w == all || k == 0:
		kept = pending
	case k < 3: // a file system with a journal keeps their order
		kept = pending[:rnd.IntN(len(pending)+1)]
	default:
		for _, o := range pending {
			if rnd.IntN(2) == 0 {
				kept = append(kept, o)
			}
		}
	}
	fmt.Fprintf(what, ", %d of %d changes of names", len(kept), len(pending))
	return kept
}

// lose returns what is left of a file.
func (f *onDisk) lose(w way, rnd *rand.Rand, what *strings.Builder) *layer {
	n := len(f.pending)
	if n == 0 || w == nothing {
		return newLayer(f.durable, f.durable.size)
	}
	sized := n // the size is what it was after so many of them
	if w != all {
		sized = rnd.IntN(n + 1)
	}
	first, share, sector := n, 1.0, 0
	switch w {
	case prefix:
		first = rnd.IntN(n + 1)
	case subset, torn:
		share = []float64{0.1, 0.5, 0.9}[rnd.IntN(3)]
	}
	if w == torn {
		sector = sectors[rnd.IntN(len(sectors))]
	}
	l := newLayer(f.durable, sizeAfter(f.durable.size, f.pending[:sized]))
	kept := 0
	for _, o := range f.pending[:first] {
		if o.kind != opWrite || share < 1 && rnd.Float64() >= share {
			continue
		}
		kept++
		if w == torn && rnd.IntN(2) == 0 {
			tear(l, o, sector, rnd)
		} else {
			l.write(o.off, o.data)
		}
	}
	l.shrink()
	l.tidy()
	fmt.Fprintf(what, ", %d of %d writes to a file", kept, n)
	if sector > 0 {
		fmt.Fprintf(what, " in sectors of %d", sector)
	}
	fmt.Fprintf(what, ", size %d", l.size)
	return l
}

// tear writes some sectors of a write: the first of them, the last, or any.
func tear(l *layer, o *op, sector int, rnd *rand.Rand) {
	// A write that begins in the middle of a sector is of that sector, too.
	lead := int(o.off % int64(sector))
	count := (lead + len(o.data) + sector - 1) / sector
	from, to := 0, count
	how := rnd.IntN(3)
	switch how {
	case 0:
		to = rnd.IntN(count + 1)
	case 1:
		from = rnd.IntN(count + 1)
	}
	for i := from; i < to; i++ {
		if how == 2 && rnd.IntN(2) == 0 {
			continue
		}
		a, b := max(0, i*sector-lead), min(len(o.data), (i+1)*sector-lead)
		l.write(o.off+int64(a), o.data[a:b])
	}
}

// hash is that of all that is left.
func (s *state) hash() uint64 {
	var h maphash.Hash
	h.SetSeed(hashSeed)
	for _, name := range slices.Sorted(maps.Keys(s.names)) {
		h.WriteString(name)
		maphash.WriteComparable(&h, s.left[s.names[name]].hash())
	}
	return h.Sum64()
}

// An enumeration goes through the states that power losses during a trace may leave.
type enumeration struct {
	trace *trace
	seed  uint64
	want  int // so many states, no two alike with as much told

	step  func(e event, c *change) // told of each event, once the disk has it
	check func(*disk, *state)      // a state to be checked

	alike    int                 // states that were drawn again
	seen     map[look]bool       // what was checked
	contents map[uint64]struct{} // the different ones among them
}

// A look is at what is left of a disk when so much had been told: the more was told, the more is to be there.
type look struct {
	left uint64
	told int
}

// passes bounds how often the trace is gone through where the states drawn are too often alike.
const passes = 10

// run calls step and check until there were enough states. It draws the same ones each time. begin is told of the disk of each pass.
func (e *enumeration) run(begin func(*disk), over func() bool) {
	e.seen, e.contents = make(map[look]bool), make(map[uint64]struct{})
	for pass := range passes {
		if len(e.seen) >= e.want || over() {
			return
		}
		d := newDisk(e.trace)
		begin(d)
		e.pass(d, pass, over)
	}
}

// weights returns how much each moment of the trace is worth looking at: the more is not synced, the more states there are. Moments at which
// names are not durable are few, and count for more.
func (e *enumeration) weights(d *disk) (weights []float64, sum float64) {
	for _, ev := range e.trace.events {
		d.do(ev)
		w := 1.0
		for _, f := range d.names {
			w += float64(min(len(d.files[f].pending), 24))
		}
		if len(d.pending) > 0 {
			w += 60
		}
		weights = append(weights, w)
		sum += w
	}
	return weights, sum
}

// pass goes through the trace once.
func (e *enumeration) pass(d *disk, pass int, over func() bool) {
	rnd := rand.New(rand.NewPCG(e.seed, uint64(pass)))
	weights, sum := e.weights(newDisk(e.trace))
	per := float64(e.want-len(e.seen)+10*pass) / sum // later passes aim at more, or would draw the last ones where the trace ends
	due, told := 0.0, 0
	for i, ev := range e.trace.events {
		c := d.do(ev)
		if ev.kind == opLedger && !ev.ended && ev.data[0] == 'e' {
			told++
		}
		e.step(ev, c)
		due += weights[i] * per
		most := 4 // draws in a row that bring nothing new, before the rest is left to later moments
		if weights[i] == 1 {
			most = 1 // all is durable: there is one state
		}
		for again := 0; due >= 1 && again < most && len(e.seen) < e.want && !over(); {
			s := d.lose(drawWay(rnd), rnd)
			l := look{s.hash(), told}
			if e.seen[l] {
				e.alike++
				again++
				continue
			}
			again = 0
			e.seen[l], e.contents[l.left] = true, struct{}{}
			due--
			s.what = fmt.Sprintf("after line %d of the trace: %s", ev.at(), s.what)
			e.check(d, s)
		}
	}
}

// at is the line of the trace at which the event happened.
func (e event) at() int {
	if e.ended {
		return e.end
	}
	return e.begin
}

func drawWay(rnd *rand.Rand) way {
	switch k := rnd.IntN(20); {
	case k < 3:
		return nothing
	case k < 5:
		return all
	case k < 8:
		return prefix
	case k < 12:
		return subset
	}
	return torn
}
