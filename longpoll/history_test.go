package longpoll_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/longpoll"
)

// TestHistories runs random histories of everything that can happen to waiters, and whenever all is quiet asks whether anybody
// sleeps beside something to take, and whether who waited longest comes first. Looks take virtual time before and after they take
// things, so that signals, cancellations and reservations fall into every gap. POLLACK_SEED repeats the history of one seed.
func TestHistories(t *testing.T) {
	n := 400
	if testing.Short() {
		n = 40
	}
	seeds := make([]uint64, n)
	for i := range seeds {
		seeds[i] = rand.Uint64()
	}
	if s := os.Getenv("POLLACK_SEED"); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seeds = []uint64{seed}
	}
	for _, seed := range seeds {
		// The seed is in the name, so that a failure tells it.
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { newHistory(t, seed).run() })
		})
		if t.Failed() {
			return
		}
	}
}

const keys = 2

// A history is a run of random steps. Things to take are numbered and each is taken, handed over or left exactly once.
type history struct {
	t     *testing.T
	r     *rand.Rand // of the goroutine that makes the steps
	puts  int        // of 100 steps so many put things
	lines longpoll.Lines[int, *taker]

	mu       sync.Mutex // guards what follows
	bags     [keys][]int
	made     int
	got      map[int]bool
	waiting  [keys][]*taker // by arrival
	reserved [keys][]longpoll.Reservation[int, *taker]
	smooth   bool // looks neither fail nor take more than one thing
	looks    int
	closed   bool
	over     bool
}

// A taker waits once.
type taker struct {
	key      int
	most     int // it takes so many things at once
	r        *rand.Rand
	cancel   func()
	canceled bool
	handed   []int
	taken    []int
}

func newHistory(t *testing.T, seed uint64) *history {
	r := rand.New(rand.NewPCG(seed, 0))
	return &history{t: t, r: r, puts: 2 + r.IntN(30), got: make(map[int]bool)}
}

func (h *history) run() {
	steps := 20 + h.r.IntN(200)
	for i := range steps {
		h.step()
		h.pause(h.r)
		if i%16 == 15 {
			h.quiet()
		}
		if i%64 == 63 {
			h.inOrder()
		}
		if h.t.Failed() {
			break
		}
	}
	h.end()
}

// step does one thing that may happen.
func (h *history) step() {
	key := h.r.IntN(keys)
	switch p := h.r.IntN(100); {
	case p < h.puts:
		n, slow := 1+h.r.IntN(3), rand.New(rand.NewPCG(h.r.Uint64(), 0))
		go func() { // producers run beside each other
			h.put(key, n)
			h.pause(slow) // the signal comes later than the thing
			h.lines.Signal(key, n)
		}()
	case p < 65:
		h.arrive(key)
	case p < 77:
		h.mu.Lock()
		if w := h.waiting[key]; len(w) > 0 {
			w := w[h.r.IntN(len(w))]
			w.canceled = true
			w.cancel()
		}
		h.mu.Unlock()
	case p < 87:
		if r, ok := h.lines.Reserve(key); ok {
			h.mu.Lock()
			h.reserved[key] = append(h.reserved[key], r)
			h.mu.Unlock()
		}
	case p < 97:
		h.settle(key)
	case p < 98:
		h.lines.Signal(key, 1) // for nothing
	case p < 99:
		h.lines.Broadcast(key)
	default:
		h.lines.BroadcastAll()
	}
}

// arrive has a new taker wait, and returns once it stands in line.
func (h *history) arrive(key int) {
	ctx, cancel := context.WithCancel(context.Background())
	w := &taker{key: key, most: 1 + h.r.IntN(3), cancel: cancel, r: rand.New(rand.NewPCG(h.r.Uint64(), 0))}
	h.mu.Lock()
	h.waiting[key] = append(h.waiting[key], w)
	h.mu.Unlock()
	go h.wait(ctx, w)
	synctest.Wait()
}

var errHistory = errors.New("history closed")

func (h *history) wait(ctx context.Context, w *taker) {
	defer w.cancel()
	var handed, panicked bool
	var err error
	func() {
		defer func() { panicked = recover() != nil }()
		handed, err = h.lines.Wait(ctx, w.key, w, func() (bool, error) { return h.look(w) })
	}()
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, o := range h.waiting[w.key] {
		if o == w {
			h.waiting[w.key] = append(h.waiting[w.key][:i:i], h.waiting[w.key][i+1:]...)
			break
		}
	}
	switch {
	case h.over: // it was stuck, and has been reported as that
		return
	case panicked || errors.Is(err, errLook):
	case handed != (len(w.handed) > 0):
		h.t.Errorf("handed: got %v with %d things handed over", handed, len(w.handed))
	case handed:
	case err == nil && len(w.taken) == 0:
		h.t.Error("a wait ended well without anything")
	case errors.Is(err, context.Canceled) && !w.canceled, errors.Is(err, errHistory) && !h.closed:
		h.t.Errorf("a wait ended with %v, which had not happened", err)
	}
	if (err != nil || panicked) && len(w.taken)+len(w.handed) > 0 {
		h.t.Errorf("a wait that ended with error %v lost %d things", err, len(w.taken)+len(w.handed))
	}
	for _, n := range append(w.taken, w.handed...) {
		if h.got[n] {
			h.t.Errorf("thing %d was had twice", n)
		}
		h.got[n] = true
	}
}

// look takes what there is, or fails, in its own time.
func (h *history) look(w *taker) (bool, error) {
	h.pause(w.r)
	h.mu.Lock()
	h.looks++
	if !h.smooth {
		switch w.r.IntN(20) {
		case 0, 1:
			h.mu.Unlock()
			h.pause(w.r)
			return false, errLook
		case 2:
			h.mu.Unlock()
			h.pause(w.r)
			panic("look")
		}
	}
	n := min(w.most, len(h.bags[w.key]))
	if h.smooth {
		n = min(n, 1)
	}
	w.taken = append(w.taken, h.bags[w.key][:n]...)
	h.bags[w.key] = h.bags[w.key][n:]
	h.mu.Unlock()
	h.pause(w.r)
	return n > 0, nil
}

func (h *history) put(key, n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for range n {
		h.bags[key] = append(h.bags[key], h.made)
		h.made++
	}
}

// settle hands something to a reserved waiter or releases it.
func (h *history) settle(key int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	rs := h.reserved[key]
	if len(rs) == 0 {
		return
	}
	i := h.r.IntN(len(rs))
	r := rs[i]
	h.reserved[key] = append(rs[:i:i], rs[i+1:]...)
	if h.r.IntN(2) == 0 {
		r.Release()
		return
	}
	r.Value.handed = append(r.Value.handed, h.made)
	h.made++
	r.HandOver()
}

// pause lets a little virtual time go by, often none.
func (h *history) pause(r *rand.Rand) {
	if d := r.IntN(8) - 2; d > 0 {
		time.Sleep(time.Duration(d) * time.Microsecond)
	}
}

// quiet waits until nothing happens any more and checks that nobody but the reserved sleeps beside something to take.
func (h *history) quiet() {
	h.t.Helper()
	time.Sleep(time.Hour)
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	all := 0
	for key := range keys {
		waiting, reserved, bag := len(h.waiting[key]), len(h.reserved[key]), len(h.bags[key])
		if waiting > reserved && bag > 0 {
			h.t.Errorf("%d wait for key %d, %d of them reserved, and %d things are there", waiting, key, reserved, bag)
		}
		if got := h.lines.Len(key); got != waiting {
			h.t.Errorf("Len(%d): got %d, want %d", key, got, waiting)
		}
		for _, w := range h.waiting[key] {
			if w.canceled && !h.isReserved(w) {
				h.t.Error("a canceled waiter still waits")
			}
		}
		all += waiting
	}
	if got := h.lines.Waiting(); got != all {
		h.t.Errorf("Waiting: got %d, want %d", got, all)
	}
}

func (h *history) isReserved(w *taker) bool {
	for _, r := range h.reserved[w.key] {
		if r.Value == w {
			return true
		}
	}
	return false
}

// inOrder checks, when all is quiet, that one signal and one reservation get who waited longest, for exactly one look and none.
func (h *history) inOrder() {
	h.t.Helper()
	h.mu.Lock()
	h.smooth = true
	h.mu.Unlock()
	for key := range keys {
		for len(h.reserved[key]) > 0 {
			h.settle(key)
		}
		h.quiet()
		if len(h.waiting[key]) < 2 || h.t.Failed() {
			continue
		}
		first, second, looks := h.waiting[key][0], h.waiting[key][1], h.looks
		r, ok := h.lines.Reserve(key)
		if !ok || r.Value != first {
			h.t.Error("who waited longest was not reserved first")
			return
		}
		h.put(key, 1)
		h.lines.Signal(key, 1)
		h.quiet()
		if len(second.taken) != 1 {
			h.t.Error("who waited longest was not woken first")
		}
		if h.looks != looks+1 {
			h.t.Errorf("looks for one signal: got %d, want 1", h.looks-looks)
		}
		r.Value.handed = append(r.Value.handed, h.made)
		h.made++
		r.HandOver()
		h.quiet()
		if h.looks != looks+1 {
			h.t.Errorf("looks for one hand-over: got %d, want 0", h.looks-looks-1)
		}
	}
	h.mu.Lock()
	h.smooth = false
	h.mu.Unlock()
}

// end closes the lines, in the midst of things, and checks that everybody goes and nothing is lost or kept.
func (h *history) end() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.lines.Close(errHistory)
	time.Sleep(time.Hour)
	synctest.Wait()
	for key := range keys {
		if got, want := h.lines.Len(key), len(h.reserved[key]); got != want {
			h.t.Errorf("after closing: got %d that wait for key %d, want the %d reserved", got, key, want)
		}
		for len(h.reserved[key]) > 0 {
			h.settle(key)
		}
	}
	synctest.Wait()
	if kept, _ := h.lines.Keys(); kept != 0 || h.lines.Waiting() != 0 {
		h.t.Errorf("at the end: got %d lines, %d waiting, want none", kept, h.lines.Waiting())
	}
	left := 0
	h.mu.Lock()
	h.over = true
	for key := range keys {
		left += len(h.bags[key])
		for _, w := range h.waiting[key] {
			w.cancel()
		}
	}
	h.mu.Unlock()
	synctest.Wait()
	if len(h.got)+left != h.made {
		h.t.Errorf("things: got %d had and %d left, want %d in all", len(h.got), left, h.made)
	}
}
