package outbound

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// RetryAfter returns how long an answer asks to be left alone: 0 if it does not say, and at most most, so that a wrong date cannot stop
// anybody for good. Retry-After is a number of seconds, or a date, which is held against the answer's own Date, so that the two clocks
// need not agree.
func RetryAfter(h http.Header, most time.Duration) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if v == "" {
		return 0
	}
	if n, err := strconv.ParseUint(v, 10, 64); err == nil {
		if n > uint64(most/time.Second) {
			return most
		}
		return time.Duration(n) * time.Second
	}
	if strings.Trim(v, "0123456789") == "" {
		return most // more than an integer holds
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	return min(max(at.Sub(now), 0), most)
}
