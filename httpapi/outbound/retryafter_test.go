package outbound_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/httpapi/outbound"
)

func TestRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		date := func(d time.Duration) string { return now.Add(d).UTC().Format(http.TimeFormat) }
		for _, tt := range []struct {
			value, date string
			want        time.Duration
		}{
			{"", "", 0},
			{"0", "", 0},
			{"120", "", 2 * time.Minute},
			{" 5 ", "", 5 * time.Second},
			{"3600", "", time.Hour},
			{"3601", "", time.Hour},
			{"18446744073709551615", "", time.Hour},
			{"99999999999999999999999", "", time.Hour},
			{"-5", "", 0},
			{"1.5", "", 0},
			{"soon", "", 0},
			{date(10 * time.Minute), "", 10 * time.Minute},
			{date(-time.Minute), "", 0},
			{date(48 * time.Hour), "", time.Hour},
			{date(10 * time.Minute), date(4 * time.Minute), 6 * time.Minute}, // their clock, not ours
			{date(10 * time.Minute), "today", 10 * time.Minute},
		} {
			h := http.Header{}
			h.Set("Retry-After", tt.value)
			h.Set("Date", tt.date)
			if got := outbound.RetryAfter(h, time.Hour); got != tt.want {
				t.Errorf("Retry-After %q, Date %q: got %v, want %v", tt.value, tt.date, got, tt.want)
			}
		}
	})
}
