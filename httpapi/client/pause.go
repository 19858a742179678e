package client

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// longest bounds what a server may ask for with Retry-After, so that a wrong date cannot stop a client for good.
const longest = 24 * time.Hour

// retryAfter returns how long an answer asks to be left alone, 0 if it does not say. A date is held against the answer's own Date, so
// that the two clocks need not agree.
func retryAfter(h http.Header) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if v == "" {
		return 0
	}
	if n, err := strconv.ParseUint(v, 10, 64); err == nil {
		return time.Duration(min(n, uint64(longest/time.Second))) * time.Second
	}
	if strings.Trim(v, "0123456789") == "" {
		return longest // more than an integer holds
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	return min(max(at.Sub(now), 0), longest)
}

// backoff grows with each failure in a row.
type backoff struct {
	first, most time.Duration
	failures    int
}

// next returns how long to pause after one more failure: anything up to twice as much as before (full jitter), but what the server asked for at the
// least.
func (b *backoff) next(asked time.Duration) time.Duration {
	ceiling := b.most
	if b.failures < 30 {
		ceiling = min(b.first<<b.failures, b.most)
	}
	b.failures++
	return asked + rand.N(ceiling+1)
}

func (b *backoff) reset() { b.failures = 0 }

// pause waits. It returns the context's error if that ends first.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// wholeSeconds writes a duration for the wire, rounded up: what is less than a second is one.
func wholeSeconds(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}
