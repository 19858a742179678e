package longpoll_test

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"testing/synctest"
)

// A bytesSource gives random numbers that are made of some bytes, and after them the same as any other.
type bytesSource struct {
	left []byte
	then *rand.PCG // or whoever draws until a number fits would draw for ever
}

func (s *bytesSource) Uint64() uint64 {
	var p [8]byte
	n := copy(p[:], s.left)
	if s.left = s.left[n:]; n == 0 {
		return s.then.Uint64()
	}
	return binary.LittleEndian.Uint64(p[:])
}

// FuzzHistory looks for a history of waiters, signals, cancellations and reservations, as those of TestHistories, in which somebody sleeps beside
// something to take, or something is had twice or lost (I10, I11).
func FuzzHistory(f *testing.F) {
	for seed := range uint64(6) {
		p := make([]byte, 64<<seed)
		rand.NewChaCha8([32]byte{byte(seed)}).Read(p)
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, choices []byte) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(&bytesSource{choices, rand.NewPCG(1, 2)})
			h := &history{t: t, r: r, puts: 2 + r.IntN(30), got: make(map[int]bool)}
			h.run()
		})
	})
}
