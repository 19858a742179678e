package client

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/pollackq/pollack/httpapi/outbound"
)

// longest bounds what a server may ask for with Retry-After, so that a wrong date cannot stop a client for good.
const longest = 24 * time.Hour

// retryAfter returns how long an answer asks to be left alone, 0 if it does not say.
func retryAfter(h http.Header) time.Duration { return outbound.RetryAfter(h, longest) }

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
