package longpoll_test

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"

	"github.com/pollackq/pollack/internal/choices"
)

// FuzzHistory looks for a history of waiters, signals, cancellations and reservations, as those of TestHistories, in which somebody sleeps beside
// something to take, or something is had twice or lost (I10, I11).
func FuzzHistory(f *testing.F) {
	for seed := range uint64(6) {
		p := make([]byte, 64<<seed)
		rand.NewChaCha8([32]byte{byte(seed)}).Read(p)
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		synctest.Test(t, func(t *testing.T) {
			r := choices.Rand(in)
			h := &history{t: t, r: r, puts: 2 + r.IntN(30), got: make(map[int]bool)}
			h.run()
		})
	})
}
