package contract

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pollackq/pollack/internal/contract"
)

func init() {
	suite.Case("progress is told in percent, and only grows", "S4-11 S2-12 S4-10", func(t *testing.T, open contract.Opener) {
		s := newSeller(t, open, nil)
		at := s.order("o-1", object{"want": "text", "seconds": 100})
		long := s.order("o-2", object{"want": "json", "seconds": 5 * 3600})
		for percent := 1; percent < 100; percent++ {
			s.until(time.Duration(percent)*time.Second + 500*time.Millisecond)
			if v := s.processing(at); v != fmt.Sprint(percent, "%") {
				t.Errorf("after %d %% of its time: got progress %q", percent, v)
			}
		}
		s.until(101 * time.Second)
		s.want(at, "completed", "output_type", "result_text")
		for hour := 1; hour < 5; hour++ {
			s.until(time.Duration(hour)*time.Hour + time.Minute)
			if v := s.processing(long); v != fmt.Sprint(20*hour, "%") {
				t.Errorf("after %d hours of 5: got progress %q", hour, v)
			}
		}
		s.until(5*time.Hour + time.Second)
		s.want(long, "completed", "output_type", "result_text")
	})

	suite.Case("an order that never ends is processing for ever", "S2-12 S4-10", func(t *testing.T, open contract.Opener) {
		s := newSeller(t, open, nil)
		at := s.order("o-1", object{"want": "never"})
		for range 8 {
			time.Sleep(30 * 24 * time.Hour)
			s.processing(at)
		}
	})

	suite.Case("long work does not hold up other work", "S2-12 S2-03", func(t *testing.T, open contract.Opener) {
		s := newSeller(t, open, nil)
		for i := range 60 {
			s.order(fmt.Sprint("long-", i), object{"want": "text", "seconds": 86400})
			s.order(fmt.Sprint("never-", i), object{"want": "never"})
		}
		s.until(time.Second)
		at := s.order("o-1", object{"want": "csv"})
		s.until(1500 * time.Millisecond)
		s.want(at, "completed", "output_type", "result_text")
	})

	suite.Case("a failed order says why, and is not processing again", "S4-16 S4-22 S2-12 S2-13 S2-14", func(t *testing.T, open contract.Opener) {
		s := newSeller(t, open, nil)
		at := s.order("o-1", object{"want": "failed", "seconds": 5})
		s.processing(at)
		s.until(4 * time.Second)
		s.processing(at)
		s.until(6 * time.Second)
		for range 5 {
			s.failed(at, "Unable to process the provided input")
			time.Sleep(24 * time.Hour)
		}
	})

	suite.Case("a message has at most 1024 characters", "S4-22 D-S4-22", func(t *testing.T, open contract.Opener) {
		s := newSeller(t, open, nil)
		for i, c := range []struct{ message, want string }{
			{strings.Repeat("é", 1024), strings.Repeat("é", 1024)},
			{strings.Repeat("é", 1025), strings.Repeat("é", 1024)},
			{strings.Repeat("😀", 4000), strings.Repeat("😀", 1024)},
			{strings.Repeat("x", 16000), strings.Repeat("x", 1024)},
			{`"quoted" <b> \ ` + "\u2028", `"quoted" <b> \`},
			{"a\u0000b", "a\ufffdb"},
			{" \n", "Unable to process the provided input"},
			{"", "Unable to process the provided input"},
		} {
			at := s.order(fmt.Sprint("o-", i), object{"want": "failed", "message": c.message})
			time.Sleep(time.Second)
			if got := s.want(at, "failed", "error_message")["error_message"]; got != c.want {
				t.Errorf("%.20q: got %.40q of %d bytes, want %.40q of %d", c.message, got, len(fmt.Sprint(got)), c.want, len(c.want))
			}
		}
	})

	suite.Case("another process goes on with an order where the last one stopped", "S2-12 S2-11", func(t *testing.T, open contract.Opener) {
		s := newSeller(t, open, nil)
		at, done, never := s.order("o-1", object{"want": "text", "seconds": 100}), s.order("o-2", object{"want": "text"}), s.order("o-3", object{"want": "never"})
		s.until(40*time.Second + 500*time.Millisecond)
		s.stop()
		s.until(time.Hour)
		s.open(nil)
		if v := s.processing(at); v != "40%" && v != "41%" {
			t.Errorf("after the restart: got progress %q, want 40%% or 41%%", v)
		}
		s.until(time.Hour + 5*time.Second)
		if v := s.processing(at); v != "45%" && v != "46%" {
			t.Errorf("5 s later: got progress %q, want 45%% or 46%%", v)
		}
		s.want(done, "completed", "output_type", "result_text")
		s.processing(never)
		s.until(time.Hour + 61*time.Second)
		s.want(at, "completed", "output_type", "result_text")
	})
}
