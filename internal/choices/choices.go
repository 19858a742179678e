// Package choices makes random numbers out of a fuzzer's bytes, so that it can search among histories.
package choices

import (
	"encoding/binary"
	"math/rand/v2"
)

// Rand returns random numbers that are made of some bytes, and after them always the same.
func Rand(p []byte) *rand.Rand { return rand.New(&source{p, rand.NewPCG(1, 2)}) }

type source struct {
	left []byte
	then *rand.PCG // or whoever draws until a number fits would draw for ever
}

func (s *source) Uint64() uint64 {
	var p [8]byte
	n := copy(p[:], s.left)
	if s.left = s.left[n:]; n == 0 {
		return s.then.Uint64()
	}
	return binary.LittleEndian.Uint64(p[:])
}
