package storagetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/pollackq/pollack/storage"
	"github.com/pollackq/pollack/storage/memstore"
)

// interval is after how many steps everything is compared. At the end it is in any case.
const interval = 64

// Compare runs the same random history of transactions on two stores, a part of them failing or panicking at their end, and compares
// all that they answer, and from time to time all that they hold. The seed determines the history; a failure names it with the step.
// The stores begin with the same contents, such as none, and stay open. One of them, the model, is usually a memstore. Every store's
// orders, keys and counts are also compared with its own records.
func Compare(t testing.TB, model, store storage.Store, seed uint64, steps int) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 0))
	n := 0
	h := newHistory(seed, r.IntN, func() bool { n++; return n > steps })
	compare(t, model, store, h, fmt.Sprintf("seed %d", seed))
}

// Fuzz runs histories that are made of the fuzzer's bytes on a memstore and on the stores that open returns. Unless it is run with
// -fuzzminimizetime=10x, go test spends most of its time on making inputs shorter.
func Fuzz(f *testing.F, open func(t testing.TB) storage.Store) {
	for seed := range uint64(8) {
		p := make([]byte, 200<<(seed%4))
		r := rand.New(rand.NewPCG(seed, 2))
		for i := range p {
			p[i] = byte(r.Uint32())
		}
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, choices []byte) {
		store := open(t)
		model := memstore.New(nil)
		h := newHistory(0, func(n int) int {
			c := 0
			for k := n; k > 1 && len(choices) > 0; k >>= 8 {
				c = c<<8 | int(choices[0])
				choices = choices[1:]
			}
			return c % n
		}, func() bool { return len(choices) == 0 })
		compare(t, model, store, h, "these bytes")
		if err := store.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
}

// compare runs a history on both stores until it is over.
func compare(t testing.TB, model, store storage.Store, h *history, which string) {
	t.Helper()
	var kept unchanged // what the store returned since the last interval
	at := func(n int) {
		t.Helper()
		want, err := everything(model, h.blobs)
		if err != nil {
			t.Fatalf("%s, after step %d: the model: %v", which, n, err)
		}
		got, err := everything(store, h.blobs)
		if err != nil {
			t.Fatalf("%s, after step %d: the store: %v", which, n, err)
		}
		if d := want.diff(got); d != "" {
			t.Fatalf("%s, after step %d: the store differs from the model:\n%s", which, n, d)
		}
		if was, is := kept.check(); was != nil {
			t.Fatalf("%s, step %d or before: a job that the store returned has changed from\n%s\nto\n%s", which, n, show(was), show(is))
		}
		kept = unchanged{}
	}
	n := 0
	for ; !h.over(); n++ {
		s := h.step()
		want, got := s.play(model, h), s.play(store, h)
		if !reflect.DeepEqual(want, got) {
			t.Fatalf("%s, step %d: %s", which, n, s.differs(want, got))
		}
		if n%8 == 0 {
			for _, o := range got.Ops {
				if jobs, ok := o.Value.([]*storage.Job); ok {
					kept.add(jobs...)
				}
			}
		}
		if n%interval == interval-1 {
			at(n)
		}
	}
	at(n)
	if c, ok := storage.As[storage.Checker](store); ok {
		if err := c.Check(context.Background()); err != nil {
			t.Fatalf("%s, after step %d: Check: %v", which, n, err)
		}
	}
}

// everything reads all that a store holds in a View.
func everything(s storage.Store, blobs []storage.ID) (c *contents, err error) {
	err = s.View(context.Background(), storage.Reads{}, func(r storage.Reader) error {
		c, err = readAll(r, blobs)
		return err
	})
	return c, err
}

// differs says what differs between the model's and the store's outcomes of a step.
func (s step) differs(want, got ending) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", s.kind)
	if want.Err != got.Err || want.Panicked != got.Panicked {
		fmt.Fprintf(&b, "it ended with error %q, panic %v; the model with %q, %v\n", got.Err, got.Panicked, want.Err, want.Panicked)
	}
	for i, o := range s.ops {
		if i >= len(want.Ops) || i >= len(got.Ops) {
			fmt.Fprintf(&b, "%d operations were run; by the model %d\n", len(got.Ops), len(want.Ops))
			break
		}
		w, g := want.Ops[i], got.Ops[i]
		if reflect.DeepEqual(w, g) {
			fmt.Fprintf(&b, "   %v: same\n", o)
			continue
		}
		fmt.Fprintf(&b, "   %v: error %q, the model's %q\n   store: %s\n   model: %s\n", o, g.Err, w.Err, details(g.Value), details(w.Value))
		break
	}
	return b.String()
}

// details formats a value in full, at some length.
func details(v any) string {
	jobs, ok := v.([]*storage.Job)
	if !ok {
		if s, ok := v.(string); ok {
			v = []byte(s)
		}
		return show(v)
	}
	var b strings.Builder
	for _, j := range jobs {
		fmt.Fprintf(&b, "\n      %s", show(j))
	}
	return b.String()
}
