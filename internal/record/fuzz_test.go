package record_test

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"testing"

	"github.com/pollackq/pollack/internal/record"
	"github.com/pollackq/pollack/storage"
)

// FuzzFields looks for bytes that panic, or that decode to a value which comes back otherwise when it is encoded and decoded again, or whose
// encoding with its end missing, or with something behind it, is taken (I2, I15).
func FuzzFields(f *testing.F) {
	for kind, c := range codecs {
		for _, v := range c.values() {
			p := c.encode(nil, v)
			f.Add(byte(kind), p)
			f.Add(byte(kind), p[:len(p)/2])
		}
	}
	f.Fuzz(func(t *testing.T, kind byte, p []byte) {
		c := codecs[int(kind)%len(codecs)]
		before := bytes.Clone(p)
		first, err := c.decode(p)
		if !bytes.Equal(p, before) {
			t.Fatalf("%s: %x was changed to %x", c.name, before, p)
		}
		if err != nil {
			if !errors.Is(err, record.ErrMalformed) {
				t.Fatalf("%s: %x: got %v, want %v", c.name, p, err, record.ErrMalformed)
			}
			return
		}
		encoded := c.encode(nil, first)
		if len(encoded) > len(p) {
			t.Fatalf("%s: %x was encoded as %x, which is longer", c.name, p, encoded)
		}
		second, err := c.decode(encoded)
		if err != nil || !same(first, second) {
			t.Fatalf("%s: %x: got %+v, and when it was encoded and decoded again %+v, %v", c.name, p, first, second, err)
		}
		if last := c.encode(nil, second); len(last) != len(encoded) { // tags stand in any order
			t.Fatalf("%s: %x: was encoded as %x and then as %x", c.name, p, encoded, last)
		}
		if len(p) > 4<<10 {
			return // what follows takes time with the square of the length
		}
		for n := range p {
			if got, err := c.decode(p[:n:n]); err == nil {
				t.Fatalf("%s: %x: got %+v from the first %d bytes of it", c.name, p, got, n)
			}
		}
		if got, err := c.decode(append(before, 0)); err == nil {
			t.Fatalf("%s: %x: got %+v with a byte behind it", c.name, p, got)
		}
	})
}

// same reports whether two values are equal; a progress that is no number equals itself.
func same(a, b any) bool {
	x, ok := a.(*storage.Status)
	if !ok || x.Progress == nil {
		return reflect.DeepEqual(a, b)
	}
	y := *b.(*storage.Status)
	if y.Progress == nil || math.Float64bits(*x.Progress) != math.Float64bits(*y.Progress) {
		return false
	}
	y.Progress = x.Progress
	return *x == y
}
